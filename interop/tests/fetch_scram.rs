//! Our client at our own server, by SCRAM: bound to the TLS connection where there is one, and remembered.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::fs;

use restante_interop::{Fetch, Security, Server, assert_same, fresh, with_security};

#[test]
fn the_login_is_bound_to_the_connection_and_shows_no_password() {
    let server = Server::start(&[fresh()]);
    with_security(&Security::ALL, |security| {
        let (minimum, mechanism) = match security {
            Security::Plain => ("scram", "AUTH SCRAM-SHA-256 "),
            Security::Stls | Security::Tls => ("scram-plus", "AUTH SCRAM-SHA-256-PLUS "),
        };
        let fetch = Fetch::new(&server, security, &format!("{security:?}-scram"));
        // The second login is by what the first one has left in the journal.
        for more in [&["--minimum", minimum][..], &[]] {
            fetch.run(&fetch.to_maildir(), more).succeeded();
            let said = fs::read_to_string(fetch.file("transcript")).unwrap();
            assert!(said.contains(mechanism), "{said}");
        }
        assert_same(fetch.in_maildir(), &[("fresh", fresh().canonical())]);
    });
}

#[test]
fn a_wrong_password_is_told() {
    let server = Server::start(&[fresh()]);
    with_security(&Security::ALL, |security| {
        let fetch = Fetch::new(&server, security, &format!("{security:?}-wrong"));
        let outcome =
            fetch.run_with("wrong one", &server.authority(), &fetch.to_maildir(), &[]).failed_with(1);
        assert!(outcome.words().contains("AUTH"), "{outcome}");
    });
}
