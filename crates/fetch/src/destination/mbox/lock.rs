//! The locks of an mbox: a dotlock `FILE.lock` and `fcntl`, as mail programs and deliverers take them, and a table in
//! this process, since `fcntl` does not keep a process out that has the lock itself.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Write as _},
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Condvar, LazyLock, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, fcntl_lock},
    io::Errno,
    process::Pid,
};

use super::super::{Fault, files, spec::above};

/// How long others are waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long is waited between two looks at a lock: at first, and at last.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(250)];

/// From this age on, a dotlock that does not say whose it is belongs to nobody.
const DOTLOCK_STALE: Duration = Duration::from_secs(5 * 60);

/// The mboxes that this process has locked.
static HELD: LazyLock<Mutex<BTreeSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// Tells those who wait that one was unlocked.
static FREED: Condvar = Condvar::new();

/// What is done where the mbox is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Create,
    Tell,
}

/// An mbox that is locked. Dropping it unlocks it.
#[derive(Debug)]
pub(super) struct Lock {
    // In the order in which they are given back.
    file: File,
    _dotlock: Option<Dotlock>,
    _held: Held,
}

#[derive(Debug)]
struct Dotlock(PathBuf);

impl Drop for Dotlock {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(lock = %self.0.display(), %error, "a lock file could not be removed");
        }
    }
}

#[derive(Debug)]
struct Held(PathBuf);

impl Drop for Held {
    fn drop(&mut self) {
        HELD.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        FREED.notify_all();
    }
}

impl Lock {
    /// Locks the mbox at `path`; `None` if there is none, and none is to be created.
    pub(super) fn acquire(path: &Path, missing: Missing, patience: Duration) -> Result<Option<Self>, Fault> {
        let fault = |doing: &str, error: io::Error| {
            files::fault(&format!("{doing} {}", path.display()), path, &error)
        };
        let deadline = Instant::now() + patience;
        let held = hold(path, patience).ok_or_else(|| busy(path, "another account that is fetched"))?;
        let dotlock = dotlock(path, deadline)?;
        let mut pause = LOOK_AGAIN[0];
        loop {
            let mut flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            if missing == Missing::Create {
                flags |= OFlags::CREATE;
            }
            let file = match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
                Err(Errno::NOENT) if missing == Missing::Tell => return Ok(None),
                opened => File::from(opened.map_err(|errno| fault("opening", errno.into()))?),
            };
            let facts = file.metadata().map_err(|error| fault("opening", error))?;
            if !facts.is_file() {
                return Err(Fault::Destination(format!("{} is no file", path.display())));
            }
            match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                // A mail program may have put a new file in its place meanwhile.
                Ok(()) if std::fs::metadata(path).is_ok_and(|now| now.ino() == facts.ino()) => {
                    return Ok(Some(Self { file, _dotlock: dotlock, _held: held }));
                }
                Ok(()) | Err(Errno::AGAIN | Errno::ACCESS | Errno::INTR) => {}
                Err(errno) => return Err(fault("locking", errno.into())),
            }
            drop(file);
            if !wait(&mut pause, deadline) {
                return Err(busy(path, "another program"));
            }
        }
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }
}

fn busy(path: &Path, by: &str) -> Fault {
    Fault::Destination(format!("{} is locked by {by}; it is tried again later", path.display()))
}

/// Waits a little; `false` if there is no more time.
fn wait(pause: &mut Duration, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    std::thread::sleep((*pause).min(left));
    *pause = (*pause * 2).min(LOOK_AGAIN[1]);
    !left.is_zero()
}

/// Enters the mbox into the table, by a path that is the same whichever way leads there.
fn hold(path: &Path, patience: Duration) -> Option<Held> {
    let key = path.canonicalize().unwrap_or_else(|_| {
        let above = above(path);
        above.canonicalize().unwrap_or_else(|_| above.to_owned()).join(path.file_name().unwrap_or_default())
    });
    let table = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = |held: &mut BTreeSet<PathBuf>| held.contains(&key);
    let (mut table, _) =
        FREED.wait_timeout_while(table, patience, taken).unwrap_or_else(PoisonError::into_inner);
    // Not made before it is ours: to drop it would unlock another's.
    if table.insert(key.clone()) { Some(Held(key)) } else { None }
}

/// Takes the dotlock; `None` where the folder may not be written to, as often for /var/mail.
fn dotlock(path: &Path, deadline: Instant) -> Result<Option<Dotlock>, Fault> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = PathBuf::from(name);
    let mut pause = LOOK_AGAIN[0];
    loop {
        let created = match create_whole(&lock) {
            Ok(()) => return Ok(Some(Dotlock(lock))),
            Err(Errno::EXIST) => Err(io::ErrorKind::AlreadyExists.into()),
            // Not every file system can.
            Err(_) => File::options().write(true).create_new(true).open(&lock),
        };
        let error = match created {
            Ok(mut file) => {
                let taken = Dotlock(lock);
                let written = writeln!(file, "{}", std::process::id());
                written.map_err(|e| files::fault(&format!("locking {}", path.display()), path, &e))?;
                return Ok(Some(taken));
            }
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::AlreadyExists => {}
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => return Ok(None),
            _ => return Err(files::fault(&format!("creating {}", lock.display()), path, &error)),
        }
        if is_stale(&lock) {
            tracing::warn!(lock = %lock.display(), "a lock file that belonged to nobody was removed");
            if std::fs::remove_file(&lock).is_ok() {
                continue;
            }
        }
        if !wait(&mut pause, deadline) {
            return Err(busy(path, &format!("another program, which made {}", lock.display())));
        }
    }
}

/// Creates the dotlock with this process's number in it at once: where a process dies in between, nobody knows whose the
/// empty one is, and it holds for minutes.
fn create_whole(lock: &Path) -> Result<(), Errno> {
    let (flags, mode) = (OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o644));
    let mut file = File::from(rustix::fs::open(above(lock), flags, mode)?);
    writeln!(file, "{}", std::process::id()).map_err(|_| Errno::IO)?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, unnamed.as_str(), CWD, lock, AtFlags::SYMLINK_FOLLOW)
}

/// Whether a dotlock belongs to nobody: to a process that is no more, or, where it does not say to which, it is old.
fn is_stale(lock: &Path) -> bool {
    let Ok(facts) = std::fs::symlink_metadata(lock) else { return false };
    let text = if facts.is_file() && facts.len() < 64 { std::fs::read_to_string(lock).ok() } else { None };
    let number = text.and_then(|text| text.trim_matches(['\0', ' ', '\n', '\r']).parse::<i32>().ok());
    match number.filter(|&pid| pid > 0).and_then(Pid::from_raw) {
        // This process does not hold it, as the table says: its number was another's before.
        Some(pid) if pid == rustix::process::getpid() => true,
        Some(pid) => rustix::process::test_kill_process(pid) == Err(Errno::SRCH),
        None => {
            let age = facts.modified().ok().and_then(|then| SystemTime::now().duration_since(then).ok());
            age.is_some_and(|age| age > DOTLOCK_STALE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(30);

    fn acquire(path: &Path) -> Result<Option<Lock>, Fault> {
        Lock::acquire(path, Missing::Create, SHORT)
    }

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let (path, lock) = (folder.path().join("box"), folder.path().join("box.lock"));
        assert!(Lock::acquire(&path, Missing::Tell, SHORT).unwrap().is_none());
        assert!(!lock.exists());
        let held = acquire(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&lock).unwrap(), format!("{}\n", std::process::id()));
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        let error = acquire(&folder.path().join("link")).unwrap_err().to_string();
        assert!(error.contains("locked by another account"), "{error}");
        drop(held);
        assert!(!lock.exists());
        drop(acquire(&path).unwrap());
    }

    #[test]
    fn a_dotlock_of_nobody_is_removed_and_one_of_somebody_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (path, lock) = (folder.path().join("box"), folder.path().join("box.lock"));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        for (text, stale) in [
            (format!("{}\n", child.id()), true),
            (std::process::id().to_string(), true),
            ("1".to_owned(), false),
            (String::new(), false),
            ("nonsense".to_owned(), false),
        ] {
            std::fs::write(&lock, &text).unwrap();
            let taken = acquire(&path);
            assert_eq!(taken.is_ok(), stale, "{text:?}: {taken:?}");
        }
        let old = SystemTime::now() - DOTLOCK_STALE - Duration::from_secs(1);
        File::options().write(true).open(&lock).unwrap().set_modified(old).unwrap();
        assert!(acquire(&path).is_ok());
    }
}
