//! A message as it is stored: LF line ends and a final one, with the same canonical form as what came in.

/// Turns the pieces of a message into what is stored.
///
/// A CRLF becomes LF, unless a CR stands before it: `CR CR LF` without its last CR would read as a plain line end.
#[derive(Debug, Default)]
pub struct ToLocal {
    /// A CR that was not written yet: it may belong to a CRLF.
    held_cr: bool,
    /// What was written, or held, last.
    last: Last,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Nothing,
    Lf,
    /// A CR that is written, not the held one.
    Cr,
    Other,
}

impl ToLocal {
    /// Takes the next piece and appends what is stored of it.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut rest = piece;
        while let Some((&octet, behind)) = rest.split_first() {
            match octet {
                b'\r' => {
                    self.release_cr(out);
                    self.held_cr = true;
                    rest = behind;
                }
                b'\n' => {
                    if self.last == Last::Cr {
                        self.release_cr(out);
                    }
                    self.held_cr = false;
                    out.push(b'\n');
                    self.last = Last::Lf;
                    rest = behind;
                }
                _ => {
                    self.release_cr(out);
                    let run =
                        rest.iter().position(|octet| matches!(octet, b'\r' | b'\n')).unwrap_or(rest.len());
                    out.extend_from_slice(&rest[..run]);
                    self.last = Last::Other;
                    rest = &rest[run..];
                }
            }
        }
    }

    /// Supplies the final line end, once every piece was pushed.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.release_cr(out);
        match self.last {
            Last::Nothing | Last::Lf => {}
            // After a bare CR an LF alone would make one line end of both.
            Last::Cr => out.extend_from_slice(b"\r\n"),
            Last::Other => out.push(b'\n'),
        }
        self.last = Last::Lf;
    }

    fn release_cr(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held_cr) {
            out.push(b'\r');
            self.last = Last::Cr;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use restante_proto::body::{Form, Part, Stuffer};

    use super::*;

    fn stored(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut out, mut local) = (Vec::new(), ToLocal::default());
        pieces.iter().for_each(|piece| local.push(piece, &mut out));
        local.finish(&mut out);
        out
    }

    fn wire(message: &[u8]) -> Vec<u8> {
        let (mut out, mut stuffer) = (Vec::new(), Stuffer::new(Form::Local, Part::Whole));
        assert_eq!(stuffer.push(message, &mut out), restante_proto::body::Progress::More);
        stuffer.finish(&mut out);
        out
    }

    #[test]
    fn lines_are_stored_with_lf() {
        assert_eq!(stored(&[b"a\r\nb\r\n"]), b"a\nb\n");
        assert_eq!(stored(&[b"a\r", b"\nb"]), b"a\nb\n");
        assert_eq!(stored(&[b"a\r\r\n"]), b"a\r\r\n", "a bare CR before a line end");
        assert_eq!(stored(&[b"a\r"]), b"a\r\r\n", "a bare CR at the end");
        assert_eq!(stored(&[b"a\rb"]), b"a\rb\n");
        assert_eq!(stored(&[b"\n\r\n"]), b"\n\n");
        assert_eq!(stored(&[]), b"");
    }

    proptest! {
        #[test]
        fn the_canonical_form_stays_the_same(message in "[a.\r\n]{0,12}", cut in 0usize..12) {
            let message = message.as_bytes();
            let (front, back) = message.split_at(cut.min(message.len()));
            let stored = stored(&[front, back]);
            prop_assert_eq!(wire(&stored), wire(message));
            prop_assert!(stored.is_empty() || stored.ends_with(b"\n"));
        }
    }
}
