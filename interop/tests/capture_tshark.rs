//! tshark: real sessions are captured by tcpdump, and what `restante diagram` says of every segment (time, direction,
//! flags, relative sequence and acknowledgement number, length) is what tshark says.
//!
//! Loss, repetition and captures that begin in the middle are made by editing a capture: the packets are real, and no
//! network that loses them is needed. `.time_relative` of tshark counts from the connection's first packet, as ours does.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    path::Path,
    process::{Command, Stdio},
};

use restante_interop::{
    Capture, Fetch, Letter, PASSWORD, Program, Recording, Security, Server, USER, corpus, until,
    with_security,
};

/// How many messages are fetched in one go.
const MESSAGES: usize = 1000;

fn ports(server: &Server) -> [u16; 2] {
    [server.port(Security::Plain), server.port(Security::Tls)]
}

fn letters(count: usize) -> Vec<Letter> {
    let letter = |n: usize| Letter {
        name: "one of many",
        id: format!("1900000000.M{n}P7.mail.example.org"),
        stored: format!("Subject: {n}\n\n{}", "a line of the message\n".repeat(n % 60)).into_bytes(),
        seen: false,
    };
    (1..=count).map(letter).collect()
}

fn curl(server: &Server, security: Security) -> Program {
    let scheme = if security == Security::Tls { "pop3s" } else { "pop3" };
    let authority = server.authority();
    let folder = authority.parent().expect("it is in a folder");
    let program = Program::new("curl", "curl", folder)
        .args(["--disable", "--silent", "--show-error", "--ipv4", "--user", &format!("{USER}:{PASSWORD}")])
        .arg("--cacert")
        .arg(&authority);
    let program = if security == Security::Stls { program.arg("--ssl-reqd") } else { program };
    program.arg(format!("{scheme}://localhost:{}/1", server.port(security)))
}

/// A capture of one session of curl.
fn recorded(server: &Server, folder: &Path, security: Security) -> Capture {
    let recording = Recording::start(folder, "session", &ports(server));
    curl(server, security).run().succeeded();
    recording.stop()
}

#[test]
fn sessions_in_clear_and_in_tls() {
    let server = Server::start(&corpus());
    with_security(&Security::ALL, |security| {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path());
        let capture = recorded(&server, folder.path(), security);
        assert_eq!(capture.agrees(&ports(&server)), 1);
        let told = capture.diagram(&ports(&server), 1).words();
        assert!(!told.contains(PASSWORD), "{told}");
    });
    server.stop();
}

#[test]
fn a_pipelined_fetch_of_a_thousand_messages() {
    let server = Server::start(&letters(MESSAGES));
    let folder = tempfile::tempdir().unwrap();
    open(folder.path());
    let recording = Recording::start(folder.path(), "fetch", &ports(&server));
    let fetch = Fetch::new(&server, Security::Plain, "fetch");
    fetch.run(&fetch.to_maildir(), &[]).succeeded();
    let capture = recording.stop();
    assert!(capture.agrees(&ports(&server)) >= 1);
    server.stop();
}

#[test]
fn a_client_that_is_killed_in_the_middle() {
    let big = Letter {
        name: "a long one",
        id: "1900000000.M1P7.mail.example.org".to_owned(),
        stored: format!("Subject: long\n\n{}", "a line of the message\n".repeat(2_000_000)).into_bytes(),
        seen: false,
    };
    let server = Server::start(&[big]);
    let folder = tempfile::tempdir().unwrap();
    open(folder.path());
    let recording = Recording::start(folder.path(), "killed", &ports(&server));
    let mut client = Command::new("curl")
        .args([
            "--disable",
            "--silent",
            "--ipv4",
            "--limit-rate",
            "1M",
            "--user",
            &format!("{USER}:{PASSWORD}"),
        ])
        .arg(format!("pop3://localhost:{}/1", server.port(Security::Plain)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("curl runs");
    let under_way = until(|| (recording.so_far().len() > 300_000).then_some(()));
    client.kill().expect("it is our child");
    client.wait().expect("it is our child");
    assert!(under_way.is_some(), "nothing is captured");
    // The server notices, and its end is in the capture too.
    let capture = recording.stop();
    assert_eq!(capture.agrees(&ports(&server)), 1);
    server.stop();
}

#[test]
fn captures_that_lack_packets_or_have_them_in_another_order() {
    let server = Server::start(&letters(200));
    let folder = tempfile::tempdir().unwrap();
    open(folder.path());
    let recording = Recording::start(folder.path(), "whole", &ports(&server));
    let fetch = Fetch::new(&server, Security::Plain, "fetch");
    fetch.run(&fetch.to_maildir(), &[]).succeeded();
    let whole = recording.stop();
    let ports = ports(&server);
    for every in [3, 7, 20] {
        let lost = whole.edited("lost", |packets| {
            let mut place = 0;
            packets.retain(|_| {
                place += 1;
                place % every != 0
            });
        });
        lost.agrees(&ports);
        let repeated = whole.edited("repeated", |packets| {
            for place in (4..packets.len()).step_by(every) {
                packets.insert(place, packets[place - 1]);
            }
        });
        repeated.agrees(&ports);
        let swapped = whole.edited("swapped", |packets| {
            for place in (4..packets.len()).step_by(every) {
                packets.swap(place, place - 1);
            }
        });
        swapped.agrees(&ports);
    }
    for first in [1, 2, 3, 4, 5, 6, 10, 17] {
        let joined = whole.edited("joined", |packets| drop(packets.drain(..first)));
        joined.agrees(&ports);
    }
    server.stop();
}

/// tshark runs as nobody, and reads what is in the folder.
fn open(folder: &Path) {
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}
