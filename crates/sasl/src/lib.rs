//! SASL mechanisms (RFC 4422), both halves, one file each; pure, no I/O, no directory.
//!
//! A mechanism is a file, a constant [`Mechanism`], and one line in [`MECHANISMS`]. What a half needs from the world
//! (randomness, the names of the connection) it is handed in a context; what a server's half needs from a directory it
//! asks for in a [`Step`].

use std::fmt;

use restante_proto::{Secret, user::USER_NAME_MAX_OCTETS};

mod bearer;
mod binding;
mod cram_md5;
mod external;
mod gs2;
mod login;
mod oauthbearer;
mod plain;
mod saslprep;
pub mod scram;
mod xoauth2;

pub use binding::{ChannelBindings, end_point};

/// Every mechanism there is, the one to prefer first. Configuration, CAPA and AUTH are renderings of this slice.
pub const MECHANISMS: &[Mechanism] = &[
    scram::SHA_256_PLUS,
    scram::SHA_1_PLUS,
    scram::SHA_256,
    scram::SHA_1,
    external::MECHANISM,
    oauthbearer::MECHANISM,
    xoauth2::MECHANISM,
    cram_md5::MECHANISM,
    plain::MECHANISM,
    login::MECHANISM,
];

/// The longest password that is taken, in octets: RFC 4616 §4 asks for 255 at least. Schemes whose cost grows with the
/// password's length take less.
pub const PASSWORD_MAX_OCTETS: usize = 1024;

/// The longest token that is taken, in octets. Microsoft's have more than 2,000, and may grow.
pub const TOKEN_MAX_OCTETS: usize = 10 * 1024;

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
    /// What the server has to have of a user.
    pub needs: Needs,
    /// Whether it shows the password or token to whoever listens, so that it needs TLS.
    pub cleartext: bool,
    /// Whether it is bound to the channel (a name that ends in `-PLUS`), so that it needs TLS with a binding.
    pub binding: bool,
    /// Whether it is only used where somebody named it: it rests on MD5, or on secrets that the server can read.
    pub by_name_only: bool,
    /// Begins the server's half of an exchange.
    pub server: fn(&ServerContext) -> Box<dyn ServerExchange>,
    /// Begins the client's half of an exchange.
    pub client: fn(Credentials, &ClientContext) -> Box<dyn ClientExchange>,
}

/// What a server has to have of a user, so that he can log in by a mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Needs {
    /// Anything that a password can be compared with.
    Password,
    /// SCRAM keys of this hash (RFC 5802 §3).
    Keys(scram::Hash),
    /// The password itself, in a form that can be read.
    Plaintext,
    /// Something that knows the tokens of an authorization server.
    Token,
    /// A client certificate, checked in the TLS handshake.
    Certificate,
}

/// What the server's half is told of the world.
#[derive(Clone, Debug, Default)]
pub struct ServerContext {
    /// Printable ASCII without a comma, 18 octets at least, from a good source of randomness, never used twice.
    pub nonce: String,
    /// The server's name.
    pub hostname: String,
    /// What the TLS connection is known by.
    pub bindings: ChannelBindings,
    /// Whether a mechanism with channel binding was offered on this connection.
    pub plus_offered: bool,
}

/// What the client's half is told of the world.
#[derive(Clone, Debug, Default)]
pub struct ClientContext {
    /// As [`ServerContext::nonce`].
    pub nonce: String,
    /// The server's name, as the user wrote it.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// What the TLS connection is known by.
    pub bindings: ChannelBindings,
    /// Whether the server offered a mechanism with channel binding that this client knows.
    pub plus_offered: bool,
}

/// The server's half of one exchange.
pub trait ServerExchange: Send + fmt::Debug {
    /// Takes the client's initial response (`None` where AUTH came without one) or its next response, and says what
    /// is next.
    fn step(&mut self, response: Option<&[u8]>) -> Step;

    /// Takes the keys that [`Step::Keys`] asked for, and goes on.
    fn keys(&mut self, _keys: &scram::Keys) -> Step {
        Step::Malformed
    }

    /// Hears the verdict on what [`Step::Verify`] handed over. A last challenge goes out before the verdict does; the
    /// client answers it with an empty response (SCRAM's proof of the server, RFC 5802 §3) or with anything (the reason of a
    /// refusal, RFC 7628 §3.2.3).
    fn verified(&mut self, _accepted: bool) -> Option<Vec<u8>> {
        None
    }
}

/// The client's half of one exchange.
pub trait ClientExchange: Send + fmt::Debug {
    /// The initial response that may go out with the command, if the mechanism begins with the client.
    fn initial(&mut self) -> Option<Secret<Vec<u8>>>;

    /// The response to a challenge. With an error the exchange is to be cancelled. SCRAM takes its time here: it hashes.
    fn respond(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, ClientError>;

    /// Hears that the server says yes; fails where it has not proven what it has to prove.
    fn accepted(&mut self) -> Result<(), ClientError> {
        Ok(())
    }

    /// Why the server says no, as it told within the exchange: the status of RFC 7628 §3.2.2, or SCRAM's error.
    /// Printable, and of bounded length.
    fn refusal(&self) -> Option<&str> {
        None
    }
}

/// What the server does next.
#[derive(Debug)]
pub enum Step {
    /// Sends this challenge and waits for a response.
    Challenge(Vec<u8>),
    /// Looks for this user's keys, and hands them over by [`ServerExchange::keys`]. For somebody who is not there it takes
    /// keys that nobody's password fits, the same for the same name.
    Keys {
        /// The name, as it was sent.
        user: String,
        /// Of which hash.
        hash: scram::Hash,
    },
    /// Has this checked, and tells the verdict by [`ServerExchange::verified`]; but for a last challenge the exchange is
    /// over.
    Verify(Evidence),
    /// Refuses: the response was malformed, or asked to act for somebody else.
    Malformed,
}

/// What a client shows to be let in.
#[derive(Debug)]
pub enum Evidence {
    /// A name and a password.
    Password(Credentials),
    /// A token, and whose it is said to be; nobody's where the mechanism leaves that to the token.
    Token {
        /// The name, as it was sent.
        user: Option<String>,
        /// The bearer token (RFC 6750 §2.1).
        token: Secret<String>,
    },
    /// Whether the client knew the password of the user whose keys were asked for.
    Proof {
        /// The verdict.
        right: bool,
    },
    /// HMAC-MD5 of the challenge, with the password as its key (RFC 2195).
    Digest {
        /// The name, as it was sent.
        user: String,
        /// What the client was asked.
        challenge: Vec<u8>,
        /// What it answered.
        digest: [u8; 16],
    },
    /// The certificate of the TLS handshake; `user` is whom it asks to be, or the certificate's own name where it is `None`.
    Certificate {
        /// The name, as it was sent.
        user: Option<String>,
    },
}

/// What somebody logs in with, as it came from the client or goes out to a server.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The name of the user (the authentication identity).
    pub user: String,
    /// What `password` is.
    pub kind: CredentialKind,
    /// The password, or the token; empty where it is a certificate.
    pub password: Secret<Vec<u8>>,
}

/// What somebody logs in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// A password.
    Password,
    /// A bearer token (RFC 6750).
    Token,
    /// A client certificate in TLS.
    Certificate,
}

impl Credentials {
    /// A name and a password.
    pub fn new(user: impl Into<String>, password: impl Into<Secret<Vec<u8>>>) -> Self {
        Self { user: user.into(), kind: CredentialKind::Password, password: password.into() }
    }

    /// A name and a bearer token.
    pub fn token(user: impl Into<String>, token: impl Into<Secret<Vec<u8>>>) -> Self {
        Self { user: user.into(), kind: CredentialKind::Token, password: token.into() }
    }

    /// A name, for a certificate that TLS shows.
    pub fn certificate(user: impl Into<String>) -> Self {
        Self { user: user.into(), kind: CredentialKind::Certificate, password: Secret::new(Vec::new()) }
    }
}

impl Mechanism {
    /// Whether a client can use it with credentials of this kind.
    pub const fn takes(&self, kind: CredentialKind) -> bool {
        matches!(
            (self.needs, kind),
            (Needs::Password | Needs::Keys(_) | Needs::Plaintext, CredentialKind::Password)
                | (Needs::Token, CredentialKind::Token)
                | (Needs::Certificate, CredentialKind::Certificate)
        )
    }
}

/// Why a client does not go on with an exchange.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The challenge makes no sense here.
    #[error("the server's challenge makes no sense")]
    Senseless,
    /// The credentials cannot be sent by this mechanism: a NUL in them, or no name.
    #[error("the credentials cannot be sent by this mechanism")]
    Credentials,
    /// The server asks for more hashing than is reasonable, or for so little that the password would be easy to guess
    /// (RFC 7677 §4).
    #[error("the server asks for {0} iterations, and {min} to {max} are accepted", min = scram::ITERATIONS_MIN, max = scram::ITERATIONS_MAX)]
    Iterations(u64),
    /// The server did not prove that it knows the password's keys: it is not the one that was meant.
    #[error("the server did not prove that it knows this password: it may be an impostor")]
    Impostor,
    /// The connection has no binding that the mechanism could use.
    #[error("this TLS connection has nothing that a channel binding could use")]
    NoBinding,
}

/// The longest reason of a refusal that is kept, in octets.
const REFUSAL_MAX_OCTETS: usize = 64;

/// What a server says of a refusal, as it may be shown: cut off, and without what is not printable.
fn refusal_text(said: &str) -> Option<String> {
    let shown = said.chars().take(REFUSAL_MAX_OCTETS);
    let shown: String = shown.map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
    (!shown.is_empty()).then_some(shown)
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
