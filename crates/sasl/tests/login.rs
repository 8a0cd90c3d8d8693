//! LOGIN: its prompts, an initial response, bounds, and both halves against each other.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use proptest::prelude::*;
use restante_sasl::{
    ClientContext, ClientError, ClientExchange, Credentials, Evidence, PASSWORD_MAX_OCTETS, ServerContext,
    ServerExchange, Step, find,
};

fn server() -> Box<dyn ServerExchange> {
    (find("login").unwrap().server)(&ServerContext::default())
}

fn client(user: &str, password: &[u8]) -> Box<dyn ClientExchange> {
    (find("login").unwrap().client)(Credentials::new(user, password.to_vec()), &ClientContext::default())
}

fn challenge(step: Step) -> Vec<u8> {
    match step {
        Step::Challenge(challenge) => challenge,
        other => panic!("{other:?} instead of a challenge"),
    }
}

fn credentials(step: Step) -> (String, Vec<u8>) {
    match step {
        Step::Verify(Evidence::Password(Credentials { user, password, .. })) => {
            (user, password.expose().clone())
        }
        other => panic!("{other:?} instead of credentials"),
    }
}

#[test]
fn the_prompts_are_the_ones_clients_look_for() {
    let mut server = server();
    assert_eq!(challenge(server.step(None)), b"Username:");
    assert_eq!(challenge(server.step(Some(b"tim"))), b"Password:");
    assert_eq!(credentials(server.step(Some(b"tan staaf"))), ("tim".to_owned(), b"tan staaf".to_vec()));
    assert!(matches!(server.step(Some(b"again")), Step::Malformed));
}

#[test]
fn an_initial_response_is_the_name() {
    let mut server = server();
    assert_eq!(challenge(server.step(Some(b"tim"))), b"Password:");
    assert_eq!(credentials(server.step(Some(b"x"))), ("tim".to_owned(), b"x".to_vec()));
}

#[test]
fn names_and_passwords_are_bounded_and_hold_no_nul() {
    for bad in [&b""[..], b"t\0m", b"t\xfcm", &b"u".repeat(256)] {
        assert!(matches!(server().step(Some(bad)), Step::Malformed), "{bad:?}");
        let mut server = server();
        server.step(None);
        assert!(matches!(server.step(Some(bad)), Step::Malformed), "{bad:?}");
    }
    for (password, good) in [
        (b"p".repeat(PASSWORD_MAX_OCTETS), true),
        (b"p".repeat(PASSWORD_MAX_OCTETS + 1), false),
        (b"a\0".to_vec(), false),
    ] {
        let mut server = server();
        server.step(Some(b"tim"));
        assert_eq!(matches!(server.step(Some(&password)), Step::Verify(Evidence::Password(_))), good);
    }
}

#[test]
fn no_answer_is_malformed() {
    let mut exchange = server();
    exchange.step(None);
    assert!(matches!(exchange.step(None), Step::Malformed));
    let mut exchange = server();
    exchange.step(Some(b"tim"));
    assert!(matches!(exchange.step(None), Step::Malformed));
    assert!(matches!(exchange.step(Some(b"x")), Step::Malformed));
}

#[test]
fn the_client_waits_to_be_asked_and_does_not_give_the_password_as_a_name() {
    let mut exchange = client("tim", b"tanstaaf");
    assert!(exchange.initial().is_none());
    assert_eq!(exchange.respond(b"User Name\0").unwrap().expose(), b"tim");
    assert_eq!(exchange.respond(b"Password\0").unwrap().expose(), b"tanstaaf");
    assert_eq!(exchange.respond(b""), Err(ClientError::Senseless));

    let mut exchange = client("tim", b"tanstaaf");
    exchange.respond(b"Username:").unwrap();
    assert_eq!(exchange.respond(b"USERNAME:"), Err(ClientError::Senseless));
    assert_eq!(exchange.respond(b"Password:"), Err(ClientError::Senseless));
    assert_eq!(client("", b"x").respond(b"Username:"), Err(ClientError::Credentials));
}

#[test]
fn nothing_shows_the_password() {
    let mut exchange = client("tim", b"tanstaaf");
    exchange.respond(b"").unwrap();
    let seen = format!("{exchange:?} {:?}", exchange.respond(b""));
    assert!(!seen.contains("tanstaaf"), "{seen}");
}

proptest! {
    #[test]
    fn what_a_client_sends_a_server_reads(user in "[^\0]{1,60}", password in prop::collection::vec(1_u8.., 0..300)) {
        let (mut server, mut client) = (server(), client(&user, &password));
        let name = client.respond(&challenge(server.step(None))).unwrap();
        let secret = client.respond(&challenge(server.step(Some(name.expose())))).unwrap();
        prop_assert_eq!(credentials(server.step(Some(secret.expose()))), (user, password));
    }

    #[test]
    fn any_responses_end(responses in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..1500)), 3..6)) {
        let mut server = server();
        let last = responses.iter().map(|response| server.step(response.as_deref())).last().unwrap();
        prop_assert!(!matches!(last, Step::Challenge(_)));
    }
}
