//! A message as an mbox has it (mboxrd): a separator line, LF, lines `>*From ` with one `>` more, a blank line at the end.

use restante_store::maildir::staging::ToLocal;

use super::super::utc::Utc;

/// How much of a message is looked at for its envelope sender, in octets.
const HEAD_MAX_OCTETS: usize = 16 * 1024;

/// The longest envelope sender that is believed, in octets.
const SENDER_MAX_OCTETS: usize = 256;

/// Who sent a message that does not say it.
const NOBODY: &str = "MAILER-DAEMON";

const FROM: &[u8] = b"From ";

/// Turns the pieces of one message into its entry.
pub(super) struct Entry {
    date: Utc,
    local: ToLocal,
    /// What was made local and not quoted yet.
    lines: Vec<u8>,
    /// Whether the separator was written.
    begun: bool,
    at: At,
}

/// Where in a line the last octet was.
#[derive(Clone, Copy)]
enum At {
    /// At its start, or behind nothing but `>`.
    Start,
    /// Behind so many octets of [`FROM`], which are held back.
    Matching(usize),
    Inside,
}

impl Entry {
    pub(super) fn new(date: Utc) -> Self {
        Self { date, local: ToLocal::default(), lines: Vec::new(), begun: false, at: At::Start }
    }

    /// Takes the next piece and appends what the mbox has of it.
    pub(super) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.local.push(piece, &mut self.lines);
        if self.begun || self.lines.len() >= HEAD_MAX_OCTETS || head(&self.lines).is_some() {
            self.quote(out);
        }
    }

    /// The message is whole.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) {
        self.local.finish(&mut self.lines);
        self.quote(out);
        out.push(b'\n');
    }

    fn quote(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            let separator = format!("From {} {}\n", sender(&self.lines), self.date.asctime());
            out.extend_from_slice(separator.as_bytes());
        }
        let mut rest = &*self.lines;
        while let Some((&octet, behind)) = rest.split_first() {
            match self.at {
                At::Start if octet == b'>' => {
                    out.push(octet);
                    rest = behind;
                }
                At::Start => self.at = At::Matching(0),
                At::Matching(matched) if octet == FROM[matched] => {
                    rest = behind;
                    self.at = At::Matching(matched + 1);
                    if matched + 1 == FROM.len() {
                        // However many stand there already, this is one more.
                        out.push(b'>');
                        out.extend_from_slice(FROM);
                        self.at = At::Inside;
                    }
                }
                At::Matching(matched) => {
                    out.extend_from_slice(&FROM[..matched]);
                    self.at = At::Inside;
                }
                At::Inside => {
                    let end = memchr::memchr(b'\n', rest).map(|at| at + 1);
                    let line = &rest[..end.unwrap_or(rest.len())];
                    out.extend_from_slice(line);
                    rest = &rest[line.len()..];
                    if end.is_some() {
                        self.at = At::Start;
                    }
                }
            }
        }
        self.lines.clear();
    }
}

/// The header, once it is whole.
fn head(lines: &[u8]) -> Option<&[u8]> {
    if lines.first() == Some(&b'\n') {
        return Some(&[]);
    }
    memchr::memmem::find(lines, b"\n\n").map(|at| &lines[..at])
}

/// The envelope sender, as the last server wrote it into `Return-Path`.
fn sender(lines: &[u8]) -> &str {
    const NAME: &[u8] = b"return-path:";
    let head = head(lines).unwrap_or(lines);
    let field = |line: &&[u8]| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    let value = head.split(|&octet| octet == b'\n').find(field).map(|line| line[NAME.len()..].trim_ascii());
    let bare =
        value.map(|value| value.strip_prefix(b"<").and_then(|v| v.strip_suffix(b">")).unwrap_or(value));
    bare.filter(|bare| matches!(bare.len(), 1..=SENDER_MAX_OCTETS) && bare.iter().all(u8::is_ascii_graphic))
        .and_then(|bare| std::str::from_utf8(bare).ok())
        .unwrap_or(NOBODY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pieces: &[&[u8]]) -> String {
        let (mut out, mut entry) = (Vec::new(), Entry::new(Utc::new(0)));
        pieces.iter().for_each(|piece| entry.push(piece, &mut out));
        entry.finish(&mut out);
        let text = String::from_utf8(out).unwrap();
        text.replace(" Thu Jan  1 00:00:00 1970\n", "|")
    }

    #[test]
    fn lines_that_look_like_separators_are_quoted_wherever_they_are_cut() {
        let message = b"a: b\r\n\r\nFrom x\r\n>>From y\r\n>Fromage\r\n From z\r\nFro\r\n>\r\nFrom \r\n";
        let quoted = "From MAILER-DAEMON|a: b\n\n>From x\n>>>From y\n>Fromage\n From z\nFro\n>\n>From \n\n";
        for cut in 0..message.len() {
            let (front, back) = message.split_at(cut);
            assert_eq!(entry(&[front, back]), quoted, "{cut}");
        }
        assert_eq!(entry(&[b"From here\r\n"]), "From MAILER-DAEMON|>From here\n\n");
        assert_eq!(entry(&[]), "From MAILER-DAEMON|\n");
        assert_eq!(entry(&[b"\r\n"]), "From MAILER-DAEMON|\n\n");
    }

    #[test]
    fn the_sender_is_that_of_the_envelope() {
        let of = |head: &str| sender(head.as_bytes()).to_owned();
        assert_eq!(of("Return-Path: <a@example.org>\nFrom: b\n\n"), "a@example.org");
        assert_eq!(of("X: y\nRETURN-PATH:a@example.org\n\nReturn-Path: <c>\n"), "a@example.org");
        for nobody in
            ["Return-Path: <>\n\n", "Return-Path: <a b>\n\n", "X: y\n\nReturn-Path: <c>\n", "", "\n"]
        {
            assert_eq!(of(nobody), NOBODY, "{nobody}");
        }
        assert_eq!(of(&format!("Return-Path: <{}>\n\n", "a".repeat(SENDER_MAX_OCTETS + 1))), NOBODY);
    }
}
