//! What can go wrong in a store: one enum per operation, by what the caller can do about it.

use std::{io, path::PathBuf};

/// Why a maildrop could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another session holds the lock.
    #[error("the maildrop is in use by another session")]
    Busy,
    /// The server may not read it; `owner` is the numeric user id that the place belongs to, if that could be found.
    #[error("{} may not be read by this server's user{}", path.display(), owner.map(|o| format!(" (it belongs to uid {o})")).unwrap_or_default())]
    Denied {
        /// What may not be read.
        path: PathBuf,
        /// Whose it is.
        owner: Option<u32>,
    },
    /// The user has no place: the path template needs a domain, and the name has none; or a directory names a place that the
    /// store does not have.
    #[error(
        "the user has no place in the store: its path needs a {{domain}}, and the name has none, or the directory names no absolute path"
    )]
    NoPlace,
    /// The store failed.
    #[error("{context}: {source}")]
    Broken {
        /// What was being done, with the path.
        context: String,
        /// What failed.
        source: io::Error,
    },
}

/// Why a message or a list could not be had from an open maildrop.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The message was removed by another program.
    #[error("the message is gone")]
    Gone,
    /// The server may not read it.
    #[error("{} may not be read by this server's user", path.display())]
    Denied {
        /// What may not be read.
        path: PathBuf,
    },
    /// The message is stored compressed or encrypted, which this store cannot undo.
    #[error("{} is {what}, and is not served raw", path.display())]
    Encoded {
        /// The file.
        path: PathBuf,
        /// What was recognised, such as "compressed (gzip)".
        what: &'static str,
    },
    /// The store failed.
    #[error("{context}: {source}")]
    Broken {
        /// What was being done, with the path.
        context: String,
        /// What failed.
        source: io::Error,
    },
}

/// Why a commit failed, and what it left.
#[derive(Debug, thiserror::Error)]
#[error("{remain} messages marked as deleted were not removed: {source}")]
pub struct CommitError {
    /// How many of the marked messages are still there, or not durably gone.
    pub remain: u32,
    /// The first failure.
    pub source: io::Error,
}

/// Why a message could not be delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// As [`OpenError::NoPlace`].
    #[error(
        "the user has no place in the store: its path needs a {{domain}}, and the name has none, or the directory names no absolute path"
    )]
    NoPlace,
    /// The message is longer than the store takes.
    #[error("the message is longer than {limit_octets} octets")]
    TooLong {
        /// The limit.
        limit_octets: u64,
    },
    /// The store failed; trying again later may help.
    #[error("{context}: {source}")]
    Broken {
        /// What was being done, with the path.
        context: String,
        /// What failed.
        source: io::Error,
    },
}
