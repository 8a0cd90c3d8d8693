//! The server's half of every mechanism, fed with whatever a client may respond; the client's half, fed with whatever a
//! server may ask; and both halves with each other.
//!
//! Each line of the input is one response or challenge; a line that is `-` is none (AUTH without an initial response).

use restante_proto::Secret;
use restante_sasl::{
    ChannelBindings, ClientContext, CredentialKind, Credentials, Evidence, MECHANISMS, Mechanism, Needs,
    PASSWORD_MAX_OCTETS, ServerContext, ServerExchange, Step, TOKEN_MAX_OCTETS,
    scram::{Hash, ITERATIONS_MIN, Keys},
};

/// More steps than any mechanism takes.
const STEPS_MAX: usize = 8;
/// More than a server's challenge has, in octets.
const CHALLENGE_MAX_OCTETS: usize = 1024;
/// More than a client's message has besides what its user gave, in octets.
const MESSAGE_MAX_OCTETS: usize = 2048;
const NONCE: &str = "0123456789abcdefghijklmn";
const SALT: &[u8] = b"sixteen octets, ";

pub(super) fn run(data: &[u8]) {
    for (index, mechanism) in MECHANISMS.iter().enumerate() {
        server(mechanism, data);
        client(mechanism, data);
        // SCRAM hashes, which takes its time: one of the four an input.
        let hashes = matches!(mechanism.needs, Needs::Keys(_));
        if !hashes || data.len() % 4 == index % 4 {
            both(mechanism, data);
        }
    }
}

fn bindings() -> ChannelBindings {
    ChannelBindings { exporter: Some(vec![7; 32]), end_point: None }
}

fn begin_server(mechanism: &Mechanism) -> Box<dyn ServerExchange> {
    (mechanism.server)(&ServerContext {
        nonce: NONCE.to_uppercase(),
        hostname: "X1".into(),
        bindings: bindings(),
        plus_offered: true,
    })
}

fn client_context() -> ClientContext {
    ClientContext {
        nonce: NONCE.into(),
        host: "X1".into(),
        port: 110,
        bindings: bindings(),
        plus_offered: true,
    }
}

/// The next step, with keys where they are asked for.
fn step(
    exchange: &mut Box<dyn ServerExchange>,
    response: Option<&[u8]>,
    keys: impl Fn(Hash) -> Option<Keys>,
) -> Step {
    match exchange.step(response) {
        Step::Keys { user, hash } => {
            assert!(!user.is_empty() && !user.contains('\0'));
            let next = keys(hash).map_or(Step::Malformed, |keys| exchange.keys(&keys));
            assert!(matches!(next, Step::Challenge(_) | Step::Malformed), "keys are answered by a challenge");
            next
        }
        step => step,
    }
}

fn server(mechanism: &Mechanism, data: &[u8]) {
    let mut exchange = begin_server(mechanism);
    let mut over = false;
    let nobodys = |hash| Some(Keys::stand_in(hash, &[5; 32], SALT.to_vec(), ITERATIONS_MIN));
    for response in data.split(|&octet| octet == b'\n').take(STEPS_MAX) {
        let response = Some(response).filter(|response| *response != b"-");
        match step(&mut exchange, response, nobodys) {
            Step::Challenge(challenge) => {
                assert!(!over && challenge.len() < CHALLENGE_MAX_OCTETS, "an exchange ends once");
            }
            Step::Verify(evidence) => {
                assert!(!over, "evidence behind the end");
                over = true;
                check(mechanism, &evidence, response.expect("evidence comes from a response"));
                let last = exchange.verified(false).unwrap_or_default();
                assert!(last.len() < CHALLENGE_MAX_OCTETS && exchange.verified(false).is_none());
            }
            Step::Malformed => over = true,
            Step::Keys { .. } => unreachable!("they were handed over"),
        }
    }
    assert!(!over || exchange.verified(true).is_none(), "what is over proves nothing");
}

fn check(mechanism: &Mechanism, evidence: &Evidence, response: &[u8]) {
    let is_name = |name: &str| !name.is_empty() && !name.contains('\0');
    let sound = match (mechanism.needs, evidence) {
        (Needs::Password, Evidence::Password(credentials)) => {
            let password = credentials.password.expose();
            assert!(password.len() <= PASSWORD_MAX_OCTETS && !password.contains(&0));
            assert!(response.ends_with(password), "the password stands last, as it was sent");
            assert!(format!("{credentials:?}").ends_with("password: Secret(…) }"));
            is_name(&credentials.user)
        }
        (Needs::Keys(_), Evidence::Proof { right }) => !right,
        (Needs::Plaintext, Evidence::Digest { user, challenge, .. }) => {
            is_name(user) && challenge.starts_with(b"<") && challenge.ends_with(b"@X1>")
        }
        (Needs::Token, Evidence::Token { user, token }) => {
            let token = token.expose();
            assert!(response.windows(token.len()).any(|octets| octets == token.as_bytes()));
            user.as_deref().is_none_or(is_name) && matches!(token.len(), 1..=TOKEN_MAX_OCTETS)
        }
        (Needs::Certificate, Evidence::Certificate { user }) => {
            user.as_deref().unwrap_or_default().as_bytes() == response
        }
        _ => false,
    };
    assert!(sound, "{} hands over {evidence:?}", mechanism.name);
}

/// What a server may ask, and what a client then says of it.
fn client(mechanism: &Mechanism, data: &[u8]) {
    let credentials = Credentials { kind: kind(mechanism), ..Credentials::new("john", b"abcxyz".to_vec()) };
    let mut exchange = (mechanism.client)(credentials, &client_context());
    exchange.initial();
    for challenge in data.split(|&octet| octet == b'\n').take(STEPS_MAX) {
        if let Ok(response) = exchange.respond(challenge) {
            assert!(response.expose().len() < MESSAGE_MAX_OCTETS);
        }
        let refusal = exchange.refusal().unwrap_or_default();
        assert!(refusal.len() <= 64 && refusal.bytes().all(|octet| matches!(octet, b' '..=b'~')));
    }
    let proves = matches!(mechanism.needs, Needs::Keys(_));
    assert!(!proves || exchange.accepted().is_err(), "nobody here knows the keys");
}

fn kind(mechanism: &Mechanism) -> CredentialKind {
    let kinds = [CredentialKind::Password, CredentialKind::Token, CredentialKind::Certificate];
    *kinds.iter().find(|kind| mechanism.takes(**kind)).expect("it takes something")
}

/// What the client's half sends, the server's half understands, or the client does not send it.
fn both(mechanism: &Mechanism, data: &[u8]) {
    let (user, password) = match data.iter().position(|&octet| octet == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, data),
    };
    let user = String::from_utf8_lossy(user);
    let credentials = Credentials {
        kind: kind(mechanism),
        ..Credentials::new(user.clone(), Secret::new(password.to_vec()))
    };
    let mut client = (mechanism.client)(credentials, &client_context());
    let mut server = begin_server(mechanism);
    let keys = |hash| Keys::derive(hash, password, SALT, ITERATIONS_MIN);
    let mut response = client.initial();
    for _ in 0..STEPS_MAX {
        let said = response.as_ref().map(|response| response.expose().as_slice());
        match step(&mut server, said, keys) {
            Step::Challenge(challenge) => match client.respond(&challenge) {
                Ok(next) => response = Some(next),
                Err(_) => return,
            },
            Step::Verify(evidence) => {
                match evidence {
                    Evidence::Password(credentials) => {
                        assert_eq!(credentials.user, user);
                        assert_eq!(credentials.password.expose(), password);
                    }
                    Evidence::Proof { right } => assert!(right, "both knew the password"),
                    Evidence::Token { user: name, token } => {
                        assert_eq!(name.unwrap_or_default(), user);
                        assert_eq!(token.expose().as_bytes(), password);
                    }
                    Evidence::Digest { user: name, .. } => assert_eq!(name, user),
                    Evidence::Certificate { user: name } => assert_eq!(name.unwrap_or_default(), user),
                }
                if let Some(last) = server.verified(true) {
                    assert!(client.respond(&last).expect("the server is who it says").expose().is_empty());
                }
                client.accepted().expect("nothing is left to prove");
                return;
            }
            Step::Malformed => return,
            Step::Keys { .. } => unreachable!("they were handed over"),
        }
    }
    panic!("{} does not end", mechanism.name);
}
