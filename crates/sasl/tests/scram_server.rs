//! SCRAM, the server's half: every message that is not legal, whose keys it asks for, bindings, and what it never tells.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use proptest::prelude::*;
use restante_sasl::{
    ChannelBindings, Evidence, ServerContext, ServerExchange, Step, find,
    scram::{Hash, Keys},
};

const NONCE: &str = "0123456789abcdefghij";

fn context() -> ServerContext {
    let bindings = ChannelBindings { exporter: Some(vec![7; 32]), end_point: Some(vec![9; 32]) };
    ServerContext { nonce: NONCE.into(), hostname: "X1".into(), bindings, plus_offered: true }
}

fn server(mechanism: &str) -> Box<dyn ServerExchange> {
    (find(mechanism).unwrap().server)(&context())
}

fn keys(hash: Hash) -> Keys {
    Keys::derive(hash, b"pencil", b"salt", 4096).unwrap()
}

/// Whose keys the first message asks for.
fn asks_for(mechanism: &str, message: &str) -> Option<String> {
    match server(mechanism).step(Some(message.as_bytes())) {
        Step::Keys { user, hash } => {
            assert!(mechanism.starts_with(hash.mechanism()));
            Some(user)
        }
        Step::Malformed => None,
        other => panic!("{other:?}"),
    }
}

/// An exchange whose challenge was sent: `n,,n=tim,r=abc`.
fn challenged(mechanism: &str, first: &str) -> Box<dyn ServerExchange> {
    let mut server = server(mechanism);
    let Step::Keys { hash, .. } = server.step(Some(first.as_bytes())) else { panic!("keys") };
    assert!(matches!(server.keys(&keys(hash)), Step::Challenge(_)));
    server
}

#[test]
fn the_first_message_names_the_user() {
    for (message, user) in [
        ("n,,n=tim,r=abc", Some("tim")),
        ("n,a=TIM,n=tim,r=abc", Some("tim")),
        ("n,a=a=2Cb,n=a=2Cb,r=abc", Some("a,b")),
        ("n,,n==3D=2C,r=abc", Some("=,")),
        ("n,,n=tim,r=abc,x=anything=at all,Y=\u{e4}", Some("tim")),
        ("n,,n=I\u{ad}X,r=abc", Some("IX")),
        ("n,,n=\u{2168},r=abc", Some("IX")),
        ("n,a=\u{2168},n=IX,r=abc", Some("IX")),
    ] {
        assert_eq!(asks_for("SCRAM-SHA-256", message).as_deref(), user, "{message}");
    }
}

#[test]
fn first_messages_that_are_not_legal() {
    let long_name = format!("n,,n={},r=abc", "u".repeat(256));
    let long_nonce = format!("n,,n=tim,r={}", "r".repeat(513));
    let long = format!("n,,n=tim,r=abc,x={}", "x".repeat(4096));
    for message in [
        "",
        "n",
        "n,,",
        "n,,n=tim",
        "n,,n=tim,",
        "n,,n=tim,r=",
        "n,,r=abc,n=tim",
        "n,,n=,r=abc",
        "n,,n=tim,r=a b",
        "n,,n=tim,r=\u{e4}",
        "n,,n=tim,r=abc,",
        "n,,n=tim,r=abc,x",
        "n,,n=tim,r=abc,x=",
        "n,,n=tim,r=abc,1=x",
        // A letter of the RFC out of its place.
        "n,,n=tim,r=abc,n=tom",
        "n,,n=tim,r=abc,p=x",
        // An extension that has to be understood (RFC 5802 §5.1).
        "n,,m=x,n=tim,r=abc",
        "n,,n=tim,r=abc,m=x",
        // Names.
        "n,,n=a=b,r=abc",
        "n,,n=a=2c,r=abc",
        "n,,n=t\0m,r=abc",
        "n,,n=\u{7},r=abc",
        "n,,n=\u{ad},r=abc",
        "n,,n=\u{627}1,r=abc",
        // Somebody else.
        "n,a=tom,n=tim,r=abc",
        "n,a=,n=tim,r=abc",
        "n,tim,n=tim,r=abc",
        // Bindings: none is the mechanism's, and whoever saw none was shown a list with something taken out.
        "p=tls-exporter,,n=tim,r=abc",
        "y,,n=tim,r=abc",
        "z,,n=tim,r=abc",
        &long_name,
        &long_nonce,
        &long,
    ] {
        assert_eq!(asks_for("SCRAM-SHA-256", message), None, "{message:?}");
    }
    assert!(matches!(server("SCRAM-SHA-1").step(Some(b"n,,n=\xff,r=abc")), Step::Malformed));
}

/// RFC 5802 §6.
#[test]
fn a_client_that_saw_no_plus_is_right_only_where_none_was_offered() {
    let plain = ServerContext { plus_offered: false, ..context() };
    let mut server = (find("SCRAM-SHA-256").unwrap().server)(&plain);
    assert!(matches!(server.step(Some(b"y,,n=tim,r=abc")), Step::Keys { .. }));
    assert_eq!(asks_for("SCRAM-SHA-256", "y,,n=tim,r=abc"), None);
}

#[test]
fn a_binding_has_to_be_one_of_this_connection() {
    for (head, there) in [
        ("p=tls-exporter", true),
        ("p=tls-server-end-point", true),
        ("p=tls-unique", false),
        ("p=", false),
        ("p", false),
        ("P=tls-exporter", false),
        ("n", false),
        ("y", false),
    ] {
        for mechanism in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"] {
            let message = format!("{head},,n=tim,r=abc");
            assert_eq!(asks_for(mechanism, &message).is_some(), there, "{message}");
        }
    }
    let bare = ServerContext { bindings: ChannelBindings::default(), ..context() };
    let mut server = (find("SCRAM-SHA-256-PLUS").unwrap().server)(&bare);
    assert!(matches!(server.step(Some(b"p=tls-exporter,,n=tim,r=abc")), Step::Malformed));
}

#[test]
fn final_messages_that_are_not_legal() {
    let nonce = format!("abc{NONCE}");
    let proof = BASE64.encode([1; 32]);
    let other_case = nonce.to_uppercase();
    let all = |head: &str, nonce: &str, tail: &str| format!("{head},r={nonce}{tail}");
    for message in [
        String::new(),
        "c=biws".into(),
        all("c=biws", &nonce, ""),
        all("c=biws", &nonce, ",p="),
        all("c=biws", &nonce, ",p=AQ=="),
        all("c=biws", &nonce, &format!(",p={}", BASE64.encode([1; 20]))),
        all("c=biws", &nonce, &format!(",p={}", &proof[..43])),
        all("c=biws", &nonce, &format!(",p={proof},x=y")),
        all("c=biws", &nonce, &format!(",p={proof},p={proof}")),
        all("c=biws", &nonce, &format!(",m=x,p={proof}")),
        all("c=biws", &nonce, &format!(",x,p={proof}")),
        all("c=*", &nonce, &format!(",p={proof}")),
        all("", &nonce, &format!(",p={proof}")),
        format!("r={nonce},c=biws,p={proof}"),
        // Not our nonce, or not all of it.
        all("c=biws", "abc", &format!(",p={proof}")),
        all("c=biws", NONCE, &format!(",p={proof}")),
        all("c=biws", &format!("{nonce}x"), &format!(",p={proof}")),
        all("c=biws", &other_case, &format!(",p={proof}")),
        all("c=biws", &nonce, &format!(",x={},p={proof}", "x".repeat(4096))),
    ] {
        let mut server = challenged("SCRAM-SHA-256", "n,,n=tim,r=abc");
        assert!(matches!(server.step(Some(message.as_bytes())), Step::Malformed), "{message:?}");
        assert!(server.verified(true).is_none(), "{message:?}");
    }
    // A wrong proof is no malformed one, and neither is one behind an extension.
    for message in [
        all("c=biws", &nonce, &format!(",p={proof}")),
        all("c=biws", &nonce, &format!(",x=y,p={proof}")),
        all("c=eSws", &nonce, &format!(",p={proof}")),
    ] {
        let mut server = challenged("SCRAM-SHA-256", "n,,n=tim,r=abc");
        let step = server.step(Some(message.as_bytes()));
        assert!(matches!(step, Step::Verify(Evidence::Proof { right: false })), "{message:?}");
        assert!(server.verified(false).is_none(), "nothing is said but -ERR");
    }
}

#[test]
fn the_challenge_is_nonce_salt_and_iterations() {
    let mut server = server("SCRAM-SHA-1");
    assert!(matches!(server.step(None), Step::Challenge(empty) if empty.is_empty()));
    assert!(matches!(server.step(Some(b"n,,n=tim,r=abc")), Step::Keys { hash: Hash::Sha1, .. }));
    match server.keys(&Keys::stand_in(Hash::Sha1, &[5; 32], b"salt".to_vec(), 5000)) {
        Step::Challenge(challenge) => {
            assert_eq!(challenge, format!("r=abc{NONCE},s=c2FsdA==,i=5000").as_bytes());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn steps_out_of_order_end_it() {
    for steps in [&[None, None][..], &[Some("n,,n=tim,r=abc"), Some("x")], &[Some("n,,n=tim,r=abc"), None]] {
        let mut server = server("SCRAM-SHA-256");
        let last = steps.iter().map(|step| server.step(step.map(str::as_bytes))).last().unwrap();
        assert!(matches!(last, Step::Malformed));
        assert!(matches!(server.keys(&keys(Hash::Sha256)), Step::Malformed));
        assert!(matches!(server.step(Some(b"n,,n=tim,r=abc")), Step::Malformed), "it is over");
    }
    let mut server = server("SCRAM-SHA-256");
    assert!(matches!(server.keys(&keys(Hash::Sha256)), Step::Malformed), "nobody asked");
    assert!(challenged("SCRAM-SHA-256", "n,,n=tim,r=abc").verified(true).is_none(), "nothing was proven");
}

#[test]
fn keys_of_the_other_hash_are_refused() {
    let mut server = server("SCRAM-SHA-256");
    assert!(matches!(server.step(Some(b"n,,n=tim,r=abc")), Step::Keys { .. }));
    assert!(matches!(server.keys(&keys(Hash::Sha1)), Step::Malformed));
}

/// A nonce that could be guessed would let an old exchange be said again.
#[test]
fn without_a_nonce_of_its_own_nobody_is_let_in() {
    for nonce in ["", "short", "with a space and long", "with,a,comma,and,long", "0123456789abcdefg"] {
        let context = ServerContext { nonce: nonce.into(), ..context() };
        let mut server = (find("SCRAM-SHA-256").unwrap().server)(&context);
        assert!(matches!(server.step(Some(b"n,,n=tim,r=abc")), Step::Malformed), "{nonce:?}");
    }
}

proptest! {
    #[test]
    fn any_responses_end(responses in prop::collection::vec(prop::option::of("[nyp,=ra-c]{0,24}"), 4..6)) {
        let mut server = server("SCRAM-SHA-256");
        let mut last = Step::Malformed;
        for response in &responses {
            last = server.step(response.as_deref().map(str::as_bytes));
            if let Step::Keys { hash, .. } = last {
                last = server.keys(&keys(hash));
            }
        }
        prop_assert!(matches!(last, Step::Malformed), "{:?}", last);
    }
}
