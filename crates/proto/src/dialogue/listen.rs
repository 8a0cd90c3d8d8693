//! What a server says, taken octet by octet, against what a dialogue expects of it, event by event.

use alloc::{format, vec::Vec};

use super::{Difference, Kind, Line, Pattern, Piece, pattern::difference_of};
use crate::body::{Unstuffed, Unstuffer};

/// The longest line of a server that is waited for, in octets.
const HEARD_MAX_OCTETS: usize = 64 << 10;

/// Compares a server's octets with expected events.
///
/// ```
/// use restante_proto::dialogue::{Dialogue, Heard, Listener};
/// let dialogue = Dialogue::parse(b"S: +OK {any}\nS: [7 octets]\nS: .\n")?;
/// let (mut listener, mut said) = (Listener::default(), b"+OK here\r\n..a\r\nb\r\n.\r\n".as_slice());
/// for event in &dialogue.events {
///     let Heard::Same { taken } = listener.hear(&event.kind, said) else { panic!("something else") };
///     said = &said[taken..];
/// }
/// assert!(said.is_empty());
/// # Ok::<(), restante_proto::dialogue::ParseError>(())
/// ```
#[derive(Debug, Default)]
pub struct Listener {
    /// The line that was not complete yet.
    partial: Vec<u8>,
    body: Option<Body>,
    /// A block's final `.` line came with the block, and is an event of its own.
    dot: bool,
}

#[derive(Debug, Default)]
struct Body {
    unstuffer: Unstuffer,
    octets: u64,
}

/// What came of listening.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Heard {
    /// All was taken, and more is to come.
    More,
    /// The event came as expected; so many of the octets belong to it.
    Same {
        /// How many.
        taken: usize,
    },
    /// Something else came.
    Different {
        /// How many octets belong to what came instead.
        taken: usize,
        /// How it differs.
        difference: Difference,
    },
}

impl Listener {
    /// Goes on with `input` until the expected event is there. After [`Heard::More`] the next call is for the same event.
    ///
    /// An event that no server's octets can be is taken as having come.
    pub fn hear(&mut self, expected: &Kind, input: &[u8]) -> Heard {
        match expected {
            Kind::Server(line) => self.hear_line(line, input),
            Kind::Body { octets } => self.hear_body(Some(*octets), input),
            Kind::Lines => self.hear_body(None, input),
            Kind::Client(_) | Kind::Tls(_) | Kind::Tcp(_) => Heard::Same { taken: 0 },
        }
    }

    /// The server's octets ended where this event was expected.
    pub fn end(&mut self, expected: &Kind) -> Option<Difference> {
        let rest = core::mem::take(&mut self.partial);
        match expected {
            Kind::Server(line) => line.difference(&rest),
            Kind::Body { .. } | Kind::Lines => {
                let octets = self.body.take().unwrap_or_default().octets;
                Some(Difference {
                    expected: shown(expected),
                    actual: format!("[{octets} octets] and no final `.` line"),
                    same: 0,
                })
            }
            Kind::Client(_) | Kind::Tls(_) | Kind::Tcp(_) => None,
        }
    }

    fn hear_line(&mut self, expected: &Line<Pattern>, input: &[u8]) -> Heard {
        if core::mem::take(&mut self.dot) {
            return match expected.difference(b".\r\n") {
                None => Heard::Same { taken: 0 },
                Some(difference) => Heard::Different { taken: 0, difference },
            };
        }
        let needed = line_ends(expected).max(1);
        let mut ends = memchr::memchr_iter(b'\n', &self.partial).count();
        let mut taken = 0;
        while ends < needed && self.partial.len() < HEARD_MAX_OCTETS {
            let rest = &input[taken..];
            let rest = &rest[..rest.len().min(HEARD_MAX_OCTETS - self.partial.len())];
            let end = memchr::memchr(b'\n', rest);
            let step = end.map_or(rest, |end| &rest[..=end]);
            self.partial.extend_from_slice(step);
            taken += step.len();
            ends += usize::from(end.is_some());
            if end.is_none() && self.partial.len() < HEARD_MAX_OCTETS {
                return Heard::More;
            }
        }
        let line = core::mem::take(&mut self.partial);
        match expected.difference(&line) {
            None => Heard::Same { taken },
            Some(difference) => Heard::Different { taken, difference },
        }
    }

    fn hear_body(&mut self, expected: Option<u64>, input: &[u8]) -> Heard {
        /// So much is looked at in one go, so that the copy stays small.
        const STEP_OCTETS: usize = 16 << 10;
        let body = self.body.get_or_insert_default();
        let (mut taken, mut message) = (0, Vec::new());
        while taken < input.len() {
            let step = &input[taken..input.len().min(taken + STEP_OCTETS)];
            message.clear();
            let progress = body.unstuffer.push(step, &mut message);
            body.octets += message.len() as u64;
            let Unstuffed::Done(octets) = progress else {
                taken += step.len();
                continue;
            };
            let actual = body.octets;
            self.body = None;
            self.dot = true;
            taken += octets;
            return match expected {
                Some(expected) if expected != actual => Heard::Different {
                    taken,
                    difference: difference_of(format!("[{expected} octets]"), format!("[{actual} octets]")),
                },
                _ => Heard::Same { taken },
            };
        }
        Heard::More
    }
}

/// How many lines an expected line is, should somebody have written several as one.
fn line_ends(line: &Line<Pattern>) -> usize {
    let ends = |piece: &Piece<Pattern>| match piece {
        Piece::Octets(octets) => memchr::memchr_iter(b'\n', octets).count(),
        _ => 0,
    };
    line.pieces().iter().map(ends).sum()
}

fn shown(kind: &Kind) -> alloc::string::String {
    match kind {
        Kind::Body { octets } => format!("[{octets} octets]"),
        _ => "{lines}".into(),
    }
}
