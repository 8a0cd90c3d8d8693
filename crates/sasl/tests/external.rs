//! EXTERNAL: a name or none, at once or behind an empty challenge.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_sasl::{
    ClientContext, ClientError, ClientExchange, Credentials, Evidence, ServerContext, ServerExchange, Step,
    find,
};

fn server() -> Box<dyn ServerExchange> {
    (find("EXTERNAL").unwrap().server)(&ServerContext::default())
}

fn client(user: &str) -> Box<dyn ClientExchange> {
    (find("EXTERNAL").unwrap().client)(Credentials::certificate(user), &ClientContext::default())
}

/// What the server makes of one initial response: whom it asks to be, or nothing if it refuses.
fn read(message: &[u8]) -> Option<Option<String>> {
    match server().step(Some(message)) {
        Step::Verify(Evidence::Certificate { user }) => Some(user),
        Step::Malformed => None,
        other => panic!("{other:?}"),
    }
}

/// RFC 4422 §A.4: the examples.
#[test]
fn a_name_is_asked_for_or_left_to_the_certificate() {
    assert_eq!(read(b""), Some(None));
    assert_eq!(read(b"fred@example.com"), Some(Some("fred@example.com".into())));
    let mut server = server();
    assert!(matches!(server.step(None), Step::Challenge(challenge) if challenge.is_empty()));
    assert!(matches!(server.step(Some(b"")), Step::Verify(Evidence::Certificate { user: None })));
    assert!(matches!(server.step(Some(b"")), Step::Malformed), "it is over");
}

#[test]
fn names_are_utf_8_without_nul_and_bounded() {
    for bad in [&b"a\0"[..], b"\xff", &b"u".repeat(256)] {
        assert_eq!(read(bad), None, "{bad:?}");
    }
    let mut server = server();
    server.step(None);
    assert!(matches!(server.step(None), Step::Malformed));
}

#[test]
fn the_client_says_its_name_once() {
    let mut exchange = client("fred");
    assert_eq!(exchange.initial().unwrap().expose(), b"fred");
    assert_eq!(
        exchange.respond(b"").unwrap().expose(),
        b"fred",
        "where the server ignores what came at once"
    );
    assert_eq!(exchange.respond(b""), Err(ClientError::Senseless));
    assert_eq!(client("fred").respond(b"who?"), Err(ClientError::Senseless));
    assert_eq!(client("").initial().unwrap().expose(), b"");
    assert!(client("a\0b").initial().is_none());
    assert_eq!(client("a\0b").respond(b""), Err(ClientError::Credentials));
    assert_eq!(exchange.accepted(), Ok(()));
}
