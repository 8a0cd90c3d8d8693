//! SASL mechanisms (RFC 4422), both halves, one file each; pure, no I/O, no directory.
//!
//! A mechanism is a file, a constant [`Mechanism`], and one line in [`MECHANISMS`].

use restante_proto::{Secret, user::USER_NAME_MAX_OCTETS};

mod login;
mod plain;

/// Every mechanism there is, the one to prefer first. Configuration, CAPA and AUTH are renderings of this slice.
pub const MECHANISMS: &[Mechanism] = &[plain::MECHANISM, login::MECHANISM];

/// The longest password that is taken, in octets: RFC 4616 §4 asks for 255 at least. Schemes whose cost grows with the
/// password's length take less.
pub const PASSWORD_MAX_OCTETS: usize = 1024;

/// The mechanism of this name, which is compared without case (RFC 5034 §4).
///
/// ```
/// assert_eq!(restante_sasl::find("plain").map(|mechanism| mechanism.name), Some("PLAIN"));
/// assert!(restante_sasl::find("X-NONE").is_none());
/// ```
pub fn find(name: &str) -> Option<&'static Mechanism> {
    MECHANISMS.iter().find(|mechanism| mechanism.name.eq_ignore_ascii_case(name))
}

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

impl Credentials {
    /// A name and a password.
    pub fn new(user: impl Into<String>, password: impl Into<Secret<Vec<u8>>>) -> Self {
        Self { user: user.into(), password: password.into() }
    }
}

/// A name as a mechanism brings it: UTF-8 without NUL, not empty, not longer than any user name. Whether it is a
/// legal name is the directory's question, which answers no sooner for an illegal one.
fn read_name(octets: &[u8]) -> Option<&str> {
    let fits = matches!(octets.len(), 1..=USER_NAME_MAX_OCTETS) && !octets.contains(&0);
    if fits { std::str::from_utf8(octets).ok() } else { None }
}

/// A password as a mechanism brings it: any octets but NUL, in any encoding, as PASS takes them. An empty one passes:
/// the directory refuses it in the words of a wrong one.
fn read_password(octets: &[u8]) -> Option<Secret<Vec<u8>>> {
    let fits = octets.len() <= PASSWORD_MAX_OCTETS && !octets.contains(&0);
    fits.then(|| Secret::new(octets.to_vec()))
}
