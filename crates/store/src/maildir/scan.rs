//! Looking into new/ and cur/: which messages there are, and what is there that is none.
//!
//! A folder that is as it was is not read. A file whose base and inode are known is the file that was looked at before;
//! only others are looked at. `readdir` may miss a file that is renamed meanwhile, so that a message that is known and
//! not seen is looked for again before its absence is believed.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet, hash_map::Entry},
};

use rustix::{
    fs::FileType,
    io::Errno,
    process::{Uid, geteuid},
};

use super::{
    dir::{Dir, Fault, Folder, Place, Stamp, modified_ns, size_octets},
    name,
    said::{self, About},
    seen::{Batch, Known, Seen},
    state::{Facts, Located, State},
};

/// The most messages that one maildrop may hold; more are not looked at.
pub(super) const MESSAGES_MAX: usize = 5_000_000;

/// How often the folders are read at most when known messages are missing.
const LOOKS_MAX: u32 = 4;

/// How many odd entries of a Maildir are logged by name; the rest is only counted.
const ODD_LOGGED_MAX: usize = 20;

/// What is in the folders that were read.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) seen: Seen,
    /// Which folders were read.
    pub(super) read: [bool; 2],
    /// What the folders are like, where that proves that nothing has changed when it is the same next time.
    pub(super) stamps: [Option<Stamp>; 2],
}

#[derive(Debug, Default)]
struct Look {
    scan: Scan,
    batch: Batch,
    odd: Vec<(Place, Vec<u8>, &'static str)>,
    odd_count: u64,
    /// How many names were seen.
    names: usize,
    /// A message that should be in a folder that was read was not seen.
    missing: bool,
    /// A file went away between its name and its facts.
    vanished: bool,
    /// A folder changed while this went on.
    changed: bool,
    /// A folder changed so recently that its time proves nothing.
    unsettled: bool,
    full: bool,
}

/// Which folders must be read: those that are not as they were when `known` was found out.
pub(super) fn stale(dir: Dir<'_>, known: &State) -> Result<[bool; 2], Fault> {
    let mut stale = [false; 2];
    for place in Place::BOTH {
        let stamp = dir.folder(place)?.map(|folder| folder.stamp()).transpose()?;
        stale[place as usize] = stamp.is_none() || stamp != known.stamps[place as usize];
    }
    Ok(stale)
}

/// Whether both folders are as they were, as far as that can be told without waiting for a disk.
pub(super) fn is_fresh_at_once(dir: Dir<'_>, known: &State) -> bool {
    Place::BOTH.into_iter().all(|place| {
        let stat = dir.stat_at_once(place.name()).and_then(Result::ok);
        stat.is_some_and(|stat| Some(Stamp::of(&stat)) == known.stamps[place as usize])
    })
}

/// Looks which messages there are in the folders to be read.
pub(super) fn scan(dir: Dir<'_>, known: &State, read: [bool; 2]) -> Result<Scan, Fault> {
    let known = &Known::new(known);
    let mut look = Look::take(dir, known, read)?;
    for looks in 1..LOOKS_MAX {
        if !(look.missing || look.vanished || (looks == 1 && look.changed)) {
            break;
        }
        let mut again = Look::take(dir, known, [true; 2])?;
        let quiet = !(again.changed || again.vanished || again.unsettled);
        if !quiet {
            // A file that only one look saw was renamed or removed; if it was removed, reading it will tell.
            again.scan.seen.complete(known, &look.scan.seen);
            again.missing = again.scan.seen.misses(known, [true; 2]);
            again.scan.stamps = [None; 2];
        }
        look = again;
        if quiet {
            // Nothing moved meanwhile: what this look saw is what is there.
            break;
        }
    }
    look.odd.sort_unstable();
    report(dir, &look);
    if look.scan.seen.has_doubles(known, look.scan.read) {
        // They are looked for at each deletion, and so at each login.
        look.scan.stamps = [None; 2];
    }
    Ok(look.scan)
}

impl Look {
    fn take(dir: Dir<'_>, known: &Known<'_>, read: [bool; 2]) -> Result<Self, Fault> {
        let scan = Scan { seen: Seen::new(known), read, ..Scan::default() };
        let mut look = Self { scan, ..Self::default() };
        let mut folders = [None, None];
        for place in Place::BOTH.into_iter().filter(|&place| read[place as usize]) {
            let Some(folder) = dir.folder(place)? else { continue };
            let before = folder.stamp()?;
            let settled = before.is_settled();
            folder.each(|name, kind, inode| look.see(known, place, name, kind, inode))?;
            look.scan.seen.insert_all(known, &mut look.batch);
            let unchanged = before == folder.stamp()?;
            look.changed |= !unchanged;
            look.unsettled |= !settled;
            look.scan.stamps[place as usize] = (settled && unchanged).then_some(before);
            folders[place as usize] = Some(folder);
        }
        look.missing = look.scan.seen.misses(known, read);
        look.look_at_strangers(dir, &folders)?;
        for place in Place::BOTH.into_iter().filter(|&place| !read[place as usize]) {
            // What moved into a folder that was not read has changed it.
            let stamp = dir.folder(place)?.map(|folder| folder.stamp()).transpose()?;
            look.changed |= stamp != known.state.stamps[place as usize];
            look.scan.stamps[place as usize] = stamp;
        }
        Ok(look)
    }

    /// Takes a name in; whether more of them are wanted.
    fn see(&mut self, known: &Known<'_>, place: Place, name: &[u8], kind: FileType, inode: u64) -> bool {
        if self.names >= MESSAGES_MAX {
            self.full = true;
            return false;
        }
        if !matches!(kind, FileType::RegularFile | FileType::Unknown) {
            self.leave_out(place, name, describe(kind));
        } else if let Some((base, suffix)) = name::split(name) {
            self.names += 1;
            if self.batch.push(base, Located { place, suffix, inode }) {
                self.scan.seen.insert_all(known, &mut self.batch);
            }
        } else {
            self.leave_out(place, name, "a name without a base");
        }
        true
    }

    fn leave_out(&mut self, place: Place, name: &[u8], what: &'static str) {
        self.odd_count += 1;
        if self.odd.len() < ODD_LOGGED_MAX {
            self.odd.push((place, name.to_vec(), what));
        }
    }

    /// Looks at the files that are not known by base and inode.
    fn look_at_strangers(&mut self, dir: Dir<'_>, folders: &[Option<Folder>; 2]) -> Result<(), Fault> {
        let user = geteuid();
        for file in self.scan.seen.files() {
            if !self.scan.seen.is_stranger(file) {
                continue;
            }
            let (place, name) = (self.scan.seen.located(file).place, self.scan.seen.name(file));
            let Some(folder) = &folders[place as usize] else { continue };
            match facts(folder, name, user) {
                Ok(Ok(facts)) => self.scan.seen.set_facts(file, facts),
                Ok(Err(what)) => {
                    let name = name.to_vec();
                    self.leave_out(place, &name, what);
                    self.scan.seen.leave_out(file);
                    // When it may be read, no folder tells.
                    self.scan.stamps[place as usize] = None;
                }
                Err(Errno::NOENT) => self.vanished = true,
                Err(Errno::ACCESS | Errno::PERM) => {
                    let name = name.to_vec();
                    self.leave_out(place, &name, "a file whose facts may not be read");
                    self.scan.seen.leave_out(file);
                    self.scan.stamps[place as usize] = None;
                }
                Err(errno) => return Err(Fault::new("looking into", dir.path.join(place.name()), errno)),
            }
        }
        Ok(())
    }
}

/// The facts of a readable regular file, or what else it is.
fn facts(folder: &Folder, name: &[u8], user: Uid) -> Result<Result<Facts, &'static str>, Errno> {
    let stat = folder.stat(name)?;
    // The kind that readdir told may be missing, or stale.
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::RegularFile {
        return Ok(Err(describe(kind)));
    }
    // The owner's rights are what the mode says, also where there are access lists.
    let is_owners = stat.st_uid == user.as_raw() && stat.st_mode & 0o400 != 0;
    if !is_owners && !folder.is_readable(name) {
        // Unless it was renamed since.
        folder.stat(name)?;
        return Ok(Err("a file that may not be read"));
    }
    Ok(Ok(Facts { stored: size_octets(&stat), modified_ns: modified_ns(&stat) }))
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
    state: &'a State,
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
    pub(super) record: usize,
    /// The base that its name has now.
    pub(super) base: Box<[u8]>,
    pub(super) place: Place,
    pub(super) suffix: Box<[u8]>,
    pub(super) inode: u64,
}

impl Placement {
    pub(super) fn located(&self) -> Located<'_> {
        Located { place: self.place, suffix: &self.suffix, inode: self.inode }
    }
}

impl<'a> Sought<'a> {
    /// The messages at these `places` of the records.
    pub(super) fn new(state: &'a State, places: impl Iterator<Item = usize>) -> Self {
        let (mut bases, mut stems) = (HashMap::new(), HashMap::new());
        for place in places {
            let base = state.base(place);
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
        let all = (0..state.len()).map(|place| state.base(place));
        let others = all.filter(|base| !bases.contains_key(base) && stems.contains_key(&name::stem(base)));
        let others = others.collect();
        Self { state, bases, stems, others }
    }

    /// Which message's file a name is. Under another base it is the same message if the file is the same by its facts.
    fn whose(&self, folder: &Folder, name: &[u8], base: &[u8]) -> Option<usize> {
        if let Some(&place) = self.bases.get(base) {
            return Some(place);
        }
        let place = self.stems.get(&name::stem(base)).copied().flatten()?;
        let stat = (!self.others.contains(base)).then(|| folder.stat(name).ok()).flatten()?;
        let facts = Facts { stored: size_octets(&stat), modified_ns: modified_ns(&stat) };
        (facts == self.state.facts(place)).then_some(place)
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
                found.push(Placement {
                    record: whose,
                    base: base.into(),
                    place,
                    suffix: suffix.into(),
                    inode,
                });
            }
            true
        })?;
    }
    Ok(found)
}
