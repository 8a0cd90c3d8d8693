//! HEAD
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_interop::{COURIER, corpus, suite};

#[test]
fn the_peer_itself_works() {
    suite::the_peer_itself_works(&COURIER, |_, octets| octets.to_vec());
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
