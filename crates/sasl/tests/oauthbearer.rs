//! OAUTHBEARER: the examples of RFC 7628 §4, what is no message, errors, bounds, and both halves against each other.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use proptest::prelude::*;
use restante_sasl::{
    ClientContext, ClientError, ClientExchange, Credentials, Evidence, ServerContext, ServerExchange, Step,
    TOKEN_MAX_OCTETS, find,
};

const TOKEN: &str = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
const ERROR: &[u8] = br#"{"status":"invalid_token"}"#;

fn server() -> Box<dyn ServerExchange> {
    (find("OAUTHBEARER").unwrap().server)(&ServerContext::default())
}

fn client(user: &str, token: &[u8], host: &str, port: u16) -> Box<dyn ClientExchange> {
    let context = ClientContext { host: host.into(), port, ..Default::default() };
    (find("OAUTHBEARER").unwrap().client)(Credentials::token(user, token.to_vec()), &context)
}

/// What the server makes of one initial response: whose token, and the token.
fn read(message: &[u8]) -> Option<(Option<String>, String)> {
    match server().step(Some(message)) {
        Step::Verify(Evidence::Token { user, token }) => Some((user, token.expose().clone())),
        Step::Malformed => None,
        other => panic!("{other:?}"),
    }
}

fn token(user: Option<&str>) -> Option<(Option<String>, String)> {
    Some((user.map(str::to_owned), TOKEN.to_owned()))
}

/// RFC 7628 §4.1.
#[test]
fn the_example_of_a_login() {
    let message = format!(
        "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer {TOKEN}\x01\x01"
    );
    assert_eq!(read(message.as_bytes()), token(Some("user@example.com")));
    let mut client = client("user@example.com", TOKEN.as_bytes(), "server.example.com", 143);
    assert_eq!(client.initial().unwrap().expose(), message.as_bytes());
    assert_eq!(client.accepted(), Ok(()));
}

/// RFC 7628 §4.2 and §4.3: the reason first, then the client's word, then -ERR.
#[test]
fn the_examples_of_a_failure() {
    let mut exchange = server();
    let asks = b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=\x01\x01";
    assert!(matches!(exchange.step(Some(asks)), Step::Challenge(error) if error == ERROR));
    assert!(matches!(exchange.step(Some(b"\x01")), Step::Malformed));
    let mut exchange = server();
    assert!(matches!(exchange.step(Some(b"n,,\x01\x01")), Step::Challenge(error) if error == ERROR));

    let mut client = client("user@example.com", TOKEN.as_bytes(), "server.example.com", 143);
    client.initial().unwrap();
    assert!(client.refusal().is_none());
    let error = br#"{"status":"invalid_token","scope":"example_scope","openid-configuration":"https://example.com/x"}"#;
    assert_eq!(client.respond(error).unwrap().expose(), b"\x01");
    assert_eq!(client.refusal(), Some("invalid_token"));
    assert_eq!(client.respond(error), Err(ClientError::Senseless));
    assert_eq!(client.accepted(), Err(ClientError::Senseless), "+OK behind an error");
}

#[test]
fn a_refused_token_is_told_why_and_a_good_one_nothing() {
    let message = format!("n,,\x01auth=Bearer {TOKEN}\x01\x01");
    for (accepted, last) in [(true, None), (false, Some(ERROR.to_vec()))] {
        let mut server = server();
        assert!(server.verified(false).is_none(), "nothing was shown yet");
        let mut server = self::server();
        assert!(matches!(server.step(None), Step::Challenge(empty) if empty.is_empty()));
        assert!(matches!(server.step(Some(message.as_bytes())), Step::Verify(_)));
        assert_eq!(server.verified(accepted), last);
        assert!(server.verified(false).is_none(), "it is over");
        assert!(matches!(server.step(Some(message.as_bytes())), Step::Malformed));
    }
}

#[test]
fn what_is_a_message() {
    for (message, user) in [
        (format!("n,,\x01auth=Bearer {TOKEN}\x01\x01"), None),
        (format!("y,,\x01auth=Bearer {TOKEN}\x01\x01"), None),
        (format!("n,a=a=2Cb=3D,\x01auth=bearer {TOKEN}\x01\x01"), Some("a,b=")),
        (format!("n,,\x01auth=BEARER  {TOKEN}\x01\x01"), None),
        (format!("n,,\x01x=\x01host=h\x01auth=Bearer {TOKEN}\x01qs=a=b&c\x01\x01"), None),
    ] {
        assert_eq!(read(message.as_bytes()), token(user), "{message:?}");
    }
}

#[test]
fn what_is_no_message() {
    let long_name = format!("n,a={},\x01auth=Bearer {TOKEN}\x01\x01", "u".repeat(256));
    for bad in [
        "",
        "\x01",
        "n,,",
        "n,,\x01",
        "n,,auth=Bearer x\x01\x01",
        "n,,\x01auth=Bearer x\x01",
        "n,,\x01auth=Bearer x",
        "n,,\x01auth=Bearer x\x01\x01\x01",
        "n,,\x01auth=Bearer x\x01\x01rest",
        "n,,\x01auth=Bearer \x01\x01",
        "n,,\x01auth=Bearer\x01\x01",
        "n,,\x01auth=Bearerx\x01\x01",
        "n,,\x01auth=Bearer a b\x01\x01",
        "n,,\x01auth=Bearer \u{e4}\x01\x01",
        "n,,\x01auth=Basic eA==\x01\x01",
        "n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01",
        "n,,\x01auth=Bearer x\x01auth=\x01\x01",
        "n,,\x01h0st=x\x01auth=Bearer x\x01\x01",
        "n,,\x01=x\x01auth=Bearer x\x01\x01",
        "n,,\x01host\x01auth=Bearer x\x01\x01",
        "n,,\x01host=a\0b\x01auth=Bearer x\x01\x01",
        "n,tim,\x01auth=Bearer x\x01\x01",
        "n,a=,\x01auth=Bearer x\x01\x01",
        "n,a=a=b,\x01auth=Bearer x\x01\x01",
        // There is no -PLUS of it.
        "p=tls-exporter,,\x01auth=Bearer x\x01\x01",
        &long_name,
    ] {
        assert_eq!(read(bad.as_bytes()), None, "{bad:?}");
    }
    assert_eq!(read(b"n,,\x01host=\xff\x01auth=Bearer x\x01\x01"), None);
    let mut server = server();
    server.step(None);
    assert!(matches!(server.step(None), Step::Malformed));
}

#[test]
fn a_token_has_a_longest_length() {
    let message = |octets: usize| format!("n,,\x01auth=Bearer {}\x01\x01", "x".repeat(octets));
    assert!(read(message(TOKEN_MAX_OCTETS).as_bytes()).is_some());
    assert!(read(message(TOKEN_MAX_OCTETS + 1).as_bytes()).is_none());
}

#[test]
fn the_client_says_what_it_knows_once() {
    let say = |user, token: &[u8], host, port| {
        let said = client(user, token, host, port).initial();
        said.map(|said| String::from_utf8(said.expose().clone()).unwrap())
    };
    assert_eq!(say("", b"x", "", 0).unwrap(), "n,,\x01auth=Bearer x\x01\x01");
    assert_eq!(
        say("a,=", b"x", "h", 110).unwrap(),
        "n,a=a=2C=3D,\x01host=h\x01port=110\x01auth=Bearer x\x01\x01"
    );
    assert_eq!(say("tim", b"x", "h\x01auth=y", 0).unwrap(), "n,a=tim,\x01auth=Bearer x\x01\x01");
    for (user, token) in [
        ("tim", &b""[..]),
        ("tim", b"a b"),
        ("tim", b"a\x01"),
        ("tim", b"\xff"),
        ("a\x01b", b"x"),
        ("a\0", b"x"),
    ] {
        assert!(say(user, token, "h", 1).is_none(), "{user:?} {token:?}");
        assert_eq!(client(user, token, "h", 1).respond(b""), Err(ClientError::Credentials));
    }
    let mut exchange = client("tim", b"x", "h", 110);
    let initial = exchange.initial().unwrap();
    assert_eq!(exchange.respond(b"").unwrap(), initial, "where the server ignores what came at once");
    assert_eq!(exchange.respond(b""), Err(ClientError::Senseless));
}

#[test]
fn an_error_that_is_none_is_answered_all_the_same() {
    for error in [&b"x"[..], b"{}", b"\xff", &b"[".repeat(5000)] {
        let mut client = client("tim", b"x", "h", 110);
        client.initial().unwrap();
        assert_eq!(client.respond(error).unwrap().expose(), b"\x01");
        assert!(client.refusal().is_none());
    }
}

#[test]
fn nothing_shows_the_token() {
    let mut client = client("tim", TOKEN.as_bytes(), "h", 110);
    let initial = client.initial().unwrap();
    let seen = format!("{client:?} {initial:?} {:?}", server().step(Some(initial.expose())));
    assert!(!seen.contains(TOKEN), "{seen}");
}

proptest! {
    #[test]
    fn what_a_client_sends_a_server_reads(user in "[^\\pC]{0,60}", token in "[!-~]{1,3000}", port: u16) {
        let initial = client(&user, token.as_bytes(), "mail.example.org", port).initial().unwrap();
        let user = (!user.is_empty()).then_some(user);
        prop_assert_eq!(read(initial.expose()), Some((user, token)));
    }

    #[test]
    fn any_octets_are_read_or_refused(message in "[ny,=a\x01uth Bearx\0]{0,60}") {
        match server().step(Some(message.as_bytes())) {
            Step::Verify(Evidence::Token { token, .. }) => prop_assert!(message.contains(token.expose().as_str())),
            Step::Challenge(error) => prop_assert_eq!(error, ERROR),
            Step::Malformed => {}
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
