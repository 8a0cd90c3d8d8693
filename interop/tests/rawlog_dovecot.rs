//! Dovecot's rawlogs, drawn by `restante diagram`: a real Dovecot writes them while curl and our own client fetch, and
//! what is drawn has every command, in order, and the size of every message that came.
//!
//! Dovecot writes two pairs for a connection: the program before the login one that ends with the login, the program
//! behind it one that begins with the login's answer. Inside TLS the first holds records, the second the plain session.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    path::{Path, PathBuf},
};

use restante_interop::{
    DOVECOT_RAWLOG, Fetch, Letter, PASSWORD, Peer, Program, RAWLOG, RAWLOG_LOGIN, Security, USER, corpus,
    until, with_security,
};

/// The letters that Dovecot sends as they are, none of them long.
fn letters() -> Vec<Letter> {
    let odd = ["a dot first", "empty file", "attachment", "very long line", "no final newline"];
    corpus().into_iter().filter(|letter| !odd.contains(&letter.name)).collect()
}

/// The `.in` files of a folder whose sessions are over, in the order of their names.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("it is there");
    let mut logs: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it is ours").path())
        .filter(|path| path.extension().is_some_and(|end| end == "in"))
        .collect();
    logs.sort();
    logs
}

/// A file's lines without their time stamps, as text.
fn said(log: &Path) -> Vec<String> {
    let octets = fs::read(log).expect("it can be read");
    let lines = octets.split_inclusive(|&octet| octet == b'\n').map(|line| {
        let stamp = line.iter().position(|&octet| octet == b' ').expect("a time stamp") + 1;
        String::from_utf8_lossy(&line[stamp..]).trim_end().to_owned()
    });
    lines.collect()
}

/// Waits for a log behind the login that ends with QUIT and its answer, and that was not there before.
fn finished(peer: &Peer, before: &[PathBuf]) -> PathBuf {
    let ended = |log: &PathBuf| {
        let last = |path: &Path| said(path).pop().unwrap_or_default();
        last(log) == "QUIT" && last(&log.with_extension("out")).starts_with("+OK Logging out")
    };
    until(|| logs(&peer.file(RAWLOG)).into_iter().filter(|log| !before.contains(log)).find(ended))
        .expect("Dovecot wrote a rawlog")
}

/// Fails the test unless all of these stand in what is drawn of a pair, whichever of its files is named, each list in its
/// order; and if the password does.
#[track_caller]
fn assert_drawn(log: &Path, lists: &[Vec<String>]) {
    let folder = log.parent().expect("it is in a folder");
    for file in [log, &log.with_extension("out")] {
        let draw = Program::ours(folder).arg("diagram").arg(file).args(["--format", "json"]);
        let text = draw.run().succeeded().text();
        for secret in [PASSWORD, "AGpvaG4AYWJjIHh5eg", "YWJjIHh5eg"] {
            assert!(!text.contains(secret), "the password is in what is drawn of {}: {text}", file.display());
        }
        lists.iter().for_each(|words| assert_in_order(&text, words));
    }
}

/// Fails the test unless all of these stand in the text, in this order.
#[track_caller]
fn assert_in_order(text: &str, words: &[String]) {
    let mut rest = text;
    for word in words {
        let Some(at) = rest.find(word.as_str()) else {
            panic!("{word} is missing, or in another place, in {text}")
        };
        rest = &rest[at + word.len()..];
    }
}

/// Commands as JSON writes them: words in quotation marks.
fn quoted(commands: &[String]) -> Vec<String> {
    commands.iter().map(|command| format!("\"{command}\"")).collect()
}

/// How many octets the messages had that a log's session retrieved, by their numbers.
fn sizes(log: &Path, letters: &[Letter]) -> Vec<String> {
    let retrieved = said(log).into_iter().filter_map(|command| {
        let number: usize = command.strip_prefix("RETR ")?.parse().ok()?;
        Some(letters[number - 1].canonical().len().to_string())
    });
    retrieved.collect()
}

#[test]
fn what_curl_said_is_drawn() {
    let letters = letters();
    let peer = Peer::start(&DOVECOT_RAWLOG, &letters);
    with_security(&Security::ALL, |security| {
        let before = logs(&peer.file(RAWLOG));
        let scheme = if security == Security::Tls { "pop3s" } else { "pop3" };
        let url = format!("{scheme}://localhost:{}/1", peer.pop3_port(security));
        let folder = peer.client_folder(&format!("curl-{security:?}"));
        let mut curl = Program::new("curl", "curl", &folder)
            .args(["--disable", "--silent", "--show-error", "--cacert"])
            .arg(peer.authority())
            .args(["--user", &format!("{USER}:{PASSWORD}"), &url]);
        if security == Security::Stls {
            curl = curl.arg("--ssl-reqd");
        }
        assert_eq!(curl.run().succeeded().stdout, letters[0].canonical());
        let log = finished(&peer, &before);
        assert_eq!(said(&log), ["RETR 1", "QUIT"]);
        assert_drawn(&log, &[quoted(&said(&log)), sizes(&log, &letters)]);
    });
}

#[test]
fn what_our_own_client_said_is_drawn() {
    let letters = letters();
    let peer = Peer::start(&DOVECOT_RAWLOG, &letters);
    let before = logs(&peer.file(RAWLOG));
    let fetch = Fetch::new(&peer, Security::Stls, "fetch");
    fetch.run(&fetch.to_eml(), &[]).succeeded();
    let log = finished(&peer, &before);
    let commands = said(&log);
    let retrieved = commands.iter().filter(|command| command.starts_with("RETR ")).count();
    assert_eq!(retrieved, letters.len(), "{commands:?}");
    assert_drawn(&log, &[quoted(&commands), sizes(&log, &letters)]);
}

#[test]
fn what_was_said_before_the_login_is_drawn_without_the_password() {
    let peer = Peer::start(&DOVECOT_RAWLOG, &letters());
    for (mechanism, secret) in
        [("USER", PASSWORD), ("PLAIN", "AGpvaG4AYWJjIHh5eg=="), ("LOGIN", "YWJjIHh5eg==")]
    {
        let fetch = Fetch::new(&peer, Security::Plain, mechanism);
        fetch.run(&fetch.to_eml(), &["--mechanism", mechanism]).succeeded();
        let log = until(|| {
            let logs = logs(&peer.file(RAWLOG_LOGIN));
            logs.into_iter().find(|log| said(log).pop().is_some_and(|last| last.ends_with(secret)))
        })
        .unwrap_or_else(|| panic!("Dovecot wrote {secret} into no rawlog"));
        let words = said(&log).into_iter().map_while(|line| {
            let word = line.split(' ').next().unwrap_or_default().to_owned();
            ["CAPA", "USER", "PASS", "AUTH"].contains(&word.as_str()).then_some(word)
        });
        assert_drawn(&log, &[words.collect(), vec!["[secret]".to_owned()]]);
    }
}
