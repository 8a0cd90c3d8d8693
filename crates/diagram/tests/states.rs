//! The drawn states are those of the table: `docs/states.svg`, and the block between the markers in `ARCHITECTURE.md`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use restante_diagram::states;

const BEGIN: &str = "<!-- states: begin -->\n";
const END: &str = "<!-- states: end -->\n";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// Fails where a file is not as drawn; with `UPDATE_SNAPSHOTS=1` it is written.
fn assert_fresh(name: &str, wanted: &str) {
    if env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(file(name), wanted).unwrap();
    }
    let there = fs::read_to_string(file(name)).unwrap_or_default();
    assert!(
        there == wanted,
        "{name} is not what crates/proto/src/phase.rs says any more\n  UPDATE_SNAPSHOTS=1 cargo test -p restante-diagram --test states  writes it anew: look at it before you commit it"
    );
}

#[test]
fn the_picture_is_fresh() {
    assert_fresh("docs/states.svg", &states::svg());
}

#[test]
fn the_block_in_the_architecture_is_fresh() {
    const NAME: &str = "ARCHITECTURE.md";
    let text = fs::read_to_string(file(NAME)).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap_or_else(|| panic!("{NAME} has no {BEGIN}"));
    let (_, behind) = rest.split_once(END).unwrap_or_else(|| panic!("{NAME} has no {END}"));
    let block = format!("```mermaid\n{}```\n", states::mermaid());
    assert_fresh(NAME, &format!("{before}{BEGIN}{block}{END}{behind}"));
}
