//! A message on its way into a Maildir: written into tmp/, made durable, renamed into new/. Each step is a call of its
//! own, so that many messages can take it together.
//!
//! No lock is taken: a name that nobody else has is enough. A crash before the rename leaves a file in tmp/, which
//! nobody reads; after it, a whole message. Who delivers, and when it counts as delivered, is the caller's business:
//! `deliver.rs` here, and the destination `maildir` of `restante-fetch`.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use restante_proto::{body::Measure, maildrop::UNIQUE_ID_MAX_OCTETS};
use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

pub use super::local::ToLocal;
use super::{
    dir::{Dir, Fault, Place, make_folder, open_path, retry},
    quota,
};
use crate::{DeliverError, crash};

/// How many names are tried before a delivery fails; each is unlike any other already.
const NAMES_TRIED_MAX: u32 = 8;

/// How long a file in tmp/ is left alone, in seconds.
pub const TMP_KEPT_SECONDS: i64 = 36 * 60 * 60;

/// How many entries of tmp/ one delivery looks at.
const TMP_LOOKED_AT_MAX: usize = 100;

/// How much is gathered before it is written, in octets.
const BUFFER_OCTETS: usize = 64 * 1024;

impl From<Fault> for DeliverError {
    fn from(fault: Fault) -> Self {
        Self::Broken { context: fault.context(), source: fault.source }
    }
}

/// The folders of a Maildir, open.
#[derive(Debug)]
pub struct Folders {
    path: PathBuf,
    maildir: OwnedFd,
    tmp: OwnedFd,
    new: OwnedFd,
}

/// What is left of a message that was staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// It was not renamed: it is still in tmp/.
    Staged,
    /// It is not in tmp/.
    Gone,
}

impl Folders {
    /// Opens the Maildir at a path that the operator alone decides. It is created where it is missing, but not the
    /// folder that it stands in: where that is missing, a disk is not mounted.
    pub fn open(path: &Path) -> Result<Self, DeliverError> {
        if let Some(maildir) = open_path(path)? {
            return Ok(Self::within(maildir, path.to_owned())?);
        }
        let above = match path.parent() {
            Some(above) if !above.as_os_str().is_empty() => above,
            _ => Path::new("."),
        };
        let parent =
            open_path(above)?.ok_or_else(|| Fault::new("opening", above, io::ErrorKind::NotFound))?;
        let name =
            path.file_name().ok_or_else(|| Fault::new("creating", path, io::ErrorKind::InvalidInput))?;
        make_folder(&parent, name.as_ref(), path)?;
        let maildir = open_path(path)?.ok_or_else(|| Fault::new("opening", path, io::ErrorKind::NotFound))?;
        Ok(Self::within(maildir, path.to_owned())?)
    }

    /// Opens a Maildir that is there, and creates nothing.
    pub fn existing(path: &Path) -> Result<Self, DeliverError> {
        let missing = |path: PathBuf| Fault::new("opening", path, io::ErrorKind::NotFound);
        let maildir = open_path(path)?.ok_or_else(|| missing(path.to_owned()))?;
        let folder = |name: &str| {
            let opened = retry(|| fs::openat(&maildir, name, FOLDER, Mode::empty()));
            opened.map_err(|errno| Fault::new("opening", path.join(name), errno))
        };
        let (tmp, new) = (folder("tmp")?, folder("new")?);
        Ok(Self { path: path.to_owned(), maildir, tmp, new })
    }

    /// The folders of a Maildir that is open; those that are missing are created.
    pub(super) fn within(maildir: OwnedFd, path: PathBuf) -> Result<Self, Fault> {
        let folder = |name: &str| open_folder(&maildir, &path, name);
        // cur/ is created with the others: mail programs expect all three.
        let (tmp, new, _) = (folder("tmp")?, folder("new")?, folder("cur")?);
        Ok(Self { path, maildir, tmp, new })
    }

    /// Begins a message: a file in tmp/.
    pub fn begin(self: &Arc<Self>) -> Result<Staged, DeliverError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = |name: &str| fs::openat(&self.tmp, name, flags, Mode::RUSR | Mode::WUSR);
        let (name, file) = with_new_name(create)
            .map_err(|source| Fault::new("creating a file in", self.path.join("tmp"), source))?;
        crash::point("deliver: created");
        Ok(Staged {
            folders: Arc::clone(self),
            name,
            temporary: true,
            file: Some(File::from(file)),
            local: ToLocal::default(),
            measure: Measure::default(),
            converted: Vec::new(),
        })
    }

    /// Removes what deliveries that crashed left in tmp/ long ago.
    pub fn clean(&self) {
        remove_old(&self.tmp, &self.path);
    }

    /// Makes the names in tmp/ durable: after a power failure, what was staged is found to be staged.
    pub fn sync_staged(&self) -> Result<(), DeliverError> {
        let synced = crash::noted("fsync tmp", retry(|| fs::fsync(&self.tmp)));
        synced.map_err(|errno| Fault::new("syncing", self.path.join("tmp"), errno).into())
    }

    /// Makes durable what was published.
    pub fn sync_published(&self) -> Result<(), DeliverError> {
        let synced = crash::noted("fsync new", retry(|| fs::fsync(&self.new)));
        synced.map_err(|errno| Fault::new("syncing", self.path.join("new"), errno).into())
    }

    /// Tells the Maildir's quota file, where there is one, of a message of so many stored octets.
    pub fn count(&self, stored_octets: u64) {
        let mut change = quota::Change::default();
        change.delivered(stored_octets);
        quota::record(Dir { fd: self.maildir.as_fd(), path: &self.path }, change);
        crash::point("deliver: quota told");
    }

    /// What became of the message that was staged under this name.
    pub fn trace(&self, name: &str) -> Result<Trace, DeliverError> {
        match retry(|| fs::statat(&self.tmp, name, AtFlags::SYMLINK_NOFOLLOW)) {
            // A file system without a rename that replaces nothing: it was linked into new/, and the crash came before
            // the other name was removed.
            Ok(stat) if stat.st_nlink > 1 && self.holds(name)? => Ok(Trace::Gone),
            Ok(_) => Ok(Trace::Staged),
            Err(Errno::NOENT) => Ok(Trace::Gone),
            Err(errno) => Err(Fault::new("looking for a file in", self.path.join("tmp"), errno).into()),
        }
    }

    /// Whether a message that was staged under this name is in new/ or cur/, whatever was added to its name since.
    pub fn holds(&self, name: &str) -> Result<bool, DeliverError> {
        let mut found = false;
        for place in Place::BOTH {
            let dir = Dir { fd: self.maildir.as_fd(), path: &self.path };
            let Some(folder) = dir.folder(place)? else { continue };
            folder.each(|entry, _, _| {
                found |= entry
                    .strip_prefix(name.as_bytes())
                    .is_some_and(|rest| matches!(rest, [] | [b',' | b':', ..]));
                !found
            })?;
        }
        Ok(found)
    }

    /// Says by an empty file in tmp/ that a message was not renamed, after somebody removed its file.
    pub fn mark_staged(&self, name: &str) -> Result<(), DeliverError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = retry(|| fs::openat(&self.tmp, name, flags, Mode::RUSR | Mode::WUSR));
        made.map_err(|errno| Fault::new("creating a file in", self.path.join("tmp"), errno))?;
        self.sync_staged()
    }

    /// Removes a file from tmp/, if it is there.
    pub fn discard(&self, name: &str) -> Result<(), DeliverError> {
        match retry(|| fs::unlinkat(&self.tmp, name, AtFlags::empty())) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Fault::new("removing a file from", self.path.join("tmp"), errno).into()),
        }
    }
}

/// A message in tmp/. Dropped before it is published, it leaves nothing; [`Staged::keep`] leaves it there.
#[derive(Debug)]
pub struct Staged {
    folders: Arc<Folders>,
    name: String,
    /// Whether the file is still in tmp/, and ours to remove.
    temporary: bool,
    /// `None` once it was synced before its turn.
    file: Option<File>,
    local: ToLocal,
    measure: Measure,
    /// What is stored of the message, and not written yet.
    converted: Vec<u8>,
}

impl Staged {
    /// Appends octets of the message.
    pub fn write(&mut self, octets: &[u8]) -> Result<(), DeliverError> {
        for piece in octets.chunks(BUFFER_OCTETS) {
            self.local.push(piece, &mut self.converted);
            if self.converted.len() >= BUFFER_OCTETS {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// The message is whole: writes what is not written yet.
    pub fn finish(&mut self) -> Result<(), DeliverError> {
        self.local.finish(&mut self.converted);
        let written = crash::noted("write message", self.flush());
        self.converted = Vec::new();
        written?;
        crash::point("deliver: written");
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeliverError> {
        self.measure.push(&self.converted);
        let written = match &mut self.file {
            Some(file) => file.write_all(&self.converted),
            None => Err(io::ErrorKind::InvalidInput.into()),
        };
        self.converted.clear();
        written.map_err(|error| self.fault("writing into", "tmp", error).into())
    }

    /// Makes the message durable. For its name, see [`Folders::sync_staged`].
    pub fn sync(&self) -> Result<(), DeliverError> {
        let Some(file) = &self.file else { return Ok(()) };
        let synced = crash::noted("fsync message", file.sync_all());
        synced.map_err(|error| self.fault("writing into", "tmp", error))?;
        crash::point("deliver: synced");
        Ok(())
    }

    /// Makes the message durable now, and gives its descriptor back.
    pub fn sync_and_close(&mut self) -> Result<(), DeliverError> {
        self.sync()?;
        self.file = None;
        Ok(())
    }

    /// Its file, while it is open.
    pub const fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Its name in tmp/, and the first part of what it will be in new/.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many octets are stored.
    pub const fn stored_octets(&self) -> u64 {
        self.measure.stored_octets()
    }

    /// Leaves it in tmp/ if it is dropped unpublished: somebody else decides what becomes of it.
    pub const fn keep(&mut self) {
        self.temporary = false;
    }

    /// Moves the file into new/ under a name that says its sizes, and that nobody has.
    pub fn publish(&mut self) -> Result<Published<'_>, DeliverError> {
        let Folders { tmp, new, .. } = &*self.folders;
        let sizes = format!(",S={},W={}", self.stored_octets(), self.measure.finish().octets);
        let mut name = format!("{}{sizes}", self.name);
        for _ in 0..NAMES_TRIED_MAX {
            let renamed = rename_without_replacing(tmp, &self.name, new, &name);
            match crash::noted("rename message", renamed) {
                Ok(()) => {
                    self.temporary = false;
                    crash::point("deliver: renamed");
                    return Ok(Published { folders: &self.folders, name });
                }
                Err(Errno::EXIST) => {
                    let fresh =
                        unique_name().map_err(|error| self.fault("naming a file in", "new", error))?;
                    name = format!("{fresh}{sizes}");
                }
                Err(errno) => return Err(self.fault("renaming into", "new", errno).into()),
            }
        }
        Err(self.fault("renaming into", "new", Errno::EXIST).into())
    }

    fn fault(&self, doing: &'static str, folder: &str, source: impl Into<io::Error>) -> Fault {
        Fault::new(doing, self.folders.path.join(folder), source)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = retry(|| fs::unlinkat(&self.folders.tmp, &*self.name, AtFlags::empty()))
        {
            tracing::warn!(maildir = %self.folders.path.display(), %error, "a file was left in tmp/");
        }
    }
}

/// A message that was just moved into new/.
#[derive(Debug)]
pub struct Published<'a> {
    folders: &'a Folders,
    name: String,
}

impl Published<'_> {
    /// Takes it back. If that fails, or it was taken into cur/ meanwhile, it stays, and the sender tries again: it comes
    /// twice, which is better than not at all.
    pub(super) fn take_back(self) {
        if let Err(error) = retry(|| fs::unlinkat(&self.folders.new, &*self.name, AtFlags::empty())) {
            let maildir = self.folders.path.display();
            tracing::warn!(%maildir, %error, "a delivery that failed could not be taken back");
        }
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes files of tmp/ that nobody touched for 36 hours, as Maildir wants it: what deliveries that crashed left.
fn remove_old(tmp: &OwnedFd, path: &Path) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let oldest = i64::try_from(now.as_secs()).unwrap_or(0) - TMP_KEPT_SECONDS;
    let Ok(entries) = fs::Dir::read_from(tmp) else { return };
    for entry in entries.take(TMP_LOOKED_AT_MAX).flatten() {
        let Ok(stat) = fs::statat(tmp, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let old = stat.st_mtime.max(stat.st_atime) < oldest;
        if old && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            // What fails is not ours to remove, or another delivery did it: it harms nobody.
            if retry(|| fs::unlinkat(tmp, entry.file_name(), AtFlags::empty())).is_ok() {
                let name = entry.file_name().to_bytes().escape_ascii();
                tracing::info!(maildir = %path.display(), %name, "an old file was removed from tmp/");
            }
        }
    }
}

/// Opens tmp/, new/ or cur/, and creates it where it is missing.
fn open_folder(maildir: &OwnedFd, path: &Path, name: &str) -> Result<OwnedFd, Fault> {
    let open = || retry(|| fs::openat(maildir, name, FOLDER, Mode::empty()));
    let opened = match open() {
        Err(Errno::NOENT) => {
            make_folder(maildir, name.as_ref(), &path.join(name))?;
            open()
        }
        opened => opened,
    };
    opened.map_err(|errno| Fault::new("opening", path.join(name), errno))
}

fn with_new_name<T>(create: impl Fn(&str) -> rustix::io::Result<T>) -> io::Result<(String, T)> {
    for _ in 0..NAMES_TRIED_MAX {
        let name = unique_name()?;
        match retry(|| create(&name)) {
            Ok(created) => return Ok((name, created)),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::EXIST.into())
}

/// A name that no other delivery has: time, process, counter, randomness and host. Short enough for a unique-id.
pub fn unique_name() -> io::Result<String> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut random = [0; 6];
    getrandom::fill(&mut random).map_err(|_| io::Error::other("the system gives no randomness"))?;
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut name = format!("{}.M{:06}P{}_{counter}R", now.as_secs(), now.subsec_micros(), std::process::id());
    for octet in random {
        // Writing into a String does not fail.
        write!(name, "{octet:02x}").map_err(io::Error::other)?;
    }
    name.push('.');
    push_host(rustix::system::uname().nodename().to_bytes(), &mut name);
    Ok(name)
}

/// Appends the host's name, with what may not stand in a file name escaped as Maildir does, as far as it fits a unique-id.
fn push_host(host: &[u8], name: &mut String) {
    for &octet in host {
        let escaped = match octet {
            b'/' | b':' | b',' | b'\\' => format!("\\{octet:03o}"),
            0x21..=0x7e => char::from(octet).to_string(),
            _ => format!("\\{octet:03o}"),
        };
        if name.len() + escaped.len() > UNIQUE_ID_MAX_OCTETS {
            break;
        }
        name.push_str(&escaped);
    }
}

/// Renames, unless the new name is taken (`EXIST`); where the file system cannot do that at once, in two steps.
pub fn rename_without_replacing(
    from: &OwnedFd,
    name: &str,
    to: &OwnedFd,
    final_name: &str,
) -> rustix::io::Result<()> {
    match retry(|| fs::renameat_with(from, name, to, final_name, RenameFlags::NOREPLACE)) {
        // File systems without it, such as NFS.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link_and_unlink(from, name, to, final_name),
        renamed => renamed,
    }
}

/// What a rename that replaces nothing does, in two steps. A crash between them leaves a file in tmp/, which is ignored.
fn link_and_unlink(from: &OwnedFd, name: &str, to: &OwnedFd, final_name: &str) -> rustix::io::Result<()> {
    match retry(|| fs::linkat(from, name, to, final_name, AtFlags::empty())) {
        // NFS repeats a call whose answer was lost: then the link that is in the way is ours.
        Err(Errno::EXIST) if is_one_file(from, name, to, final_name)? => {}
        linked => linked?,
    }
    crash::point("deliver: linked");
    if let Err(error) = retry(|| fs::unlinkat(from, name, AtFlags::empty())) {
        // The message is there; the rest in tmp/ harms nobody.
        tracing::warn!(%error, name, "a file was left in tmp/");
    }
    Ok(())
}

fn is_one_file(a_dir: &OwnedFd, a: &str, b_dir: &OwnedFd, b: &str) -> rustix::io::Result<bool> {
    let stat = |dir, name| retry(|| fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW));
    let (a, b) = (stat(a_dir, a)?, stat(b_dir, b)?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

#[cfg(test)]
mod tests {
    use super::{super::dir::open_path, *};

    #[test]
    fn names_are_unlike_each_other_and_make_unique_ids() {
        let (a, b) = (unique_name().unwrap(), unique_name().unwrap());
        assert_ne!(a, b);
        for name in [a, b] {
            assert!(restante_proto::UniqueId::new(name.as_bytes()).is_some(), "{name}");
            assert!(!name.contains(['/', ':', ',']), "{name}");
        }
    }

    #[test]
    fn a_host_name_is_escaped_and_cut() {
        let mut name = String::new();
        push_host(b"a/b:c d,e\\f\xff", &mut name);
        assert_eq!(name, "a\\057b\\072c\\040d\\054e\\134f\\377");
        let mut name = "x".repeat(68);
        push_host(b"ab/c", &mut name);
        assert_eq!(name.len(), 70, "nothing is cut in the middle of an escape");
    }

    #[test]
    fn linking_replaces_nothing_either() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a", "new"), ("b", "old"), ("c", "other")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let dir = open_path(folder.path()).unwrap().unwrap();
        assert_eq!(link_and_unlink(&dir, "a", &dir, "b"), Err(Errno::EXIST));
        assert_eq!(rename_without_replacing(&dir, "a", &dir, "b"), Err(Errno::EXIST));
        assert_eq!(std::fs::read(folder.path().join("b")).unwrap(), b"old");
        link_and_unlink(&dir, "a", &dir, "d").unwrap();
        rename_without_replacing(&dir, "c", &dir, "e").unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["b", "d", "e"]);
        // A link that succeeded, and whose answer was lost.
        std::fs::hard_link(folder.path().join("d"), folder.path().join("f")).unwrap();
        assert_eq!(link_and_unlink(&dir, "d", &dir, "f"), Ok(()));
        assert!(!folder.path().join("d").exists());
    }
}
