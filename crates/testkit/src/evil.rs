//! A scripted evil server, to try our client and our fetching against: a good little POP3 server with a maildrop in
//! memory that outlives its sessions, and one misbehaviour of a [catalogue](Misbehaviour) on top. Afterwards it tells what
//! happened.
//!
//! A new misbehaviour is a row in `catalogue.rs`, an arm in the file of its topic, and a row in `tests/evil/rows.rs`, here and
//! in the client's crate, which do not compile without it.
//!
//! Its good part is in `session.rs`, its sockets and TLS in `wire.rs`; the other files hold the misbehaviours by topic.
//! Secrets are kept as they came: it serves nobody but tests.

mod body;
mod catalogue;
mod ending;
mod greeting;
mod listing;
mod login;
mod mail;
mod reply;
mod session;
mod wire;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use self::{
    catalogue::{Misbehaviour, Sessions},
    mail::{Mail, Message},
};
use self::{mail::Maildrop, session::Session, wire::Wire};
use crate::loopback::{Door, Stop};

/// The only user.
pub const USER: &str = "mara";

/// The user's password.
pub const PASSWORD: &str = "open Sesame 42";

/// How TLS is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// By STLS, which is offered; who wants clear text has it.
    Stls,
    /// From the first octet.
    FromTheFirstOctet,
}

/// A misbehaviour with its numbers.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    misbehaviour: Misbehaviour,
    sessions: Sessions,
    message: usize,
    cut_after_octets: u64,
    reply_delay: Duration,
    endless_octets: u64,
    tls: Tls,
}

impl From<Misbehaviour> for Script {
    fn from(misbehaviour: Misbehaviour) -> Self {
        use Misbehaviour::{TlsClearText, TlsEndsWithoutNotify, TlsStalls, TlsWrongName};
        let tls = match misbehaviour {
            TlsStalls | TlsClearText | TlsWrongName | TlsEndsWithoutNotify => Tls::FromTheFirstOctet,
            _ => Tls::Stls,
        };
        Self {
            misbehaviour,
            sessions: misbehaviour.sessions(),
            message: 2,
            cut_after_octets: 100,
            reply_delay: Duration::from_millis(20),
            endless_octets: 16 * 1024 * 1024,
            tls,
        }
    }
}

impl Script {
    /// Which sessions misbehave, instead of what the catalogue says.
    #[must_use]
    pub fn in_sessions(self, sessions: Sessions) -> Self {
        Self { sessions, ..self }
    }

    /// Which message is *k*, from 1; otherwise it is the second.
    #[must_use]
    pub fn at_message(self, message: usize) -> Self {
        Self { message: message.max(1), ..self }
    }

    /// How many octets a session says before it is cut (within TLS, if there is TLS); otherwise 100.
    #[must_use]
    pub fn after_octets(self, cut_after_octets: u64) -> Self {
        Self { cut_after_octets, ..self }
    }

    /// How late a reply is; otherwise 20 ms.
    #[must_use]
    pub fn late_by(self, reply_delay: Duration) -> Self {
        Self { reply_delay, ..self }
    }

    /// After how many octets what never ends does end, by closing the connection; otherwise 16 MiB.
    #[must_use]
    pub fn endless_octets(self, endless_octets: u64) -> Self {
        Self { endless_octets, ..self }
    }

    /// How TLS is had; otherwise by STLS, but from the first octet where the misbehaviour's name says so.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls, ..self }
    }

    /// What the session of this number, from 1, does wrong.
    fn of_session(&self, number: usize) -> Misbehaviour {
        let concerned = match self.sessions {
            Sessions::First => number == 1,
            Sessions::Later => number > 1,
            Sessions::Every => true,
        };
        if concerned { self.misbehaviour } else { Misbehaviour::Nothing }
    }
}

/// What happened in a session.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// What the client said, line by line, secrets and SASL responses among it.
    pub commands: Vec<String>,
    /// What it said when nobody listened any more, in clear text or within TLS; the first 64 KiB of it.
    pub unheard: Vec<u8>,
    /// The unique-ids of the messages whose RETR was answered, however badly.
    pub retrieved: Vec<String>,
    /// The unique-ids of the messages that DELE marked, in order; RSET takes nothing away.
    pub deleted: Vec<String>,
    /// The unique-ids of the messages that are gone for ever.
    pub committed: Vec<String>,
    /// There was a TLS handshake that succeeded.
    pub encrypted: bool,
    /// The server has cut it as it was told to.
    pub cut: bool,
}

/// A running server; dropped, it closes all of its connections and waits for its threads.
pub struct EvilServer {
    door: Door,
    world: Arc<World>,
}

/// What the sessions of a server share.
struct World {
    script: Script,
    mail: Mail,
    state: Mutex<State>,
}

struct State {
    maildrop: Maildrop,
    sessions: Vec<Record>,
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something about the session of this number.
    fn note(&self, number: usize, note: impl FnOnce(&mut Record)) {
        if let Some(record) = self.state().sessions.get_mut(number - 1) {
            note(record);
        }
    }
}

impl EvilServer {
    /// Listens on a free port of 127.0.0.1 and serves this mail. Some misbehaviours put what they need into message *k*;
    /// [`mail`](Self::mail) has it.
    ///
    /// # Panics
    /// If there is no port.
    #[must_use]
    #[allow(clippy::expect_used)] // of a test: nothing can be done about it
    pub fn start(script: impl Into<Script>, mut mail: Mail) -> Self {
        let script = script.into();
        body::prepare(&script, &mut mail);
        let state = State { maildrop: Maildrop::new(mail.clone()), sessions: Vec::new() };
        let world = Arc::new(World { script, mail, state: Mutex::new(state) });
        let shared = Arc::clone(&world);
        let serve = move |socket: TcpStream, stop: &Stop| serve(&shared, socket, stop);
        let door = Door::open((Ipv4Addr::LOCALHOST, 0).into(), "evil", serve);
        Self { door: door.expect("a free port on loopback"), world }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// The self-signed certificate that a client has to trust, in DER; it is for `localhost` and `127.0.0.1`, unless the
    /// misbehaviour is a wrong name.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        wire::identity(self.world.script.misbehaviour).certificate.clone()
    }

    /// The mail that it began with, and what a client should have in the end.
    #[must_use]
    pub fn mail(&self) -> &Mail {
        &self.world.mail
    }

    /// One more message arrives; sessions that are logged in do not see it.
    pub fn deliver(&self, id: &str, octets: &[u8]) {
        self.world.state().maildrop.deliver(Message { id: id.to_owned(), octets: octets.into() });
    }

    /// The unique-ids of the messages that are still there.
    #[must_use]
    pub fn left(&self) -> Vec<String> {
        self.world.state().maildrop.held.iter().map(|held| held.message.id.clone()).collect()
    }

    /// What happened, session by session; there is one for each connection, in the order of their coming.
    #[must_use]
    pub fn sessions(&self) -> Vec<Record> {
        self.world.state().sessions.clone()
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.world.state().sessions.len()
    }

    /// What clients said in all sessions.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        self.all(|record| record.commands)
    }

    /// The unique-ids of the messages whose RETR was answered, in all sessions.
    #[must_use]
    pub fn retrieved(&self) -> Vec<String> {
        self.all(|record| record.retrieved)
    }

    /// The unique-ids of the messages that DELE marked, in all sessions.
    #[must_use]
    pub fn deleted(&self) -> Vec<String> {
        self.all(|record| record.deleted)
    }

    /// The unique-ids of the messages that are gone for ever, by QUIT mostly.
    #[must_use]
    pub fn committed(&self) -> Vec<String> {
        self.all(|record| record.committed)
    }

    fn all(&self, part: fn(Record) -> Vec<String>) -> Vec<String> {
        self.sessions().into_iter().flat_map(part).collect()
    }
}

fn serve(world: &World, socket: TcpStream, stop: &Stop) {
    let number = {
        let mut state = world.state();
        state.sessions.push(Record::default());
        state.sessions.len()
    };
    if let Ok(mut wire) = Wire::new(socket, world, number, stop) {
        // It ends when either side has gone; there is nobody to tell.
        drop(Session::new(world, number).run(&mut wire));
    }
}
