//! TRANSACTION and UPDATE: the snapshot of the maildrop, and the commands on it (RFC 1939 §5–7).

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use super::{
    Ask, Session,
    session::{OUT_SOFT_MAX_OCTETS, Owed, Step, UNIQUE_ID_PAGE_MAX},
};
use crate::{
    Marks, MessageNumber, UniqueIds,
    body::Part,
    reply::{self, Reply},
};

/// The maildrop as it was at login; empty outside TRANSACTION.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    messages: u32,
    sizes: Option<Arc<[u64]>>,
    marks: Marks,
    /// The octets of what is not marked, once the sizes are known.
    octets: u64,
}

/// UIDL's lines on their way out: a page of ids, and how far it was written.
#[derive(Debug)]
pub(super) struct IdListing {
    from: u32,
    page: UniqueIds,
    place: usize,
}

/// Why a number names no message now.
enum Absent {
    None,
    Marked,
}

impl Snapshot {
    pub(super) fn new(messages: u32, sizes: Option<Arc<[u64]>>) -> Self {
        let mut snapshot = Self { messages, ..Self::default() };
        if let Some(sizes) = sizes {
            snapshot.learn(sizes);
        }
        snapshot
    }

    /// Takes the sizes in.
    pub(super) fn learn(&mut self, sizes: Arc<[u64]>) {
        let marked = self.marks.iter().fold(0u64, |octets, index| octets.saturating_add(size(&sizes, index)));
        self.octets = total(&sizes).saturating_sub(marked);
        self.sizes = Some(sizes);
    }

    /// RETR has found the true size of a message: LIST has it from now on.
    pub(super) fn correct(&mut self, number: MessageNumber, octets: u64) {
        let index = number.index();
        let Some(sizes) = &mut self.sizes else { return };
        let believed = size(sizes, index);
        if believed != octets && (index as usize) < sizes.len() {
            Arc::make_mut(sizes)[index as usize] = octets;
            self.octets = self.octets.saturating_sub(believed).saturating_add(octets);
        }
    }

    pub(super) const fn marked(&self) -> u32 {
        self.marks.count()
    }

    const fn left(&self) -> u32 {
        self.messages - self.marks.count()
    }

    fn known_octets(&self) -> Option<u64> {
        self.sizes.as_ref().map(|_| self.octets)
    }

    /// The index of a message that is there and not marked.
    fn index(&self, number: MessageNumber) -> Result<u32, Absent> {
        match number.index() {
            index if index >= self.messages => Err(Absent::None),
            index if self.marks.is_marked(index) => Err(Absent::Marked),
            index => Ok(index),
        }
    }
}

fn size(sizes: &[u64], index: u32) -> u64 {
    sizes.get(index as usize).copied().unwrap_or_default()
}

/// How long a line of LIST is, in octets, mostly.
const SIZE_LINE_OCTETS: usize = 16;
/// How long a line of UIDL is, in octets, mostly.
const ID_LINE_OCTETS: usize = 48;

/// Makes room for so many lines, as far as they are written at once.
fn reserve_lines(lines: u32, line_octets: usize, out: &mut Vec<u8>) {
    let at_once = OUT_SOFT_MAX_OCTETS.saturating_sub(out.len());
    out.reserve((lines as usize).saturating_mul(line_octets).min(at_once));
}

fn total(sizes: &[u64]) -> u64 {
    sizes.iter().fold(0, |total, &octets| total.saturating_add(octets))
}

impl<S> Session<S> {
    pub(super) fn stat(&mut self, out: &mut Vec<u8>) {
        match self.snapshot.known_octets() {
            None => self.ask(Ask::Sizes, Owed::Stat),
            Some(octets) => self.reply(&Reply::Stat { messages: self.snapshot.left(), octets }, out),
        }
    }

    pub(super) fn list(&mut self, number: Option<MessageNumber>, out: &mut Vec<u8>) {
        let index = match number.map(|number| self.snapshot.index(number)).transpose() {
            Ok(index) => index,
            Err(absent) => return self.absent(&absent, out),
        };
        let (Some(sizes), Some(octets)) = (&self.snapshot.sizes, self.snapshot.known_octets()) else {
            return self.ask(Ask::Sizes, Owed::List(number));
        };
        if let (Some(number), Some(index)) = (number, index) {
            let octets = size(sizes, index);
            return self.reply(&Reply::Size { number: number.get(), octets }, out);
        }
        self.reply(&Reply::Listing { messages: self.snapshot.left(), octets: Some(octets) }, out);
        self.step = Step::Sizes(0);
    }

    /// LIST's lines from this index on, as many as fit.
    pub(super) fn list_from(&mut self, from: u32, out: &mut Vec<u8>) {
        reserve_lines(self.snapshot.messages.saturating_sub(from), SIZE_LINE_OCTETS, out);
        let sizes = self.snapshot.sizes.as_deref().unwrap_or_default();
        for (index, &octets) in (from..).zip(sizes.iter().skip(from as usize)) {
            if out.len() >= OUT_SOFT_MAX_OCTETS {
                self.step = Step::Sizes(index);
                return;
            }
            if !self.snapshot.marks.is_marked(index) {
                reply::write_size_line(index + 1, octets, out);
            }
        }
        reply::write_end_of_block(out);
    }

    pub(super) fn uidl(&mut self, number: Option<MessageNumber>, out: &mut Vec<u8>) {
        match number.map(|number| (number, self.snapshot.index(number))) {
            Some((number, Ok(index))) => {
                self.ask(Ask::UniqueIds { range: index..index + 1 }, Owed::Id(number));
            }
            Some((_, Err(absent))) => self.absent(&absent, out),
            // The first page is there before +OK is said: a store that fails can still be told.
            None if self.snapshot.messages > 0 => self.ask_ids(0, false),
            None => {
                self.uidl_head(out);
                reply::write_end_of_block(out);
            }
        }
    }

    fn uidl_head(&mut self, out: &mut Vec<u8>) {
        let (messages, octets) = (self.snapshot.left(), self.snapshot.known_octets());
        self.reply(&Reply::Listing { messages, octets }, out);
    }

    fn ask_ids(&mut self, from: u32, begun: bool) {
        let end = from.saturating_add(UNIQUE_ID_PAGE_MAX).min(self.snapshot.messages);
        self.ask(Ask::UniqueIds { range: from..end }, Owed::Ids { from, begun });
    }

    pub(super) fn ids_answered(&mut self, from: u32, begun: bool, page: UniqueIds, out: &mut Vec<u8>) {
        if !begun {
            self.uidl_head(out);
        }
        self.step = Step::Ids(Box::new(IdListing { from, page, place: 0 }));
    }

    /// UIDL's lines, as many as fit.
    pub(super) fn list_ids(&mut self, mut listing: IdListing, out: &mut Vec<u8>) {
        let mut index = listing.from.saturating_add(u32::try_from(listing.place).unwrap_or(u32::MAX));
        reserve_lines(u32::try_from(listing.page.len()).unwrap_or(u32::MAX), ID_LINE_OCTETS, out);
        while let Some((octets, len)) = listing.page.octets_from(listing.place) {
            if index >= self.snapshot.messages {
                break;
            }
            if out.len() >= OUT_SOFT_MAX_OCTETS {
                self.step = Step::Ids(Box::new(listing));
                return;
            }
            if !self.snapshot.marks.is_marked(index) {
                reply::write_id_line(index + 1, octets, len, out);
            }
            listing.place += 1;
            index += 1;
        }
        if index < self.snapshot.messages {
            self.ask_ids(index, true);
        } else {
            reply::write_end_of_block(out);
        }
    }

    pub(super) fn message(&mut self, number: MessageNumber, part: Part, out: &mut Vec<u8>) {
        match self.snapshot.index(number) {
            Ok(_) => self.ask(Ask::Message { number, part }, Owed::Message(number, part)),
            Err(absent) => self.absent(&absent, out),
        }
    }

    pub(super) fn dele(&mut self, number: MessageNumber, out: &mut Vec<u8>) {
        match self.snapshot.index(number) {
            Ok(index) => {
                let snapshot = &mut self.snapshot;
                snapshot.marks.mark(index, snapshot.messages);
                let octets = snapshot.sizes.as_ref().map_or(0, |sizes| size(sizes, index));
                snapshot.octets = snapshot.octets.saturating_sub(octets);
                self.reply(&Reply::Deleted, out);
            }
            Err(absent) => self.absent(&absent, out),
        }
    }

    pub(super) fn rset(&mut self, out: &mut Vec<u8>) {
        self.snapshot.marks.clear();
        self.snapshot.octets = self.snapshot.sizes.as_ref().map_or(0, |sizes| total(sizes));
        let (messages, octets) = (self.snapshot.left(), self.snapshot.known_octets());
        self.reply(&Reply::Reset { messages, octets }, out);
    }

    /// QUIT: the UPDATE state (RFC 1939 §6).
    pub(super) fn commit(&mut self) {
        let deleted = core::mem::take(&mut self.snapshot).marks;
        self.ask(Ask::Commit { deleted }, Owed::Committed);
    }

    fn absent(&mut self, absent: &Absent, out: &mut Vec<u8>) {
        let reply = match absent {
            Absent::None => Reply::NoSuchMessage,
            Absent::Marked => Reply::AlreadyDeleted,
        };
        self.reply(&reply, out);
    }
}
