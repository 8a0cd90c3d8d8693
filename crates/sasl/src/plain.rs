//! PLAIN (RFC 4616): one response, `[authzid] NUL authcid NUL passwd`.
//!
//! Acting for somebody else is not offered: an authorization identity has to be absent or the user's own name.

use restante_proto::Secret;

use crate::{
    ClientError, ClientExchange, Credentials, Evidence, Mechanism, Needs, ServerExchange, Step, read_name,
    read_password,
};

/// PLAIN, for the registry.
pub(crate) const MECHANISM: Mechanism = Mechanism {
    name: "PLAIN",
    needs: Needs::Password,
    cleartext: true,
    binding: false,
    by_name_only: false,
    server: |_| Box::new(Server::Start),
    client: |credentials, _| Box::new(Client { credentials, answered: false }),
};

/// Where the server's half is.
#[derive(Debug)]
enum Server {
    /// Nothing was said.
    Start,
    /// The empty challenge was sent.
    Asked,
    /// The exchange is over.
    Over,
}

impl ServerExchange for Server {
    fn step(&mut self, response: Option<&[u8]>) -> Step {
        let (next, step) = match (&self, response) {
            (Self::Start, None) => (Self::Asked, Step::Challenge(Vec::new())),
            (Self::Start | Self::Asked, Some(message)) => (
                Self::Over,
                read_message(message).map_or(Step::Malformed, |read| Step::Verify(Evidence::Password(read))),
            ),
            (Self::Asked | Self::Over, _) => (Self::Over, Step::Malformed),
        };
        *self = next;
        step
    }
}

/// Takes the message apart (RFC 4616 §2): two NULs exactly, a name, and nobody else's identity.
fn read_message(message: &[u8]) -> Option<Credentials> {
    let mut parts = message.split(|&octet| octet == 0);
    let (authzid, authcid, password) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let user = read_name(authcid)?;
    // Names compare with ASCII case folded, here as everywhere.
    if !authzid.is_empty() && !authzid.eq_ignore_ascii_case(authcid) {
        return None;
    }
    Some(Credentials::new(user, read_password(password)?))
}

/// The client's half.
#[derive(Debug)]
struct Client {
    credentials: Credentials,
    /// Whether a challenge was answered; a second one would be a server that lost its way.
    answered: bool,
}

impl Client {
    /// The one message; `None` if PLAIN cannot carry the credentials.
    fn message(&self) -> Option<Secret<Vec<u8>>> {
        let (user, password) = (self.credentials.user.as_bytes(), self.credentials.password.expose());
        if user.is_empty() || user.contains(&0) || password.contains(&0) {
            return None;
        }
        // The room is made at once: a vector that grows would leave copies of the password behind.
        let mut message = Vec::with_capacity(user.len() + password.len() + 2);
        message.push(0);
        message.extend_from_slice(user);
        message.push(0);
        message.extend_from_slice(password);
        Some(Secret::new(message))
    }
}

impl ClientExchange for Client {
    fn initial(&mut self) -> Option<Secret<Vec<u8>>> {
        self.message()
    }

    /// The challenge is empty. It also comes after an initial response where a server ignores that.
    fn respond(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, ClientError> {
        if self.answered || !challenge.is_empty() {
            return Err(ClientError::Senseless);
        }
        self.answered = true;
        self.message().ok_or(ClientError::Credentials)
    }
}
