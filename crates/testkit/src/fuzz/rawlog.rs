//! Dovecot's rawlogs: the same is heard however the files are cut, once from begin to end, in times that do not go back, and
//! without a planted secret.
//!
//! The first line holds the lengths of pieces. Of each line that follows, the letter says into which file the rest goes: `C`
//! and `S`, the client's or the server's; one of [`PLANTED`], the client's, a secret behind a time. A line that ends in `\`
//! gets no line end; `\n` in front of that is a bare LF.

use std::io::{self, BufRead, Read};

use restante_diagram::{
    heard::{Heard, What},
    source::rawlog::{Options, Rawlog, RawlogError, looks_like},
};
use restante_proto::dialogue::{Kind, Line, Mark, Piece};

use super::{number, split_how};

/// What must not be found, in any case: the secret, its halves, and what is left of it in base64.
const FORMS: &[&str] = &["hunter", "2horse", "aHVudGVyMmhvcnNl", "h1bnRlcjJob3Jz", "odW50ZXIyaG9yc"];

/// How a client may say the secret.
const PLANTED: &[(u8, &[u8])] = &[
    (b'P', b"PASS hunter2horse"),
    (b'A', b"AUTH PLAIN AGpvaG4AaHVudGVyMmhvcnNl"),
    (b'L', b"AUTH LOGIN am9obg== hunter2horse"),
    (b'R', b"AGpvaG4AaHVudGVyMmhvcnNl"),
    (b'r', b"aHVudGVyMmhvcnNl"),
    (b'U', b"hunter2horse"),
    (b'X', b"XAUTH john hunter2horse"),
];

/// How much of a message's beginning is kept.
const START_MAX_OCTETS: usize = 16;

pub(super) fn run(data: &[u8]) {
    let (cuts, script) = split_how(data);
    let _known: bool = looks_like(script);
    if holds_secret(&String::from_utf8_lossy(script)).is_some() {
        return;
    }
    let (client, server) = files(script);
    let whole = read(&client[..], &server[..]);
    let cut = read(Pieces::new(&client, cuts), Pieces::new(&server, cuts));
    match (whole, cut) {
        (Ok(whole), Ok(cut)) => {
            assert_eq!(whole, cut);
            check(&whole);
        }
        (Err(whole), Err(cut)) => {
            assert_eq!(whole.to_string(), cut.to_string());
            assert_eq!(holds_secret(&whole.to_string()), None);
        }
        (whole, cut) => panic!("{whole:?} is not {cut:?}"),
    }
}

/// The two files. Where the one that is the client's begins with an answer, it is taken for the server's, and the secrets are
/// said in the other one.
fn files(script: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (client, server) = files_with(script, b'C');
    let said: Vec<u8> =
        client.iter().copied().skip_while(|octet| matches!(octet, b'0'..=b'9' | b'.' | b' ')).collect();
    if said.starts_with(b"+") || said.starts_with(b"-") { files_with(script, b'S') } else { (client, server) }
}

/// The two files with secrets in the one of this letter.
fn files_with(script: &[u8], secrets: u8) -> (Vec<u8>, Vec<u8>) {
    let (mut client, mut server) = (Vec::new(), Vec::new());
    for line in script.split(|&octet| octet == b'\n') {
        let Some((&letter, text)) = line.split_first() else { continue };
        let (text, end) = match (text.strip_suffix(b"\\n\\"), text.strip_suffix(b"\\")) {
            (Some(text), _) => (text, &b"\n"[..]),
            (None, Some(text)) => (text, &b""[..]),
            (None, None) => (text, &b"\r\n"[..]),
        };
        let planted = PLANTED.iter().find(|(known, _)| *known == letter);
        let file = match planted.map_or(letter, |_| secrets) {
            b'C' => &mut client,
            b'S' => &mut server,
            _ => continue,
        };
        let Some((_, planted)) = planted else {
            file.extend([text, end].concat());
            continue;
        };
        // In a line of its own: the argument of a command behind the login may pass.
        if file.last().is_some_and(|&octet| octet != b'\n') {
            file.extend(b"\r\n");
        }
        let stamp = text.iter().filter(|octet| matches!(octet, b'0'..=b'9' | b'.' | b' '));
        file.extend(stamp.chain(*planted).chain(end));
    }
    (client, server)
}

fn read(client: impl BufRead, server: impl BufRead) -> Result<Vec<Heard>, RawlogError> {
    let mut heard = Vec::new();
    let options = Options { body_start_max_octets: START_MAX_OCTETS };
    Rawlog::new(options).read(client, server, &mut |one| heard.push(one))?;
    Ok(heard)
}

fn check(heard: &[Heard]) {
    let last = heard.len() - 1;
    let (mut times, mut text) = (Vec::new(), String::new());
    for (place, one) in heard.iter().enumerate() {
        assert_eq!(one.session, 1);
        assert_eq!(matches!(one.what, What::Begin(_)), place == 0);
        assert_eq!(matches!(one.what, What::End(_)), place == last);
        match &one.what {
            What::Said { observed, span } => {
                assert_eq!(*span, None);
                assert_eq!(matches!(observed.event.kind, Kind::Body { .. }), observed.body.is_some());
                // A message is told behind its last line, and what was never ended at the end.
                let is_ended = match &observed.event.kind {
                    Kind::Client(line) => ends(line),
                    Kind::Server(line) => ends(line),
                    _ => false,
                };
                times.extend(observed.event.at.filter(|_| is_ended));
                text += &format!("{}\n", observed.event);
                if let Some(facts) = &observed.body {
                    assert!(facts.start.len() <= START_MAX_OCTETS);
                    text += &format!("{}\n", facts.start.escape_ascii());
                }
            }
            What::Begin(_) | What::Records(_) | What::End(_) => text += &format!("{:?}\n", one.what),
            other => panic!("a rawlog lacks nothing: {other:?}"),
        }
    }
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(holds_secret(&text), None, "{text}");
}

/// Whether a line has its end.
fn ends<M: Mark>(line: &Line<M>) -> bool {
    matches!(line.pieces().last(), Some(Piece::Octets(octets)) if octets.ends_with(b"\n"))
}

fn holds_secret(text: &str) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    FORMS.iter().copied().find(|form| text.contains(&form.to_ascii_lowercase()))
}

/// A reader that hands out pieces whose lengths are the numbers in `cuts`, taken in turn.
struct Pieces<'a> {
    rest: &'a [u8],
    cuts: &'a [u8],
    place: usize,
    /// How much is left of the piece that is there.
    there: usize,
}

impl<'a> Pieces<'a> {
    const fn new(rest: &'a [u8], cuts: &'a [u8]) -> Self {
        Self { rest, cuts, place: 0, there: 0 }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.there == 0 && !self.rest.is_empty() {
            let wanted =
                if self.cuts.is_empty() { 1 } else { number(self.cuts, self.place % self.cuts.len()) };
            self.place += 1;
            self.there = usize::from(wanted).clamp(1, self.rest.len());
        }
        Ok(&self.rest[..self.there])
    }

    fn consume(&mut self, amount: usize) {
        self.rest = &self.rest[amount..];
        self.there -= amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_planted_secret_would_be_found() {
        for (letter, planted) in PLANTED {
            let planted = String::from_utf8_lossy(planted);
            assert!(holds_secret(&planted).is_some(), "{planted}");
            assert!(!matches!(letter, b'C' | b'S'));
        }
        assert_eq!(holds_secret("C: PASS [secret]"), None);
    }

    #[test]
    fn lines_go_into_their_files() {
        let (client, server) = files(b"C1.000000 STAT\nS+OK\\n\\\nP2.000000 \nCQU\\\n");
        assert_eq!(client, b"1.000000 STAT\r\n2.000000 PASS hunter2horse\r\nQU");
        assert_eq!(server, b"+OK\n");
    }
}
