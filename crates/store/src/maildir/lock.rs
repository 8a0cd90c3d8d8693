//! The lock of a maildrop: `flock` on the Maildir's own directory, and a table in this process.
//!
//! The directory's lock keeps other processes out and dies with this one; no lock file is left behind. The table
//! speaks where there is no directory yet, and lets a client that reconnects quickly wait for the end of its session
//! that is over, while the pool still saves what that session found out. Deliveries and other programs' sessions take no lock, and need none.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::dir::{Dir, Fault, Missing, open_below, open_below_at_once, retry};
use crate::OpenError;

/// The maildrops that this process has locked.
static HELD: LazyLock<Mutex<BTreeMap<PathBuf, Holder>>> = LazyLock::new(Mutex::default);

/// Tells those who wait that an entry was removed.
static FREED: Condvar = Condvar::new();

/// How long a session that is over is waited for: far longer than one state file takes.
const CLOSING_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Session,
    /// A session that is over.
    Closing,
}

fn held() -> MutexGuard<'static, BTreeMap<PathBuf, Holder>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that the session that holds the maildrop at `path` is over and will release it soon. Only its holder does so.
pub(super) fn closing(path: &Path) {
    if let Some(holder) = held().get_mut(path) {
        *holder = Holder::Closing;
    }
}

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
        held().remove(&self.0);
        FREED.notify_all();
    }
}

impl Lock {
    /// Locks the Maildir at `path` below `root`, which need not exist. Blocks while another session is just ending.
    pub(super) fn acquire(root: &Path, path: &Path) -> Result<Self, OpenError> {
        let ending = |held: &mut BTreeMap<PathBuf, Holder>| held.get(path) == Some(&Holder::Closing);
        let waited = FREED.wait_timeout_while(held(), CLOSING_PATIENCE, ending);
        let (mut table, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if table.contains_key(path) {
            return Err(OpenError::Busy);
        }
        table.insert(path.to_owned(), Holder::Session);
        drop(table);
        let held = Some(Held(path.to_owned()));
        let dir = open_below(root, path, Missing::Tell)?.map(|dir| lock(dir, path)).transpose()?;
        Ok(Self { path: path.to_owned(), dir, held })
    }

    /// Locks the Maildir if that can be done without waiting: neither for a disk nor for a session that is ending.
    /// `None` is no answer.
    pub(super) fn acquire_at_once(root: &Path, path: &Path) -> Option<Result<Self, OpenError>> {
        match held().entry(path.to_owned()) {
            Entry::Occupied(taken) => {
                return (*taken.get() == Holder::Session).then_some(Err(OpenError::Busy));
            }
            Entry::Vacant(free) => free.insert(Holder::Session),
        };
        let held = Some(Held(path.to_owned()));
        let dir = open_below_at_once(root, path)?;
        Some(lock(dir, path).map(|dir| Self { path: path.to_owned(), dir: Some(dir), held }))
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
