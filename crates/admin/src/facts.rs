//! What is told of sessions, as JSON. Times are milliseconds since 1970-01-01 (UTC), lengths are octets inside of TLS.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use restante_server::{LockFacts, Port, SessionFacts, Totals};
use serde::{Deserialize, Serialize};

/// A session that is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its name, as in every log line about it.
    pub session: String,
    /// What is spoken where it came in: `pop3` or `pop3s`.
    pub port: String,
    /// The client's address and port.
    pub client: String,
    /// The server's address and port, if the system told it.
    pub server: Option<String>,
    /// When it began.
    pub began_ms: u64,
    /// Who logged in.
    pub user: Option<String>,
    /// What was agreed about TLS.
    pub tls: Option<Tls>,
    /// The state that it is in: `AUTHORIZATION`, `TRANSACTION`, `UPDATE`, `closed` (RFC 1939 §3).
    pub phase: String,
    /// What it does: `waits`, `TLS handshake`, `ends`, or the verb that it answers.
    pub doing: String,
    /// Since when it does so.
    pub doing_since_ms: u64,
    /// How many commands were answered.
    pub commands: u64,
    /// How many messages were retrieved whole.
    pub retrieved: u64,
    /// How many messages are marked as deleted; at QUIT they are removed.
    pub marked: u64,
    /// How many messages were removed.
    pub deleted: u64,
    /// The last user whose login failed. A name that nobody has is none: it may be a password.
    pub tried: Option<String>,
    /// How many logins failed.
    pub failed_logins: u64,
    /// What the client sent.
    pub received_octets: u64,
    /// What was sent to it.
    pub sent_octets: u64,
}

/// What was agreed about TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Such as `TLSv1.3`.
    pub version: String,
    /// The cipher suite by its registered name.
    pub cipher: String,
}

/// A session that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The session, as it was at its end.
    #[serde(flatten)]
    pub session: Session,
    /// When it ended.
    pub ended_ms: u64,
    /// Why, in words.
    pub why: String,
    /// Whether it was heard, and can be drawn.
    pub heard: bool,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct All {
    /// The server's clock.
    pub now_ms: u64,
    /// The server's name, as in its greeting.
    pub hostname: String,
    /// The version of the program.
    pub version: String,
    /// Where the server listens.
    pub listening: Vec<Place>,
    /// The sums.
    pub totals: Sums,
    /// The sessions that are on, the oldest first.
    pub on: Vec<Session>,
    /// Those that ended lately, the latest first.
    pub ended: Vec<Ended>,
}

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// What is spoken there: `pop3` or `pop3s`.
    pub port: String,
    /// The address and port.
    pub address: String,
}

/// What has changed since the last time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The server's clock.
    pub now_ms: u64,
    /// The sums.
    pub totals: Sums,
    /// Sessions that began, or of which something has changed.
    pub on: Vec<Session>,
    /// The names of those that are on no more.
    pub gone: Vec<String>,
    /// Those that ended, the latest first.
    pub ended: Vec<Ended>,
}

/// Of all sessions since the server began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// How many are on.
    pub on: u64,
    /// How many have ended.
    pub ended: u64,
    /// What clients sent.
    pub received_octets: u64,
    /// What was sent to them.
    pub sent_octets: u64,
}

/// A piece of a dialogue that grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Of which session.
    pub session: String,
    /// The next piece of the text; it ends where a line does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Why the session ended; nothing follows of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// A maildrop that a session holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Whose maildrop.
    pub user: String,
    /// The session that has it.
    pub session: String,
    /// The client's address and port.
    pub client: String,
    /// Since when it is held.
    pub held_since_ms: u64,
    /// Since when the session is idle; nothing where it is busy.
    pub idle_since_ms: Option<u64>,
}

impl From<&SessionFacts> for Session {
    fn from(facts: &SessionFacts) -> Self {
        let began_ms = millis(facts.began);
        let doing_since = facts.age.saturating_sub(facts.doing_for);
        Self {
            session: facts.session.clone(),
            port: facts.port.to_string(),
            client: facts.client.to_string(),
            server: facts.server.map(|server| server.to_string()),
            began_ms,
            user: facts.user.as_ref().map(|user| user.as_str().to_owned()),
            tls: facts
                .tls
                .as_ref()
                .map(|tls| Tls { version: tls.version.clone(), cipher: tls.cipher.clone() }),
            phase: facts.phase.name().to_owned(),
            doing: facts.doing.to_string(),
            doing_since_ms: began_ms + doing_since.as_millis() as u64,
            commands: facts.commands,
            retrieved: facts.retrieved,
            marked: facts.marked.into(),
            deleted: facts.deleted,
            tried: facts.tried.as_ref().map(|user| user.as_str().to_owned()),
            failed_logins: facts.failed_logins.into(),
            received_octets: facts.received_octets,
            sent_octets: facts.sent_octets,
        }
    }
}

impl From<(SocketAddr, Port)> for Place {
    fn from((address, port): (SocketAddr, Port)) -> Self {
        Self { port: port.to_string(), address: address.to_string() }
    }
}

impl From<Totals> for Sums {
    fn from(totals: Totals) -> Self {
        let Totals { on, ended, received_octets, sent_octets } = totals;
        Self { on, ended, received_octets, sent_octets }
    }
}

impl From<&LockFacts> for Lock {
    fn from(facts: &LockFacts) -> Self {
        let now_ms = millis(SystemTime::now());
        let ago = |time: Duration| now_ms.saturating_sub(time.as_millis() as u64);
        Self {
            user: facts.user.as_str().to_owned(),
            session: facts.session.clone(),
            client: facts.client.to_string(),
            held_since_ms: ago(facts.held_for),
            idle_since_ms: facts.idle_for.map(ago),
        }
    }
}

/// Since 1970-01-01.
pub(crate) fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
