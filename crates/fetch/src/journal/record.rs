//! One line of a journal: a checksum, a word that says what it is, and its fields.

use std::fmt::Write as _;

use restante_client::Strength;
use restante_proto::UniqueId;
use sha2::{Digest as _, Sha256};
use twox_hash::XxHash3_64;

use crate::destination::Token;

/// How long a [`Mark`] is, in octets.
pub const MARK_OCTETS: usize = 10;

/// What a server refused: a salt, and some octets of a digest. It tells whether something is the same, and not what it is.
pub type Mark = [u8; MARK_OCTETS];

/// What a message is known by: its unique-id, or what it holds where there is no id that can be believed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<str>);

impl Key {
    /// By its unique-id.
    pub fn of_id(id: &UniqueId) -> Self {
        Self(format!("={id}").into())
    }

    /// By the SHA-256 of all of it, and by which of several such messages it is, counted from 1.
    pub fn of_content(digest: &[u8; 32], which: u32) -> Self {
        let mut text = String::from("#");
        push_hex(digest, &mut text);
        if which > 1 {
            // Writing into a String does not fail.
            write!(text, "/{which}").unwrap_or_default();
        }
        Self(text.into())
    }

    /// The unique-id, where it is known by that.
    pub fn id(&self) -> Option<&str> {
        self.0.strip_prefix('=')
    }

    /// For people: the unique-id, or that there is none.
    pub fn shown(&self) -> &str {
        self.id().unwrap_or("(no unique-id)")
    }

    fn parse(text: &str) -> Option<Self> {
        let legal = text.len() <= 100 && text.bytes().all(|octet| octet.is_ascii_graphic());
        let known = text.starts_with('=') || text.starts_with('#');
        (legal && known).then(|| Self(text.into()))
    }
}

/// Something that the journal remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The message is durable at its destination, and about to become visible.
    Intent {
        /// Which.
        key: Key,
        /// Its length in octets, as it came.
        octets: u64,
        /// Its length as LIST told it.
        listed: Option<u64>,
        /// Its SHA-256, as it came.
        digest: [u8; 32],
        /// The start of the SHA-256 of its header, if that names a server it came through, so that it is like no other.
        header: Option<[u8; 16]>,
        /// What the destination knows it by.
        token: Token,
        /// When, in seconds since 1970.
        at: u64,
    },
    /// The message is visible at its destination, and durable.
    Delivered {
        /// Which.
        key: Key,
        /// When.
        at: u64,
    },
    /// The intent came to nothing.
    Undone {
        /// Which.
        key: Key,
    },
    /// The server confirmed at QUIT that it removed the message.
    Deleted {
        /// Which.
        key: Key,
        /// When.
        at: u64,
    },
    /// The message could not be fetched or delivered.
    Failed {
        /// Which.
        key: Key,
        /// When.
        at: u64,
        /// Whether it comes behind the others the next time: it may hinder them.
        broke: bool,
        /// Why, in one line.
        why: String,
    },
    /// The server has another unique-id for the message now.
    Renamed {
        /// What it was.
        from: Key,
        /// What it is.
        to: Key,
    },
    /// The server does not list the message any more.
    Gone {
        /// Which.
        key: Key,
        /// When that was seen first.
        at: u64,
    },
    /// The message is listed again, or with another length, and is the same.
    Back {
        /// Which.
        key: Key,
        /// Its length as LIST tells it now; as before where nothing is said.
        listed: Option<u64>,
    },
    /// Nothing more is known of the message: it has been gone for long.
    Forgotten {
        /// Which.
        key: Key,
    },
    /// Whose journal this is, and where its mail goes.
    Account {
        /// The user.
        user: String,
        /// The server's name.
        host: String,
        /// The destination, in the form that `destination::Spec::canonical` gives it.
        to: String,
    },
    /// The messages that were delivered may be listed under other unique-ids now, as after the server was moved.
    Moved,
    /// A session ended well behind that.
    Settled,
    /// Everything before this is on disk: it was written behind a sync.
    Synced,
    /// A login succeeded.
    Login {
        /// When.
        at: u64,
    },
    /// The strongest login by password that succeeded so far; nothing where that is to be forgotten.
    Strength {
        /// How strong.
        strength: Option<Strength>,
        /// When.
        at: u64,
    },
    /// The server refused the credentials.
    Refused {
        /// When.
        at: u64,
        /// What it was; none in old journals.
        mark: Option<Mark>,
    },
    /// The server wants so many seconds between logins (LOGIN-DELAY).
    Delay {
        /// Seconds.
        seconds: u32,
    },
    /// The server did not answer what was sent ahead, and did when it was asked one by one.
    OneByOne {
        /// When.
        at: u64,
    },
}

/// The longest reason that is kept, in characters.
const WHY_MAX: usize = 300;

impl Record {
    /// Appends the line.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut text = String::new();
        // Writing into a String does not fail.
        self.fields(&mut text).unwrap_or_default();
        let sum = XxHash3_64::oneshot(text.as_bytes());
        out.extend_from_slice(format!("{sum:016x} {text}\n").as_bytes());
    }

    /// When it was written down, for those that say so.
    pub(super) const fn at(&self) -> Option<u64> {
        match self {
            Self::Intent { at, .. }
            | Self::Delivered { at, .. }
            | Self::Deleted { at, .. }
            | Self::Failed { at, .. }
            | Self::Gone { at, .. }
            | Self::Login { at }
            | Self::Strength { at, .. }
            | Self::Refused { at, .. }
            | Self::OneByOne { at } => Some(*at),
            Self::Undone { .. }
            | Self::Renamed { .. }
            | Self::Back { .. }
            | Self::Forgotten { .. }
            | Self::Account { .. }
            | Self::Moved
            | Self::Synced
            | Self::Settled
            | Self::Delay { .. } => None,
        }
    }

    fn fields(&self, text: &mut String) -> std::fmt::Result {
        match self {
            Self::Intent { key, octets, listed, digest, header, token, at } => {
                write!(text, "intent {} {at} {octets} ", key.0)?;
                match listed {
                    Some(listed) => write!(text, "{listed} ")?,
                    None => text.push_str("- "),
                }
                push_hex(digest, text);
                text.push(' ');
                match header {
                    Some(header) => push_hex(header, text),
                    None => text.push('-'),
                }
                write!(text, " {}", token.as_str())
            }
            Self::Delivered { key, at } => write!(text, "delivered {} {at}", key.0),
            Self::Undone { key } => write!(text, "undone {}", key.0),
            Self::Deleted { key, at } => write!(text, "deleted {} {at}", key.0),
            Self::Failed { key, at, broke, why } => {
                let word = if *broke { "broke" } else { "failed" };
                let why: String =
                    why.chars().take(WHY_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
                write!(text, "{word} {} {at} {why}", key.0)
            }
            Self::Renamed { from, to } => write!(text, "renamed {} {}", from.0, to.0),
            Self::Gone { key, at } => write!(text, "gone {} {at}", key.0),
            Self::Back { key, listed } => {
                write!(text, "back {}", key.0)?;
                listed.map_or(Ok(()), |listed| write!(text, " {listed}"))
            }
            Self::Forgotten { key } => write!(text, "forgotten {}", key.0),
            Self::Account { user, host, to } => {
                write!(text, "account {} {} {}", Escaped(user), Escaped(host), Escaped(to))
            }
            Self::Moved => write!(text, "moved -"),
            Self::Settled => write!(text, "settled -"),
            Self::Synced => write!(text, "synced -"),
            Self::Login { at } => write!(text, "login {at}"),
            Self::Strength { strength, at } => {
                write!(text, "strength {} {at}", strength.map_or("-", Strength::word))
            }
            Self::Refused { at, mark } => {
                write!(text, "refused {at}")?;
                if let Some(mark) = mark {
                    text.push(' ');
                    push_hex(mark, text);
                }
                Ok(())
            }
            Self::Delay { seconds } => write!(text, "delay {seconds}"),
            Self::OneByOne { at } => write!(text, "one-by-one {at}"),
        }
    }

    /// Reads a line without its end; `None` if it is none, or damaged.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = str::from_utf8(line).ok()?;
        let (sum, text) = line.split_once(' ')?;
        if sum.len() != 16 || u64::from_str_radix(sum, 16).ok()? != XxHash3_64::oneshot(text.as_bytes()) {
            return None;
        }
        let (word, rest) = text.split_once(' ')?;
        let mut fields = rest.splitn(if word == "failed" || word == "broke" { 3 } else { 8 }, ' ');
        let mut next = || fields.next();
        let record = match word {
            "intent" => {
                let (key, at, octets) = (Key::parse(next()?)?, next()?.parse().ok()?, next()?.parse().ok()?);
                let listed = match next()? {
                    "-" => None,
                    listed => Some(listed.parse().ok()?),
                };
                let digest = read_hex(next()?)?;
                let header = match next()? {
                    "-" => None,
                    header => Some(read_hex(header)?),
                };
                Self::Intent { key, octets, listed, digest, header, token: super::token(next()?)?, at }
            }
            "delivered" => Self::Delivered { key: Key::parse(next()?)?, at: next()?.parse().ok()? },
            "undone" => Self::Undone { key: Key::parse(next()?)? },
            "deleted" => Self::Deleted { key: Key::parse(next()?)?, at: next()?.parse().ok()? },
            "failed" | "broke" => Self::Failed {
                key: Key::parse(next()?)?,
                at: next()?.parse().ok()?,
                broke: word == "broke",
                why: next()?.to_owned(),
            },
            "renamed" => Self::Renamed { from: Key::parse(next()?)?, to: Key::parse(next()?)? },
            "gone" => Self::Gone { key: Key::parse(next()?)?, at: next()?.parse().ok()? },
            "back" => {
                let key = Key::parse(next()?)?;
                let listed = next().map(str::parse).transpose().ok()?;
                Self::Back { key, listed }
            }
            "forgotten" => Self::Forgotten { key: Key::parse(next()?)? },
            "account" => {
                Self::Account { user: unescape(next()?)?, host: unescape(next()?)?, to: unescape(next()?)? }
            }
            "moved" => next().filter(|&rest| rest == "-").map(|_| Self::Moved)?,
            "settled" => next().filter(|&rest| rest == "-").map(|_| Self::Settled)?,
            "synced" => next().filter(|&rest| rest == "-").map(|_| Self::Synced)?,
            "login" => Self::Login { at: next()?.parse().ok()? },
            "strength" => {
                let strength = match next()? {
                    "-" => None,
                    word => Some(word.parse().ok()?),
                };
                Self::Strength { strength, at: next()?.parse().ok()? }
            }
            "refused" => {
                let at = next()?.parse().ok()?;
                let mark = match next() {
                    None => None,
                    Some(mark) => Some(read_hex(mark)?),
                };
                Self::Refused { at, mark }
            }
            "delay" => Self::Delay { seconds: next()?.parse().ok()? },
            "one-by-one" => Self::OneByOne { at: next()?.parse().ok()? },
            _ => return None,
        };
        if next().is_some() { None } else { Some(record) }
    }
}

/// A field of any text: without spaces and line ends, and never empty.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_char('.')?;
        for octet in self.0.bytes() {
            match octet {
                b'%' => f.write_str("%25")?,
                b'!'..=b'~' => f.write_char(char::from(octet))?,
                _ => write!(f, "%{octet:02x}")?,
            }
        }
        Ok(())
    }
}

fn unescape(field: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(field.len());
    let mut rest = field.strip_prefix('.')?.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            octets.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        octets.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
        rest = behind;
    }
    String::from_utf8(octets).ok()
}

fn push_hex(octets: &[u8], text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for octet in octets {
        text.push(char::from(DIGITS[usize::from(octet >> 4)]));
        text.push(char::from(DIGITS[usize::from(octet & 15)]));
    }
}

fn read_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut octets = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (octet, pair) in octets.iter_mut().zip(text.as_bytes().chunks(2)) {
        *octet = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(octets)
}

/// The digest of a whole header, shortened to what a journal keeps.
pub(crate) fn header_digest(digest: Sha256) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&digest.finalize()[..16]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_comes_back_and_no_octet_may_change() {
        let key = Key::of_id(&UniqueId::new(b"390953946").unwrap());
        let content = Key::of_content(&[0xab; 32], 2);
        let token = Token::new("1234.M5P6.host").unwrap();
        let intent = |listed, header| Record::Intent {
            key: key.clone(),
            octets: 1317,
            listed,
            digest: [7; 32],
            header,
            token: token.clone(),
            at: 1_800_000_000,
        };
        for record in [
            intent(Some(1317), Some([9; 16])),
            intent(None, None),
            Record::Delivered { key: key.clone(), at: 1 },
            Record::Undone { key: key.clone() },
            Record::Deleted { key: key.clone(), at: 2 },
            Record::Failed {
                key: key.clone(),
                at: 3,
                broke: false,
                why: "the server refused RETR: no  such".into(),
            },
            Record::Failed { key: content.clone(), at: 3, broke: true, why: String::new() },
            Record::Renamed { from: key.clone(), to: content },
            Record::Gone { key: key.clone(), at: 4 },
            Record::Back { key: key.clone(), listed: None },
            Record::Back { key: key.clone(), listed: Some(9) },
            Record::Forgotten { key: key.clone() },
            Record::Account { user: "jörg % x".into(), host: "h".into(), to: String::new() },
            Record::Moved,
            Record::Synced,
            Record::Settled,
            Record::Login { at: 5 },
            Record::Strength { strength: Some(Strength::Bound), at: 5 },
            Record::Strength { strength: None, at: 5 },
            Record::Refused { at: 6, mark: None },
            Record::Refused { at: 6, mark: Some([7; MARK_OCTETS]) },
            Record::Delay { seconds: 900 },
            Record::OneByOne { at: 7 },
        ] {
            let mut line = Vec::new();
            record.write(&mut line);
            let text = line.strip_suffix(b"\n").unwrap();
            assert_eq!(Record::parse(text), Some(record));
            for at in 0..text.len() {
                let mut other = text.to_vec();
                other[at] ^= 2;
                assert_eq!(Record::parse(&other), None);
            }
        }
    }

    #[test]
    fn a_reason_is_one_line() {
        let mut line = Vec::new();
        Record::Failed { key: Key::of_content(&[0; 32], 1), at: 3, broke: false, why: "a\nb\r\u{7}c".into() }
            .write(&mut line);
        assert_eq!(line.iter().filter(|&&octet| octet == b'\n').count(), 1);
    }
}
