//! `restante man`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::fs;

mod binary;

#[test]
fn help() {
    binary::help(&["man"]);
}

#[test]
fn one_page_goes_to_standard_output() {
    assert!(binary::restante(&["man"]).ok().contains(".TH RESTANTE 1"));
    assert!(binary::restante(&["man", "man"]).ok().contains(".TH RESTANTE-MAN 1"));
    assert!(binary::restante(&["man", "nothing"]).fails(2).contains("restante-completions"));
}

#[test]
fn all_pages_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man1");
    binary::restante(&["man", "--out", out.to_str().unwrap()]).ok();
    let page = fs::read_to_string(out.join("restante-completions.1")).unwrap();
    assert!(page.contains("shell"), "{page}");
    assert!(page.contains(".SH EXAMPLES") && page.contains("restante completions bash >"), "{page}");
    assert!(out.join("restante.1").exists());
}
