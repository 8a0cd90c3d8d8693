//! openssl s_client: the octets on the wire themselves, behind STLS and behind TLS, in TLS 1.2 and 1.3.
//!
//! What it changes in a message: nothing; it shows the wire, dots still stuffed. `-quiet` is needed, or a line that
//! begins with Q or R is a command to s_client itself; `-crlf` gives our LF its CR. It has no plain form, and knows no
//! messages: keeping, deleting and fetching what is new is done here by the commands it is given.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_interop::{
    Letter, Outcome, PASSWORD, Program, Security, Server, USER, corpus, fresh, stuffed, with_security,
};

const WAYS: [Security; 2] = [Security::Stls, Security::Tls];

fn s_client(server: &Server, security: Security) -> Program {
    let folder = server.authority().parent().expect("it is in a folder").to_owned();
    let program = Program::new("openssl", "openssl", &folder)
        .args([
            "s_client",
            "-quiet",
            "-crlf",
            "-verify_return_error",
            "-verify_hostname",
            "localhost",
            "-connect",
        ])
        .arg(format!("localhost:{}", server.port(security)));
    if security == Security::Stls { program.args(["-starttls", "pop3"]) } else { program }
}

/// Signs in and says these commands in one breath.
fn session(server: &Server, security: Security, more: &[&str], commands: &[String]) -> Outcome {
    let mut input = format!("USER {USER}\nPASS {PASSWORD}\n");
    for command in commands {
        input.push_str(command);
        input.push('\n');
    }
    input.push_str("QUIT\n");
    s_client(server, security)
        .arg("-CAfile")
        .arg(server.authority())
        .args(more)
        .input(input)
        .run()
        .succeeded()
}

/// The server's octets line by line, to be taken apart.
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    fn line(&mut self) -> &'a [u8] {
        let end = self.0.windows(2).position(|octets| octets == b"\r\n").expect("a line that ends") + 2;
        let (line, rest) = self.0.split_at(end);
        self.0 = rest;
        line
    }

    #[track_caller]
    fn ok(&mut self) {
        let line = self.line();
        assert!(line.starts_with(b"+OK"), "{}", line.escape_ascii());
    }

    #[track_caller]
    fn expect(&mut self, octets: &[u8], what: &dyn std::fmt::Debug) {
        assert!(
            self.0.starts_with(octets),
            "{what:?}: {}",
            self.0[..self.0.len().min(octets.len()).min(600)].escape_ascii()
        );
        self.0 = &self.0[octets.len()..];
    }

    /// Behind the answers to USER and PASS, and the greeting, which s_client keeps for itself where it says STLS.
    fn signed_in(security: Security, octets: &'a [u8]) -> Self {
        let mut wire = Self(octets);
        for _ in 0..if security == Security::Tls { 3 } else { 2 } {
            wire.ok();
        }
        wire
    }
}

/// The letters in the order of their message numbers.
fn in_order(server: &Server, security: Security, letters: &[Letter]) -> Vec<Letter> {
    let outcome = session(server, security, &[], &["UIDL".into()]);
    let mut wire = Wire::signed_in(security, &outcome.stdout);
    wire.ok();
    let mut ordered = Vec::new();
    loop {
        let line = String::from_utf8(wire.line().to_vec()).expect("ids are ASCII");
        if line == ".\r\n" {
            return ordered;
        }
        let id = line.trim_end().split_once(' ').expect("number and id").1;
        ordered.push(letters.iter().find(|letter| letter.id == id).expect("an id that we know").clone());
    }
}

#[test]
fn every_octet_on_the_wire_is_right() {
    let letters = corpus();
    let server = Server::start(&letters);
    with_security(&WAYS, |security| {
        let letters = in_order(&server, security, &letters);
        for version in ["-tls1_2", "-tls1_3"] {
            let commands: Vec<String> = (1..=letters.len()).map(|number| format!("RETR {number}")).collect();
            let outcome = session(&server, security, &[version], &commands);
            let mut wire = Wire::signed_in(security, &outcome.stdout);
            for letter in &letters {
                wire.ok();
                wire.expect(&stuffed(&letter.canonical()), letter);
            }
            wire.ok();
            assert_eq!(wire.0, b"", "nothing follows the answer to QUIT");
        }
    });
    assert_eq!(server.left().len(), letters.len());
    server.stop();
}

#[test]
fn deletes_and_then_shows_only_what_is_new() {
    with_security(&WAYS, |security| {
        let letters = corpus();
        let server = Server::start(&letters);
        let commands: Vec<String> = (1..=letters.len()).map(|number| format!("DELE {number}")).collect();
        let outcome = session(&server, security, &[], &commands);
        assert!(!outcome.text().contains("-ERR"), "{outcome}");
        assert_eq!(server.left(), Vec::<String>::new());

        server.deliver(&fresh());
        let outcome = session(&server, security, &[], &["LIST".into(), "UIDL".into(), "RETR 1".into()]);
        let mut wire = Wire::signed_in(security, &outcome.stdout);
        let octets = fresh().canonical();
        wire.ok();
        wire.expect(format!("1 {}\r\n.\r\n", octets.len()).as_bytes(), &"LIST");
        wire.ok();
        wire.expect(format!("1 {}\r\n.\r\n", fresh().id).as_bytes(), &"UIDL");
        wire.ok();
        wire.expect(&stuffed(&octets), &fresh());
        server.stop();
    });
}

#[test]
fn the_protocol_name_is_honoured() {
    // ALPN: `pop3` is ours (RFC 7301 and its registry); a client that asks for another one is at the wrong door.
    let server = Server::start(&corpus());
    with_security(&WAYS, |security| {
        let outcome = session(&server, security, &["-alpn", "pop3"], &["STAT".into()]);
        assert!(!outcome.text().contains("-ERR"), "{outcome}");
        s_client(&server, security)
            .arg("-CAfile")
            .arg(server.authority())
            .args(["-alpn", "imap"])
            .input("QUIT\n")
            .run()
            .failed();
    });
    server.stop();
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    let server = Server::start(&corpus());
    with_security(&WAYS, |security| {
        let outcome =
            s_client(&server, security).arg("-CAfile").arg(server.stranger()).input("QUIT\n").run().failed();
        assert!(outcome.words().contains("verify error"), "{outcome}");
    });
    server.stop();
}
