//! The lock of a maildrop: `flock` on the Maildir's own directory, and a table in this process.
//!
//! The directory's lock keeps other processes out and dies with this one; no lock file is left behind. The table
//! speaks where there is no directory yet. Deliveries and other programs' sessions take no lock, and need none.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::dir::{Dir, Fault, open_path, retry};
use crate::OpenError;

/// The maildrops that this process has locked.
static HELD: LazyLock<Mutex<BTreeSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// A locked maildrop. Dropping it releases the lock.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    // Closed before the table is left: whoever finds the table free finds the directory free too.
    dir: Option<OwnedFd>,
    held: Option<Held>,
}

/// An entry in the table.
#[derive(Debug)]
struct Held(PathBuf);

impl Drop for Held {
    fn drop(&mut self) {
        HELD.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

impl Lock {
    /// Locks the Maildir at `path`, which need not exist.
    pub(super) fn acquire(path: &Path) -> Result<Self, OpenError> {
        if !HELD.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned()) {
            return Err(OpenError::Busy);
        }
        let held = Some(Held(path.to_owned()));
        let dir = open_path(path)?;
        if let Some(dir) = &dir {
            match retry(|| flock(dir, FlockOperation::NonBlockingLockExclusive)) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(OpenError::Busy),
                Err(errno) => return Err(Fault::new("locking", path, errno).into()),
            }
        }
        Ok(Self { path: path.to_owned(), dir, held })
    }

    /// Releases the lock. What is done with it afterwards finds no Maildir.
    pub(super) fn release(&mut self) {
        self.dir = None;
        self.held = None;
    }

    /// The Maildir; `None` if there was none when it was locked.
    pub(super) fn dir(&self) -> Option<Dir<'_>> {
        self.dir.as_ref().map(|dir| Dir { fd: dir.as_fd(), path: &self.path })
    }

    /// Where the Maildir is, or would be.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
