//! XOAUTH2: the example of Google's description, at once and behind an empty challenge, errors, and what is no message.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use proptest::prelude::*;
use restante_sasl::{
    ClientContext, ClientError, ClientExchange, Credentials, Evidence, ServerContext, ServerExchange, Step,
    TOKEN_MAX_OCTETS, find,
};

const TOKEN: &str = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg";
const EXAMPLE: &str = "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ==";
const EXAMPLE_ERROR: &str =
    "eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIG1hYyIsInNjb3BlIjoiaHR0cHM6Ly9tYWlsLmdvb2dsZS5jb20vIn0K";

fn server() -> Box<dyn ServerExchange> {
    (find("XOAUTH2").unwrap().server)(&ServerContext::default())
}

fn client(user: &str, token: &[u8]) -> Box<dyn ClientExchange> {
    (find("XOAUTH2").unwrap().client)(Credentials::token(user, token.to_vec()), &ClientContext::default())
}

/// What the server makes of one initial response: whose token, and the token.
fn read(message: &[u8]) -> Option<(String, String)> {
    match server().step(Some(message)) {
        Step::Verify(Evidence::Token { user, token }) => Some((user.unwrap(), token.expose().clone())),
        Step::Malformed => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_example_of_google() {
    let message = BASE64.decode(EXAMPLE).unwrap();
    assert_eq!(read(&message), Some(("someuser@example.com".into(), TOKEN.into())));
    let mut client = client("someuser@example.com", TOKEN.as_bytes());
    assert_eq!(client.initial().unwrap().expose(), &message);
    let error = BASE64.decode(EXAMPLE_ERROR).unwrap();
    assert_eq!(client.respond(&error).unwrap().expose(), b"");
    assert_eq!(client.refusal(), Some("401"));
    assert_eq!(client.respond(&error), Err(ClientError::Senseless));
    assert_eq!(client.accepted(), Err(ClientError::Senseless), "+OK behind an error");
}

/// Microsoft's form: AUTH XOAUTH2 alone, an empty challenge, and then the response.
#[test]
fn two_lines_are_as_good_as_one() {
    let message = BASE64.decode(EXAMPLE).unwrap();
    let mut server = server();
    let Step::Challenge(challenge) = server.step(None) else { panic!("a challenge") };
    assert_eq!(challenge, b"");
    let mut client = client("someuser@example.com", TOKEN.as_bytes());
    let response = client.respond(&challenge).unwrap();
    assert_eq!(response.expose(), &message);
    assert!(matches!(server.step(Some(response.expose())), Step::Verify(Evidence::Token { .. })));
    assert_eq!(client.respond(b""), Err(ClientError::Senseless));
    assert_eq!(client.accepted(), Ok(()));
}

#[test]
fn a_refused_token_is_told_why_and_a_good_one_nothing() {
    for accepted in [true, false] {
        let mut server = server();
        assert!(server.verified(false).is_none(), "nothing was shown yet");
        let mut server = self::server();
        server.step(Some(&BASE64.decode(EXAMPLE).unwrap()));
        let last = server.verified(accepted).map(|error| String::from_utf8(error).unwrap());
        assert_eq!(last.as_deref(), (!accepted).then_some(r#"{"status":"401","schemes":"bearer"}"#));
        assert!(server.verified(false).is_none(), "it is over");
        assert!(matches!(server.step(Some(b"")), Step::Malformed));
    }
}

#[test]
fn what_is_no_message() {
    let long_name = format!("user={}\x01auth=Bearer x\x01\x01", "u".repeat(256));
    let long = |octets: usize| format!("user=tim\x01auth=Bearer {}\x01\x01", "x".repeat(octets));
    assert!(read(long(TOKEN_MAX_OCTETS).as_bytes()).is_some());
    assert!(read(b"user=a=b\x01auth=bearer x\x01\x01").is_some());
    for bad in [
        "",
        "\x01\x01",
        "user=tim",
        "user=tim\x01\x01",
        "user=tim\x01auth=Bearer x",
        "user=tim\x01auth=Bearer x\x01",
        "user=tim\x01auth=Bearer x\x01\x01\x01",
        "user=tim\x01auth=Bearer x\x01more=y\x01\x01",
        "auth=Bearer x\x01user=tim\x01\x01",
        "user=\x01auth=Bearer x\x01\x01",
        "user=t\0m\x01auth=Bearer x\x01\x01",
        "user=tim\x01auth=\x01\x01",
        "user=tim\x01auth=Bearer \x01\x01",
        "user=tim\x01auth=Basic x\x01\x01",
        "user=tim\x01auth=Bearer a b\x01\x01",
        "n,a=tim,\x01auth=Bearer x\x01\x01",
        &long_name,
        &long(TOKEN_MAX_OCTETS + 1),
    ] {
        assert_eq!(read(bad.as_bytes()), None, "{bad:?}");
    }
    assert_eq!(read(b"user=\xff\x01auth=Bearer x\x01\x01"), None);
}

#[test]
fn what_the_client_cannot_send() {
    for (user, token) in [("", &b"x"[..]), ("tim", b""), ("tim", b"a b"), ("tim", b"\xff"), ("a\x01b", b"x")]
    {
        assert!(client(user, token).initial().is_none(), "{user:?} {token:?}");
        assert_eq!(client(user, token).respond(b""), Err(ClientError::Credentials));
    }
}

#[test]
fn nothing_shows_the_token() {
    let mut client = client("tim", TOKEN.as_bytes());
    let initial = client.initial().unwrap();
    let seen = format!("{client:?} {initial:?} {:?}", server().step(Some(initial.expose())));
    assert!(!seen.contains(TOKEN), "{seen}");
}

proptest! {
    #[test]
    fn what_a_client_sends_a_server_reads(user in "[^\\pC]{1,60}", token in "[!-~]{1,5000}") {
        let initial = client(&user, token.as_bytes()).initial().unwrap();
        prop_assert_eq!(read(initial.expose()), Some((user, token)));
    }

    #[test]
    fn any_octets_are_read_or_refused(message in "[user=a\x01th Bx\0]{0,60}") {
        if let Some((user, token)) = read(message.as_bytes()) {
            prop_assert!(message.contains(&user) && message.contains(&token));
        }
    }
}
