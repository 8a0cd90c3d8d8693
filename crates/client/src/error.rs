//! What a call can fail with, by what the caller can do about it.

use std::{fmt, io};

use restante_proto::{
    client::{Broken, NotNow},
    reply::{self, ResponseCode},
    verb::Verb,
};
use restante_sasl::ClientError;

use crate::{strength::Strength, tls::TlsError};

/// Why a call failed.
///
/// ```
/// use restante_client::{Error, ResponseCode, Waiting};
///
/// /// What to do about a session that failed.
/// fn advice(error: &Error) -> &'static str {
///     match error {
///         Error::Refused(refused) => match refused.code {
///             Some(ResponseCode::Auth) => "ask for the password",
///             Some(ResponseCode::InUse | ResponseCode::SysTemp | ResponseCode::LoginDelay) => "try again later",
///             _ => "show what the server says",
///         },
///         Error::Connect { .. } | Error::Lost(_) | Error::TimedOut(_) => "try again on a new connection",
///         Error::Tls(_) | Error::Cleartext | Error::NotOffered(_) => "look at the configuration",
///         Error::TooWeak { .. } | Error::Impostor => "somebody may stand between",
///         _ => "report it",
///     }
/// }
/// assert_eq!(advice(&Error::TimedOut(Waiting::Greeting)), "try again on a new connection");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server said `-ERR`. The session goes on; after a refused greeting it is over.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The server does not offer what is needed; nothing was sent for it.
    #[error("the server does not offer {0}")]
    NotOffered(String),
    /// The password would have gone over the connection in clear, and that was not asked for
    /// ([`crate::Options::cleartext_passwords`]). Nothing was sent.
    #[error("the connection is not encrypted, so no password is sent: use TLS, or allow it explicitly")]
    Cleartext,
    /// The user name or the password cannot be sent: it is empty, or holds NUL, CR or LF.
    #[error("the user name or the password holds what cannot be sent by {0}")]
    Credentials(&'static str),
    /// What is to be logged in with is of another kind than this way of logging in takes: a token where a password is sent, or
    /// the other way round. Nothing was sent.
    #[error("{0} is not for credentials of this kind")]
    Unsuitable(&'static str),
    /// The server offers nothing as strong as what was asked for ([`crate::Client::authenticate_at_least`]). Nothing was sent:
    /// somebody between may have stripped its list.
    #[error(
        "the server offers no login as strong as {minimum}, which is the least that is accepted; {offers}"
    )]
    TooWeak {
        /// What was asked for.
        minimum: Strength,
        /// What there is instead, in words.
        offers: String,
    },
    /// The server lets us in and did not prove that it knows the password (RFC 5802 §3). The connection was closed.
    #[error(
        "the server did not prove that it knows this password, as this login has it: it may be an impostor, and the connection \
         was closed"
    )]
    Impostor,
    /// An exchange of AUTH was given up by us, and the connection with it.
    #[error("AUTH {mechanism}: {why}")]
    Exchange {
        /// The mechanism.
        mechanism: &'static str,
        /// Why.
        why: ClientError,
    },
    /// The host has no address, or no connection could be made.
    #[error("cannot connect to {place}: {source}")]
    Connect {
        /// Host and port.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// The connection ended, or broke: try again on a new one.
    #[error("{0}")]
    Lost(String),
    /// The server did not answer in time: try again on a new connection.
    #[error("the server did not answer in time ({0})")]
    TimedOut(Waiting),
    /// TLS could not be set up, or was not trusted.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server does not speak POP3 as it should; the connection is of no use any more.
    #[error(transparent)]
    Protocol(Broken),
    /// An earlier call was cancelled, or messages were not read to their end, or the session is over: make a new connection.
    #[error("the connection cannot be used any more: {0}")]
    Interrupted(&'static str),
    /// The server said `+OK` to this, and something that cannot be understood. The session goes on.
    #[error("the answer to {} cannot be understood: «{said}»", verb.word())]
    Unclear {
        /// The command.
        verb: Verb,
        /// What it said; control characters are replaced.
        said: String,
    },
    /// The call does not fit the state of the session, such as a message before the login. Nothing was sent.
    #[error(transparent)]
    NotNow(#[from] NotNow),
    /// A transcript could not be written.
    #[error("cannot write the transcript: {0}")]
    Transcript(io::Error),
}

impl Error {
    /// Whether the connection is of no use any more.
    pub const fn is_fatal(&self) -> bool {
        !matches!(
            self,
            Self::Refused(_)
                | Self::NotOffered(_)
                | Self::Cleartext
                | Self::Credentials(_)
                | Self::Unsuitable(_)
                | Self::TooWeak { .. }
                | Self::Unclear { .. }
                | Self::NotNow(_)
        )
    }

    /// The response code of a refusal.
    pub const fn code(&self) -> Option<&ResponseCode> {
        match self {
            Self::Refused(refused) => refused.code.as_ref(),
            _ => None,
        }
    }
}

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Cut(_) | Broken::Unanswered(_) | Broken::Silent | Broken::GivenUp(_) => {
                Self::Lost(broken.to_string())
            }
            broken => Self::Protocol(broken),
        }
    }
}

/// A `-ERR` of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What was refused; `None` for the greeting.
    pub verb: Option<Verb>,
    /// What it tells a program (RFC 2449 §8, RFC 3206).
    pub code: Option<ResponseCode>,
    /// What it tells a person; control characters are replaced.
    pub text: String,
}

/// The longest text of a server in an error, in characters.
const TEXT_MAX: usize = 400;

impl Refused {
    pub(crate) fn new(verb: Option<Verb>, code: Option<ResponseCode>, text: &str) -> Self {
        Self { verb, code, text: printable(text) }
    }
}

/// What a server said, for a person: printable and bounded.
pub(crate) fn printable(text: &str) -> String {
    reply::printable(text, TEXT_MAX)
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verb {
            Some(verb) => write!(f, "the server refused {}", verb.word())?,
            None => f.write_str("the server refused the connection")?,
        }
        match (&self.code, self.text.as_str()) {
            (Some(code), text) => write!(f, ": [{}] {text}", code.as_str()),
            (None, "") => Ok(()),
            (None, text) => write!(f, ": {text}"),
        }
    }
}

impl std::error::Error for Refused {}

/// What was waited for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The connection.
    Connect,
    /// The greeting.
    Greeting,
    /// The TLS handshake.
    Tls,
    /// The answer to this command, or more of it.
    Answer(Verb),
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connecting"),
            Self::Greeting => f.write_str("greeting"),
            Self::Tls => f.write_str("TLS handshake"),
            Self::Answer(verb) => f.write_str(verb.word()),
        }
    }
}
