//! PLAIN: the examples of RFC 4616 §4, its NUL rules, bounds, and both halves against each other.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use proptest::prelude::*;
use restante_sasl::{
    ClientContext, ClientError, ClientExchange, Credentials, Evidence, PASSWORD_MAX_OCTETS, ServerContext,
    ServerExchange, Step, find,
};

fn server() -> Box<dyn ServerExchange> {
    (find("PLAIN").unwrap().server)(&ServerContext::default())
}

fn client(user: &str, password: &[u8]) -> Box<dyn ClientExchange> {
    (find("PLAIN").unwrap().client)(Credentials::new(user, password.to_vec()), &ClientContext::default())
}

/// What the server makes of one initial response: the name and the password, or nothing if it refuses.
fn read(message: &[u8]) -> Option<(String, Vec<u8>)> {
    match server().step(Some(message)) {
        Step::Verify(Evidence::Password(Credentials { user, password, .. })) => {
            Some((user, password.expose().clone()))
        }
        Step::Malformed => None,
        other => panic!("{other:?} after the only message"),
    }
}

fn pair(user: &str, password: &str) -> Option<(String, Vec<u8>)> {
    Some((user.to_owned(), password.as_bytes().to_vec()))
}

#[test]
fn the_first_example_of_rfc_4616() {
    assert_eq!(read(b"\0tim\0tanstaaftanstaaf"), pair("tim", "tanstaaftanstaaf"));
}

/// RFC 4616 §4, second example: "Kurt" may act for "Ursel" there. Here nobody acts for anybody else.
#[test]
fn the_second_example_of_rfc_4616_asks_to_be_somebody_else() {
    assert_eq!(read(b"Ursel\0Kurt\0xipj3plmq"), None);
    assert_eq!(read(b"Kurt\0Kurt\0xipj3plmq"), pair("Kurt", "xipj3plmq"));
}

#[test]
fn an_authorization_identity_compares_with_ascii_case_folded() {
    assert_eq!(read(b"KURT@Example.org\0kurt@example.ORG\0x"), pair("kurt@example.ORG", "x"));
    assert_eq!(read("\u{c4}\0\u{e4}\0x".as_bytes()), None);
    assert_eq!(read(b"kurt \0kurt\0x"), None);
}

#[test]
fn two_nuls_exactly() {
    for bad in [
        &b""[..],
        b"tim",
        b"tim\0secret",
        b"\0tim",
        b"\0\0",
        b"\0\0secret",
        b"\0tim\0sec\0ret",
        b"\0tim\0secret\0",
    ] {
        assert_eq!(read(bad), None, "{bad:?}");
    }
}

/// The directory refuses it in the words of a wrong password, so that a client asks its user again.
#[test]
fn an_empty_password_is_left_to_the_directory() {
    assert_eq!(read(b"\0tim\0"), pair("tim", ""));
}

#[test]
fn a_password_may_be_of_any_encoding_and_a_name_may_not() {
    assert_eq!(read(b"\0tim\0\xfc \x01\r\n").unwrap().1, b"\xfc \x01\r\n");
    assert_eq!(read(b"\0t\xfcm\0x"), None);
    assert_eq!(read("\0j\u{f6}rg\0x".as_bytes()), pair("j\u{f6}rg", "x"));
}

#[test]
fn bounds() {
    let message = |user: usize, password: usize| {
        [b"\0".as_slice(), &b"u".repeat(user), b"\0", &b"p".repeat(password)].concat()
    };
    assert!(read(&message(255, PASSWORD_MAX_OCTETS)).is_some());
    assert!(read(&message(256, 1)).is_none());
    assert!(read(&message(1, PASSWORD_MAX_OCTETS + 1)).is_none());
}

#[test]
fn without_an_initial_response_comes_an_empty_challenge() {
    let mut server = server();
    assert!(matches!(server.step(None), Step::Challenge(challenge) if challenge.is_empty()));
    assert!(matches!(server.step(Some(b"\0tim\0secret")), Step::Verify(Evidence::Password(_))));
}

#[test]
fn an_exchange_that_is_over_stays_over() {
    let mut exchange = server();
    assert!(matches!(exchange.step(Some(b"\0tim\0secret")), Step::Verify(Evidence::Password(_))));
    assert!(matches!(exchange.step(Some(b"\0tim\0secret")), Step::Malformed));
    let mut exchange = server();
    exchange.step(None);
    assert!(matches!(exchange.step(None), Step::Malformed));
    assert!(matches!(exchange.step(Some(b"\0tim\0secret")), Step::Malformed));
}

#[test]
fn the_client_answers_one_empty_challenge() {
    let mut exchange = client("tim", b"tanstaaf");
    assert_eq!(exchange.initial().unwrap().expose(), b"\0tim\0tanstaaf");
    // A server that ignored the initial response is answered; one that goes on asking is not.
    assert_eq!(exchange.respond(b"").unwrap().expose(), b"\0tim\0tanstaaf");
    assert_eq!(exchange.respond(b""), Err(ClientError::Senseless));
    assert_eq!(client("tim", b"x").respond(b"Password:"), Err(ClientError::Senseless));
    for (user, password) in [("", "x"), ("a\0b", "x"), ("a", "x\0y")] {
        let mut exchange = client(user, password.as_bytes());
        assert!(exchange.initial().is_none());
        assert_eq!(exchange.respond(b""), Err(ClientError::Credentials));
    }
}

#[test]
fn nothing_shows_the_password() {
    let mut exchange = client("tim", b"tanstaaf");
    let seen = format!("{exchange:?} {:?} {:?}", exchange.initial(), server().step(Some(b"\0tim\0tanstaaf")));
    assert!(!seen.contains("tanstaaf"), "{seen}");
}

proptest! {
    #[test]
    fn what_a_client_sends_a_server_reads(user in "[^\0]{1,60}", password in prop::collection::vec(1_u8.., 0..300)) {
        let message = client(&user, &password).initial().unwrap();
        prop_assert_eq!(read(message.expose()), Some((user, password)));
    }

    #[test]
    fn any_octets_are_read_or_refused(message in prop::collection::vec(any::<u8>(), 0..2000)) {
        if let Some((user, password)) = read(&message) {
            prop_assert!(message.ends_with(&[user.as_bytes(), b"\0", &password].concat()));
            prop_assert!(!user.is_empty() && !user.contains('\0') && !password.contains(&0));
        }
    }
}
