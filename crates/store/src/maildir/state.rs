//! The state file of a Maildir as octets: what is remembered of each message between sessions.
//!
//! A line with the version, the number of records, the records in the order of first sight, and a SHA-256 over all of
//! that. Parsing is bounded by its input and never panics; what does not parse is rebuilt from the Maildir, with the
//! same unique-ids as far as they come from the names. Reading and writing the file is `state_io.rs`.

use std::collections::HashSet;

use restante_proto::{
    UniqueId,
    body::{Form, Measured},
};
use sha2::{Digest, Sha256};

pub use super::encoded::Encoding;
use super::{name, scan::MESSAGES_MAX};

/// The first line of a state file of this version.
const HEAD: &[u8] = b"restante-index 1\n";

/// The beginning of the first line in every version.
const HEAD_OF_ANY_VERSION: &[u8] = b"restante-index ";

/// How many octets of a file tell its version, whatever it is.
pub(super) const HEAD_MAX_OCTETS: usize = 32;

/// How long a record usually is, in octets, and somewhat more.
const RECORD_USUAL_OCTETS: u64 = 100;

/// The longest state file that is read or written, in octets: enough for as many messages as are shown.
pub(super) const STATE_MAX_OCTETS: u64 = MESSAGES_MAX as u64 * RECORD_USUAL_OCTETS;

/// The octets of the checksum at the end.
const CHECKSUM_OCTETS: usize = 32;

/// The shortest record: flags, length and octets of the base, size, time.
const RECORD_MIN_OCTETS: usize = 1 + 1 + 1 + 8 + 8;

const HAS_ID: u8 = 0x08;
const IS_MISSING: u8 = 0x10;
const COUNT_MASK: u8 = 0x07;

/// What a Maildir's state file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// One record for each message, in the order of first sight.
    pub records: Vec<Record>,
}

/// What is remembered of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its file's name up to the `:`; 1 to 255 octets.
    pub base: Box<[u8]>,
    /// Its unique-id, given at first sight.
    pub id: UniqueId,
    /// The size of its file in octets.
    pub stored: u64,
    /// When its file was last written, in nanoseconds since 1970. With the size it tells whether `count` still holds.
    pub modified_ns: i64,
    /// What is known of its length and form.
    pub count: Count,
    /// Since when, in seconds since 1970, the file is missing; `None` while it is there.
    pub missing_since: Option<u64>,
}

/// What is known of a message's canonical length and form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Nothing yet.
    Unknown,
    /// The length that the file's name claims.
    Claimed(u64),
    /// The truth: the message was read.
    Measured(Measured),
    /// The file holds the message compressed or encrypted.
    Encoded(Encoding),
}

/// Why octets are no state file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It does not begin like one.
    #[error("the file is no state file")]
    Head,
    /// It is of another version.
    #[error("the state file is of another version")]
    Version,
    /// The checksum is wrong: it was cut or changed.
    #[error("the checksum of the state file is wrong")]
    Checksum,
    /// A record is cut, or holds what no record can.
    #[error("record {0} of the state file is damaged")]
    Record(u32),
    /// Two records have the same unique-id, or two messages that are there have the same name.
    #[error("record {0} of the state file repeats another one's name or unique-id")]
    Repeated(u32),
    /// Something follows the last record.
    #[error("the state file goes on behind its last record")]
    Trailing,
}

impl State {
    /// Parses the octets of a state file.
    ///
    /// ```
    /// use restante_store::maildir::state::{State, StateError};
    /// let empty = State::default();
    /// assert_eq!(State::parse(&empty.to_octets()), Ok(empty));
    /// assert_eq!(State::parse(b"something else"), Err(StateError::Head));
    /// ```
    pub fn parse(octets: &[u8]) -> Result<Self, StateError> {
        Self::check_head(octets)?;
        let (body, checksum) = octets.split_last_chunk::<CHECKSUM_OCTETS>().ok_or(StateError::Checksum)?;
        if Sha256::digest(body).as_slice() != checksum {
            return Err(StateError::Checksum);
        }
        let mut rest = Rest(body.get(HEAD.len()..).ok_or(StateError::Checksum)?);
        let count = rest.take().map(u32::from_le_bytes).ok_or(StateError::Record(0))?;
        // A count that lies must not reserve more than the file itself could hold.
        let mut records = Vec::with_capacity((count as usize).min(rest.0.len() / RECORD_MIN_OCTETS));
        for number in 0..count {
            records.push(Record::parse(&mut rest).ok_or(StateError::Record(number))?);
        }
        if !rest.0.is_empty() {
            return Err(StateError::Trailing);
        }
        let (mut bases, mut ids) = (HashSet::new(), HashSet::new());
        for (record, number) in records.iter().zip(0..) {
            // The name of a message that is missing may be another one's by now.
            let repeated = record.missing_since.is_none() && !bases.insert(&record.base);
            if repeated || !ids.insert(&record.id) {
                return Err(StateError::Repeated(number));
            }
        }
        Ok(Self { records })
    }

    /// Whether a file that begins with these octets, [`HEAD_MAX_OCTETS`] or all of them, is a state file of this version.
    pub(super) fn check_head(start: &[u8]) -> Result<(), StateError> {
        if start.starts_with(HEAD) {
            return Ok(());
        }
        let version = start.strip_prefix(HEAD_OF_ANY_VERSION).unwrap_or_default();
        let digits = version.iter().take_while(|octet| octet.is_ascii_digit()).count();
        Err(if digits > 0 && version.get(digits) == Some(&b'\n') {
            StateError::Version
        } else {
            StateError::Head
        })
    }

    /// Whether only this state, and not the names of the files, tells which message has which unique-id.
    pub(super) fn knows_more_than_names(&self) -> bool {
        let own = |record: &Record| record.id != name::unique_id(&record.base, |_| false);
        self.records.iter().any(|record| record.missing_since.is_some() || own(record))
    }

    /// The octets of the state file.
    pub fn to_octets(&self) -> Vec<u8> {
        let mut octets = HEAD.to_vec();
        // `MESSAGES_MAX` and `MISSING_NAMES_MAX` keep the number far below.
        let count = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        octets.extend_from_slice(&count.to_le_bytes());
        self.records.iter().take(count as usize).for_each(|record| record.write(&mut octets));
        Self::seal(octets)
    }

    /// Appends the checksum to what stands before it. For tests and fuzzers that make state files of their own.
    pub fn seal(mut body: Vec<u8>) -> Vec<u8> {
        let checksum = Sha256::digest(&body);
        body.extend_from_slice(&checksum);
        body
    }
}

impl Record {
    fn parse(rest: &mut Rest<'_>) -> Option<Self> {
        let [flags, base_octets] = rest.take()?;
        let base = rest.slice(base_octets.into())?;
        // A base never has a `:`, nor begins with a dot.
        if name::split(base) != Some((base, b"")) || base.contains(&b'/') || base.contains(&0) {
            return None;
        }
        let id = if flags & HAS_ID == 0 {
            UniqueId::new(&name::stem(base))?
        } else {
            let [id_octets] = rest.take()?;
            UniqueId::new(rest.slice(id_octets.into())?)?
        };
        let stored = rest.take().map(u64::from_le_bytes)?;
        let modified_ns = rest.take().map(i64::from_le_bytes)?;
        let mut measured =
            |form| Some(Count::Measured(Measured { octets: rest.take().map(u64::from_le_bytes)?, form }));
        let count = match flags & COUNT_MASK {
            0 => Count::Unknown,
            1 => Count::Claimed(rest.take().map(u64::from_le_bytes)?),
            2 => measured(Form::Wire)?,
            3 => measured(Form::Crlf)?,
            4 => measured(Form::Local)?,
            5 => Count::Encoded(rest.take().and_then(|[code]| Encoding::from_code(code))?),
            _ => return None,
        };
        let missing_since =
            if flags & IS_MISSING == 0 { None } else { Some(rest.take().map(u64::from_le_bytes)?) };
        let known = flags & !(COUNT_MASK | HAS_ID | IS_MISSING) == 0;
        known.then(|| Self { base: base.into(), id, stored, modified_ns, count, missing_since })
    }

    fn write(&self, octets: &mut Vec<u8>) {
        let own_id = name::stem(&self.base) != self.id.as_str().as_bytes();
        let count = match self.count {
            Count::Unknown => 0,
            Count::Claimed(_) => 1,
            Count::Measured(Measured { form: Form::Wire, .. }) => 2,
            Count::Measured(Measured { form: Form::Crlf, .. }) => 3,
            Count::Measured(Measured { form: Form::Local, .. }) => 4,
            Count::Encoded(_) => 5,
        };
        let missing = if self.missing_since.is_some() { IS_MISSING } else { 0 };
        octets.push(count | if own_id { HAS_ID } else { 0 } | missing);
        push_short(&self.base, octets);
        if own_id {
            push_short(self.id.as_str().as_bytes(), octets);
        }
        octets.extend_from_slice(&self.stored.to_le_bytes());
        octets.extend_from_slice(&self.modified_ns.to_le_bytes());
        match self.count {
            Count::Unknown => {}
            Count::Claimed(length) | Count::Measured(Measured { octets: length, .. }) => {
                octets.extend_from_slice(&length.to_le_bytes());
            }
            Count::Encoded(encoding) => octets.push(encoding as u8),
        }
        if let Some(since) = self.missing_since {
            octets.extend_from_slice(&since.to_le_bytes());
        }
    }
}

impl Count {
    /// The canonical length, if it is known. An encoded message counts as its file: it cannot be had anyway.
    pub const fn octets(self, stored: u64) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Claimed(octets) | Self::Measured(Measured { octets, .. }) => Some(octets),
            Self::Encoded(_) => Some(stored),
        }
    }
}

/// Appends octets behind their number; file names have at most 255 and unique-ids 70.
fn push_short(short: &[u8], octets: &mut Vec<u8>) {
    let length = u8::try_from(short.len()).unwrap_or(u8::MAX);
    octets.push(length);
    octets.extend_from_slice(&short[..length.into()]);
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn slice(&mut self, octets: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(octets)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> State {
        let measured = |octets, form| Count::Measured(Measured { octets, form });
        let counts = [
            Count::Unknown,
            Count::Claimed(12),
            measured(13, Form::Wire),
            measured(14, Form::Crlf),
            measured(u64::MAX, Form::Local),
            Count::Encoded(Encoding::MailCrypt),
        ];
        let records = counts.into_iter().zip(0u64..).map(|(count, n)| {
            let odd = n % 2 == 1;
            let base = if odd { format!("odd name {n}\n,S=5") } else { format!("{n},S=5") };
            let base: Box<[u8]> = base.into_bytes().into();
            let id = name::unique_id(&base, |_| false);
            Record { base, id, stored: n, modified_ns: -5, count, missing_since: odd.then_some(n) }
        });
        State { records: records.collect() }
    }

    #[test]
    fn what_is_written_is_read() {
        let state = sample();
        assert_eq!(State::parse(&state.to_octets()), Ok(state));
    }

    #[test]
    fn any_damage_is_noticed() {
        let octets = sample().to_octets();
        for at in 0..octets.len() {
            for bit in [1, 0x80] {
                let mut damaged = octets.clone();
                damaged[at] ^= bit;
                assert!(State::parse(&damaged).is_err(), "octet {at}");
            }
            assert!(State::parse(&octets[..at]).is_err(), "cut at {at}");
        }
        for (head, error) in [
            (&b"restante-index 2\n"[..], StateError::Version),
            (b"restante-index 10\nwhatever", StateError::Version),
            (b"restante-index 2", StateError::Head),
            (b"restante-index \n", StateError::Head),
            (b"restante-index x\n", StateError::Head),
        ] {
            assert_eq!(State::parse(head), Err(error));
        }
        assert_eq!(State::parse(b""), Err(StateError::Head));
    }

    #[test]
    fn damage_under_a_right_checksum_is_an_error_and_no_panic() {
        let octets = sample().to_octets();
        let body = &octets[..octets.len() - CHECKSUM_OCTETS];
        for at in HEAD.len()..body.len() {
            for value in [0, 1, 0x3a, 0x7f, 0xff] {
                let mut changed = body.to_vec();
                changed[at] = value;
                // Whatever comes out, what it says can be written and read again.
                if let Ok(state) = State::parse(&State::seal(changed)) {
                    assert_eq!(State::parse(&state.to_octets()), Ok(state));
                }
            }
            assert!(State::parse(&State::seal(body[..at].to_vec())).is_err(), "cut at {at}");
        }
        let mut longer = body.to_vec();
        longer.push(0);
        assert_eq!(State::parse(&State::seal(longer)), Err(StateError::Trailing));
    }

    #[test]
    fn a_count_that_lies_reserves_nothing() {
        let mut body = HEAD.to_vec();
        body.extend_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(State::parse(&State::seal(body)), Err(StateError::Record(0)));
    }

    #[test]
    fn names_and_ids_that_repeat_are_damage() {
        let mut state = sample();
        let twin = Record { base: (*b"another").into(), ..state.records[0].clone() };
        state.records.push(twin);
        assert_eq!(State::parse(&state.to_octets()), Err(StateError::Repeated(6)));
    }
}
