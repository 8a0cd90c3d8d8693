//! Finding out how long messages are, and in which form they are stored, by reading them.
//!
//! Many are read by several threads at once; how many threads all maildrops together may have is bounded.

use std::{
    fs::File,
    io::{self, Read},
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use restante_proto::body::Measure;
use rustix::fs::{FileType, fstat};

use super::{
    dir::{Folder, Place, modified_ns, size_octets},
    encoded::{Encoding, MAGIC_MAX_OCTETS},
    maildrop::Open,
    state::{Count, Facts, State},
};
use crate::StoreError;

/// How many messages that cannot be counted are logged by name; the rest is only counted.
const UNCOUNTED_LOGGED_MAX: u32 = 20;

/// How much of a message is read at a time while it is measured.
pub(super) const MEASURE_BUFFER_OCTETS: usize = 128 * 1024;

/// So many messages are worth another thread.
const WORTH_A_THREAD: usize = 256;

/// How many threads may still be started to help with counting.
static HELPERS: LazyLock<AtomicUsize> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    AtomicUsize::new(processors.saturating_sub(1).min(HELPERS_MAX))
});

/// The most threads that help, whatever the machine has.
const HELPERS_MAX: usize = 7;

/// A thread that may be started; given back when it is dropped.
struct Helper;

impl Helper {
    fn get() -> Option<Self> {
        let take = |left: usize| left.checked_sub(1);
        HELPERS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok().map(|_| Self)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        HELPERS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads a message and tells what it is; `None` if it is no regular file.
pub(super) fn measure(mut file: &File, buffer: &mut [u8]) -> io::Result<Option<(Facts, Count)>> {
    let stat = fstat(file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let mut facts = Facts { stored: size_octets(&stat), modified_ns: modified_ns(&stat) };
    let mut measure = Measure::default();
    let mut start = Vec::with_capacity(MAGIC_MAX_OCTETS);
    // Files of a Maildir do not grow: what is behind the end that was told is not asked for.
    while measure.stored_octets() < facts.stored {
        let octets = match file.read(buffer) {
            Ok(0) => break,
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let piece = &buffer[..octets];
        if start.len() < MAGIC_MAX_OCTETS {
            start.extend(piece.iter().take(MAGIC_MAX_OCTETS - start.len()));
            if let Some(encoding) = Encoding::recognise(&start) {
                return Ok(Some((facts, Count::Encoded(encoding))));
            }
        }
        measure.push(piece);
    }
    facts.stored = measure.stored_octets();
    Ok(Some((facts, Count::Measured(measure.finish()))))
}

impl Open {
    /// Counts what is not counted yet, until `abandoned` says that nobody waits any more.
    pub(super) fn count(&mut self, abandoned: &AtomicBool) -> Result<(), StoreError> {
        let unknown = |&&place: &&u32| self.state.count(place as usize) == Count::Unknown;
        let unknown: Vec<u32> = self.shown.iter().filter(unknown).copied().collect();
        let rest =
            if unknown.len() > WORTH_A_THREAD { self.count_together(&unknown, abandoned)? } else { unknown };
        // What was not found where it was, and what cannot be read.
        let mut uncounted = 0u32;
        let mut buffer = vec![0; if rest.is_empty() { 0 } else { MEASURE_BUFFER_OCTETS }];
        for place in rest.into_iter().map(|place| place as usize) {
            if abandoned.load(Ordering::Relaxed) {
                break;
            }
            match self.open_file(place).and_then(|file| self.measure(place, &file, &mut buffer)) {
                Ok(()) | Err(StoreError::Gone) => {}
                // One message that cannot be counted does not take the others hostage: it is listed by the size of its
                // file, and RETR will tell what is wrong with it.
                Err(error @ (StoreError::Denied { .. } | StoreError::Encoded { .. })) => {
                    uncounted += 1;
                    if uncounted <= UNCOUNTED_LOGGED_MAX {
                        let base = self.state.base(place).escape_ascii();
                        let maildir = self.lock.path().display();
                        tracing::warn!(%maildir, %base, %error, "a message could not be counted");
                    }
                }
                // A system that is out of descriptors or memory, or a disk that fails, makes no sizes.
                Err(error @ StoreError::Broken { .. }) => return Err(error),
            }
        }
        if uncounted > UNCOUNTED_LOGGED_MAX {
            let messages = uncounted - UNCOUNTED_LOGGED_MAX;
            tracing::warn!(maildir = %self.lock.path().display(), messages, "more messages could not be counted");
        }
        Ok(())
    }

    /// Counts many, with as many threads as may help. Returns those that were not to be had where they were last seen.
    fn count_together(&mut self, unknown: &[u32], abandoned: &AtomicBool) -> Result<Vec<u32>, StoreError> {
        let Some(dir) = self.lock.dir() else { return Ok(unknown.to_vec()) };
        let folders = [dir.folder(Place::New)?, dir.folder(Place::Cur)?];
        let counting = Counting {
            state: &self.state,
            folders: &folders,
            unknown,
            next: AtomicUsize::new(0),
            abandoned,
            counted: Mutex::default(),
        };
        std::thread::scope(|threads| {
            for helper in (0..unknown.len() / WORTH_A_THREAD).map_while(|_| Helper::get()) {
                let counting = &counting;
                let help = move || {
                    counting.work();
                    drop(helper);
                };
                // Where no thread can be had, this one does it.
                if std::thread::Builder::new().spawn_scoped(threads, help).is_err() {
                    break;
                }
            }
            counting.work();
        });
        let counted = counting.counted.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut rest = Vec::new();
        for (place, count) in counted {
            match count {
                Some((facts, count)) => self.state.measured(place as usize, facts, count),
                None => rest.push(place),
            }
        }
        rest.sort_unstable();
        Ok(rest)
    }
}

/// What a message is, as far as it could be read, by its place.
type Counted = (u32, Option<(Facts, Count)>);

/// Many messages that several threads count.
struct Counting<'a> {
    state: &'a State,
    folders: &'a [Option<Folder>; 2],
    unknown: &'a [u32],
    /// How many were taken.
    next: AtomicUsize,
    abandoned: &'a AtomicBool,
    counted: Mutex<Vec<Counted>>,
}

impl Counting<'_> {
    fn work(&self) {
        let mut buffer = vec![0; MEASURE_BUFFER_OCTETS];
        let mut counted = Vec::new();
        while !self.abandoned.load(Ordering::Relaxed) {
            let Some(&place) = self.unknown.get(self.next.fetch_add(1, Ordering::Relaxed)) else { break };
            counted.push((place, self.count(place as usize, &mut buffer)));
        }
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).append(&mut counted);
    }

    fn count(&self, place: usize, buffer: &mut [u8]) -> Option<(Facts, Count)> {
        let located = self.state.located(place)?;
        let file =
            self.folders[located.place as usize].as_ref()?.open_to_count(self.state.file_name(place)).ok()?;
        measure(&file, buffer).ok()?
    }
}
