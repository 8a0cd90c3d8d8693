//! The client's side of a session as a value: commands and octets in, octets and events out.
//!
//! The caller (the *driver*) says what it wants by [`Session::send`], writes out what that appended to `out`, reads, and
//! gives what came to [`Session::advance`], which alone says what it means ([`Event`]):
//!
//! | it says | the driver |
//! | --- | --- |
//! | [`Event::Input`] | reads more; the input was consumed |
//! | [`Event::Greeting`] | may begin to send |
//! | [`Event::Reply`] | knows how its oldest unanswered command ended, or that lines or octets follow |
//! | [`Event::Line`] | takes one line of a listing |
//! | [`Event::Octets`] | takes what was appended to `body`: the message, its stuffed dots removed |
//! | [`Event::End`] | knows that the listing or the message is whole |
//! | [`Event::Challenge`] | answers with [`Session::respond`] |
//! | [`Event::StartTls`] | shakes hands, then [`Session::secured`] |
//!
//! Replies are told apart by what was asked (RFC 1939 §3): so the session keeps the commands whose answers are owed, and
//! more than one may be under way where the server offers PIPELINING (RFC 2449 §6.6); `plan.rs` says how many. The same
//! events come out however the input was cut.
//!
//! What came while no answer was owed must not become the answer to the next command: before it sends, a driver that has
//! input left shows it to [`Session::unasked`].
//!
//! The server is a stranger. Whatever it says is bounded; what cannot be a POP3 server's answer ends in [`Broken`], after
//! which nothing more can be said on the connection. The session has no clock and no socket: how long to wait, and what a
//! closed connection means ([`Session::eof`]), the driver asks and tells.

mod plan;
mod session;

pub use plan::{Window, WindowMax};
pub use session::{Asked, Broken, Event, ListingLine, NotNow, Session};
