//! Recordings hold no secret: one is planted in every form there is, among lines of the input, and looked for in what
//! is written.
//!
//! The first line holds the lengths of pieces. Each line that follows begins with a letter that says what happens: `C`
//! and `S`, the client or the server says what stands behind it; one of [`PLANTED`], the client says a secret; `T`, TLS
//! begins. A line that ends in `\` is said with LF for CRLF.

use restante_proto::dialogue::{
    Bodies, Dialogue, Event, Head, Kind, Line, Mark, Piece, Recorder, Redactor, Side, TlsEvent, TlsFacts,
};

use super::{pieces, split_how};

/// What must not be found, in any case: the secret, its halves, and what is left of it in base64.
const FORMS: &[&str] = &[
    "hunter",
    "2horse",
    // What does not depend on where in a group of three the octets stand.
    "aHVudGVyMmhvcnNl",
    "h1bnRlcjJob3Jz",
    "odW50ZXIyaG9yc",
    "c4c9334bac560ecc979e58001b3e22fb",
];

/// How a client may say the secret.
const PLANTED: &[(u8, &str)] = &[
    (b'P', "PASS hunter2horse"),
    (b'p', "pass  hunter2horse "),
    (b't', "PASS\thunter2horse"),
    (b'j', "PASShunter2horse"),
    (b's', " PASS hunter2horse"),
    (b'w', "PASSWORD hunter2horse"),
    (b'D', "APOP john c4c9334bac560ecc979e58001b3e22fb"),
    (b'A', "AUTH PLAIN AGpvaG4AaHVudGVyMmhvcnNl"),
    (b'm', "AUTH hunter2horse"),
    (b'L', "AUTH LOGIN am9obg== hunter2horse"),
    (b'R', "AGpvaG4AaHVudGVyMmhvcnNl"),
    (b'r', "aHVudGVyMmhvcnNl"),
    (b'U', "hunter2horse"),
    (b'u', "USER john hunter2horse"),
    (b'X', "XAUTH john hunter2horse"),
    // Before the server has answered AUTH, nobody can tell a command from a response.
    (b'Q', "AUTH LOGIN\r\nAUTH LOGIN\r\nQUIT hunter2horse"),
    (b'B', "\0\x7f hunter2horse"),
];

enum Said {
    Line(Side, Vec<u8>),
    Tls,
}

pub(super) fn run(data: &[u8]) {
    let (cuts, script) = split_how(data);
    let Some(script) = read(script) else { return };
    for bodies in [Bodies::Elided, Bodies::Kept] {
        let whole = record(&script, bodies, |line| vec![line]);
        let cut = record(&script, bodies, |line| pieces(line, cuts).collect());
        assert_eq!(uncut(&cut), uncut(&whole));
        for events in [whole, cut] {
            check(events);
        }
    }
    check(redact(&script));
}

/// What happens; `None` where the secret stands in a line of the input, which may show what it likes.
fn read(script: &[u8]) -> Option<Vec<Said>> {
    let mut all = Vec::new();
    for line in script.split(|&octet| octet == b'\n') {
        let Some((&letter, text)) = line.split_first() else { continue };
        let (text, end) = match text.strip_suffix(b"\\") {
            Some(text) => (text, &b"\n"[..]),
            None => (text, &b"\r\n"[..]),
        };
        all.push(match (letter, planted(letter)) {
            (b'T', _) => Said::Tls,
            (_, Some(planted)) => Said::Line(Side::Client, [planted.as_bytes(), end].concat()),
            (b'C', _) => Said::Line(Side::Client, [text, end].concat()),
            (b'S', _) => Said::Line(Side::Server, [text, end].concat()),
            _ => continue,
        });
    }
    holds_secret(&String::from_utf8_lossy(script)).is_none().then_some(all)
}

fn record<'a>(script: &'a [Said], bodies: Bodies, cut: impl Fn(&'a [u8]) -> Vec<&'a [u8]>) -> Vec<Event> {
    let (mut recorder, mut events) = (Recorder::new(bodies), Vec::new());
    for said in script {
        match said {
            Said::Tls => recorder.tls(None, TlsEvent::Handshake(TlsFacts::default()), &mut events),
            Said::Line(side, line) => {
                for piece in cut(line) {
                    recorder.segment(*side);
                    recorder.octets(*side, None, piece, &mut events);
                }
            }
        }
    }
    recorder.flush(&mut events);
    events
}

/// The same by the redactor alone, which is given whole lines.
fn redact(script: &[Said]) -> Vec<Event> {
    let (mut redactor, mut events) = (Redactor::new(), Vec::new());
    for said in script {
        match said {
            Said::Tls => events.push(Event::new(Kind::Tls(TlsEvent::Handshake(TlsFacts::default())))),
            Said::Line(side, lines) => {
                for line in lines.split_inclusive(|&octet| octet == b'\n') {
                    events.push(Event::new(match side {
                        Side::Client => Kind::Client(redactor.client(line)),
                        Side::Server => Kind::Server(redactor.server(line)),
                    }));
                }
            }
        }
    }
    events
}

/// The events in words, without segment cuts.
fn uncut(events: &[Event]) -> Vec<String> {
    fn line<M: Mark>(cut: &Line<M>) -> String {
        let mut line = Line::default();
        cut.pieces().iter().filter(|piece| **piece != Piece::Cut).for_each(|piece| line.push(piece.clone()));
        line.to_string()
    }
    let kinds = events.iter().map(|event| match &event.kind {
        Kind::Client(cut) => format!("C: {}", line(cut)),
        Kind::Server(cut) => format!("S: {}", line(cut)),
        _ => event.to_string(),
    });
    kinds.collect()
}

fn check(events: Vec<Event>) {
    let uncut = uncut(&events).join("\n");
    let dialogue = Dialogue { head: Head::default(), events };
    let text = dialogue.to_string();
    for written in [&text, &uncut] {
        assert_eq!(holds_secret(written), None, "{written}");
    }
    assert_eq!(Dialogue::parse(text.as_bytes()), Ok(dialogue), "{text}");
}

/// How this letter says the secret.
pub(super) fn planted(letter: u8) -> Option<&'static str> {
    PLANTED.iter().find(|(known, _)| *known == letter).map(|(_, planted)| *planted)
}

/// The form of the secret that the text holds.
pub(super) fn holds_secret(text: &str) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    FORMS.iter().copied().find(|form| text.contains(&form.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_planted_secret_would_be_found() {
        for (letter, planted) in PLANTED {
            assert!(holds_secret(planted).is_some(), "{planted}");
            assert!(!matches!(letter, b'C' | b'S' | b'T'));
        }
        assert_eq!(holds_secret("C: PASS [secret]"), None);
    }
}
