//! The mail of the evil server: messages with their unique-ids, and the maildrop that outlives its sessions.

use std::sync::Arc;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its unique-id.
    pub id: String,
    /// Its octets as they are sent, without the stuffing of dots. They end in CRLF.
    pub octets: Arc<[u8]>,
}

/// The messages of a maildrop, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail(pub(super) Vec<Message>);

impl Mail {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Five that are easy to tell apart, each with one difficulty: none, dots, no body, octets that are no ASCII, and
    /// more than fits into one segment.
    #[must_use]
    pub fn few() -> Self {
        let long: Vec<u8> =
            (0..2_000).flat_map(|at| format!("Line {at} of a long message.\r\n").into_bytes()).collect();
        Self::none()
            .and("few-1", &text("plain", b"Dear Mara,\r\n\r\nthis is plain.\r\n"))
            .and("few-2", &text("dots", b".\r\n..\r\n.hidden\r\nlast\r\n.\r\n"))
            .and("few-3", &text("empty", b""))
            .and("few-4", &text("octets", b"caf\xe9 \xff\xfe \x80\r\n"))
            .and("few-5", &text("long", &long))
    }

    /// So many small ones.
    #[must_use]
    pub fn many(count: usize) -> Self {
        let one = |at: usize| text(&format!("number {at}"), format!("This is message {at}.\r\n").as_bytes());
        (1..=count).fold(Self::none(), |mail, at| mail.and(&format!("many-{at}"), &one(at)))
    }

    /// With one more.
    #[must_use]
    pub fn and(mut self, id: &str, octets: &[u8]) -> Self {
        self.0.push(Message { id: id.to_owned(), octets: octets.into() });
        self
    }

    /// The messages.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.0
    }
}

fn text(subject: &str, body: &[u8]) -> Vec<u8> {
    let mut octets = format!("From: server@example.org\r\nSubject: {subject}\r\n\r\n").into_bytes();
    octets.extend_from_slice(body);
    octets
}

/// What a maildrop holds: each message under a key of its own, since unique-ids may be the same or change.
#[derive(Debug)]
pub(super) struct Maildrop {
    pub(super) held: Vec<Held>,
    next: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) key: u64,
    pub(super) message: Message,
    /// What is shown as its unique-id.
    pub(super) shown: String,
}

impl Maildrop {
    pub(super) fn new(mail: Mail) -> Self {
        let mut maildrop = Self { held: Vec::new(), next: 0 };
        mail.0.into_iter().for_each(|message| maildrop.deliver(message));
        maildrop
    }

    pub(super) fn deliver(&mut self, message: Message) {
        self.held.push(Held { key: self.next, shown: message.id.clone(), message });
        self.next += 1;
    }

    /// Deletes; what was there to delete, by unique-id.
    pub(super) fn remove(&mut self, keys: &[u64]) -> Vec<String> {
        let gone = self.held.extract_if(.., |held| keys.contains(&held.key));
        gone.map(|held| held.message.id).collect()
    }
}
