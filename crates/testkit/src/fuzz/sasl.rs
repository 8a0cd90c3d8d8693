//! The server's half of every mechanism, fed with whatever a client may respond; and both halves with each other.
//!
//! Each line of the input is one response; a line that is `-` is none (AUTH without an initial response).

use restante_proto::Secret;
use restante_sasl::{
    ClientContext, Credentials, Evidence, MECHANISMS, Mechanism, PASSWORD_MAX_OCTETS, ServerContext, Step,
};

/// More steps than any mechanism takes.
const STEPS_MAX: usize = 8;

pub(super) fn run(data: &[u8]) {
    for mechanism in MECHANISMS {
        server(mechanism, data);
        both(mechanism, data);
    }
}

fn server(mechanism: &Mechanism, data: &[u8]) {
    let mut exchange = (mechanism.server)(&ServerContext::default());
    let mut over = false;
    for response in data.split(|&octet| octet == b'\n').take(STEPS_MAX) {
        let response = Some(response).filter(|response| *response != b"-");
        match exchange.step(response) {
            Step::Challenge(challenge) => assert!(!over && challenge.len() < 1024, "an exchange ends once"),
            Step::Verify(Evidence::Password(credentials)) => {
                assert!(!over, "credentials behind the end");
                over = true;
                check(&credentials, response.expect("credentials come from a response"));
            }
            Step::Malformed | Step::Keys { .. } | Step::Verify(_) => over = true,
        }
    }
}

fn check(credentials: &Credentials, response: &[u8]) {
    let password = credentials.password.expose();
    assert!(!credentials.user.is_empty() && !credentials.user.contains('\0'));
    assert!(password.len() <= PASSWORD_MAX_OCTETS && !password.contains(&0));
    assert!(response.ends_with(password), "the password stands last, as it was sent");
    assert!(format!("{credentials:?}").ends_with("password: Secret(…) }"));
}

/// What the client's half sends, the server's half understands, or the client does not send it.
fn both(mechanism: &Mechanism, data: &[u8]) {
    let (user, password) = match data.iter().position(|&octet| octet == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, data),
    };
    let user = String::from_utf8_lossy(user);
    let credentials = Credentials::new(user.clone(), Secret::new(password.to_vec()));
    let (mut client, mut server) = (
        (mechanism.client)(credentials, &ClientContext::default()),
        (mechanism.server)(&ServerContext::default()),
    );
    let mut response = client.initial();
    for _ in 0..STEPS_MAX {
        match server.step(response.as_ref().map(|response| response.expose().as_slice())) {
            Step::Challenge(challenge) => match client.respond(&challenge) {
                Ok(next) => response = Some(next),
                Err(_) => return,
            },
            Step::Verify(Evidence::Password(credentials)) => {
                assert_eq!(credentials.user, user);
                assert_eq!(credentials.password.expose(), password);
                return;
            }
            Step::Malformed | Step::Keys { .. } | Step::Verify(_) => return,
        }
    }
    panic!("{} does not end", mechanism.name);
}
