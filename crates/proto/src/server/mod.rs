//! The server's side of a session as a value: octets and answers in, octets and questions out.
//!
//! The caller (the *driver*) loops over [`Session::advance`], which is the only thing that says what is [`Next`]:
//!
//! | it says | the driver |
//! | --- | --- |
//! | [`Next::Input`] | writes out what is in `out`, reads, and comes again; the input was consumed |
//! | [`Next::Write`] | writes out what is in `out` and comes again with the rest of the input |
//! | [`Next::Ask`] | finds the answer, gives it to [`Session::answer`], reads no input meanwhile |
//! | [`Next::Send`] | sends the body by a [`crate::body::Stuffer`] behind what is in `out`, then [`Session::sent`] |
//! | [`Next::StartTls`] | writes out what is in `out`, shakes hands, then [`Session::secured`] |
//! | [`Next::Close`] | writes out what is in `out` and ends the connection |
//!
//! The same octets come out however the input was cut. The session has no clock: [`Session::patience`] says how long
//! it would wait, the driver owns the timer.

mod ask;
mod authorization;
mod session;
mod tally;
mod transaction;

pub use ask::{Answer, Ask, Close, Link, LoginDelay, Next, Offer, Patience, Policy, TlsFacts, Transfer};
pub use session::{OUT_SOFT_MAX_OCTETS, Session, UNIQUE_ID_PAGE_MAX};
pub use tally::{Tally, Unasked, UnaskedLogin};
