//! Who may log in: directories of users, password schemes, and the verification of passwords.
//!
//! [`Verifier`] is what a server talks to; it asks a [`Directory`], hashes in a bounded [`pool`], makes every refusal
//! look and last alike, delays failures, and remembers for some minutes who was right. A password scheme is a file under `scheme/` and one line in
//! [`scheme::SCHEMES`]; a directory is a file under `directory/` and one call of the [`conformance`] suite.

pub mod conformance;
pub mod directory;
pub mod pool;
pub mod scheme;
pub mod users;

mod cache;
mod delay;
mod derived;
mod rate;
mod repeats;
mod stranger;
mod verifier;

pub use delay::network;
pub use directory::{
    Account, Directories, Directory, Entry, KeysLike, MemoryDirectory, Route, UsersFileDirectory,
};
pub use scheme::StoredPassword;
pub use users::UsersFile;
pub use verifier::{Claim, Settings, Verdict, Verifier};
