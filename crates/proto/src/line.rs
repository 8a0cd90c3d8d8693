//! Finding a line in the input, a client's or a server's: its limits, and the part of a line that is held over.
//!
//! A bare LF ends a line too, since old clients send it. A line over its limit is thrown away up to its end,
//! so that its tail is never run as a command.

use alloc::vec::Vec;
use core::{fmt, ops::Deref};

use zeroize::{Zeroize, Zeroizing};

/// The longest command line, in octets, its line end included (RFC 2449 §4 asks for 255).
pub const COMMAND_LINE_MAX_OCTETS: usize = 512;

/// The longest line that belongs to an AUTH exchange, in octets, its line end included: OAuth tokens are long.
pub const AUTH_LINE_MAX_OCTETS: usize = 16 * 1024;

/// The longest line of a reply that a client takes, in octets, its line end included: RFC 2449 §4 allows 512, servers say
/// more, and the challenges of AUTH are longer still.
pub const REPLY_LINE_MAX_OCTETS: usize = 16 * 1024;

/// How much of an over-long line is thrown away before the peer is given up, in octets.
pub const DISCARD_MAX_OCTETS: usize = 1024 * 1024;

/// What kind of line is read, which says how long it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// A client's command; AUTH may be longer than the others.
    Command,
    /// A client's response within a SASL exchange.
    Exchange,
    /// A server's status line, or a line of a listing.
    Reply,
}

/// What stands at the front of the input.
#[derive(Debug)]
pub enum Found<'a> {
    /// A line, without its line end.
    Line(Line<'a>),
    /// The end of a line that was over its limit; all of it is gone.
    TooLong,
    /// No line end yet; the input is consumed.
    Incomplete,
    /// An over-long line that does not end.
    Endless,
}

/// A line: borrowed where it came in one piece, held where it was put together. `Debug` shows its length only: it may
/// hold a password.
pub enum Line<'a> {
    /// It came in one piece.
    Whole(&'a [u8]),
    /// It was put together; wiped when dropped.
    Joined(Zeroizing<Vec<u8>>),
}

impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets", self.len())
    }
}

impl Deref for Line<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let octets = match self {
            Self::Whole(octets) => octets,
            Self::Joined(octets) => octets.as_slice(),
        };
        octets.strip_suffix(b"\r").unwrap_or(octets)
    }
}

/// The part of a line that came before its end did, bounded. Wiped when dropped: it may hold a password.
#[derive(Default)]
pub struct Lines {
    partial: Zeroizing<Vec<u8>>,
    discarded: usize,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets held over", self.partial.len())
    }
}

impl Lines {
    /// Takes the next line off the front of `input`.
    pub fn next<'a>(&mut self, input: &mut &'a [u8], of: Of) -> Found<'a> {
        let rest: &'a [u8] = input;
        let (piece, ended) = match memchr::memchr(b'\n', rest) {
            Some(at) => (&rest[..at], true),
            None => (rest, false),
        };
        *input = &rest[piece.len() + usize::from(ended)..];
        let octets = self.partial.len() + piece.len() + usize::from(ended);
        // What is within the shorter limit is within each.
        if self.discarded > 0 || (octets > COMMAND_LINE_MAX_OCTETS && octets > self.limit(piece, of)) {
            return self.discard(octets, ended);
        }
        if !ended {
            append(&mut self.partial, piece);
            return Found::Incomplete;
        }
        if self.partial.is_empty() {
            return Found::Line(Line::Whole(piece));
        }
        let mut line = core::mem::take(&mut self.partial);
        append(&mut line, piece);
        Found::Line(Line::Joined(line))
    }

    /// Whether nothing is held over: the last line was whole.
    pub fn is_empty(&self) -> bool {
        self.partial.is_empty() && self.discarded == 0
    }

    /// Whether the line that is held over has passed its limit already.
    pub const fn is_too_long(&self) -> bool {
        self.discarded > 0
    }

    /// Forgets what is held over (STLS).
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The limit of the line that begins with what is held over and goes on with `piece`.
    fn limit(&self, piece: &[u8], of: Of) -> usize {
        match of {
            Of::Exchange => AUTH_LINE_MAX_OCTETS,
            Of::Reply => REPLY_LINE_MAX_OCTETS,
            Of::Command => {
                let start = self.partial.iter().chain(piece).take(5);
                if start.map(u8::to_ascii_uppercase).eq(*b"AUTH ") {
                    AUTH_LINE_MAX_OCTETS
                } else {
                    COMMAND_LINE_MAX_OCTETS
                }
            }
        }
    }

    fn discard(&mut self, octets: usize, ended: bool) -> Found<'static> {
        self.partial = Zeroizing::default();
        self.discarded = self.discarded.saturating_add(octets);
        if self.discarded > DISCARD_MAX_OCTETS {
            return Found::Endless;
        }
        if !ended {
            return Found::Incomplete;
        }
        self.discarded = 0;
        Found::TooLong
    }
}

/// Appends without leaving a copy behind where the buffer has to move: what it holds may be a password.
fn append(line: &mut Zeroizing<Vec<u8>>, piece: &[u8]) {
    if line.capacity() - line.len() < piece.len() {
        let mut larger = Vec::with_capacity((line.len() + piece.len()).next_power_of_two());
        larger.extend_from_slice(line);
        line.zeroize();
        **line = larger;
    }
    line.extend_from_slice(piece);
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};

    use super::*;

    fn lines(input: &[u8], at_once: usize) -> Vec<String> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for mut piece in input.chunks(at_once) {
            while !piece.is_empty() {
                match lines.next(&mut piece, Of::Command) {
                    Found::Incomplete => {}
                    Found::Line(line) => found.push(String::from_utf8_lossy(&line).into_owned()),
                    other => found.push(format!("{other:?}")),
                }
            }
        }
        found
    }

    #[test]
    fn both_line_ends_end_a_line_at_every_cut() {
        for at_once in 1..12 {
            let found = lines(b"NOOP\r\nSTAT\n\r\nPASS a\rb\r\nQUIT", at_once);
            assert_eq!(found, ["NOOP", "STAT", "", "PASS a\rb"]);
        }
    }

    #[test]
    fn the_limit_counts_the_line_end_and_the_tail_is_dropped() {
        for at_once in [1, 511, 512, 513, 2000] {
            let mut input = [b'x'; 510].to_vec();
            input.extend_from_slice(b"\r\n");
            assert_eq!(lines(&input, at_once), ["x".repeat(510)]);
            input.splice(0..0, *b"y");
            input.extend_from_slice(b"NOOP\r\n");
            assert_eq!(lines(&input, at_once), ["TooLong", "NOOP"]);
        }
    }

    #[test]
    fn an_auth_line_may_be_longer() {
        for at_once in [1, 7, 600, 20_000] {
            let mut input = b"auth PLAIN ".to_vec();
            input.resize(AUTH_LINE_MAX_OCTETS - 2, b'A');
            let expected = String::from_utf8(input.clone()).unwrap();
            input.extend_from_slice(b"\r\n");
            assert_eq!(lines(&input, at_once), [expected]);
            input.splice(11..11, *b"A");
            assert_eq!(lines(&input, at_once), ["TooLong"]);
        }
    }

    #[test]
    fn an_endless_line_is_given_up() {
        assert_eq!(lines(&[b'x'; DISCARD_MAX_OCTETS + 1], 4096), ["Endless"]);
    }
}
