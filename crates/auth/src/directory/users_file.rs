//! The users file as a directory: loaded at the start, and again when it has changed.
//!
//! A file that cannot be read keeps its last good contents in force. What the lines mean lives in [`crate::users`].

use std::{
    fmt, fs,
    hash::{BuildHasher as _, RandomState},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use restante_proto::{Secret, UserName};
use restante_sasl::{Needs, scram::Hash};
use tokio::{task, time::Instant};

use super::{Directory, KeysLike, Kind, Lookup, LookupError, Task, point};
use crate::{
    scheme::StoredPassword,
    users::{
        UsersFile, edit,
        reading::{SETTLES_AFTER, Stamp, is_quiet},
    },
};

/// The users file, for the registry.
pub(super) const KIND: Kind = Kind { name: "users", doc: "the users file" };

/// How often, at most, a lookup looks whether the file has changed.
pub const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The directory that is a users file.
pub struct UsersFileDirectory {
    watched: Arc<Watched>,
    /// When a lookup last looked at the file.
    checked: Mutex<Instant>,
}

impl UsersFileDirectory {
    /// Loads the file; damaged lines go to the log. Blocking.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, edit::EditError> {
        let path = path.into();
        let seen =
            Seen { stamp: None, first: None, trouble: None, contents: RandomState::new(), digest: None };
        let watched = Watched { path, seen: Mutex::new(seen), users: RwLock::default() };
        watched.load()?;
        Ok(Self { watched: Arc::new(watched), checked: Mutex::new(Instant::now()) })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.watched.path
    }

    /// Looks at the file now; for SIGHUP. A failure is in the log, and the last good contents stay in force.
    pub async fn reload(&self) {
        let watched = Arc::clone(&self.watched);
        if let Err(error) = task::spawn_blocking(move || watched.check()).await {
            tracing::error!(%error, "the users file was not reloaded");
        }
    }

    /// Whether it is time to look at the file; true for one caller only.
    fn is_due(&self) -> bool {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = checked.elapsed() >= CHECK_EVERY;
        if due {
            *checked = Instant::now();
        }
        due
    }
}

impl Directory for UsersFileDirectory {
    fn lookup<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Lookup, LookupError>> {
        Box::pin(async {
            if self.is_due() {
                self.reload().await;
            }
            let users = self.watched.users();
            // Whose line is damaged, or locks him out, is not looked for elsewhere, where he might be let in.
            Ok(match (users.entry(user), users.account(user)) {
                (Some(entry), _) => Lookup::Known(Box::new(entry)),
                (None, Some(account)) => Lookup::LockedOut(Box::new(account)),
                (None, None) => Lookup::Unknown,
            })
        })
    }

    fn reload(&self) -> Task<'_, ()> {
        Box::pin(Self::reload(self))
    }

    fn can(&self, needs: Needs) -> bool {
        match needs {
            Needs::Password | Needs::Certificate => true,
            Needs::Token => false,
            Needs::Keys(_) | Needs::Plaintext => {
                let users = self.watched.users();
                !users.is_empty() && users.lacking(needs) == 0
            }
        }
    }

    fn stand_in(&self, name: &str) -> Option<StoredPassword> {
        let users = self.watched.users();
        Some(users.password_at(point(name)).cloned().unwrap_or_else(StoredPassword::stand_in))
    }

    fn stand_in_keys(&self, name: &str, hash: Hash) -> KeysLike {
        self.watched.users().keys_like(point(name), hash).unwrap_or(KeysLike::USUAL)
    }

    fn salt_key(&self) -> Option<Secret<[u8; 32]>> {
        self.watched.users().salt_key().cloned()
    }

    fn keeps_keys(&self) -> bool {
        self.watched.users().has_keys()
    }
}

impl fmt::Debug for UsersFileDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsersFileDirectory").field("path", &self.watched.path).finish_non_exhaustive()
    }
}

/// The file, and what was in it.
struct Watched {
    path: PathBuf,
    seen: Mutex<Seen>,
    users: RwLock<Arc<UsersFile>>,
}

/// What the file was like when it was last read. One changed a moment ago may change again, unnoticed; it is read
/// again until it has settled.
struct Seen {
    /// `None` where it has to be read again in any case.
    stamp: Option<Stamp>,
    /// The stamp of the last reading, and when it was first seen.
    first: Option<(Stamp, Instant)>,
    /// The last failure, so that it is told once and not every second.
    trouble: Option<String>,
    contents: RandomState,
    /// Of the contents, so that the same damage is told once.
    digest: Option<u64>,
}

impl Watched {
    fn users(&self) -> Arc<UsersFile> {
        Arc::clone(&self.users.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Loads the file if it has changed; tells a failure once. Blocking.
    fn check(&self) {
        let known = self.seen.lock().unwrap_or_else(PoisonError::into_inner).stamp;
        if known.is_some() && fs::metadata(&self.path).is_ok_and(|file| known == Some(Stamp::of(&file))) {
            return;
        }
        let Err(error) = self.load() else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = error.to_string();
        if seen.trouble.as_ref() != Some(&trouble) {
            tracing::warn!("{trouble}; the users that were loaded before stay in force");
            seen.trouble = Some(trouble);
        }
        seen.stamp = None;
    }

    fn load(&self) -> Result<(), edit::EditError> {
        // Held while reading, so that an older reading never replaces a newer one.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = edit::open(&self.path)?;
        let metadata = edit::look_at(&self.path, &file)?;
        let text = edit::read_file(&self.path, &mut file)?;
        let (stamp, now) = (Stamp::of(&metadata), Instant::now());
        // A time in the future never gets old: what has stayed as it is for long enough has settled, too.
        let first = seen.first.filter(|(first, _)| *first == stamp).map_or(now, |(_, at)| at);
        seen.first = Some((stamp, first));
        let settled = is_quiet(&metadata) || now.duration_since(first) > SETTLES_AFTER;
        seen.stamp = settled.then_some(stamp);
        seen.trouble = None;
        let digest = Some(seen.contents.hash_one(&text));
        if seen.digest == digest {
            return Ok(());
        }
        seen.digest = digest;
        let (users, errors) = UsersFile::parse(&text);
        let path = self.path.display();
        for error in errors {
            tracing::warn!("{path}: {error}");
        }
        if metadata.mode() & 0o004 != 0 {
            tracing::warn!("{path} can be read by everybody on this machine; `chmod 640` it");
        }
        tracing::info!(users = users.len(), "{path} loaded");
        let (lacking, all) = (users.lacking(Needs::Keys(Hash::Sha256)), users.len());
        if (1..all).contains(&lacking) {
            tracing::info!(
                "SCRAM is not offered: {lacking} of {all} users have no keys; `restante user passwd` makes them"
            );
        }
        *self.users.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(users);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
