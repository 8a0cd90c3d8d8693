//! Delivery into a Maildir: tmp/, fsync, a rename that replaces nothing, fsync of new/.
//!
//! No lock is taken: a name that nobody else has is enough. A crash before the rename leaves a file in tmp/, which
//! nobody reads; after it, a whole message.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufWriter, Write as _},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use restante_proto::{
    UserName,
    body::{Measure, Measured},
    maildrop::UNIQUE_ID_MAX_OCTETS,
};
use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    MaildirStore,
    dir::{Dir, Fault, Missing, make_folder, open_below, retry},
    local::ToLocal,
    quota,
};
use crate::{DeliverError, Delivery, crash};

/// How many names are tried before a delivery fails; each is unlike any other already.
const NAMES_TRIED_MAX: u32 = 8;

/// How long a file in tmp/ is left alone, in seconds.
const TMP_KEPT_SECONDS: i64 = 36 * 60 * 60;

/// How many entries of tmp/ one delivery looks at.
const TMP_LOOKED_AT_MAX: usize = 100;

/// How much is gathered before it is written, in octets.
const BUFFER_OCTETS: usize = 64 * 1024;

impl From<Fault> for DeliverError {
    fn from(fault: Fault) -> Self {
        Self::Broken { context: fault.context(), source: fault.source }
    }
}

/// A message on its way.
pub(super) struct MaildirDelivery {
    path: PathBuf,
    maildir: OwnedFd,
    tmp: OwnedFd,
    new: OwnedFd,
    name: String,
    /// Whether the file is still in tmp/.
    temporary: bool,
    file: BufWriter<File>,
    local: ToLocal,
    measure: Measure,
    /// What is stored of one piece; kept to be used again.
    converted: Vec<u8>,
    received_octets: u64,
    limit_octets: Option<u64>,
}

impl MaildirDelivery {
    pub(super) fn begin(store: &MaildirStore, user: &UserName) -> Result<Self, DeliverError> {
        let path = store.template.path(user).ok_or(DeliverError::NoPlace)?;
        let maildir = prepare(store.template.root(), &path)?;
        let folder = |name: &str| open_folder(&maildir, &path, name);
        // cur/ is created with the others: mail programs expect all three.
        let (tmp, new, _) = (folder("tmp")?, folder("new")?, folder("cur")?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (name, file) = with_new_name(|name| fs::openat(&tmp, name, flags, Mode::RUSR | Mode::WUSR))
            .map_err(|source| Fault::new("creating a file in", path.join("tmp"), source))?;
        crash::point("deliver: created");
        remove_old(&tmp, &path);
        let file = BufWriter::with_capacity(BUFFER_OCTETS, File::from(file));
        Ok(Self {
            path,
            maildir,
            tmp,
            new,
            name,
            temporary: true,
            file,
            local: ToLocal::default(),
            measure: Measure::default(),
            converted: Vec::new(),
            received_octets: 0,
            limit_octets: store.options.message_limit_octets,
        })
    }

    fn store_converted(&mut self) -> Result<(), DeliverError> {
        self.measure.push(&self.converted);
        let written = self.file.write_all(&self.converted);
        self.converted.clear();
        written.map_err(|error| self.fault("writing into", "tmp", error).into())
    }

    fn fault(&self, doing: &'static str, folder: &str, source: impl Into<io::Error>) -> Fault {
        Fault::new(doing, self.path.join(folder), source)
    }

    /// Moves the file into new/ under a name that says its sizes, and that nobody has.
    fn publish(&mut self, measured: Measured) -> Result<(), DeliverError> {
        let stored = self.measure.stored_octets();
        let sizes = format!(",S={stored},W={}", measured.octets);
        let mut final_name = format!("{}{sizes}", self.name);
        for _ in 0..NAMES_TRIED_MAX {
            let renamed = rename_without_replacing(&self.tmp, &self.name, &self.new, &final_name);
            match crash::noted("rename message", renamed) {
                Ok(()) => {
                    self.temporary = false;
                    crash::point("deliver: renamed");
                    return self.make_durable(&final_name);
                }
                Err(Errno::EXIST) => {
                    let fresh =
                        unique_name().map_err(|error| self.fault("naming a file in", "new", error))?;
                    final_name = format!("{fresh}{sizes}");
                }
                Err(errno) => return Err(self.fault("renaming into", "new", errno).into()),
            }
        }
        Err(self.fault("renaming into", "new", Errno::EXIST).into())
    }

    fn make_durable(&self, final_name: &str) -> Result<(), DeliverError> {
        let Err(errno) = crash::noted("fsync new", retry(|| fs::fsync(&self.new))) else { return Ok(()) };
        // The sender is told to try again, so the message should not be here twice. If it cannot be taken back, or was
        // taken into cur/ meanwhile, it comes twice, which is better than not at all.
        if let Err(error) = retry(|| fs::unlinkat(&self.new, final_name, AtFlags::empty())) {
            tracing::warn!(maildir = %self.path.display(), %error, "a delivery that failed could not be taken back");
        }
        Err(self.fault("syncing", "new", errno).into())
    }
}

impl Delivery for MaildirDelivery {
    fn write(&mut self, octets: &[u8]) -> Result<(), DeliverError> {
        self.received_octets += octets.len() as u64;
        if let Some(limit_octets) = self.limit_octets.filter(|&limit| self.received_octets > limit) {
            return Err(DeliverError::TooLong { limit_octets });
        }
        for piece in octets.chunks(BUFFER_OCTETS) {
            self.local.push(piece, &mut self.converted);
            self.store_converted()?;
        }
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<(), DeliverError> {
        self.local.finish(&mut self.converted);
        self.store_converted()?;
        let written = crash::noted("write message", self.file.flush()).and_then(|()| {
            crash::point("deliver: written");
            crash::noted("fsync message", self.file.get_ref().sync_all())
        });
        written.map_err(|error| self.fault("writing into", "tmp", error))?;
        crash::point("deliver: synced");
        self.publish(self.measure.finish())?;
        crash::point("deliver: durable");
        let mut change = quota::Change::default();
        change.delivered(self.measure.stored_octets());
        quota::record(Dir { fd: self.maildir.as_fd(), path: &self.path }, change);
        crash::point("deliver: quota told");
        Ok(())
    }
}

impl Drop for MaildirDelivery {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = retry(|| fs::unlinkat(&self.tmp, &*self.name, AtFlags::empty()))
        {
            tracing::warn!(maildir = %self.path.display(), %error, "a file was left in tmp/");
        }
    }
}

/// Opens the user's Maildir and creates what is missing of its path, but not the root that all users share: where that
/// is missing, a disk is not mounted.
fn prepare(root: &Path, path: &Path) -> Result<OwnedFd, Fault> {
    open_below(root, path, Missing::Create)?
        .ok_or_else(|| Fault::new("opening", path, io::ErrorKind::NotFound))
}

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
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || retry(|| fs::openat(maildir, name, flags, Mode::empty()));
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
fn unique_name() -> io::Result<String> {
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

fn rename_without_replacing(
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
    fn a_delivery_is_durable_before_it_is_seen_and_seen_before_it_is_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        let template = format!("{}/{{user}}", folder.path().display()).parse().unwrap();
        let store = MaildirStore::new(template, super::super::Options::default());
        let mut calls = Vec::new();
        for _ in 0..2 {
            crash::take_noted();
            let mut delivery = MaildirDelivery::begin(&store, &UserName::new("john").unwrap()).unwrap();
            delivery.write(b"Subject: a\r\n").unwrap();
            Box::new(delivery).commit().unwrap();
            calls.push(crash::take_noted());
        }
        let message = ["write message", "fsync message", "rename message", "fsync new"];
        assert_eq!(calls[1], message);
        // The Maildir itself, tmp/, new/ and cur/.
        let folders = ["make folder", "fsync its parent"].repeat(4);
        assert_eq!(calls[0], [&folders[..], &message].concat());
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
