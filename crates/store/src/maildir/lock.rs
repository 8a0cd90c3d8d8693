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
    // Unlocked before the table is left: whoever finds the table free finds the directory free too.
    dir: Option<Locked>,
    held: Option<Held>,
}

/// A directory that is locked.
#[derive(Debug)]
struct Locked(OwnedFd);

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing would do, but for a child process that was forked and has not called exec yet: it holds a copy.
        if let Err(error) = retry(|| flock(&self.0, FlockOperation::Unlock)) {
            tracing::warn!(%error, "a maildrop could not be unlocked before it was closed");
        }
    }
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
        let dir = open_path(path)?.map(|dir| lock(dir, path)).transpose()?;
        Ok(Self { path: path.to_owned(), dir, held })
    }

    /// Releases the lock. What is done with it afterwards finds no Maildir.
    pub(super) fn release(&mut self) {
        self.dir = None;
        self.held = None;
    }

    /// The Maildir; `None` if there was none when it was locked.
    pub(super) fn dir(&self) -> Option<Dir<'_>> {
        self.dir.as_ref().map(|dir| Dir { fd: dir.0.as_fd(), path: &self.path })
    }

    /// Where the Maildir is, or would be.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(dir: OwnedFd, path: &Path) -> Result<Locked, OpenError> {
    match retry(|| flock(&dir, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(Locked(dir)),
        Err(Errno::WOULDBLOCK) => Err(OpenError::Busy),
        Err(errno) => Err(Fault::new("locking", path, errno).into()),
    }
}
