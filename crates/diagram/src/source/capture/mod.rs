//! Packet captures: octets of a pcap or pcapng file, in pieces of any size → what was heard of its POP3 sessions.
//!
//! ```text
//! file.rs ─► packet.rs ─► connections.rs ─► session.rs ─┬─► stream.rs (octets in order) ─► follow.rs ─┬─► Recorder
//! packets    segments      which session     who, when   └─► segments as they passed                    ├─► tls.rs
//!                                                                                                       └─► resync.rs
//! ```
//!
//! Live captures work: what is complete is told at once. Memory is bounded, by the constants of `file.rs`, `stream.rs` and
//! `connections.rs`. No captured octet is shown that did not pass the [`Recorder`], but for the names that TLS hellos hold.
//!
//! [`Recorder`]: restante_proto::dialogue::Recorder

mod connections;
mod echo;
mod error;
mod file;
mod follow;
mod hello;
mod packet;
mod resync;
mod session;
mod span;
mod stream;
mod tls;

pub use error::{CaptureError, Problem};

use self::{connections::Connections, file::Reader, packet::Content};
use crate::heard::Heard;

/// What is wanted of a capture.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Ports of servers, beside 110 and 995, 1110 and 1995. Whether TLS is spoken there is found out.
    pub ports: Vec<u16>,
    /// How much of the beginning of each message is kept, in octets.
    pub body_start_max_octets: usize,
    /// Hear this session alone; the others are only numbered.
    pub only: Option<u32>,
}

/// What a capture held, in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// How many packets.
    pub packets: u64,
    /// How many of them were no TCP segments, or were cut off before that could be seen.
    pub others: u64,
    /// How many were pieces of larger IP packets, which are not put together.
    pub fragments: u64,
    /// How many POP3 sessions were numbered.
    pub sessions: u32,
    /// The file ends in the middle of a packet: who captured was killed.
    pub cut_short: bool,
}

/// Hears the sessions of a capture.
///
/// ```
/// use restante_diagram::source::capture::{Capture, Options};
/// let mut capture = Capture::new(Options::default());
/// let mut heard = Vec::new();
/// // The header of a pcap file without packets.
/// capture.push(b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00\0\0\0\0\0\0\0\0\x00\x00\x04\x00\x01\0\0\0", &mut heard)?;
/// capture.end(&mut heard)?;
/// assert!(heard.is_empty());
/// # Ok::<(), restante_diagram::source::capture::CaptureError>(())
/// ```
pub struct Capture {
    reader: Reader,
    connections: Connections,
    facts: Facts,
    /// What made the file unreadable.
    failed: Option<CaptureError>,
}

impl std::fmt::Debug for Capture {
    /// Without what it holds back: that may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture").field("facts", &self.facts()).finish_non_exhaustive()
    }
}

impl Capture {
    /// Ears for a capture, before its first octet.
    pub fn new(options: Options) -> Self {
        let facts = Facts::default();
        Self { reader: Reader::default(), connections: Connections::new(options), facts, failed: None }
    }

    /// Whether a file that begins so is a capture, or a compressed one, of which [`Capture::push`] then says how it is
    /// unpacked. Four octets are enough to tell.
    pub fn looks_like(first_octets: &[u8]) -> bool {
        file::looks_like(first_octets)
    }

    /// Takes the next piece of the file, and appends what it lets be heard. After an error nothing more is read, and the
    /// error stays; but [`Capture::end`] still tells what is left of what came before.
    pub fn push(&mut self, piece: &[u8], heard: &mut Vec<Heard>) -> Result<(), CaptureError> {
        let Self { reader, connections, facts, failed } = self;
        if let Some(failed) = *failed {
            return Err(failed);
        }
        let read = reader.push(piece, &mut |packet| {
            facts.packets += 1;
            connections.pass(packet.at, heard);
            match packet::take_apart(packet.link, packet.octets) {
                Content::Tcp(segment) => connections.segment(packet.at, &segment, heard),
                Content::Fragment => facts.fragments += 1,
                Content::Other => facts.others += 1,
            }
        });
        *failed = read.err();
        read
    }

    /// The input has ended. That it did in the middle of a packet is no error if something came before.
    pub fn end(&mut self, heard: &mut Vec<Heard>) -> Result<(), CaptureError> {
        self.connections.end(heard);
        self.facts.cut_short = self.failed.map_or_else(|| self.reader.end(), Err)?;
        Ok(())
    }

    /// What it held so far.
    pub const fn facts(&self) -> Facts {
        Facts { sessions: self.connections.sessions(), ..self.facts }
    }
}
