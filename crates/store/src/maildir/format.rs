//! The state file of a Maildir as octets: a line with the version, then frames.
//!
//! The first frame says all; each later one what is new since, and is appended. A frame is its length, a checksum
//! (XXH3) over what follows, the stamps of both folders, places, records, and the text of their names; integers are
//! little-endian. Parsing is bounded by its input and never panics: what does not parse is rebuilt from the Maildir,
//! with the same unique-ids as far as they come from the names. A last frame that a crash cut is left out: what it
//! said is found again.

use std::collections::HashSet;

use twox_hash::XxHash3_64;

use super::{
    dir::Stamp,
    encoded::Encoding,
    name,
    scan::MESSAGES_MAX,
    state::{ALL_BITS, COUNT_MASK, HAS_ID, IS_MISSING, News, Record, State},
};

/// The first line of a state file of this version.
const HEAD: &[u8] = b"restante-index 2\n";

/// The first line of the versions before it, of which nothing is used.
const HEADS_OF_OLD: &[&[u8]] = &[b"restante-index 1\n"];

/// The beginning of the first line in every version.
const HEAD_OF_ANY_VERSION: &[u8] = b"restante-index ";

/// How many octets of a file tell its version, whatever it is.
pub(super) const HEAD_MAX_OCTETS: usize = 32;

/// How long a record and its names usually are, in octets, and somewhat more.
const RECORD_USUAL_OCTETS: u64 = 150;

/// The longest state file that is read or written, in octets: enough for as many messages as are shown.
pub(super) const STATE_MAX_OCTETS: u64 = MESSAGES_MAX as u64 * RECORD_USUAL_OCTETS;

/// The length and the checksum in front of a frame.
const FRAME_HEAD_OCTETS: usize = 8 + 8;

/// A place and a record.
const RECORD_OCTETS: usize = 4 + 4 * 8 + 2 * 4 + 4;

/// Why octets are no state file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It does not begin like one.
    #[error("the file is no state file")]
    Head,
    /// It is of an older version, of which nothing is used.
    #[error("the state file is of an older version")]
    Old,
    /// It is of a version that this program does not know.
    #[error("the state file is of another version")]
    Version,
    /// The first frame is cut, or its checksum is wrong.
    #[error("the checksum of the state file is wrong")]
    Checksum,
    /// A frame is cut, or holds what no frame can; counted from 0.
    #[error("frame {0} of the state file is damaged")]
    Frame(u32),
    /// A record holds what no record can.
    #[error("record {0} of the state file is damaged")]
    Record(u32),
    /// Two records have the same unique-id, or two messages that are there have the same name.
    #[error("record {0} of the state file repeats another one's name or unique-id")]
    Repeated(u32),
    /// Something follows the last whole frame.
    #[error("the state file goes on behind its last whole frame")]
    Trailing,
}

/// What could be read of a state file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Loaded {
    pub(super) state: State,
    /// How many octets of the file are the first frame and what stands before it.
    pub(super) first_octets: u64,
    /// How many octets are used: behind them stands nothing, or what a crash left.
    pub(super) used_octets: u64,
}

impl State {
    /// Parses the octets of a state file, all of them.
    pub fn parse(octets: &[u8]) -> Result<Self, StateError> {
        let loaded = Self::load(octets)?;
        if loaded.used_octets == octets.len() as u64 { Ok(loaded.state) } else { Err(StateError::Trailing) }
    }

    /// Parses as many frames as are whole.
    pub(super) fn load(octets: &[u8]) -> Result<Loaded, StateError> {
        Self::check_head(octets)?;
        let mut rest = octets.get(HEAD.len()..).ok_or(StateError::Head)?;
        let first = take_frame(&mut rest).ok_or(StateError::Checksum)?;
        let mut state = Self::default();
        state.apply(first, 0)?;
        let first_octets = (octets.len() - rest.len()) as u64;
        let mut used_octets = first_octets;
        let mut number = 1;
        while let Some(frame) = take_frame(&mut rest) {
            state.apply(frame, number)?;
            used_octets = (octets.len() - rest.len()) as u64;
            number += 1;
        }
        state.check_unique()?;
        Ok(Loaded { state, first_octets, used_octets })
    }

    /// Whether a file that begins with these octets, [`HEAD_MAX_OCTETS`] or all of them, is a state file of this version.
    pub(super) fn check_head(start: &[u8]) -> Result<(), StateError> {
        if start.starts_with(HEAD) {
            return Ok(());
        }
        if HEADS_OF_OLD.iter().any(|head| start.starts_with(head)) {
            return Err(StateError::Old);
        }
        let version = start.strip_prefix(HEAD_OF_ANY_VERSION).unwrap_or_default();
        let digits = version.iter().take_while(|octet| octet.is_ascii_digit()).count();
        Err(if digits > 0 && version.get(digits) == Some(&b'\n') {
            StateError::Version
        } else {
            StateError::Head
        })
    }

    /// Takes in what a frame says.
    fn apply(&mut self, frame: &[u8], number: u32) -> Result<(), StateError> {
        let damaged = StateError::Frame(number);
        let mut rest = Rest(frame);
        let stamps = [rest.stamp().ok_or(damaged)?, rest.stamp().ok_or(damaged)?];
        self.stamps = stamps;
        let count = rest.take().map(u32::from_le_bytes).ok_or(damaged)? as usize;
        // A count that lies must not reserve more than the file itself could hold.
        let octets = count.checked_mul(RECORD_OCTETS).ok_or(damaged)?;
        let (records, text) = rest.0.split_at_checked(octets).ok_or(damaged)?;
        let base_at = self.text.len();
        if u32::try_from(base_at + text.len()).is_err() {
            return Err(damaged);
        }
        self.text.extend_from_slice(text);
        self.records.reserve(if self.records.is_empty() { count } else { 0 });
        for record in records.chunks_exact(RECORD_OCTETS) {
            let mut rest = Rest(record);
            let place = rest.take().map(u32::from_le_bytes).ok_or(damaged)?;
            let record = rest.record(base_at, text).ok_or(StateError::Record(place))?;
            let next = self.records.len();
            match self.records.get_mut(place as usize) {
                Some(known) => {
                    self.waste += known.text_octets();
                    *known = record;
                }
                None if place as usize == next && next < RECORDS_MAX => self.records.push(record),
                None => return Err(StateError::Record(place)),
            }
        }
        Ok(())
    }

    fn check_unique(&self) -> Result<(), StateError> {
        let (mut bases, mut ids) = (HashSet::with_capacity(self.len()), HashSet::with_capacity(self.len()));
        for (known, number) in self.iter().zip(0..) {
            // The name of a message that is missing may be another one's by now.
            let repeated = known.missing_since.is_none() && !bases.insert(known.base);
            if repeated || !ids.insert(known.id) {
                return Err(StateError::Repeated(number));
            }
        }
        Ok(())
    }

    /// The octets of a state file that says all.
    pub fn to_octets(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(HEAD.len() + 256 + self.len() * RECORD_OCTETS + self.text.len());
        octets.extend_from_slice(HEAD);
        let all = 0..u32::try_from(self.len()).unwrap_or(u32::MAX);
        self.write_frame(all, &mut octets);
        octets
    }

    /// Whether some unique-id is told by the state file alone, and not by the names.
    pub(super) fn has_own_ids(&self) -> bool {
        self.records.iter().any(Record::has_own_id)
    }

    /// The frame that says what is new.
    pub(super) fn news_to_octets(&self) -> Vec<u8> {
        let News { places, .. } = &self.news;
        let mut places = places.clone();
        places.sort_unstable();
        places.dedup();
        let mut octets = Vec::with_capacity(256 + places.len() * (RECORD_OCTETS + 64));
        self.write_frame(places.into_iter(), &mut octets);
        octets
    }

    fn write_frame(&self, places: impl ExactSizeIterator<Item = u32>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; FRAME_HEAD_OCTETS]);
        for stamp in &self.stamps {
            write_stamp(*stamp, out);
        }
        let count = u32::try_from(places.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_le_bytes());
        let mut text = Vec::new();
        for place in places {
            let record = &self.records[place as usize];
            let text_at = u32::try_from(text.len()).unwrap_or(u32::MAX);
            text.extend_from_slice(&self.text[record.text_at as usize..][..record.text_octets()]);
            let mut octets = [0; RECORD_OCTETS];
            octets[0..4].copy_from_slice(&place.to_le_bytes());
            octets[4..12].copy_from_slice(&record.octets.to_le_bytes());
            octets[12..20].copy_from_slice(&record.stored.to_le_bytes());
            octets[20..28].copy_from_slice(&record.modified_ns.to_le_bytes());
            octets[28..36].copy_from_slice(&record.inode.to_le_bytes());
            octets[36..40].copy_from_slice(&record.missing_since.to_le_bytes());
            octets[40..44].copy_from_slice(&text_at.to_le_bytes());
            octets[44..48].copy_from_slice(&[
                record.base_octets,
                record.suffix_octets,
                record.id_octets,
                record.bits,
            ]);
            out.extend_from_slice(&octets);
        }
        out.extend_from_slice(&text);
        seal_frame(&mut out[start..]);
    }

    /// Makes frames of these octets as they are, each behind its length and its right checksum: for tests of what
    /// stands under a checksum.
    #[doc(hidden)]
    pub fn seal(frames: &[&[u8]]) -> Vec<u8> {
        let mut octets = HEAD.to_vec();
        for frame in frames {
            let start = octets.len();
            octets.extend_from_slice(&[0; FRAME_HEAD_OCTETS]);
            octets.extend_from_slice(frame);
            seal_frame(&mut octets[start..]);
        }
        octets
    }
}

/// The most records, missing ones included.
const RECORDS_MAX: usize = MESSAGES_MAX + super::snapshot::MISSING_NAMES_MAX;

fn seal_frame(frame: &mut [u8]) {
    let Some((head, body)) = frame.split_first_chunk_mut::<FRAME_HEAD_OCTETS>() else { return };
    head[..8].copy_from_slice(&(body.len() as u64).to_le_bytes());
    head[8..].copy_from_slice(&XxHash3_64::oneshot(body).to_le_bytes());
}

/// The next frame, if there is a whole one with the right checksum.
fn take_frame<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut octets = Rest(rest);
    let length = usize::try_from(octets.take().map(u64::from_le_bytes)?).ok()?;
    let checksum = octets.take().map(u64::from_le_bytes)?;
    let (body, behind) = octets.0.split_at_checked(length)?;
    // Octets that are all zero are what some file systems show for what was not written before a crash.
    if length == 0 || XxHash3_64::oneshot(body) != checksum {
        return None;
    }
    *rest = behind;
    Some(body)
}

fn write_stamp(stamp: Option<Stamp>, out: &mut Vec<u8>) {
    out.push(stamp.is_some().into());
    let Stamp { inode, modified_ns, changed_ns } = stamp.unwrap_or_default();
    out.extend_from_slice(&inode.to_le_bytes());
    out.extend_from_slice(&modified_ns.to_le_bytes());
    out.extend_from_slice(&changed_ns.to_le_bytes());
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn stamp(&mut self) -> Option<Option<Stamp>> {
        let [there] = self.take()?;
        let inode = self.take().map(u64::from_le_bytes)?;
        let modified_ns = self.take().map(i64::from_le_bytes)?;
        let changed_ns = self.take().map(i64::from_le_bytes)?;
        let stamp = Stamp { inode, modified_ns, changed_ns };
        match there {
            0 => (stamp == Stamp::default()).then_some(None),
            1 => Some(Some(stamp)),
            _ => None,
        }
    }

    /// A record whose names stand in `text`, which is put at `base_at` of the state's.
    fn record(&mut self, base_at: usize, text: &[u8]) -> Option<Record> {
        let octets = self.take().map(u64::from_le_bytes)?;
        let stored = self.take().map(u64::from_le_bytes)?;
        let modified_ns = self.take().map(i64::from_le_bytes)?;
        let inode = self.take().map(u64::from_le_bytes)?;
        let missing_since = self.take().map(u32::from_le_bytes)?;
        let text_at = self.take().map(u32::from_le_bytes)?;
        let [base_octets, suffix_octets, id_octets, bits] = self.take()?;
        let mut record = Record {
            octets,
            stored,
            modified_ns,
            inode,
            missing_since,
            text_at,
            base_octets,
            suffix_octets,
            id_octets,
            bits,
        };
        // All of its names, before any of them is looked at.
        text.get(text_at as usize..)?.get(..record.text_octets())?;
        let (base, suffix) = (record.base(text), record.suffix(text));
        let counted = match bits & COUNT_MASK {
            0 => octets == 0,
            1..=4 => true,
            5 => u8::try_from(octets).ok().and_then(Encoding::from_code).is_some(),
            _ => false,
        };
        let sound = bits & !ALL_BITS == 0
            && counted
            && (bits & IS_MISSING != 0 || missing_since == 0)
            && (bits & HAS_ID != 0 || id_octets <= base_octets)
            && name::is_base(base)
            && name::is_suffix(suffix)
            && name::is_unique_id(record.id_raw(text))
            && (bits & HAS_ID == 0)
                == (base.starts_with(record.id_raw(text)) && &*name::stem(base) == record.id_raw(text));
        record.text_at = u32::try_from(base_at + text_at as usize).ok()?;
        sound.then_some(record)
    }
}

#[cfg(test)]
mod tests;
