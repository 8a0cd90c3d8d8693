//! `restante` itself: help, version, wrong usage, and readers that go away.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::process::Stdio;

mod binary;

#[test]
fn help() {
    binary::help(&[]);
}

#[test]
fn help_may_be_asked_for_as_a_command() {
    let help = |args: &[&str]| binary::restante(args).ok();
    assert_eq!(help(&["help"]), help(&["--help"]));
    assert_eq!(help(&["help", "user", "add"]), help(&["user", "add", "--help"]));
    binary::restante(&["help", "nonsense"]).fails(2);
}

#[test]
fn version() {
    assert_eq!(binary::restante(&["--version"]).ok(), concat!("restante ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn no_command_and_unknown_commands_are_wrong_usage() {
    assert!(binary::restante(&[]).fails(2).contains("Usage:"));
    let told = binary::restante(&["complet"]).fails(2);
    assert!(told.contains("completions"), "{told}");
}

#[test]
fn nothing_is_coloured_but_on_a_terminal() {
    assert!(!binary::restante(&["nonsense"]).fails(2).contains('\x1b'));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for args in [&["completions", "bash"][..], &["--help"]] {
        let mut child =
            binary::command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{args:?}");
    }
}
