//! `restante diagram`: what it reads, what it writes, and what it says when it cannot. What is drawn is tested in
//! `crates/diagram`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use binary::{command, feed, restante, snapshot};
use tempfile::TempDir;

mod binary;

const SEED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/tests/dialogues/seed.pop3");

#[test]
fn help() {
    snapshot("diagram-help", &restante(&["diagram", "--help"]).ok());
}

#[test]
fn a_dialogue_is_drawn_as_text_in_the_width_that_is_asked_for() {
    snapshot("diagram-seed", &restante(&["diagram", SEED, "--width", "80"]).ok());
}

#[test]
fn what_can_be_left_out_is_left_out() {
    let whole = restante(&["diagram", SEED]).ok();
    let bare = restante(&["diagram", SEED, "--no-remarks", "--no-segments"]).ok();
    assert!(whole.contains("RFC 1939") && !bare.contains("RFC 1939"));
    assert!(bare.lines().count() < whole.lines().count());
    let nameless = restante(&["diagram", SEED, "--anonymous"]).ok();
    assert!(whole.contains("john.doe@anydomain.com") && !nameless.contains("john.doe"), "{nameless}");
}

#[test]
fn the_outputs_extension_says_the_format() {
    let folder = TempDir::new().unwrap();
    for (name, begins) in [
        ("a.svg", "<svg"),
        ("a.html", "<!DOCTYPE html>"),
        ("a.mmd", "sequenceDiagram"),
        ("a.json", "{"),
        ("a.txt", ""),
    ] {
        let path = folder.path().join(name);
        assert_eq!(restante(&["diagram", SEED, "-o", path.to_str().unwrap()]).ok(), "");
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.trim_start().to_lowercase().starts_with(&begins.to_lowercase()) && text.contains("UIDL"),
            "{name}"
        );
    }
    let odd = folder.path().join("a.bmp");
    let error = restante(&["diagram", SEED, "-o", odd.to_str().unwrap()]).fails(2);
    assert!(error.contains("--format: text, svg, html, mermaid, json"), "{error}");
    assert!(!odd.exists());
}

#[test]
fn json_can_be_asked_for_as_elsewhere() {
    let json = restante(&["diagram", SEED, "--json"]).ok();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["sessions"][0]["commands"], 8);
    assert_eq!(json, restante(&["diagram", SEED, "--format", "json"]).ok());
    let list: serde_json::Value =
        serde_json::from_str(&restante(&["diagram", SEED, "--list", "--json"]).ok()).unwrap();
    assert_eq!(list["sessions"][0]["retrieved_octets"], 1317);
    assert_eq!(list["sessions"][0]["rows"], serde_json::json!([]));
}

#[test]
fn the_sessions_are_listed() {
    let list = restante(&["diagram", SEED, "--list", "--width", "120"]).ok();
    assert!(list.contains("ended by QUIT"), "{list}");
}

#[test]
fn a_pipe_is_drawn_while_it_is_written() {
    let mut child = command(&["diagram", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"S: +OK X1 POP3 Server\nC: USER john\n").unwrap();
    stdin.flush().unwrap();
    // The pipe is still open.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("USER john")));
    stdin.write_all(b"S: +OK send your password\n").unwrap();
    drop(stdin);
    assert!(lines.any(|line| line.contains("send your password")));
    assert_eq!(lines.count() > 0, child.wait().unwrap().success());
}

#[test]
fn what_cannot_be_drawn_says_why_and_what_to_do() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let error = restante(&["diagram", "/nowhere/a.pcap"]).fails(1);
    assert!(error.contains("cannot open /nowhere/a.pcap"), "{error}");
    let error = restante(&["diagram", folder.path().to_str().unwrap()]).fails(1);
    assert!(error.contains("is a folder"), "{error}");
    let error = restante(&["diagram", &file("a.txt", "From: somebody else\n\nhello\n")]).fails(1);
    assert!(
        error.contains("line 1, column 1: unknown key") && error.contains("hint: this is read as a dialogue"),
        "{error}"
    );
    let error = restante(&["diagram", &file("empty", "")]).fails(1);
    assert!(error.contains("there is no POP3 session in it"), "{error}");
    let error = restante(&["diagram", SEED, "--session", "2"]).fails(1);
    assert!(error.contains("there is no session 2; there is one"), "{error}");
    let error = restante(&["diagram", &file("1.in", "STAT\r\n")]).fails(1);
    assert!(error.contains("1.out"), "{error}");
    assert!(restante(&["diagram", SEED, "--format", "bmp"]).fails(2).contains("the formats are text"));
    assert!(restante(&["diagram", SEED, "--width", "20"]).fails(2).contains("60..=400"));
}

#[test]
fn a_damaged_capture_tells_what_came_before_the_damage() {
    // The same session twice, on other ports, and then something that is no packet.
    let seed = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/seed.pcap")).unwrap();
    let port = |capture: &[u8]| -> Vec<u8> {
        let (from, to) = (45134u16.to_be_bytes(), 45135u16.to_be_bytes());
        let mut moved = capture.to_vec();
        for at in 0..moved.len() - 1 {
            if moved[at..at + 2] == from {
                moved[at..at + 2].copy_from_slice(&to);
            }
        }
        moved
    };
    let damaged = [&seed[..], &port(&seed[24..]), &[0xff; 64]].concat();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("damaged.pcap");
    fs::write(&path, damaged).unwrap();
    let ran = restante(&["diagram", path.to_str().unwrap()]);
    let table = ran.stdout();
    let error = ran.fails(1);
    assert!(error.contains("octet") && error.contains("damaged"), "{error}");
    assert_eq!(table.matches("ended by QUIT").count(), 2, "{table}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child = command(&["diagram", SEED]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(feed(command(&["diagram", "-"]), fs::read(SEED).unwrap().as_slice()).status(), 0);
}
