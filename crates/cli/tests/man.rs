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
    for page in [&["man", "restante-user-add"][..], &["man", "user", "add"], &["man", "user-add"]] {
        assert!(binary::restante(page).ok().contains(".TH RESTANTE-USER-ADD 1"), "{page:?}");
    }
    assert!(binary::restante(&["man", "restante.toml"]).ok().contains(".TH RESTANTE.TOML 5"));
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
    assert!(out.join("restante.1").exists() && out.join("restante.toml.5").exists());
    assert!(!out.join("restante-help.1").exists());
    for page in fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.contains(".SH SEE ALSO"), "{}", page.display());
        assert_eq!(text.contains(".SH EXIT STATUS"), page.extension().unwrap() == "1", "{}", page.display());
    }
}

#[test]
fn the_server_has_its_options_files_and_signals() {
    let page = binary::restante(&["man", "serve"]).ok();
    assert!(page.contains("[\\-\\-config FILE]") && page.contains("[\\-\\-demo]"), "{page}");
    assert!(page.contains(".SH FILES\n") && page.contains("/etc/restante/users"), "{page}");
    assert!(page.contains(".SH SIGNALS\n") && page.contains("SIGHUP"), "{page}");
    assert!(page.contains(".SH SEE ALSO\n\\fBrestante\\fR(1), \\fBrestante.toml\\fR(5)\n"), "{page}");
}
