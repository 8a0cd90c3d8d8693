//! What a message is like on the wire while its octets pass: for who explains a session, and names what is wrong in it.

use alloc::vec::Vec;

/// What a message was like on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyFacts {
    /// How many octets came, stuffed dots and the final `.` line not counted, line ends as they were.
    pub octets: u64,
    /// How many passed in all: stuffed dots and the final `.` line counted too.
    pub wire_octets: u64,
    /// How many lines.
    pub lines: u64,
    /// How many of them ended in LF without CR (RFC 1939 §3 asks for CRLF).
    pub bare_lf: u64,
    /// How many began with a dot that nobody stuffed (RFC 1939 §3).
    pub unstuffed_dots: u64,
    /// The final `.` line came.
    pub whole: bool,
    /// All of it passed: where it did not, only `octets` is known.
    pub seen: bool,
    /// Its first octets as they came, as many as were asked for.
    pub start: Vec<u8>,
}

/// Counts as a message's octets pass, in pieces of any size.
#[derive(Clone, Debug)]
pub(super) struct Gauge {
    facts: BodyFacts,
    start_max_octets: usize,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// At the start of a line.
    Start,
    /// Behind a dot that begins a line.
    Dot,
    /// Behind it and a CR.
    DotCr,
    /// Inside a line.
    Inside,
    /// Inside a line, behind a CR.
    Cr,
}

impl Gauge {
    pub(super) fn new(start_max_octets: usize) -> Self {
        let facts = BodyFacts { seen: true, ..BodyFacts::default() };
        Self { facts, start_max_octets, at: At::Start }
    }

    /// Some of it did not pass.
    pub(super) const fn left_out(&mut self) {
        self.facts.seen = false;
    }

    pub(super) fn facts(self) -> BodyFacts {
        self.facts
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.facts.wire_octets += piece.len() as u64;
        let room = self.start_max_octets.saturating_sub(self.facts.start.len());
        self.facts.start.extend_from_slice(&piece[..piece.len().min(room)]);
        let mut rest = piece;
        while let [octet, behind @ ..] = rest {
            match (self.at, octet) {
                (At::Start, b'.') => (self.at, rest) = (At::Dot, behind),
                (At::Dot, b'\r') => (self.at, rest) = (At::DotCr, behind),
                // The final line: it is not the message's.
                (At::DotCr, b'\n') => (self.at, rest) = (At::Start, behind),
                (At::Dot | At::DotCr, _) => {
                    self.facts.unstuffed_dots += u64::from(!(self.at == At::Dot && *octet == b'.'));
                    self.at = if self.at == At::DotCr { At::Cr } else { At::Inside };
                }
                (At::Start | At::Inside | At::Cr, _) => {
                    let line = memchr::memchr(b'\n', rest).map_or(rest, |end| &rest[..=end]);
                    let before = match line {
                        [.., before, b'\n'] => Some(*before),
                        [b'\n'] => Some(if self.at == At::Cr { b'\r' } else { b' ' }),
                        _ => None,
                    };
                    self.at = match (before, line) {
                        (Some(_), _) => At::Start,
                        (None, [.., b'\r']) => At::Cr,
                        (None, _) => At::Inside,
                    };
                    if let Some(before) = before {
                        self.facts.lines += 1;
                        self.facts.bare_lf += u64::from(before != b'\r');
                    }
                    rest = &rest[line.len()..];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(wire: &[u8], at_once: usize) -> (u64, u64, u64) {
        let mut gauge = Gauge::new(0);
        wire.chunks(at_once).for_each(|piece| gauge.push(piece));
        let facts = gauge.facts();
        (facts.lines, facts.bare_lf, facts.unstuffed_dots)
    }

    #[test]
    fn lines_line_ends_and_dots_are_counted_at_every_cut() {
        for (wire, expected) in [
            (&b".\r\n"[..], (0, 0, 0)),
            (b"a\r\n\r\nb\r\n.\r\n", (3, 0, 0)),
            (b"a\n\nb\r\n.\r\n", (3, 2, 0)),
            (b"..a\r\n...\r\n.\r\n", (2, 0, 0)),
            (b".a\r\n.b\r\n. \r\n.\r\n", (3, 0, 3)),
            (b".\n.\r\n", (1, 1, 1)),
            (b".\rx\r\n.\r\n", (1, 0, 1)),
            (b"a\r.\r\n.\r\n", (1, 0, 0)),
        ] {
            for at_once in 1..=wire.len() {
                assert_eq!(
                    facts(wire, at_once),
                    expected,
                    "{:?} by {at_once}",
                    alloc::string::ToString::to_string(&wire.escape_ascii())
                );
            }
        }
    }
}
