//! The sessions that are on, as they are seen from outside: who lists them, ends one, or wants to hear one. A session
//! writes down what it does in its [`Presence`], without waiting for anybody; the log's line at its end is told from it.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use restante_proto::{UserName, phase::Phase, server::TlsFacts, verb::Verb};
use tokio::sync::Notify;

use crate::{
    happening::{Happening, LoginResult},
    listen::Port,
    observe::Slot,
    outcome::{SessionId, Why},
    proxy::Via,
    server::Live,
};

/// What is known of a session.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    /// Its name, as in every log line about it: letters, digits and hyphens.
    pub session: String,
    /// What is spoken where it came in.
    pub port: Port,
    /// The client's address.
    pub client: SocketAddr,
    /// The server's address, if the system told it.
    pub server: Option<SocketAddr>,
    /// When it began.
    pub began: SystemTime,
    /// How long it has been on, or was.
    pub age: Duration,
    /// Who has logged in: whose password, or whatever else, was right, and whose maildrop is open.
    pub user: Option<UserName>,
    /// What was agreed about TLS.
    pub tls: Option<TlsFacts>,
    /// In which state it is (RFC 1939 §3).
    pub phase: Phase,
    /// What it does.
    pub doing: Doing,
    /// For how long it has done so.
    pub doing_for: Duration,
    /// How many commands were answered.
    pub commands: u64,
    /// How many messages the client has retrieved whole.
    pub retrieved: u64,
    /// Of how many messages it has asked for the top.
    pub tops: u64,
    /// How many messages are marked as deleted; at QUIT they are removed.
    pub marked: u32,
    /// How many messages were removed.
    pub deleted: u64,
    /// The last user whose login failed. A name that nobody has is none: it may be a password.
    pub tried: Option<UserName>,
    /// How many logins failed, whatever the reason; those that were right and came too soon did not.
    pub failed_logins: u32,
    /// How many octets the client has sent, inside of TLS.
    pub received_octets: u64,
    /// How many octets were sent to it, inside of TLS.
    pub sent_octets: u64,
}

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doing {
    /// It waits for a command.
    Waiting,
    /// It shakes hands (TLS).
    Handshake,
    /// It answers this command.
    Answering(Verb),
    /// It removes what was marked, or says its last words.
    Ending,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waits",
            Self::Handshake => "TLS handshake",
            Self::Answering(verb) => verb.word(),
            Self::Ending => "ends",
        })
    }
}

/// A maildrop that a session holds.
#[derive(Clone, Debug)]
pub struct LockFacts {
    /// Whose maildrop.
    pub user: UserName,
    /// The name of the session that has it.
    pub session: String,
    /// The client's address.
    pub client: SocketAddr,
    /// For how long it has been held.
    pub held_for: Duration,
    /// For how long the session has been idle; `None` where it is busy.
    pub idle_for: Option<Duration>,
}

/// Of all sessions since the server began, and of those that are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many are on.
    pub on: u64,
    /// How many have ended.
    pub ended: u64,
    /// How many octets clients have sent, inside of TLS.
    pub received_octets: u64,
    /// How many octets were sent to them, inside of TLS.
    pub sent_octets: u64,
}

/// The table of sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    on: BTreeMap<u64, Arc<Presence>>,
    ended: Totals,
}

/// A session's row in the table; dropping it takes it out.
#[derive(Debug)]
pub(crate) struct Present {
    sessions: Arc<Sessions>,
    presence: Arc<Presence>,
}

/// What a session tells of itself while it runs.
#[derive(Debug)]
pub(crate) struct Presence {
    pub(crate) id: SessionId,
    pub(crate) port: Port,
    pub(crate) peer: SocketAddr,
    pub(crate) via: Via,
    pub(crate) server: Option<SocketAddr>,
    pub(crate) begun: Instant,
    pub(crate) began: SystemTime,
    pub(crate) live: Arc<Live>,
    users: Mutex<Users>,
    tls: OnceLock<TlsFacts>,
    phase: AtomicU8,
    /// What it does, and since how many milliseconds after it began: [`Doing`]'s code in the lowest eight bits.
    doing: AtomicU64,
    pub(crate) commands: AtomicU64,
    pub(crate) retrieved: AtomicU64,
    pub(crate) tops: AtomicU64,
    pub(crate) marked: AtomicU32,
    pub(crate) deleted: AtomicU64,
    pub(crate) failed_logins: AtomicU32,
    pub(crate) received_octets: AtomicU64,
    pub(crate) sent_octets: AtomicU64,
    /// Tells the session to end.
    end: Notify,
    /// It is an operator who wants it to end.
    kicked: AtomicBool,
    /// Tells the session that somebody wants to hear it.
    pub(crate) wanted: Notify,
    /// Who hears it.
    pub(crate) slot: Slot,
}

/// The users that a session has to do with.
#[derive(Debug, Default)]
struct Users {
    user: Option<UserName>,
    tried: Option<UserName>,
}

/// A new connection, as the table gets it.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) id: SessionId,
    pub(crate) port: Port,
    pub(crate) peer: SocketAddr,
    pub(crate) via: Via,
    pub(crate) server: Option<SocketAddr>,
    pub(crate) live: Arc<Live>,
}

impl Sessions {
    /// Takes a session into the table.
    pub(crate) fn enter(self: &Arc<Self>, arrival: Arrival) -> Present {
        let Arrival { id, port, peer, via, server, live } = arrival;
        let presence = Arc::new(Presence {
            id,
            port,
            peer,
            via,
            server,
            begun: Instant::now(),
            began: SystemTime::now(),
            live,
            users: Mutex::default(),
            tls: OnceLock::new(),
            phase: AtomicU8::new(Phase::Authorization as u8),
            doing: AtomicU64::new(code(Doing::Waiting).into()),
            commands: AtomicU64::new(0),
            retrieved: AtomicU64::new(0),
            tops: AtomicU64::new(0),
            marked: AtomicU32::new(0),
            deleted: AtomicU64::new(0),
            failed_logins: AtomicU32::new(0),
            received_octets: AtomicU64::new(0),
            sent_octets: AtomicU64::new(0),
            end: Notify::new(),
            kicked: AtomicBool::new(false),
            wanted: Notify::new(),
            slot: Slot::default(),
        });
        self.lock().on.insert(id.number, Arc::clone(&presence));
        Present { sessions: Arc::clone(self), presence }
    }

    /// The session of this name, if it is on.
    pub(crate) fn find(&self, session: &str) -> Option<Arc<Presence>> {
        let number = session.rsplit_once('-')?.1.parse().ok()?;
        let presence = self.lock().on.get(&number).map(Arc::clone)?;
        (presence.id.to_string() == session).then_some(presence)
    }

    /// All that are on, in the order in which they began.
    pub(crate) fn list(&self) -> Vec<SessionFacts> {
        // No fact is looked up under the lock: sessions that come and go wait for it.
        let on: Vec<_> = self.lock().on.values().map(Arc::clone).collect();
        on.iter().map(|presence| presence.facts()).collect()
    }

    /// The sums; those of octets never become less.
    pub(crate) fn totals(&self) -> Totals {
        let table = self.lock();
        let mut totals = Totals { on: table.on.len() as u64, ..table.ended };
        for presence in table.on.values() {
            totals.received_octets += presence.received_octets.load(Ordering::Relaxed);
            totals.sent_octets += presence.sent_octets.load(Ordering::Relaxed);
        }
        totals
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Present {
    pub(crate) const fn presence(&self) -> &Arc<Presence> {
        &self.presence
    }

    /// Takes it out of the table, if it is there still.
    pub(crate) fn leave(&self) {
        let mut table = self.sessions.lock();
        if let Some(presence) = table.on.remove(&self.presence.id.number) {
            table.ended.ended += 1;
            table.ended.received_octets += presence.received_octets.load(Ordering::Relaxed);
            table.ended.sent_octets += presence.sent_octets.load(Ordering::Relaxed);
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Presence {
    /// What is known of it now.
    pub(crate) fn facts(&self) -> SessionFacts {
        let (doing, since) = self.doing();
        let age = self.begun.elapsed();
        let (user, tried) = {
            let users = self.users();
            (users.user.clone(), users.tried.clone())
        };
        SessionFacts {
            session: self.id.to_string(),
            port: self.port,
            client: self.peer,
            server: self.server,
            began: self.began,
            age,
            user,
            tls: self.tls.get().cloned(),
            phase: self.phase(),
            doing,
            doing_for: age.saturating_sub(since),
            commands: self.commands.load(Ordering::Relaxed),
            retrieved: self.retrieved.load(Ordering::Relaxed),
            tops: self.tops.load(Ordering::Relaxed),
            marked: self.marked.load(Ordering::Relaxed),
            deleted: self.deleted.load(Ordering::Relaxed),
            tried,
            failed_logins: self.failed_logins.load(Ordering::Relaxed),
            received_octets: self.received_octets.load(Ordering::Relaxed),
            sent_octets: self.sent_octets.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn user(&self) -> Option<UserName> {
        self.users().user.clone()
    }

    /// This user has logged in, and his maildrop is open.
    pub(crate) fn set_user(&self, user: &UserName) {
        self.users().user = Some(user.clone());
    }

    /// This user, whom the directory knows, could not log in.
    pub(crate) fn set_tried(&self, user: &UserName) {
        self.users().tried = Some(user.clone());
    }

    /// A login came to its end.
    pub(crate) fn login(&self, mechanism: &'static str, result: LoginResult) {
        if !matches!(result, LoginResult::Accepted | LoginResult::LoginDelay) {
            self.failed_logins.fetch_add(1, Ordering::Relaxed);
        }
        self.live.tell(|| Happening::Login { mechanism, result });
    }

    /// TLS is on. There is one handshake at most.
    pub(crate) fn secured(&self, facts: TlsFacts) {
        self.live.tell(|| Happening::Secured { tls: &facts });
        let _again = self.tls.set(facts);
    }

    /// Whether a handshake has begun and is not done.
    pub(crate) fn shakes_hands(&self) -> bool {
        self.doing().0 == Doing::Handshake && self.tls.get().is_none()
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn phase(&self) -> Phase {
        let phase = self.phase.load(Ordering::Relaxed);
        Phase::ALL.get(usize::from(phase)).copied().unwrap_or(Phase::Authorization)
    }

    /// What it does from now on.
    pub(crate) fn does(&self, doing: Doing, now: Instant) {
        let since = now.saturating_duration_since(self.begun).as_millis() as u64;
        self.doing.store(since << 8 | u64::from(code(doing)), Ordering::Relaxed);
    }

    /// What it does, and since how long after it began.
    fn doing(&self) -> (Doing, Duration) {
        let packed = self.doing.load(Ordering::Relaxed);
        (decode(packed as u8), Duration::from_millis(packed >> 8))
    }

    /// Tells the session to end, for an operator or for a new session of the same user.
    pub(crate) fn kick(&self, by: Kick) {
        if by == Kick::Operator {
            self.kicked.store(true, Ordering::Relaxed);
        }
        self.end.notify_one();
    }

    /// Waits until it is told to end.
    pub(crate) async fn told_to_end(&self) -> Why {
        self.end.notified().await;
        if self.kicked.load(Ordering::Relaxed) { Why::Kicked } else { Why::TakenOver }
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who tells a session to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kick {
    Operator,
    NewSession,
}

/// Behind the codes of what is no verb.
const VERBS_FROM: u8 = 3;

fn code(doing: Doing) -> u8 {
    match doing {
        Doing::Waiting => 0,
        Doing::Handshake => 1,
        Doing::Ending => 2,
        Doing::Answering(verb) => VERBS_FROM + verb as u8,
    }
}

fn decode(code: u8) -> Doing {
    match (code, code.checked_sub(VERBS_FROM).and_then(|verb| Verb::ALL.get(usize::from(verb)))) {
        (_, Some(verb)) => Doing::Answering(*verb),
        (1, _) => Doing::Handshake,
        (2, _) => Doing::Ending,
        _ => Doing::Waiting,
    }
}

#[cfg(test)]
impl Arrival {
    /// A connection from this machine, to a server without users.
    pub(crate) fn sample() -> Self {
        let directory = Arc::new(restante_auth::MemoryDirectory::default());
        let config = crate::Config {
            settings: crate::Settings::default(),
            tls: None,
            store: Arc::new(restante_store::MemoryStore::default()),
            verifier: Arc::new(restante_auth::Verifier::new(directory, &restante_auth::Settings::default())),
            observers: Vec::new(),
        };
        Self {
            id: SessionId { server: 0x6b0a_fa0a, number: 1 },
            port: Port::Pop3,
            peer: ([127, 0, 0, 1], 50_312).into(),
            via: Via::Nobody,
            server: None,
            live: Arc::new(Live::new(config)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_session_does_has_a_code() {
        let verbs = Verb::ALL.map(Doing::Answering);
        for doing in [Doing::Waiting, Doing::Handshake, Doing::Ending].into_iter().chain(verbs) {
            assert_eq!(decode(code(doing)), doing);
        }
    }

    #[test]
    fn what_is_known_of_an_idle_session_stays_small() {
        let size = size_of::<Presence>();
        assert!(size <= 448, "{size} octets for each session that is on");
    }

    #[test]
    fn phases_are_found_by_their_place() {
        for (place, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(phase as u8), place);
        }
    }
}
