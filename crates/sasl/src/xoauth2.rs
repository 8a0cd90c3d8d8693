//! XOAUTH2 (Google's, and Microsoft's since): `user=` NAME octet 1 `auth=Bearer ` TOKEN and two octets 1, as the initial
//! response or, as Microsoft has it, behind an empty challenge. It is no standard; OAUTHBEARER has come after it.

use restante_proto::Secret;

use crate::{
    Credentials, Mechanism, Needs, ServerExchange, Step,
    bearer::{self, Message, SEPARATOR},
    read_name,
};

/// XOAUTH2, for the registry.
pub(crate) const MECHANISM: Mechanism = Mechanism {
    name: "XOAUTH2",
    needs: Needs::Token,
    cleartext: true,
    binding: false,
    by_name_only: false,
    server: |_| Box::new(Server(bearer::Server::Start)),
    client: |credentials, _| Box::new(bearer::Client::new(message(&credentials), ERROR_ANSWER)),
};

/// As Google words it, whose clients look at the status.
const ERROR: &str = r#"{"status":"401","schemes":"bearer"}"#;

/// What a client answers to an error: nothing.
const ERROR_ANSWER: &str = "";

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

/// Takes the message apart: the name first, then the token, and nothing else.
fn read(message: &str) -> Option<Message> {
    let mut fields = bearer::fields(message)?;
    let (Some(("user", user)), Some(("auth", auth)), None) = (fields.next(), fields.next(), fields.next())
    else {
        return None;
    };
    let user = read_name(user.as_bytes())?.to_owned();
    Some(Message { user: Some(user), token: Some(bearer::token(auth)?) })
}

/// The one message; `None` if XOAUTH2 cannot carry the credentials.
fn message(credentials: &Credentials) -> Option<Secret<Vec<u8>>> {
    let token = bearer::sendable(&credentials.password)?;
    let user = credentials.user.as_str();
    if user.is_empty() || user.chars().any(|c| c.is_ascii_control()) {
        return None;
    }
    // Joined at once: a text that grows would leave copies of the token behind.
    let message = ["user=", user, SEPARATOR, "auth=Bearer ", token, SEPARATOR, SEPARATOR].concat();
    Some(Secret::new(message.into_bytes()))
}
