//! HEAD
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_interop::{TWISTED, corpus, suite};

#[test]
fn the_peer_itself_works() {
    suite::the_peer_itself_works(&TWISTED, |_, octets| octets.to_vec());
}

#[test]
fn arrives_byte_for_byte() {
    suite::arrives_byte_for_byte(&TWISTED, &corpus());
}

#[test]
fn keeps_and_then_fetches_only_what_is_new() {
    suite::keeps_and_then_fetches_only_what_is_new(&TWISTED, &corpus());
}

#[test]
fn deletes_what_it_has() {
    suite::deletes_what_it_has(&TWISTED, &corpus());
}

#[test]
fn keeps_and_deletes_later() {
    suite::keeps_and_deletes_later(&TWISTED, &corpus());
}

#[test]
fn a_plan_changes_nothing() {
    suite::a_plan_changes_nothing(&TWISTED, &corpus());
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
