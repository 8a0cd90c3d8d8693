//! POP3 sessions as sequence diagrams: what client and server said to each other, in which TCP segments, in which state of
//! the session, and what each step is for.
//!
//! A [source] hears a session, the tracer explains it as [rows](row), and a [format](mod@format) draws them. Nothing
//! here opens a file or a socket: octets go in, octets come out.

pub mod anomaly;
pub mod drawing;
mod fold;
pub mod format;
pub mod heard;
mod names;
pub mod row;
pub mod source;
pub mod states;
mod trace;
pub mod words;
