//! One connection: its segments → what is heard of it. Who is who, relative numbers and times, both directions, and how it
//! ends.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use restante_proto::dialogue::{Event, Flag, Kind, Observed, Segment, Side, TcpEvent};

use super::{
    follow::Follow,
    packet,
    stream::{Carrier, Part, Stream},
};
use crate::heard::{Ending, Heard, Opening, Span, What};

/// A session that is open, or was until a moment ago.
pub(super) struct Session {
    pub(super) number: u32,
    client: SocketAddr,
    /// When its first packet passed.
    started: Option<Duration>,
    segments: u32,
    /// When its last one passed, since then.
    last: Option<Duration>,
    /// `None`: nobody wants to hear it.
    follow: Option<Follow>,
    client_stream: Stream,
    server_stream: Stream,
    /// Segments that acknowledge what has not come yet, and those behind them. Captures swap packets that passed in
    /// opposite directions at nearly the same time, so that a reply may stand before its command.
    late: VecDeque<(Effect, Option<Vec<u8>>)>,
    late_octets: usize,
    /// Both sides have closed, or one has broken off.
    closed: bool,
    /// Something came since it was last looked at.
    pub(super) touched: bool,
    /// What it costs, when that was last added up.
    pub(super) held_octets: usize,
}

/// How many segments are waited for what they acknowledge, and how long, until that counts as lost.
const LATE_MAX_SEGMENTS: usize = 8;
pub(super) const LATE_MAX: Duration = Duration::from_millis(20);

/// What a segment means for its session, its octets aside.
#[derive(Clone, Copy, Debug)]
struct Effect {
    at: Option<Duration>,
    from: Side,
    /// The sequence number of its first octet.
    seq: u32,
    ack: Option<u32>,
    fin: bool,
    carrier: Carrier,
}

/// A segment as its session sees it, without its octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outline {
    pub(super) at: Option<Duration>,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: restante_proto::dialogue::Flags,
    pub(super) carried: u32,
}

impl Outline {
    pub(super) fn of(segment: &packet::Segment<'_>, at: Option<Duration>) -> Self {
        let packet::Segment { source, destination, seq, ack, flags, .. } = *segment;
        Self { at, source, destination, seq, ack, flags, carried: segment.carried() }
    }
}

/// What a new session is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth {
    pub(super) number: u32,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    /// When its first packet passed.
    pub(super) started: Option<Duration>,
    /// Its SYN was not captured.
    pub(super) joined: bool,
    /// Somebody wants to hear it.
    pub(super) wanted: bool,
    pub(super) start_max_octets: usize,
}

impl Session {
    /// A session begins.
    pub(super) fn new(birth: Birth, out: &mut Vec<Heard>) -> Self {
        let Birth { number, client, server, started, joined, wanted, start_max_octets } = birth;
        let follow = wanted.then(|| Follow::new(number, start_max_octets, joined));
        if let Some(follow) = &follow {
            let opening = Opening {
                client: Some(client.to_string().into()),
                server: Some(server.to_string().into()),
                started: started.and_then(written),
                joined,
                ..Opening::default()
            };
            follow.say(What::Begin(opening), out);
        }
        Self {
            number,
            client,
            started,
            segments: 0,
            last: None,
            follow,
            client_stream: Stream::default(),
            server_stream: Stream::default(),
            late: VecDeque::new(),
            late_octets: 0,
            closed: false,
            touched: true,
            held_octets: 0,
        }
    }

    /// Whether this SYN begins another session on the same pair of ports: its first sequence number is another one.
    pub(super) fn is_over(&self, segment: &Outline) -> bool {
        let stream = if segment.source == self.client { &self.client_stream } else { &self.server_stream };
        segment.flags.has(Flag::Syn)
            && !segment.flags.has(Flag::Ack)
            && stream.base().is_some_and(|base| base != segment.seq)
    }

    /// Both sides have closed, or one has broken off: only stragglers can come.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes the next segment.
    pub(super) fn segment(&mut self, outline: &Outline, octets: &[u8], out: &mut Vec<Heard>) {
        let Outline { seq, ack, flags, carried, .. } = *outline;
        self.touched = true;
        self.segments = self.segments.saturating_add(1);
        let at = outline.at.zip(self.started).map(|(at, started)| at.saturating_sub(started));
        self.last = at.or(self.last);
        let from = if outline.source == self.client { Side::Client } else { Side::Server };
        let (stream, other) = match from {
            Side::Client => (&mut self.client_stream, &mut self.server_stream),
            Side::Server => (&mut self.server_stream, &mut self.client_stream),
        };
        let (syn, fin, rst) = (flags.has(Flag::Syn), flags.has(Flag::Fin), flags.has(Flag::Rst));
        let acknowledges = flags.has(Flag::Ack);
        // Without a SYN, and without the other side's SYN that acknowledges it, nobody knows what came before.
        let mine_anywhere = stream.begin(seq, syn);
        let theirs_anywhere = acknowledges && other.begin_at(ack, syn);
        let relative = Segment {
            from,
            flags,
            seq: Some(stream.relative(seq)),
            ack: acknowledges.then(|| other.relative(ack)),
            octets: Some(carried),
        };
        let carrier = Carrier { number: self.segments, octets: carried };
        if let Some(follow) = &mut self.follow {
            if fin || rst {
                follow.flush(out);
            }
            let event = Event { at, kind: Kind::Tcp(TcpEvent::Segment(relative)) };
            let observed = Observed { event, role: None, body: None };
            let (first, last) = (carrier.number, carrier.number);
            let span = Some(Span { first, last, count: 1, octets: carried.into() });
            follow.say(What::Said { observed, span }, out);
        }
        let (mine, theirs) = match from {
            Side::Client => (Side::Client, Side::Server),
            Side::Server => (Side::Server, Side::Client),
        };
        if let Some(follow) = &mut self.follow {
            for (anywhere, side) in [(mine_anywhere, mine), (theirs_anywhere, theirs)] {
                if anywhere {
                    follow.begins_anywhere(side, out);
                }
            }
        }
        let seq = if syn { seq.wrapping_add(1) } else { seq };
        let ack = (acknowledges && !rst).then_some(ack);
        let effect = Effect { at, from, seq, ack, fin, carrier };
        // Octets that a RST carries say why, to people. Those of a session that nobody wants are not held back.
        let octets = if rst || self.follow.is_none() { None } else { Some(octets) };
        if self.late.is_empty() && !self.is_late(&effect) {
            self.apply(&effect, octets, out);
        } else {
            self.late_octets += octets.map_or(0, <[u8]>::len);
            self.late.push_back((effect, octets.map(<[u8]>::to_vec)));
            self.settle(out);
        }
        if rst {
            self.closed = true;
        }
    }

    /// Whether a segment acknowledges what has not come yet.
    fn is_late(&self, effect: &Effect) -> bool {
        let other = match effect.from {
            Side::Client => &self.server_stream,
            Side::Server => &self.client_stream,
        };
        effect.ack.is_some_and(|ack| other.lacks(ack))
    }

    /// Applies the late segments for which everything has come; and those for which nobody waits any longer.
    fn settle(&mut self, out: &mut Vec<Heard>) {
        while let Some((first, _)) = self.late.front() {
            let ready = self.late.iter().position(|(effect, _)| !self.is_late(effect));
            let waited = self.last.unwrap_or_default().saturating_sub(first.at.unwrap_or_default());
            let place = match ready {
                Some(place) => place,
                None if self.late.len() > LATE_MAX_SEGMENTS || waited > LATE_MAX => 0,
                None => return,
            };
            self.apply_late(place, out);
        }
    }

    /// Whether something waits for what it acknowledges, for [`LATE_MAX`] at most.
    pub(super) fn is_waiting(&self) -> bool {
        !self.late.is_empty()
    }

    /// What late segments wait for is lost.
    pub(super) fn give_up_late(&mut self, out: &mut Vec<Heard>) {
        while !self.late.is_empty() {
            self.apply_late(0, out);
        }
    }

    fn apply_late(&mut self, place: usize, out: &mut Vec<Heard>) {
        if let Some((effect, octets)) = self.late.remove(place) {
            self.late_octets -= octets.as_ref().map_or(0, Vec::len);
            self.apply(&effect, octets.as_deref(), out);
        }
    }

    /// What a segment means for both directions.
    fn apply(&mut self, effect: &Effect, octets: Option<&[u8]>, out: &mut Vec<Heard>) {
        let Effect { at, from, seq, ack, fin, carrier } = *effect;
        let (stream, other, theirs) = match from {
            Side::Client => (&mut self.client_stream, &mut self.server_stream, Side::Server),
            Side::Server => (&mut self.server_stream, &mut self.client_stream, Side::Client),
        };
        let mut hear = |side, part: Part<'_>| {
            if let Some(follow) = &mut self.follow {
                follow.part(side, at, part, out);
            }
        };
        if fin {
            stream.fin(seq, carrier.octets);
        }
        // What the other side is said to have sent comes before what this one says to it.
        if let Some(ack) = ack {
            other.acknowledged(ack, &mut |part| hear(theirs, part));
        }
        if let Some(octets) = octets {
            let captured = u32::try_from(octets.len()).unwrap_or(u32::MAX);
            let lacking = carrier.octets.saturating_sub(captured);
            stream.take(seq, octets, lacking, carrier, &mut |part| hear(from, part));
        }
        self.closed |= stream.has_ended() && other.has_ended();
    }

    /// What it holds costs so many octets.
    pub(super) fn cost_octets(&self) -> usize {
        let lines = self.follow.as_ref().map_or(0, Follow::held_octets);
        self.client_stream.waiting_octets() + self.server_stream.waiting_octets() + self.late_octets + lines
    }

    /// Nothing more comes; a session that has closed ends so, whatever the reason is.
    pub(super) fn end(mut self, ending: Ending, out: &mut Vec<Heard>) {
        self.give_up_late(out);
        let ending = if self.closed { Ending::Closed } else { ending };
        let Some(mut follow) = self.follow.take() else { return };
        for (side, stream) in
            [(Side::Server, &mut self.server_stream), (Side::Client, &mut self.client_stream)]
        {
            stream.finish(&mut |part| follow.part(side, self.last, part, out));
        }
        follow.finish(self.last, out);
        follow.say(What::End(ending), out);
    }
}

/// A time in words, such as `2005-04-01T07:56:00.123456Z`.
fn written(since_1970: Duration) -> Option<Box<str>> {
    let seconds = i64::try_from(since_1970.as_secs()).ok()?;
    let time = jiff::Timestamp::new(seconds, since_1970.subsec_nanos().cast_signed()).ok()?;
    Some(time.to_string().into())
}
