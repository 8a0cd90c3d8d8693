//! What passes between a session and its driver, apart from octets. A question owns its data, so that buffers can go
//! back to their pool while it is open.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{fmt, ops::Range};

use crate::{
    Marks, MessageNumber, Secret, UniqueIds,
    body::{Form, Part},
    reply::Refusal,
};

/// What holds for every session of a server.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The name in the greeting.
    pub hostname: String,
    /// Whether STLS would work.
    pub stls: bool,
    /// Whether passwords are taken at all, by USER and PASS: where users have tokens alone, they are not.
    pub passwords: bool,
    /// The SASL mechanisms, strongest first.
    pub mechanisms: Vec<Offer>,
    /// How many wrong passwords end the connection.
    pub login_failures_max: u8,
    /// How many malformed or misplaced commands in a row end the connection.
    pub bad_commands_max: u8,
}

/// The time between two logins of a user (RFC 2449 §6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginDelay {
    /// Seconds; before the login the most that any user has to wait.
    pub seconds: u32,
    /// Whether it may be another for the user who logs in.
    pub per_user: bool,
}

/// A SASL mechanism on offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its name in capitals.
    pub name: &'static str,
    /// Whether it shows the password to whoever listens.
    pub cleartext: bool,
    /// Whether it needs a channel binding ([`TlsFacts::binding`]).
    pub binding: bool,
    /// Whether it needs a client certificate ([`TlsFacts::certificate`]).
    pub certificate: bool,
}

impl Offer {
    /// A mechanism that needs neither.
    pub const fn new(name: &'static str, cleartext: bool) -> Self {
        Self { name, cleartext, binding: false, certificate: false }
    }
}

/// What is known of the connection.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// TLS, where it is on.
    pub tls: Option<Box<TlsFacts>>,
    /// Whether a password may pass without TLS.
    pub cleartext: bool,
}

/// What was agreed in the TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The version, such as `TLSv1.3`.
    pub version: String,
    /// The cipher suite by its registered name.
    pub cipher: String,
    /// Whether a SASL exchange can be bound to the connection (RFC 5929, RFC 9266).
    pub binding: bool,
    /// Whether the client showed a certificate, and it was checked.
    pub certificate: bool,
}

/// What the driver does next.
#[derive(Debug)]
#[must_use]
pub enum Next<S> {
    /// Reads more input.
    Input,
    /// Writes out what there is: it passed the soft limit.
    Write,
    /// Answers a question.
    Ask(Ask),
    /// Sends a message, or its top.
    Send(Transfer<S>),
    /// Begins TLS.
    StartTls,
    /// Ends the connection.
    Close(Close),
}

/// A question to the directory or the store.
#[derive(Debug)]
pub enum Ask {
    /// Is this the user's password? `Accepted` or `Refused`.
    Password {
        /// The name, as it was sent.
        user: String,
        /// The password.
        password: Secret<Vec<u8>>,
    },
    /// Is this the digest of the time stamp and the user's secret (RFC 1939 §7)? `Accepted` or `Refused`.
    Apop {
        /// The name, as it was sent.
        user: String,
        /// The time stamp of the greeting, with its angle brackets.
        stamp: String,
        /// The MD5 digest.
        digest: [u8; 16],
    },
    /// Begins an exchange (RFC 5034). `Challenge`, `Accepted` or `Refused`.
    SaslStart {
        /// One of [`Policy::mechanisms`].
        mechanism: &'static str,
        /// The initial response, where there is one.
        initial: Option<Secret<Vec<u8>>>,
    },
    /// The client's response to the challenge. `Challenge`, `Accepted` or `Refused`.
    SaslStep(Secret<Vec<u8>>),
    /// The exchange is over without a result. `Cancelled`.
    SaslCancel,
    /// Locks and opens the maildrop of the user who was accepted. `Opened` or `Refused`.
    Open,
    /// The size of each message. `Sizes` or `Refused`.
    Sizes,
    /// The unique-ids of a run of messages (indices); a page of the first of them will do. `UniqueIds` or `Refused`.
    UniqueIds {
        /// Which.
        range: Range<u32>,
    },
    /// Opens a message. `Message`, `Gone` or `Refused`.
    Message {
        /// Which.
        number: MessageNumber,
        /// How much of it.
        part: Part,
    },
    /// UPDATE: removes what is marked and releases the lock. `Committed` or `Remain`.
    Commit {
        /// The marks.
        deleted: Marks,
    },
}

/// The answer to an [`Ask`].
#[derive(Debug)]
pub enum Answer<S> {
    /// The mechanism wants this sent to the client.
    Challenge(Vec<u8>),
    /// The client is who it says.
    Accepted,
    /// No, with the words for the client.
    Refused(Refusal),
    /// The exchange was dropped.
    Cancelled,
    /// The maildrop is open and locked.
    Opened {
        /// How many messages it holds.
        messages: u32,
        /// Their sizes in octets (canonical), where these are known without reading mail.
        sizes: Option<Arc<[u64]>>,
    },
    /// The sizes of all messages in octets (canonical).
    Sizes(Arc<[u64]>),
    /// The unique-ids of the first messages of the range; at least one.
    UniqueIds(UniqueIds),
    /// The message can be sent.
    Message {
        /// What to send.
        transfer: Transfer<S>,
        /// The canonical length of the whole message in octets.
        octets: u64,
    },
    /// The message was removed by another program.
    Gone,
    /// What was marked is durably removed.
    Committed,
    /// So many of the marked messages are still there.
    Remain(u32),
}

/// A body to send. `S` is the store's handle, which the session only passes on.
#[derive(Debug)]
pub struct Transfer<S> {
    /// Where the octets are.
    pub source: S,
    /// Which of them.
    pub octets: Range<u64>,
    /// How they are stored.
    pub form: Form,
    /// How much of the message goes out.
    pub part: Part,
}

/// How long the session would wait for what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Patience {
    /// For a login.
    Login,
    /// For a command of a user who is logged in (RFC 1939 §3: at least ten minutes).
    Idle,
    /// For an answer, or for a body to be sent: not the client's fault.
    Busy,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// QUIT, and all is done.
    Quit,
    /// QUIT, but not everything could be removed.
    QuitRefused,
    /// The client closed its side without QUIT: nothing was deleted.
    Disconnected,
    /// Too many malformed or misplaced commands.
    BadCommands,
    /// Too many wrong passwords.
    LoginFailures,
    /// A line that does not end.
    EndlessLine,
    /// The client began TLS on a port that speaks clear text.
    TlsOnClearPort,
    /// The client speaks HTTP.
    HttpRequest,
    /// A message or a listing broke off in the middle, where no `-ERR` can stand.
    BrokenOff,
    /// The driver broke the contract of [`crate::server`].
    Misuse,
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quit => "quit",
            Self::QuitRefused => "quit, but messages remain",
            Self::Disconnected => "disconnected without quit",
            Self::BadCommands => "too many bad commands",
            Self::LoginFailures => "too many failed logins",
            Self::EndlessLine => "line without an end",
            Self::TlsOnClearPort => "TLS on the clear-text port",
            Self::HttpRequest => "HTTP on the clear-text port",
            Self::BrokenOff => "body broke off",
            Self::Misuse => "internal error",
        })
    }
}
