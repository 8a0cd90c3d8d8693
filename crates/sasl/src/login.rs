//! LOGIN (draft-murchison-sasl-login-00): a name, then a password, each asked for by a prompt.
//!
//! It is obsolete, and here because old clients offer nothing else. The prompts are fixed, since some clients look at
//! them; an initial response (RFC 5034 §4) is taken as the name, as other servers do.

use restante_proto::Secret;

use crate::{
    ClientError, ClientExchange, Credentials, Evidence, Mechanism, Needs, ServerExchange, Step, read_name,
    read_password,
};

/// LOGIN, for the registry.
pub(crate) const MECHANISM: Mechanism = Mechanism {
    name: "LOGIN",
    needs: Needs::Password,
    cleartext: true,
    binding: false,
    by_name_only: false,
    server: |_| Box::new(Server::Start),
    client: |credentials, _| Box::new(Client { credentials, next: Next::Name }),
};

const NAME_PROMPT: &[u8] = b"Username:";
const PASSWORD_PROMPT: &[u8] = b"Password:";

/// Where the server's half is.
#[derive(Debug)]
enum Server {
    /// Nothing was said.
    Start,
    /// The name was asked for.
    Name,
    /// The password was asked for.
    Password { user: String },
    /// The exchange is over.
    Over,
}

impl ServerExchange for Server {
    fn step(&mut self, response: Option<&[u8]>) -> Step {
        let (next, step) = match (std::mem::replace(self, Self::Over), response) {
            (Self::Start, None) => (Self::Name, Step::Challenge(NAME_PROMPT.to_vec())),
            (Self::Start | Self::Name, Some(name)) => match read_name(name) {
                Some(user) => {
                    (Self::Password { user: user.to_owned() }, Step::Challenge(PASSWORD_PROMPT.to_vec()))
                }
                None => (Self::Over, Step::Malformed),
            },
            (Self::Password { user }, Some(password)) => {
                let credentials = read_password(password).map(|password| Credentials::new(user, password));
                let verify = |credentials| Step::Verify(Evidence::Password(credentials));
                (Self::Over, credentials.map_or(Step::Malformed, verify))
            }
            (Self::Name | Self::Password { .. }, None) | (Self::Over, _) => (Self::Over, Step::Malformed),
        };
        *self = next;
        step
    }
}

/// The client's half.
#[derive(Debug)]
struct Client {
    credentials: Credentials,
    next: Next,
}

/// What the client says next.
#[derive(Debug)]
enum Next {
    Name,
    Password,
    Nothing,
}

impl ClientExchange for Client {
    /// None: the draft has the server begin, and not every server takes a name that comes unasked.
    fn initial(&mut self) -> Option<Secret<Vec<u8>>> {
        None
    }

    /// Goes by the order of the prompts, whose words differ from server to server. One thing is looked at: a server
    /// that asks for the name again would put a password into its log as a name.
    fn respond(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, ClientError> {
        match self.next {
            Next::Name => {
                let name = self.credentials.user.as_bytes();
                let usable = !name.is_empty() && !name.contains(&0);
                self.next = if usable { Next::Password } else { Next::Nothing };
                usable.then(|| Secret::new(name.to_vec())).ok_or(ClientError::Credentials)
            }
            Next::Password => {
                self.next = Next::Nothing;
                let asks_for_name = challenge.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"user"));
                match (asks_for_name, self.credentials.password.expose().contains(&0)) {
                    (true, _) => Err(ClientError::Senseless),
                    (false, true) => Err(ClientError::Credentials),
                    (false, false) => Ok(self.credentials.password.clone()),
                }
            }
            Next::Nothing => Err(ClientError::Senseless),
        }
    }
}
