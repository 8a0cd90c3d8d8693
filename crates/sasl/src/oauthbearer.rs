//! OAUTHBEARER (RFC 7628): one message, a head as in RFC 5801 and fields, of which `auth` holds a bearer token.
//!
//! Whose the token is, is the token's to say; the head may claim it. A message without `auth` asks what a client would need,
//! and is answered by an error that names no scope, for the server knows none.

use restante_proto::Secret;

use crate::{
    ClientContext, Credentials, Mechanism, Needs, ServerExchange, Step,
    bearer::{self, Message, SEPARATOR},
    gs2::{self, Flag},
};

/// OAUTHBEARER, for the registry.
pub(crate) const MECHANISM: Mechanism = Mechanism {
    name: "OAUTHBEARER",
    needs: Needs::Token,
    cleartext: true,
    binding: false,
    by_name_only: false,
    server: |_| Box::new(Server(bearer::Server::Start)),
    client: |credentials, context| {
        Box::new(bearer::Client::new(message(&credentials, context), ERROR_ANSWER))
    },
};

/// RFC 7628 §3.2.2.
const ERROR: &str = r#"{"status":"invalid_token"}"#;

/// What a client answers to an error (RFC 7628 §3.2.3).
const ERROR_ANSWER: &str = SEPARATOR;

/// The server's half.
#[derive(Debug)]
struct Server(bearer::Server);

impl ServerExchange for Server {
    fn step(&mut self, response: Option<&[u8]>) -> Step {
        self.0.step(response, read, ERROR)
    }

    fn verified(&mut self, accepted: bool) -> Option<Vec<u8>> {
        self.0.verified(accepted, ERROR)
    }
}

/// Takes the message apart (RFC 7628 §3.1). Fields that are not known are passed over; `auth` comes once.
fn read(message: &str) -> Option<Message> {
    let (header, rest) = gs2::read(message)?;
    // There is no mechanism with a channel binding here, so that one who says to use it is lost.
    if matches!(header.flag, Flag::Used(_)) {
        return None;
    }
    let rest = rest.strip_prefix(SEPARATOR)?;
    if rest == SEPARATOR {
        return Some(Message { user: header.authzid, token: None });
    }
    let mut auth = bearer::fields(rest)?.filter(|(key, _)| *key == "auth");
    let token = match auth.next() {
        None | Some((_, "")) => None,
        Some((_, value)) => Some(bearer::token(value)?),
    };
    auth.next().is_none().then_some(Message { user: header.authzid, token })
}

/// The one message; `None` if OAUTHBEARER cannot carry the credentials.
fn message(credentials: &Credentials, context: &ClientContext) -> Option<Secret<Vec<u8>>> {
    let token = bearer::sendable(&credentials.password)?;
    let user = credentials.user.as_str();
    if user.chars().any(|c| c.is_ascii_control()) {
        return None;
    }
    let claim = if user.is_empty() { String::new() } else { format!("a={}", gs2::escape(user)) };
    let mut head = format!("n,{claim},{SEPARATOR}");
    if !context.host.is_empty() && context.host.bytes().all(|octet| octet.is_ascii_graphic()) {
        head.push_str(&format!("host={}{SEPARATOR}", context.host));
    }
    if context.port != 0 {
        head.push_str(&format!("port={}{SEPARATOR}", context.port));
    }
    // Joined at once: a text that grows would leave copies of the token behind.
    Some(Secret::new([&head, "auth=Bearer ", token, SEPARATOR, SEPARATOR].concat().into_bytes()))
}
