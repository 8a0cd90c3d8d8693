//! What a maildrop is made of: three number systems, three types.
//!
//! [`MessageNumber`] is the wire's (1-based, `u32`), an *index* is ours (0-based `usize` or `u32`), and a
//! [`UniqueId`] is the client's. [`Marks`] are the deletion marks of one session (RFC 1939 §5, DELE and RSET).

use alloc::{boxed::Box, string::String, vec, vec::Vec};
use core::{fmt, num::NonZeroU32};

/// The number of a message in a session: 1 and up, fixed from login to QUIT (RFC 1939 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageNumber(NonZeroU32);

impl MessageNumber {
    /// The first message.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The message with this number; `None` for 0, which is no message.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number of the message at this 0-based index; `None` past the last number there is.
    pub const fn from_index(index: u32) -> Option<Self> {
        match index.checked_add(1) {
            Some(number) => Self::new(number),
            None => None,
        }
    }

    /// The number as it stands on the wire.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The 0-based index of the message.
    pub const fn index(self) -> u32 {
        self.0.get() - 1
    }
}

impl fmt::Display for MessageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The longest unique-id, in octets (RFC 1939 §7, UIDL).
pub const UNIQUE_ID_MAX_OCTETS: usize = 70;

/// The unique-id of a message: 1 to 70 octets of 0x21–0x7E (RFC 1939 §7, UIDL).
///
/// ```
/// use restante_proto::UniqueId;
/// assert_eq!(UniqueId::new(b"390953946").unwrap().as_str(), "390953946");
/// assert!(UniqueId::new(b"").is_none());
/// assert!(UniqueId::new(b"two words").is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UniqueId(Box<str>);

impl UniqueId {
    /// The unique-id of these octets, or `None` where the RFC forbids them.
    pub fn new(octets: &[u8]) -> Option<Self> {
        if !is_unique_id(octets) {
            return None;
        }
        let text = core::str::from_utf8(octets).ok()?;
        Some(Self(Box::from(text)))
    }

    /// The id as text; it is ASCII.
    pub const fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_unique_id(octets: &[u8]) -> bool {
    matches!(octets.len(), 1..=UNIQUE_ID_MAX_OCTETS)
        && octets.iter().all(|octet| matches!(octet, 0x21..=0x7e))
}

/// A run of unique-ids, packed: a page of a UIDL listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UniqueIds {
    text: String,
    ends: Vec<u32>,
}

impl UniqueIds {
    /// An empty page with room for so many ids of so many octets in all.
    pub fn with_capacity(ids: usize, octets: usize) -> Self {
        Self { text: String::with_capacity(octets), ends: Vec::with_capacity(ids) }
    }

    /// Appends an id.
    pub fn push(&mut self, id: &UniqueId) {
        self.text.push_str(id.as_str());
        // A page is bounded far below 4 GiB; a longer one would be cut here rather than wrap.
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }

    /// Appends the id of these octets, or nothing where the RFC forbids them: as [`UniqueId::new`] and [`Self::push`],
    /// without a value of its own for each id.
    pub fn push_octets(&mut self, octets: &[u8]) -> bool {
        let id = if is_unique_id(octets) { core::str::from_utf8(octets).ok() } else { None };
        if let Some(id) = id {
            self.text.push_str(id);
            self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        }
        id.is_some()
    }

    /// The number of ids.
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The id at this place of the page.
    pub fn get(&self, place: usize) -> Option<&str> {
        let (octets, len) = self.octets_from(place)?;
        core::str::from_utf8(&octets[..len]).ok()
    }

    /// The octets from the id at this place to the end of the page, and how many of them are the id's.
    pub(crate) fn octets_from(&self, place: usize) -> Option<(&[u8], usize)> {
        let end = *self.ends.get(place)? as usize;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        let octets = self.text.as_bytes().get(start..)?;
        let len = end.checked_sub(start).filter(|&len| len <= octets.len())?;
        Some((octets, len))
    }

    /// The ids in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|place| self.get(place))
    }
}

impl<'a> FromIterator<&'a UniqueId> for UniqueIds {
    fn from_iter<I: IntoIterator<Item = &'a UniqueId>>(ids: I) -> Self {
        let ids = ids.into_iter();
        let mut page = Self { text: String::new(), ends: Vec::with_capacity(ids.size_hint().0) };
        ids.for_each(|id| page.push(id));
        page
    }
}

/// Which messages of a drop are marked as deleted; one bit a message, allocated at the first mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    words: Box<[u64]>,
    count: u32,
}

impl Marks {
    /// Marks the message at `index` of a drop of `messages`; `false` if it was marked already or is not there.
    pub fn mark(&mut self, index: u32, messages: u32) -> bool {
        if index >= messages || self.is_marked(index) {
            return false;
        }
        let needed = (messages as usize).div_ceil(64);
        if self.words.len() < needed {
            let mut words = vec![0; needed];
            words[..self.words.len()].copy_from_slice(&self.words);
            self.words = words.into_boxed_slice();
        }
        self.words[index as usize / 64] |= 1 << (index % 64);
        self.count += 1;
        true
    }

    /// Whether the message at `index` is marked.
    pub fn is_marked(&self, index: u32) -> bool {
        self.words.get(index as usize / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// How many messages are marked.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Takes every mark away (RSET).
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The marked indices, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().zip(0u32..).flat_map(|(&word, place)| {
            let mut rest = word;
            core::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros();
                    rest &= rest - 1;
                    place * 64 + bit
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_remember_exactly_what_was_marked() {
        let mut marks = Marks::default();
        assert!(marks.mark(0, 200) && marks.mark(63, 200) && marks.mark(64, 200) && marks.mark(199, 200));
        assert!(!marks.mark(64, 200), "marked twice");
        assert!(!marks.mark(200, 200), "past the end");
        assert_eq!(marks.iter().collect::<Vec<_>>(), [0, 63, 64, 199]);
        assert_eq!(marks.count(), 4);
        marks.clear();
        assert_eq!(marks.iter().count(), 0);
    }

    #[test]
    fn unique_ids_are_bounded_by_the_rfc() {
        assert!(UniqueId::new(&[b'x'; 70]).is_some());
        assert!(UniqueId::new(&[b'x'; 71]).is_none());
        assert!(UniqueId::new(b"\x7f").is_none() && UniqueId::new(b" ").is_none());
        let page: UniqueIds = [b"a".as_slice(), b"bc"]
            .into_iter()
            .filter_map(UniqueId::new)
            .collect::<Vec<_>>()
            .iter()
            .collect();
        assert_eq!(page.iter().collect::<Vec<_>>(), ["a", "bc"]);
        assert_eq!(page.get(2), None);
        let mut pushed = UniqueIds::with_capacity(2, 3);
        assert!(pushed.push_octets(b"a") && pushed.push_octets(b"bc"));
        assert!(!pushed.push_octets(b"") && !pushed.push_octets(b"a b") && !pushed.push_octets(&[b'x'; 71]));
        assert_eq!(pushed, page);
    }
}
