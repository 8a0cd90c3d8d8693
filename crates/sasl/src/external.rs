//! EXTERNAL (RFC 4422 appendix A): the client has shown who it is by a certificate in TLS, and says here whom it wants to be,
//! or nothing. A server needs authorities that sign the certificates of its users.

use restante_proto::Secret;

use crate::{ClientError, ClientExchange, Evidence, Mechanism, Needs, ServerExchange, Step, read_name};

/// EXTERNAL, for the registry.
pub(crate) const MECHANISM: Mechanism = Mechanism {
    name: "EXTERNAL",
    needs: Needs::Certificate,
    cleartext: false,
    binding: false,
    by_name_only: false,
    server: |_| Box::new(Server::Start),
    client: |credentials, _| Box::new(Client { user: credentials.user, answered: false }),
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
        let certificate = |user| Step::Verify(Evidence::Certificate { user });
        let (next, step) = match (&self, response) {
            (Self::Start, None) => (Self::Asked, Step::Challenge(Vec::new())),
            (Self::Start | Self::Asked, Some(b"")) => (Self::Over, certificate(None)),
            (Self::Start | Self::Asked, Some(name)) => {
                let name = read_name(name).map(str::to_owned);
                (Self::Over, name.map_or(Step::Malformed, |name| certificate(Some(name))))
            }
            (Self::Asked | Self::Over, _) => (Self::Over, Step::Malformed),
        };
        *self = next;
        step
    }
}

/// The client's half.
#[derive(Debug)]
struct Client {
    /// Whom it wants to be; empty where the certificate tells.
    user: String,
    /// Whether a challenge was answered; a second one would be a server that lost its way.
    answered: bool,
}

impl Client {
    fn message(&self) -> Option<Secret<Vec<u8>>> {
        (!self.user.contains('\0')).then(|| Secret::new(self.user.as_bytes().to_vec()))
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
