//! Where users are looked up. A directory is a file or folder here, one line in [`KINDS`], and one call of the
//! [`crate::conformance`] suite; [`Directories`] asks several of them in order.

use std::{fmt, future::Future, io, pin::Pin, sync::Arc, time::Duration};

use restante_proto::{Secret, UserName};
use restante_sasl::{Needs, scram};

use crate::scheme::StoredPassword;

mod directories;
mod memory;
mod users_file;

pub(crate) use directories::Found;
pub use directories::{Directories, PATIENCE_DEFAULT, Route};
pub use memory::MemoryDirectory;
pub use users_file::{CHECK_EVERY, UsersFileDirectory};

/// The kinds of directories that a configuration can name.
pub const KINDS: &[Kind] = &[users_file::KIND];

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
    /// The same for the same name, and of each scheme and cost as often as users have it: where a file mixes quick and
    /// slow schemes, a quick answer must not mean «exists» nor a slow one «does not». `None` where it compares by itself.
    fn stand_in(&self, name: &str) -> Option<StoredPassword>;

    /// How many iterations the SCRAM keys of somebody who is not there have: as those of some user, the same for the same
    /// name.
    fn stand_in_iterations(&self, _name: &str) -> u32 {
        scram::ITERATIONS_DEFAULT
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

    /// The keys of a hash, where the directory keeps them.
    pub fn keys_of(&self, hash: scram::Hash) -> Option<&Arc<scram::Keys>> {
        self.keys.iter().find(|keys| keys.hash() == hash)
    }
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
