//! Message → wire: CRLF line ends, stuffed dots (RFC 1939 §3), and TOP's cut (§7).

use alloc::vec::Vec;

use super::{Form, Part, append};

/// Whether a [`Stuffer`] wants more of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// It takes the next piece.
    More,
    /// TOP's last line was written: what is left of the message need not be read.
    Done,
}

/// Turns the pieces of a stored message into what goes over the wire, up to the final `.` line, which is not its
/// business.
///
/// ```
/// use restante_proto::body::{Form, Part, Progress, Stuffer};
/// let mut wire = Vec::new();
/// let mut stuffer = Stuffer::new(Form::Local, Part::Whole);
/// assert_eq!(stuffer.push(b"Subject: a\n\n.hidden", &mut wire), Progress::More);
/// stuffer.finish(&mut wire);
/// assert_eq!(wire, b"Subject: a\r\n\r\n..hidden\r\n");
/// ```
#[derive(Clone, Debug)]
pub struct Stuffer {
    form: Form,
    last: u8,
    cut: Option<Cut>,
}

impl Stuffer {
    /// A stuffer for one message stored in `form`, of which `part` is wanted.
    pub const fn new(form: Form, part: Part) -> Self {
        let cut = match part {
            Part::Whole => None,
            Part::Top(lines) => Some(Cut::Header { line: Line::Empty, lines }),
        };
        // The start of a message is the start of a line.
        Self { form, last: b'\n', cut }
    }

    /// Takes the next piece of the message and appends what goes over the wire.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Progress {
        let wanted = match &mut self.cut {
            None => piece,
            Some(cut) => &piece[..cut.take(piece)],
        };
        self.convert(wanted, out);
        if matches!(self.cut, Some(Cut::Done)) { Progress::Done } else { Progress::More }
    }

    /// Supplies a missing final CRLF, once every piece was pushed.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.last != b'\n' {
            out.extend_from_slice(b"\r\n");
            self.last = b'\n';
        }
    }

    fn convert(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let (Some(&first), Some(&last)) = (piece.first(), piece.last()) else { return };
        if self.form != Form::Wire && self.last == b'\n' && first == b'.' {
            out.push(b'.');
        }
        match self.form {
            Form::Wire => append(piece, out),
            Form::Crlf => stuff(piece, out),
            Form::Local => convert(piece, self.last, out),
        }
        self.last = last;
    }
}

/// Doubles the dots that begin a line within the piece: all that CRLF lines need. Most have none, so that whole runs of
/// lines are copied.
fn stuff(piece: &[u8], out: &mut Vec<u8>) {
    out.reserve(piece.len());
    let mut copied = 0;
    for at in memchr::memmem::find_iter(piece, b"\n.") {
        append(&piece[copied..=at], out);
        out.push(b'.');
        copied = at + 1;
    }
    append(&piece[copied..], out);
}

/// Doubles such dots, and gives each bare LF its CR. `last` is the octet before the piece. Finding the LFs is nearly all
/// that it costs; copying the lines in between is next to nothing.
fn convert(piece: &[u8], last: u8, out: &mut Vec<u8>) {
    // A line is longer than 16 octets, mostly.
    out.reserve(piece.len() + piece.len() / 16);
    let mut copied = 0;
    for at in memchr::memchr_iter(b'\n', piece) {
        let before = if at == 0 { last } else { piece[at - 1] };
        if before != b'\r' {
            out.extend_from_slice(&piece[copied..at]);
            out.extend_from_slice(b"\r\n");
            copied = at + 1;
        }
        if piece.get(at + 1) == Some(&b'.') {
            out.extend_from_slice(&piece[copied..=at]);
            out.push(b'.');
            copied = at + 1;
        }
    }
    out.extend_from_slice(&piece[copied..]);
}

/// Where TOP stands in the stored message.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Header { line: Line, lines: u64 },
    Body { lines: u64 },
    Done,
}

/// What a header line holds so far: only an empty one ends the header, and one CR does not fill it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Empty,
    Cr,
    Filled,
}

impl Cut {
    /// How many octets of the piece are wanted.
    fn take(&mut self, piece: &[u8]) -> usize {
        let mut from = 0;
        while from < piece.len() {
            let line = &piece[from..];
            let end = memchr::memchr(b'\n', line);
            let content = &line[..end.unwrap_or(line.len())];
            *self = match *self {
                Self::Done => return from,
                Self::Header { line, lines } => {
                    let line = match (line, content) {
                        (line, b"") => line,
                        (Line::Empty, b"\r") => Line::Cr,
                        _ => Line::Filled,
                    };
                    match end {
                        None => Self::Header { line, lines },
                        Some(_) if line == Line::Filled => Self::Header { line: Line::Empty, lines },
                        Some(_) if lines == 0 => Self::Done,
                        Some(_) => Self::Body { lines },
                    }
                }
                Self::Body { lines } => match (end, lines) {
                    (None, _) => Self::Body { lines },
                    (Some(_), 1) => Self::Done,
                    (Some(_), _) => Self::Body { lines: lines - 1 },
                },
            };
            from += end.map_or(line.len(), |end| end + 1);
        }
        from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(part: Part, message: &[u8]) -> Vec<u8> {
        let push = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let (mut out, mut stuffer) = (Vec::new(), Stuffer::new(Form::Local, part));
            for piece in pieces {
                if stuffer.push(piece, &mut out) == Progress::Done {
                    break;
                }
            }
            stuffer.finish(&mut out);
            out
        };
        let whole = push(&mut core::iter::once(message));
        assert_eq!(push(&mut message.chunks(1)), whole, "octet by octet");
        whole
    }

    #[test]
    fn a_dot_is_stuffed_at_the_start_of_a_line_only() {
        assert_eq!(wire(Part::Whole, b"."), b"..\r\n");
        assert_eq!(wire(Part::Whole, b"\n.\n"), b"\r\n..\r\n");
        assert_eq!(wire(Part::Whole, b"\r.\r"), b"\r.\r\r\n", "a bare CR ends no line");
        assert_eq!(wire(Part::Whole, b"a\r\n.b\r\n"), b"a\r\n..b\r\n");
        assert_eq!(wire(Part::Whole, b""), b"");
        assert_eq!(wire(Part::Whole, b"\0\xff"), b"\0\xff\r\n");
    }

    #[test]
    fn top_counts_body_lines_only() {
        let message = b"A: 1\nB: 2\n\none\n\n.three\nfour";
        assert_eq!(wire(Part::Top(0), message), b"A: 1\r\nB: 2\r\n\r\n");
        assert_eq!(wire(Part::Top(1), message), b"A: 1\r\nB: 2\r\n\r\none\r\n");
        assert_eq!(wire(Part::Top(3), message), b"A: 1\r\nB: 2\r\n\r\none\r\n\r\n..three\r\n");
        assert_eq!(wire(Part::Top(u64::MAX), message), wire(Part::Whole, message));
        assert_eq!(wire(Part::Top(0), b"A: 1\r\n\r\nbody"), b"A: 1\r\n\r\n");
        assert_eq!(wire(Part::Top(5), b"headers: only"), b"headers: only\r\n");
        assert_eq!(wire(Part::Top(0), b"\nbody"), b"\r\n", "an empty header");
        assert_eq!(wire(Part::Top(0), b"a: b\r\r\n\nc"), b"a: b\r\r\n\r\n");
        assert_eq!(wire(Part::Top(0), b"\r\r\n\nc"), b"\r\r\n\r\n", "two CRs are no empty line");
    }
}
