//! SASL mechanisms (RFC 4422), both halves, one file each; pure, no I/O, no directory.
//!
//! A mechanism is a file, a constant [`Mechanism`], and one line in [`MECHANISMS`].

use restante_proto::Secret;

/// One mechanism, as configuration, CAPA and AUTH know it.
#[derive(Clone, Copy, Debug)]
pub struct Mechanism {
    /// Its registered name, in capitals.
    pub name: &'static str,
    /// Whether it shows the password to whoever listens, so that it needs TLS.
    pub cleartext: bool,
    /// Begins the server's half of an exchange.
    pub server: fn() -> Box<dyn ServerExchange>,
    /// Begins the client's half of an exchange.
    pub client: fn(Credentials) -> Box<dyn ClientExchange>,
}

/// The server's half of one exchange.
pub trait ServerExchange: Send + std::fmt::Debug {
    /// Takes the client's initial response (`None` where AUTH came without one) or its next response, and says what
    /// is next.
    fn step(&mut self, response: Option<&[u8]>) -> Step;
}

/// The client's half of one exchange.
pub trait ClientExchange: Send + std::fmt::Debug {
    /// The initial response that may go out with the command, if the mechanism begins with the client.
    fn initial(&mut self) -> Option<Secret<Vec<u8>>>;

    /// The response to a challenge; `None` if the challenge makes no sense, so that the exchange is to be cancelled.
    fn respond(&mut self, challenge: &[u8]) -> Option<Secret<Vec<u8>>>;
}

/// What the server does next.
#[derive(Debug)]
pub enum Step {
    /// Sends this challenge and waits for a response.
    Challenge(Vec<u8>),
    /// Has the directory check these credentials; the exchange is over.
    Verify(Credentials),
    /// Refuses: the response was malformed, or asked to act for somebody else.
    Malformed,
}

/// A name and a password, as they came from the client or go out to a server.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The name of the user (the authentication identity).
    pub user: String,
    /// The password.
    pub password: Secret<Vec<u8>>,
}
