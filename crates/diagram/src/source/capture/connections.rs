//! Which segment belongs to which session, and which connections are POP3 at all: by the server's port, or because the
//! server speaks first and says `+OK` or `-ERR`. All others are forgotten quickly. What is kept of sessions is bounded.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use restante_proto::dialogue::Flag;

use super::{
    Options,
    packet::Segment,
    resync::is_status,
    session::{Birth, LATE_MAX, Outline, Session},
};
use crate::heard::{Ending, Heard};

/// Ports of POP3 servers, with and without TLS: the assigned ones, and those of a server that may not have these.
const PORTS: [u16; 4] = [110, 995, 1110, 1995];
/// The most sessions that are open at once.
const SESSIONS_MAX: usize = 4096;
/// What all sessions hold back at most, in octets.
const HELD_MAX_OCTETS: usize = 64 << 20;
/// How many connections are remembered that are no POP3, or not yet known: twice so many at most.
const OTHERS_MAX: usize = 16 << 10;
/// How many segments may pass before a server on an unknown port has spoken.
const UNDECIDED_MAX_SEGMENTS: usize = 8;
/// How long a closed session is kept for stragglers, such as a FIN that is sent again, in the time of the capture.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// Both ends of a connection, the lower one first.
type Key = (SocketAddr, SocketAddr);

/// Sessions by their numbers, with the time at which something is due.
type Due = VecDeque<(Duration, Key, u32)>;

/// All connections of a capture.
pub(super) struct Connections {
    options: Options,
    open: HashMap<Key, Session>,
    /// The open ones, in the order in which they are looked at when one of them must go.
    order: VecDeque<(Key, u32)>,
    /// Those that closed, in that order, with the time at which they go.
    closing: Due,
    /// Those that wait for a segment that may only be late, in the same way.
    waiting: Due,
    others: Others,
    sessions: u32,
    /// What all sessions hold.
    held_octets: usize,
    /// The latest time of the capture.
    now: Duration,
}

/// Connections that are no sessions: two generations, of which the older one is forgotten when the younger one is full.
#[derive(Default)]
struct Others {
    young: HashMap<Key, Other>,
    old: HashMap<Key, Other>,
}

enum Other {
    /// No POP3, or a session that is over.
    Ignored,
    /// The server has not spoken yet; these are the segments so far. They carry nothing.
    Undecided(Vec<Outline>),
}

impl Others {
    fn get_mut(&mut self, key: &Key) -> Option<&mut Other> {
        self.young.get_mut(key).or_else(|| self.old.get_mut(key))
    }

    fn remove(&mut self, key: &Key) {
        self.young.remove(key);
        self.old.remove(key);
    }

    fn put(&mut self, key: Key, other: Other) {
        self.old.remove(&key);
        if self.young.len() >= OTHERS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, other);
    }
}

impl Connections {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            open: HashMap::new(),
            order: VecDeque::new(),
            closing: VecDeque::new(),
            waiting: VecDeque::new(),
            others: Others::default(),
            sessions: 0,
            held_octets: 0,
            now: Duration::ZERO,
        }
    }

    /// How many sessions were numbered.
    pub(super) const fn sessions(&self) -> u32 {
        self.sessions
    }

    /// Time goes on.
    pub(super) fn pass(&mut self, at: Option<Duration>, out: &mut Vec<Heard>) {
        self.now = self.now.max(at.unwrap_or_default());
        while let Some((key, number)) = due(&mut self.waiting, self.now) {
            if let Some(session) = self.open.get_mut(&key).filter(|session| session.number == number) {
                let was_closed = session.is_closed();
                session.give_up_late(out);
                self.settle(&key, was_closed, true, out);
            }
        }
        while let Some((key, number)) = due(&mut self.closing, self.now) {
            if self.open.get(&key).is_some_and(|session| session.number == number) {
                self.close(&key, Ending::Closed, out);
                self.others.put(key, Other::Ignored);
            }
        }
    }

    /// Sees to what a session has become: closed, or waiting, and what it holds.
    fn settle(&mut self, key: &Key, was_closed: bool, was_waiting: bool, out: &mut Vec<Heard>) {
        let Some(session) = self.open.get_mut(key) else { return };
        if session.is_closed() && !was_closed {
            self.closing.push_back((self.now + STRAGGLERS, *key, session.number));
        }
        if session.is_waiting() && !was_waiting {
            self.waiting.push_back((self.now + LATE_MAX, *key, session.number));
        }
        let held = session.cost_octets();
        self.held_octets = self.held_octets + held - std::mem::replace(&mut session.held_octets, held);
        while self.held_octets > HELD_MAX_OCTETS {
            self.make_room(out);
        }
    }

    /// Takes the next segment.
    pub(super) fn segment(&mut self, at: Option<Duration>, segment: &Segment<'_>, out: &mut Vec<Heard>) {
        let (source, destination) = (segment.source, segment.destination);
        let key = if source <= destination { (source, destination) } else { (destination, source) };
        let outline = Outline::of(segment, at);
        if let Some(session) = self.open.get_mut(&key) {
            if !session.is_over(&outline) {
                let (was_closed, was_waiting) = (session.is_closed(), session.is_waiting());
                session.segment(&outline, segment.octets, out);
                self.settle(&key, was_closed, was_waiting, out);
                return;
            }
            self.close(&key, Ending::Idle, out);
        }
        let opens = segment.flags.has(Flag::Syn) && !segment.flags.has(Flag::Ack);
        if !opens {
            match self.others.get_mut(&key) {
                Some(Other::Ignored) => return,
                Some(Other::Undecided(before)) => {
                    let Some(first) = before.first() else { return };
                    let server = first.destination;
                    if segment.octets.is_empty() && before.len() < UNDECIDED_MAX_SEGMENTS {
                        before.push(outline);
                    } else if source == server && is_status(segment.octets) {
                        let mut all = std::mem::take(before);
                        self.others.remove(&key);
                        all.push(outline);
                        self.begin(key, (destination, server), &all, segment.octets, out);
                    } else {
                        self.others.put(key, Other::Ignored);
                    }
                    return;
                }
                None => {}
            }
        }
        match self.server(segment, opens) {
            Some(server) => {
                let client = if server == source { destination } else { source };
                self.others.remove(&key);
                self.begin(key, (client, server), &[outline], segment.octets, out);
            }
            None if opens => self.others.put(key, Other::Undecided(vec![outline])),
            None => self.others.put(key, Other::Ignored),
        }
    }

    /// Who is the server, if that can be told of the first segment.
    fn server(&self, segment: &Segment<'_>, opens: bool) -> Option<SocketAddr> {
        let Segment { source, destination, octets, flags, .. } = *segment;
        let known = |end: SocketAddr| PORTS.contains(&end.port()) || self.options.ports.contains(&end.port());
        if opens {
            return known(destination).then_some(destination);
        }
        if flags.has(Flag::Syn) {
            return known(source).then_some(source);
        }
        match (known(source), known(destination)) {
            (true, true) if is_status(octets) => Some(source),
            (_, true) => Some(destination),
            (true, false) => Some(source),
            (false, false) => is_status(octets).then_some(source),
        }
    }

    fn begin(
        &mut self,
        key: Key,
        (client, server): (SocketAddr, SocketAddr),
        segments: &[Outline],
        octets: &[u8],
        out: &mut Vec<Heard>,
    ) {
        let Some((last, before)) = segments.split_last() else { return };
        while self.open.len() >= SESSIONS_MAX {
            self.make_room(out);
        }
        self.sessions = self.sessions.saturating_add(1);
        let first = before.first().unwrap_or(last);
        let birth = Birth {
            number: self.sessions,
            client,
            server,
            started: first.at,
            // With the server's SYN alone every octet is heard.
            joined: !first.flags.has(Flag::Syn),
            wanted: self.options.only.is_none_or(|only| only == self.sessions),
            start_max_octets: self.options.body_start_max_octets,
        };
        let mut session = Session::new(birth, out);
        for outline in before {
            session.segment(outline, &[], out);
        }
        session.segment(last, octets, out);
        if self.order.len() >= 2 * SESSIONS_MAX {
            let open = &self.open;
            self.order.retain(|(key, number)| open.get(key).is_some_and(|session| session.number == *number));
        }
        self.order.push_back((key, session.number));
        self.open.insert(key, session);
        self.settle(&key, false, false, out);
    }

    /// Ends the session that was idle for longest, or nearly so: each that was heard since the last time is spared once.
    fn make_room(&mut self, out: &mut Vec<Heard>) {
        while let Some((key, number)) = self.order.pop_front() {
            match self.open.get_mut(&key) {
                Some(session) if session.number != number => {}
                Some(session) if session.touched => {
                    session.touched = false;
                    self.order.push_back((key, number));
                }
                Some(_) => return self.close(&key, Ending::Idle, out),
                None => {}
            }
        }
    }

    fn close(&mut self, key: &Key, ending: Ending, out: &mut Vec<Heard>) {
        if let Some(session) = self.open.remove(key) {
            self.held_octets -= session.held_octets;
            session.end(ending, out);
        }
    }

    /// The capture has ended.
    pub(super) fn end(&mut self, out: &mut Vec<Heard>) {
        let mut left: Vec<_> = self.open.drain().map(|(_, session)| session).collect();
        left.sort_unstable_by_key(|session| session.number);
        for session in left {
            session.end(Ending::Source, out);
        }
        self.order.clear();
        self.closing.clear();
        self.waiting.clear();
        self.held_octets = 0;
    }
}

/// The next session for which it is time, or for which there is no room: a capture may have no times.
fn due(all: &mut Due, now: Duration) -> Option<(Key, u32)> {
    let crowded = all.len() > SESSIONS_MAX;
    let (_, key, number) = all.pop_front_if(|(until, ..)| crowded || *until <= now)?;
    Some((key, number))
}
