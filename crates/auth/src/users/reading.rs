//! Reading a users file while others may be writing it: what shows that it has changed, and whether its silence about
//! a name may be believed.
//!
//! An editor that truncates and writes leaves, for a moment, an empty or cut-off file in which real users are missing.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use super::{
    LineError, UsersFile,
    edit::{self, EditError},
};

/// A file changed this recently may be half written, or change again within one tick of the file system's clock,
/// unnoticed.
pub const SETTLES_AFTER: Duration = Duration::from_secs(2);

/// One reading of a users file.
#[derive(Debug)]
pub struct Reading {
    /// The users.
    pub users: UsersFile,
    /// The lines that were left out.
    pub damaged: Vec<LineError>,
    /// Not empty, and no line cut off.
    whole: bool,
    /// As the file was when its last octet had been read: a change before that shows.
    stamp: Stamp,
    was_quiet: bool,
}

impl Reading {
    /// Reads the file. Blocking.
    pub fn of(path: &Path) -> Result<Self, EditError> {
        let mut file = edit::open(path)?;
        let text = edit::read_file(path, &mut file)?;
        let metadata = edit::look_at(path, &file)?;
        let (users, damaged) = UsersFile::parse(&text);
        let (stamp, was_quiet) = (Stamp::of(&metadata), is_quiet(&metadata));
        Ok(Self { users, damaged, whole: text.ends_with(b"\n"), stamp, was_quiet })
    }

    /// Whether a name that is missing is missing for good: the file is not empty, ends with a line's end, and has not
    /// been changed for [`SETTLES_AFTER`].
    pub const fn is_settled(&self) -> bool {
        self.whole && self.was_quiet
    }

    /// As [`Self::is_settled`], where an `earlier` reading is that old: a file that is as it was then has settled,
    /// whatever its time says, which may lie in the future.
    pub fn is_settled_since(&self, earlier: &Self) -> bool {
        self.whole && (self.was_quiet || self.stamp == earlier.stamp)
    }

    /// Whether the file is not empty and ends with a line's end.
    pub const fn is_whole(&self) -> bool {
        self.whole
    }
}

/// What changes when a file changes: device, inode, size, and the times of contents and inode with nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64, u64, u64, (i64, i64), (i64, i64));

impl Stamp {
    pub(crate) fn of(file: &fs::Metadata) -> Self {
        let (changed, inode) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
        Self(file.dev(), file.ino(), file.size(), changed, inode)
    }
}

/// Whether the file's own time says that nothing has changed for [`SETTLES_AFTER`].
pub(crate) fn is_quiet(file: &fs::Metadata) -> bool {
    let changed = file.modified();
    changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > SETTLES_AFTER))
}
