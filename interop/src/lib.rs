//! Mail clients that nobody here wrote, against the real `restante serve`, and the real `restante fetch` against servers
//! that nobody here wrote: what their tests share.
//!
//! One file under `tests/` is one client or, named `fetch_…`, one server; its head lists what that one is known to change
//! in a message. A test starts a server of its own on free ports of 127.0.0.1 with a real Maildir (ours is [`Server`],
//! other people's are [`Peer`]), runs the client against it ([`Program`], [`Fetch`]), and compares what arrived with what
//! was stored ([`Letter`]), octet by octet. What is not installed fails its test by name. `cargo xtask test interop`
//! installs all of it and runs it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod authority;
mod browser;
pub mod daemon;
mod demo;
pub mod directory;
mod fetch;
mod letters;
pub mod maildir;
mod peers;
mod poll;
mod program;
mod recording;
mod server;
mod wire;

pub use browser::{Browser, Look};
pub use demo::Demo;
pub use fetch::{Fetch, Origin, suite};
pub use letters::{Letter, assert_same, canonical, corpus, fresh, stuffed};
pub use peers::{
    COURIER, DOVECOT, DOVECOT_OAUTH, DOVECOT_RAWLOG, DOVECOT_SASL, EXIM, Kind, MAILUTILS, Peer, RAWLOG,
    RAWLOG_LOGIN, Service, TWISTED, introspect_at,
};
pub use poll::until;
pub use program::{Outcome, Program, with_security};
pub use recording::{Capture, Recording, Segment};
pub use server::{Account, Extra, PASSWORD, Security, Server, TOKEN, USER};
pub use wire::messages as on_the_wire;
