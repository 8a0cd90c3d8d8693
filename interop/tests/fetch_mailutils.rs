//! GNU Mailutils' POP3 server: in clear, by STLS, inside TLS.
//!
//! What Mailutils changes in a message: as soon as a client asks for unique-ids it puts one at the end of the header, as
//! `X-UIDL:`, for good; LIST keeps telling the size without it. Of a message whose header has no end, or one whose lines
//! end in CRLF on the disk, it leaves nothing but this field.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_interop::{Letter, MAILUTILS, corpus, suite};

/// What Mailutils makes of a letter on the wire.
fn changed(letter: &Letter, octets: Vec<u8>) -> Vec<u8> {
    match letter.name {
        "CRLF on disk" | "header only" | "empty file" => b"\r\n".to_vec(),
        _ => octets,
    }
}

#[test]
fn the_peer_itself_works() {
    suite::the_peer_itself_works(&MAILUTILS, &corpus(), changed, Some("X-UIDL: "));
}

#[test]
fn arrives_byte_for_byte() {
    suite::arrives_byte_for_byte(&MAILUTILS, &corpus());
}

#[test]
fn keeps_and_then_fetches_only_what_is_new() {
    suite::keeps_and_then_fetches_only_what_is_new(&MAILUTILS, &corpus());
}

#[test]
fn deletes_what_it_has() {
    suite::deletes_what_it_has(&MAILUTILS, &corpus());
}

#[test]
fn keeps_and_deletes_later() {
    suite::keeps_and_deletes_later(&MAILUTILS, &corpus());
}

#[test]
fn a_plan_changes_nothing() {
    suite::a_plan_changes_nothing(&MAILUTILS, &corpus());
}

#[test]
fn a_wrong_password_is_told() {
    suite::a_wrong_password_is_told(&MAILUTILS);
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    suite::a_certificate_of_somebody_else_is_refused(&MAILUTILS);
}

#[test]
fn signs_in_by_every_mechanism() {
    suite::signs_in_by_every_mechanism(&MAILUTILS);
}
