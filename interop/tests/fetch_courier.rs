//! Courier's POP3 server: in clear, by STLS, inside TLS.
//!
//! What Courier changes in a message: the dot that a message begins with is not stuffed, so that every client takes it
//! away; an empty message becomes an empty line; a CR gets in front of every LF, also where there is one.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_interop::{COURIER, Letter, corpus, suite};

/// What Courier makes of a letter on the wire.
fn changed(letter: &Letter, octets: Vec<u8>) -> Vec<u8> {
    match letter.name {
        "a dot first" => octets[1..].to_vec(),
        "empty file" => b"\r\n".to_vec(),
        "CRLF on disk" => doubled(&octets),
        _ => octets,
    }
}

/// With a second CR at every line's end.
fn doubled(octets: &[u8]) -> Vec<u8> {
    let twice = |&octet: &u8| if octet == b'\r' { vec![octet, octet] } else { vec![octet] };
    octets.iter().flat_map(twice).collect()
}

#[test]
fn the_peer_itself_works() {
    suite::the_peer_itself_works(&COURIER, &corpus(), changed, None);
}

#[test]
fn arrives_byte_for_byte() {
    suite::arrives_byte_for_byte(&COURIER, &corpus());
}

#[test]
fn keeps_and_then_fetches_only_what_is_new() {
    suite::keeps_and_then_fetches_only_what_is_new(&COURIER, &corpus());
}

#[test]
fn deletes_what_it_has() {
    suite::deletes_what_it_has(&COURIER, &corpus());
}

#[test]
fn keeps_and_deletes_later() {
    suite::keeps_and_deletes_later(&COURIER, &corpus());
}

#[test]
fn a_plan_changes_nothing() {
    suite::a_plan_changes_nothing(&COURIER, &corpus());
}

#[test]
fn a_wrong_password_is_told() {
    suite::a_wrong_password_is_told(&COURIER);
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    suite::a_certificate_of_somebody_else_is_refused(&COURIER);
}

#[test]
fn signs_in_by_every_mechanism() {
    suite::signs_in_by_every_mechanism(&COURIER);
}
