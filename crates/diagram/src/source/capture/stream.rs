//! One direction of a TCP connection: segments in the order of the capture → octets in the order in which they were sent.
//! Sequence numbers wrap around (RFC 9293 §3.4); of octets that come twice, those that came first count.

use std::collections::BTreeMap;

/// What one direction holds back at most while it waits for a segment, in octets: more than a usual window.
pub(super) const WAITING_MAX_OCTETS: usize = 4 << 20;
/// What a segment that is held back costs beside its octets.
const PIECE_OCTETS: usize = 64;
/// A segment that lies further ahead than this is not of this connection, or nobody could wait for it, in octets.
const AHEAD_MAX_OCTETS: i64 = 1 << 30;

/// A segment that carried octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carrier {
    /// Its number in the session.
    pub(super) number: u32,
    /// How many octets it carried.
    pub(super) octets: u32,
}

/// What comes next in a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// These octets.
    Octets(&'a [u8], Carrier),
    /// So many octets that the capture lacks.
    Lacking(u64),
}

/// One direction.
#[derive(Default)]
pub(super) struct Stream {
    /// The sequence number that is shown as 0.
    base: Option<u32>,
    /// The sequence number of the octet that comes next.
    next: Option<u32>,
    /// The other side alone has told so.
    guessed: bool,
    /// How many octets came before that one, or were given up.
    position: i64,
    /// What came too early, by position; no two of them overlap.
    pieces: BTreeMap<i64, Piece>,
    /// What the pieces cost.
    waiting_octets: usize,
    /// The position behind the last octet, once a FIN told it.
    end: Option<i64>,
    /// The position before which everything was acknowledged.
    acknowledged: i64,
    /// The FIN was acknowledged.
    end_acknowledged: bool,
}

enum Piece {
    Octets(Vec<u8>, Carrier),
    Lacking(i64),
}

impl Piece {
    fn octets(&self) -> i64 {
        match self {
            Self::Octets(octets, _) => length(octets),
            Self::Lacking(octets) => *octets,
        }
    }

    fn cost(&self) -> usize {
        match self {
            Self::Octets(octets, _) => PIECE_OCTETS + octets.len(),
            Self::Lacking(_) => PIECE_OCTETS,
        }
    }
}

/// What takes the parts.
type Sink<'a> = &'a mut dyn FnMut(Part<'_>);

impl Stream {
    /// A segment of this direction passes. The first one says where the numbers begin: they are shown from 0, or from 1
    /// where it is no SYN. Tells whether octets may have come before that nobody saw.
    pub(super) fn begin(&mut self, seq: u32, syn: bool) -> bool {
        let first = if syn { seq.wrapping_add(1) } else { seq };
        if self.base.is_none() {
            self.base = Some(first.wrapping_sub(1));
            self.next = Some(first);
            return !syn;
        }
        // What was acknowledged, and by that was thought to have passed, comes now.
        let early = std::mem::take(&mut self.guessed) && self.place(first) < self.position;
        if early {
            self.next = Some(first);
        }
        early
    }

    /// The other side acknowledges something before this side was heard. Tells the same; a SYN acknowledges a SYN alone.
    pub(super) fn begin_at(&mut self, ack: u32, syn: bool) -> bool {
        if self.base.is_some() {
            return false;
        }
        self.base = Some(ack.wrapping_sub(1));
        self.next = Some(ack);
        self.guessed = true;
        !syn
    }

    /// The sequence number of the SYN, as far as that is known.
    pub(super) const fn base(&self) -> Option<u32> {
        self.base
    }

    /// A sequence or acknowledgement number of this direction, counted from the first.
    pub(super) fn relative(&self, number: u32) -> u32 {
        number.wrapping_sub(self.base.unwrap_or(0))
    }

    /// What is held back costs so many octets.
    pub(super) const fn waiting_octets(&self) -> usize {
        self.waiting_octets
    }

    /// The FIN was seen and acknowledged.
    pub(super) const fn has_ended(&self) -> bool {
        self.end_acknowledged
    }

    fn place(&self, seq: u32) -> i64 {
        let ahead = seq.wrapping_sub(self.next.unwrap_or(seq)).cast_signed();
        self.position + i64::from(ahead)
    }

    /// Goes on by so many octets.
    fn advance(&mut self, octets: i64) {
        self.position += octets;
        // The numbers wrap around: the lower half is what counts.
        self.next = self.next.map(|next| next.wrapping_add(octets as u32));
    }

    /// A segment's FIN stands behind its octets.
    pub(super) fn fin(&mut self, seq: u32, carried: u32) {
        let end = self.place(seq) + i64::from(carried);
        if end >= self.position {
            self.end.get_or_insert(end);
        }
        self.end_acknowledged |= self.end.is_some_and(|end| self.acknowledged == end + 1);
    }

    /// Whether the other side has more than what came, so that something is on its way or lost.
    pub(super) fn lacks(&self, ack: u32) -> bool {
        let ahead = self.place(ack) - self.position;
        let fin = ahead == 1 && self.pieces.is_empty();
        self.next.is_some() && ahead > 0 && ahead <= AHEAD_MAX_OCTETS && !fin
    }

    /// Takes what a segment carries: its octets, and behind them so many that were not captured.
    pub(super) fn take(&mut self, seq: u32, octets: &[u8], lacking: u32, carrier: Carrier, sink: Sink<'_>) {
        let start = self.place(seq);
        let captured = start + length(octets);
        let end = captured + i64::from(lacking);
        if end <= self.position || start - self.position > AHEAD_MAX_OCTETS {
            return;
        }
        if self.pieces.is_empty() && start <= self.position {
            let fresh = octets.get(index(self.position - start)..).unwrap_or_default();
            if !fresh.is_empty() {
                sink(Part::Octets(fresh, carrier));
                self.advance(length(fresh));
            }
            let lacking = end - self.position;
            if lacking > 0 {
                sink(Part::Lacking(lacking.unsigned_abs()));
                self.advance(lacking);
            }
            return;
        }
        self.keep(start.max(self.position)..captured, |from, to| {
            let octets = octets.get(index(from - start)..index(to - start)).unwrap_or_default();
            Piece::Octets(octets.to_vec(), carrier)
        });
        self.keep(captured.max(self.position)..end, |from, to| Piece::Lacking(to - from));
        self.drain(sink);
        while self.waiting_octets > WAITING_MAX_OCTETS {
            self.skip_hole(i64::MAX, sink);
        }
    }

    /// Keeps what of this range is not there yet.
    fn keep(&mut self, range: std::ops::Range<i64>, make: impl Fn(i64, i64) -> Piece) {
        let mut at = range.start;
        while at < range.end {
            let before = self.pieces.range(..=at).next_back();
            if let Some(covered) = before.map(|(start, piece)| start + piece.octets()).filter(|end| *end > at)
            {
                at = covered;
                continue;
            }
            let next = self.pieces.range(at..).next().map_or(range.end, |(start, _)| *start);
            let end = next.min(range.end);
            let piece = make(at, end);
            self.waiting_octets += piece.cost();
            self.pieces.insert(at, piece);
            at = end;
        }
    }

    /// Hands on what waits for nothing any more.
    fn drain(&mut self, sink: Sink<'_>) {
        while let Some(first) = self.pieces.first_entry().filter(|first| *first.key() <= self.position) {
            let piece = first.remove();
            self.waiting_octets -= piece.cost();
            match &piece {
                Piece::Octets(octets, carrier) => sink(Part::Octets(octets, *carrier)),
                Piece::Lacking(octets) => sink(Part::Lacking(octets.unsigned_abs())),
            }
            self.advance(piece.octets());
        }
    }

    /// Gives the next hole up, as far as this place.
    fn skip_hole(&mut self, to: i64, sink: Sink<'_>) {
        let to = self.pieces.first_key_value().map_or(to, |(start, _)| (*start).min(to));
        let lacking = to - self.position;
        if lacking > 0 {
            sink(Part::Lacking(lacking.unsigned_abs()));
            self.advance(lacking);
        }
        self.drain(sink);
    }

    /// The other side has everything before this number: what is not here was not captured.
    pub(super) fn acknowledged(&mut self, ack: u32, sink: Sink<'_>) {
        let mut to = self.place(ack);
        self.acknowledged = self.acknowledged.max(to);
        match self.end {
            Some(end) if to == end + 1 => {
                self.end_acknowledged = true;
                to = end;
            }
            // More was acknowledged than the FIN: it was none, or not of this connection.
            Some(end) if to > end => self.end = None,
            _ => {}
        }
        // One octet alone is the FIN, which was not captured; what lies far ahead is not of this connection.
        let ahead = to - self.position;
        if ahead > AHEAD_MAX_OCTETS || (ahead == 1 && self.pieces.is_empty()) {
            return;
        }
        while self.position < to {
            self.skip_hole(to, sink);
        }
    }

    /// Nothing more comes: what waits is handed on, with holes.
    pub(super) fn finish(&mut self, sink: Sink<'_>) {
        while !self.pieces.is_empty() {
            self.skip_hole(i64::MAX, sink);
        }
    }
}

fn length(octets: &[u8]) -> i64 {
    i64::try_from(octets.len()).unwrap_or(i64::MAX)
}

fn index(octets: i64) -> usize {
    usize::try_from(octets).unwrap_or(usize::MAX)
}
