//! In which segments something was sent, while it is being heard.

use super::stream::Carrier;
use crate::heard::Span;

/// The segments that carried something, so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spanning {
    first: Carrier,
    last: Carrier,
    count: u32,
    octets: u64,
}

impl Spanning {
    /// It begins in this segment.
    pub(super) fn new(first: Carrier) -> Self {
        Self { first, last: first, count: 1, octets: first.octets.into() }
    }

    /// It goes on in this segment, which may be the last one still.
    pub(super) fn add(&mut self, carrier: Carrier) {
        if carrier.number != self.last.number {
            self.last = carrier;
            self.count = self.count.saturating_add(1);
            self.octets += u64::from(carrier.octets);
        }
    }

    /// It goes on with something that was sent in these.
    pub(super) fn append(&mut self, behind: &Self) {
        let shared = behind.first.number == self.last.number;
        self.last = behind.last;
        self.count = self.count.saturating_add(behind.count - u32::from(shared));
        self.octets += behind.octets - if shared { u64::from(behind.first.octets) } else { 0 };
    }

    /// All of them.
    pub(super) const fn span(&self) -> Span {
        Span { first: self.first.number, last: self.last.number, count: self.count, octets: self.octets }
    }
}
