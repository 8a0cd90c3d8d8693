//! What happens while mail is fetched, for those who watch: progress bars, lines, JSON.

use serde::Serialize;

/// Who watches. Called from several threads; it should not wait.
pub trait Report: Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> Report for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A connection stands, and we are logged in.
    Connected {
        /// The server, as a URL without the user.
        server: String,
        /// The version of TLS; none where it is off.
        tls: Option<String>,
    },
    /// What the server has, and what is going to happen.
    Planned {
        /// How many messages the server lists.
        messages: usize,
        /// How many are fetched.
        fetch: usize,
        /// How long these are together, as far as LIST tells, in octets.
        fetch_octets: u64,
        /// How many that were delivered before are deleted.
        delete: usize,
    },
    /// So many more octets of messages came.
    Progress {
        /// Octets.
        octets: u64,
    },
    /// A message is at its destination, durably.
    Delivered {
        /// Its number in the session.
        number: u32,
        /// Its unique-id, where it has one.
        id: Option<String>,
        /// Its length in octets.
        octets: u64,
    },
    /// A message that seemed new was delivered before, under another unique-id.
    Recognised {
        /// Its number in the session.
        number: u32,
        /// Its unique-id, where it has one.
        id: Option<String>,
    },
    /// A message could not be fetched or delivered; it is tried again later.
    SetAside {
        /// Its number in the session.
        number: u32,
        /// Its unique-id, where it has one.
        id: Option<String>,
        /// Why.
        why: String,
    },
    /// A message is longer than the account wants, and is left on the server.
    TooLong {
        /// Its number in the session.
        number: u32,
        /// Its unique-id, where it has one.
        id: Option<String>,
        /// Its length in octets, as LIST tells it.
        octets: u64,
    },
    /// The server confirmed that it removed so many messages.
    Deleted {
        /// How many.
        messages: usize,
    },
    /// Something that is not as it should be, and does no harm.
    Warning {
        /// What.
        text: String,
    },
    /// The server wants more time between logins (LOGIN-DELAY, RFC 2449 §6.5), and is given it.
    Waiting {
        /// How long, in seconds.
        seconds: u64,
    },
    /// The session broke, and a new one is made.
    Again {
        /// Why.
        why: String,
    },
}
