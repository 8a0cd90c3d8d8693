//! `restante completions`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod binary;

#[test]
fn help() {
    binary::help(&["completions"]);
}

#[test]
fn every_shell_has_completions_that_name_the_subcommands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = binary::restante(&["completions", shell]).ok();
        assert!(script.contains("completions") && script.contains("man"), "{shell}");
    }
}

#[test]
fn pages_and_keys_are_offered() {
    for shell in ["bash", "zsh"] {
        let script = binary::restante(&["completions", shell]).ok();
        assert!(script.contains("user-add") && script.contains("tls.certificate"), "{shell}");
    }
}

#[test]
fn an_unknown_shell_is_wrong_usage() {
    let told = binary::restante(&["completions", "tcsh"]).fails(2);
    assert!(told.contains("bash"), "the shells that there are: {told}");
}
