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
    /// The latest of them, and which of the [`RECENT`] before it are among them, one bit each: where segments overlap and
    /// came in another order, octets of one may stand on both sides of another one's.
    latest: u32,
    recent: u64,
}

/// So many segments are remembered.
const RECENT: u32 = u64::BITS;

impl Spanning {
    /// It begins in this segment.
    pub(super) fn new(first: Carrier) -> Self {
        Self { first, last: first, count: 1, octets: first.octets.into(), latest: first.number, recent: 1 }
    }

    /// It goes on in this segment, which may be one of them already.
    pub(super) fn add(&mut self, carrier: Carrier) {
        self.last = carrier;
        let fresh = match (carrier.number.checked_sub(self.latest), self.latest.abs_diff(carrier.number)) {
            (Some(0), _) => false,
            (Some(later), _) => {
                self.recent = self.recent.checked_shl(later).unwrap_or(0) | 1;
                self.latest = carrier.number;
                true
            }
            (None, before) if before < RECENT => {
                let bit = 1 << before;
                let fresh = self.recent & bit == 0;
                self.recent |= bit;
                fresh
            }
            (None, _) => true,
        };
        if fresh {
            self.count = self.count.saturating_add(1);
            self.octets += u64::from(carrier.octets);
        }
    }

    /// It goes on with something that was sent in these.
    pub(super) fn append(&mut self, behind: &Self) {
        let (count, octets) = (self.count, self.octets);
        self.add(behind.first);
        let shared = self.count == count;
        self.add(behind.last);
        self.count = count.saturating_add(behind.count - u32::from(shared));
        self.octets = octets + behind.octets - if shared { u64::from(behind.first.octets) } else { 0 };
    }

    /// All of them.
    pub(super) const fn span(&self) -> Span {
        Span { first: self.first.number, last: self.last.number, count: self.count, octets: self.octets }
    }
}
