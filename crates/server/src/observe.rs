//! Sessions observed while they run: the octets that pass, and what happens to the connection, become events of a dialogue
//! (`docs/dialogue.md`) without secrets, and go to whoever wants them: transcripts, a page.
//!
//! What observers do with them lives elsewhere. A session that nobody observes has an empty [`Recording`] and does nothing.

use std::{
    fmt, io,
    net::SocketAddr,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use restante_proto::dialogue::{
    Bodies, Event, Flag, Flags, Head, Recorder, Segment, Side, TcpEvent, TlsEvent, TlsMode, timestamp,
};
use tokio::net::TcpStream;

use crate::{
    listen::{Port, canonical},
    outcome::{SessionId, Why},
    server::Live,
};

/// What hears of every session that begins.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A session begins. `None` where nobody wants to hear more of it, which then costs it nothing.
    fn begin(&self, session: &Begun<'_>) -> Option<Box<dyn Watch>>;
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

/// A session that begins.
#[derive(Debug)]
pub struct Begun<'a> {
    pub(crate) id: SessionId,
    pub(crate) port: Port,
    pub(crate) peer: SocketAddr,
    pub(crate) stream: &'a TcpStream,
    pub(crate) live: &'a Live,
}

impl Begun<'_> {
    /// Its name, as in every log line about it: letters, digits and hyphens.
    pub fn session(&self) -> String {
        self.id.to_string()
    }

    /// What is spoken where it came in.
    pub const fn port(&self) -> Port {
        self.port
    }

    /// The client's address.
    pub const fn client(&self) -> SocketAddr {
        self.peer
    }

    /// What a dialogue says of it in its head: addresses, the server's name, what there is of TLS, and the time, now.
    pub fn head(&self) -> Head {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let server = self.stream.local_addr().ok();
        Head {
            started: Some(timestamp(now).into()),
            client: Some(self.peer.to_string().into()),
            server: server.map(|address| canonical(address).to_string().into()),
            hostname: Some(self.live.settings.hostname.as_str().into()),
            tls: Some(match (self.port, &self.live.tls) {
                (Port::Pop3s, _) => TlsMode::Implicit,
                (Port::Pop3, Some(_)) => TlsMode::Stls,
                (Port::Pop3, None) => TlsMode::Off,
            }),
            ..Head::default()
        }
    }
}

/// A session on its way to its watches, shared by all that sees a part of it; empty if it has none.
#[derive(Clone, Default)]
pub(crate) struct Recording(Option<Arc<Mutex<Observed>>>);

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
        f.write_str(if self.0.is_some() { "Recording(on)" } else { "Recording(off)" })
    }
}

impl Recording {
    /// Asks the observers who wants to hear of a session.
    pub(crate) fn begin(observers: &[Arc<dyn Observer>], session: &Begun<'_>) -> Self {
        let watches: Vec<_> = observers.iter().filter_map(|observer| observer.begin(session)).collect();
        if watches.is_empty() {
            return Self::default();
        }
        let observed = Observed {
            watches,
            recorder: Recorder::new(Bodies::Elided),
            events: Vec::new(),
            start: Instant::now(),
            client_ended: None,
            server_ended: None,
            mid_segment: false,
            why: None,
        };
        let recording = Self(Some(Arc::new(Mutex::new(observed))));
        recording.told(|observed| observed.tcp(TcpEvent::Connect));
        recording
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
                Some(Why::Handshake(_)) => observed.server_ended(Flag::Fin),
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
        let Some(observed) = &self.0 else { return };
        let mut observed = observed.lock().unwrap_or_else(PoisonError::into_inner);
        if !observed.watches.is_empty() {
            tell(&mut observed);
            observed.deliver();
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
