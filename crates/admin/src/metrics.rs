//! What is counted, for Prometheus. The threads that serve count by adding to a number, and wait for nobody; the text is
//! made when somebody asks (`text.rs`).
//!
//! Every label's value is one of a fixed set: a client cannot make the list longer.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use restante_proto::verb::Verb;
use restante_server::{Begun, EndReason, Happening, LockResult, LoginResult, Observer, Port, Totals, Watch};

mod histogram;
mod text;

use histogram::Histogram;
pub use text::CONTENT_TYPE;

/// What stands for a value that is none of those that are known.
const OTHER: &str = "other";

const PORTS: [&str; 2] = ["pop3", "pop3s"];
const LIMITS: [&str; 3] = ["connections", "connections_per_address", OTHER];
const VERSIONS: [&str; 3] = ["TLSv1.2", "TLSv1.3", OTHER];
/// `USER` is USER and PASS.
const MECHANISMS: [&str; 13] = [
    "USER",
    "APOP",
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1",
    "EXTERNAL",
    "OAUTHBEARER",
    "XOAUTH2",
    "CRAM-MD5",
    "PLAIN",
    "LOGIN",
    OTHER,
];
const LOGIN_RESULTS: usize = LoginResult::ALL.len();
/// Verbs, and one place for what is none.
const VERBS: usize = Verb::ALL.len() + 1;

/// How long a command takes, in seconds: from what never leaves the memory to what waits for a slow client.
const COMMAND_BOUNDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    60.0,
];
/// How long a session waits for a lock, in seconds: the one that has it is given some to go.
const LOCK_BOUNDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0];

/// Counts what happens in a server, from its start.
#[derive(Debug)]
pub struct Metrics {
    version: String,
    began: SystemTime,
    connections: [AtomicU64; PORTS.len()],
    refused: [AtomicU64; LIMITS.len()],
    ended: [AtomicU64; EndReason::ALL.len()],
    logins: [[AtomicU64; LOGIN_RESULTS]; MECHANISMS.len()],
    /// By verb, then by status: `+OK` first.
    commands: [[Histogram; 2]; VERBS],
    locks: [Histogram; LockResult::ALL.len()],
    handshakes: [AtomicU64; VERSIONS.len()],
    failed_handshakes: AtomicU64,
    changed_unique_ids: AtomicU64,
}

impl Metrics {
    /// Nothing has happened yet in this version of the program.
    pub fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            began: SystemTime::now(),
            connections: zeros(),
            refused: zeros(),
            ended: zeros(),
            logins: std::array::from_fn(|_| zeros()),
            commands: std::array::from_fn(|_| std::array::from_fn(|_| Histogram::new(COMMAND_BOUNDS))),
            locks: std::array::from_fn(|_| Histogram::new(LOCK_BOUNDS)),
            handshakes: zeros(),
            failed_handshakes: AtomicU64::new(0),
            changed_unique_ids: AtomicU64::new(0),
        }
    }

    /// All that was counted, with these sums of the server's ([`restante_server::Handle::totals`]): text of the type
    /// [`CONTENT_TYPE`].
    pub fn encode(&self, totals: Totals) -> String {
        text::encode(self, totals)
    }

    /// Since 1970.
    fn began_seconds(&self) -> f64 {
        self.began.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
    }
}

fn zeros<const PLACES: usize>() -> [AtomicU64; PLACES] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

/// The place of a name among those that are known; the last one is for all others.
fn place<const PLACES: usize>(known: &[&str; PLACES], name: &str) -> usize {
    known.iter().position(|known| *known == name).unwrap_or(PLACES - 1)
}

/// One more at a place.
fn count(counts: &[AtomicU64], place: usize) {
    if let Some(count) = counts.get(place) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Observer for Metrics {
    fn begin(&self, _session: &Begun<'_>) -> Option<Box<dyn Watch>> {
        // What is said in sessions is nothing to count.
        None
    }

    fn happened(&self, happening: &Happening<'_>) {
        match *happening {
            Happening::Connected { port } => count(&self.connections, port_place(port)),
            Happening::Refused { limit } => count(&self.refused, place(&LIMITS, limit)),
            Happening::Secured { tls } => count(&self.handshakes, place(&VERSIONS, &tls.version)),
            Happening::NotSecured => {
                self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
            }
            Happening::Login { mechanism, result } => {
                if let Some(results) = self.logins.get(place(&MECHANISMS, mechanism)) {
                    count(results, result as usize);
                }
            }
            Happening::Lock { result, waited } => {
                if let Some(histogram) = self.locks.get(result as usize) {
                    histogram.observe(1, waited);
                }
            }
            Happening::Answered { verb, ok, commands, each } => {
                let place = verb.map_or(VERBS - 1, |verb| verb as usize);
                if let Some([answered, refused]) = self.commands.get(place) {
                    if ok { answered } else { refused }.observe(commands.into(), each);
                }
            }
            Happening::UniqueIdsChanged { messages } => {
                self.changed_unique_ids.fetch_add(messages.into(), Ordering::Relaxed);
            }
            Happening::Ended { reason, .. } => count(&self.ended, reason as usize),
            _ => {}
        }
    }
}

const fn port_place(port: Port) -> usize {
    match port {
        Port::Pop3 => 0,
        Port::Pop3s => 1,
    }
}

#[cfg(test)]
mod tests;
