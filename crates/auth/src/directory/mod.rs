//! Where users are looked up. A directory is a file here, and one call of the [`crate::conformance`] suite.

use std::{fmt, future::Future, io, pin::Pin};

use restante_proto::UserName;

use crate::scheme::StoredPassword;

mod memory;
mod users_file;

pub use memory::MemoryDirectory;
pub use users_file::{CHECK_EVERY, UsersFileDirectory};

/// A future of a directory, boxed so that directories can be chosen at run time.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A place where users and their passwords are looked up.
pub trait Directory: Send + Sync + fmt::Debug + 'static {
    /// The password of a user; `None` if there is no such user. May be dropped at any time.
    fn lookup<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Option<StoredPassword>, LookupError>>;

    /// What is hashed in place of the password of somebody who is not there, so that an answer takes no less time.
    ///
    /// The same for the same name, and of each scheme and cost as often as users have it: where a file mixes quick and
    /// slow schemes, a quick answer must not mean «exists» nor a slow one «does not».
    fn stand_in(&self, name: &str) -> StoredPassword;
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
}
