//! Octets as they pass → events. Lines are put together here, bodies are counted instead of kept, and every line goes
//! through the [`Redactor`] before anybody sees it.

use alloc::vec::Vec;
use core::time::Duration;

use super::{
    Event, Kind, LINE_MAX_OCTETS, Line, Mark, Piece, Redactor, Side, TcpEvent, TlsEvent,
    gauge::{BodyFacts, Gauge},
    redact::{Block, Kept, Role, content},
};
use crate::{
    body::{Unstuffed, Unstuffer},
    reply::announced_octets,
};

/// What is kept of the messages that the server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// Their lengths: `[1317 octets]`.
    Elided,
    /// Their lines.
    Kept,
}

/// The longest part of one line that is kept until its end comes; two octets stay free for its line end.
const PARTIAL_MAX_OCTETS: usize = LINE_MAX_OCTETS - 2;

/// Makes a dialogue of the octets that pass, as they pass, in bounded memory and without secrets.
///
/// ```
/// use restante_proto::dialogue::{Bodies, Recorder, Side};
/// let (mut recorder, mut events) = (Recorder::new(Bodies::Elided), Vec::new());
/// recorder.octets(Side::Server, None, b"+OK ready\r\n", &mut events);
/// recorder.octets(Side::Client, None, b"PASS abc", &mut events);
/// recorder.octets(Side::Client, None, b"xyz\r\n", &mut events);
/// let lines: Vec<_> = events.iter().map(ToString::to_string).collect();
/// assert_eq!(lines, ["S: +OK ready", "C: PASS [secret]"]);
/// ```
#[derive(Debug)]
pub struct Recorder {
    redactor: Redactor,
    bodies: Bodies,
    /// How much of the beginning of a message that is counted is kept for who observes, in octets.
    start_max_octets: usize,
    client: Half,
    server: Half,
    body: Option<Body>,
    /// Who spoke last; when the other side speaks, a segment ends without a mark.
    spoke: Option<Side>,
}

/// One side's line in the making.
#[derive(Debug, Default)]
struct Half {
    at: Option<Duration>,
    octets: Vec<u8>,
    /// Where segments end in it.
    cuts: Vec<usize>,
    /// It was longer than is kept.
    overlong: bool,
    /// The octet that was pushed last.
    last: u8,
}

/// A message that is counted.
#[derive(Debug)]
struct Body {
    at: Option<Duration>,
    unstuffer: Unstuffer,
    octets: u64,
    /// How many the status line announced.
    announced: Option<u64>,
    gauge: Gauge,
}

impl Body {
    fn new(start_max_octets: usize) -> Self {
        let gauge = Gauge::new(start_max_octets);
        Self { at: None, unstuffer: Unstuffer::default(), octets: 0, announced: None, gauge }
    }

    /// The event of what came of it.
    fn observed(self, whole: bool) -> Observed {
        let event = Event { at: self.at, kind: Kind::Body { octets: self.octets } };
        let facts = BodyFacts { octets: self.octets, whole, ..self.gauge.facts() };
        Observed { event, role: Some(Role::Message), body: Some(facts) }
    }
}

/// An event with what it is in its session: for who explains a session instead of writing it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The event, without secrets.
    pub event: Event,
    /// What the line is; `None` for what is no line.
    pub role: Option<Role>,
    /// What a message was like on the wire; only with [`Kind::Body`], and only where its octets passed.
    pub body: Option<BodyFacts>,
}

impl Recorder {
    /// A recorder at the start of a session, before the greeting.
    pub fn new(bodies: Bodies) -> Self {
        let (client, server) = (Half::default(), Half::default());
        let redactor = Redactor::new();
        Self { redactor, bodies, start_max_octets: 0, client, server, body: None, spoke: None }
    }

    /// A recorder that comes in behind the greeting, or behind the login too: of a session whose beginning nobody saw.
    pub fn resumed(bodies: Bodies, logged_in: bool) -> Self {
        Self { redactor: Redactor::resumed(logged_in), ..Self::new(bodies) }
    }

    /// The same, with up to so many octets of the beginning of each message in its [`BodyFacts`].
    #[must_use]
    pub const fn with_starts(mut self, max_octets: usize) -> Self {
        self.start_max_octets = max_octets;
        self
    }

    /// This side begins a new segment, and said the one before it too.
    pub fn segment(&mut self, from: Side) {
        let goes_on = self.spoke == Some(from);
        let half = self.half(from);
        if half.octets.is_empty() && !goes_on {
            return;
        }
        if half.cuts.last() != Some(&half.octets.len()) && half.cuts.len() < PARTIAL_MAX_OCTETS {
            half.cuts.push(half.octets.len());
        }
    }

    /// Takes what one side said next, and appends the events that are complete.
    pub fn octets(&mut self, from: Side, at: Option<Duration>, octets: &[u8], events: &mut Vec<Event>) {
        self.take(from, at, octets, &mut |observed| events.push(observed.event));
    }

    /// Like [`Recorder::octets`], and tells of each event what it is.
    ///
    /// ```
    /// use restante_proto::dialogue::{Bodies, Recorder, Role, Side};
    /// let (mut recorder, mut seen) = (Recorder::new(Bodies::Elided), Vec::new());
    /// recorder.observe(Side::Server, None, b"+OK ready\r\n", &mut seen);
    /// assert_eq!(seen[0].role, Some(Role::Greeting));
    /// ```
    pub fn observe(&mut self, from: Side, at: Option<Duration>, octets: &[u8], seen: &mut Vec<Observed>) {
        self.take(from, at, octets, &mut |observed| seen.push(observed));
    }

    /// Takes in that a message of so many octets, or a part of one, was left out of what is read. Its final `.` line is
    /// still to come.
    pub fn left_out(&mut self, at: Option<Duration>, octets: u64) {
        let body = self.body.get_or_insert_with(|| Body::new(0));
        body.at = body.at.or(at);
        body.octets = body.octets.saturating_add(octets);
        body.gauge.left_out();
    }

    /// This is secret, wherever the server repeats it: a password that is known from elsewhere.
    pub fn knows(&mut self, secret: &[u8]) {
        self.redactor.knows(secret);
    }

    /// Whether this side is in the middle of a line.
    pub const fn in_line(&self, from: Side) -> bool {
        match from {
            Side::Client => !self.client.octets.is_empty(),
            Side::Server => !self.server.octets.is_empty(),
        }
    }

    fn take(&mut self, from: Side, at: Option<Duration>, octets: &[u8], sink: &mut dyn FnMut(Observed)) {
        let mut rest = octets;
        if !octets.is_empty() {
            self.spoke = Some(from);
        }
        while !rest.is_empty() {
            if from == Side::Server && self.body.is_some() {
                rest = self.count(at, rest, sink);
                continue;
            }
            let half = self.half(from);
            if half.octets.is_empty() && !half.overlong {
                half.at = at;
            }
            let (piece, behind) = match memchr::memchr(b'\n', rest) {
                Some(end) => (&rest[..=end], &rest[end + 1..]),
                None => (rest, &rest[..0]),
            };
            half.push(piece);
            if piece.ends_with(b"\n") {
                self.line(from, sink);
            }
            rest = behind;
        }
    }

    /// Appends an event of TLS. After a handshake lines begin anew, and what was left of them before it is cut off.
    pub fn tls(&mut self, at: Option<Duration>, event: TlsEvent, events: &mut Vec<Event>) {
        self.flush(events);
        self.spoke = None;
        events.push(Event { at, kind: Kind::Tls(event) });
    }

    /// Appends an event of TCP.
    pub fn tcp(&mut self, at: Option<Duration>, event: TcpEvent, events: &mut Vec<Event>) {
        self.flush(events);
        self.spoke = None;
        events.push(Event { at, kind: Kind::Tcp(event) });
    }

    /// Appends what is left of lines whose ends never came.
    pub fn flush(&mut self, events: &mut Vec<Event>) {
        self.give_up(&mut |observed| events.push(observed.event));
    }

    /// Like [`Recorder::flush`], and tells of each event what it is.
    pub fn observe_end(&mut self, seen: &mut Vec<Observed>) {
        self.give_up(&mut |observed| seen.push(observed));
    }

    fn give_up(&mut self, sink: &mut dyn FnMut(Observed)) {
        if let Some(body) = self.body.take().filter(|body| body.octets > 0) {
            sink(body.observed(false));
        }
        for side in [Side::Client, Side::Server] {
            if !self.half(side).octets.is_empty() {
                self.line(side, sink);
            }
        }
    }

    const fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// A line is complete.
    fn line(&mut self, from: Side, sink: &mut dyn FnMut(Observed)) {
        let half = core::mem::take(self.half(from));
        let (kind, role) = match from {
            Side::Client => {
                let Kept { octets, role } = self.redactor.client_keeps(&half.octets);
                (Kind::Client(half.shown(octets)), role)
            }
            Side::Server => {
                let Kept { octets, role } = self.redactor.server_keeps(&half.octets);
                (Kind::Server(half.shown(octets)), role)
            }
        };
        sink(Observed { event: Event { at: half.at, kind }, role: Some(role), body: None });
        let message = from == Side::Server && self.redactor.block() == Some(Block::Message);
        if message && self.bodies == Bodies::Elided && self.body.is_none() {
            let text = core::str::from_utf8(content(&half.octets)).ok();
            let announced = text.and_then(|line| announced_octets(line.strip_prefix("+OK")?));
            self.body = Some(Body { announced, ..Body::new(self.start_max_octets) });
        }
    }

    /// Counts what belongs to the body, and gives what is behind it.
    fn count<'a>(
        &mut self,
        at: Option<Duration>,
        octets: &'a [u8],
        sink: &mut dyn FnMut(Observed),
    ) -> &'a [u8] {
        /// So much is looked at in one go, so that the copy stays small.
        const STEP_OCTETS: usize = 16 << 10;
        let Some(mut body) = self.body.take() else { return octets };
        // All that was announced is there, and the next answer comes: the final dot is missing.
        let over = body.announced.is_some_and(|announced| body.octets >= announced)
            && body.unstuffer.at_line_start()
            && self.redactor.owes()
            && (octets.starts_with(b"+OK") || octets.starts_with(b"-ERR"));
        if over {
            sink(body.observed(false));
            self.redactor.break_block();
            return octets;
        }
        body.at = body.at.or(at);
        // Up to where the message should be over, so that what follows is looked at from there.
        let left = body.announced.map_or(0, |announced| announced.saturating_sub(body.octets));
        let left = usize::try_from(left).ok().filter(|&left| left > 0).unwrap_or(usize::MAX);
        let (step, behind) = octets.split_at(octets.len().min(STEP_OCTETS).min(left));
        let mut message = Vec::new();
        let progress = body.unstuffer.push(step, &mut message);
        body.octets = body.octets.saturating_add(message.len() as u64);
        let Unstuffed::Done(taken) = progress else {
            body.gauge.push(step);
            self.body = Some(body);
            return behind;
        };
        body.gauge.push(&step[..taken]);
        sink(body.observed(true));
        let event = Event { at, kind: Kind::Server(Line::of(b".\r\n")) };
        sink(Observed { event, role: Some(Role::End), body: None });
        self.server.cuts.clear();
        self.redactor.end_block();
        &octets[taken..]
    }
}

impl Half {
    fn push(&mut self, piece: &[u8]) {
        let Some(&last) = piece.last() else { return };
        let room = PARTIAL_MAX_OCTETS.saturating_sub(self.octets.len());
        if piece.len() <= room && !self.overlong {
            self.octets.extend_from_slice(piece);
        } else {
            self.octets.extend_from_slice(&piece[..piece.len().min(room)]);
            if last == b'\n' {
                let before = if piece.len() > 1 { piece[piece.len() - 2] } else { self.last };
                let end: &[u8] = if before == b'\r' { b"\r\n" } else { b"\n" };
                let kept = content(&self.octets).len();
                self.octets.truncate(kept);
                self.octets.extend_from_slice(end);
            }
            self.overlong = true;
        }
        self.last = last;
    }

    /// The line with only so many octets of its content; cuts in what does not pass would tell lengths.
    fn shown<M: Mark>(&self, kept: usize) -> Line<M> {
        let content = content(&self.octets);
        let kept = kept.min(content.len());
        let (mut line, mut at) = (Line::default(), 0);
        for &cut in self.cuts.iter().filter(|&&cut| cut <= kept) {
            line.push_octets(&self.octets[at..cut]);
            line.push(Piece::Cut);
            at = cut;
        }
        line.push_octets(&self.octets[at..kept]);
        if kept < content.len() || self.overlong {
            line.push(Piece::Secret);
        }
        at = content.len();
        for &cut in self.cuts.iter().filter(|&&cut| cut > content.len() && cut <= self.octets.len()) {
            line.push_octets(&self.octets[at..cut]);
            line.push(Piece::Cut);
            at = cut;
        }
        line.push_octets(&self.octets[at..]);
        line
    }
}
