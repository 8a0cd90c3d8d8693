//! What the sources hear, and the tracer explains: the one language between the two. A source says what passed, without
//! secrets and in order; what it means is for the tracer to say.

use std::time::Duration;

use restante_proto::{
    dialogue::{Observed, Side, TlsFacts},
    phase::Phase,
};

/// One thing that a source heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// In which session: from 1, in the order in which the sessions of a source began.
    pub session: u32,
    /// What it was.
    pub what: What,
}

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The session begins; nothing of it was heard before.
    Begin(Opening),
    /// A line, a message, or an event of TLS or TCP. A TCP segment comes when it passed, in the order of the capture, and
    /// before the lines that it completes.
    Said {
        /// It, without secrets.
        observed: Observed,
        /// In which segments, if that is known.
        span: Option<Span>,
    },
    /// TLS records, seen from outside.
    Records(Records),
    /// Octets that passed and that the source lacks.
    Missing {
        /// When that was noticed.
        at: Option<Duration>,
        /// Whose they were.
        from: Side,
        /// How many.
        octets: u64,
    },
    /// Octets whose meaning nobody knows, since what came before them was not heard.
    Unplaced {
        /// When the first of them passed.
        at: Option<Duration>,
        /// Whose they are.
        from: Side,
        /// How many.
        octets: u64,
        /// In which segments.
        span: Option<Span>,
    },
    /// Nothing more comes of this session.
    End(Ending),
}

/// Between whom a session is, and how it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// What the source calls it.
    pub title: Option<Box<str>>,
    /// The client's address and port.
    pub client: Option<Box<str>>,
    /// The server's address and port.
    pub server: Option<Box<str>>,
    /// The time of the first octet, such as `2005-04-01T07:56:00Z`.
    pub started: Option<Box<str>>,
    /// The source began when the session was under way.
    pub joined: bool,
    /// The state that it was in then, where the source knows.
    pub phase: Option<Phase>,
    /// TLS, if there was any, had been taken off before the source heard anything: whether there was is not known.
    pub inside_tls: bool,
}

/// How a session came to its end in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both sides had closed, or one had broken off: no more can come.
    Closed,
    /// The source ended before the session did.
    Source,
    /// Nothing was heard for so long that it was given up.
    Idle,
}

/// The segments that something was sent in: numbers of the session's segments, from 1 in the order of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The segment in which it begins.
    pub first: u32,
    /// The segment in which it ends.
    pub last: u32,
    /// How many carried it.
    pub count: u32,
    /// How many octets these carried in all, what else was in them included.
    pub octets: u64,
}

/// TLS records of one side that came one after another and are of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// When the first began.
    pub at: Option<Duration>,
    /// Who sent them.
    pub from: Side,
    /// What kind.
    pub kind: RecordKind,
    /// How many.
    pub count: u32,
    /// Their length on the wire in octets, headers included.
    pub octets: u64,
    /// In which segments.
    pub span: Option<Span>,
}

/// What a TLS record holds, as far as that can be seen from outside (RFC 8446 §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// ClientHello, with what it asks for.
    ClientHello(TlsFacts),
    /// ServerHello, with what it chose.
    ServerHello(TlsFacts),
    /// Another message of the handshake, by its name, or `encrypted` ones.
    Handshake(&'static str),
    /// ChangeCipherSpec.
    ChangeCipherSpec,
    /// An alert, by its name where it can be read.
    Alert(&'static str),
    /// Application data: in TLS 1.3 the rest of the handshake too.
    ApplicationData,
    /// No record that is known: its content type.
    Other(u8),
}
