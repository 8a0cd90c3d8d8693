//! The POP3 protocol (RFC 1939, 2449, 2595, 3206, 5034), both sides, **without I/O**.
//!
//! No sockets, files, clocks, randomness, threads or logs live here: a caller brings octets and answers, and takes
//! octets and questions away. The entry points are [`server::Session`] (what a server must do next), [`client::Session`] (what a
//! client was told), and the values of the wire: [`command::Command`], [`reply::Status`], [`capability::Capability`], [`body::Stuffer`].
//!
//! Names are the RFC's: *maildrop*, *message number*, *unique-id*, AUTHORIZATION, TRANSACTION and UPDATE.
#![no_std]

extern crate alloc;

pub mod body;
pub mod capability;
pub mod client;
pub mod command;
mod decimal;
pub mod dialogue;
pub mod explain;
pub mod line;
pub mod maildrop;
pub mod phase;
pub mod reply;
pub mod secret;
pub mod server;
pub mod user;
pub mod verb;

pub use maildrop::{Marks, MessageNumber, UniqueId, UniqueIds};
pub use secret::Secret;
pub use user::UserName;
