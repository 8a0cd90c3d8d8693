//! One open Maildir: the trait [`Maildrop`] on top of [`Open`], whose calls block and run in tokio's pool, but for what
//! can be answered at once.
//!
//! Counting is `count.rs`, UPDATE is `commit.rs`.

use std::{
    fs::File,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use restante_proto::{Marks, UniqueIds};
use rustix::{fs::fstat, io::Errno};

use super::{
    cache::Cache,
    count::{self, MEASURE_BUFFER_OCTETS},
    dir::{Fault, modified_ns, size_octets},
    lock::{self, Lock},
    said::{self, About},
    scan::{self, Sought},
    snapshot,
    state::{Count, Facts, NO_INODE, State},
    state_io::{self, Identity, Remembered, STATE_FILE, StateFile},
};
use crate::{CommitError, Maildrop, Message, OpenError, Source, StoreError, Task};

/// The most unique-ids in one page.
const PAGE_MAX_IDS: usize = 4096;

/// How long unique-ids of usual Maildirs are, in octets.
const USUAL_ID_OCTETS: usize = 32;

/// A maildrop with more messages than this is opened in the pool, and freed there: to list them takes a while.
const AT_ONCE_MAX_MESSAGES: usize = 10_000;

/// How often a message that keeps moving is looked for at most, before a session is told to try again.
pub(super) const ROUNDS_MAX: u32 = 16;

/// How often a message must not be found before it counts as removed by somebody else.
pub(super) const LOOKS_FOR_THE_GONE: u32 = 2;

/// Seconds since 1970.
pub(super) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// An open Maildir; its calls block.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) lock: Lock,
    pub(super) state: State,
    file: StateFile,
    cache: Arc<Cache>,
    /// The messages of the session, as places in the state's records.
    pub(super) shown: Vec<u32>,
    /// How many messages came back under other names, and so with other ids.
    changed_ids: u32,
    /// Whether the state file is not to be written, or could not be; said once.
    read_only: bool,
}

impl Open {
    /// Takes the snapshot of a maildrop that was locked.
    pub(super) fn new(lock: Lock, cache: Arc<Cache>) -> Result<Self, OpenError> {
        let Some(dir) = lock.dir() else {
            return Ok(Self::with(lock, Remembered::default(), cache));
        };
        let kept = cache.take(dir.path).filter(|kept| kept.file.identity == state_io::identity(dir));
        let mut changed_ids = 0;
        let mut remembered = kept.map_or_else(|| state_io::read(dir), Ok)?;
        let read = scan::stale(dir, &remembered.state)?;
        if read != [false; 2] {
            let state = &mut remembered.state;
            let scan = scan::scan(dir, state, read)?;
            changed_ids = snapshot::meet(state, &scan, now_seconds());
            if changed_ids > 0 {
                tracing::warn!(
                    maildir = %dir.path.display(), messages = changed_ids,
                    "messages came back under other file names: their unique-ids changed, and clients will fetch them again"
                );
            }
        }
        let mut open = Self::with(lock, remembered, cache);
        open.changed_ids = u32::try_from(changed_ids).unwrap_or(u32::MAX);
        open.save();
        Ok(open)
    }

    /// Takes the snapshot of a maildrop that was locked, if it is as it was when it was last open here, and nothing
    /// has to be waited for; else gives the lock back.
    pub(super) fn at_once(lock: Lock, cache: &Arc<Cache>) -> Result<Self, Lock> {
        let few = cache.messages(lock.path()).is_some_and(|messages| messages <= AT_ONCE_MAX_MESSAGES);
        let Some(dir) = lock.dir().filter(|_| few) else { return Err(lock) };
        let identity = match dir.stat_at_once(STATE_FILE) {
            Some(Ok(stat)) => Some(Identity::of(&stat)),
            Some(Err(Errno::NOENT)) => None,
            Some(Err(_)) | None => return Err(lock),
        };
        let Some(kept) = cache.take(dir.path) else { return Err(lock) };
        if kept.file.identity != identity || !scan::is_fresh_at_once(dir, &kept.state) {
            // Somebody else may have use for it, and this session has in the pool.
            drop(cache.put(dir.path, kept));
            return Err(lock);
        }
        Ok(Self::with(lock, kept, Arc::clone(cache)))
    }

    fn with(lock: Lock, Remembered { state, file }: Remembered, cache: Arc<Cache>) -> Self {
        let shown = state.there();
        Self { lock, state, read_only: file.keep, file, cache, shown, changed_ids: 0 }
    }

    /// Whether there is something to write into the state file.
    fn has_news(&self) -> bool {
        self.state.is_dirty() && !self.read_only && self.lock.dir().is_some()
    }

    /// Writes the state file if it says something else than is known.
    pub(super) fn save(&mut self) {
        let Some(dir) = self.lock.dir().filter(|_| self.state.is_dirty() && !self.read_only) else { return };
        match state_io::write(dir, &mut self.state, &mut self.file) {
            Ok(()) => {
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

    /// Saves what is not saved, and releases the lock.
    fn close(&mut self) {
        self.save();
        drop(self.release());
    }

    /// Releases the lock. Returns what has to be freed.
    ///
    /// Whoever still holds a handle, such as a count that was given up, finds an empty drop.
    fn release(&mut self) -> Free {
        let (state, shown) = (std::mem::take(&mut self.state), std::mem::take(&mut self.shown));
        let mut gone = Vec::new();
        let remembered = Remembered { state, file: self.file };
        // What could not be written would be believed to be in the file.
        if self.lock.dir().is_some() && !remembered.state.is_dirty() && !self.file.keep {
            gone = self.cache.put(self.lock.path(), remembered);
        } else {
            gone.push(remembered);
        }
        self.lock.release();
        Free { gone, shown }
    }

    /// The place in the records of the message at this index of the session.
    pub(super) fn place(&self, index: u32) -> Option<usize> {
        self.shown.get(index as usize).map(|&place| place as usize)
    }

    pub(super) fn known_sizes(&self) -> Option<Arc<[u64]>> {
        // A length that is known in advance makes one allocation.
        let mut sizes = Vec::with_capacity(self.shown.len());
        for &place in &self.shown {
            sizes.push(self.state.records[place as usize].known_octets()?);
        }
        Some(sizes.into())
    }

    /// Counts what is not counted yet, until `abandoned` says that nobody waits any more.
    fn sizes(&mut self, abandoned: &AtomicBool) -> Result<Arc<[u64]>, StoreError> {
        let counted = self.count(abandoned);
        self.save();
        counted?;
        let octets = self.shown.iter().map(|&place| {
            let record = &self.state.records[place as usize];
            record.known_octets().unwrap_or(record.stored)
        });
        Ok(octets.collect())
    }

    fn unique_ids(&self, range: Range<u32>) -> UniqueIds {
        let places = self.shown.get(range.start as usize..range.end as usize).unwrap_or_default();
        let places = &places[..places.len().min(PAGE_MAX_IDS)];
        let mut page = UniqueIds::with_capacity(places.len(), places.len() * USUAL_ID_OCTETS);
        for &place in places {
            // Each was legal when it was given or read.
            page.push_octets(self.state.records[place as usize].id_raw(&self.state.text));
        }
        page
    }

    /// Opens a message that has been read before and is as it was, if nothing has to be waited for.
    fn message_at_once(&self, index: u32) -> Option<Message> {
        let (dir, place) = (self.lock.dir()?, self.place(index)?);
        let located = self.state.located(place)?;
        let Count::Measured(measured) = self.state.count(place) else { return None };
        let (file, stat) = dir.open_at_once(located.place, self.state.file_name(place))?;
        let facts = Facts { stored: size_octets(&stat), modified_ns: modified_ns(&stat) };
        (facts == self.state.facts(place)).then(|| Message {
            source: Source::File(file),
            stored: facts.stored,
            octets: measured.octets,
            form: measured.form,
        })
    }

    fn message(&mut self, index: u32) -> Result<Message, StoreError> {
        let place = self.place(index).ok_or(StoreError::Gone)?;
        let file = self.open_file(place)?;
        let stat = fstat(&file).map_err(|errno| self.fault(place, errno))?;
        let same =
            self.state.facts(place) == Facts { stored: size_octets(&stat), modified_ns: modified_ns(&stat) };
        if !same || !matches!(self.state.count(place), Count::Measured(_) | Count::Encoded(_)) {
            self.measure(place, &file, &mut vec![0; MEASURE_BUFFER_OCTETS])?;
        }
        match self.state.count(place) {
            Count::Measured(measured) => Ok(Message {
                source: Source::File(file),
                stored: self.state.facts(place).stored,
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

    /// Reads a message and takes note of its length and form.
    pub(super) fn measure(&mut self, place: usize, file: &File, buffer: &mut [u8]) -> Result<(), StoreError> {
        let counted = count::measure(file, buffer);
        let (facts, count) = counted
            .map_err(|error| Fault::new("reading", self.file_path(place), error))?
            .ok_or(StoreError::Gone)?;
        self.state.measured(place, facts, count);
        Ok(())
    }

    /// Opens a message's file, wherever it is by now.
    pub(super) fn open_file(&mut self, place: usize) -> Result<File, StoreError> {
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
        let (Some(dir), Some(located)) = (self.lock.dir(), self.state.located(place)) else {
            return Err(StoreError::Gone);
        };
        let folder = dir.folder(located.place)?.ok_or(StoreError::Gone)?;
        match folder.open(self.state.file_name(place)) {
            Ok(file) => Ok(file),
            Err(Errno::NOENT) => Err(StoreError::Gone),
            Err(errno) => Err(self.fault(place, errno).into()),
        }
    }

    /// Reads the folders again, and takes note of where the session's messages are now; whether this one was seen.
    fn find_again(&mut self, sought: usize) -> Result<bool, StoreError> {
        let Some(dir) = self.lock.dir() else { return Ok(false) };
        let wanted = Sought::new(&self.state, self.shown.iter().map(|&place| place as usize));
        let mut found = false;
        for placement in scan::locate(dir, &wanted)? {
            found |= placement.record == sought;
            // Another program may have added or corrected `,S=` or `,W=`. Another file is not what is known of this one.
            let mut located = placement.located();
            if self.state.located(placement.record).is_none_or(|known| known.inode != located.inode) {
                located.inode = NO_INODE;
            }
            self.state.relocate(placement.record, &placement.base, located);
        }
        Ok(found)
    }

    fn fault(&self, place: usize, errno: Errno) -> Fault {
        Fault::new("reading", self.file_path(place), errno)
    }

    /// The path of a message's file, for people to read.
    pub(super) fn file_path(&self, place: usize) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let path = self.lock.path();
        self.state.located(place).map_or_else(
            || path.to_owned(),
            |located| {
                let name = std::ffi::OsStr::from_bytes(self.state.file_name(place));
                path.join(located.place.name()).join(name)
            },
        )
    }
}

/// What a session leaves behind to be freed.
#[must_use]
struct Free {
    gone: Vec<Remembered>,
    shown: Vec<u32>,
}

impl Free {
    /// Frees it: in the pool, where that takes its time.
    fn free(self) {
        let messages = self.gone.iter().map(|gone| gone.state.len()).sum::<usize>() + self.shown.len();
        in_pool(move || drop(self), messages > AT_ONCE_MAX_MESSAGES);
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
    changed_ids: u32,
    sizes: Option<Arc<[u64]>>,
    /// Tells the pool's thread that the session ended and nobody waits for sizes any more.
    abandoned: Arc<AtomicBool>,
}

impl MaildirDrop {
    pub(super) fn new(open: Open) -> Self {
        let sizes = open.known_sizes();
        // `MESSAGES_MAX` is far below.
        let messages = u32::try_from(open.shown.len()).unwrap_or(u32::MAX);
        let (path, changed_ids) = (open.lock.path().to_owned(), open.changed_ids);
        let open = Arc::new(Mutex::new(open));
        Self { open, path, committing: false, messages, changed_ids, sizes, abandoned: Arc::default() }
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
        let free = self.open.try_lock().ok().filter(|open| !open.has_news()).map(|mut open| open.release());
        if let Some(free) = free {
            free.free();
        } else {
            lock::closing(&self.path);
            let open = Arc::clone(&self.open);
            in_pool(move || lock(&open).close(), true);
        }
    }
}

/// Does something in tokio's pool, if there is one and it is worth it.
fn in_pool(work: impl FnOnce() + Send + 'static, worth_it: bool) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) if worth_it => drop(runtime.spawn_blocking(work)),
        _ => work(),
    }
}

/// A panic in another call leaves the state whole: records are only ever replaced in place.
fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Maildrop for MaildirDrop {
    fn messages(&self) -> u32 {
        self.messages
    }

    fn changed_unique_ids(&self) -> u32 {
        self.changed_ids
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
            let at_once = self.open.try_lock().ok().and_then(|open| open.message_at_once(index));
            let message = match at_once {
                Some(message) => message,
                None => self.blocking(move |open| open.message(index)).await?,
            };
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
        let marked = deleted.count();
        if marked == 0
            && let Ok(mut open) = open.try_lock()
            && !open.has_news()
        {
            let free = open.release();
            drop(open);
            free.free();
            return Box::pin(std::future::ready(Ok(())));
        }
        drop(self);
        Box::pin(async move {
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
mod tests;
