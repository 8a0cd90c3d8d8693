//! Looking into new/ and cur/: which messages there are, and what is there that is none.
//!
//! `readdir` may miss a file that is renamed meanwhile, so that a message that is known and not seen is looked for
//! again before its absence is believed.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet, hash_map::Entry},
};

use rustix::{fs::FileType, io::Errno};

use super::{
    dir::{Dir, Fault, Folder, Place, modified_ns, size_octets},
    name,
    said::{self, About},
    state::Record,
};

/// The most messages that one maildrop may hold; more are not looked at.
pub(super) const MESSAGES_MAX: usize = 5_000_000;

/// How often the folders are read at most when known messages are missing.
const LOOKS_MAX: u32 = 4;

/// How many odd entries of a Maildir are logged by name; the rest is only counted.
const ODD_LOGGED_MAX: usize = 20;

/// Where a message's file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) place: Place,
    /// The file's name from the `:` on, or nothing.
    pub(super) suffix: Box<[u8]>,
    /// The file's inode, as its folder tells it.
    pub(super) inode: u64,
}

impl Located {
    pub(super) fn name(&self, base: &[u8]) -> Vec<u8> {
        [base, &self.suffix].concat()
    }
}

/// A message's file, and its facts; without them where it was renamed between its name and its facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) located: Located,
    pub(super) facts: Option<Facts>,
}

/// What tells whether a file is the one that was counted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Facts {
    /// Its size in octets.
    pub(super) stored: u64,
    /// When it was last written, in nanoseconds since 1970.
    pub(super) modified_ns: i64,
}

impl Facts {
    /// The facts that a record remembers.
    pub(super) const fn of(record: &Record) -> Self {
        Self { stored: record.stored, modified_ns: record.modified_ns }
    }
}

/// What was seen: each message once, by its base.
pub(super) type Seen = HashMap<Box<[u8]>, Found>;

#[derive(Debug, Default)]
struct Look {
    seen: Seen,
    odd: Vec<(Place, Vec<u8>, &'static str)>,
    odd_count: u64,
    /// A file went away between its name and its facts.
    vanished: bool,
    /// A folder changed while it was read.
    changed: bool,
    /// A folder changed so recently that its time proves nothing: file times are coarse.
    unsettled: bool,
    full: bool,
    /// The system failed, so that nothing can be said.
    failed: Option<Errno>,
}

/// Looks which messages there are; `known` are those that were there before.
pub(super) fn scan<'k>(dir: Dir<'_>, known: impl Iterator<Item = &'k [u8]> + Clone) -> Result<Seen, Fault> {
    let mut look = look(dir)?;
    for looks in 1..LOOKS_MAX {
        let missing = known.clone().any(|base| !look.seen.contains_key(base));
        if !(missing || look.vanished || (looks == 1 && look.changed)) {
            break;
        }
        let again = self::look(dir)?;
        let quiet = !(again.changed || again.vanished || again.unsettled);
        if quiet {
            // Nothing moved meanwhile: what this look saw is what is there.
            look = again;
            break;
        }
        // A file that only one look saw was renamed or removed; if it was removed, reading it will tell.
        let mut seen = std::mem::take(&mut look.seen);
        for (base, found) in again.seen {
            let facts = found.facts.or_else(|| seen.get(&base)?.facts);
            seen.insert(base, Found { facts, ..found });
        }
        look = Look { seen, ..again };
    }
    look.odd.sort_unstable();
    report(dir, &look);
    Ok(look.seen)
}

fn look(dir: Dir<'_>) -> Result<Look, Fault> {
    let mut look = Look::default();
    for place in Place::BOTH {
        let Some(folder) = dir.folder(place)? else { continue };
        let before = folder.changed_ns();
        folder.each(|name, kind, inode| look.see(&folder, name, kind, inode))?;
        if let Some(errno) = look.failed {
            return Err(Fault::new("looking into", dir.path.join(place.name()), errno));
        }
        look.changed |= before != folder.changed_ns();
        look.unsettled |= !is_settled(before);
    }
    Ok(look)
}

/// Whether a folder's time is at least two seconds old.
fn is_settled(changed_ns: Option<i64>) -> bool {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    changed_ns.is_some_and(|changed| {
        i128::from(changed) + 2_000_000_000 <= i128::try_from(now.as_nanos()).unwrap_or(0)
    })
}

impl Look {
    fn see(&mut self, folder: &Folder, name: &[u8], kind: FileType, inode: u64) -> bool {
        if self.seen.len() >= MESSAGES_MAX {
            self.full = true;
            return false;
        }
        let taken = self.take(folder, name, kind, inode);
        if self.failed.is_some() {
            return false;
        }
        if let Err(what) = taken {
            self.odd_count += 1;
            if self.odd.len() < ODD_LOGGED_MAX {
                self.odd.push((folder.place, name.to_vec(), what));
            }
        }
        true
    }

    /// Takes a message, or says what else it is.
    fn take(&mut self, folder: &Folder, name: &[u8], kind: FileType, inode: u64) -> Result<(), &'static str> {
        if !matches!(kind, FileType::RegularFile | FileType::Unknown) {
            return Err(describe(kind));
        }
        let (base, suffix) = name::split(name).ok_or("a name without a base")?;
        let facts = match Self::facts(folder, name) {
            Err(Errno::NOENT) => {
                self.vanished = true;
                None
            }
            Err(errno) if !matches!(errno, Errno::ACCESS | Errno::PERM) => {
                self.failed = Some(errno);
                return Err("a file whose facts cannot be read");
            }
            facts => facts.map_err(|_| "a file whose facts may not be read")??.into(),
        };
        // Of two files with one base, the one that could be looked at is the one that is there.
        let before = self.seen.get(base).and_then(|before| before.facts);
        if facts.is_some() || before.is_none() {
            let located = Located { place: folder.place, suffix: suffix.into(), inode };
            self.seen.insert(base.into(), Found { located, facts });
        }
        Ok(())
    }

    /// The facts of a readable regular file, or what else it is.
    fn facts(folder: &Folder, name: &[u8]) -> Result<Result<Facts, &'static str>, Errno> {
        let stat = folder.stat(name)?;
        // The kind that readdir told may be missing, or stale.
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::RegularFile {
            return Ok(Err(describe(kind)));
        }
        if !folder.is_readable(name) {
            // Unless it was renamed since.
            folder.stat(name)?;
            return Ok(Err("a file that may not be read"));
        }
        Ok(Ok(Facts { stored: size_octets(&stat), modified_ns: modified_ns(&stat) }))
    }
}

const fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "no regular file",
    }
}

fn report(dir: Dir<'_>, look: &Look) {
    let maildir = dir.path.display();
    let state = (look.odd_count > 0 || look.full).then_some((&look.odd, look.odd_count, look.full));
    if !said::is_news(dir.path, About::OddEntries, state) {
        return;
    }
    for (place, name, what) in &look.odd {
        let place = place.name();
        tracing::warn!(%maildir, place, name = %name.escape_ascii(), what, "left out of the maildrop");
    }
    let unnamed = look.odd_count - look.odd.len() as u64;
    if unnamed > 0 {
        tracing::warn!(%maildir, entries = unnamed, "more entries were left out of the maildrop");
    }
    if look.full {
        tracing::warn!(%maildir, limit = MESSAGES_MAX, "the maildrop holds more messages than the limit; the rest is not shown");
    }
}

/// Messages to look for: by their bases, and by their stems, since another program may add `,S=` or `,W=` to a name.
pub(super) struct Sought<'a> {
    records: &'a [Record],
    /// Their places in the records, by base.
    bases: HashMap<&'a [u8], usize>,
    /// By stem; `None` where two of them share one, so that it tells nothing.
    stems: HashMap<Cow<'a, [u8]>, Option<usize>>,
    /// Names with one of these stems that belong to other messages.
    others: HashSet<&'a [u8]>,
}

/// A file of a message that was looked for.
pub(super) struct Placement {
    /// The message's place in the records.
    pub(super) place: usize,
    /// The base that its name has now.
    pub(super) base: Box<[u8]>,
    pub(super) located: Located,
}

impl<'a> Sought<'a> {
    /// The messages at these `places` of the records.
    pub(super) fn new(records: &'a [Record], places: impl Iterator<Item = usize>) -> Self {
        let (mut bases, mut stems) = (HashMap::new(), HashMap::new());
        for place in places {
            let base = &*records[place].base;
            bases.insert(base, place);
            match stems.entry(name::stem(base)) {
                Entry::Vacant(free) => {
                    free.insert(Some(place));
                }
                Entry::Occupied(mut taken) => {
                    taken.insert(None);
                }
            }
        }
        let all = records.iter().map(|record| &*record.base);
        let others = all.filter(|base| !bases.contains_key(base) && stems.contains_key(&name::stem(base)));
        let others = others.collect();
        Self { records, bases, stems, others }
    }

    /// Which message's file a name is. Under another base it is the same message if the file is the same by its facts.
    fn whose(&self, folder: &Folder, name: &[u8], base: &[u8]) -> Option<usize> {
        if let Some(&place) = self.bases.get(base) {
            return Some(place);
        }
        let place = self.stems.get(&name::stem(base)).copied().flatten()?;
        let stat = (!self.others.contains(base)).then(|| folder.stat(name).ok()).flatten()?;
        let facts = Facts { stored: size_octets(&stat), modified_ns: modified_ns(&stat) };
        (facts == Facts::of(&self.records[place])).then_some(place)
    }
}

/// Where the messages that are looked for are now; one that is not there is not in the answer.
pub(super) fn locate(dir: Dir<'_>, sought: &Sought<'_>) -> Result<Vec<Placement>, Fault> {
    let mut found = Vec::new();
    for place in Place::BOTH {
        let Some(folder) = dir.folder(place)? else { continue };
        folder.each(|name, kind, inode| {
            if let Some((base, suffix)) = name::split(name)
                && matches!(kind, FileType::RegularFile | FileType::Unknown)
                && let Some(whose) = sought.whose(&folder, name, base)
            {
                let located = Located { place, suffix: suffix.into(), inode };
                found.push(Placement { place: whose, base: base.into(), located });
            }
            true
        })?;
    }
    Ok(found)
}
