//! Files on their way whose names begin with a dot, so that nobody looks at them: `.X.tmp` in the folder where the message
//! will be, durable before its intent is written.
//!
//! `eml.rs` renames them, `mbox` copies them. X sorts by time.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use restante_store::{crash, maildir::staging::rename_without_replacing};
use rustix::{
    fs::{self, AtFlags, Mode, OFlags},
    io::Errno,
};

use super::{Fault, files, flush, utc};

/// How much is gathered before it is written, in octets.
const BUFFER_OCTETS: usize = 64 * 1024;

/// What was left for so long by a run that crashed is removed.
const KEPT: Duration = Duration::from_secs(36 * 60 * 60);

/// How many entries of a folder are looked at for that.
const LOOKED_AT_MAX: usize = 1000;

/// How many octets of randomness a name has.
const RANDOM_OCTETS: usize = 6;

/// What a name is long: `20261128T095227.123456Z-a1b2c3d4e5f6`.
const NAME_OCTETS: usize = 24 + 2 * RANDOM_OCTETS;

/// A folder with such files.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    fd: OwnedFd,
    /// What stands between the dot and X.
    stem: String,
}

/// The names that were found undelivered; their files are removed when a batch settles.
#[derive(Clone, Debug, Default)]
pub(super) struct Undelivered(Arc<Mutex<Vec<String>>>);

impl Undelivered {
    pub(super) fn add(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
    }

    /// Removes their files.
    pub(super) fn discard(&self, folder: &Folder) {
        let names = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        names.iter().for_each(|name| folder.discard(name));
    }
}

/// Whether this is a name X.
pub(super) fn is_name(name: &str) -> bool {
    name.len() == NAME_OCTETS
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-'))
}

/// A name that nobody else has. Those of one process sort as they were given.
fn unique_name() -> io::Result<String> {
    static LAST_US: AtomicU64 = AtomicU64::new(0);
    let now = utc::now_us();
    let later = |last: u64| Some(now.max(last + 1));
    let last = LAST_US.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later).unwrap_or(now);
    let us = now.max(last + 1);
    let mut random = [0; RANDOM_OCTETS];
    getrandom::fill(&mut random).map_err(|_| io::Error::other("the system gives no randomness"))?;
    let random = random.iter().fold(0u64, |number, &octet| number << 8 | u64::from(octet));
    Ok(format!("{}.{:06}Z-{random:012x}", utc::Utc::new(us / 1_000_000).compact(), us % 1_000_000))
}

impl Folder {
    /// Opens the folder at `path`.
    pub(super) fn open(path: &Path, stem: &str) -> Result<Self, Fault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = fs::open(path, flags, Mode::empty());
        let fd = opened
            .map_err(|errno| files::fault(&format!("opening {}", path.display()), path, &errno.into()))?;
        Ok(Self { path: path.to_owned(), fd, stem: stem.to_owned() })
    }

    pub(super) fn fault(&self, doing: &str, error: impl Into<io::Error>) -> Fault {
        files::fault(&format!("{doing} {}", self.path.display()), &self.path, &error.into())
    }

    fn file_name(&self, name: &str) -> String {
        format!(".{}{name}.tmp", self.stem)
    }

    /// Begins a file.
    pub(super) fn begin(self: &Arc<Self>) -> Result<DotFile, Fault> {
        let name = unique_name().map_err(|error| self.fault("naming a file in", error))?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&self.fd, self.file_name(&name), flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| self.fault("creating a file in", errno))?;
        crash::point("dotfile: created");
        let file = Some(File::from(file));
        Ok(DotFile {
            folder: Arc::clone(self),
            name,
            file,
            buffer: Vec::new(),
            written_octets: 0,
            temporary: true,
        })
    }

    /// Opens a file that was left; `None` if there is none.
    pub(super) fn reopen(&self, name: &str) -> Result<Option<File>, Fault> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match fs::openat(&self.fd, self.file_name(name), flags, Mode::empty()) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.fault("opening a temporary file in", errno)),
        }
    }

    /// Whether there is an entry of this name.
    pub(super) fn holds(&self, file_name: &str) -> Result<bool, Fault> {
        match fs::statat(&self.fd, file_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.fault("looking for a file in", errno)),
        }
    }

    /// Makes the names durable.
    pub(super) fn sync(&self) -> Result<(), Fault> {
        fs::fsync(&self.fd).map_err(|errno| self.fault("syncing", errno))
    }

    /// Removes a file, if it is there.
    pub(super) fn discard(&self, name: &str) {
        match fs::unlinkat(&self.fd, self.file_name(name), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => {
                // Nobody sees it, and it is removed when it is old.
                tracing::warn!(folder = %self.path.display(), name, %error, "a temporary file was left");
            }
        }
    }

    /// Removes what runs that crashed left long ago.
    pub(super) fn clean(&self) {
        let Ok(entries) = fs::Dir::read_from(&self.fd) else { return };
        for entry in entries.take(LOOKED_AT_MAX).flatten() {
            let Ok(file_name) = entry.file_name().to_str() else { continue };
            let inner = file_name.strip_prefix('.').and_then(|name| name.strip_prefix(&*self.stem));
            let Some(name) = inner.and_then(|name| name.strip_suffix(".tmp")) else { continue };
            let Ok(stat) = fs::statat(&self.fd, file_name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let modified = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
            let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + modified).unwrap_or_default();
            if is_name(name) && age > KEPT {
                self.discard(name);
            }
        }
    }

    /// Renames a file to what everybody sees, without replacing anything.
    pub(super) fn publish(&self, name: &str, to: &str) -> Result<(), Fault> {
        match rename_without_replacing(&self.fd, &self.file_name(name), &self.fd, to) {
            Ok(()) => {}
            // Somebody removed it, unless the first answer was lost, as over NFS. It must not look as if it had been
            // delivered.
            Err(Errno::NOENT) if self.holds(to)? => {}
            Err(errno) => {
                if errno == Errno::NOENT {
                    self.mark(name)?;
                }
                return Err(self.fault("renaming a file in", errno));
            }
        }
        crash::point("dotfile: renamed");
        Ok(())
    }

    /// Makes an empty file: what it stands for was not delivered.
    fn mark(&self, name: &str) -> Result<(), Fault> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        fs::openat(&self.fd, self.file_name(name), flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| self.fault("creating a file in", errno))?;
        self.sync()
    }
}

/// A file on its way. Dropped, it is removed, unless it was kept.
#[derive(Debug)]
pub(super) struct DotFile {
    folder: Arc<Folder>,
    name: String,
    /// `None` once it was synced before its turn.
    file: Option<File>,
    buffer: Vec<u8>,
    written_octets: u64,
    temporary: bool,
}

impl DotFile {
    /// How long it is, once it is whole.
    pub(super) const fn octets(&self) -> u64 {
        self.written_octets
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where octets may be appended; [`Self::flush`] is due from time to time.
    pub(super) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes what has gathered, if it is much.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        if self.buffer.len() < BUFFER_OCTETS { Ok(()) } else { self.flush_all() }
    }

    fn flush_all(&mut self) -> Result<(), Fault> {
        let written = match &mut self.file {
            Some(file) => file.write_all(&self.buffer),
            None => Err(io::ErrorKind::InvalidInput.into()),
        };
        self.written_octets += self.buffer.len() as u64;
        self.buffer.clear();
        written.map_err(|error| self.folder.fault("writing into", error))
    }

    /// It is whole.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        let written = self.flush_all();
        self.buffer = Vec::new();
        written?;
        crash::point("dotfile: written");
        self.file.iter().for_each(flush::begin);
        Ok(())
    }

    /// Makes its octets durable.
    pub(super) fn sync(&self) -> Result<(), Fault> {
        let Some(file) = &self.file else { return Ok(()) };
        file.sync_all().map_err(|error| self.folder.fault("syncing a file in", error))?;
        crash::point("dotfile: synced");
        Ok(())
    }

    /// Makes its octets durable now, and gives its descriptor back.
    pub(super) fn sync_and_close(&mut self) -> Result<(), Fault> {
        self.sync()?;
        self.file = None;
        Ok(())
    }

    /// From now on dropping it does not remove it.
    pub(super) const fn keep(&mut self) {
        self.temporary = false;
    }
}

impl Drop for DotFile {
    fn drop(&mut self) {
        if self.temporary {
            self.folder.discard(&self.name);
        }
    }
}

/// Files that make a batch.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) folder: Arc<Folder>,
    pub(super) current: Option<DotFile>,
    pub(super) files: Vec<DotFile>,
}

impl Staged {
    pub(super) fn new(folder: Folder) -> Self {
        folder.clean();
        Self { folder: Arc::new(folder), current: None, files: Vec::new() }
    }

    pub(super) fn begin(&mut self) -> Result<(), Fault> {
        self.current = None;
        let begun = match self.folder.begin() {
            // Maybe there are no descriptors left.
            Err(_) if self.files.iter().any(|file| file.file.is_some()) => {
                self.files.iter_mut().try_for_each(DotFile::sync_and_close)?;
                self.folder.begin()
            }
            begun => begun,
        };
        self.current = Some(begun?);
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        let Some(mut file) = self.current.take() else { return Ok(()) };
        file.finish()?;
        self.files.push(file);
        Ok(())
    }

    /// Gives the descriptors back.
    pub(super) fn close(&mut self) {
        self.files.iter_mut().for_each(|file| file.file = None);
    }

    /// Makes them durable, octets and names, and keeps those for which that succeeded.
    pub(super) fn sync(&mut self) -> Vec<Result<(), Fault>> {
        let synced = flush::all(&self.files, DotFile::sync);
        let named = self.folder.sync();
        let results: Vec<_> = synced.into_iter().map(|synced| synced.and_then(|()| named.clone())).collect();
        for (file, result) in self.files.iter_mut().zip(&results) {
            if result.is_ok() {
                file.keep();
            }
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_they_were_given() {
        let names: Vec<String> = (0..100).map(|_| unique_name().unwrap()).collect();
        assert!(names.is_sorted() && names.iter().all(|name| is_name(name)), "{names:?}");
        assert!(!is_name("../../etc/passwd") && !is_name(&"/".repeat(NAME_OCTETS)));
    }

    #[test]
    fn only_what_is_old_and_ours_is_cleaned_away() {
        let place = tempfile::tempdir().unwrap();
        let names = ["20200101T000000.000000Z-000000000000", "20200101T000000.000000Z-000000000001"];
        let old = SystemTime::now() - KEPT - Duration::from_secs(1);
        for (name, is_old) in [
            (format!(".box.{}.tmp", names[0]), true),
            (format!(".box.{}.tmp", names[1]), false),
            (format!(".{}.tmp", names[0]), true),
            (".box.other.tmp".to_owned(), true),
        ] {
            let file = File::create(place.path().join(&name)).unwrap();
            if is_old {
                file.set_modified(old).unwrap();
            }
        }
        Folder::open(place.path(), "box.").unwrap().clean();
        let left = std::fs::read_dir(place.path()).unwrap().count();
        assert_eq!(left, 3);
        assert!(!place.path().join(format!(".box.{}.tmp", names[0])).exists());
    }
}
