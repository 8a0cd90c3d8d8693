//! Wire → message: where a multi-line reply ends, and its stuffed dots removed (RFC 1939 §3).

use alloc::vec::Vec;

use memchr::memmem::Finder;

use super::append;

/// What [`Unstuffer::push`] made of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Unstuffed {
    /// The whole piece belongs to the block, which goes on.
    More,
    /// The block ended with the final `.` line; so many octets of the piece belong to it, the rest is the next reply.
    Done(usize),
}

/// Turns what came over the wire into the message, octet for octet.
///
/// A line ends in CRLF and in nothing else, so that a bare LF inside a message can never end it.
///
/// ```
/// use restante_proto::body::{Unstuffed, Unstuffer};
/// let (mut message, mut unstuffer) = (Vec::new(), Unstuffer::default());
/// assert_eq!(unstuffer.push(b"..hidden\r\n.\r\n+OK", &mut message), Unstuffed::Done(13));
/// assert_eq!(message, b".hidden\r\n");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Unstuffer {
    at: At,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// At the start of a line.
    #[default]
    Start,
    /// Behind a dot that begins a line, and that was not written yet.
    Dot,
    /// Behind a dot that begins a line and a CR, neither written yet.
    DotCr,
    /// Inside a line.
    Inside,
    /// Inside a line, behind a CR, which was written.
    Cr,
}

impl Unstuffer {
    /// Takes the next piece and appends what belongs to the message.
    pub fn push(&mut self, piece: &[u8], message: &mut Vec<u8>) -> Unstuffed {
        let dots = Finder::new(b"\r\n.");
        let mut from = 0;
        while let Some(&octet) = piece.get(from) {
            match (self.at, octet) {
                (At::Start, b'.') => self.at = At::Dot,
                (At::Dot, b'\r') => self.at = At::DotCr,
                (At::DotCr, b'\n') => {
                    self.at = At::Start;
                    return Unstuffed::Done(from + 1);
                }
                (At::Cr, b'\n') => {
                    message.push(b'\n');
                    self.at = At::Start;
                }
                (At::DotCr, _) => {
                    // The dot was a stuffed one after all, and its line goes on behind a bare CR.
                    message.push(b'\r');
                    self.at = At::Cr;
                    continue;
                }
                // Up to the next line that begins with a dot, all lines are the message's as they are.
                _ => {
                    let rest = &piece[from..];
                    let dot = dots.find(rest).map(|crlf| crlf + 2);
                    let lines = &rest[..dot.unwrap_or(rest.len())];
                    append(lines, message);
                    self.at = match lines {
                        [.., b'\r', b'\n'] => At::Start,
                        [.., b'\r'] => At::Cr,
                        _ => At::Inside,
                    };
                    from += lines.len();
                    continue;
                }
            }
            from += 1;
        }
        Unstuffed::More
    }

    /// Whether nothing was pushed since the start of a line: the only place where a stream may end.
    pub fn at_line_start(&self) -> bool {
        self.at == At::Start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unstuff(wire: &[u8]) -> (Vec<u8>, Option<usize>) {
        let (mut message, mut unstuffer) = (Vec::new(), Unstuffer::default());
        let done = match unstuffer.push(wire, &mut message) {
            Unstuffed::Done(octets) => Some(octets),
            Unstuffed::More => None,
        };
        let (mut bytewise, mut unstuffer) = (Vec::new(), Unstuffer::default());
        for octet in wire.chunks(1) {
            if unstuffer.push(octet, &mut bytewise) != Unstuffed::More {
                break;
            }
        }
        assert_eq!(bytewise, message, "octet by octet");
        (message, done)
    }

    #[test]
    fn only_a_dot_between_line_ends_ends_the_block() {
        assert_eq!(unstuff(b".\r\n"), (b"".to_vec(), Some(3)));
        assert_eq!(unstuff(b"a\r\n.\r\nb"), (b"a\r\n".to_vec(), Some(6)));
        assert_eq!(unstuff(b"a\n.\nb"), (b"a\n.\nb".to_vec(), None));
        assert_eq!(unstuff(b"\r.\r\r\n.\r\n"), (b"\r.\r\r\n".to_vec(), Some(8)));
        assert_eq!(unstuff(b"..\r\n.x\r\n.\r\n"), (b".\r\nx\r\n".to_vec(), Some(11)));
        assert_eq!(unstuff(b".\rx\r\n.\r\n"), (b"\rx\r\n".to_vec(), Some(8)));
        assert_eq!(unstuff(b".\r\r\n.\r\n"), (b"\r\r\n".to_vec(), Some(7)));
    }
}
