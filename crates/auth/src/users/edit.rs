//! Changing a users file for `restante user`: comments, order and further fields stay; the new file replaces the old
//! one in one step, durably, with the old one's owner and mode.
//!
//! What changes in the text is pure; the file is locked meanwhile, so that two commands do not undo each other.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use restante_proto::{Secret, UserName};
use restante_sasl::scram::Hash;

use super::{FILE_MAX_OCTETS, Fields, LINE_MAX_OCTETS, LineError, UsersFile, extras};
use crate::scheme::{self, CreateError, Scheme};

/// How long to wait for another command that changes the same file.
pub const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);

/// The mode of a new users file: hashes are nobody else's business.
const NEW_FILE_MODE: u32 = 0o600;
/// The mode of one that root makes in a folder of the server's group.
const NEW_FILE_GROUP_MODE: u32 = 0o640;

/// The number of the user and of the group.
const ROOT: u32 = 0;

/// What [`add`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It added to a file that was there.
    ToOldFile,
    /// It made the file, and those who have to read it can: its owner, or the folder's group.
    ToNewFile,
    /// It made the file, which root alone can read.
    ToNewFileOfRoot,
}

/// Why a users file could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// `add` of a user who is there.
    #[error("the user {0} exists already; `restante user passwd` sets a new password")]
    Exists(UserName),
    /// `add` of a name that would make the line a comment.
    #[error("a users file's names do not begin with #, which begins a comment")]
    Comment,
    /// A change to a user who is not there.
    #[error("there is no user {0}")]
    NotFound(UserName),
    /// The line or the file would become longer than is read.
    #[error("the line or the file would become too long to be read")]
    TooLong,
    /// The file is longer than is read.
    #[error("{} is larger than {FILE_MAX_OCTETS} octets, or no regular file", .0.display())]
    NotReadable(PathBuf),
    /// Another program holds the lock.
    #[error("{} is being changed by another program", .0.display())]
    Locked(PathBuf),
    /// The system refused.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with the path.
        context: String,
        /// What failed.
        source: io::Error,
    },
}

/// What a user is to log in with: a `{SCHEME}hash`, and SCRAM keys of the same password.
#[derive(Debug)]
pub struct NewLogin {
    hash: Secret<String>,
    /// As `{SCRAM-SHA-256}…`, each in a field of its own.
    keys: Vec<Secret<String>>,
    /// For a file that has none, so that its first keys have one; `None` where there are no keys.
    salt_key: Option<Secret<[u8; 32]>>,
}

impl NewLogin {
    /// Hashes a new password. Blocking and slow on purpose. Beside the hash there are SCRAM keys of these hashes, unless the
    /// password itself is stored, or SCRAM cannot carry it.
    pub fn create(scheme: &Scheme, password: &Secret<Vec<u8>>, keys: &[Hash]) -> Result<Self, CreateError> {
        let mut login = Self::from(scheme::create(scheme, password)?);
        let is_scram = Hash::ALL.iter().any(|hash| hash.mechanism() == scheme.name);
        for hash in keys.iter().filter(|hash| hash.mechanism() != scheme.name && scheme.name != "PLAIN") {
            let Some(scheme) = scheme::find(hash.mechanism()) else { continue };
            match scheme::create(scheme, password) {
                Ok(keys) => login.keys.push(keys),
                Err(CreateError::Unprepared { .. }) => return Ok(Self { keys: Vec::new(), ..login }),
                Err(error) => return Err(error),
            }
        }
        if is_scram || !login.keys.is_empty() {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(CreateError::Random)?;
            login.salt_key = Some(Secret::new(key));
        }
        Ok(login)
    }

    /// Whether there are SCRAM keys, as the hash or beside it.
    pub const fn has_keys(&self) -> bool {
        self.salt_key.is_some()
    }

    /// The further fields of a line, keys in the place of keys. Keys of another password would let that one in.
    fn fields(&self, rest: &[u8]) -> Vec<u8> {
        let mut keys = self.keys.iter().map(|keys| keys.expose().as_bytes());
        let old = rest.split(|&octet| octet == b':').skip(1);
        let mut fields: Vec<_> =
            old.filter_map(|field| if extras::is_keys(field) { keys.next() } else { Some(field) }).collect();
        fields.extend(keys);
        fields.into_iter().flat_map(|field| [b":", field].concat()).collect()
    }
}

impl From<Secret<String>> for NewLogin {
    /// A `{SCHEME}hash` alone.
    fn from(hash: Secret<String>) -> Self {
        Self { hash, keys: Vec::new(), salt_key: None }
    }
}

/// Adds a user at the end; creates the file if there is none.
pub fn add(path: &Path, user: &UserName, login: &NewLogin) -> Result<Added, EditError> {
    // What no file takes must not leave an empty one behind.
    with_user(b"", user, login)?;
    let added = create_if_missing(path)?;
    change(path, |text| with_user(text, user, login))?;
    Ok(added)
}

/// Whether a users file can hold the name at all.
pub fn check_name(user: &UserName) -> Result<(), EditError> {
    if user.as_str().starts_with('#') { Err(EditError::Comment) } else { Ok(()) }
}

/// Gives a user another password.
pub fn set_password(path: &Path, user: &UserName, login: &NewLogin) -> Result<(), EditError> {
    change(path, |text| with_password(text, user, login))
}

/// Removes every line of a user.
pub fn remove(path: &Path, user: &UserName) -> Result<(), EditError> {
    change(path, |text| without_user(text, user))
}

/// Reads the file: its users, and its damaged lines.
pub fn list(path: &Path) -> Result<(UsersFile, Vec<LineError>), EditError> {
    Ok(UsersFile::parse(&read_file(path, &mut open(path)?)?))
}

/// The text with one user more.
pub fn with_user(text: &[u8], user: &UserName, login: &NewLogin) -> Result<Vec<u8>, EditError> {
    check_name(user)?;
    if raw_lines(text).any(|line| is_of(line, user)) {
        return Err(EditError::Exists(user.clone()));
    }
    let mut new = with_salt_key(text, login);
    new.extend_from_slice(text);
    if !(text.is_empty() || text.ends_with(b"\n")) {
        new.push(b'\n');
    }
    push_line(&mut new, user.as_str().as_bytes(), login, b"", b"\n")?;
    Ok(new)
}

/// The text with another password for a user: in the first line of the name, which is the one that counts.
pub fn with_password(text: &[u8], user: &UserName, login: &NewLogin) -> Result<Vec<u8>, EditError> {
    let mut new = with_salt_key(text, login);
    let mut done = false;
    for line in raw_lines(text) {
        if done || !is_of(line, user) {
            new.extend_from_slice(line);
            continue;
        }
        done = true;
        let (content, end) = split_end(line);
        let rest = match Fields::of(content) {
            Ok(Some(fields)) => fields.rest,
            _ => &[],
        };
        let name = content.iter().position(|&octet| octet == b':').map_or(content, |colon| &content[..colon]);
        push_line(&mut new, name, login, rest, end)?;
    }
    if done { Ok(new) } else { Err(EditError::NotFound(user.clone())) }
}

/// The text without a user: all lines of the name, or the second one would bring the user back.
pub fn without_user(text: &[u8], user: &UserName) -> Result<Vec<u8>, EditError> {
    let new: Vec<u8> = raw_lines(text).filter(|line| !is_of(line, user)).flatten().copied().collect();
    if new.len() == text.len() { Err(EditError::NotFound(user.clone())) } else { Ok(new) }
}

/// The line of the salt key, for a text that has no such key and is to have SCRAM keys.
fn with_salt_key(text: &[u8], login: &NewLogin) -> Vec<u8> {
    match &login.salt_key {
        Some(key) if UsersFile::parse(text).0.salt_key().is_none() => {
            format!("{}\n", extras::salt_key_line(key)).into_bytes()
        }
        _ => Vec::new(),
    }
}

fn push_line(
    new: &mut Vec<u8>,
    name: &[u8],
    login: &NewLogin,
    rest: &[u8],
    end: &[u8],
) -> Result<(), EditError> {
    let (password, rest) = (login.hash.expose().as_bytes(), login.fields(rest));
    if name.len() + 1 + password.len() + rest.len() + end.len() > LINE_MAX_OCTETS {
        return Err(EditError::TooLong);
    }
    for part in [name, b":", password, &rest, end] {
        new.extend_from_slice(part);
    }
    Ok(())
}

/// The lines with their ends.
fn raw_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&octet| octet == b'\n')
}

fn split_end(line: &[u8]) -> (&[u8], &[u8]) {
    let content = line.strip_suffix(b"\n").unwrap_or(line);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    line.split_at(content.len())
}

/// Whether a line, sound or damaged behind the name, is of this user.
fn is_of(line: &[u8], user: &UserName) -> bool {
    matches!(Fields::of(split_end(line).0), Ok(Some(fields)) if fields.name == *user)
}

/// Reads, changes and replaces the file, under its lock.
fn change(path: &Path, edit: impl FnOnce(&[u8]) -> Result<Vec<u8>, EditError>) -> Result<(), EditError> {
    // A link is followed, so that it is not replaced by a file.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut file = lock(path, LOCK_WAIT_MAX)?;
    let old = read_file(path, &mut file)?;
    let new = edit(&old)?;
    if u64::try_from(new.len()).is_ok_and(|octets| octets > FILE_MAX_OCTETS) {
        return Err(EditError::TooLong);
    }
    let like = look_at(path, &file)?;
    replace(path, &new, &like)
}

/// Opens and locks the file that the path names *now*: another command may have replaced it since we opened it.
pub(super) fn lock(path: &Path, wait: Duration) -> Result<File, EditError> {
    let until = Instant::now() + wait;
    loop {
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(EditError::NotReadable(path.to_owned()));
        }
        let file = File::open(path).map_err(|source| io_error("opening", path, source))?;
        match file.try_lock() {
            Ok(()) => {
                if is_at(&file, path).map_err(|source| io_error("looking at", path, source))? {
                    return Ok(file);
                }
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(io_error("locking", path, source)),
        }
        if Instant::now() >= until {
            return Err(EditError::Locked(path.to_owned()));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Creates an empty file, unless there is one or another command is quicker.
fn create_if_missing(path: &Path) -> Result<Added, EditError> {
    let fail = |source| io_error("creating", path, source);
    let file = match OpenOptions::new().write(true).create_new(true).mode(NEW_FILE_MODE).open(path) {
        Ok(file) => file,
        // A link that leads nowhere exists, and cannot be opened.
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists && path.exists() => {
            return Ok(Added::ToOldFile);
        }
        Err(source) => return Err(fail(source)),
    };
    // The server does not run as root: a file that root makes is for the group that the folder was given to.
    if file.metadata().map_err(fail)?.uid() != ROOT {
        return Ok(Added::ToNewFile);
    }
    let group = fs::metadata(folder_of(path)).map_err(fail)?.gid();
    if group == ROOT {
        return Ok(Added::ToNewFileOfRoot);
    }
    fchown(&file, None, Some(group)).map_err(fail)?;
    file.set_permissions(fs::Permissions::from_mode(NEW_FILE_GROUP_MODE)).map_err(fail)?;
    Ok(Added::ToNewFile)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((held.dev(), held.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes beside the file, makes that durable, and moves it into the file's place.
fn replace(path: &Path, text: &[u8], like: &fs::Metadata) -> Result<(), EditError> {
    let folder = folder_of(path);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".restante-new");
    let temporary = folder.join(name);
    // We hold the lock: what stands there is left over from a crash.
    match fs::remove_file(&temporary) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("removing", &temporary, source));
        }
        _ => {}
    }
    let written = write_like(&temporary, text, like)
        .and_then(|()| fs::rename(&temporary, path).map_err(|source| io_error("replacing", path, source)));
    if let Err(error) = written {
        // The first error is the one to tell; a left-over is removed by the next change.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    let folder_file = File::open(folder).and_then(|folder| folder.sync_all());
    folder_file.map_err(|source| io_error("making durable", folder, source))
}

fn write_like(path: &Path, text: &[u8], like: &fs::Metadata) -> Result<(), EditError> {
    let fail = |source| io_error("writing", path, source);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(NEW_FILE_MODE).open(path).map_err(fail)?;
    file.write_all(text).map_err(fail)?;
    let ours = file.metadata().map_err(fail)?;
    if (ours.uid(), ours.gid()) != (like.uid(), like.gid()) {
        // A file that the server can no longer read would lock everybody out: better to change nothing.
        fchown(&file, Some(like.uid()), Some(like.gid()))
            .map_err(|source| io_error("keeping the owner of the users file for", path, source))?;
    }
    let mode = fs::Permissions::from_mode(like.mode() & 0o7777);
    file.set_permissions(mode).map_err(fail)?;
    file.sync_all().map_err(fail)
}

/// Opens a users file for reading.
pub(crate) fn open(path: &Path) -> Result<File, EditError> {
    let metadata = fs::metadata(path).map_err(|source| io_error("opening", path, source))?;
    // Before opening: that would wait for ever on a FIFO.
    if !metadata.is_file() {
        return Err(EditError::NotReadable(path.to_owned()));
    }
    File::open(path).map_err(|source| io_error("opening", path, source))
}

/// What an open users file is like now.
pub(crate) fn look_at(path: &Path, file: &File) -> Result<fs::Metadata, EditError> {
    file.metadata().map_err(|source| io_error("looking at", path, source))
}

pub(crate) fn read_file(path: &Path, file: &mut File) -> Result<Vec<u8>, EditError> {
    let mut text = Vec::new();
    let read = file.take(FILE_MAX_OCTETS + 1).read_to_end(&mut text);
    read.map_err(|source| io_error("reading", path, source))?;
    if u64::try_from(text.len()).is_ok_and(|octets| octets <= FILE_MAX_OCTETS) {
        Ok(text)
    } else {
        Err(EditError::NotReadable(path.to_owned()))
    }
}

fn io_error(doing: &str, path: &Path, source: io::Error) -> EditError {
    EditError::Io { context: format!("{doing} {}", path.display()), source }
}
