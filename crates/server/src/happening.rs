//! What happens in a server, told as it happens to whoever counts: connections, logins, commands, locks. What becomes of it
//! lives elsewhere; the octets of sessions are told in `observe.rs`.

use std::time::Duration;

use restante_proto::{server::TlsFacts, verb::Verb};

use crate::{listen::Port, sessions::SessionFacts};

/// Something that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Happening<'a> {
    /// A connection was let in.
    Connected {
        /// What is spoken where it came in.
        port: Port,
    },
    /// A connection was not let in.
    Refused {
        /// The setting that kept it out: `connections`, `connections_per_address` or `proxies`.
        limit: &'static str,
    },
    /// A TLS handshake was done.
    Secured {
        /// What was agreed.
        tls: &'a TlsFacts,
    },
    /// A TLS handshake failed, or was cut off. Who connects and leaves without a word began none.
    NotSecured,
    /// A login came to its end.
    Login {
        /// `USER` (with PASS), `APOP`, or the name of the SASL mechanism; empty where none of that name is known.
        mechanism: &'static str,
        /// What came of it.
        result: LoginResult,
    },
    /// A session asked for the lock of a maildrop.
    Lock {
        /// What came of it.
        result: LockResult,
        /// How long it waited until the session that had it was gone; to read what is in the maildrop is no part of it.
        waited: Duration,
    },
    /// Commands were answered.
    Answered {
        /// What they were; `None` where they begin with no verb that is known.
        verb: Option<Verb>,
        /// Whether the answer was `+OK`.
        ok: bool,
        /// How many.
        commands: u32,
        /// From when a command came to when its answer was handed to the system, messages included. Of several that came at
        /// once it is the mean.
        each: Duration,
    },
    /// A maildrop was opened in which messages had come back under other names: their unique-ids are others than before, and
    /// clients will fetch them again.
    UniqueIdsChanged {
        /// How many messages.
        messages: u32,
    },
    /// A session is over. It is in no list any more, and the sums have it among those that ended.
    Ended {
        /// What is known of it.
        session: &'a SessionFacts,
        /// Why it ended, for programs.
        reason: EndReason,
        /// Why it ended, in words.
        why: &'a str,
    },
}

/// Why a session ended, for programs; the words that are logged say more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// QUIT, and all was done.
    Quit,
    /// QUIT, but not all that was marked could be removed.
    QuitRefused,
    /// The client closed its side without QUIT.
    Disconnected,
    /// Too many malformed or misplaced commands.
    BadCommands,
    /// Too many wrong passwords.
    LoginFailures,
    /// A line that does not end.
    EndlessLine,
    /// TLS where clear text is spoken, clear text or HTTP where TLS is, HTTP anywhere.
    WrongProtocol,
    /// A message or a listing broke off.
    BrokenOff,
    /// A fault of the server itself.
    Internal,
    /// It was logged in and silent for too long (RFC 1939 §3).
    Autologout,
    /// Nobody logged in in time.
    LoginTimeout,
    /// The client did not read.
    WriteTimeout,
    /// The client answered nothing any more.
    Dead,
    /// The TLS handshake failed.
    TlsHandshake,
    /// A new session of the same user took the maildrop over.
    TakenOver,
    /// An operator ended it.
    Kicked,
    /// The connection failed.
    Connection,
    /// The server stopped.
    Stopped,
}

impl EndReason {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Quit,
        Self::QuitRefused,
        Self::Disconnected,
        Self::BadCommands,
        Self::LoginFailures,
        Self::EndlessLine,
        Self::WrongProtocol,
        Self::BrokenOff,
        Self::Internal,
        Self::Autologout,
        Self::LoginTimeout,
        Self::WriteTimeout,
        Self::Dead,
        Self::TlsHandshake,
        Self::TakenOver,
        Self::Kicked,
        Self::Connection,
        Self::Stopped,
    ];

    /// Its name for programs, such as `login-timeout`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::QuitRefused => "quit-refused",
            Self::Disconnected => "disconnected",
            Self::BadCommands => "bad-commands",
            Self::LoginFailures => "login-failures",
            Self::EndlessLine => "endless-line",
            Self::WrongProtocol => "wrong-protocol",
            Self::BrokenOff => "broken-off",
            Self::Internal => "internal",
            Self::Autologout => "autologout",
            Self::LoginTimeout => "login-timeout",
            Self::WriteTimeout => "write-timeout",
            Self::Dead => "dead",
            Self::TlsHandshake => "tls-handshake",
            Self::TakenOver => "taken-over",
            Self::Kicked => "kicked",
            Self::Connection => "connection",
            Self::Stopped => "stopped",
        }
    }
}

/// What came of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginResult {
    /// The user is logged in, and the maildrop is open.
    Accepted,
    /// The name or the password is wrong.
    Credentials,
    /// What the client sent is no answer to the mechanism's challenge, or there is no such mechanism.
    Malformed,
    /// The client gave it up in the midst of the exchange, or what it sent there is no base64.
    Cancelled,
    /// Too many logins were under way.
    Busy,
    /// There were too many logins in a short time.
    TooMany,
    /// It came too soon after the login before it (RFC 2449 §6.5).
    LoginDelay,
    /// The directory of users failed.
    Directory,
    /// Another session has the maildrop.
    InUse,
    /// The maildrop cannot be opened.
    Maildrop,
    /// The server stops: nobody logs in any more.
    Stopping,
}

impl LoginResult {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Accepted,
        Self::Credentials,
        Self::Malformed,
        Self::Cancelled,
        Self::Busy,
        Self::TooMany,
        Self::LoginDelay,
        Self::Directory,
        Self::InUse,
        Self::Maildrop,
        Self::Stopping,
    ];

    /// Its name for programs, such as `in-use`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Credentials => "credentials",
            Self::Malformed => "malformed",
            Self::Cancelled => "cancelled",
            Self::Busy => "busy",
            Self::TooMany => "too-many",
            Self::LoginDelay => "login-delay",
            Self::Directory => "directory",
            Self::InUse => "in-use",
            Self::Maildrop => "maildrop",
            Self::Stopping => "stopping",
        }
    }
}

/// What came of asking for a maildrop's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockResult {
    /// It was free.
    Free,
    /// It was taken over from a session that was idle.
    TakenOver,
    /// Another session has it.
    InUse,
}

impl LockResult {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Free, Self::TakenOver, Self::InUse];

    /// Its name for programs, such as `taken-over`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::TakenOver => "taken-over",
            Self::InUse => "in-use",
        }
    }
}
