//! The POP3 server of Twisted: in clear and inside TLS, and APOP.
//!
//! What Twisted changes in a message: the dot that a message begins with is not stuffed, so that every client takes it
//! away; a CR gets in front of every LF, also where there is one. An empty message counts as deleted.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_interop::{
    Fetch, Letter, Peer, Security, TWISTED, assert_same, canonical, corpus, on_the_wire, suite,
};

/// What Twisted makes of a letter on the wire.
fn changed(letter: &Letter, octets: Vec<u8>) -> Vec<u8> {
    match letter.name {
        "a dot first" => octets[1..].to_vec(),
        "CRLF on disk" => doubled(&octets),
        _ => octets,
    }
}

/// With a second CR at every line's end.
fn doubled(octets: &[u8]) -> Vec<u8> {
    let twice = |&octet: &u8| if octet == b'\r' { vec![octet, octet] } else { vec![octet] };
    octets.iter().flat_map(twice).collect()
}

/// Without the empty one.
fn letters() -> Vec<Letter> {
    corpus().into_iter().filter(|letter| letter.name != "empty file").collect()
}

#[test]
fn the_peer_itself_works() {
    suite::the_peer_itself_works(&TWISTED, &letters(), changed, None);
}

#[test]
fn arrives_byte_for_byte() {
    suite::arrives_byte_for_byte(&TWISTED, &letters());
}

#[test]
fn keeps_and_then_fetches_only_what_is_new() {
    suite::keeps_and_then_fetches_only_what_is_new(&TWISTED, &letters());
}

#[test]
fn deletes_what_it_has() {
    suite::deletes_what_it_has(&TWISTED, &letters());
}

#[test]
fn keeps_and_deletes_later() {
    suite::keeps_and_deletes_later(&TWISTED, &letters());
}

#[test]
fn a_plan_changes_nothing() {
    suite::a_plan_changes_nothing(&TWISTED, &letters());
}

#[test]
fn a_wrong_password_is_told() {
    suite::a_wrong_password_is_told(&TWISTED);
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    suite::a_certificate_of_somebody_else_is_refused(&TWISTED);
}

#[test]
fn signs_in_by_every_mechanism() {
    suite::signs_in_by_every_mechanism(&TWISTED);
}

#[test]
fn a_message_that_is_refused_stops_no_other() {
    let (peer, whole) = (Peer::start(&TWISTED, &corpus()), Peer::start(&TWISTED, &letters()));
    let expected: Vec<_> =
        on_the_wire(&whole).into_iter().map(|octets| ("as on the wire", canonical(&octets))).collect();
    let fetch = Fetch::new(&peer, Security::Tls, "client");
    fetch.run(&fetch.to_maildir(), &["--keep", "false"]).failed_with(1);
    assert_same(fetch.in_maildir(), &expected);
    // The one that is refused.
    assert_eq!(peer.left(), 1);
}
