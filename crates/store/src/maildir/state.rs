//! What is remembered of a Maildir between sessions: each message's name, place, length, form and unique-id, in the
//! order of first sight.
//!
//! Packed: one record of 48 octets a message, and one text that holds all names, so that a drop of a million messages
//! is two allocations. As octets of a file it is `format.rs`; what a look into the folders changes is `snapshot.rs`.

use restante_proto::{
    UniqueId,
    body::{Form, Measured},
};

use super::{
    dir::{Place, Stamp},
    name,
};
pub use super::{encoded::Encoding, format::StateError};

/// What is known of the messages of a Maildir.
///
/// ```
/// use restante_store::maildir::state::{State, StateError};
/// let empty = State::default();
/// assert_eq!(State::parse(&empty.to_octets()), Ok(empty));
/// assert_eq!(State::parse(b"something else"), Err(StateError::Head));
/// ```
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) records: Vec<Record>,
    /// Each record's base, suffix, and unique-id where that is not the beginning of the base.
    pub(super) text: Vec<u8>,
    /// How many octets of `text` belong to no record any more.
    pub(super) waste: usize,
    /// What new/ and cur/ were like when they were read last; `None` where they must be read again.
    pub(super) stamps: [Option<Stamp>; 2],
    pub(super) news: News,
}

/// What the state file does not say yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// The records that are new or changed; a place may stand twice.
    pub(super) places: Vec<u32>,
    /// Other stamps.
    pub(super) stamps: bool,
    /// Records went away, so that all places are others.
    pub(super) renumbered: bool,
    /// A unique-id was given that the names alone would not tell again.
    pub(super) own_ids: bool,
}

/// No file's inode: the file has to be looked at when it is seen.
pub(super) const NO_INODE: u64 = 0;

/// So much text, in octets, and half of it all, may belong to no record before it is freed.
const WASTE_MAX_OCTETS: usize = 64 * 1024;

/// One message, packed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) octets: u64,
    pub(super) stored: u64,
    pub(super) modified_ns: i64,
    pub(super) inode: u64,
    pub(super) missing_since: u32,
    pub(super) text_at: u32,
    pub(super) base_octets: u8,
    pub(super) suffix_octets: u8,
    pub(super) id_octets: u8,
    pub(super) bits: u8,
}

const _: () = assert!(size_of::<Record>() == 48);

pub(super) const COUNT_MASK: u8 = 0x07;
/// The unique-id is not the stem of the base, or the base does not begin with that.
pub(super) const HAS_ID: u8 = 0x08;
pub(super) const IS_MISSING: u8 = 0x10;
pub(super) const IN_CUR: u8 = 0x20;
pub(super) const ALL_BITS: u8 = COUNT_MASK | HAS_ID | IS_MISSING | IN_CUR;

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

/// What tells whether a file is the one that was counted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Its size in octets.
    pub stored: u64,
    /// When it was last written, in nanoseconds since 1970.
    pub modified_ns: i64,
}

/// What is remembered of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known<'a> {
    /// Its file's name up to the `:`; 1 to 255 octets.
    pub base: &'a [u8],
    /// Its unique-id, given at first sight.
    pub id: &'a str,
    /// The size and time of its file. They tell whether `count` still holds.
    pub facts: Facts,
    /// What is known of its length and form.
    pub count: Count,
    /// Since when, in seconds since 1970, the file is missing; `None` while it is there.
    pub missing_since: Option<u64>,
}

/// Where a message's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Located<'a> {
    pub(super) place: Place,
    /// The file's name from the `:` on, or nothing.
    pub(super) suffix: &'a [u8],
    /// The file's inode, as its folder tells it.
    pub(super) inode: u64,
}

impl State {
    /// How many messages are remembered, missing ones included.
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is remembered.
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What is remembered, in the order of first sight.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Known<'_>> {
        self.records.iter().map(|record| Known {
            base: record.base(&self.text),
            id: record.id(&self.text),
            facts: record.facts(),
            count: record.count(),
            missing_since: record.missing(),
        })
    }

    pub(super) fn base(&self, place: usize) -> &[u8] {
        self.records[place].base(&self.text)
    }

    pub(super) fn id(&self, place: usize) -> &str {
        self.records[place].id(&self.text)
    }

    pub(super) fn facts(&self, place: usize) -> Facts {
        self.records[place].facts()
    }

    pub(super) fn count(&self, place: usize) -> Count {
        self.records[place].count()
    }

    /// Where a message's file was seen last; `None` for one that is missing.
    pub(super) fn located(&self, place: usize) -> Option<Located<'_>> {
        let record = &self.records[place];
        (!record.is_missing()).then(|| Located {
            place: record.place(),
            suffix: record.suffix(&self.text),
            inode: record.inode,
        })
    }

    /// A message's file name as it was seen last.
    pub(super) fn file_name(&self, place: usize) -> &[u8] {
        let record = &self.records[place];
        let octets = usize::from(record.base_octets) + usize::from(record.suffix_octets);
        &self.text[record.text_at as usize..][..octets]
    }

    /// The places of the messages that are there.
    pub(super) fn there(&self) -> Vec<u32> {
        let there = self.records.iter().zip(0u32..).filter(|(record, _)| !record.is_missing());
        let mut places = Vec::with_capacity(self.records.len());
        places.extend(there.map(|(_, place)| place));
        places
    }

    /// Whether the state file says something else.
    pub(super) fn is_dirty(&self) -> bool {
        let News { places, stamps, renumbered, own_ids: _ } = &self.news;
        !places.is_empty() || *stamps || *renumbered
    }

    fn changed(&mut self, place: usize) {
        // `MESSAGES_MAX` and `MISSING_NAMES_MAX` keep the number far below.
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        if self.news.places.last() != Some(&place) {
            self.news.places.push(place);
        }
    }

    /// Takes a message in that is seen for the first time.
    pub(super) fn push(
        &mut self,
        base: &[u8],
        id: &UniqueId,
        located: Located<'_>,
        facts: Facts,
        count: Count,
    ) {
        let place = self.records.len();
        let mut record = Record {
            octets: 0,
            stored: facts.stored,
            modified_ns: facts.modified_ns,
            inode: located.inode,
            missing_since: 0,
            text_at: 0,
            base_octets: 0,
            suffix_octets: 0,
            id_octets: 0,
            bits: 0,
        };
        record.set_count(count);
        record.set_place(located.place);
        self.write_text(&mut record, base, located.suffix, id.as_str().as_bytes());
        self.records.push(record);
        self.changed(place);
    }

    /// Puts a record's names at the end of the text.
    fn write_text(&mut self, record: &mut Record, base: &[u8], suffix: &[u8], id: &[u8]) {
        let own = !base.starts_with(id) || &*name::stem(base) != id;
        let octets = base.len() + suffix.len() + if own { id.len() } else { 0 };
        if u32::try_from(self.text.len() + octets).is_err() {
            self.compact();
        }
        // Names of 5 million messages, each as long as it may be, and as much waste.
        record.text_at = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        self.text.extend_from_slice(base);
        self.text.extend_from_slice(suffix);
        if own {
            self.text.extend_from_slice(id);
        }
        // A file's name has at most 255 octets, a unique-id 70.
        let short = |part: &[u8]| u8::try_from(part.len()).unwrap_or(u8::MAX);
        (record.base_octets, record.suffix_octets, record.id_octets) =
            (short(base), short(suffix), short(id));
        record.bits = record.bits & !HAS_ID | if own { HAS_ID } else { 0 };
    }

    /// Frees the text of what is no record's any more.
    pub(super) fn compact(&mut self) {
        let mut text = Vec::with_capacity(self.text.len().saturating_sub(self.waste));
        for record in &mut self.records {
            let octets = record.text_octets();
            let at = text.len();
            text.extend_from_slice(&self.text[record.text_at as usize..][..octets]);
            record.text_at = u32::try_from(at).unwrap_or(u32::MAX);
        }
        (self.text, self.waste) = (text, 0);
    }

    /// Takes note of where a message's file is by now, and under which name.
    pub(super) fn relocate(&mut self, place: usize, base: &[u8], located: Located<'_>) {
        let was = &self.records[place];
        let same_name = was.base(&self.text) == base && was.suffix(&self.text) == located.suffix;
        if same_name && !was.is_missing() && (was.place(), was.inode) == (located.place, located.inode) {
            return;
        }
        let mut record = *was;
        if !same_name {
            let id = record.id(&self.text).to_owned();
            let waste = record.text_octets();
            self.write_text(&mut record, base, located.suffix, id.as_bytes());
            self.waste += waste;
        }
        record.set_place(located.place);
        record.inode = located.inode;
        record.missing_since = 0;
        record.bits &= !IS_MISSING;
        self.records[place] = record;
        self.changed(place);
        if self.waste > WASTE_MAX_OCTETS && self.waste > self.text.len() / 2 {
            self.compact();
        }
    }

    /// Brings a message up to date with its file.
    pub(super) fn refresh(&mut self, place: usize, facts: Facts) {
        let (before, count) = (self.facts(place), self.count(place));
        if before == facts && count != Count::Unknown {
            return;
        }
        // If somebody wrote into the file, what was counted is void.
        let claimed = claim(self.base(place), facts.stored);
        if before != facts || claimed != count {
            self.measured(place, facts, claimed);
        }
    }

    /// Takes note of what is known of a message's length and form.
    pub(super) fn measured(&mut self, place: usize, facts: Facts, count: Count) {
        if (self.facts(place), self.count(place)) == (facts, count) {
            return;
        }
        let record = &mut self.records[place];
        (record.stored, record.modified_ns) = (facts.stored, facts.modified_ns);
        record.set_count(count);
        self.changed(place);
    }

    /// Takes note that a message's file is missing.
    pub(super) fn missing(&mut self, place: usize, now: u64) {
        let record = &mut self.records[place];
        record.bits |= IS_MISSING;
        record.missing_since = u32::try_from(now).unwrap_or(u32::MAX);
        self.changed(place);
    }

    /// Lets go of the records for which `keep` says so.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Record) -> bool) {
        let mut waste = 0;
        self.records.retain(|record| {
            let kept = keep(record);
            waste += if kept { 0 } else { record.text_octets() };
            kept
        });
        if waste > 0 {
            self.waste += waste;
            self.news.renumbered = true;
        }
        if waste > 0 && self.waste > self.text.len() / 2 {
            self.compact();
        }
    }

    /// Takes note of what new/ and cur/ were like when they were read.
    pub(super) fn set_stamps(&mut self, stamps: [Option<Stamp>; 2]) {
        self.news.stamps |= self.stamps != stamps;
        self.stamps = stamps;
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.stamps == other.stamps
            && self.len() == other.len()
            && self.iter().eq(other.iter())
            && (0..self.len()).all(|place| self.located(place) == other.located(place))
    }
}

impl Eq for State {}

impl Record {
    fn slice<'a>(&self, text: &'a [u8], skip: usize, octets: u8) -> &'a [u8] {
        &text[self.text_at as usize + skip..][..usize::from(octets)]
    }

    pub(super) fn base<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        self.slice(text, 0, self.base_octets)
    }

    pub(super) fn suffix<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        self.slice(text, self.base_octets.into(), self.suffix_octets)
    }

    pub(super) fn id<'a>(&self, text: &'a [u8]) -> &'a str {
        // It was a `UniqueId`, which is ASCII.
        std::str::from_utf8(self.id_raw(text)).unwrap_or_default()
    }

    pub(super) fn id_raw<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let skip = if self.has_own_id() {
            usize::from(self.base_octets) + usize::from(self.suffix_octets)
        } else {
            0
        };
        self.slice(text, skip, self.id_octets)
    }

    /// How many octets of the text are the record's.
    pub(super) fn text_octets(&self) -> usize {
        let id = if self.has_own_id() { self.id_octets } else { 0 };
        usize::from(self.base_octets) + usize::from(self.suffix_octets) + usize::from(id)
    }

    pub(super) const fn has_own_id(&self) -> bool {
        self.bits & HAS_ID != 0
    }

    pub(super) const fn is_missing(&self) -> bool {
        self.bits & IS_MISSING != 0
    }

    pub(super) fn missing(&self) -> Option<u64> {
        self.is_missing().then(|| u64::from(self.missing_since))
    }

    pub(super) const fn place(&self) -> Place {
        if self.bits & IN_CUR == 0 { Place::New } else { Place::Cur }
    }

    const fn set_place(&mut self, place: Place) {
        self.bits = self.bits & !IN_CUR
            | match place {
                Place::New => 0,
                Place::Cur => IN_CUR,
            };
    }

    pub(super) const fn facts(&self) -> Facts {
        Facts { stored: self.stored, modified_ns: self.modified_ns }
    }

    /// The canonical length, if it is known.
    pub(super) fn known_octets(&self) -> Option<u64> {
        self.count().octets(self.stored)
    }

    pub(super) fn count(&self) -> Count {
        let measured = |form| Count::Measured(Measured { octets: self.octets, form });
        match self.bits & COUNT_MASK {
            1 => Count::Claimed(self.octets),
            2 => measured(Form::Wire),
            3 => measured(Form::Crlf),
            4 => measured(Form::Local),
            5 => u8::try_from(self.octets)
                .ok()
                .and_then(Encoding::from_code)
                .map_or(Count::Unknown, Count::Encoded),
            _ => Count::Unknown,
        }
    }

    const fn set_count(&mut self, count: Count) {
        let (bits, octets) = match count {
            Count::Unknown => (0, 0),
            Count::Claimed(octets) => (1, octets),
            Count::Measured(Measured { octets, form: Form::Wire }) => (2, octets),
            Count::Measured(Measured { octets, form: Form::Crlf }) => (3, octets),
            Count::Measured(Measured { octets, form: Form::Local }) => (4, octets),
            Count::Encoded(encoding) => (5, encoding as u64),
        };
        self.bits = self.bits & !COUNT_MASK | bits;
        self.octets = octets;
    }
}

/// What a name says of a message of so many octets as stored.
pub(super) fn claim(base: &[u8], stored: u64) -> Count {
    name::claimed_octets(base, stored).map_or(Count::Unknown, Count::Claimed)
}
