//! Where fetched mail goes: the traits [`Destination`] and [`Batch`], and one file for each kind.
//!
//! A kind is a file, a constant `KIND`, one line in [`KINDS`], and one test file of the same name that calls the suite in
//! `conformance.rs`. Everything here blocks: the engine calls it from threads that may wait.
//!
//! # How a message becomes delivered
//!
//! Messages are delivered in batches, so that one `fsync` may serve many. For each batch the engine
//!
//! 1. stages the messages as they come from the server: [`Batch::begin`], [`Batch::write`], [`Batch::finish`] (or
//!    [`Batch::abandon`], where the session broke off in the middle);
//! 2. has them made durable, still unseen: [`Batch::sync`], which gives a [`Token`] for each;
//! 3. writes the tokens into the journal as *intents*, durably;
//! 4. makes them visible: [`Batch::publish`], one by one, then durable: [`Batch::settle`];
//! 5. writes *delivered* into the journal.
//!
//! If everything dies between 3 and 5, the next run finds intents without an end, and asks [`Destination::resolve`] what
//! became of each. A destination that can tell delivers exactly once.
//!
//! Two rules make that hold. From [`Batch::sync`] on a message may be an intent, so that dropping the batch, or an error
//! of `publish` or `settle`, leaves what `resolve` needs: the engine drops the batch and asks `resolve`, as after a crash.
//! And what `resolve` found undelivered is cleaned away only when a later batch settles: by then its fate is in the journal.

use std::{borrow::Cow, fmt};

use restante_proto::Secret;

mod command;
#[doc(hidden)]
pub mod conformance;
mod dotfile;
mod eml;
mod files;
mod flush;
mod header;
pub mod imap;
pub mod lmtp;
mod maildir;
mod mbox;
mod place;
mod relay;
pub mod smtp;
mod spec;
mod spool;
mod tls;
mod utc;
mod wire;

pub use spec::{find, open};
pub use wire::Limits;

/// Where mail goes.
pub trait Destination: Send + Sync + fmt::Debug {
    /// What it can promise.
    fn promise(&self) -> Promise;

    /// How many messages and octets a batch should have at most; one message where each delivery is a promise of its own.
    fn batch_max(&self) -> BatchMax;

    /// Begins a batch. Dropping it abandons all that was not synced; what was synced and not published stays, unseen, until
    /// [`Self::resolve`] was asked, or for 36 hours.
    fn batch(&self) -> Result<Box<dyn Batch>, Fault>;

    /// What became of a message whose token stands in the journal as an intent without an end: after a crash or an error,
    /// before anything else is delivered. It may be asked again, and says the same. The fate is durable in the journal
    /// before the next batch is published: settling that one cleans away what is left of those that were not delivered.
    fn resolve(&self, intent: &Intent) -> Result<Fate, Fault>;
}

/// A few messages on their way together. Calls come in the order that the module describes.
pub trait Batch: Send {
    /// A message begins. The one before it was finished or abandoned.
    fn begin(&mut self) -> Result<(), Fault>;

    /// The next octets of the message, in any pieces, as they came from the server: lines end in CRLF, stuffed dots are
    /// removed.
    fn write(&mut self, octets: &[u8]) -> Result<(), Fault>;

    /// The message is whole; its place in the batch is the number of those finished before it. After an error it counts
    /// as abandoned.
    fn finish(&mut self) -> Result<(), Fault>;

    /// The message will never be whole. Nothing of it stays.
    fn abandon(&mut self);

    /// Makes what was finished durable, though not yet visible, and gives what [`Destination::resolve`] will need: one
    /// result for each finished message, by its place. The engine gives those that failed up.
    fn sync(&mut self) -> Vec<Result<Token, Fault>>;

    /// Makes the message at this place visible; its intent is in the journal. Places come in rising order;
    /// behind one that was left out or failed, the others may be refused.
    fn publish(&mut self, place: usize) -> Result<(), Fault>;

    /// Whether it is certain that the destination has nothing of the message at this place, behind an error of
    /// [`Self::publish`]: then nobody needs to ask [`Destination::resolve`].
    fn has_nothing_of(&self, place: usize) -> bool {
        let _ = place;
        false
    }

    /// Makes durable that everything published is visible. Only then it counts as delivered.
    fn settle(&mut self) -> Result<(), Fault>;
}

/// What a destination can promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Whatever crashes, each message is there once.
    ExactlyOnce,
    /// A crash in the window that the text states leads to a second delivery; none is ever lost.
    AtLeastOnce(&'static str),
}

/// How large a batch may be; the first bound that is reached ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMax {
    /// Messages, at least 1.
    pub messages: usize,
    /// Octets.
    pub octets: u64,
}

/// What a destination writes into the journal to know a message again: printable ASCII without spaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token(Box<str>);

/// The longest token, in octets.
pub const TOKEN_MAX_OCTETS: usize = 1024;

impl Token {
    /// A token of this text; `None` if it is empty, too long, or holds anything but 0x21–0x7E.
    pub fn new(text: impl Into<Box<str>>) -> Option<Self> {
        let text = text.into();
        let legal =
            matches!(text.len(), 1..=TOKEN_MAX_OCTETS) && text.bytes().all(|octet| octet.is_ascii_graphic());
        legal.then_some(Self(text))
    }

    /// The text.
    pub const fn as_str(&self) -> &str {
        &self.0
    }
}

/// An intent of the journal.
#[derive(Clone, Debug)]
pub struct Intent {
    /// What [`Batch::sync`] gave.
    pub token: Token,
    /// The length of the message in octets, as it came from the server.
    pub octets: u64,
    /// The SHA-256 of the message, as it came from the server.
    pub digest: [u8; 32],
    /// How long ago the intent was written down, as far as clocks can tell.
    pub age: std::time::Duration,
}

/// What became of an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The message is there.
    Delivered,
    /// The message is not there, and nothing that anybody sees is left of the attempt.
    NotDelivered,
    /// Nobody can tell, for this reason; the engine delivers it again and says so.
    Unknown(Cow<'static, str>),
}

/// Why something could not be delivered, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The destination does not take this message; others may pass. It is set aside, and tried again later.
    #[error("{0}")]
    Message(String),
    /// The destination does not take this message now, and has nothing of it; the next one shows whether it takes others. It
    /// is tried again later, behind the others.
    #[error("{0}")]
    Deferred(String),
    /// The destination takes nothing at the moment: a full disk, a server that is away, a folder without permission.
    #[error("{0}")]
    Destination(String),
}

/// A kind of destination, as people name it.
#[derive(Clone, Copy)]
pub struct Kind {
    /// What stands before the colon, such as `maildir`.
    pub name: &'static str,
    /// One line that says what it is.
    pub help: &'static str,
    /// An example, such as `maildir:~/Mail`.
    pub example: &'static str,
    /// What it promises, for the documentation.
    pub promise: Promise,
    /// Makes one. It checks what can be checked without the network, and creates nothing.
    pub open: fn(&Spec) -> Result<Box<dyn Destination>, SpecError>,
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Every kind there is, in the order in which help lists them.
pub const KINDS: &[Kind] = &[
    maildir::KIND,
    eml::KIND,
    mbox::KIND,
    imap::IMAPS,
    imap::IMAP,
    lmtp::KIND,
    smtp::SMTP,
    smtp::SMTPS,
    command::KIND,
];

/// Where mail is to go, as it is written: `maildir:~/Mail`, `imaps://john@imap.example.org/INBOX`.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The kind's name.
    pub kind: Box<str>,
    /// What stands behind the colon.
    pub place: Box<str>,
    /// The password, for those that need one.
    pub password: Option<Secret<Vec<u8>>>,
    /// More certificates to trust (PEM), for those that speak TLS.
    pub ca_file: Option<std::path::PathBuf>,
}

/// What is wrong with a [`Spec`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// There is no kind of this name.
    #[error("there is no destination «{kind}»{}", meant.map(|meant| format!("; did you mean «{meant}»?")).unwrap_or_default())]
    UnknownKind {
        /// What was written.
        kind: Box<str>,
        /// The kind that was probably meant.
        meant: Option<&'static str>,
    },
    /// There is no colon.
    #[error("a destination is a kind, a colon and a place, such as maildir:~/Mail")]
    NoColon,
    /// What stands behind the colon is no place for this kind.
    #[error("{0}")]
    Place(String),
}
