//! Where tokens are kept: in the keyring of the desktop (the Secret Service), or in a file that nobody else can read.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use restante_proto::Secret;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use crate::{error::OauthError, tokens::Tokens};

/// What our entries in the keyring are called.
const SERVICE: &str = "restante";

/// How long the keyring may take: it may ask a person to open it.
const KEYRING_TIMEOUT: Duration = Duration::from_secs(120);

/// How long the keyring may take to say whether it is there.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest file, in octets.
const FILE_MAX_OCTETS: u64 = 64 << 10;

/// How long another process may hold the lock: about as long as a server may take for an answer.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// How often the lock is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Where the tokens of an account are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the keyring.
    Keyring,
    /// In the file.
    File,
}

/// The place of one account's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    place: Place,
    account: String,
    file: PathBuf,
}

/// Room in which tokens can be kept, whatever happens to the disk meanwhile. What is not used is given back.
#[derive(Debug)]
pub struct Room<'a> {
    store: &'a Store,
    new: Option<NewFile>,
}

/// While it lives, no other process replaces these tokens.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File); // closing the file unlocks it

impl Store {
    /// The place of this account's tokens. The file, and the lock beside it, are at this path.
    pub fn new(place: Place, account: &str, file: &Path) -> Self {
        Self { place, account: account.to_owned(), file: file.to_owned() }
    }

    /// Where they are kept if nobody says: where they are already, else in the keyring if there is one, else in the file.
    pub async fn usual(account: &str, file: &Path) -> Self {
        let place = match file.exists() {
            true => Place::File,
            // Also where it does not answer now: then that is what to say, not that nobody has signed in.
            false if marker(file).exists() => Place::Keyring,
            false if has_keyring().await => Place::Keyring,
            false => Place::File,
        };
        Self::new(place, account, file)
    }

    /// Where they are.
    pub const fn place(&self) -> Place {
        self.place
    }

    /// The other place of the same account's tokens.
    #[must_use]
    pub fn other(&self) -> Self {
        let place = match self.place {
            Place::Keyring => Place::File,
            Place::File => Place::Keyring,
        };
        Self { place, ..self.clone() }
    }

    /// Whether tokens should be there, as far as can be told without asking a keyring.
    pub fn is_said_to_have_tokens(&self) -> bool {
        match self.place {
            Place::Keyring => marker(&self.file).exists(),
            Place::File => self.file.exists(),
        }
    }

    /// Whether it can be asked.
    pub async fn answers(&self) -> bool {
        match self.place {
            Place::Keyring => has_keyring().await,
            Place::File => true,
        }
    }

    /// The same in words.
    pub fn shown(&self) -> String {
        match self.place {
            Place::Keyring => "the keyring".to_owned(),
            Place::File => self.file.display().to_string(),
        }
    }

    /// The tokens, if there are any.
    ///
    /// # Errors
    /// If they cannot be read, or others could read them too.
    pub async fn load(&self) -> Result<Option<Tokens>, OauthError> {
        let text = match self.place {
            Place::File => read(&self.file).map_err(|error| self.failed("read", &error.to_string()))?,
            Place::Keyring => {
                self.keyring(|entry| match entry.get_password() {
                    Ok(text) => Ok(Some(Secret::new(text))),
                    Err(keyring::Error::NoEntry) => Ok(None),
                    Err(error) => Err(error),
                })
                .await?
            }
        };
        match text {
            None => Ok(None),
            Some(text) => match Tokens::read(text.expose()) {
                Some(tokens) => Ok(Some(tokens)),
                None => Err(OauthError::Setup(format!("what is in {} are no tokens", self.shown()))),
            },
        }
    }

    /// Keeps these in place of others.
    ///
    /// # Errors
    /// If they cannot be kept; the others are kept then.
    pub async fn save(&self, tokens: &Tokens) -> Result<(), OauthError> {
        match self.place {
            Place::File => self.room(None).await?.save(tokens).await,
            Place::Keyring => self.set(tokens).await,
        }
    }

    /// Makes sure that new tokens can be kept: a refresh token that rotates must not be spent before. A file's room is
    /// written in advance; a keyring is made to write `now`, what is kept by now, once more.
    ///
    /// # Errors
    /// If they could not be kept.
    pub async fn room(&self, now: Option<&Tokens>) -> Result<Room<'_>, OauthError> {
        let new = match (self.place, now) {
            (Place::File, _) => {
                Some(NewFile::make(&self.file).map_err(|error| self.failed("write", &error.to_string()))?)
            }
            (Place::Keyring, Some(tokens)) => {
                self.set(tokens).await?;
                None
            }
            (Place::Keyring, None) => None,
        };
        Ok(Room { store: self, new })
    }

    async fn set(&self, tokens: &Tokens) -> Result<(), OauthError> {
        let text = tokens.write();
        // First: a marker without tokens is put right by the next one to ask, tokens that nobody knows of are not.
        make_folder(&self.file)
            .and_then(|()| OpenOptions::new().create(true).append(true).mode(0o600).open(marker(&self.file)))
            .map_err(|error| OauthError::Store(format!("cannot note where the tokens are: {error}")))?;
        self.keyring(move |entry| entry.set_password(text.expose())).await
    }

    /// Forgets them; whether there were any.
    ///
    /// # Errors
    /// If they are still there.
    pub async fn forget(&self) -> Result<bool, OauthError> {
        match self.place {
            Place::File => match fs::remove_file(&self.file) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(self.failed("remove", &error.to_string())),
            },
            Place::Keyring => {
                let had = self
                    .keyring(|entry| match entry.delete_credential() {
                        Ok(()) => Ok(true),
                        Err(keyring::Error::NoEntry) => Ok(false),
                        Err(error) => Err(error),
                    })
                    .await?;
                fs::remove_file(marker(&self.file)).unwrap_or_default();
                Ok(had)
            }
        }
    }

    /// Waits until no other process replaces these tokens: a refresh token that rotates is good for one refresh.
    ///
    /// # Errors
    /// If that takes too long, or there can be no lock.
    pub async fn lock(&self) -> Result<Lock, OauthError> {
        let mut path = self.file.clone().into_os_string();
        path.push(".lock");
        let fail = |error: io::Error| self.failed("lock", &error.to_string());
        make_folder(&self.file).map_err(fail)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(fail)?;
        let until = Instant::now() + LOCK_TIMEOUT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(LOCK_PAUSE).await,
                Err(TryLockError::WouldBlock) => {
                    return Err(self.failed("lock", "another process has held it for a minute"));
                }
                Err(TryLockError::Error(error)) => return Err(fail(error)),
            }
        }
    }

    fn failed(&self, what: &str, why: &str) -> OauthError {
        OauthError::Store(format!("cannot {what} {}: {why}", self.shown()))
    }

    async fn keyring<T: Send + 'static>(
        &self,
        work: impl FnOnce(&keyring::Entry) -> keyring::Result<T> + Send + 'static,
    ) -> Result<T, OauthError> {
        let account = self.account.clone();
        let done = in_thread(KEYRING_TIMEOUT, move || work(&keyring::Entry::new(SERVICE, &account)?)).await;
        match done {
            Some(Ok(done)) => Ok(done),
            // The library's error may hold what it read.
            Some(Err(error)) => Err(OauthError::Store(words(&error).to_owned())),
            None => Err(OauthError::Store("the keyring does not answer".to_owned())),
        }
    }
}

impl Room<'_> {
    /// Keeps these in it, in place of others.
    ///
    /// # Errors
    /// If that does not work all the same; the others are kept then.
    pub async fn save(self, tokens: &Tokens) -> Result<(), OauthError> {
        match self.new {
            None => self.store.set(tokens).await,
            Some(new) => {
                let written = new.become_file(&self.store.file, tokens.write().expose());
                written.map_err(|error| self.store.failed("write", &error.to_string()))
            }
        }
    }
}

/// What stands beside the file's place when the tokens are in the keyring: who runs where there is none knows it by this.
fn marker(file: &Path) -> PathBuf {
    let mut path = file.to_path_buf().into_os_string();
    path.push(".keyring");
    PathBuf::from(path)
}

/// Whether a keyring answers.
async fn has_keyring() -> bool {
    let probe = || {
        let entry = keyring::Entry::new(SERVICE, "probe");
        matches!(entry.and_then(|entry| entry.get_password()), Ok(_) | Err(keyring::Error::NoEntry))
    };
    in_thread(PROBE_TIMEOUT, probe).await.unwrap_or(false)
}

/// Does it in a thread of its own, which nobody waits for if it takes too long: the keyring's calls block, and some of
/// them run a runtime of their own.
async fn in_thread<T: Send + 'static>(
    time: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let run = move || drop(sender.send(work()));
    thread::Builder::new().name("keyring".into()).spawn(run).ok()?;
    timeout(time, receiver).await.ok()?.ok()
}

fn words(error: &keyring::Error) -> &'static str {
    match error {
        keyring::Error::NoStorageAccess(_) => "the keyring does not answer: it is locked",
        keyring::Error::Ambiguous(_) => "the keyring has more than one entry for this account",
        keyring::Error::TooLong(..) => "the tokens are too long for the keyring",
        // Where nobody is logged in, as with cron, there is none.
        _ => "the keyring does not answer; where none is open, as with cron, tokens = \"file\" is the way",
    }
}

fn read(file: &Path) -> io::Result<Option<Secret<String>>> {
    let opened = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let metadata = opened.metadata()?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other("others may read it; chmod 600"));
    }
    if metadata.len() > FILE_MAX_OCTETS {
        return Err(io::Error::other("it is too long"));
    }
    let mut text = String::with_capacity(metadata.len() as usize + 1);
    opened.take(FILE_MAX_OCTETS).read_to_string(&mut text)?;
    Ok(Some(Secret::new(text)))
}

/// A file that takes the place of another one, whole or not at all, also if the machine stops meanwhile. It is long enough
/// for all tokens before any are there, so that a disk that is full is noticed first.
#[derive(Debug)]
struct NewFile {
    path: PathBuf,
    opened: File,
}

impl NewFile {
    fn make(file: &Path) -> io::Result<Self> {
        make_folder(file)?;
        let mut path = file.to_path_buf().into_os_string();
        path.push(format!(".{}.new", process::id()));
        let path = PathBuf::from(path);
        // What a process of the same number left behind has its rights, whatever they are.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let mut new = Self { path, opened };
        // Not zeros: some file systems keep these without room.
        new.opened.write_all(&vec![b' '; FILE_MAX_OCTETS as usize])?;
        new.opened.sync_all()?;
        Ok(new)
    }

    fn become_file(mut self, file: &Path, text: &str) -> io::Result<()> {
        self.opened.rewind()?;
        self.opened.write_all(text.as_bytes())?;
        self.opened.set_len(text.len() as u64)?;
        self.opened.sync_all()?;
        fs::rename(&self.path, file)?;
        match file.parent() {
            // An empty one is the folder where we are.
            Some(folder) if folder.as_os_str().is_empty() => File::open(".")?.sync_all(),
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // It is gone where it has become the file.
        fs::remove_file(&self.path).unwrap_or_default();
    }
}

fn make_folder(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)
        }
        _ => Ok(()),
    }
}
