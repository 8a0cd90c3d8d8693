//! CRAM-MD5: the example of RFC 2195 §2, challenges that never come twice, and what each half refuses.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use hmac::{Hmac, Mac as _};
use md5::Md5;
use proptest::prelude::*;
use restante_sasl::{
    ClientContext, ClientError, ClientExchange, Credentials, Evidence, ServerContext, ServerExchange, Step,
    find,
};

fn server(nonce: &str) -> Box<dyn ServerExchange> {
    let context =
        ServerContext { nonce: nonce.into(), hostname: "mail.example.org".into(), ..Default::default() };
    (find("CRAM-MD5").unwrap().server)(&context)
}

fn client(user: &str, password: &[u8]) -> Box<dyn ClientExchange> {
    (find("CRAM-MD5").unwrap().client)(Credentials::new(user, password.to_vec()), &ClientContext::default())
}

fn challenge(server: &mut Box<dyn ServerExchange>) -> Vec<u8> {
    match server.step(None) {
        Step::Challenge(challenge) => challenge,
        other => panic!("{other:?}"),
    }
}

/// What the server makes of a response.
fn read(response: &[u8]) -> Option<(String, [u8; 16])> {
    let mut server = server("nonce");
    let asked = challenge(&mut server);
    match server.step(Some(response)) {
        Step::Verify(Evidence::Digest { user, challenge, digest }) => {
            assert_eq!(challenge, asked, "what is checked is what was asked");
            Some((user, digest))
        }
        Step::Malformed => None,
        other => panic!("{other:?}"),
    }
}

const DIGEST: &str = "b913a602c7eda7a495b4e6e7334d3890";

#[test]
fn the_example_of_rfc_2195() {
    let mut client = client("tim", b"tanstaaftanstaaf");
    assert!(client.initial().is_none());
    let response = client.respond(b"<1896.697170952@postoffice.reston.mci.net>").unwrap();
    assert_eq!(response.expose(), format!("tim {DIGEST}").as_bytes());
    let (user, digest) = read(response.expose()).unwrap();
    assert_eq!((user.as_str(), digest[0], digest[15]), ("tim", 0xb9, 0x90));
    assert!(client.respond(b"<1896.697170952@postoffice.reston.mci.net>").is_err(), "once");
}

#[test]
fn a_challenge_has_the_form_of_a_message_id_and_comes_once() {
    let (one, other) = (challenge(&mut server("one")), challenge(&mut server("other")));
    assert_ne!(one, other);
    let text = String::from_utf8(one).unwrap();
    let digits = text.strip_prefix('<').and_then(|text| text.strip_suffix("@mail.example.org>")).unwrap();
    let (first, second) = digits.split_once('.').unwrap();
    assert!(first.parse::<u64>().is_ok() && second.parse::<u64>().is_ok(), "{text}");
}

#[test]
fn the_server_speaks_first() {
    assert!(matches!(server("nonce").step(Some(b"tim b913a602c7eda7a495b4e6e7334d3890")), Step::Malformed));
    let mut server = server("nonce");
    challenge(&mut server);
    assert!(matches!(server.step(None), Step::Malformed));
    assert!(matches!(server.step(Some(b"tim b913a602c7eda7a495b4e6e7334d3890")), Step::Malformed));
}

#[test]
fn responses_that_are_not_legal() {
    assert!(read(format!("tim {}", DIGEST.to_uppercase()).as_bytes()).is_some());
    assert_eq!(read(format!("a b {DIGEST}").as_bytes()).unwrap().0, "a b");
    let long = format!("{} {DIGEST}", "u".repeat(256));
    for bad in [
        "",
        "tim",
        DIGEST,
        &format!(" {DIGEST}"),
        &format!("t\0m {DIGEST}"),
        &format!("tim {}", &DIGEST[1..]),
        &format!("tim {DIGEST}0"),
        &format!("tim {DIGEST} "),
        "tim +913a602c7eda7a495b4e6e7334d3890",
        "tim b913a602c7eda7a495b4e6e7334d38g0",
        "tim b913a602c7eda7a495b4e6e7334d\u{e4}",
        &long,
    ] {
        assert_eq!(read(bad.as_bytes()), None, "{bad:?}");
    }
    assert_eq!(read(b"t\xffm b913a602c7eda7a495b4e6e7334d3890"), None);
}

/// Else a stranger could have anything signed.
#[test]
fn only_a_message_id_is_answered() {
    let long = format!("<{}>", "x".repeat(1024));
    for bad in ["", "x", "<", "<x", "x>", "<a b>", "<a\n>", "<\u{e4}>", &long] {
        assert_eq!(client("tim", b"x").respond(bad.as_bytes()), Err(ClientError::Senseless), "{bad:?}");
    }
    for user in ["", "a\0b", "a\nb"] {
        assert_eq!(client(user, b"x").respond(b"<1.2@x>"), Err(ClientError::Credentials), "{user:?}");
    }
}

#[test]
fn nothing_shows_the_password() {
    let mut client = client("tim", b"tanstaaf");
    let seen = format!("{client:?} {:?}", client.respond(b"<1.2@x>"));
    assert!(!seen.contains("tanstaaf") && !seen.contains("tim "), "{seen}");
}

proptest! {
    #[test]
    fn what_a_client_answers_is_the_digest(user in "[^\\pC]{1,60}", password in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut server = server("nonce");
        let challenge = challenge(&mut server);
        let response = client(&user, &password).respond(&challenge).unwrap();
        let right = Hmac::<Md5>::new_from_slice(&password).unwrap().chain_update(&challenge).finalize().into_bytes();
        match server.step(Some(response.expose())) {
            Step::Verify(Evidence::Digest { user: name, digest, .. }) => {
                prop_assert_eq!((name, digest), (user, right.into()));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
