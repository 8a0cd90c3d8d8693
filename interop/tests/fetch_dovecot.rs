//! Dovecot's POP3 server: in clear, by STLS, inside TLS, and every mechanism that it has.
//!
//! What Dovecot changes in a message: the dot that a message begins with is not stuffed, so that every client takes it
//! away; an empty message becomes an empty line. Nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{fs, os::unix::fs::PermissionsExt};

use restante_interop::{DOVECOT, Fetch, Letter, PASSWORD, Peer, Security, assert_same, corpus, fresh, suite};

/// What Dovecot makes of a letter on the wire.
fn changed(letter: &Letter, octets: Vec<u8>) -> Vec<u8> {
    match letter.name {
        "a dot first" => octets[1..].to_vec(),
        "empty file" => b"\r\n".to_vec(),
        _ => octets,
    }
}

#[test]
fn the_peer_itself_works() {
    suite::the_peer_itself_works(&DOVECOT, &corpus(), changed, None);
}

#[test]
fn arrives_byte_for_byte() {
    suite::arrives_byte_for_byte(&DOVECOT, &corpus());
}

#[test]
fn keeps_and_then_fetches_only_what_is_new() {
    suite::keeps_and_then_fetches_only_what_is_new(&DOVECOT, &corpus());
}

#[test]
fn deletes_what_it_has() {
    suite::deletes_what_it_has(&DOVECOT, &corpus());
}

#[test]
fn keeps_and_deletes_later() {
    suite::keeps_and_deletes_later(&DOVECOT, &corpus());
}

#[test]
fn a_plan_changes_nothing() {
    suite::a_plan_changes_nothing(&DOVECOT, &corpus());
}

#[test]
fn a_wrong_password_is_told() {
    suite::a_wrong_password_is_told(&DOVECOT);
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    suite::a_certificate_of_somebody_else_is_refused(&DOVECOT);
}

#[test]
fn signs_in_by_every_mechanism() {
    suite::signs_in_by_every_mechanism(&DOVECOT);
}

#[test]
fn the_password_comes_from_a_file_or_a_command() {
    let peer = Peer::start(&DOVECOT, &[fresh()]);
    for option in ["--password-file", "--password-command"] {
        let fetch = Fetch::new(&peer, Security::Tls, option.trim_start_matches('-'));
        let file = fetch.file("password");
        fs::write(&file, format!("{PASSWORD}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let file = file.display();
        let value = if option.ends_with("file") { file.to_string() } else { format!("cat '{file}'") };
        let program = fetch.program(&peer.authority(), &fetch.to_eml()).args([option, &value]);
        fetch.told_nobody(&program.run().succeeded());
        assert_same(fetch.in_eml(), &[("fresh", fresh().canonical())]);
    }
}
