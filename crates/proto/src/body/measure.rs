//! One pass over a stored message that finds its canonical length and its [`Form`].

use super::Form;

/// What [`Measure`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The length of the canonical form in octets: what STAT, LIST and RETR announce.
    pub octets: u64,
    /// How the message is stored.
    pub form: Form,
}

/// Measures a message that comes in pieces of any size.
///
/// ```
/// use restante_proto::body::{Form, Measure};
/// let mut measure = Measure::default();
/// measure.push(b"Subject: a\n\n.hidden");
/// let measured = measure.finish();
/// assert_eq!((measured.octets, measured.form), (23, Form::Local)); // two LFs, and a missing final CRLF
/// ```
#[derive(Clone, Debug)]
pub struct Measure {
    stored: u64,
    bare_lf: u64,
    dotted: bool,
    last: u8,
}

impl Default for Measure {
    fn default() -> Self {
        // The start of a message is the start of a line.
        Self { stored: 0, bare_lf: 0, dotted: false, last: b'\n' }
    }
}

impl Measure {
    /// Takes the next piece of the message.
    pub fn push(&mut self, piece: &[u8]) {
        let (Some(&first), Some(&last)) = (piece.first(), piece.last()) else { return };
        let (bare, dotted) = pair(self.last, first);
        self.bare_lf += u64::from(bare);
        self.dotted |= dotted;
        // Every octet beside the one before it, a block at a time.
        let (before, octets) = (&piece[..piece.len() - 1], &piece[1..]);
        for (before, octets) in before.chunks(BLOCK_OCTETS).zip(octets.chunks(BLOCK_OCTETS)) {
            let (bare, dotted) = block(before, octets);
            self.bare_lf += u64::from(bare);
            self.dotted |= dotted;
        }
        self.stored += piece.len() as u64;
        self.last = last;
    }

    /// The result, once every piece was pushed.
    pub fn finish(&self) -> Measured {
        let unfinished = self.last != b'\n';
        let octets = self.stored + self.bare_lf + if unfinished { 2 } else { 0 };
        let form = match (self.bare_lf > 0 || unfinished, self.dotted) {
            (true, _) => Form::Local,
            (false, true) => Form::Crlf,
            (false, false) => Form::Wire,
        };
        Measured { octets, form }
    }

    /// How many octets were pushed so far.
    pub const fn stored_octets(&self) -> u64 {
        self.stored
    }
}

/// As many pairs as an octet can count.
const BLOCK_OCTETS: usize = 128;

/// How many of these octets are bare LFs, and whether one is a dot that begins a line. There is no branch in it, and the
/// counters are octets: so the compiler takes sixteen pairs or more at once, however long the lines are.
#[inline]
fn block(before: &[u8], octets: &[u8]) -> (u8, bool) {
    let (mut bare, mut dotted) = (0_u8, false);
    for (&before, &octet) in before.iter().zip(octets) {
        let found = pair(before, octet);
        bare = bare.wrapping_add(u8::from(found.0));
        dotted |= found.1;
    }
    (bare, dotted)
}

/// Whether the octet is an LF without a CR before it, and whether it is a dot behind an LF.
#[inline]
const fn pair(before: u8, octet: u8) -> (bool, bool) {
    ((octet == b'\n') & (before != b'\r'), (before == b'\n') & (octet == b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(message: &[u8]) -> (u64, Form) {
        let mut measure = Measure::default();
        measure.push(message);
        let whole = measure.finish();
        let mut bytewise = Measure::default();
        message.chunks(1).for_each(|octet| bytewise.push(octet));
        assert_eq!(bytewise.finish(), whole);
        (whole.octets, whole.form)
    }

    #[test]
    fn the_canonical_length_follows_the_one_rule() {
        assert_eq!(measure(b""), (0, Form::Wire));
        assert_eq!(measure(b"a\r\n"), (3, Form::Wire));
        assert_eq!(measure(b".a\r\n"), (4, Form::Crlf));
        assert_eq!(measure(b"a\n"), (3, Form::Local));
        assert_eq!(measure(b"a"), (3, Form::Local));
        assert_eq!(measure(b"a\r"), (4, Form::Local), "a bare CR is no line end");
        assert_eq!(measure(b"\n"), (2, Form::Local));
        assert_eq!(measure(b"a\r.b\r\n"), (6, Form::Wire), "no line begins after a bare CR");
        assert_eq!(measure(b"a\r\r\n"), (4, Form::Wire));
    }
}
