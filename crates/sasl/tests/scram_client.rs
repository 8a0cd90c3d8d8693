//! SCRAM, the client's half: what it believes of a server and what it does not, bounds on hashing, bindings, and errors.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use restante_sasl::{ChannelBindings, ClientContext, ClientError, ClientExchange, Credentials, find};

const NONCE: &str = "0123456789abcdefghij";

fn context() -> ClientContext {
    ClientContext { nonce: NONCE.into(), ..Default::default() }
}

fn of(mechanism: &str, context: &ClientContext) -> Box<dyn ClientExchange> {
    (find(mechanism).unwrap().client)(Credentials::new("tim", b"pencil".to_vec()), context)
}

fn client() -> Box<dyn ClientExchange> {
    of("SCRAM-SHA-256", &context())
}

fn first(mechanism: &str, context: &ClientContext) -> Option<String> {
    of(mechanism, context).initial().map(|first| String::from_utf8(first.expose().clone()).unwrap())
}

#[test]
fn the_head_says_what_was_seen_of_bindings() {
    let exporter = ChannelBindings { exporter: Some(vec![7; 32]), end_point: Some(vec![9; 32]) };
    let end_point = ChannelBindings { exporter: None, end_point: Some(vec![9; 32]) };
    for (mechanism, bindings, plus_offered, head) in [
        ("SCRAM-SHA-256", &ChannelBindings::default(), false, "n,,"),
        ("SCRAM-SHA-256", &exporter, false, "y,,"),
        // Who takes the weaker one on purpose does not say that the stronger one was missing.
        ("SCRAM-SHA-256", &exporter, true, "n,,"),
        ("SCRAM-SHA-256-PLUS", &exporter, true, "p=tls-exporter,,"),
        ("SCRAM-SHA-1-PLUS", &end_point, true, "p=tls-server-end-point,,"),
    ] {
        let context = ClientContext { bindings: bindings.clone(), plus_offered, ..context() };
        assert_eq!(first(mechanism, &context).unwrap(), format!("{head}n=tim,r={NONCE}"));
        let mut client = of(mechanism, &context);
        let last = client.respond(format!("r={NONCE}x,s=c2FsdA==,i=4096").as_bytes()).unwrap();
        let data = if head == "p=tls-exporter,," {
            vec![7; 32]
        } else if head.starts_with('p') {
            vec![9; 32]
        } else {
            Vec::new()
        };
        let said = format!("c={},r={NONCE}x,p=", BASE64.encode([head.as_bytes(), &data].concat()));
        assert!(last.expose().starts_with(said.as_bytes()), "{mechanism} {head}");
    }
    let mut client = of("SCRAM-SHA-256-PLUS", &context());
    assert!(client.initial().is_none());
    assert_eq!(client.respond(b""), Err(ClientError::NoBinding));
}

#[test]
fn names_are_prepared_and_escaped() {
    let say = |user: &str, password: &[u8]| {
        let credentials = Credentials::new(user, password.to_vec());
        let mut client = (find("SCRAM-SHA-1").unwrap().client)(credentials, &context());
        client.initial().map(|first| String::from_utf8(first.expose().clone()).unwrap())
    };
    assert_eq!(say("a,b=c", b"x").unwrap(), format!("n,,n=a=2Cb=3Dc,r={NONCE}"));
    assert_eq!(say("\u{2168}", b"x").unwrap(), format!("n,,n=IX,r={NONCE}"));
    for (user, password) in
        [("", &b"x"[..]), ("\u{ad}", b"x"), ("a\0b", b"x"), ("tim", b""), ("tim", b"\xff"), ("tim", b"a\0b")]
    {
        assert_eq!(say(user, password), None, "{user:?} {password:?}");
    }
}

#[test]
fn an_empty_challenge_is_answered_once() {
    let mut client = client();
    let initial = client.initial().unwrap();
    assert_eq!(client.respond(b"").unwrap(), initial, "also where a server ignores the initial response");
    assert_eq!(client.respond(b""), Err(ClientError::Senseless));
    assert_eq!(client.respond(b""), Err(ClientError::Senseless));
}

#[test]
fn challenges_that_make_no_sense() {
    let good = format!("r={NONCE}xyz,s=c2FsdA==,i=4096");
    assert!(client().respond(good.as_bytes()).is_ok());
    assert!(client().respond(format!("{good},x=y").as_bytes()).is_ok(), "an extension is passed over");
    let long_salt = format!("r={NONCE}xyz,s={},i=4096", BASE64.encode([1; 257]));
    let long_nonce = format!("r={NONCE}{},s=c2FsdA==,i=4096", "x".repeat(500));
    for bad in [
        "x",
        "r=",
        // Not our nonce, or nothing of the server's own.
        "r=abc,s=c2FsdA==,i=4096",
        &format!("r=x{NONCE},s=c2FsdA==,i=4096"),
        &format!("r={NONCE},s=c2FsdA==,i=4096"),
        &format!("r={NONCE} x,s=c2FsdA==,i=4096"),
        &format!("r={NONCE}xyz,s=,i=4096"),
        &format!("r={NONCE}xyz,s=c2FsdA,i=4096"),
        &format!("r={NONCE}xyz,s=c2FsdA=="),
        &format!("r={NONCE}xyz,s=c2FsdA==,i="),
        &format!("r={NONCE}xyz,s=c2FsdA==,i=0"),
        &format!("r={NONCE}xyz,s=c2FsdA==,i=04096"),
        &format!("r={NONCE}xyz,s=c2FsdA==,i=+4096"),
        &format!("r={NONCE}xyz,s=c2FsdA==,i=4096,"),
        &format!("s=c2FsdA==,r={NONCE}xyz,i=4096"),
        // An extension that has to be understood (RFC 5802 §5.1).
        &format!("m=x,{good}"),
        &format!("{good},m=x"),
        &long_salt,
        &long_nonce,
        &format!("{good},x={}", "x".repeat(4096)),
        "v=cm1GOXBxVjhTN3N1QW9aV2phNGRKUmtGc0tRPQ==",
    ] {
        let mut client = client();
        assert_eq!(client.respond(bad.as_bytes()), Err(ClientError::Senseless), "{bad:?}");
        assert_eq!(client.respond(good.as_bytes()), Err(ClientError::Senseless), "it is over");
        assert_eq!(client.accepted(), Err(ClientError::Impostor));
    }
    assert_eq!(client().respond(b"\xff"), Err(ClientError::Senseless));
}

/// RFC 7677 §4 and §5: few iterations make the password easy to guess, many make the client work for nothing.
#[test]
fn iterations_have_bounds() {
    for (iterations, outcome) in [
        ("4096", None),
        ("4095", Some(4095)),
        ("1", Some(1)),
        ("1000001", Some(1_000_001)),
        ("4294967296", Some(1 << 32)),
        ("99999999999999999999999999", Some(u64::MAX)),
    ] {
        let challenge = format!("r={NONCE}xyz,s=c2FsdA==,i={iterations}");
        let error = client().respond(challenge.as_bytes()).err();
        assert_eq!(error, outcome.map(ClientError::Iterations), "{iterations}");
    }
}

#[test]
fn a_server_that_does_not_prove_itself_is_an_impostor() {
    let challenge = format!("r={NONCE}xyz,s=c2FsdA==,i=4096");
    let mut early = client();
    early.initial();
    assert_eq!(early.accepted(), Err(ClientError::Impostor), "+OK at once");
    early.respond(challenge.as_bytes()).unwrap();
    assert_eq!(early.accepted(), Err(ClientError::Impostor), "+OK without a signature");
    let wrong = format!("v={}", BASE64.encode([1; 32]));
    for (last, error) in [
        (wrong.as_str(), ClientError::Impostor),
        ("v=", ClientError::Impostor),
        ("v=AQ==", ClientError::Impostor),
        ("v=*", ClientError::Senseless),
        ("", ClientError::Senseless),
        ("x", ClientError::Senseless),
    ] {
        let mut client = client();
        client.respond(challenge.as_bytes()).unwrap();
        assert_eq!(client.respond(last.as_bytes()), Err(error), "{last:?}");
        assert_eq!(client.accepted(), Err(ClientError::Impostor), "{last:?}");
    }
}

#[test]
fn an_error_is_kept_and_answered_by_nothing() {
    let challenge = format!("r={NONCE}xyz,s=c2FsdA==,i=4096");
    let long = "x".repeat(100);
    for (error, shown) in
        [("invalid-proof", "invalid-proof"), ("a\u{1b}[2J\u{e4}", "a?[2J?"), (&long, &long[..64])]
    {
        for begun in [false, true] {
            let mut client = client();
            if begun {
                client.respond(challenge.as_bytes()).unwrap();
            }
            assert!(client.refusal().is_none());
            let answer = client.respond(format!("e={error}").as_bytes()).unwrap();
            assert!(answer.expose().is_empty());
            assert_eq!(client.refusal(), Some(shown));
            assert_eq!(client.accepted(), Err(ClientError::Impostor), "+OK behind an error");
        }
    }
}

/// A nonce that could be guessed would let an old exchange be said again.
#[test]
fn without_a_nonce_of_its_own_it_says_nothing() {
    for nonce in ["", "short", "with,a,comma,and,long"] {
        let mut client = of("SCRAM-SHA-256", &ClientContext { nonce: nonce.into(), ..context() });
        assert!(client.initial().is_none());
        assert_eq!(client.respond(b""), Err(ClientError::Credentials));
    }
}
