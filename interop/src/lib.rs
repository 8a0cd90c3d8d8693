//! Mail clients that nobody here wrote, against the real `restante serve`: what their tests share.
//!
//! One file under `tests/` is one client; its head lists what that client is known to change in a message. A test
//! starts a server of its own on free ports of 127.0.0.1 with a real Maildir ([`Server`]), runs the client against it
//! ([`Program`]), and compares what arrived with what was stored ([`Letter`]), octet by octet. A client that is not
//! installed fails its test by name. `cargo xtask test interop` installs the clients and runs all of it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod authority;
mod letters;
pub mod maildir;
mod poll;
mod program;
mod server;

pub use letters::{Letter, assert_same, corpus, fresh, stuffed};
pub use program::{Outcome, Program, with_security};
pub use server::{PASSWORD, Security, Server, USER};
