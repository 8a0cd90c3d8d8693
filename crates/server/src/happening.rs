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
        /// The setting whose limit it would have crossed: `connections` or `connections_per_address`.
        limit: &'static str,
    },
    /// A TLS handshake was done.
    Secured {
        /// What was agreed.
        tls: &'a TlsFacts,
    },
    /// A TLS handshake failed.
    NotSecured,
    /// A login came to its end.
    Login {
        /// `USER` (with PASS), `APOP`, or the name of the SASL mechanism.
        mechanism: &'static str,
        /// What came of it.
        result: LoginResult,
    },
    /// A session asked for the lock of a maildrop.
    Lock {
        /// What came of it.
        result: LockResult,
        /// How long it waited for the lock.
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
        /// From when a command came to when its answer was handed over, messages included. Of several that came at once it
        /// is the mean.
        each: Duration,
    },
    /// A session is over.
    Ended {
        /// What is known of it.
        session: &'a SessionFacts,
        /// Why it ended, in words.
        why: &'a str,
    },
}

/// What came of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginResult {
    /// The user is logged in, and the maildrop is open.
    Accepted,
    /// The name or the password is wrong.
    Credentials,
    /// What the client sent is no answer to the mechanism's challenge.
    Malformed,
    /// Too many logins were under way.
    Busy,
    /// The directory of users failed.
    Directory,
    /// Another session has the maildrop.
    InUse,
    /// The maildrop cannot be opened.
    Maildrop,
}

impl LoginResult {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Credentials,
        Self::Malformed,
        Self::Busy,
        Self::Directory,
        Self::InUse,
        Self::Maildrop,
    ];

    /// Its name for programs, such as `in-use`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Credentials => "credentials",
            Self::Malformed => "malformed",
            Self::Busy => "busy",
            Self::Directory => "directory",
            Self::InUse => "in-use",
            Self::Maildrop => "maildrop",
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
