//! A Maildir on disk, by descriptors: no path is resolved twice, and no symlink inside a Maildir is ever followed,
//! nor one on the way to it that a user could have planted.
//!
//! What the files mean is decided elsewhere.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{self, Access, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::{OpenError, StoreError, crash};

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

/// What tells whether a folder or a file is as it was: it is the same one, and its times are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) inode: u64,
    /// When entries last came, went or changed names, in nanoseconds since 1970.
    pub(super) modified_ns: i64,
    /// When that or its owner or mode last changed; unlike the other it cannot be set back.
    pub(super) changed_ns: i64,
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        Self { inode: stat.st_ino, modified_ns: modified_ns(stat), changed_ns: changed_ns(stat) }
    }

    /// Whether the last change was two seconds ago at least. File times are coarse: one that is younger may hide
    /// another change.
    pub(super) fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i128::from(self.modified_ns) + 2_000_000_000 <= i128::try_from(now.as_nanos()).unwrap_or(0)
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

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// For reading a message: a FIFO in its place does not block, a terminal does nothing.
const MESSAGE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// How many symlinks one path may lead over.
const LINKS_MAX: u32 = 20;

/// Opens a directory by a path that only the operator decides; `None` if there is none.
pub(super) fn open_path(path: &Path) -> Result<Option<OwnedFd>, Fault> {
    match retry(|| fs::open(path, DIRECTORY, Mode::empty())) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Fault::new("opening", path, errno)),
    }
}

/// What a [`Walk`] does where a folder is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It ends: there is no Maildir.
    Tell,
    /// It creates the folder.
    Create,
}

/// Opens the Maildir at `path`, below the `root` that all users share; `None` if it is not there.
///
/// Below the root users may have rights of their own, so that a symlink is followed only if it belongs to root or to
/// the server's user: one that a user planted would lead to another user's mail.
pub(super) fn open_below(root: &Path, path: &Path, missing: Missing) -> Result<Option<OwnedFd>, Fault> {
    let Some(dir) = open_path(root)? else { return Ok(None) };
    let below = if root == Path::new(".") { path } else { path.strip_prefix(root).unwrap_or(path) };
    let mut walk = Walk { dir, at: root.to_owned(), links: 0, missing };
    Ok(walk.along(below)?.then_some(walk.dir))
}

/// The way to a Maildir, folder by folder.
struct Walk {
    dir: OwnedFd,
    /// Where it is by now.
    at: PathBuf,
    links: u32,
    missing: Missing,
}

impl Walk {
    /// Whether the path led to a directory.
    fn along(&mut self, path: &Path) -> Result<bool, Fault> {
        for component in path.components() {
            let there = match component {
                Component::RootDir => {
                    self.at = PathBuf::from("/");
                    self.dir =
                        retry(|| fs::open("/", DIRECTORY, Mode::empty())).map_err(|e| self.fault(e))?;
                    true
                }
                Component::Prefix(_) | Component::CurDir => true,
                Component::ParentDir | Component::Normal(_) => self.step(component.as_ref())?,
            };
            if !there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn step(&mut self, name: &Path) -> Result<bool, Fault> {
        let above = self.at.clone();
        self.at.push(name);
        let open = || retry(|| fs::openat(&self.dir, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()));
        let opened = match open() {
            Err(Errno::NOENT) if self.missing == Missing::Create => {
                make_folder(&self.dir, name, &self.at)?;
                open()
            }
            opened => opened,
        };
        match opened {
            Ok(dir) => {
                self.dir = dir;
                Ok(true)
            }
            Err(Errno::NOENT) => Ok(false),
            // What a symlink answers, and what is no directory.
            Err(Errno::LOOP | Errno::NOTDIR) => {
                let target = self.target(name)?;
                self.at = above;
                // Where a link leads nowhere, a disk is not mounted: nothing is created in its place.
                let missing = std::mem::replace(&mut self.missing, Missing::Tell);
                let there = self.along(&target);
                self.missing = missing;
                there
            }
            Err(errno) => Err(self.fault(errno)),
        }
    }

    /// Where a symlink leads, if it may be followed.
    fn target(&mut self, name: &Path) -> Result<PathBuf, Fault> {
        use std::os::unix::ffi::OsStringExt;
        // By its descriptor, so that the owner is that of the very link that is read.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = retry(|| fs::openat(&self.dir, name, flags, Mode::empty())).map_err(|e| self.fault(e))?;
        let stat = retry(|| fs::fstat(&link)).map_err(|errno| self.fault(errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Err(self.fault(Errno::NOTDIR));
        }
        if !is_trusted(stat.st_uid, rustix::process::geteuid().as_raw()) {
            let why = format!(
                "a symlink that belongs to uid {} is not followed, only one of root or of this server's user",
                stat.st_uid
            );
            return Err(Fault::new("opening", &self.at, io::Error::other(why)));
        }
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(self.fault(Errno::LOOP));
        }
        let target = retry(|| fs::readlinkat(&link, "", Vec::new())).map_err(|errno| self.fault(errno))?;
        Ok(std::ffi::OsString::from_vec(target.into_bytes()).into())
    }

    fn fault(&self, errno: Errno) -> Fault {
        Fault::new("opening", &self.at, errno)
    }
}

/// Whether a symlink of this owner may be followed.
const fn is_trusted(owner: u32, server: u32) -> bool {
    owner == 0 || owner == server
}

/// Creates a folder, durably. It may have been created meanwhile by another delivery, which has not synced it yet.
pub(super) fn make_folder(parent: &OwnedFd, name: &Path, path: &Path) -> Result<(), Fault> {
    let made = match crash::noted("make folder", retry(|| fs::mkdirat(parent, name, Mode::RWXU))) {
        Err(Errno::EXIST) => Ok(()),
        made => made,
    };
    crash::point("deliver: folder made");
    let synced = made.and_then(|()| crash::noted("fsync its parent", retry(|| fs::fsync(parent))));
    synced.map_err(|errno| Fault::new("creating", path, errno))
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

/// What can be had without waiting for a disk: on a thread that may not wait. `None` is not an answer.
impl Dir<'_> {
    /// What a folder or a file of the Maildir is like, and its size.
    pub(super) fn stat_at_once(self, name: &str) -> Option<Result<Stat, Errno>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match open_at_once(self.fd, Path::new(name), flags, WITHIN) {
            Ok(fd) => Some(fs::fstat(fd)),
            Err(Errno::NOENT) => Some(Err(Errno::NOENT)),
            Err(_) => None,
        }
    }

    /// Opens a message's file for reading, and tells its facts.
    pub(super) fn open_at_once(self, place: Place, name: &[u8]) -> Option<(File, Stat)> {
        use std::os::unix::ffi::OsStrExt;
        let path = [place.name().as_bytes(), b"/", name].concat();
        let file =
            open_at_once(self.fd, Path::new(std::ffi::OsStr::from_bytes(&path)), MESSAGE, WITHIN).ok()?;
        let stat = fs::fstat(&file).ok()?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        regular.then(|| (File::from(file), stat))
    }
}

/// No symlink is followed, and nothing above the Maildir is reached.
const WITHIN: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::BENEATH);

/// Opens what the kernel knows already; an error if the disk would have to be asked (`AGAIN`), or as usual.
fn open_at_once(dir: impl AsFd, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    fs::openat2(dir, path, flags, Mode::empty(), resolve | ResolveFlags::CACHED)
}

/// Opens the Maildir at `path` below `root` if that needs no disk and no symlink below the root.
pub(super) fn open_below_at_once(root: &Path, path: &Path) -> Option<OwnedFd> {
    match open_at_once(fs::CWD, path, DIRECTORY, ResolveFlags::NO_SYMLINKS) {
        // The operator may have one on the way to the root.
        Err(Errno::LOOP) => {
            let root_dir = open_at_once(fs::CWD, root, DIRECTORY, ResolveFlags::empty()).ok()?;
            let below = path.strip_prefix(root).ok().filter(|below| !below.as_os_str().is_empty())?;
            open_at_once(root_dir, below, DIRECTORY, WITHIN).ok()
        }
        opened => opened.ok(),
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
        let what = match self.place {
            Place::New => "read new",
            Place::Cur => "read cur",
        };
        crash::noted(what, Ok(()))
    }

    /// The facts of a file; of the link itself, where it is one.
    pub(super) fn stat(&self, name: &[u8]) -> Result<Stat, Errno> {
        retry(|| fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// Whether a regular file may be read, by the user that the server acts as.
    pub(super) fn is_readable(&self, name: &[u8]) -> bool {
        retry(|| fs::accessat(&self.fd, name, Access::READ_OK, AtFlags::EACCESS)).is_ok()
    }

    /// Opens a file for reading, whatever it is; it does not block.
    pub(super) fn open_to_count(&self, name: &[u8]) -> Result<File, Errno> {
        retry(|| fs::openat(&self.fd, name, MESSAGE, Mode::empty())).map(File::from)
    }

    /// Opens a regular file for reading. A FIFO that took its place does not block, a device is not touched.
    pub(super) fn open(&self, name: &[u8]) -> Result<File, Errno> {
        let file = match retry(|| fs::openat(&self.fd, name, MESSAGE, Mode::empty())) {
            // What a symlink or a socket without a listener answers: whatever it is, the message is gone.
            Err(Errno::LOOP | Errno::NXIO) => return Err(Errno::NOENT),
            opened => opened?,
        };
        let regular = FileType::from_raw_mode(fs::fstat(&file)?.st_mode) == FileType::RegularFile;
        if regular { Ok(File::from(file)) } else { Err(Errno::NOENT) }
    }

    pub(super) fn unlink(&self, name: &[u8]) -> Result<(), Errno> {
        crash::noted("unlink message", retry(|| fs::unlinkat(&self.fd, name, AtFlags::empty())))
    }

    pub(super) fn sync(&self) -> Result<(), Errno> {
        let what = match self.place {
            Place::New => "fsync new",
            Place::Cur => "fsync cur",
        };
        crash::noted(what, retry(|| fs::fsync(&self.fd)))
    }

    /// What the folder is like now.
    pub(super) fn stamp(&self) -> Result<Stamp, Fault> {
        let stat =
            retry(|| fs::fstat(&self.fd)).map_err(|errno| Fault::new("looking at", &self.path, errno))?;
        Ok(Stamp::of(&stat))
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

/// When a file's inode last changed, in nanoseconds since 1970.
fn changed_ns(stat: &Stat) -> i64 {
    let seconds: i64 = stat.st_ctime;
    seconds.saturating_mul(1_000_000_000).saturating_add(i64::try_from(stat.st_ctime_nsec).unwrap_or(0))
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_of_root_and_of_the_server_are_trusted() {
        assert!(
            is_trusted(0, 1000) && is_trusted(1000, 1000) && !is_trusted(1001, 1000) && !is_trusted(1001, 0)
        );
    }

    #[test]
    fn a_way_over_links_leads_where_the_kernel_would() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        symlink(root.join("a"), root.join("absolute")).unwrap();
        symlink("absolute/./b", root.join("relative")).unwrap();
        symlink("../a/b/../b", root.join("a/around")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        let open = |name: &str| open_below(root, &root.join(name), Missing::Tell);
        for name in ["a/b", "absolute/b", "relative", "a/around", "absolute/around", "a/../relative"] {
            let dir = open(name).unwrap().unwrap();
            let there = std::fs::metadata(root.join(name)).unwrap().ino();
            assert_eq!(fs::fstat(&dir).unwrap().st_ino, there, "{name}");
        }
        assert!(open("dangling").unwrap().is_none() && open("none/at/all").unwrap().is_none());
        assert_eq!(open("loop").unwrap_err().source.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
        assert_eq!(open("file").unwrap_err().source.kind(), io::ErrorKind::NotADirectory);
    }
}
