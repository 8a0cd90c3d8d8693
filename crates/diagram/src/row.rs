//! A drawn session as rows, one arrow or note each: what the tracer makes, and every format draws. All texts are printable
//! and hold no secret; each format escapes them for itself.

use std::time::Duration;

use restante_proto::{
    dialogue::{Flags, Segment, Side},
    phase::Phase,
    verb::Verb,
};

use crate::{anomaly::Anomaly, heard::Opening};

/// One row of a diagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number in the session, from 1; folded rows keep theirs to themselves.
    pub number: u64,
    /// When, since the session's start.
    pub at: Option<Duration>,
    /// How long after the row before it.
    pub since: Option<Duration>,
    /// In which state of the session (RFC 1939 §3); `None` before it has one, or where nobody knows.
    pub phase: Option<Phase>,
    /// What it is.
    pub kind: RowKind,
    /// Who sent it to the other side; `None` for what concerns both.
    pub from: Option<Side>,
    /// What was said, in one line.
    pub label: String,
    /// More lines of it: of a listing, or of a message.
    pub lines: Vec<String>,
    /// How many further lines are left out.
    pub lines_left_out: u64,
    /// The segments that carried it.
    pub carried: Option<Carried>,
    /// What the step is for, or what the answer means.
    pub remark: Option<Remark>,
    /// What is wrong in it.
    pub findings: Vec<Finding>,
    /// Where the time since the step before went, if that can be told.
    pub share: Option<Share>,
    /// The command that it is, or that it answers.
    pub about: Option<About>,
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// TCP segments that carry nothing new: SYN, ACK, FIN, RST.
    Segment,
    /// A command of the client.
    Command,
    /// The client's part of a SASL exchange.
    Response,
    /// A status line of the server, or its challenge in a SASL exchange.
    Reply,
    /// The lines of a listing.
    Listing,
    /// A message.
    Message,
    /// TLS records, seen from outside.
    Records,
    /// Something about TLS or TCP that no arrow shows.
    Note,
    /// Rows that were folded into one.
    Fold,
}

impl RowKind {
    /// The name of the kind in JSON and in classes of HTML.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Command => "command",
            Self::Response => "response",
            Self::Reply => "reply",
            Self::Listing => "listing",
            Self::Message => "message",
            Self::Records => "records",
            Self::Note => "note",
            Self::Fold => "fold",
        }
    }
}

/// The TCP segments that carried a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// How many.
    pub count: u64,
    /// The flags of the first.
    pub flags: Flags,
    /// Its sequence number, counted from the connection's first.
    pub seq: Option<u32>,
    /// Its acknowledgement number, counted in the same way.
    pub ack: Option<u32>,
    /// How many octets they carry in all; what else was in them included.
    pub octets: u64,
    /// The row before it was in the first of them too.
    pub shared: bool,
    /// How many pure ACKs of the other side are folded into this row.
    pub acks: u64,
}

/// The command that a row is, or that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Its place among the commands of the session, from 1.
    pub command: u64,
    /// Its verb.
    pub verb: Verb,
    /// The number of the message that it is about.
    pub message: Option<u32>,
    /// How long the message was that came, in octets.
    pub octets: Option<u64>,
    /// How long after the command this was over.
    pub elapsed: Option<Duration>,
}

/// An explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Whole sentences.
    pub text: String,
    /// Where the rule stands, such as `RFC 1939 §5`.
    pub rfc: Option<&'static str>,
}

/// Something that is wrong, in this place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub anomaly: Anomaly,
    /// What was found, in a whole sentence.
    pub text: String,
}

/// Where the time before a row went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// On the way between where it was captured and who answered.
    pub network: Duration,
    /// With who answered.
    pub peer: Duration,
}

/// A session from end to end, in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// From 1, in the order in which the sessions of the source began.
    pub number: u32,
    /// Between whom it was.
    pub opening: Opening,
    /// Who logged in.
    pub user: Option<String>,
    /// What is known about TLS: version and cipher, or `TLS` alone.
    pub tls: Option<String>,
    /// How long it was, from the first event to the last.
    pub duration: Option<Duration>,
    /// How many commands the client gave.
    pub commands: u64,
    /// How many messages came whole.
    pub retrieved: u64,
    /// How many octets these had.
    pub retrieved_octets: u64,
    /// How many messages were marked as deleted and stayed so.
    pub deleted: u64,
    /// How many TCP segments were seen.
    pub segments: u64,
    /// How many octets the client sent, as far as that was seen.
    pub client_octets: u64,
    /// How many octets the server sent.
    pub server_octets: u64,
    /// What was found, with how often.
    pub anomalies: Vec<(Anomaly, u64)>,
    /// How it ended, in a few words.
    pub ending: String,
    /// The same as one word for programs: `quit`, `quit-refused`, `quit-unanswered`, `reset-by-client`, `reset-by-server`,
    /// `closed`, `unseen` (it was closed, and by what was not heard), `unfinished` (the source ended before it did).
    pub end: &'static str,
    /// Every TCP segment, in the order of the source; where rows are not folded, and up to [`PASSED_MAX`].
    pub passed: Vec<Passed>,
}

/// How many segments of a session are kept one by one.
pub const PASSED_MAX: usize = 1 << 20;

/// A TCP segment and when it passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// When, since the session's start.
    pub at: Option<Duration>,
    /// The segment, with its numbers counted from the connection's first.
    pub segment: Segment,
}
