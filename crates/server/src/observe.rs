//! Sessions observed while they run: the octets that pass, and what happens to the connection, become events of a dialogue
//! (`docs/dialogue.md`) without secrets, and go to whoever wants them: transcripts, a page.
//!
//! What observers do with them lives elsewhere. A session that nobody observes has an empty [`Recording`] and does nothing.

use std::{
    fmt, io,
    net::SocketAddr,
    ops::ControlFlow,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Instant, UNIX_EPOCH},
};

use restante_proto::{
    UserName,
    dialogue::{
        Bodies, Event, Flag, Flags, Head, Joined, Recorder, Segment, Side, TcpEvent, TlsEvent, TlsMode,
        timestamp,
    },
    phase::Phase,
};

use crate::{happening::Happening, listen::Port, outcome::Why, sessions::Presence};

/// What hears of a server: what happens in it, and if it wants to, all that is said in a session.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A session begins, or it goes on and was [asked for](crate::Handle::attach). `None` where nobody wants to hear more of
    /// it, which then costs it nothing.
    fn begin(&self, session: &Begun<'_>) -> Option<Box<dyn Watch>>;

    /// This happened. It is called by the threads that serve: it returns at once.
    fn happened(&self, _happening: &Happening<'_>) {}
}

/// What hears of one session. It is called by the thread that serves the session, and others: it returns at once,
/// whatever becomes of what it was told, and leaves out what it has no room for.
pub trait Watch: Send {
    /// These things happened, in this order. Messages are there as their lengths alone. After a
    /// [`Break`](ControlFlow::Break) nothing is heard any more.
    fn events(&mut self, events: &[Event]) -> ControlFlow<()>;

    /// The session is over, for this reason; nothing follows.
    fn ended(&mut self, why: &str);
}

/// A session that begins, or goes on.
#[derive(Debug)]
pub struct Begun<'a> {
    presence: &'a Arc<Presence>,
    joined: Option<Phase>,
}

impl Begun<'_> {
    /// Its name, as in every log line about it: letters, digits and hyphens.
    pub fn session(&self) -> String {
        self.presence.id.to_string()
    }

    /// What is spoken where it came in.
    pub fn port(&self) -> Port {
        self.presence.port
    }

    /// The client's address.
    pub fn client(&self) -> SocketAddr {
        self.presence.peer
    }

    /// What tells who has logged in, now and later.
    pub fn who(&self) -> Who {
        Who(Arc::clone(self.presence))
    }

    /// In which state it was when somebody began to hear it; `None` if it is heard from its beginning.
    pub const fn joined(&self) -> Option<Phase> {
        self.joined
    }

    /// What a dialogue says of it in its head: addresses, the server's name, what there is of TLS, when it began, and
    /// whether it was under way by then.
    pub fn head(&self) -> Head {
        let Presence { peer, server, port, live, began, .. } = &**self.presence;
        let began = began.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Head {
            started: Some(timestamp(began).into()),
            client: Some(peer.to_string().into()),
            server: server.map(|address| address.to_string().into()),
            joined: self.joined.map(Joined::of),
            hostname: Some(live.settings.hostname.as_str().into()),
            tls: Some(match (port, &live.tls) {
                (Port::Pop3s | Port::ProxiedPop3s, _) => TlsMode::Implicit,
                (Port::Pop3 | Port::ProxiedPop3, Some(_)) => TlsMode::Stls,
                (Port::Pop3 | Port::ProxiedPop3, None) => TlsMode::Off,
            }),
            ..Head::default()
        }
    }
}

/// Tells who has logged in to a session, as long as it is asked.
#[derive(Clone, Debug)]
pub struct Who(Arc<Presence>);

impl Who {
    /// The user, once there is one.
    pub fn user(&self) -> Option<UserName> {
        self.0.user()
    }
}

/// A session on its way to its watches, shared by all that sees a part of it.
#[derive(Clone, Default)]
pub(crate) struct Recording(Option<Arc<Presence>>);

/// Where a session's watches are, and who wants to be one. With none it costs a glance.
#[derive(Default)]
pub(crate) struct Slot {
    /// [`OFF`], or any of the others together.
    state: AtomicU8,
    observed: Mutex<Option<Box<Observed>>>,
    waiting: Mutex<Vec<Arc<dyn Observer>>>,
}

/// How many may wait to hear a session at once, such as one that sends a long message.
const WAITING_MAX: usize = 16;

const OFF: u8 = 0;
/// There are watches.
const HEARD: u8 = 1;
/// Somebody waits to be one.
const WANTED: u8 = 2;

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is(HEARD) { "Slot(heard)" } else { "Slot" })
    }
}

impl Slot {
    fn is(&self, state: u8) -> bool {
        self.state.load(Ordering::Relaxed) & state != OFF
    }
}

impl Presence {
    /// Somebody wants to hear it; `false` where too many wait for that already.
    pub(crate) fn want(&self, observer: Arc<dyn Observer>) -> bool {
        {
            let mut waiting = self.slot.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() >= WAITING_MAX {
                return false;
            }
            waiting.push(observer);
        }
        self.slot.state.fetch_or(WANTED, Ordering::Release);
        self.wanted.notify_one();
        true
    }
}

struct Observed {
    watches: Vec<Box<dyn Watch>>,
    recorder: Recorder,
    events: Vec<Event>,
    start: Instant,
    /// How this side of the connection ended, as far as it did.
    client_ended: Option<Flag>,
    server_ended: Option<Flag>,
    /// The client's next octets are of the segment that brought the last ones.
    mid_segment: bool,
    why: Option<Why>,
}

/// So many events are a usual answer; room for more is given back.
const EVENTS_KEPT: usize = 64;

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heard = self.0.as_ref().is_some_and(|presence| presence.slot.is(HEARD));
        f.write_str(if heard { "Recording(on)" } else { "Recording(off)" })
    }
}

impl Recording {
    /// Asks the observers who wants to hear of a session.
    pub(crate) fn begin(presence: &Arc<Presence>) -> Self {
        let recording = Self(Some(Arc::clone(presence)));
        let begun = Begun { presence, joined: None };
        let watches = presence.live.observers.iter().filter_map(|observer| observer.begin(&begun)).collect();
        recording.hear(watches, Recorder::new(Bodies::Elided));
        recording.told(|observed| observed.tcp(TcpEvent::Connect));
        recording
    }

    /// Whether somebody waits to hear the session.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.as_ref().is_some_and(|presence| presence.slot.is(WANTED))
    }

    /// Lets those hear it who wait for that; it stands between two commands.
    pub(crate) fn join(&self, phase: Phase) {
        let Some(presence) = &self.0 else { return };
        let slot = &presence.slot;
        slot.state.fetch_and(!WANTED, Ordering::Acquire);
        let waiting = std::mem::take(&mut *slot.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let begun = Begun { presence, joined: Some(phase) };
        let watches = waiting.iter().filter_map(|observer| observer.begin(&begun)).collect();
        self.hear(watches, Recorder::resumed(Bodies::Elided, phase == Phase::Transaction));
    }

    /// These hear it from now on.
    fn hear(&self, watches: Vec<Box<dyn Watch>>, recorder: Recorder) {
        let Some(presence) = self.0.as_ref().filter(|_| !watches.is_empty()) else { return };
        let slot = &presence.slot;
        let mut observed = slot.observed.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *observed {
            // The recorder that there is knows more.
            Some(observed) if !observed.watches.is_empty() => observed.watches.extend(watches),
            _ => {
                *observed = Some(Box::new(Observed {
                    watches,
                    recorder,
                    events: Vec::new(),
                    start: presence.begun,
                    client_ended: None,
                    server_ended: None,
                    mid_segment: false,
                    why: None,
                }));
                slot.state.fetch_or(HEARD, Ordering::Relaxed);
            }
        }
    }

    /// The client said this, and it was one read; `filled` where there was no room for more. Empty: it says no more.
    pub(crate) fn heard(&self, octets: &[u8], filled: bool, tls: bool) {
        self.told(|observed| {
            let at = Some(observed.start.elapsed());
            if octets.is_empty() {
                // TLS ends with a word of its own; what the connection below does nobody looks at any more.
                if !tls {
                    observed.client_ended(Flag::Fin);
                } else if observed.client_ended.is_none() {
                    observed.client_ended = Some(Flag::Fin);
                    observed.tls(TlsEvent::Close(Side::Client));
                }
                return;
            }
            if observed.server_ended.is_some() {
                // It is thrown away.
                return;
            }
            if !observed.mid_segment {
                observed.recorder.segment(Side::Client);
            }
            observed.mid_segment = filled;
            observed.recorder.octets(Side::Client, at, octets, &mut observed.events);
        });
    }

    /// The server said this.
    pub(crate) fn said(&self, octets: &[u8]) {
        self.told(|observed| {
            let at = Some(observed.start.elapsed());
            observed.recorder.octets(Side::Server, at, octets, &mut observed.events);
        });
    }

    /// Something happened to TLS; asked for only if somebody hears of it.
    pub(crate) fn tls(&self, event: impl FnOnce() -> TlsEvent) {
        self.told(|observed| observed.tls(event()));
    }

    /// The socket failed: what that says of the client.
    pub(crate) fn failed(&self, error: &io::Error) {
        self.told(|observed| match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => observed.client_ended(Flag::Rst),
            // An end of the stream where TLS goes on.
            io::ErrorKind::UnexpectedEof => observed.client_ended(Flag::Fin),
            io::ErrorKind::TimedOut => observed.tcp(TcpEvent::Timeout),
            _ => {}
        });
    }

    /// The client broke the connection off.
    pub(crate) fn reset(&self) {
        self.told(|observed| observed.client_ended(Flag::Rst));
    }

    /// The server waited in vain.
    pub(crate) fn timed_out(&self) {
        self.told(|observed| observed.tcp(TcpEvent::Timeout));
    }

    /// The server has ended its side properly.
    pub(crate) fn shut(&self, tls: bool) {
        self.told(|observed| {
            if tls {
                observed.tls(TlsEvent::Close(Side::Server));
            }
            observed.server_ended(Flag::Fin);
        });
    }

    /// The session is over, for this reason; the connection still ends.
    pub(crate) fn over(&self, why: &Why) {
        self.told(|observed| {
            if why.is_timeout() {
                observed.tcp(TcpEvent::Timeout);
            }
            observed.why = Some(why.clone());
        });
    }

    /// The connection has ended too.
    pub(crate) fn end(&self) {
        self.told(|observed| {
            match observed.why {
                // It was never as far as a proper end; the client knows from TLS's alert, if from anything.
                Some(Why::Handshake(_) | Why::NothingSaid) => observed.server_ended(Flag::Fin),
                // A reset needs no answer.
                _ if observed.client_ended == Some(Flag::Rst) => {}
                _ => observed.server_ended(Flag::Rst),
            }
            observed.recorder.flush(&mut observed.events);
            observed.deliver();
            let why = observed.why.take().map_or_else(String::new, |why| why.to_string());
            for mut watch in observed.watches.drain(..) {
                watch.ended(&why);
            }
        });
    }

    fn told(&self, tell: impl FnOnce(&mut Observed)) {
        let Some(presence) = self.0.as_ref().filter(|presence| presence.slot.is(HEARD)) else { return };
        let mut slot = presence.slot.observed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(observed) = &mut *slot {
            tell(observed);
            observed.deliver();
            if observed.watches.is_empty() {
                *slot = None;
                presence.slot.state.fetch_and(!HEARD, Ordering::Relaxed);
            }
        }
    }
}

impl Observed {
    fn tls(&mut self, event: TlsEvent) {
        self.mid_segment = false;
        self.recorder.tls(Some(self.start.elapsed()), event, &mut self.events);
    }

    fn tcp(&mut self, event: TcpEvent) {
        self.recorder.tcp(Some(self.start.elapsed()), event, &mut self.events);
    }

    fn client_ended(&mut self, flag: Flag) {
        if self.client_ended.is_none() || (flag == Flag::Rst && self.client_ended == Some(Flag::Fin)) {
            self.client_ended = Some(flag);
            self.tcp(ended(Side::Client, flag));
        }
    }

    fn server_ended(&mut self, flag: Flag) {
        if self.server_ended.is_none() {
            self.server_ended = Some(flag);
            self.tcp(ended(Side::Server, flag));
        }
    }

    fn deliver(&mut self) {
        if self.events.is_empty() {
            return;
        }
        self.watches.retain_mut(|watch| watch.events(&self.events).is_continue());
        self.events.clear();
        self.events.shrink_to(EVENTS_KEPT);
    }
}

/// The end of one side, as a program sees it.
fn ended(from: Side, flag: Flag) -> TcpEvent {
    let flags = Flags::default().with(flag);
    TcpEvent::Segment(Segment { from, flags, seq: None, ack: None, octets: None })
}
