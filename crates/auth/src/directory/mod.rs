//! Where users are looked up. A directory is a file or folder here, one line in [`KINDS`], and one call of the
//! [`crate::conformance`] suite; [`Directories`] asks several of them in order.

use std::{fmt, future::Future, io, pin::Pin, sync::Arc, time::Duration};

use restante_proto::{Secret, UserName};
use restante_sasl::{Needs, scram};

use blake2::Digest as _;

use crate::scheme::{StoredPassword, scram::SALT_OCTETS};

#[cfg(any(feature = "sql", feature = "ldap"))]
mod connections;
mod directories;
#[cfg(feature = "ldap")]
pub mod ldap;
mod memory;
#[cfg(feature = "oauth")]
mod oauth;
#[cfg(feature = "pam")]
pub mod pam;
#[cfg(any(feature = "sql", feature = "ldap", feature = "oauth"))]
mod secret_file;
#[cfg(feature = "sql")]
pub mod sql;
#[cfg(any(feature = "sql", feature = "ldap", feature = "oauth"))]
mod trust;
mod users_file;
#[cfg(any(feature = "sql", feature = "ldap"))]
mod values;

pub(crate) use directories::Found;
pub use directories::{Directories, PATIENCE_DEFAULT, Route};
pub use memory::MemoryDirectory;
#[cfg(feature = "oauth")]
pub use oauth::{
    EmailVerified, OauthDirectory, OauthError, OauthSettings, TIMEOUT_DEFAULT, USER_CLAIM_DEFAULT,
};
pub use users_file::{CHECK_EVERY, UsersFileDirectory};
#[cfg(any(feature = "sql", feature = "ldap", feature = "oauth"))]
pub use {
    secret_file::{SecretError, SecretText},
    trust::TrustError,
};

/// The kinds of directories that a configuration can name.
pub const KINDS: &[Kind] = &[
    users_file::KIND,
    #[cfg(feature = "sql")]
    sql::KIND,
    #[cfg(feature = "ldap")]
    ldap::KIND,
    #[cfg(feature = "pam")]
    pam::KIND,
    #[cfg(feature = "oauth")]
    oauth::KIND,
];

/// A kind of directory, as the configuration knows it.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name: a word of `[auth] directories`, and the section with its settings.
    pub name: &'static str,
    /// What it is, in a few words.
    pub doc: &'static str,
}

/// A future of a directory, boxed so that directories can be chosen at run time.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A place where users and their passwords are looked up. Every future may be dropped at any time.
pub trait Directory: Send + Sync + fmt::Debug + 'static {
    /// What is known of a user.
    fn lookup<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Lookup, LookupError>>;

    /// Whether this is the password of a user; for directories that compare by themselves, which say so by [`Lookup::Ask`] or
    /// an [`Entry`] without a password.
    fn check<'a>(
        &'a self,
        _user: &'a UserName,
        _password: &'a Secret<Vec<u8>>,
    ) -> Task<'a, Result<Check, LookupError>> {
        Box::pin(async { Ok(Check::Unknown) })
    }

    /// Whose token this is. `claimed` is whom the client says it is; a token of somebody else is [`Check::Wrong`], and one
    /// that another directory may know is [`Check::Unknown`].
    fn token<'a>(
        &'a self,
        _claimed: Option<&'a UserName>,
        _token: &'a Secret<String>,
    ) -> Task<'a, Result<Check, LookupError>> {
        Box::pin(async { Ok(Check::Unknown) })
    }

    /// Whether all of its users can log in by a mechanism that needs this. What is offered is what every directory can do,
    /// since a client takes the strongest mechanism and does not try another. Cheap: it is asked for each connection.
    fn can(&self, needs: Needs) -> bool;

    /// What is hashed in place of the password of somebody who is not there, so that an answer takes no less time.
    ///
    /// The same for the same name ([`point`] helps), and of each scheme and cost as often as users have it: where a file mixes
    /// quick and slow schemes, a quick answer must not mean «exists» nor a slow one «does not». `None` where it compares by
    /// itself. What stands here and below for a name is not the client's: it is made of that under the salt key.
    fn stand_in(&self, name: &str) -> Option<StoredPassword>;

    /// What the SCRAM keys of a hash are like of somebody who is not there: as those of some user, the same for the same name.
    fn stand_in_keys(&self, _name: &str, _hash: scram::Hash) -> KeysLike {
        KeysLike::USUAL
    }

    /// A key that stays as long as the users' salts do, if the directory keeps one: from it the salts of those who are not
    /// there are made.
    fn salt_key(&self) -> Option<Secret<[u8; 32]>> {
        None
    }

    /// Whether it keeps SCRAM keys of users, whose salts stay as they are: then a salt key has to be kept as well, here or
    /// in the configuration.
    fn keeps_keys(&self) -> bool {
        false
    }

    /// Looks again at what it knows, such as a file that it has read; for SIGHUP. A failure is in the log, and what was known
    /// before stays in force.
    fn reload(&self) -> Task<'_, ()> {
        Box::pin(async {})
    }
}

/// What a directory knows of a name.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// There is no such user.
    Unknown,
    /// There is.
    Known(Box<Entry>),
    /// There is, and may not log in; no other directory is asked. Mail is delivered all the same.
    LockedOut(Box<Account>),
    /// Only a password tells: [`Directory::check`].
    Ask,
}

/// The verdict of a directory that compares by itself.
#[derive(Clone, Debug)]
pub enum Check {
    /// There is no such user, or the token is of somebody else's making: the next directory may know.
    Unknown,
    /// The user is there, or the token was meant for this directory, and it is not right.
    Wrong,
    /// The token is of who may make them, and its time is over: nobody guesses so, and mail programs come with such.
    Expired,
    /// It is right.
    Right(Box<Account>),
}

/// A user, and with what he logs in.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The user.
    pub account: Account,
    /// His password; `None` where the directory compares by itself.
    pub password: Option<StoredPassword>,
    /// His SCRAM keys, one of a hash at most.
    pub keys: Vec<Arc<scram::Keys>>,
}

/// Somebody who may log in, and what holds for him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// His name, by which he is known from now on.
    pub name: UserName,
    /// Where his mail is, if not where the configuration says: for Maildirs an absolute path.
    pub maildrop: Option<String>,
    /// How long he has to wait between two logins (RFC 2449 §6.5), if not as long as others.
    pub login_delay: Option<Duration>,
}

impl Account {
    /// An account of which nothing but the name is known.
    pub const fn new(name: UserName) -> Self {
        Self { name, maildrop: None, login_delay: None }
    }
}

impl Entry {
    /// A user with a password, and nothing else.
    pub const fn new(name: UserName, password: StoredPassword) -> Self {
        Self { account: Account::new(name), password: Some(password), keys: Vec::new() }
    }

    /// Whether the user can log in by a mechanism that needs this.
    pub fn can(&self, needs: Needs) -> bool {
        let plaintext = || self.password.as_ref().and_then(StoredPassword::plaintext);
        match needs {
            Needs::Password | Needs::Certificate => true,
            Needs::Keys(hash) => {
                let carried = |password: &Secret<Vec<u8>>| scram::can_carry(password.expose());
                self.keys_of(hash).is_some() || plaintext().is_some_and(carried)
            }
            Needs::Plaintext => plaintext().is_some(),
            Needs::Token => false,
        }
    }

    /// The keys of a hash, where the directory keeps them, or where the password is stored as such keys.
    pub fn keys_of(&self, hash: scram::Hash) -> Option<&Arc<scram::Keys>> {
        let stored = self.password.as_ref().and_then(StoredPassword::keys);
        stored.into_iter().chain(&self.keys).find(|keys| keys.hash() == hash)
    }
}

/// What a client sees of SCRAM keys before it has proven anything, and how they come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeysLike {
    /// The number of iterations.
    pub iterations: u32,
    /// The length of the salt, in octets.
    pub salt_octets: usize,
    /// Whether they are made at the login, of a password that can be read, which takes time.
    pub derived: bool,
}

impl KeysLike {
    /// What new keys are like.
    pub const USUAL: Self =
        Self { iterations: scram::ITERATIONS_DEFAULT, salt_octets: SALT_OCTETS, derived: false };
    /// What keys are like that are made at the login: quickly, since the password that they are made of is kept anyway.
    pub const DERIVED: Self = Self { iterations: scram::ITERATIONS_MIN, derived: true, ..Self::USUAL };

    /// What these keys are like.
    pub fn of(keys: &scram::Keys) -> Self {
        Self { iterations: keys.iterations(), salt_octets: keys.salt().len(), derived: false }
    }
}

/// What a user's SCRAM keys are like, of each hash: one may have been made long before the other, or elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    sha256: Option<KeysLike>,
    sha1: Option<KeysLike>,
}

impl Shape {
    /// Of a user who has these keys. Where the password can be read, the missing ones are made of it.
    pub(crate) fn new<'a>(is_plain: bool, keys: impl Fn(scram::Hash) -> Option<&'a scram::Keys>) -> Self {
        let like = |hash| keys(hash).map(KeysLike::of).or_else(|| is_plain.then_some(KeysLike::DERIVED));
        Self { sha256: like(scram::Hash::Sha256), sha1: like(scram::Hash::Sha1) }
    }

    /// Of one hash; `None` where there are none, and none are made.
    pub(crate) const fn of(&self, hash: scram::Hash) -> Option<KeysLike> {
        match hash {
            scram::Hash::Sha256 => self.sha256,
            scram::Hash::Sha1 => self.sha1,
        }
    }

    /// Whether there are keys, or are made.
    pub(crate) const fn has_any(&self) -> bool {
        self.sha256.is_some() || self.sha1.is_some()
    }

    /// Whether some keys are kept, and not made at the login.
    pub(crate) fn is_kept(&self) -> bool {
        [self.sha256, self.sha1].into_iter().flatten().any(|like| !like.derived)
    }
}

/// A point between 0 and 2⁶⁴ that is the same for the same name, in every process: for picking one of several.
pub fn point(name: &str) -> u64 {
    let digest = blake2::Blake2s256::digest(name);
    digest.iter().take(8).fold(0, |point, octet| point << 8 | u64::from(*octet))
}

/// Why a directory could not answer. It does not mean that there is no such user.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The directory failed; trying again later may help.
    #[error("{context}: {source}")]
    Broken {
        /// What was being done.
        context: String,
        /// What failed.
        source: io::Error,
    },
    /// The directory did not answer in time.
    #[error("{directory} did not answer within {} ms", patience.as_millis())]
    Hangs {
        /// Which directory.
        directory: &'static str,
        /// How long it was given.
        patience: Duration,
    },
}
