//! The TCP side of a session: which segments passed, what was sent again, where time was lost. It knows numbers and times,
//! and no POP3.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use restante_proto::dialogue::{Flag, Segment, Side};

use super::remarks;
use crate::{
    anomaly::Anomaly,
    heard::Span,
    row::{Carried, Finding, Passed, Remark, Share},
    words,
};

/// How many segments are remembered, for the lines that are put together from them.
const SEGMENTS_MAX: usize = 4096;
/// How many findings wait for the row that they belong to.
const MARKS_MAX: usize = 1024;
/// How many of them are told at the end, if there was none.
const LEFT_OVER_MAX: usize = 8;
/// How many holes in what one side sent are remembered.
const HOLES_MAX: usize = 64;
/// How long receivers delay an ACK, as systems do it (RFC 1122 §4.2.3.2 allows 500 ms).
const DELAYED_ACK: std::ops::RangeInclusive<Duration> = Duration::from_millis(35)..=Duration::from_millis(60);
/// How soon behind the ACK that it waited for a sender goes on.
const PROMPT: Duration = Duration::from_millis(5);
/// A segment that comes so soon behind the one that overtook it was not sent again (as Wireshark judges it).
const REORDERED: Duration = Duration::from_millis(3);

/// What a segment is besides what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It carries octets that were not seen before: lines will tell what they are.
    Carries,
    /// It carries octets that were seen before.
    Again,
    /// It carries nothing, and acknowledges.
    Ack,
    /// It asks whether the other side is there.
    KeepAlive,
    /// SYN, FIN or RST.
    Control,
}

/// What became of the octets of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    /// They are new, or there are none.
    New,
    /// They were seen before.
    Seen,
    /// Some of them were.
    Overlaps,
    /// They fill a hole that was there.
    Late(Anomaly),
    /// There is one, which was acknowledged long ago.
    KeepAlive,
}

/// The segments of a session.
#[derive(Debug, Default)]
pub(super) struct Tcp {
    /// How many passed.
    pub(super) count: u32,
    recent: VecDeque<Passed>,
    sides: [Half; 2],
    /// Findings for the rows that the segments of these numbers are in.
    marks: BTreeMap<u32, Vec<Finding>>,
    /// How many more of each there were, when too many waited.
    unmarked: BTreeMap<Anomaly, u64>,
    syn: Option<Duration>,
    /// The handshake's segments were sent more than once: they time nothing.
    resent: bool,
    syn_ack: Option<Duration>,
    /// From where it was captured to the server and back, and to the client and back.
    to_server: Option<Duration>,
    to_client: Option<Duration>,
    half_close_told: bool,
    /// Who broke the connection off, not having closed it.
    pub(super) reset: Option<Side>,
    /// TLS tells each other of the end behind a FIN too: what is carried then is no step of the session.
    pub(super) encrypted: bool,
}

/// What one side sent.
#[derive(Debug, Default)]
struct Half {
    /// The first sequence number that was not seen yet.
    next: Option<u32>,
    /// What the other side has acknowledged.
    acknowledged: Option<u32>,
    holes: Vec<Hole>,
    fin: bool,
    /// The last segment that carried something: its number and its time.
    last: Option<(u32, Duration)>,
    /// When the other side acknowledged that, having waited.
    waited: Option<Duration>,
    /// The first segment with octets that no row has told of yet.
    anchor: Option<(u32, Passed)>,
    octets: u64,
}

#[derive(Clone, Copy, Debug)]
struct Hole {
    from: u32,
    to: u32,
    at: Option<Duration>,
}

const fn place(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}

const fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}

/// Whether one sequence number lies before another, on their circle (RFC 9293 §3.4).
const fn before(left: u32, right: u32) -> bool {
    left != right && right.wrapping_sub(left) < 1 << 31
}

impl Tcp {
    /// Takes the next segment, and says what it is.
    pub(super) fn passed(&mut self, at: Option<Duration>, segment: Segment) -> Kind {
        self.count = self.count.saturating_add(1);
        let number = self.count;
        let passed = Passed { at, segment };
        if self.recent.len() == SEGMENTS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(passed);
        let (from, flags) = (segment.from, segment.flags);
        self.time_handshake(at, segment);
        let octets = segment.octets.unwrap_or(0);
        let (judged, fresh) = self.judge(at, segment);
        let again = octets.saturating_sub(fresh);
        if let Some(ack) = segment.ack.filter(|_| flags.has(Flag::Ack)) {
            let other = &mut self.sides[place(other(from))];
            if other.acknowledged.is_none_or(|acknowledged| before(acknowledged, ack)) {
                other.acknowledged = Some(ack);
            }
        }
        if flags.has(Flag::Rst) {
            // Its number counts a FIN that the capture lacks.
            let half = &mut self.sides[place(from)];
            half.fin |= half.next.zip(segment.seq).is_some_and(|(next, seq)| seq == next.wrapping_add(1));
            if !self.sides[place(from)].fin {
                self.reset = self.reset.or(Some(from));
            }
            return Kind::Control;
        }
        let fin_before = self.sides[place(other(from))].fin;
        self.sides[place(from)].fin |= flags.has(Flag::Fin);
        match judged {
            Judged::New => {}
            Judged::KeepAlive => return Kind::KeepAlive,
            Judged::Overlaps => {
                let text = format!("{} of it were sent again.", words::count(again.into(), "octet"));
                self.mark(number, Finding { anomaly: Anomaly::Retransmission, text });
            }
            Judged::Late(anomaly) => {
                let text = match anomaly {
                    Anomaly::OutOfOrder => {
                        "A segment was overtaken by one that was sent behind it.".to_owned()
                    }
                    _ => format!("{} were sent again.", words::count(octets.into(), "octet")),
                };
                self.mark(number, Finding { anomaly, text });
            }
            Judged::Seen => {
                let text = match octets {
                    0 => "It was sent again.".to_owned(),
                    _ => format!("{} were sent again.", words::count(octets.into(), "octet")),
                };
                self.mark(number, Finding { anomaly: Anomaly::Retransmission, text });
                return if octets > 0 { Kind::Again } else { Kind::Control };
            }
        }
        if octets == 0 {
            if flags.has(Flag::Syn) || flags.has(Flag::Fin) {
                return Kind::Control;
            }
            self.acknowledged(at, from);
            return Kind::Ack;
        }
        self.carried(number, passed, fresh);
        if fin_before && !self.half_close_told && !self.encrypted {
            self.half_close_told = true;
            let who = remarks::name(other(from));
            let text = format!("The {who} has closed its side, and the {} goes on.", remarks::name(from));
            self.mark(number, Finding { anomaly: Anomaly::HalfClose, text });
        }
        Kind::Carries
    }

    /// The round trips that the handshake shows.
    fn time_handshake(&mut self, at: Option<Duration>, segment: Segment) {
        let flags = segment.flags;
        match (flags.has(Flag::Syn), flags.has(Flag::Ack)) {
            // Which of two was answered, nobody knows.
            (true, false) if self.syn.is_some() => self.resent = true,
            (true, true) if self.syn_ack.is_some() => self.resent = true,
            (true, false) => self.syn = at,
            (true, true) => {
                self.syn_ack = self.syn_ack.or(at);
                let trip = self.syn.zip(at).map(|(syn, at)| at.saturating_sub(syn));
                self.to_server = self.to_server.or(trip);
            }
            (false, true) if segment.from == Side::Client && self.to_client.is_none() => {
                self.to_client = self.syn_ack.zip(at).map(|(syn_ack, at)| at.saturating_sub(syn_ack));
            }
            _ => {}
        }
    }

    /// Whether the segment brings something new, and in its turn; and how many of its octets are new.
    fn judge(&mut self, at: Option<Duration>, segment: Segment) -> (Judged, u32) {
        let flags = segment.flags;
        let (Some(octets), Some(seq)) = (segment.octets, segment.seq) else {
            return (Judged::New, segment.octets.unwrap_or(0));
        };
        let length = octets.saturating_add(u32::from(flags.has(Flag::Syn)) + u32::from(flags.has(Flag::Fin)));
        let half = &mut self.sides[place(segment.from)];
        let end = seq.wrapping_add(length);
        let Some(next) = half.next else {
            half.next = Some(end);
            return (Judged::New, octets);
        };
        let asks = seq.wrapping_add(1) == next && half.acknowledged.is_some_and(|ack| !before(ack, next));
        if flags.has(Flag::Rst) || (length == 0 && !asks) {
            return (Judged::New, 0);
        }
        // An octet that was acknowledged long ago, or none, sent to hear whether the other side is there (RFC 9293 §3.8.4).
        if asks && octets <= 1 && length == octets {
            return (Judged::KeepAlive, 0);
        }
        if !before(seq, next) {
            if before(next, seq) && half.holes.len() < HOLES_MAX {
                half.holes.push(Hole { from: next, to: seq, at });
            }
            half.next = Some(end);
            return (Judged::New, octets);
        }
        let mut fresh = 0;
        if before(next, end) {
            fresh = end.wrapping_sub(next);
            half.next = Some(end);
        }
        let (mut noticed, mut filled, mut left) = (None, 0, Vec::new());
        for hole in half.holes.drain(..) {
            if !before(seq, hole.to) || !before(hole.from, end) {
                left.push(hole);
                continue;
            }
            let from = if before(hole.from, seq) { seq } else { hole.from };
            let to = if before(end, hole.to) { end } else { hole.to };
            filled += to.wrapping_sub(from);
            noticed = noticed.or(hole.at);
            if before(hole.from, from) {
                left.push(Hole { to: from, ..hole });
            }
            if before(to, hole.to) {
                left.push(Hole { from: to, ..hole });
            }
        }
        left.truncate(HOLES_MAX);
        half.holes = left;
        if filled == 0 {
            return (if fresh > 0 { Judged::Overlaps } else { Judged::Seen }, fresh);
        }
        let late = noticed
            .zip(at)
            .is_some_and(|(noticed, at): (Duration, _)| at.saturating_sub(noticed) > REORDERED);
        let anomaly = if late { Anomaly::Retransmission } else { Anomaly::OutOfOrder };
        (Judged::Late(anomaly), fresh.saturating_add(filled))
    }

    fn acknowledged(&mut self, at: Option<Duration>, by: Side) {
        let half = &mut self.sides[place(other(by))];
        if let (Some((_, sent)), Some(at)) = (half.last, at)
            && half.waited.is_none()
            && DELAYED_ACK.contains(&at.saturating_sub(sent))
        {
            half.waited = Some(at);
        }
    }

    fn carried(&mut self, number: u32, passed: Passed, fresh: u32) {
        let from = passed.segment.from;
        // The other side's octets acknowledge too: nobody waited for an ACK alone.
        self.sides[place(other(from))].last = None;
        self.sides[place(other(from))].waited = None;
        let half = &mut self.sides[place(from)];
        half.octets += u64::from(fresh);
        half.anchor.get_or_insert((number, passed));
        let stalled = half.waited.take().zip(half.last).zip(passed.at);
        half.last = passed.at.map(|at| (number, at));
        if let Some(((acknowledged, (_, sent)), at)) = stalled
            && at.saturating_sub(acknowledged) <= PROMPT
        {
            let text = format!(
                "The {} went on only when its segment before this one was acknowledged, after {}.",
                remarks::name(from),
                words::duration(acknowledged.saturating_sub(sent))
            );
            self.mark(number, Finding { anomaly: Anomaly::DelayedAckStall, text });
        }
    }

    fn mark(&mut self, number: u32, finding: Finding) {
        if self.marks.len() < MARKS_MAX {
            self.marks.entry(number).or_default().push(finding);
        } else {
            *self.unmarked.entry(finding.anomaly).or_default() += 1;
        }
    }

    /// The findings of these segments of one side, those that are alike together, each with how often it happened.
    pub(super) fn findings(&mut self, from: Side, span: Span) -> Vec<(Finding, u64)> {
        /// More than so many of one kind are told together.
        const ALIKE_MAX: u64 = 2;
        // What fills a hole comes behind what is sent later.
        let numbers = span.first.min(span.last)..=span.first.max(span.last);
        let of_side = |number: &u32| self.passed_at(*number).is_none_or(|passed| passed.segment.from == from);
        let numbers: Vec<u32> =
            self.marks.range(numbers).map(|(number, _)| *number).filter(of_side).collect();
        let mut findings: Vec<(Finding, u64)> = numbers
            .iter()
            .filter_map(|number| self.marks.remove(number))
            .flatten()
            .map(|finding| (finding, 1))
            .collect();
        for anomaly in [Anomaly::Retransmission, Anomaly::OutOfOrder, Anomaly::DelayedAckStall] {
            let marked = findings.iter().filter(|(finding, _)| finding.anomaly == anomaly).count() as u64;
            if marked == 0 {
                continue;
            }
            let times = marked + self.unmarked.remove(&anomaly).unwrap_or(0);
            if times > ALIKE_MAX {
                findings.retain(|(finding, _)| finding.anomaly != anomaly);
                let text = format!("It happened {} times in this step.", words::thousands(times));
                findings.push((Finding { anomaly, text }, times));
            }
        }
        findings
    }

    /// The findings that no row has told.
    pub(super) fn left_over(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.marks).into_values().flatten().take(LEFT_OVER_MAX).collect()
    }

    /// A remembered segment.
    pub(super) fn passed_at(&self, number: u32) -> Option<Passed> {
        let oldest = self.count as usize + 1 - self.recent.len();
        let place = (number as usize).checked_sub(oldest)?;
        self.recent.get(place).copied()
    }

    /// The last segment of this side that carries octets, for sources that do not say which ones a line is in.
    pub(super) fn last_carrying(&self, from: Side) -> Option<Span> {
        let (back, passed) = self.recent.iter().rev().enumerate().find(|(_, passed)| {
            passed.segment.from == from && passed.segment.octets.is_some_and(|octets| octets > 0)
        })?;
        let number = self.count - u32::try_from(back).ok()?;
        let octets = passed.segment.octets.unwrap_or(0).into();
        Some(Span { first: number, last: number, count: 1, octets })
    }

    /// The facts of the segments that carried a row, which is told now.
    pub(super) fn carried_row(&mut self, from: Side, span: Span, shared: bool) -> Carried {
        let anchor = self.sides[place(from)].anchor.filter(|(number, _)| *number == span.first);
        let first = self.passed_at(span.first).or_else(|| anchor.map(|(_, passed)| passed));
        self.sides[place(from)].anchor = None;
        Carried {
            count: span.count.into(),
            flags: first.map_or_else(Default::default, |passed| passed.segment.flags),
            seq: first.and_then(|passed| passed.segment.seq),
            ack: first.and_then(|passed| passed.segment.ack),
            octets: span.octets,
            shared,
            acks: 0,
        }
    }

    /// How many octets a side sent, each counted once.
    pub(super) fn octets(&self, from: Side) -> u64 {
        self.sides[place(from)].octets
    }

    /// Whether a side has sent its FIN.
    pub(super) const fn has_closed(&self, side: Side) -> bool {
        self.sides[place(side)].fin
    }

    /// Whether the server's SYN was seen, and not yet the ACK that completes the handshake.
    pub(super) fn is_shaking_hands(&self) -> bool {
        self.syn_ack.is_some() && self.to_client.is_none()
    }

    /// Where a wait for this side went.
    pub(super) fn share(&self, waited_for: Side, wait: Duration) -> Option<Share> {
        let trip = match waited_for {
            _ if self.resent => None,
            Side::Server => self.to_server,
            Side::Client => self.to_client,
        }?;
        let network = trip.min(wait);
        Some(Share { network, peer: wait - network })
    }
}

/// What a segment without octets that count is called on its arrow.
pub(super) fn label(segment: Segment, kind: Kind) -> String {
    let flags = words::flags(segment.flags);
    let flags = if flags.is_empty() { "segment".to_owned() } else { flags };
    match (kind, segment.octets) {
        (Kind::KeepAlive, _) => format!("{flags}: keep-alive"),
        (Kind::Again, Some(octets)) => format!("{flags}: {} again", words::count(octets.into(), "octet")),
        _ => flags,
    }
}

/// What a segment that carries nothing new is for.
pub(super) fn remark(segment: Segment, kind: Kind, completes: bool) -> Option<Remark> {
    let who = remarks::name(segment.from);
    let flags = segment.flags;
    let text = match kind {
        _ if flags.has(Flag::Rst) => format!("The {who} breaks the connection off."),
        _ if flags.has(Flag::Syn) && flags.has(Flag::Ack) => {
            "The server takes the connection, and counts its own octets from here.".to_owned()
        }
        _ if flags.has(Flag::Syn) => {
            "The client asks for a TCP connection: the first of the handshake's three steps.".to_owned()
        }
        _ if flags.has(Flag::Fin) => {
            format!("The {who} has sent all that it had to say, and closes its side of the connection.")
        }
        Kind::Ack if completes => "The handshake is complete: the connection stands.".to_owned(),
        Kind::Ack => format!("The {who} has received what came before."),
        Kind::KeepAlive => format!("The {who} asks whether the other side is still there."),
        Kind::Again | Kind::Carries | Kind::Control => return None,
    };
    let rfc = match () {
        () if flags.has(Flag::Rst) => "RFC 9293 §3.5.2",
        () if flags.has(Flag::Syn) || completes => "RFC 9293 §3.5",
        () if flags.has(Flag::Fin) => "RFC 9293 §3.6",
        () if kind == Kind::KeepAlive => "RFC 9293 §3.8.4",
        () => "RFC 9293 §3.8.6.3",
    };
    Some(Remark { text, rfc: Some(rfc) })
}
