//! UPDATE: removing the marked messages durably (RFC 1939 §6).
//!
//! A crash between any two steps leaves some of the marked messages removed and nothing else changed.

use std::{collections::HashMap, io};

use restante_proto::Marks;
use rustix::io::Errno;

use super::{
    dir::{Dir, Fault, Folder, Place, modified_ns, size_octets},
    maildrop::{LOOKS_FOR_THE_GONE, Open, ROUNDS_MAX, now_seconds},
    name, quota,
    scan::{self, Located, Sought},
    state::Record,
};
use crate::{CommitError, crash};

/// The state of one commit.
struct Update<'a> {
    dir: Dir<'a>,
    folders: [Option<Folder>; 2],
    /// Where something was removed, and is not durably so yet.
    touched: [bool; 2],
    records: &'a [Record],
    /// By their places in the records.
    marked: HashMap<usize, Fate>,
    freed: quota::Change,
    error: Option<io::Error>,
}

/// What became of one marked message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fate {
    stored: u64,
    modified_ns: i64,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was not found where it was looked for, so far.
    Sought,
    /// We removed it from this folder.
    Removed(Place),
    /// It could not be removed.
    Refused,
}

impl Open {
    /// Removes the marked messages, durably.
    pub(super) fn commit(&mut self, deleted: &Marks) -> Result<(), CommitError> {
        let places: Vec<usize> = deleted.iter().filter_map(|index| self.place(index)).collect();
        let done = self.remove(&places);
        if done.is_ok() {
            let now = now_seconds();
            for place in places {
                self.snapshot.records[place].missing_since = Some(now);
                self.snapshot.located[place] = None;
                self.snapshot.dirty = true;
            }
        }
        // After a failure the next session finds out what is there.
        self.save();
        done
    }

    fn remove(&self, places: &[usize]) -> Result<(), CommitError> {
        let Some(dir) = self.lock.dir().filter(|_| !places.is_empty()) else { return Ok(()) };
        let all = u32::try_from(places.len()).unwrap_or(u32::MAX);
        let failed = |fault: Fault| CommitError { remain: all, source: fault.source };
        let folders = [dir.folder(Place::New).map_err(failed)?, dir.folder(Place::Cur).map_err(failed)?];
        let marked = places.iter().map(|&place| {
            let record = &self.snapshot.records[place];
            (place, Fate { stored: record.stored, modified_ns: record.modified_ns, end: End::Sought })
        });
        let mut update = Update {
            dir,
            folders,
            touched: [false; 2],
            records: &self.snapshot.records,
            marked: marked.collect(),
            freed: quota::Change::default(),
            error: None,
        };
        crash::point("commit: begun");
        for &place in places {
            if let Some(located) = &self.snapshot.located[place] {
                update.unlink(place, &self.snapshot.records[place].base, located);
            }
            crash::point("commit: one removed");
        }
        if let Err(fault) = update.pursue() {
            update.give_up(|fate| fate.end == End::Sought, fault.source);
        }
        crash::point("commit: all removed");
        update.sync();
        crash::point("commit: synced");
        quota::record(dir, update.freed);
        crash::point("commit: quota told");
        update.outcome()
    }
}

impl Update<'_> {
    fn folder(&self, place: Place) -> Option<&Folder> {
        self.folders[place as usize].as_ref()
    }

    /// Removes one file of a marked message; whether there was something to try.
    fn unlink(&mut self, place: usize, base: &[u8], located: &Located) -> bool {
        let Some(fate) = self.marked.get(&place).copied().filter(|fate| fate.end != End::Refused) else {
            return false;
        };
        let name = located.name(base);
        let again = matches!(fate.end, End::Removed(_));
        if again && !self.is_copy(&name, located.place, fate) {
            return false;
        }
        let unlinked = self.folder(located.place).map_or(Err(Errno::NOENT), |folder| folder.unlink(&name));
        let end = match unlinked {
            Ok(()) => {
                self.touched[located.place as usize] = true;
                if !again && !name::is_trashed(&located.suffix) {
                    self.freed.removed(fate.stored);
                }
                End::Removed(located.place)
            }
            Err(Errno::NOENT) => fate.end,
            Err(errno) => {
                self.error.get_or_insert_with(|| errno.into());
                End::Refused
            }
        };
        if let Some(fate) = self.marked.get_mut(&place) {
            fate.end = end;
        }
        true
    }

    /// Whether a second file of a message that was removed is the same message: one that is moved by link and unlink
    /// is in both folders for a moment. Another message under the same name stays.
    fn is_copy(&self, name: &[u8], place: Place, fate: Fate) -> bool {
        let stat = self.folder(place).and_then(|folder| folder.stat(name).ok());
        stat.is_some_and(|stat| (size_octets(&stat), modified_ns(&stat)) == (fate.stored, fate.modified_ns))
    }

    /// Finds the marked messages that were renamed under us, and copies of those that were removed, until a look finds
    /// nothing more to do.
    fn pursue(&mut self) -> Result<(), Fault> {
        let wanted = Sought::new(self.records, self.marked.keys().copied());
        let mut empty_looks = 0;
        for _ in 0..ROUNDS_MAX {
            let mut tried = false;
            for found in scan::locate(self.dir, &wanted)? {
                tried |= self.unlink(found.place, &found.base, &found.located);
            }
            crash::point("commit: looked again");
            empty_looks = if tried { 0 } else { empty_looks + 1 };
            let sought = self.marked.values().any(|fate| fate.end == End::Sought);
            // `readdir` may miss a file that is renamed meanwhile: one look is no proof for what is still sought.
            if empty_looks >= if sought { LOOKS_FOR_THE_GONE } else { 1 } {
                return Ok(());
            }
        }
        // They kept moving: what is sought and still there was not removed.
        for found in scan::locate(self.dir, &wanted)? {
            if let Some(fate) = self.marked.get_mut(&found.place).filter(|fate| fate.end == End::Sought) {
                fate.end = End::Refused;
                self.error.get_or_insert_with(|| io::ErrorKind::ResourceBusy.into());
            }
        }
        Ok(())
    }

    /// Takes note that some messages were not removed, or not durably.
    fn give_up(&mut self, which: impl Fn(&Fate) -> bool, error: io::Error) {
        self.error.get_or_insert(error);
        self.marked.values_mut().filter(|fate| which(fate)).for_each(|fate| fate.end = End::Refused);
    }

    /// One fsync for each folder touched. What somebody else removed is made durable too: both folders are then.
    fn sync(&mut self) {
        let gone = self.marked.values().any(|fate| fate.end == End::Sought);
        for place in Place::BOTH {
            let Some(folder) = self.folder(place).filter(|_| gone || self.touched[place as usize]) else {
                continue;
            };
            let synced = folder.sync();
            crash::point("commit: one folder synced");
            if let Err(errno) = synced {
                let lost = |fate: &Fate| fate.end == End::Removed(place) || fate.end == End::Sought;
                self.give_up(lost, errno.into());
            }
        }
    }

    fn outcome(self) -> Result<(), CommitError> {
        let remain = self.marked.values().filter(|fate| fate.end == End::Refused).count();
        match self.error {
            Some(source) if remain > 0 => {
                Err(CommitError { remain: u32::try_from(remain).unwrap_or(u32::MAX), source })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::lock::Lock, *};

    #[test]
    fn what_was_removed_is_durably_so_before_it_is_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = folder.path().join("john");
        for name in ["new", "cur"] {
            std::fs::create_dir_all(maildir.join(name)).unwrap();
        }
        for name in ["new/1", "new/2", "cur/3:2,S", "cur/4:2,S"] {
            std::fs::write(maildir.join(name), "Subject: a\n").unwrap();
        }
        let calls = |indices: &[u32], messages| {
            let mut open = Open::new(Lock::acquire(folder.path(), &maildir).unwrap()).unwrap();
            let mut deleted = Marks::default();
            assert!(indices.iter().all(|&index| deleted.mark(index, messages)));
            crash::take_noted();
            open.commit(&deleted).unwrap();
            crash::take_noted()
        };
        let state = ["write state", "fsync state", "rename state", "fsync maildir"];
        let one = ["unlink message", "fsync new"];
        assert_eq!(calls(&[0], 4), [&one[..], &state].concat(), "one fsync for each folder touched");
        let both = ["unlink message", "unlink message", "fsync new", "fsync cur"];
        assert_eq!(calls(&[0, 1], 3), [&both[..], &state].concat());
        assert_eq!(calls(&[], 1), [""; 0], "nothing marked, nothing done");
    }
}
