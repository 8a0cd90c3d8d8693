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
    scan::{self, Sought},
    state::{Facts, Located, State},
};
use crate::{CommitError, crash};

/// The state of one commit.
struct Update<'a> {
    dir: Dir<'a>,
    folders: [Option<Folder>; 2],
    /// Where something was removed, and is not durably so yet.
    touched: [bool; 2],
    state: &'a State,
    /// By their places in the records.
    marked: HashMap<usize, Fate>,
    freed: quota::Change,
    error: Option<io::Error>,
}

/// What became of one marked message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fate {
    facts: Facts,
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
                self.state.missing(place, now);
            }
        }
        if deleted.count() > 0 {
            // The next session finds out what is there: also others may have changed something meanwhile.
            self.state.set_stamps([None; 2]);
        }
        self.save();
        done
    }

    fn remove(&self, places: &[usize]) -> Result<(), CommitError> {
        let Some(dir) = self.lock.dir().filter(|_| !places.is_empty()) else { return Ok(()) };
        let all = u32::try_from(places.len()).unwrap_or(u32::MAX);
        let failed = |fault: Fault| CommitError { remain: all, source: fault.source };
        let folders = [dir.folder(Place::New).map_err(failed)?, dir.folder(Place::Cur).map_err(failed)?];
        let marked =
            places.iter().map(|&place| (place, Fate { facts: self.state.facts(place), end: End::Sought }));
        let mut update = Update {
            dir,
            folders,
            touched: [false; 2],
            state: &self.state,
            marked: marked.collect(),
            freed: quota::Change::default(),
            error: None,
        };
        crash::point("commit: begun");
        let mut moved = self.state.stamps[Place::New as usize].is_none();
        for folder in Place::BOTH {
            // What was linked into cur/ before it was removed from new/ has changed cur/, which we have not touched yet.
            moved |= !update.is_unmoved(Place::Cur) && folder == Place::Cur;
            for &place in places {
                if let Some(located) = self.state.located(place).filter(|located| located.place == folder) {
                    update.unlink(place, self.state.base(place), located);
                    crash::point("commit: one removed");
                }
            }
        }
        if (moved || update.seeks())
            && let Err(fault) = update.pursue()
        {
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

    /// Whether nothing has come into a folder or moved within it since it was read. Not, if its times cannot tell, or if
    /// some message was in both folders then.
    fn is_unmoved(&self, place: Place) -> bool {
        let stamp = self.state.stamps[place as usize];
        stamp.is_some() && self.folder(place).and_then(|folder| folder.stamp().ok()) == stamp
    }

    /// Whether some marked message was not found so far.
    fn seeks(&self) -> bool {
        self.marked.values().any(|fate| fate.end == End::Sought)
    }

    /// Removes one file of a marked message; whether there was something to try.
    fn unlink(&mut self, place: usize, base: &[u8], located: Located<'_>) -> bool {
        let Some(fate) = self.marked.get(&place).copied().filter(|fate| fate.end != End::Refused) else {
            return false;
        };
        let name = [base, located.suffix].concat();
        let again = matches!(fate.end, End::Removed(_));
        if again && !self.is_copy(&name, located.place, fate) {
            return false;
        }
        let unlinked = self.folder(located.place).map_or(Err(Errno::NOENT), |folder| folder.unlink(&name));
        let end = match unlinked {
            Ok(()) => {
                self.touched[located.place as usize] = true;
                if !again && !name::is_trashed(located.suffix) {
                    self.freed.removed(fate.facts.stored);
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
        stat.is_some_and(|stat| {
            fate.facts == Facts { stored: size_octets(&stat), modified_ns: modified_ns(&stat) }
        })
    }

    /// Finds the marked messages that were renamed under us, and copies of those that were removed, until a look finds
    /// nothing more to do.
    fn pursue(&mut self) -> Result<(), Fault> {
        let wanted = Sought::new(self.state, self.marked.keys().copied());
        let mut empty_looks = 0;
        for _ in 0..ROUNDS_MAX {
            let mut tried = false;
            for found in scan::locate(self.dir, &wanted)? {
                tried |= self.unlink(found.record, &found.base, found.located());
            }
            crash::point("commit: looked again");
            empty_looks = if tried { 0 } else { empty_looks + 1 };
            let sought = self.seeks();
            // `readdir` may miss a file that is renamed meanwhile: one look is no proof for what is still sought.
            if empty_looks >= if sought { LOOKS_FOR_THE_GONE } else { 1 } {
                return Ok(());
            }
        }
        // They kept moving: what is sought and still there was not removed.
        for found in scan::locate(self.dir, &wanted)? {
            if let Some(fate) = self.marked.get_mut(&found.record).filter(|fate| fate.end == End::Sought) {
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
        let gone = self.seeks();
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
    use std::sync::Arc;

    use super::{
        super::{cache::Cache, lock::Lock},
        *,
    };

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
            let mut open =
                Open::new(Lock::acquire(folder.path(), &maildir).unwrap(), Arc::new(Cache::new(0))).unwrap();
            let mut deleted = Marks::default();
            assert!(indices.iter().all(|&index| deleted.mark(index, messages)));
            crash::take_noted();
            open.commit(&deleted).unwrap();
            crash::take_noted()
        };
        let look = ["read new", "read cur"];
        let one = [&["unlink message"][..], &look, &["fsync new", "append state"]].concat();
        assert_eq!(calls(&[0], 4), one, "one fsync for each folder touched");
        let both = [&["unlink message"; 2][..], &look, &["fsync new", "fsync cur", "append state"]].concat();
        assert_eq!(calls(&[0, 1], 3), both);
        assert_eq!(calls(&[], 1), [""; 0], "nothing marked, nothing done");
    }

    #[test]
    fn folders_that_nobody_else_has_changed_are_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = folder.path().join("john");
        for name in ["new", "cur"] {
            std::fs::create_dir_all(maildir.join(name)).unwrap();
        }
        for name in ["new/1", "new/2", "new/3", "cur/4:2,S"] {
            std::fs::write(maildir.join(name), "Subject: a\n").unwrap();
        }
        let calls = |meanwhile: fn(&std::path::Path)| {
            for name in ["new", "cur"] {
                // Times that are old enough to prove something.
                let dir = std::fs::File::open(maildir.join(name)).unwrap();
                dir.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(60)).unwrap();
            }
            let mut open =
                Open::new(Lock::acquire(folder.path(), &maildir).unwrap(), Arc::new(Cache::new(0))).unwrap();
            let mut deleted = Marks::default();
            assert!(deleted.mark(0, 4));
            meanwhile(&maildir);
            crash::take_noted();
            open.commit(&deleted).unwrap();
            crash::take_noted()
        };
        assert_eq!(calls(|_| ()), ["unlink message", "fsync new", "append state"]);
        // A copy may have come, and there is one.
        let linked = calls(|maildir| {
            std::fs::hard_link(maildir.join("new/2"), maildir.join("cur/2:2,S")).unwrap();
        });
        let found = ["unlink message", "read new", "read cur", "unlink message", "read new", "read cur"];
        assert_eq!(linked[..6], found);
        assert!(!maildir.join("new/2").exists() && !maildir.join("cur/2:2,S").exists());
        // It was not where it was seen.
        let moved =
            calls(|maildir| std::fs::rename(maildir.join("new/3"), maildir.join("new/3:2,S")).unwrap());
        assert_eq!(moved[..4], ["read new", "read cur", "unlink message", "read new"]);
        // One that was in both folders when it was listed.
        std::fs::write(maildir.join("new/5"), "Subject: a\n").unwrap();
        std::fs::hard_link(maildir.join("new/5"), maildir.join("cur/5:2,S")).unwrap();
        assert_eq!(calls(|_| ())[..3], ["unlink message", "read new", "read cur"]);
    }
}
