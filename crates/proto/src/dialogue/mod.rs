//! Dialogues: what client and server said, as a text that a person can read and write.
//!
//! One format for tests (`*.pop3`), recorded sessions, `restante play` and `restante diagram`; `docs/dialogue.md`
//! defines it. Here live its values, its reader ([`Dialogue::parse`], [`Reader`]) and writer (`Display`), the
//! comparison of answers with what was expected ([`Listener`], [`Difference`]), and what keeps secrets out of a recording
//! ([`Redactor`], [`Recorder`]). Files, sockets and clocks are the caller's business.

mod gauge;
mod head;
mod listen;
mod net;
mod parse;
mod pattern;
mod record;
mod redact;
mod text;
mod write;

use alloc::{format, string::String, vec::Vec};
use core::{iter::RepeatN, time::Duration};

pub use gauge::BodyFacts;
pub use head::{Apop, Cleartext, Content, Head, Joined, Mail, TlsMode, filler, timestamp};
pub use listen::{Heard, Listener};
pub use net::{Flag, Flags, InvalidWord, Segment, TcpEvent, TlsEvent, TlsFacts, Word};
pub use parse::{ParseError, Problem, Reader};
pub use pattern::Difference;
pub use record::{Bodies, Observed, Recorder};
pub use redact::{Redactor, Role};

/// The longest text of a dialogue that is read, in octets.
pub const TEXT_MAX_OCTETS: usize = 64 << 20;
/// The longest line of the text, in octets: an escaped octet takes four, and the cut behind it two.
pub const TEXT_LINE_MAX_OCTETS: usize = 6 * LINE_MAX_OCTETS + 64;
/// The longest line of a session that a dialogue holds, in octets: above the server's own bound inside AUTH
/// (16 KiB), so that a test can cross it.
pub const LINE_MAX_OCTETS: usize = 32 << 10;
/// What all lines and messages of a dialogue hold at most, in octets, once their abbreviations are written out.
pub const CONTENT_MAX_OCTETS: usize = 64 << 20;
/// The most events that a dialogue holds.
pub const EVENTS_MAX: usize = 1 << 20;
/// The most messages that a dialogue's head puts into the maildrop.
pub const MAIL_MAX: usize = 100_000;
/// The longest message that the head makes up by its size, in octets.
pub const FILLER_MAX_OCTETS: u32 = 64 << 20;

/// What stands between how many events are missing in a recording, and why.
const LEFT_OUT: &str = " events are left out here: ";

/// The comment in a recording that says that events are missing, without a line end.
///
/// ```
/// use restante_proto::dialogue::{events_left_out, left_out};
/// let comment = left_out(3, "the transcript is full");
/// assert_eq!(comment, "# 3 events are left out here: the transcript is full");
/// assert_eq!(events_left_out(comment.as_bytes()), Some(3));
/// ```
pub fn left_out(events: u64, why: &str) -> String {
    format!("# {events}{LEFT_OUT}{why}")
}

/// How many events are missing where this line of a recording stands; `None` if it does not say so.
pub fn events_left_out(line: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(line.strip_prefix(b"# ")?).ok()?;
    text.split_once(LEFT_OUT)?.0.parse().ok()
}

/// A session, or what a session should be.
///
/// ```
/// use restante_proto::dialogue::Dialogue;
/// let text = "hostname: X1\n\nS: +OK X1 POP3 Server\nC: QUIT\nS: +OK {any}\n";
/// let dialogue = Dialogue::parse(text.as_bytes())?;
/// assert_eq!(dialogue.events.len(), 3);
/// assert_eq!(dialogue.to_string(), text);
/// # Ok::<(), restante_proto::dialogue::ParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialogue {
    /// What was there before the first octet: the account, the mail, the server's settings.
    pub head: Head,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, counted from the start of the session.
    pub at: Option<Duration>,
    /// What.
    pub kind: Kind,
}

impl Event {
    /// An event without a time.
    pub const fn new(kind: Kind) -> Self {
        Self { at: None, kind }
    }
}

/// What an [`Event`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `C:` The client said this line.
    Client(Line<Slot>),
    /// `S:` The server said, or should say, this line.
    Server(Line<Pattern>),
    /// `S: [1317 octets]` The lines of a block, left out; the length is the canonical one, without stuffed dots and
    /// without the final `.` line, which is an event of its own.
    Body {
        /// The length.
        octets: u64,
    },
    /// `S: {lines}` Any lines of a block, none included, up to its final `.` line, which is an event of its own.
    Lines,
    /// `T:` Something about TLS.
    Tls(TlsEvent),
    /// `N:` Something about the TCP connection.
    Tcp(TcpEvent),
}

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The mail client.
    Client,
    /// The server.
    Server,
}

/// What a line is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<M> {
    /// These octets, at least one.
    Octets(Vec<u8>),
    /// One TCP segment ends here, and the next begins.
    Cut,
    /// Something that was taken out because it is secret.
    Secret,
    /// A mark in braces.
    Mark(M),
}

/// One line, or a part of one: its octets with the line end, which is missing where the line has none, and marks
/// among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<M> {
    pieces: Vec<Piece<M>>,
}

impl<M> Default for Line<M> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<M: Mark> Line<M> {
    /// A line of these octets alone; the line end is among them or there is none.
    pub fn of(octets: &[u8]) -> Self {
        let mut line = Self::default();
        line.push_octets(octets);
        line
    }

    /// Appends octets.
    pub fn push_octets(&mut self, octets: &[u8]) {
        match self.pieces.last_mut() {
            _ if octets.is_empty() => {}
            Some(Piece::Octets(last)) => last.extend_from_slice(octets),
            _ => self.pieces.push(Piece::Octets(octets.to_vec())),
        }
    }

    /// Appends a run, at least one octet long.
    fn push_run(&mut self, run: RepeatN<u8>) {
        match self.pieces.last_mut() {
            Some(Piece::Octets(last)) => last.extend(run),
            _ => self.pieces.push(Piece::Octets(run.collect())),
        }
    }

    /// Appends a piece; octets join those before them, and two cuts in one place are one.
    pub fn push(&mut self, piece: Piece<M>) {
        match (piece, self.pieces.last()) {
            (Piece::Octets(octets), _) => self.push_octets(&octets),
            (Piece::Cut, Some(Piece::Cut)) => {}
            (piece, _) => self.pieces.push(piece),
        }
    }

    /// The pieces in order; no two neighbours are both octets, or both cuts.
    pub fn pieces(&self) -> &[Piece<M>] {
        &self.pieces
    }

    /// The octets, if there is nothing but octets and cuts.
    pub fn octets(&self) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Octets(octets) => all.extend_from_slice(octets),
                Piece::Cut => {}
                Piece::Secret | Piece::Mark(_) => return None,
            }
        }
        Some(all)
    }

    /// How many octets the line holds, marks not counted.
    fn octets_held(&self) -> usize {
        self.pieces.iter().map(|piece| if let Piece::Octets(octets) = piece { octets.len() } else { 0 }).sum()
    }

    /// Takes a cut at the very end away, and tells whether there was one.
    fn pop_cut(&mut self) -> bool {
        self.pieces.pop_if(|piece| matches!(piece, Piece::Cut)).is_some()
    }
}

/// A mark in braces that may stand in one side's lines.
pub trait Mark: Copy + Eq + core::fmt::Debug + 'static {
    /// Every mark of this side with its name, which is written in braces.
    const NAMES: &'static [(&'static str, Self)];
    /// What a reader is told who wrote an unknown one.
    const UNKNOWN: Problem;

    /// The name of this mark, without braces.
    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, mark)| *mark == self).map_or("", |(name, _)| name)
    }
}

/// What stands in a client's line for what only the player of the dialogue knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// `{user}` The user's name.
    User,
    /// `{password}` The user's password.
    Password,
}

impl Mark for Slot {
    const NAMES: &'static [(&'static str, Self)] = &[("user", Self::User), ("password", Self::Password)];
    const UNKNOWN: Problem = Problem::UnknownSlot;
}

/// What an expected answer leaves open. Patterns never reach over the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// `{any}` Any octets, or none.
    Any,
    /// `{number}` One decimal digit or more.
    Number,
    /// `{word}` One octet of 0x21–0x7E or more.
    Word,
    /// `{base64}` One character of base64 or more, its padding included.
    Base64,
}

impl Mark for Pattern {
    const NAMES: &'static [(&'static str, Self)] =
        &[("any", Self::Any), ("number", Self::Number), ("word", Self::Word), ("base64", Self::Base64)];
    const UNKNOWN: Problem = Problem::UnknownPattern;
}
