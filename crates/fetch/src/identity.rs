//! What a message is recognised by where its unique-id does not tell: its header, and all of it.

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use crate::journal::{Key, Known, Stage, State, header_digest};

/// How much of a header is looked at, in octets; a longer one is like no other anyhow, and is not used.
const HEADER_MAX_OCTETS: usize = 1 << 20;

/// The digest of a message as it comes, and that of its header.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fingerprint {
    whole: Sha256,
    pub(crate) octets: u64,
    header: HeaderDigest,
}

impl Fingerprint {
    pub(crate) fn push(&mut self, octets: &[u8]) {
        self.whole.update(octets);
        self.octets += octets.len() as u64;
        self.header.push(octets);
    }

    /// The SHA-256 of the message, and the start of that of its header, if the header is like no other.
    pub(crate) fn finish(self) -> ([u8; 32], Option<[u8; 16]>) {
        (self.whole.finalize().into(), self.header.finish())
    }
}

/// The digest of a header, without the empty line that ends it: servers differ in whether TOP sends that. A header counts
/// only if it says through which servers the message came: two messages with the same such lines are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeaderDigest {
    digest: Sha256,
    octets: usize,
    /// The start of the line that is read, for its name.
    start: Vec<u8>,
    /// What of a line end was read and not taken in yet: it may be that of the empty line.
    held: Vec<u8>,
    came_through: bool,
    over: bool,
}

const CAME_THROUGH: &[u8] = b"received:";

impl HeaderDigest {
    pub(crate) fn push(&mut self, octets: &[u8]) {
        if self.over {
            return;
        }
        let mut rest = octets;
        while !rest.is_empty() && !self.over {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (piece, behind) = rest.split_at(end);
            self.piece(piece);
            rest = behind;
        }
    }

    /// A line, or a part of one.
    fn piece(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
        let empty = matches!(self.held.as_slice(), b"\r\n" | b"\n");
        if self.start.is_empty() && empty {
            self.over = true;
            return;
        }
        if self.start.is_empty() && self.held == b"\r" {
            return;
        }
        self.octets += self.held.len();
        self.over |= self.octets > HEADER_MAX_OCTETS;
        self.digest.update(&self.held);
        let room = CAME_THROUGH.len().saturating_sub(self.start.len());
        self.start.extend(self.held.iter().take(room));
        self.came_through |= self.start.eq_ignore_ascii_case(CAME_THROUGH);
        if piece.ends_with(b"\n") {
            self.start.clear();
        }
        self.held.clear();
    }

    pub(crate) fn finish(self) -> Option<[u8; 16]> {
        (self.came_through && self.octets <= HEADER_MAX_OCTETS).then(|| header_digest(self.digest))
    }
}

/// The messages that were delivered and are not listed any more: one of them may come back under another unique-id.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    by_header: HashMap<[u8; 16], Vec<(Key, Option<u64>)>>,
    by_digest: HashMap<[u8; 32], Vec<Key>>,
    claimed: HashSet<Key>,
}

/// Whether a message that is not listed may come back under another unique-id: it was delivered, and the server did not say
/// that it removed it. What it said that it removed is new when it comes again, unless its header is like no other.
pub(crate) fn may_come_back(known: &Known) -> bool {
    match known.stage {
        Stage::Delivered => true,
        Stage::Deleted => known.header.is_some(),
        Stage::Intent(_) | Stage::Aside(_) => false,
    }
}

impl Missing {
    /// What may come back and is not among these.
    pub(crate) fn new(state: &State, listed: &HashSet<&Key>) -> Self {
        let mut missing = Self::default();
        for (key, known) in state.iter() {
            if may_come_back(known) && !listed.contains(key) {
                missing.by_digest.entry(known.digest).or_default().push(key.clone());
                if let Some(header) = known.header {
                    missing.by_header.entry(header).or_default().push((key.clone(), known.listed));
                }
            }
        }
        missing
    }

    /// The message with this header and this length, as LIST tells it, if it was not claimed yet.
    pub(crate) fn claim_by_header(&mut self, header: &[u8; 16], listed: Option<u64>) -> Option<Key> {
        let alike = self.by_header.get(header)?.iter().filter(|(_, octets)| *octets == listed);
        claim(alike.map(|(key, _)| key), &mut self.claimed)
    }

    /// The message with this digest, if it was not claimed yet.
    pub(crate) fn claim_by_digest(&mut self, digest: &[u8; 32]) -> Option<Key> {
        claim(self.by_digest.get(digest)?.iter(), &mut self.claimed)
    }
}

fn claim<'a>(mut keys: impl Iterator<Item = &'a Key>, claimed: &mut HashSet<Key>) -> Option<Key> {
    let key = keys.find(|key| !claimed.contains(*key))?.clone();
    claimed.insert(key.clone());
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(message: &[u8], at_once: usize) -> Option<[u8; 16]> {
        let mut header = HeaderDigest::default();
        message.chunks(at_once).for_each(|piece| header.push(piece));
        header.finish()
    }

    #[test]
    fn a_header_is_the_same_with_and_without_its_empty_line_and_body() {
        let top = b"Received: from a\r\n\tby b\r\nSubject: x\r\n";
        let expected = header(top, 99);
        assert!(expected.is_some());
        for message in
            [&[&top[..], b"\r\n"].concat(), &[&top[..], b"\r\nReceived: body\r\n\r\nmore\r\n"].concat()]
        {
            for at_once in 1..message.len() {
                assert_eq!(header(message, at_once), expected, "{at_once}");
            }
        }
        assert_ne!(header(b"Received: from a\r\n\tby b\r\nSubject: y\r\n", 99), expected);
        assert_eq!(header(b"Subject: x\r\n\r\nReceived: body\r\n", 5), None);
        assert_eq!(header(b"Subject: received: x\r\n", 5), None);
        assert!(header(b"X: y\r\nRECEIVED:\r\n", 3).is_some());
    }

    #[test]
    fn a_message_is_claimed_once() {
        let digest = [3; 32];
        let key = Key::of_content(&digest, 1);
        let mut missing =
            Missing { by_digest: HashMap::from([(digest, vec![key.clone()])]), ..Missing::default() };
        assert_eq!(missing.claim_by_digest(&digest), Some(key));
        assert_eq!(missing.claim_by_digest(&digest), None);
        assert_eq!(missing.claim_by_digest(&[4; 32]), None);
    }
}
