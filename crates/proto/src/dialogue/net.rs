//! What happens below the lines: `T:` events of TLS and `N:` events of TCP, read and written side by side.

use alloc::boxed::Box;
use core::fmt::{self, Write};

use super::{
    Problem, Side,
    text::{read_number, write_octets},
};

/// The longest [`Word`], in octets.
const WORD_MAX_OCTETS: usize = 255;

/// A word of 1 to 255 octets of 0x21–0x7E, such as the name of a cipher.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Word(Box<str>);

/// A text that is no [`Word`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidWord;

impl fmt::Display for InvalidWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not 1 to 255 printable ASCII characters without a space")
    }
}

impl core::error::Error for InvalidWord {}

impl Word {
    /// The word of this text.
    pub fn new(text: &str) -> Result<Self, InvalidWord> {
        let legal =
            matches!(text.len(), 1..=WORD_MAX_OCTETS) && text.bytes().all(|octet| octet.is_ascii_graphic());
        if legal { Ok(Self(Box::from(text))) } else { Err(InvalidWord) }
    }

    /// Its text.
    pub const fn as_str(&self) -> &str {
        &self.0
    }
}

/// Something about TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsEvent {
    /// `handshake version=TLSv1.3 cipher=… name=… alpn=pop3` The handshake was done.
    Handshake(TlsFacts),
    /// `failed` The handshake failed; in a test: it should fail.
    Failed,
    /// `close` This side said that it sends no more (close_notify).
    Close(Side),
}

/// What a handshake settled, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// `version`
    pub version: Option<Word>,
    /// `cipher`
    pub cipher: Option<Word>,
    /// `name` The server's name that the client asked for.
    pub name: Option<Word>,
    /// `alpn`
    pub alpn: Option<Word>,
}

/// Something about the TCP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpEvent {
    /// `connect` The connection stands: the whole handshake, as a program sees it.
    Connect,
    /// `timeout` Nothing came in the time that was given.
    Timeout,
    /// `C FIN`, `S SYN ACK seq=0 ack=1 octets=0` A segment. A program that sees none writes `FIN` for an end of
    /// the stream and `RST` for a reset.
    Segment(Segment),
}

/// A TCP segment. One that carries octets stands before the lines that begin in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Who sent it.
    pub from: Side,
    /// Its flags.
    pub flags: Flags,
    /// `seq` Its sequence number, counted from the connection's first.
    pub seq: Option<u32>,
    /// `ack` Its acknowledgement number, counted in the same way.
    pub ack: Option<u32>,
    /// `octets` How many octets it carries.
    pub octets: Option<u32>,
}

/// One flag of a segment (RFC 9293 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Flag {
    /// The sender's first segment.
    Syn = 1,
    /// The sender's last octet was sent.
    Fin = 2,
    /// The connection is broken off.
    Rst = 4,
    /// The receiver should hand the octets on.
    Psh = 8,
    /// The acknowledgement number counts.
    Ack = 16,
}

const FLAGS: [(&str, Flag); 5] =
    [("SYN", Flag::Syn), ("FIN", Flag::Fin), ("RST", Flag::Rst), ("PSH", Flag::Psh), ("ACK", Flag::Ack)];

/// The flags of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// These flags and this one.
    #[must_use]
    pub const fn with(self, flag: Flag) -> Self {
        Self(self.0 | flag as u8)
    }

    /// Whether this flag is set.
    pub const fn has(self, flag: Flag) -> bool {
        self.0 & flag as u8 != 0
    }
}

impl TlsEvent {
    /// What stands behind `T:`. An error comes with its place.
    pub(super) fn read(text: &[u8]) -> Result<Self, (usize, Problem)> {
        let mut words = Words::new(text);
        let event = match words.next() {
            Some((_, b"handshake")) => {
                let mut facts = TlsFacts::default();
                for (at, word) in words.by_ref() {
                    facts.read(word).ok_or((at, Problem::TlsFact))?;
                }
                Self::Handshake(facts)
            }
            Some((_, b"failed")) => Self::Failed,
            Some((_, side @ (b"C" | b"S"))) => match words.next() {
                Some((_, b"close")) => Self::Close(side_of(side)),
                _ => return Err((text.len(), Problem::TlsEvent)),
            },
            _ => return Err((0, Problem::TlsEvent)),
        };
        words.next().map_or(Ok(event), |(at, _)| Err((at, Problem::TlsEvent)))
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> fmt::Result {
        match self {
            Self::Failed => out.write_str("failed"),
            Self::Close(side) => write!(out, "{} close", letter(*side)),
            Self::Handshake(facts) => {
                out.write_str("handshake")?;
                for (key, word) in facts.named() {
                    if let Some(word) = word {
                        write!(out, " {key}=")?;
                        write_octets(out, word.as_str().as_bytes())?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl TlsFacts {
    const fn named(&self) -> [(&'static str, &Option<Word>); 4] {
        [("version", &self.version), ("cipher", &self.cipher), ("name", &self.name), ("alpn", &self.alpn)]
    }

    fn read(&mut self, word: &[u8]) -> Option<()> {
        let equals = word.iter().position(|&octet| octet == b'=')?;
        let place = match &word[..equals] {
            b"version" => &mut self.version,
            b"cipher" => &mut self.cipher,
            b"name" => &mut self.name,
            b"alpn" => &mut self.alpn,
            _ => return None,
        };
        let (mut value, mut at) = (alloc::vec::Vec::new(), equals + 1);
        while at < word.len() {
            let (run, taken) = super::text::read_run(&word[at..]).ok()?;
            value.extend(run);
            at += taken;
        }
        let value = Word::new(core::str::from_utf8(&value).ok()?).ok()?;
        place.replace(value).is_none().then_some(())
    }
}

impl TcpEvent {
    /// What stands behind `N:`. An error comes with its place.
    pub(super) fn read(text: &[u8]) -> Result<Self, (usize, Problem)> {
        let mut words = Words::new(text);
        let event = match words.next() {
            Some((_, b"connect")) => Self::Connect,
            Some((_, b"timeout")) => Self::Timeout,
            Some((_, side @ (b"C" | b"S"))) => {
                let mut segment = Segment {
                    from: side_of(side),
                    flags: Flags::default(),
                    seq: None,
                    ack: None,
                    octets: None,
                };
                for (at, word) in words.by_ref() {
                    segment.read(word).ok_or((at, Problem::Segment))?;
                }
                Self::Segment(segment)
            }
            _ => return Err((0, Problem::TcpEvent)),
        };
        words.next().map_or(Ok(event), |(at, _)| Err((at, Problem::TcpEvent)))
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> fmt::Result {
        match self {
            Self::Connect => out.write_str("connect"),
            Self::Timeout => out.write_str("timeout"),
            Self::Segment(segment) => segment.write(out),
        }
    }
}

impl Segment {
    fn read(&mut self, word: &[u8]) -> Option<()> {
        if let Some((_, flag)) = FLAGS.iter().find(|(name, _)| name.as_bytes() == word) {
            let fresh = !self.flags.has(*flag);
            self.flags = self.flags.with(*flag);
            return fresh.then_some(());
        }
        let equals = word.iter().position(|&octet| octet == b'=')?;
        let place = match &word[..equals] {
            b"seq" => &mut self.seq,
            b"ack" => &mut self.ack,
            b"octets" => &mut self.octets,
            _ => return None,
        };
        let (number, rest) = read_number(&word[equals + 1..])?;
        let number = u32::try_from(number).ok().filter(|_| rest.is_empty())?;
        place.replace(number).is_none().then_some(())
    }

    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        out.write_char(letter(self.from))?;
        for (name, flag) in FLAGS {
            if self.flags.has(flag) {
                write!(out, " {name}")?;
            }
        }
        for (key, number) in [("seq", self.seq), ("ack", self.ack), ("octets", self.octets)] {
            if let Some(number) = number {
                write!(out, " {key}={number}")?;
            }
        }
        Ok(())
    }
}

/// The letter of a side, as lines and events begin with it.
pub(super) const fn letter(side: Side) -> char {
    match side {
        Side::Client => 'C',
        Side::Server => 'S',
    }
}

const fn side_of(letter: &[u8]) -> Side {
    match letter {
        b"C" => Side::Client,
        _ => Side::Server,
    }
}

/// The words of a text, each with its place.
struct Words<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    const fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.text[self.at..];
        let start = self.at + rest.iter().position(|&octet| octet != b' ')?;
        let rest = &self.text[start..];
        let length = rest.iter().position(|&octet| octet == b' ').unwrap_or(rest.len());
        self.at = start + length;
        Some((start, &rest[..length]))
    }
}
