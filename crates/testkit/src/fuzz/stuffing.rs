//! Message → wire → message, against naive loops, at the cuts of the input.
//!
//! In the first line stand TOP's number of lines, then the lengths of pieces. The rest is a message, and once more as it
//! is, something that came over the wire.

use restante_proto::body::{Form, Measure, Part, Progress, Stuffer, Unstuffed, Unstuffer};

use super::{number, pieces, split_how};

pub(super) fn run(data: &[u8]) {
    let (how, message) = split_how(data);
    let lines = u64::from(number(how, 0));
    let cuts = how.get(1..).unwrap_or_default();

    let canonical = canonical(message);
    let mut measure = Measure::default();
    pieces(message, cuts).for_each(|piece| measure.push(piece));
    let measured = measure.finish();
    assert_eq!(measured.octets, canonical.len() as u64);
    assert_eq!(measure.stored_octets(), message.len() as u64);

    let whole = stuffed(&canonical);
    let top = stuffed(&top(&canonical, lines));
    assert!(whole.starts_with(&top), "TOP is a beginning of RETR");
    // The form that was found may be relied on; `Local` is always right, `Crlf` where nothing has to be added.
    let mut forms = vec![Form::Local, measured.form];
    if measured.form == Form::Wire {
        forms.push(Form::Crlf);
    }
    for form in forms {
        for pieces_of in [cuts, b"", b"\xff"] {
            assert_eq!(stuff(message, form, Part::Whole, pieces_of), whole, "{form:?}");
            assert_eq!(stuff(message, form, Part::Top(lines), pieces_of), top, "{form:?}");
        }
    }
    assert_eq!(stuff(message, Form::Local, Part::Top(u64::MAX), cuts), whole);

    // Back again, with the next reply behind it.
    let mut wire = whole;
    wire.extend_from_slice(b".\r\n");
    let end = wire.len();
    wire.extend_from_slice(message);
    assert_eq!(unstuff(&wire, cuts), (canonical, Some(end)));
    // And whatever a server may send.
    for cuts in [cuts, b"", b"\xff"] {
        assert_eq!(unstuff(message, cuts), naive_unstuff(message));
    }
}

/// The canonical form by the letter of the rule.
fn canonical(message: &[u8]) -> Vec<u8> {
    let mut canonical = Vec::new();
    for (at, &octet) in message.iter().enumerate() {
        if octet == b'\n' && (at == 0 || message[at - 1] != b'\r') {
            canonical.push(b'\r');
        }
        canonical.push(octet);
    }
    if !canonical.is_empty() && !canonical.ends_with(b"\r\n") {
        canonical.extend_from_slice(b"\r\n");
    }
    canonical
}

/// Dot-stuffing by the letter of RFC 1939 §3.
fn stuffed(canonical: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (at, &octet) in canonical.iter().enumerate() {
        if octet == b'.' && (at == 0 || canonical[..at].ends_with(b"\r\n")) {
            wire.push(b'.');
        }
        wire.push(octet);
    }
    wire
}

/// TOP by the letter of RFC 1939 §7: the header, the empty line, so many lines of the body.
fn top(canonical: &[u8], lines: u64) -> Vec<u8> {
    let (mut top, mut left) = (Vec::new(), None);
    for line in canonical.split_inclusive(|&octet| octet == b'\n') {
        if left == Some(0) {
            break;
        }
        top.extend_from_slice(line);
        left = match left {
            None if line == b"\r\n" => Some(lines),
            None => None,
            Some(left) => Some(left - 1),
        };
    }
    top
}

fn stuff(message: &[u8], form: Form, part: Part, cuts: &[u8]) -> Vec<u8> {
    let (mut out, mut stuffer) = (Vec::new(), Stuffer::new(form, part));
    for piece in pieces(message, cuts) {
        if stuffer.push(piece, &mut out) == Progress::Done {
            break;
        }
    }
    stuffer.finish(&mut out);
    out
}

/// The message, and how many octets of the wire it took, if it ended.
fn unstuff(wire: &[u8], cuts: &[u8]) -> (Vec<u8>, Option<usize>) {
    let (mut message, mut unstuffer, mut taken) = (Vec::new(), Unstuffer::default(), 0);
    for piece in pieces(wire, cuts) {
        match unstuffer.push(piece, &mut message) {
            Unstuffed::Done(octets) => {
                assert!(octets <= piece.len() && unstuffer.at_line_start());
                return (message, Some(taken + octets));
            }
            Unstuffed::More => taken += piece.len(),
        }
    }
    assert_eq!(unstuffer.at_line_start(), wire.is_empty() || wire.ends_with(b"\r\n"));
    (message, None)
}

/// Line by line by the letter of RFC 1939 §3; only CRLF ends a line.
pub(super) fn naive_unstuff(wire: &[u8]) -> (Vec<u8>, Option<usize>) {
    let (mut message, mut rest) = (Vec::new(), wire);
    while !rest.is_empty() {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").map(|at| at + 2);
        let (line, behind) = rest.split_at(end.unwrap_or(rest.len()));
        match (line, end) {
            (b".\r\n", _) => return (message, Some(wire.len() - behind.len())),
            // Whether this is the final line is not known yet.
            (b"." | b".\r", None) => {}
            ([b'.', line @ ..], _) | (line, _) => message.extend_from_slice(line),
        }
        rest = behind;
    }
    (message, None)
}
