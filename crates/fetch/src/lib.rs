//! Fetching mail, each message exactly once: accounts, journal, destinations, policies.
//!
//! A message goes through three states, and the journal on disk knows which: *seen* on the server, *delivered* and durable
//! at its destination, *deleted* and confirmed by the server's answer to QUIT. How a POP3 session is held is the client's
//! business (`restante-client`); here is decided what to fetch, where it goes, and what may be deleted.

pub mod destination;
mod download;
mod identity;
pub mod journal;
mod pipeline;
pub mod plan;
mod policy;
mod refused;
mod report;
mod run;
mod session;
mod tokens;

pub use policy::{InvalidKeep, Keep, Policy};
pub use report::{Event, Report};
pub use run::{Account, Mode, Patience, RunError, Stop, Summary, check, forget_login, plan, run, run_with};
pub use tokens::{SignedInFuture, TokenError, TokenFuture, TokenSource};
