//! The mail that every client gets to see: one letter for each thing that has broken a POP3 server or client before,
//! and a second way, as plain as can be, to tell what a client must receive of it.

use std::fmt;

/// A message as it stands in the Maildir.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// What is odd about it.
    pub name: &'static str,
    /// The base name of its file, and so its unique-id.
    pub id: String,
    /// The octets of the file.
    pub stored: Vec<u8>,
    /// Whether it is in cur/, where clients of other protocols have seen it.
    pub seen: bool,
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {} octets)", self.name, self.id, self.stored.len())
    }
}

impl Letter {
    fn new(number: usize, name: &'static str, stored: impl Into<Vec<u8>>) -> Self {
        let id = format!("17000000{number:02}.M{number}P7.mail.example.org");
        Self { name, id, stored: stored.into(), seen: number.is_multiple_of(2) }
    }

    /// What a client receives.
    pub fn canonical(&self) -> Vec<u8> {
        canonical(&self.stored)
    }

    /// What a client stores that turns the CRLF of the wire into the LF of its machine.
    pub fn local(&self) -> Vec<u8> {
        let octets = self.canonical();
        let mut local = Vec::with_capacity(octets.len());
        for (at, &octet) in octets.iter().enumerate() {
            if octet != b'\r' || octets.get(at + 1) != Some(&b'\n') {
                local.push(octet);
            }
        }
        local
    }
}

/// The canonical form of a message: an LF without its CR gets one, and the last line gets its end (RFC 1939 §3).
pub fn canonical(stored: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    for &octet in stored {
        if octet == b'\n' && octets.last() != Some(&b'\r') {
            octets.push(b'\r');
        }
        octets.push(octet);
    }
    if !octets.is_empty() && !octets.ends_with(b"\r\n") {
        octets.extend_from_slice(b"\r\n");
    }
    octets
}

/// A message as it passes over the wire behind RETR's status line: dots stuffed, the end marked (RFC 1939 §3).
pub fn stuffed(canonical: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for line in canonical.split_inclusive(|&octet| octet == b'\n') {
        // A bare LF cannot stand in canonical form, so that each of these pieces is a line.
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

fn head(subject: &str) -> Vec<u8> {
    format!(
        "Return-Path: <jane@example.org>\nFrom: Jane <jane@example.org>\nTo: john@example.org\nSubject: {subject}\nDate: Mon, 23 Nov 2026 10:00:00 +0000\nMessage-ID: <{}@example.org>\n",
        subject.replace(' ', ".")
    )
    .into_bytes()
}

fn with_body(subject: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut octets = head(subject);
    octets.push(b'\n');
    octets.extend_from_slice(body.as_ref());
    octets
}

/// Every letter, in the order of their names in the Maildir.
pub fn corpus() -> Vec<Letter> {
    let crlf = with_body("crlf on disk", "Stored by a program\nthat keeps CRLF.\n");
    let crlf: Vec<u8> = crlf
        .iter()
        .flat_map(|&octet| if octet == b'\n' { vec![b'\r', b'\n'] } else { vec![octet] })
        .collect();
    let mut latin = head("latin 1");
    latin.extend_from_slice(
        b"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n",
    );
    latin.extend_from_slice(b"Gr\xfc\xdfe aus K\xf6ln, \xa3 5\n");
    let mut attachment = head("attachment");
    attachment
        .extend_from_slice(b"Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n");
    // Lines of base64's alphabet, one of them different from the next, a mebibyte of them.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for line in 0..(1 << 20) / 77 {
        attachment.extend((0..76).map(|column| alphabet[(line * 31 + column * 7) % alphabet.len()]));
        attachment.push(b'\n');
    }
    let letters = [
        ("plain", with_body("plain", "Hello John,\n\nyour letter lies here until you call for it.\n")),
        ("no final newline", with_body("no final newline", "The last line\nhas no end")),
        ("bare CR", with_body("bare cr", "one\rtwo\r\rthree\n\r.four\n")),
        ("CRLF on disk", crlf),
        ("NUL", with_body("nul", b"be\0fore\n\0\nafter\n")),
        ("Latin-1", latin),
        ("leading dots", with_body("leading dots", ".\n..\n...\n.hidden\n. \n\n.\n")),
        ("a dot first", [b".X-Odd: dot\n".to_vec(), with_body("a dot first", "body\n")].concat()),
        ("empty body", with_body("empty body", "")),
        ("header only", head("header only")),
        ("long line", with_body("long line", format!("{}\nshort\n", "0123456789".repeat(300)))),
        ("very long line", with_body("very long line", format!("{}\nshort\n", "0123456789".repeat(10_000)))),
        ("attachment", attachment),
        ("empty file", Vec::new()),
    ];
    letters.into_iter().enumerate().map(|(at, (name, stored))| Letter::new(at + 1, name, stored)).collect()
}

/// A letter that comes in later.
pub fn fresh() -> Letter {
    Letter::new(50, "fresh", with_body("fresh", "This one came in after the first call.\n"))
}

/// Compares what a client received, in any order, with what it had to receive, and tells the first difference.
#[track_caller]
pub fn assert_same(mut got: Vec<Vec<u8>>, expected: &[(&'static str, Vec<u8>)]) {
    let mut missing = Vec::new();
    for (name, octets) in expected {
        match got.iter().position(|candidate| candidate == octets) {
            Some(at) => {
                got.swap_remove(at);
            }
            None => missing.push((name, octets)),
        }
    }
    if missing.is_empty() && got.is_empty() {
        return;
    }
    let mut report = String::new();
    for (name, octets) in missing {
        report.push_str(&format!("\nnot received: {name}: {}", excerpt(octets)));
    }
    for octets in got {
        report.push_str(&format!("\nnot expected: {}", excerpt(&octets)));
    }
    panic!("{report}");
}

/// The first octets, readable.
fn excerpt(octets: &[u8]) -> String {
    const SHOWN: usize = 600;
    let piece = &octets[..octets.len().min(SHOWN)];
    format!("{} octets: {}", octets.len(), piece.escape_ascii())
}
