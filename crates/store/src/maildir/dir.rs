//! A Maildir on disk, by descriptors: no path is resolved twice, and no symlink inside a Maildir is ever followed.
//!
//! What the files mean is decided elsewhere.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, Access, AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use crate::{OpenError, StoreError};

/// The two folders that hold mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    New,
    Cur,
}

impl Place {
    /// Both, in the only order in which a message that moves meanwhile is not missed: it moves from new/ to cur/.
    pub(super) const BOTH: [Self; 2] = [Self::New, Self::Cur];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Cur => "cur",
        }
    }
}

/// A failed call, and what it was about.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) doing: &'static str,
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

impl Fault {
    pub(super) fn new(doing: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self { doing, path: path.into(), source: source.into() }
    }

    fn is_denied(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }

    pub(super) fn context(&self) -> String {
        format!("{} {}", self.doing, self.path.display())
    }
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        if fault.is_denied() {
            let (path, owner) = whose(&fault.path);
            return Self::Denied { path, owner };
        }
        Self::Broken { context: fault.context(), source: fault.source }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        if fault.is_denied() {
            return Self::Denied { path: fault.path };
        }
        Self::Broken { context: fault.context(), source: fault.source }
    }
}

/// What may not be read, and whose it is: the place itself, or the folder above it that hides it.
fn whose(path: &Path) -> (PathBuf, Option<u32>) {
    let seen = path.ancestors().find_map(|place| Some((place, fs::stat(place).ok()?.st_uid)));
    seen.map_or_else(|| (path.to_owned(), None), |(place, uid)| (place.to_owned(), Some(uid)))
}

/// Opens a directory by its path; `None` if there is none.
pub(super) fn open_path(path: &Path) -> Result<Option<OwnedFd>, Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match retry(|| fs::open(path, flags, Mode::empty())) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Fault::new("opening", path, errno)),
    }
}

/// A Maildir that is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dir<'a> {
    pub(super) fd: BorrowedFd<'a>,
    pub(super) path: &'a Path,
}

impl Dir<'_> {
    /// Opens new/ or cur/; `None` if it is not there.
    pub(super) fn folder(self, place: Place) -> Result<Option<Folder>, Fault> {
        let path = self.path.join(place.name());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match retry(|| fs::openat(self.fd, place.name(), flags, Mode::empty())) {
            Ok(fd) => Ok(Some(Folder { fd, path, place })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Fault::new("opening", path, errno)),
        }
    }
}

/// One folder of a Maildir that is open.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    pub(super) place: Place,
}

impl Folder {
    /// Calls `see` with each name that does not begin with a dot, its kind and its inode, until it says `false`.
    pub(super) fn each(&self, mut see: impl FnMut(&[u8], FileType, u64) -> bool) -> Result<(), Fault> {
        let fault = |errno: Errno| Fault::new("reading", &self.path, errno);
        for entry in fs::Dir::read_from(&self.fd).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let name = entry.file_name().to_bytes();
            if name.first() != Some(&b'.') && !see(name, entry.file_type(), entry.ino()) {
                break;
            }
        }
        Ok(())
    }

    /// The facts of a file; of the link itself, where it is one.
    pub(super) fn stat(&self, name: &[u8]) -> Result<Stat, Errno> {
        retry(|| fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// Whether a regular file may be read.
    pub(super) fn is_readable(&self, name: &[u8]) -> bool {
        retry(|| fs::accessat(&self.fd, name, Access::READ_OK, AtFlags::empty())).is_ok()
    }

    /// Opens a regular file for reading. A FIFO that took its place does not block, a device is not touched.
    pub(super) fn open(&self, name: &[u8]) -> Result<File, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match retry(|| fs::openat(&self.fd, name, flags, Mode::empty())) {
            // What a symlink or a socket without a listener answers: whatever it is, the message is gone.
            Err(Errno::LOOP | Errno::NXIO) => return Err(Errno::NOENT),
            opened => opened?,
        };
        let regular = FileType::from_raw_mode(fs::fstat(&file)?.st_mode) == FileType::RegularFile;
        if regular { Ok(File::from(file)) } else { Err(Errno::NOENT) }
    }

    pub(super) fn unlink(&self, name: &[u8]) -> Result<(), Errno> {
        retry(|| fs::unlinkat(&self.fd, name, AtFlags::empty()))
    }

    pub(super) fn sync(&self) -> Result<(), Errno> {
        retry(|| fs::fsync(&self.fd))
    }

    /// When the folder last changed, in nanoseconds since 1970.
    pub(super) fn changed_ns(&self) -> Option<i64> {
        fs::fstat(&self.fd).ok().map(|stat| modified_ns(&stat))
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// When a file was last written, in nanoseconds since 1970.
pub(super) fn modified_ns(stat: &Stat) -> i64 {
    let seconds: i64 = stat.st_mtime;
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// The size of a file in octets.
pub(super) fn size_octets(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Calls again what a signal interrupted.
pub(super) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}
