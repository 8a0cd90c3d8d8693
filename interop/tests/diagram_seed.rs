//! The session that the whole system grew from, for real: `restante play` speaks its dialogue to `restante serve` on
//! loopback while tcpdump captures it, and the diagram has a row for each step of it, with what is to be said about it.
//!
//! With `UPDATE_SNAPSHOTS=1` (`cargo xtask pictures`) the capture is kept as `docs/seed.pcap`, on the port of POP3 itself;
//! `crates/diagram/tests/seed.rs` draws the pages of the documentation from it. Pure ACKs, and who closes first, are what
//! the kernel did: they are drawn, and not asserted.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{fs, path::Path};

use restante_interop::{Account, Letter, Program, Recording, Security, Server};
use serde_json::Value;

const DIALOGUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/proto/tests/dialogues/seed.pop3");
const CAPTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/seed.pcap");
const LETTER: &[u8] = include_bytes!("seed/letter.eml");
/// The port of POP3, for the pictures; a test takes a free one.
const POP3_PORT: u16 = 110;

/// A step of the seed: what passes, from whom, in which state, and words of the remark beside it.
struct Step {
    kind: &'static str,
    from: &'static str,
    phase: Option<&'static str>,
    label: &'static str,
    remark: &'static [&'static str],
}

const fn step(
    kind: &'static str,
    from: &'static str,
    phase: Option<&'static str>,
    label: &'static str,
    remark: &'static [&'static str],
) -> Step {
    Step { kind, from, phase, label, remark }
}

const NONE: Option<&str> = None;
const AUTHORIZATION: Option<&str> = Some("AUTHORIZATION");
const TRANSACTION: Option<&str> = Some("TRANSACTION");
const UPDATE: Option<&str> = Some("UPDATE");

/// The seed, step by step.
const SEED: &[Step] = &[
    step("segment", "client", NONE, "SYN", &["TCP connection", "handshake"]),
    step("segment", "server", NONE, "SYN, ACK", &["server takes the connection"]),
    step("segment", "client", NONE, "ACK", &["handshake is complete"]),
    step("reply", "server", AUTHORIZATION, "+OK X1 POP3 Server", &["server greets", "ready"]),
    step(
        "command",
        "client",
        AUTHORIZATION,
        "USER john.doe@anydomain.com",
        &["whose mailbox", "john.doe@anydomain.com"],
    ),
    step("reply", "server", AUTHORIZATION, "+OK send your password", &["asks for the password"]),
    step("command", "client", AUTHORIZATION, "PASS [secret]", &["sends the password"]),
    step(
        "reply",
        "server",
        AUTHORIZATION,
        "+OK maildrop locked and ready",
        &["Name and password are right", "locked the maildrop"],
    ),
    step("command", "client", TRANSACTION, "STAT", &["how much mail"]),
    step("reply", "server", TRANSACTION, "+OK 1 1317", &["1 message", "1,317 octets in all"]),
    step("command", "client", TRANSACTION, "UIDL", &["unique-id of every message"]),
    step("reply", "server", TRANSACTION, "+OK 1 messages (1317 octets)", &["1 message"]),
    step(
        "listing",
        "server",
        TRANSACTION,
        "1 line, and the final dot",
        &["unique-id", "dot", "ends the list"],
    ),
    step("command", "client", TRANSACTION, "LIST", &["size of every message"]),
    step("reply", "server", TRANSACTION, "+OK 1 messages (1317 octets)", &["1 message"]),
    step(
        "listing",
        "server",
        TRANSACTION,
        "1 line, and the final dot",
        &["size in octets", "dot", "ends the list"],
    ),
    step("command", "client", TRANSACTION, "RETR 1", &["asks for message 1"]),
    step("reply", "server", TRANSACTION, "+OK 1317 octets", &["message follows", "1,317 octets"]),
    step(
        "message",
        "server",
        TRANSACTION,
        "message, 1,317 octets",
        &["1,317 octets", "dot on a line of its own ends it"],
    ),
    step("command", "client", TRANSACTION, "DELE 1", &["has message 1", "deleted"]),
    step("reply", "server", TRANSACTION, "+OK msg deleted", &["marked"]),
    step("command", "client", TRANSACTION, "QUIT", &["ends the session", "1 message"]),
    step(
        "reply",
        "server",
        UPDATE,
        "+OK POP3 Server saying Good-Bye",
        &["removed what was marked", "good-bye"],
    ),
];

#[test]
fn each_step_of_the_seed_has_its_row() {
    let keeps = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let letter =
        Letter { name: "the seed's", id: "390953946".to_owned(), stored: LETTER.to_vec(), seen: false };
    let account = Account {
        hostname: "X1",
        user: "john.doe@anydomain.com",
        password: "abcxyz",
        port: if keeps { POP3_PORT } else { 0 },
    };
    let server = Server::of(&account, &[letter]);
    let port = server.port(Security::Plain);
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let recording = Recording::start(folder.path(), "seed", &[port]);
    Program::ours(folder.path())
        .args(["play", DIALOGUE, &format!("pop3://127.0.0.1:{port}?tls=none")])
        .run()
        .succeeded();
    let capture = recording.stop();
    server.stop();
    let drawn = diagram(capture.file(), port);
    let session = &drawn["sessions"][0];
    let rows = session["rows"].as_array().unwrap();
    steps_are_there(rows);
    release_is_there(rows);
    assert_eq!(session["ending"], "ended by QUIT");
    assert_eq!(session["retrieved_octets"], 1317);
    let anomalies: Vec<&str> = session["anomalies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|anomaly| anomaly["name"].as_str().unwrap())
        .collect();
    assert_eq!(anomalies, ["password-in-clear"], "the seed's own remark, and nothing else");
    if keeps {
        fs::copy(capture.file(), CAPTURE).unwrap();
    }
}

fn diagram(capture: &Path, port: u16) -> Value {
    let drawn = Program::ours(Path::new("."))
        .args(["diagram", "--json", "--port", &port.to_string()])
        .arg(capture)
        .run()
        .succeeded();
    serde_json::from_slice(&drawn.stdout).unwrap()
}

/// Every step is there, in this order; between them stands nothing but ACKs.
fn steps_are_there(rows: &[Value]) {
    let mut rest = rows.iter();
    for step in SEED {
        let row = rest
            .by_ref()
            .find(|row| row["kind"] != "segment" || row["label"] != "ACK" || step.label == "ACK")
            .unwrap_or_else(|| panic!("no row for {}", step.label));
        let text = |key: &str| row[key].as_str();
        assert_eq!((text("kind"), text("from")), (Some(step.kind), Some(step.from)), "{}", step.label);
        assert_eq!((text("label"), text("phase")), (Some(step.label), step.phase), "{row}");
        let remark = text("remark").unwrap_or_default();
        for words in step.remark {
            assert!(remark.contains(words), "{}: «{words}» is not in «{remark}»", step.label);
        }
        assert!(row["carried"]["octets"].is_u64() && row["at"].is_number(), "{row}");
        if step.label.starts_with("PASS") {
            assert_eq!(row["findings"][0]["text"], "The password is sent in the clear!");
        }
    }
    let listed: Vec<&Value> =
        rows.iter().filter(|row| row["kind"] == "listing").map(|row| &row["lines"]).collect();
    assert_eq!(listed, [&serde_json::json!(["1 390953946", "."]), &serde_json::json!(["1 1317", "."])]);
}

/// Both sides close, whoever does it first.
fn release_is_there(rows: &[Value]) {
    for side in ["client", "server"] {
        let fin = rows.iter().find(|row| {
            row["kind"] == "segment"
                && row["from"] == side
                && row["label"].as_str().unwrap().starts_with("FIN")
        });
        let fin = fin.unwrap_or_else(|| panic!("the {side} does not close"));
        assert!(fin["remark"].as_str().unwrap().contains("closes its side"), "{fin}");
    }
}
