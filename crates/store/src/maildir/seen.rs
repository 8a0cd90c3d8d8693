//! What was seen in new/ and cur/, packed: each message once, by its base, and found by its base or by the names that
//! are akin to it. Pure; `scan.rs` fills it.

use std::hash::{BuildHasher, RandomState};

use super::{
    dir::Place,
    name,
    state::{Facts, Located, State},
};

/// No file, no record.
pub(super) const NONE: u32 = u32::MAX;

/// The files that were seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    files: Vec<File>,
    /// All bases and suffixes.
    text: Vec<u8>,
    /// The last file of each chain, by the hash of the first field of its base; as many as a power of two.
    heads: Vec<u32>,
    /// Differs in each process, so that names cannot be chosen to collide.
    hasher: RandomState,
    /// Some message was seen twice: it is in both folders.
    pub(super) doubles: bool,
}

#[derive(Clone, Copy, Debug)]
struct File {
    inode: u64,
    facts: Option<Facts>,
    text_at: usize,
    hash: u32,
    /// The file before it in its chain.
    next: u32,
    base_octets: u8,
    suffix_octets: u8,
    place: Place,
    is_message: bool,
}

/// How what was seen belongs to what is remembered.
#[derive(Debug, Default)]
pub(super) struct Join {
    /// For each record, the file with its base.
    pub(super) files: Vec<u32>,
    /// Files and records whose bases differ and begin with the same field: another program may have added sizes.
    pub(super) akin: Vec<(u32, u32)>,
    /// A message that should be in a folder that was read was not seen.
    pub(super) missing: bool,
}

impl Seen {
    pub(super) const fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn base(&self, file: u32) -> &[u8] {
        let file = &self.files[file as usize];
        &self.text[file.text_at..][..usize::from(file.base_octets)]
    }

    pub(super) fn located(&self, file: u32) -> Located<'_> {
        let file = &self.files[file as usize];
        let at = file.text_at + usize::from(file.base_octets);
        let suffix = &self.text[at..][..usize::from(file.suffix_octets)];
        Located { place: file.place, suffix, inode: file.inode }
    }

    pub(super) fn name(&self, file: u32) -> &[u8] {
        let file = &self.files[file as usize];
        &self.text[file.text_at..][..usize::from(file.base_octets) + usize::from(file.suffix_octets)]
    }

    /// The facts of a file, if it was looked at.
    pub(super) fn facts(&self, file: u32) -> Option<Facts> {
        self.files[file as usize].facts
    }

    pub(super) fn set_facts(&mut self, file: u32, facts: Facts) {
        self.files[file as usize].facts = Some(facts);
    }

    /// Takes note that a file is no message.
    pub(super) fn leave_out(&mut self, file: u32) {
        self.files[file as usize].is_message = false;
    }

    /// Whether a file is a message, as far as is known.
    pub(super) fn is_message(&self, file: u32) -> bool {
        self.files[file as usize].is_message
    }

    /// Takes a file in. Of two with one base the later one counts: mail moves from new/ to cur/.
    pub(super) fn insert(&mut self, base: &[u8], located: Located<'_>) {
        let before = self.find(base);
        let text_at = self.text.len();
        self.text.extend_from_slice(base);
        self.text.extend_from_slice(located.suffix);
        // The names of files have at most 255 octets.
        let short = |part: &[u8]| u8::try_from(part.len()).unwrap_or(u8::MAX);
        let hash = self.hash(base);
        let mut file = File {
            inode: located.inode,
            facts: None,
            text_at,
            hash,
            next: NONE,
            base_octets: short(base),
            suffix_octets: short(located.suffix),
            place: located.place,
            is_message: true,
        };
        if let Some(before) = before {
            let before = &mut self.files[before as usize];
            file.next = before.next;
            *before = file;
            self.doubles = true;
            return;
        }
        if self.files.len() >= self.heads.len() {
            self.grow();
        }
        let slot = self.slot(hash);
        file.next = self.heads[slot];
        self.heads[slot] = u32::try_from(self.files.len()).unwrap_or(NONE);
        self.files.push(file);
    }

    fn grow(&mut self) {
        self.heads = vec![NONE; (self.heads.len() * 2).max(16)];
        for number in 0..self.files.len() {
            let slot = self.slot(self.files[number].hash);
            self.files[number].next = self.heads[slot];
            self.heads[slot] = u32::try_from(number).unwrap_or(NONE);
        }
    }

    const fn slot(&self, hash: u32) -> usize {
        hash as usize & (self.heads.len() - 1)
    }

    fn hash(&self, base: &[u8]) -> u32 {
        // The upper half of a hash is as good as the whole.
        (self.hasher.hash_one(name::first_field(base)) >> 32) as u32
    }

    /// The files whose bases begin with the same field as this one.
    pub(super) fn akin(&self, base: &[u8]) -> impl Iterator<Item = u32> {
        let hash = self.hash(base);
        let mut at = if self.heads.is_empty() { NONE } else { self.heads[self.slot(hash)] };
        let next = std::iter::from_fn(move || {
            let file = (at != NONE).then_some(at)?;
            at = self.files[file as usize].next;
            Some(file)
        });
        let field = name::first_field(base);
        next.filter(move |&file| {
            self.files[file as usize].hash == hash && name::first_field(self.base(file)) == field
        })
    }

    /// The file with this base.
    pub(super) fn find(&self, base: &[u8]) -> Option<u32> {
        self.akin(base).find(|&file| self.base(file) == base)
    }

    /// Takes over what only an earlier look saw: a file that was renamed meanwhile may be missed by one of them.
    pub(super) fn complete(&mut self, earlier: &Self) {
        for file in 0..u32::try_from(earlier.len()).unwrap_or(NONE) {
            let was = &earlier.files[file as usize];
            let here = self.find(earlier.base(file));
            let here = here.unwrap_or_else(|| {
                self.insert(earlier.base(file), earlier.located(file));
                let here = u32::try_from(self.len() - 1).unwrap_or(NONE);
                self.files[here as usize].is_message = was.is_message;
                here
            });
            let here = &mut self.files[here as usize];
            here.facts = here.facts.or(was.facts);
        }
        self.doubles |= earlier.doubles;
    }

    /// Finds the file of each record; `read` says which folders were.
    pub(super) fn join(&self, known: &State, read: [bool; 2]) -> Join {
        let mut join = Join { files: vec![NONE; known.len()], ..Join::default() };
        for (place, record) in (0u32..).zip(&known.records) {
            let base = record.base(&known.text);
            for file in self.akin(base) {
                if self.base(file) == base {
                    join.files[place as usize] = file;
                } else {
                    join.akin.push((file, place));
                }
            }
            let unseen = join.files[place as usize] == NONE;
            join.missing |= unseen && !record.is_missing() && read[record.place() as usize];
        }
        join
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(inode: u64) -> Located<'static> {
        Located { place: Place::Cur, suffix: b":2,S", inode }
    }

    #[test]
    fn files_are_found_by_their_bases_and_their_kin() {
        let mut seen = Seen::default();
        assert_eq!((seen.find(b"1"), seen.akin(b"1").count()), (None, 0));
        for n in 0..1000u64 {
            seen.insert(format!("{n},S={n}").as_bytes(), located(n));
        }
        seen.insert(b"7", located(2000));
        assert!(!seen.doubles);
        for n in 0..1000u64 {
            let base = format!("{n},S={n}").into_bytes();
            let file = seen.find(&base).unwrap();
            assert_eq!((seen.base(file), seen.located(file).inode), (&*base, n));
            assert_eq!(seen.name(file), [&base, &b":2,S"[..]].concat());
            assert_eq!(seen.akin(&base).count(), if n == 7 { 2 } else { 1 });
        }
        assert_eq!((seen.find(b"8"), seen.akin(b"8").count()), (None, 1));
        seen.insert(b"8,S=8", Located { place: Place::New, suffix: b"", inode: 3000 });
        let file = seen.find(b"8,S=8").unwrap();
        assert_eq!((seen.located(file).inode, seen.len(), seen.doubles), (3000, 1001, true));
        assert_eq!(seen.akin(b"8,S=8").count(), 1);
    }

    #[test]
    fn two_looks_complete_each_other() {
        let facts = |stored| Facts { stored, modified_ns: 5 };
        let (mut first, mut second) = (Seen::default(), Seen::default());
        for (n, base) in (0u32..).zip([&b"both"[..], b"first"]) {
            first.insert(base, located(u64::from(n)));
            first.set_facts(n, facts(n.into()));
        }
        second.insert(b"second", located(10));
        second.insert(b"both", located(11));
        second.complete(&first);
        assert_eq!(second.len(), 3);
        let both = second.find(b"both").unwrap();
        assert_eq!((second.located(both).inode, second.facts(both)), (11, Some(facts(0))));
        let first = second.find(b"first").unwrap();
        assert_eq!((second.located(first).inode, second.facts(first)), (1, Some(facts(1))));
    }
}
