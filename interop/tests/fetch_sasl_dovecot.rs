//! Dovecot's POP3 server with each mechanism that it has for a password or a certificate: SCRAM, CRAM-MD5, APOP, EXTERNAL.
//! One message is fetched by each.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::fs;

use restante_interop::{DOVECOT_SASL, Fetch, Peer, Security, assert_same, fresh, suite, with_security};

#[test]
fn signs_in_by_every_mechanism() {
    suite::signs_in_by_every_mechanism(&DOVECOT_SASL);
}

#[test]
fn takes_the_strongest_and_says_so() {
    let peer = Peer::start(&DOVECOT_SASL, &[fresh()]);
    with_security(&Security::ALL, |security| {
        let fetch = Fetch::new(&peer, security, &format!("{security:?}-strongest"));
        fetch.run(&fetch.to_maildir(), &["--minimum", "scram"]).succeeded();
        assert_same(fetch.in_maildir(), &[("fresh", fresh().canonical())]);
        let said = fs::read_to_string(fetch.file("transcript")).unwrap();
        assert!(said.contains("AUTH SCRAM-SHA-256"), "{said}");
        // What Dovecot 2.3 does not have is not fallen back from.
        let fetch = Fetch::new(&peer, security, &format!("{security:?}-bound"));
        let outcome = fetch.run(&fetch.to_maildir(), &["--minimum", "scram-plus"]).failed_with(1);
        assert!(outcome.words().contains("no login as strong as scram-plus"), "{outcome}");
        let said = fs::read_to_string(fetch.file("transcript")).unwrap();
        assert!(!said.contains("AUTH ") && !said.contains("USER "), "{said}");
    });
}

#[test]
fn a_wrong_password_is_told_by_scram_too() {
    let peer = Peer::start(&DOVECOT_SASL, &[fresh()]);
    with_security(&Security::ALL, |security| {
        let fetch = Fetch::new(&peer, security, &format!("{security:?}-wrong"));
        let outcome = fetch.run_with("wrong one", &peer.authority(), &fetch.to_maildir(), &[]).failed_with(1);
        assert!(outcome.words().contains("AUTH"), "{outcome}");
    });
}

#[test]
fn apop_where_its_time_stamp_can_be_believed() {
    let peer = Peer::start(&DOVECOT_SASL, &[fresh()]);
    for security in [Security::Plain, Security::Tls] {
        let fetch = Fetch::new(&peer, security, &format!("{security:?}-apop"));
        fetch.run(&fetch.to_maildir(), &["--mechanism", "APOP"]).succeeded();
        assert_same(fetch.in_maildir(), &[("fresh", fresh().canonical())]);
    }
    let fetch = Fetch::new(&peer, Security::Stls, "stls-apop");
    let outcome = fetch.run(&fetch.to_maildir(), &["--mechanism", "APOP"]).failed_with(1);
    assert!(outcome.words().contains("came before TLS"), "{outcome}");
}

#[test]
fn the_certificate_of_a_user_is_enough() {
    let peer = Peer::start(&DOVECOT_SASL, &[fresh()]);
    let (certificate, key) = (peer.file("client.pem"), peer.file("client.key"));
    for security in [Security::Tls, Security::Stls] {
        let fetch = Fetch::new(&peer, security, &format!("{security:?}-external"));
        let program = fetch.program(&peer.authority(), &fetch.to_maildir()).args(["--mechanism", "EXTERNAL"]);
        let program = program.arg("--client-certificate").arg(&certificate).arg("--client-key").arg(&key);
        fetch.told_nobody(&program.run().succeeded());
        assert_same(fetch.in_maildir(), &[("fresh", fresh().canonical())]);
    }
    // Without the certificate there is nothing to go by, which is told before anybody is called.
    let fetch = Fetch::new(&peer, Security::Tls, "external-without");
    let program = fetch.program(&peer.authority(), &fetch.to_maildir()).args(["--mechanism", "EXTERNAL"]);
    program.run().failed_with(2);
}
