//! Every dialogue under `dialogues/` is played against the server's session, and every answer is compared.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::path::{Path, PathBuf};

use restante_testkit::dialogue::{Cutting, Script};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "pop3"));
    files.sort();
    files
}

#[test]
fn the_server_says_what_each_dialogue_expects() {
    let files = files();
    assert!(files.len() >= 16, "the dialogues are not found");
    let failed: Vec<String> = files
        .iter()
        .filter_map(|path| Script::read(path).and_then(|script| script.play(Cutting::AsWritten)).err())
        .collect();
    assert!(failed.is_empty(), "\n{}", failed.join("\n\n"));
}

#[test]
fn a_wrong_answer_is_shown_with_its_line() {
    let text = b"hostname: X1\n\nS: +OK X1 POP3 Server\n# a comment\nC: NOOP\nS: +OK {any}\n";
    let script = Script::parse("wrong.pop3", text, Path::new(".")).unwrap();
    let wrong = script.play(Cutting::AsWritten).unwrap_err();
    assert_eq!(
        wrong,
        "wrong.pop3:6: another answer\n\
         expected  S: +OK {any}\n\
         received  S: -ERR not allowed in the AUTHORIZATION state\n             ^"
    );
}
