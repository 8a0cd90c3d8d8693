//! One open Maildir: the trait [`Maildrop`] on top of [`Open`], whose every call blocks and runs in tokio's pool.
//!
//! UPDATE is `commit.rs`.

use std::{
    fs::File,
    io::Read,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use restante_proto::{Marks, UniqueIds, body::Measure};
use rustix::{
    fs::{FileType, fstat},
    io::Errno,
};

use super::{
    dir::{Fault, modified_ns, size_octets},
    encoded::{Encoding, MAGIC_MAX_OCTETS},
    lock::{self, Lock},
    said::{self, About},
    scan::{self, Facts, Placement, Sought},
    snapshot::Snapshot,
    state::{Count, State},
    state_io::{self, Remembered},
};
use crate::{CommitError, Maildrop, Message, OpenError, Source, StoreError, Task};

/// The most unique-ids in one page.
const PAGE_MAX_IDS: usize = 4096;

/// How often a message that keeps moving is looked for at most, before a session is told to try again.
pub(super) const ROUNDS_MAX: u32 = 16;

/// How often a message must not be found before it counts as removed by somebody else.
pub(super) const LOOKS_FOR_THE_GONE: u32 = 2;

/// How many messages that cannot be counted are logged by name; the rest is only counted.
const UNCOUNTED_LOGGED_MAX: u32 = 20;

/// How much of a message is read at a time while it is measured.
const MEASURE_BUFFER_OCTETS: usize = 128 * 1024;

/// Seconds since 1970.
pub(super) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// An open Maildir; its calls block.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) lock: Lock,
    pub(super) snapshot: Snapshot,
    /// The messages of the session, as places in the snapshot's records.
    pub(super) shown: Vec<u32>,
    /// Whether the state file is not to be written, or could not be; said once.
    read_only: bool,
}

impl Open {
    /// Takes the snapshot of a maildrop that was locked.
    pub(super) fn new(lock: Lock) -> Result<Self, OpenError> {
        let Some(dir) = lock.dir() else {
            return Ok(Self { lock, snapshot: Snapshot::default(), shown: Vec::new(), read_only: false });
        };
        let Remembered { state, keep } = state_io::read(dir)?;
        let known = state.records.iter().filter(|record| record.missing_since.is_none());
        let seen = scan::scan(dir, known.map(|record| &*record.base))?;
        let snapshot = Snapshot::new(state, seen, now_seconds());
        if snapshot.changed_ids > 0 {
            tracing::warn!(
                maildir = %dir.path.display(), messages = snapshot.changed_ids,
                "messages came back under other file names: their unique-ids changed, and clients will fetch them again"
            );
        }
        let shown = snapshot.shown();
        let mut open = Self { lock, snapshot, shown, read_only: keep };
        open.save();
        Ok(open)
    }

    /// Writes the state file if it says something else than is known.
    pub(super) fn save(&mut self) {
        let Some(dir) = self.lock.dir().filter(|_| self.snapshot.dirty && !self.read_only) else { return };
        let state = State { records: std::mem::take(&mut self.snapshot.records) };
        let written = state_io::write(dir, &state);
        self.snapshot.records = state.records;
        match written {
            Ok(()) => {
                self.snapshot.dirty = false;
                said::is_news(dir.path, About::Unwritable, None::<()>);
            }
            Err(fault) => {
                // The drop is served all the same: ids come from the names, sizes are counted again.
                let (maildir, error) = (dir.path.display(), fault.source);
                if said::is_news(dir.path, About::Unwritable, Some(error.to_string())) {
                    tracing::warn!(%maildir, %error, "the state file cannot be written");
                }
                self.read_only = true;
            }
        }
    }

    /// Saves what is not saved, releases the lock, and frees what takes memory.
    ///
    /// Whoever still holds a handle, such as a count that was given up, finds an empty drop.
    fn close(&mut self) {
        self.save();
        self.lock.release();
        self.snapshot = Snapshot::default();
        self.shown = Vec::new();
    }

    /// The place in the records of the message at this index of the session.
    pub(super) fn place(&self, index: u32) -> Option<usize> {
        self.shown.get(index as usize).map(|&place| place as usize)
    }

    fn known_sizes(&self) -> Option<Arc<[u64]>> {
        let records = self.shown.iter().filter_map(|&place| self.snapshot.records.get(place as usize));
        records.map(|record| record.count.octets(record.stored)).collect()
    }

    /// Counts what is not counted yet, until `abandoned` says that nobody waits any more.
    fn sizes(&mut self, abandoned: &AtomicBool) -> Result<Arc<[u64]>, StoreError> {
        let counted = self.count(abandoned);
        self.save();
        counted?;
        let octets = self.shown.iter().map(|&place| {
            let record = &self.snapshot.records[place as usize];
            record.count.octets(record.stored).unwrap_or(record.stored)
        });
        Ok(octets.collect())
    }

    fn count(&mut self, abandoned: &AtomicBool) -> Result<(), StoreError> {
        let mut uncounted = 0u32;
        let mut buffer = vec![0; MEASURE_BUFFER_OCTETS];
        for index in 0..self.shown.len() {
            let Some(place) = self.shown.get(index).map(|&place| place as usize) else { continue };
            if self.snapshot.records[place].count != Count::Unknown || abandoned.load(Ordering::Relaxed) {
                continue;
            }
            match self.open_file(place).and_then(|file| self.measure(place, &file, &mut buffer)) {
                Ok(()) | Err(StoreError::Gone) => {}
                // One message that cannot be counted does not take the others hostage: it is listed by the size of its
                // file, and RETR will tell what is wrong with it.
                Err(error @ (StoreError::Denied { .. } | StoreError::Encoded { .. })) => {
                    uncounted += 1;
                    if uncounted <= UNCOUNTED_LOGGED_MAX {
                        let base = self.snapshot.records[place].base.escape_ascii();
                        tracing::warn!(maildir = %self.path(), %base, %error, "a message could not be counted");
                    }
                }
                // A system that is out of descriptors or memory, or a disk that fails, makes no sizes.
                Err(error @ StoreError::Broken { .. }) => return Err(error),
            }
        }
        if uncounted > UNCOUNTED_LOGGED_MAX {
            let messages = uncounted - UNCOUNTED_LOGGED_MAX;
            tracing::warn!(maildir = %self.path(), messages, "more messages could not be counted");
        }
        Ok(())
    }

    fn unique_ids(&self, range: Range<u32>) -> UniqueIds {
        let places = self.shown.get(range.start as usize..range.end as usize).unwrap_or_default();
        places.iter().take(PAGE_MAX_IDS).map(|&place| &self.snapshot.records[place as usize].id).collect()
    }

    fn message(&mut self, index: u32) -> Result<Message, StoreError> {
        let place = self.place(index).ok_or(StoreError::Gone)?;
        let file = self.open_file(place)?;
        let stat = fstat(&file).map_err(|errno| self.fault(place, errno))?;
        let record = &self.snapshot.records[place];
        let same = (record.stored, record.modified_ns) == (size_octets(&stat), modified_ns(&stat));
        if !same || !matches!(record.count, Count::Measured(_) | Count::Encoded(_)) {
            self.measure(place, &file, &mut vec![0; MEASURE_BUFFER_OCTETS])?;
        }
        let record = &self.snapshot.records[place];
        let (stored, count) = (record.stored, record.count);
        match count {
            Count::Measured(measured) => Ok(Message {
                source: Source::File(file),
                stored,
                octets: measured.octets,
                form: measured.form,
            }),
            Count::Encoded(encoding) => {
                let (path, what) = (self.file_path(place), encoding.describe());
                tracing::warn!(file = %path.display(), what, "not served raw");
                Err(StoreError::Encoded { path, what })
            }
            // `measure` leaves neither.
            Count::Unknown | Count::Claimed(_) => Err(StoreError::Gone),
        }
    }

    /// Opens a message's file, wherever it is by now.
    fn open_file(&mut self, place: usize) -> Result<File, StoreError> {
        let mut absent_looks = 0;
        for _ in 0..ROUNDS_MAX {
            match self.open_located(place) {
                Err(StoreError::Gone) => {}
                opened => return opened,
            }
            // `readdir` may miss a file that is renamed meanwhile: one look is no proof.
            if !self.find_again(place)? {
                absent_looks += 1;
                if absent_looks >= LOOKS_FOR_THE_GONE {
                    return Err(StoreError::Gone);
                }
            }
        }
        // It is there, and moves each time before it can be opened.
        Err(self.fault(place, Errno::BUSY).into())
    }

    fn open_located(&self, place: usize) -> Result<File, StoreError> {
        let (Some(dir), Some(located)) = (self.lock.dir(), &self.snapshot.located[place]) else {
            return Err(StoreError::Gone);
        };
        let folder = dir.folder(located.place)?.ok_or(StoreError::Gone)?;
        match folder.open(&located.name(&self.snapshot.records[place].base)) {
            Ok(file) => Ok(file),
            Err(Errno::NOENT) => Err(StoreError::Gone),
            Err(errno) => Err(self.fault(place, errno).into()),
        }
    }

    /// Reads the folders again, and takes note of where the session's messages are now; whether this one was seen.
    fn find_again(&mut self, sought: usize) -> Result<bool, StoreError> {
        let Some(dir) = self.lock.dir() else { return Ok(false) };
        let wanted = Sought::new(&self.snapshot.records, self.shown.iter().map(|&place| place as usize));
        let mut found = false;
        for Placement { place, base, located } in scan::locate(dir, &wanted)? {
            found |= place == sought;
            self.snapshot.located[place] = Some(located);
            if base != self.snapshot.records[place].base {
                // Another program added or corrected `,S=` or `,W=`.
                self.snapshot.records[place].base = base;
                self.snapshot.dirty = true;
            }
        }
        Ok(found)
    }

    /// Reads a message and takes note of its length and form.
    fn measure(&mut self, place: usize, mut file: &File, buffer: &mut [u8]) -> Result<(), StoreError> {
        let broken = |error: std::io::Error| Fault::new("reading", self.file_path(place), error);
        let stat = fstat(file).map_err(|errno| broken(errno.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(StoreError::Gone);
        }
        let mut measure = Measure::default();
        let mut start = Vec::with_capacity(MAGIC_MAX_OCTETS);
        let mut encoding = None;
        loop {
            let octets = match file.read(buffer) {
                Ok(0) => break,
                Ok(octets) => octets,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(error).into()),
            };
            let piece = &buffer[..octets];
            if start.len() < MAGIC_MAX_OCTETS {
                start.extend(piece.iter().take(MAGIC_MAX_OCTETS - start.len()));
                encoding = Encoding::recognise(&start);
                if encoding.is_some() {
                    break;
                }
            }
            measure.push(piece);
        }
        let stored = size_octets(&stat);
        let count = match encoding {
            Some(encoding) => Count::Encoded(encoding),
            None => Count::Measured(measure.finish()),
        };
        let record = &mut self.snapshot.records[place];
        let before = (Facts::of(record), record.count);
        record.stored = if encoding.is_some() { stored } else { measure.stored_octets() };
        record.modified_ns = modified_ns(&stat);
        record.count = count;
        self.snapshot.dirty |= before != (Facts::of(record), count);
        Ok(())
    }

    fn fault(&self, place: usize, errno: Errno) -> Fault {
        Fault::new("reading", self.file_path(place), errno)
    }

    fn path(&self) -> std::path::Display<'_> {
        self.lock.path().display()
    }

    /// The path of a message's file, for people to read.
    fn file_path(&self, place: usize) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let path = self.lock.path();
        self.snapshot.located[place].as_ref().map_or_else(
            || path.to_owned(),
            |located| {
                let name = located.name(&self.snapshot.records[place].base);
                path.join(located.place.name()).join(std::ffi::OsStr::from_bytes(&name))
            },
        )
    }
}

/// The session's handle of an open Maildir.
#[derive(Debug)]
pub(super) struct MaildirDrop {
    open: Arc<Mutex<Open>>,
    path: PathBuf,
    /// Whether the commit releases the lock.
    committing: bool,
    messages: u32,
    sizes: Option<Arc<[u64]>>,
    /// Tells the pool's thread that the session ended and nobody waits for sizes any more.
    abandoned: Arc<AtomicBool>,
}

impl MaildirDrop {
    pub(super) fn new(open: Open) -> Self {
        let sizes = open.known_sizes();
        // `MESSAGES_MAX` is far below.
        let messages = u32::try_from(open.shown.len()).unwrap_or(u32::MAX);
        let path = open.lock.path().to_owned();
        let open = Arc::new(Mutex::new(open));
        Self { open, path, committing: false, messages, sizes, abandoned: Arc::default() }
    }

    /// Runs a call in tokio's pool.
    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Open) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let open = Arc::clone(&self.open);
        let done = tokio::task::spawn_blocking(move || call(&mut lock(&open))).await;
        done.unwrap_or_else(|error| {
            Err(StoreError::Broken { context: "reading a maildrop".to_owned(), source: error.into() })
        })
    }
}

impl Drop for MaildirDrop {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
        if self.committing {
            return;
        }
        // Nearly always the lock is free at once. Otherwise there is something to save, or a count to give up, and the
        // pool releases it some milliseconds later: a client that reconnects meanwhile waits for that.
        match self.open.try_lock() {
            Ok(mut open) if !open.snapshot.dirty || open.read_only => open.lock.release(),
            _ => lock::closing(&self.path),
        }
        // A big drop takes its time to be freed.
        let open = Arc::clone(&self.open);
        let close = move || lock(&open).close();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(close)),
            Err(_) => close(),
        }
    }
}

/// A panic in another call leaves the snapshot whole: records are only ever replaced in place.
fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Maildrop for MaildirDrop {
    fn messages(&self) -> u32 {
        self.messages
    }

    fn known_sizes(&self) -> Option<Arc<[u64]>> {
        self.sizes.clone()
    }

    fn sizes(&mut self) -> Task<'_, Result<Arc<[u64]>, StoreError>> {
        Box::pin(async move {
            if let Some(sizes) = &self.sizes {
                return Ok(Arc::clone(sizes));
            }
            let abandoned = Arc::clone(&self.abandoned);
            let sizes = self.blocking(move |open| open.sizes(&abandoned)).await?;
            self.sizes = Some(Arc::clone(&sizes));
            Ok(sizes)
        })
    }

    fn unique_ids(&mut self, range: Range<u32>) -> Task<'_, Result<UniqueIds, StoreError>> {
        Box::pin(async move {
            // Nearly always free; it is not where a call that was given up still counts sizes.
            if let Ok(open) = self.open.try_lock() {
                return Ok(open.unique_ids(range));
            }
            self.blocking(move |open| Ok(open.unique_ids(range))).await
        })
    }

    fn message(&mut self, index: u32) -> Task<'_, Result<Message, StoreError>> {
        Box::pin(async move {
            let message = self.blocking(move |open| open.message(index)).await?;
            if let Some(sizes) = &mut self.sizes
                && sizes.get(index as usize).is_some_and(|&listed| listed != message.octets)
            {
                let mut corrected = sizes.to_vec();
                corrected[index as usize] = message.octets;
                *sizes = corrected.into();
            }
            Ok(message)
        })
    }

    fn commit(mut self: Box<Self>, deleted: Marks) -> Task<'static, Result<(), CommitError>> {
        self.abandoned.store(true, Ordering::Relaxed);
        self.committing = true;
        let open = Arc::clone(&self.open);
        drop(self);
        Box::pin(async move {
            let marked = deleted.count();
            let done = tokio::task::spawn_blocking(move || {
                let mut open = lock(&open);
                let done = open.commit(&deleted);
                open.close();
                done
            });
            done.await.unwrap_or_else(|error| Err(CommitError { remain: marked, source: error.into() }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(folder: &tempfile::TempDir) -> Open {
        let maildir = folder.path().join("john");
        std::fs::create_dir_all(maildir.join("new")).unwrap();
        for name in ["new/1", "new/2"] {
            std::fs::write(maildir.join(name), "Subject: a\n").unwrap();
        }
        Open::new(Lock::acquire(folder.path(), &maildir).unwrap()).unwrap()
    }

    #[test]
    fn sizes_that_nobody_waits_for_any_more_are_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut open = opened(&folder);
        open.sizes(&AtomicBool::new(true)).unwrap();
        assert_eq!(open.known_sizes(), None, "they would hold the lock for long");
        let drop = MaildirDrop::new(open);
        let (abandoned, shared) = (Arc::clone(&drop.abandoned), Arc::clone(&drop.open));
        assert!(!abandoned.load(Ordering::Relaxed));
        // Here without a runtime, so that all is done at once.
        std::mem::drop(drop);
        assert!(abandoned.load(Ordering::Relaxed));
        assert!(lock(&shared).shown.is_empty() && lock(&shared).lock.dir().is_none(), "freed and unlocked");
    }

    #[tokio::test]
    async fn who_reconnects_waits_for_a_session_that_is_over() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let mut open = opened(&folder);
            open.snapshot.dirty = true;
            let drop = MaildirDrop::new(open);
            let shared = Arc::clone(&drop.open);
            // A call that was given up still runs.
            let busy = lock(&shared);
            std::mem::drop(drop);
            let path = folder.path().to_owned();
            let next = tokio::task::spawn_blocking(move || Lock::acquire(&path, &path.join("john")));
            std::mem::drop(busy);
            assert!(next.await.unwrap().unwrap().dir().is_some());
        }
    }
}
