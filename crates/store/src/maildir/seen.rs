//! What was seen in new/ and cur/, made out as what is remembered: each message once, by its base. A file that is just
//! as it was takes one bit of attention; only others are kept, packed. Pure; `scan.rs` fills it.

use std::{
    cell::{Cell, OnceCell},
    hash::{BuildHasher, RandomState},
};

use super::{
    dir::Place,
    name,
    state::{Facts, Located, Record, State},
};

/// No file, no record.
pub(super) const NONE: u32 = u32::MAX;

/// A record's file that is where it was, under the same name.
pub(super) const AS_IT_WAS: u32 = u32::MAX - 1;

/// Of how many names with the same stem it is looked whether they are the same message. There are two of one at most
/// where nobody means harm.
const KIN_MAX: usize = 16;

/// Names by a hash: of all of it, or of what all names of one stem share.
#[derive(Debug, Default)]
struct Names {
    /// The last name of each chain; as many as a power of two.
    heads: Vec<u32>,
    links: Vec<Link>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    hash: u32,
    /// The name before it in its chain.
    next: u32,
}

impl Names {
    fn of(count: usize, hashes: impl Iterator<Item = u32>) -> Self {
        let mut names =
            Self { heads: vec![NONE; count.next_power_of_two()], links: Vec::with_capacity(count) };
        hashes.for_each(|hash| names.link(hash));
        names
    }

    /// Adds the next name.
    fn push(&mut self, hash: u32) {
        if self.links.len() >= self.heads.len() {
            self.grow((self.heads.len() * 2).max(16));
        }
        self.link(hash);
    }

    fn grow(&mut self, heads: usize) {
        self.heads = vec![NONE; heads];
        for Link { hash, .. } in std::mem::take(&mut self.links) {
            self.link(hash);
        }
    }

    fn link(&mut self, hash: u32) {
        let slot = hash as usize & (self.heads.len() - 1);
        let head = &mut self.heads[slot];
        // `MESSAGES_MAX` is far below.
        let number = u32::try_from(self.links.len()).unwrap_or(NONE);
        self.links.push(Link { hash, next: std::mem::replace(head, number) });
    }

    /// The last name of the chain in which those with this hash are.
    fn last(&self, hash: u32) -> u32 {
        self.heads.get(hash as usize & self.heads.len().wrapping_sub(1)).copied().unwrap_or(NONE)
    }

    /// The names with this hash.
    fn with(&self, hash: u32) -> impl Iterator<Item = u32> {
        let mut at = self.last(hash);
        std::iter::from_fn(move || {
            loop {
                let link = self.links.get(at as usize)?;
                let number = std::mem::replace(&mut at, link.next);
                if link.hash == hash {
                    return Some(number);
                }
            }
        })
    }
}

/// What is remembered, found by name.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) state: &'a State,
    /// The names, once more than a few are looked for: for those it is quicker to go through all.
    bases: OnceCell<Names>,
    stems: OnceCell<Names>,
    /// How many names were looked for so far, and how many of them nobody knew.
    sought: Cell<usize>,
    strangers: Cell<usize>,
    /// Differs in each process, so that names cannot be chosen to collide.
    hasher: RandomState,
}

impl<'a> Known<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        let hasher = RandomState::new();
        let (sought, strangers) = (Cell::new(0), Cell::new(0));
        Self { state, bases: OnceCell::new(), stems: OnceCell::new(), hasher, sought, strangers }
    }

    fn hash(&self, name: &[u8]) -> u32 {
        // The upper half of a hash is as good as the whole.
        (self.hasher.hash_one(name) >> 32) as u32
    }

    /// Makes ready for looking for so many more names.
    fn seek(&self, names: usize) -> Option<&Names> {
        self.sought.set(self.sought.get() + names);
        if self.sought.get() > FEW_NAMES {
            let hash = |record: &Record| self.hash(record.base(&self.state.text));
            self.bases.get_or_init(|| Names::of(self.state.len(), self.state.records.iter().map(hash)));
        }
        self.bases.get()
    }

    /// The records with this base, which has this hash.
    fn with_base<'s>(&'s self, base: &'s [u8], hash: u32) -> impl Iterator<Item = u32> + 's {
        let (records, text) = (&self.state.records, &self.state.text);
        let all = if self.bases.get().is_none() { records.as_slice() } else { &[] };
        let few = (0u32..).zip(all).filter(move |(_, record)| record.base(text) == base);
        let many = self.bases.get().into_iter().flat_map(move |names| names.with(hash));
        let many = many.filter(move |&record| records[record as usize].base(text) == base);
        few.map(|(record, _)| record).chain(many)
    }

    /// The records with this stem, which has this hash; not all of them where there are very many.
    fn with_stem<'s>(&'s self, stem: &'s [u8], hash: u32) -> impl Iterator<Item = u32> + 's {
        let (records, text) = (&self.state.records, &self.state.text);
        self.strangers.set(self.strangers.get() + 1);
        if self.strangers.get() > FEW_NAMES {
            let hash = |record: &Record| self.hash(&name::stem(record.base(text)));
            self.stems.get_or_init(|| Names::of(records.len(), records.iter().map(hash)));
        }
        let all = if self.stems.get().is_none() { records.as_slice() } else { &[] };
        let field = name::first_field(stem);
        let is_stem = move |base: &[u8]| base.starts_with(field) && *name::stem(base) == *stem;
        let few = (0u32..).zip(all).filter(move |(_, record)| is_stem(record.base(text)));
        let many = self.stems.get().into_iter().flat_map(move |names| names.with(hash).take(KIN_MAX));
        let many = many.filter(move |&record| is_stem(records[record as usize].base(text)));
        few.map(|(record, _)| record).take(KIN_MAX).chain(many)
    }
}

/// So few names are looked for by going through all that are known.
const FEW_NAMES: usize = 4;

/// The files that were seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    files: Vec<File>,
    /// All bases and suffixes.
    text: Vec<u8>,
    bases: Names,
    /// Of those that nobody knows, by their stems, and which files these are.
    stems: Names,
    of_stem: Vec<u32>,
    /// For each record its file, [`AS_IT_WAS`], or [`NONE`].
    of_record: Vec<u32>,
    /// Files and records whose names have the same stem, and are not the same: another program may have added sizes.
    akin: Vec<(u32, u32)>,
    /// Some message was seen twice: it is in both folders.
    pub(super) doubles: bool,
}

#[derive(Clone, Copy, Debug)]
struct File {
    inode: u64,
    facts: Option<Facts>,
    text_at: usize,
    hash: u32,
    base_octets: u8,
    suffix_octets: u8,
    place: Place,
    is_message: bool,
    /// It is known by its inode, so that it need not be looked at.
    is_familiar: bool,
    /// Another file's name has the same stem.
    has_kin: bool,
}

/// Names as they are read, until there are enough of them to be looked up together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    text: Vec<u8>,
    names: Vec<Name>,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    inode: u64,
    start: u32,
    base_end: u32,
    end: u32,
    place: Place,
}

/// So many names are looked up together: more than the processor can wait for at once.
const BATCH_NAMES: usize = 64;

impl Batch {
    /// Adds a name; whether the batch is full.
    pub(super) fn push(&mut self, base: &[u8], Located { place, suffix, inode }: Located<'_>) -> bool {
        // So few names of 255 octets at most are short.
        let at = |text: &Vec<u8>| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let start = at(&self.text);
        self.text.extend_from_slice(base);
        let base_end = at(&self.text);
        self.text.extend_from_slice(suffix);
        self.names.push(Name { inode, start, base_end, end: at(&self.text), place });
        self.names.len() >= BATCH_NAMES
    }

    fn base(&self, name: &Name) -> &[u8] {
        &self.text[name.start as usize..name.base_end as usize]
    }

    fn located(&self, name: &Name) -> Located<'_> {
        let suffix = &self.text[name.base_end as usize..name.end as usize];
        Located { place: name.place, suffix, inode: name.inode }
    }
}

impl Seen {
    /// Takes the names of a batch in, and empties it.
    ///
    /// Nearly all of them are as they were, and what is known of them lies scattered in memory: each step is done for
    /// all of them before the next one, so that the processor waits for many places at once.
    pub(super) fn insert_all(&mut self, known: &Known<'_>, batch: &mut Batch) {
        let mut hashes = [0; BATCH_NAMES];
        let mut records = [NONE; BATCH_NAMES];
        for (hash, name) in hashes.iter_mut().zip(&batch.names) {
            *hash = known.hash(batch.base(name));
        }
        if let Some(bases) = known.seek(batch.names.len()) {
            for (record, &hash) in records.iter_mut().zip(&hashes[..batch.names.len()]) {
                *record = bases.last(hash);
            }
            for (record, &hash) in records.iter_mut().zip(&hashes) {
                let is_its = bases.links.get(*record as usize).is_some_and(|link| link.hash == hash);
                *record = if is_its { *record } else { NONE };
            }
        }
        for (record, name) in records.iter_mut().zip(&batch.names) {
            let known = known.state.records.get(*record as usize);
            let is_familiar =
                known.is_some_and(|known| known.inode == name.inode && known.place() == name.place);
            *record = if is_familiar { *record } else { NONE };
        }
        for (&record, name) in records.iter().zip(&batch.names) {
            let (base, located) = (batch.base(name), batch.located(name));
            let as_it_was = self.of_record.get(record as usize) == Some(&NONE)
                && known.state.located(record as usize) == Some(located)
                && known.state.base(record as usize) == base;
            if as_it_was {
                self.of_record[record as usize] = AS_IT_WAS;
            } else {
                self.insert(known, base, located);
            }
        }
        batch.text.clear();
        batch.names.clear();
    }

    /// Nothing seen yet of what is known.
    pub(super) fn new(known: &Known<'_>) -> Self {
        Self { of_record: vec![NONE; known.state.len()], ..Self::default() }
    }

    /// The files that are not as they were.
    pub(super) fn files(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.files.len()).unwrap_or(NONE)
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

    /// Whether a file has to be looked at.
    pub(super) fn is_stranger(&self, file: u32) -> bool {
        !self.files[file as usize].is_familiar
    }

    /// The file of each record, [`AS_IT_WAS`], or [`NONE`].
    pub(super) fn of_records(&self) -> &[u32] {
        &self.of_record
    }

    /// Files and records whose names are alike, and are not the same message as far as names tell.
    pub(super) fn akin(&self) -> &[(u32, u32)] {
        &self.akin
    }

    /// Whether another file's name has the same stem.
    pub(super) fn has_kin(&self, file: u32) -> bool {
        self.files[file as usize].has_kin
    }

    /// Takes a file in. Of two with one base the later one counts: mail moves from new/ to cur/.
    pub(super) fn insert(&mut self, known: &Known<'_>, base: &[u8], located: Located<'_>) {
        let hash = known.hash(base);
        let state = known.state;
        let is_there = |&record: &u32| !state.records[record as usize].is_missing();
        let record = known.with_base(base, hash).find(is_there);
        if let Some(record) = record {
            let was = state.located(record as usize);
            let before = self.of_record[record as usize];
            self.doubles |= before != NONE;
            if let Some(before) = self.files.get_mut(before as usize) {
                before.is_message = false;
            }
            if was == Some(located) {
                self.of_record[record as usize] = AS_IT_WAS;
                return;
            }
            let file = self.add(hash, base, located);
            self.files[file as usize].is_familiar = was.is_some_and(|was| was.inode == located.inode);
            self.of_record[record as usize] = file;
            // One that was missing may be back in its place.
            for record in known.with_base(base, hash).filter(|record| !is_there(record)) {
                self.of_record[record as usize] = file;
            }
            return;
        }
        let before = self.bases.with(hash).find(|&file| self.base(file) == base);
        if let Some(before) = before {
            let has_kin = self.files[before as usize].has_kin;
            self.files[before as usize] = File { has_kin, ..self.file(hash, base, located) };
            self.doubles = true;
            return;
        }
        let file = self.add(hash, base, located);
        for record in known.with_base(base, hash) {
            self.of_record[record as usize] = file;
        }
        let stem = name::stem(base);
        let hash = known.hash(&stem);
        let kin = known.with_stem(&stem, hash).filter(|&record| state.base(record as usize) != base);
        self.akin.extend(kin.map(|record| (file, record)));
        for other in self.stems.with(hash).take(KIN_MAX) {
            let other = self.of_stem[other as usize];
            if name::stem(self.base(other)) == stem {
                self.files[other as usize].has_kin = true;
                self.files[file as usize].has_kin = true;
            }
        }
        self.stems.push(hash);
        self.of_stem.push(file);
    }

    fn file(&mut self, hash: u32, base: &[u8], located: Located<'_>) -> File {
        let text_at = self.text.len();
        self.text.extend_from_slice(base);
        self.text.extend_from_slice(located.suffix);
        // The names of files have at most 255 octets.
        let short = |part: &[u8]| u8::try_from(part.len()).unwrap_or(u8::MAX);
        File {
            inode: located.inode,
            facts: None,
            text_at,
            hash,
            base_octets: short(base),
            suffix_octets: short(located.suffix),
            place: located.place,
            is_message: true,
            is_familiar: false,
            has_kin: false,
        }
    }

    fn add(&mut self, hash: u32, base: &[u8], located: Located<'_>) -> u32 {
        let file = self.file(hash, base, located);
        let number = self.files().end;
        self.bases.push(hash);
        self.files.push(file);
        number
    }

    /// Takes over what only an earlier look saw: a file that was renamed meanwhile may be missed by one of them.
    pub(super) fn complete(&mut self, known: &Known<'_>, earlier: &Self) {
        let doubles = self.doubles | earlier.doubles;
        known.seek(earlier.files.len());
        for file in earlier.files() {
            let was = &earlier.files[file as usize];
            let base = earlier.base(file);
            let find = |seen: &Self| seen.bases.with(was.hash).find(|&here| seen.base(here) == base);
            let is_seen = |record| self.of_record[record] != NONE;
            let here = match find(self) {
                Some(here) => Some(here),
                None if earlier.record_of(known, file).is_some_and(is_seen) || !was.is_message => None,
                None => {
                    self.insert(known, base, earlier.located(file));
                    find(self)
                }
            };
            if let Some(here) = here.and_then(|here| self.files.get_mut(here as usize)) {
                here.facts = here.facts.or(was.facts);
            }
        }
        for (here, was) in self.of_record.iter_mut().zip(&earlier.of_record) {
            if (*here, *was) == (NONE, AS_IT_WAS) {
                *here = AS_IT_WAS;
            }
        }
        self.doubles = doubles;
    }

    /// The record that a file was made out as.
    fn record_of(&self, known: &Known<'_>, file: u32) -> Option<usize> {
        let records = known.with_base(self.base(file), self.files[file as usize].hash);
        records.map(|record| record as usize).find(|&record| self.of_record[record] == file)
    }

    /// Whether a message that should be in a folder that was read was not seen.
    pub(super) fn misses(&self, known: &Known<'_>, read: [bool; 2]) -> bool {
        let mut records = self.of_record.iter().zip(&known.state.records);
        records.any(|(&file, record)| file == NONE && !record.is_missing() && read[record.place() as usize])
    }

    /// Whether a message was seen in a folder that was read, and is known to be in one that was not.
    pub(super) fn has_doubles(&self, known: &Known<'_>, read: [bool; 2]) -> bool {
        let mut records = self.of_record.iter().zip(&known.state.records);
        self.doubles
            || read != [true; 2]
                && records.any(|(&file, record)| {
                    file != NONE && !record.is_missing() && !read[record.place() as usize]
                })
    }
}

#[cfg(test)]
mod tests {
    use restante_proto::UniqueId;

    use super::{super::state::Count, *};

    const FACTS: Facts = Facts { stored: 1, modified_ns: 5 };

    fn located(inode: u64) -> Located<'static> {
        Located { place: Place::Cur, suffix: b":2,S", inode }
    }

    /// Knows `n,S=n` with the inode n, for each n below 1000.
    fn state() -> State {
        let mut state = State::default();
        for n in 0..1000u64 {
            let id = UniqueId::new(n.to_string().as_bytes()).unwrap();
            state.push(format!("{n},S={n}").as_bytes(), &id, located(n), FACTS, Count::Unknown);
        }
        state
    }

    #[test]
    fn files_are_made_out_as_what_is_known() {
        let mut state = state();
        state.missing(9, 1);
        let known = Known::new(&state);
        let mut seen = Seen::new(&known);
        for n in 0..900u64 {
            seen.insert(&known, format!("{n},S={n}").as_bytes(), located(n));
        }
        assert!(
            !seen.doubles && seen.files() == (0..1),
            "only the one that was missing is none that is known"
        );
        assert_eq!((seen.base(0), seen.of_records()[9], seen.of_records()[8]), (&b"9,S=9"[..], 0, AS_IT_WAS));
        assert!(seen.is_stranger(0) && seen.misses(&known, [true; 2]) && !seen.misses(&known, [true, false]));
        // A flag, another file, a name that is akin, a new one, and its copy.
        seen.insert(&known, b"901,S=901", Located { suffix: b":2,FS", ..located(901) });
        seen.insert(&known, b"902,S=902", located(2000));
        seen.insert(&known, b"903", located(903));
        seen.insert(&known, b"new", located(3000));
        assert!(!seen.doubles);
        seen.insert(&known, b"new", Located { place: Place::New, suffix: b"", inode: 3001 });
        assert!(seen.doubles);
        let strangers: Vec<_> = seen.files().map(|file| (seen.name(file), seen.is_stranger(file))).collect();
        let expected = [
            ("9,S=9:2,S", true),
            ("901,S=901:2,FS", false),
            ("902,S=902:2,S", true),
            ("903:2,S", true),
            ("new", true),
        ];
        assert_eq!(strangers, expected.map(|(name, stranger)| (name.as_bytes(), stranger)));
        assert_eq!((seen.of_records()[901], seen.of_records()[902], seen.of_records()[903]), (1, 2, NONE));
        assert_eq!(seen.akin(), [(3, 903)]);
        assert_eq!(seen.located(4).inode, 3001);
        seen.insert(&known, b"903,S=9", located(1));
        assert!(seen.has_kin(3) && !seen.has_kin(4));
    }

    #[test]
    fn many_at_once_are_made_out_as_one_by_one() {
        let mut state = state();
        state.missing(9, 1);
        let known = Known::new(&state);
        let (mut together, mut single, mut batch) = (Seen::new(&known), Seen::new(&known), Batch::default());
        let mut insert = |base: &str, located: Located<'_>| {
            single.insert(&known, base.as_bytes(), located);
            if batch.push(base.as_bytes(), located) {
                together.insert_all(&known, &mut batch);
            }
        };
        for n in 0..1100u64 {
            let base = format!("{n},S={n}");
            match n % 10 {
                7 => insert(&base, Located { suffix: b":2,FS", ..located(n) }),
                8 => insert(&base, located(n + 5000)),
                _ => insert(&base, located(n)),
            }
            if n % 100 == 3 {
                insert(&base, Located { place: Place::New, suffix: b"", inode: n });
            }
        }
        together.insert_all(&known, &mut batch);
        assert_eq!(together.of_records(), single.of_records());
        assert_eq!((together.doubles, together.akin()), (true, single.akin()));
        let files = |seen: &Seen| {
            seen.files().map(|file| (seen.name(file).to_vec(), seen.is_stranger(file))).collect::<Vec<_>>()
        };
        assert_eq!(files(&together), files(&single));
        assert!(together.of_records().iter().filter(|file| **file == AS_IT_WAS).count() > 700);
    }

    #[test]
    fn a_message_that_is_seen_again_is_in_both_folders() {
        let state = state();
        let known = Known::new(&state);
        let mut seen = Seen::new(&known);
        seen.insert(&known, b"1,S=1", Located { place: Place::New, suffix: b"", inode: 1 });
        assert!(!seen.doubles && seen.has_doubles(&known, [true, false]), "it is known to be in cur/");
        seen.insert(&known, b"1,S=1", located(1));
        assert!(seen.doubles && !seen.is_message(0), "it is not another message");
        assert_eq!(seen.of_records()[1], AS_IT_WAS);
    }

    #[test]
    fn many_names_of_one_stem_cost_no_more_than_others() {
        let mut state = State::default();
        let name = |n: u64| format!("a,S={n}").into_bytes();
        for n in 0..3000 {
            let id = UniqueId::new(n.to_string().as_bytes()).unwrap();
            state.push(&name(n), &id, located(n), FACTS, Count::Unknown);
        }
        let known = Known::new(&state);
        let mut seen = Seen::new(&known);
        (3000..6000).for_each(|n| seen.insert(&known, &name(n), located(n)));
        assert!(seen.akin().len() <= 3000 * KIN_MAX, "{}", seen.akin().len());
        assert!(seen.files().all(|file| seen.has_kin(file)));
    }

    #[test]
    fn two_looks_complete_each_other() {
        let state = state();
        let known = Known::new(&state);
        let facts = |stored| Facts { stored, modified_ns: 5 };
        let (mut first, mut second) = (Seen::new(&known), Seen::new(&known));
        for (base, n) in [&b"both"[..], b"first"].into_iter().zip(0..) {
            first.insert(&known, base, located(n.into()));
            first.set_facts(n, facts(n.into()));
        }
        let flagged = Located { suffix: b":2,", ..located(2) };
        first.insert(&known, b"1,S=1", located(1));
        first.insert(&known, b"2,S=2", flagged);
        first.insert(&known, b"3,S=3", flagged);
        second.insert(&known, b"second", located(10));
        second.insert(&known, b"both", located(11));
        second.insert(&known, b"3,S=3", located(3));
        second.complete(&known, &first);
        assert!(!second.doubles);
        let names: Vec<_> = second.files().map(|file| second.name(file)).collect();
        assert_eq!(names, [&b"second:2,S"[..], b"both:2,S", b"first:2,S", b"2,S=2:2,"]);
        assert_eq!((second.located(1).inode, second.facts(1)), (11, Some(facts(0))));
        assert_eq!((second.located(2).inode, second.facts(2)), (1, Some(facts(1))));
        assert_eq!(second.of_records()[..4], [NONE, AS_IT_WAS, 3, AS_IT_WAS]);
    }
}
