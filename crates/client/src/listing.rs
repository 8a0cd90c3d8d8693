//! STAT, LIST and UIDL made one list, and doubted: what contradicts itself is left out and told.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use restante_proto::{MessageNumber, UniqueId, reply::printable};
use sha2::{Digest as _, Sha256};

/// How many doubts are told one by one.
const DOUBTS_MAX: usize = 50;

/// How many messages a maildrop may have here; what a server claims beyond that is not believed.
const MESSAGES_MAX: u32 = 2_000_000;

/// How many more lines than messages LIST and UIDL may have, all nonsense included.
const LINES_BEYOND_MAX: u64 = 1000;

/// What a server has, as far as it can be believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    entries: Vec<Entry>,
    /// What STAT said of the octets of all messages together, if it was a number.
    pub octets: Option<u64>,
    /// Whether the server told unique-ids.
    pub has_unique_ids: bool,
    /// What cannot be believed; the first of them.
    pub doubts: Vec<Doubt>,
}

/// A message that the server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in this session.
    pub number: MessageNumber,
    /// Its length in octets, as LIST told it; servers err, and RETR says what it really is.
    pub octets: Option<u64>,
    /// Its unique-id, if it has one that can be believed. One that is longer than RFC 1939 allows, or holds other octets than
    /// it allows, is replaced by a `~` and the hexadecimal of its SHA-256. An id that several messages have stays with each.
    pub id: Option<UniqueId>,
}

/// Something in a listing that cannot be right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// The answer to STAT is not two numbers.
    Stat(String),
    /// A line of LIST or UIDL (the verb's word) does not begin with a message number, or is else malformed.
    Line(&'static str, String),
    /// LIST or UIDL tells of more messages than STAT; those are left for the next session.
    BeyondStat(&'static str, u32),
    /// LIST or UIDL tells of a message twice; the first counts.
    Twice(&'static str, MessageNumber),
    /// LIST or UIDL tells of fewer messages than STAT.
    Fewer(&'static str, u32),
    /// A message has an empty unique-id.
    EmptyId(MessageNumber),
    /// A message has a unique-id that RFC 1939 does not allow.
    IllegalId(MessageNumber),
    /// These two messages have the same unique-id.
    SameId(MessageNumber, MessageNumber),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stat(said) => write!(f, "the answer to STAT is not two numbers: «{said}»"),
            Self::Line(verb, said) => write!(f, "a line of {verb} makes no sense: «{said}»"),
            Self::BeyondStat(verb, number) => {
                write!(f, "{verb} tells of message {number}, which STAT does not count")
            }
            Self::Twice(verb, number) => write!(f, "{verb} tells of message {number} twice"),
            Self::Fewer(verb, missing) => write!(f, "{verb} leaves out {missing} messages that STAT counts"),
            Self::EmptyId(number) => write!(f, "message {number} has an empty unique-id"),
            Self::IllegalId(number) => {
                write!(f, "the unique-id of message {number} is longer than 70 octets, or holds illegal ones")
            }
            Self::SameId(a, b) => write!(f, "messages {a} and {b} have the same unique-id"),
        }
    }
}

impl Listing {
    /// The messages, by number.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The numbers of all messages, for [`crate::Client::messages`].
    pub fn numbers(&self) -> impl ExactSizeIterator<Item = MessageNumber> + '_ {
        self.entries.iter().map(|entry| entry.number)
    }

    /// How many messages there are.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// How many messages are believed in that STAT counts and nothing lists.
const UNLISTED_MAX: u32 = 100_000;

/// A listing in the making. Memory follows the lines that came, never the numbers in them.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    count: Option<u32>,
    octets: Option<u64>,
    sizes: Option<BTreeMap<u32, Option<u64>>>,
    ids: Option<BTreeMap<u32, Option<UniqueId>>>,
    doubts: Vec<Doubt>,
}

impl Gather {
    pub(crate) fn stat(&mut self, text: &str) {
        let mut words = text.split_ascii_whitespace();
        let (count, octets) = (words.next().and_then(count), words.next());
        if count.is_none() || octets.and_then(decimal).is_none() {
            self.doubt(Doubt::Stat(shorten(text)));
        }
        self.count = count;
        self.octets = octets.and_then(decimal);
    }

    /// LIST was answered, though it may have had no lines.
    pub(crate) fn begin_sizes(&mut self) {
        self.sizes.get_or_insert_default();
    }

    /// UIDL was answered, though it may have had no lines.
    pub(crate) fn begin_ids(&mut self) {
        self.ids.get_or_insert_default();
    }

    /// How many lines LIST and UIDL may have.
    pub(crate) fn lines_max(&self) -> u64 {
        u64::from(self.count.unwrap_or(MESSAGES_MAX)) * 2 + LINES_BEYOND_MAX
    }

    /// Whether STAT counted no message.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == Some(0)
    }

    pub(crate) fn size(&mut self, line: &[u8]) {
        let Some((number, rest)) = self.numbered("LIST", line) else { return };
        let octets = rest
            .split(u8::is_ascii_whitespace)
            .next()
            .and_then(|word| str::from_utf8(word).ok())
            .and_then(decimal);
        let sizes = self.sizes.get_or_insert_default();
        match sizes.contains_key(&number.get()) {
            true => self.doubt(Doubt::Twice("LIST", number)),
            false => {
                sizes.insert(number.get(), octets);
                if octets.is_none() {
                    self.doubt(Doubt::Line("LIST", shorten(&String::from_utf8_lossy(line))));
                }
            }
        }
    }

    pub(crate) fn id(&mut self, line: &[u8]) {
        let Some((number, rest)) = self.numbered("UIDL", line) else { return };
        // Nothing may follow a unique-id. Where words do, they are part of it: two messages must not get the same for them.
        let word = rest.trim_ascii_end();
        let ids = self.ids.get_or_insert_default();
        if ids.contains_key(&number.get()) {
            return self.doubt(Doubt::Twice("UIDL", number));
        }
        let id = UniqueId::new(word);
        let doubt = match (&id, word.is_empty()) {
            (Some(_), _) => None,
            (None, true) => Some(Doubt::EmptyId(number)),
            (None, false) => Some(Doubt::IllegalId(number)),
        };
        let stand_in = || if word.is_empty() { None } else { stand_in(word) };
        ids.insert(number.get(), id.or_else(stand_in));
        doubt.into_iter().for_each(|doubt| self.doubt(doubt));
    }

    pub(crate) fn finish(mut self) -> Listing {
        let (sizes, ids) = (self.sizes.take(), self.ids.take());
        let told: BTreeSet<u32> =
            [sizes.as_ref().map(keys), ids.as_ref().map(keys)].into_iter().flatten().flatten().collect();
        // Without LIST and UIDL the count must do, within reason.
        let numbers: Vec<u32> = match (&ids, &sizes) {
            (None, None) => (1..=self.count.unwrap_or(0).min(UNLISTED_MAX)).collect(),
            // A message that one of them leaves out is there all the same.
            _ => told.into_iter().collect(),
        };
        for (verb, told) in
            [("LIST", sizes.as_ref().map(BTreeMap::len)), ("UIDL", ids.as_ref().map(BTreeMap::len))]
        {
            if let (Some(told), Some(count)) = (told, self.count) {
                let missing = count.saturating_sub(u32::try_from(told).unwrap_or(u32::MAX));
                if missing > 0 {
                    self.doubt(Doubt::Fewer(verb, missing));
                }
            }
        }
        let has_unique_ids = ids.is_some();
        let (sizes, mut ids) = (sizes.unwrap_or_default(), ids.unwrap_or_default());
        let entries: Vec<Entry> = numbers
            .into_iter()
            .filter_map(MessageNumber::new)
            .map(|number| Entry {
                number,
                octets: sizes.get(&number.get()).copied().flatten(),
                id: ids.remove(&number.get()).flatten(),
            })
            .collect();
        let mut first: HashMap<&str, MessageNumber> = HashMap::new();
        for entry in &entries {
            let Some(id) = &entry.id else { continue };
            let other = *first.entry(id.as_str()).or_insert(entry.number);
            if other != entry.number {
                self.doubt(Doubt::SameId(other, entry.number));
            }
        }
        Listing { entries, octets: self.octets, has_unique_ids, doubts: self.doubts }
    }

    /// The number at the front of a line, and what is behind it and one space.
    fn numbered<'a>(&mut self, verb: &'static str, line: &'a [u8]) -> Option<(MessageNumber, &'a [u8])> {
        let line = line.trim_ascii_start();
        let end = line.iter().position(|&octet| octet == b' ' || octet == b'\t').unwrap_or(line.len());
        let number =
            str::from_utf8(&line[..end]).ok().and_then(decimal).and_then(|number| u32::try_from(number).ok());
        let Some(number) = number.and_then(MessageNumber::new) else {
            self.doubt(Doubt::Line(verb, shorten(&String::from_utf8_lossy(line))));
            return None;
        };
        if number.get() > self.count.unwrap_or(MESSAGES_MAX) {
            self.doubt(Doubt::BeyondStat(verb, number.get()));
            return None;
        }
        // Some servers write columns.
        Some((number, line.get(end + 1..).unwrap_or_default().trim_ascii_start()))
    }

    fn doubt(&mut self, doubt: Doubt) {
        if self.doubts.len() < DOUBTS_MAX {
            self.doubts.push(doubt);
        }
    }
}

fn keys<T>(told: &BTreeMap<u32, T>) -> Vec<u32> {
    told.keys().copied().collect()
}

fn count(word: &str) -> Option<u32> {
    decimal(word).and_then(|count| u32::try_from(count).ok()).filter(|&count| count <= MESSAGES_MAX)
}

/// Decimal digits and nothing else; `parse` alone would take a sign.
pub(crate) fn decimal(word: &str) -> Option<u64> {
    word.parse().ok().filter(|_| word.bytes().all(|octet| octet.is_ascii_digit()))
}

/// A legal unique-id for an illegal one, always the same.
fn stand_in(octets: &[u8]) -> Option<UniqueId> {
    let digest: String = Sha256::digest(octets).iter().map(|octet| format!("{octet:02x}")).collect();
    UniqueId::new(format!("~{digest}").as_bytes())
}

/// What a server said, for a person: printable and short.
fn shorten(text: &str) -> String {
    printable(text, 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(stat: &str, list: &[&str], uidl: &[&str]) -> Listing {
        let mut gather = Gather::default();
        gather.stat(stat);
        gather.begin_sizes();
        list.iter().for_each(|line| gather.size(line.as_bytes()));
        gather.begin_ids();
        uidl.iter().for_each(|line| gather.id(line.as_bytes()));
        gather.finish()
    }

    fn shown(listing: &Listing) -> Vec<(u32, Option<u64>, Option<&str>)> {
        listing
            .entries()
            .iter()
            .map(|e| (e.number.get(), e.octets, e.id.as_ref().map(UniqueId::as_str)))
            .collect()
    }

    #[test]
    fn a_good_listing_has_no_doubts() {
        let listing = gather("2 320", &["1 120", "2 200"], &["1 a", "2 b"]);
        assert_eq!(shown(&listing), [(1, Some(120), Some("a")), (2, Some(200), Some("b"))]);
        assert_eq!((listing.octets, listing.has_unique_ids, listing.doubts.len()), (Some(320), true, 0));
    }

    #[test]
    fn what_contradicts_itself_is_left_out_and_told() {
        let listing = gather(
            "2 -5",
            &["1 120 extra", "1 7", "3 9", "0 1", "x", "2 99999999999999999999999"],
            &["2 b", "2 c", "9 z"],
        );
        assert_eq!(shown(&listing), [(1, Some(120), None), (2, None, Some("b"))]);
        let told: Vec<String> = listing.doubts.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 9, "{told:#?}");
        assert_eq!(listing.octets, None);
    }

    #[test]
    fn columns_are_read_and_what_one_of_the_lists_leaves_out_is_there() {
        let listing = gather("3 357", &["1  120", "2\t200", "3   37"], &["1  a", "2   b"]);
        assert_eq!(
            shown(&listing),
            [(1, Some(120), Some("a")), (2, Some(200), Some("b")), (3, Some(37), None)]
        );
        let mut unlisted = Gather::default();
        unlisted.stat("2000000 1");
        assert_eq!(unlisted.finish().len(), UNLISTED_MAX as usize);
    }

    #[test]
    fn odd_unique_ids_are_replaced_or_doubted() {
        let long = format!("2 {}", "x".repeat(71));
        let listing = gather("6 9", &[], &["1 ", &long, "3 \u{7f}", "4 a ", "5 a", "6 a b"]);
        let ids: Vec<_> = shown(&listing).into_iter().map(|(_, _, id)| id.map(str::to_owned)).collect();
        assert_eq!((&ids[0], &ids[3], &ids[4]), (&None, &Some("a".into()), &Some("a".into())));
        assert!(ids[1].as_ref().is_some_and(|id| id.starts_with('~') && id.len() == 65));
        assert!(ids[2].as_ref().is_some_and(|id| id.starts_with('~')) && ids[1] != ids[2]);
        assert!(ids[5].as_ref().is_some_and(|id| id.starts_with('~')));
        assert!(
            listing
                .doubts
                .contains(&Doubt::SameId(MessageNumber::new(4).unwrap(), MessageNumber::new(5).unwrap()))
        );
    }

    #[test]
    fn memory_follows_the_lines_and_not_the_numbers() {
        let listing = gather("4294967296 1", &["4294967295 1", "2000000 5"], &["2000000 a"]);
        assert_eq!(shown(&listing), [(2_000_000, Some(5), Some("a"))]);
        let endless: Vec<String> = (0..500).map(|_| "0 x".to_owned()).collect();
        let lines: Vec<&str> = endless.iter().map(String::as_str).collect();
        assert_eq!(gather("0 0", &lines, &[]).doubts.len(), DOUBTS_MAX);
    }
}
