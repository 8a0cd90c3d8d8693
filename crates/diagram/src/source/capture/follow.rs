//! What both sides say, once their octets are in order: lines by the [`Recorder`], which removes the secrets; TLS records;
//! and what nobody can place. After octets that lack, and where a capture joins a session in its middle, `resync.rs`
//! says from which line on the session can be followed again.

use std::time::Duration;

use restante_proto::{
    dialogue::{Bodies, Kind, Observed, Piece, Recorder, Role, Side},
    verb::Verb,
};

use super::{
    echo::Said,
    resync::{self, Lost},
    span::Spanning,
    stream::{Carrier, Part},
    tls,
};
use crate::heard::{Heard, RecordKind, Records, What};

/// What a line in the making, and a command that waits for its reply, cost in memory at most or about.
const LINE_MAX_OCTETS: usize = 32 << 10;
const COMMAND_OCTETS: usize = 64;

/// Verbs that may be answered by a block.
const BLOCKS: [Verb; 6] = [Verb::Auth, Verb::Capa, Verb::List, Verb::Retr, Verb::Top, Verb::Uidl];

/// One session's ears.
pub(super) struct Follow {
    session: u32,
    start_max_octets: usize,
    recorder: Recorder,
    /// The session was joined, or something of it lacks: what cannot be followed is no fault of the server.
    doubtful: bool,
    /// What the client said of late.
    said: Said,
    /// The client said what the server may repeat.
    secret_said: bool,
    /// It cannot be followed now.
    lost: Option<Lost>,
    client: Half,
    server: Half,
    /// The server is in the middle of a message.
    message: Option<Message>,
    /// The line from which on it was followed again proved no login, and no login was heard since.
    unproven: bool,
    /// The server's last line ended an answer.
    answered: bool,
    /// How many commands wait for their replies.
    unanswered: usize,
    /// What is merged with what follows it, if that is of the same kind.
    run: Option<Run>,
    /// What the recorder has seen, emptied after each call.
    seen: Vec<Observed>,
}

/// What concerns one side.
#[derive(Default)]
struct Half {
    /// It speaks TLS.
    tls: Option<tls::Reader>,
    /// Where the line, or the message, began that is not whole yet.
    begun: Option<Spanning>,
    /// How many octets of it came.
    begun_octets: usize,
}

/// A message that comes in.
#[derive(Clone, Copy, Debug)]
struct Message {
    /// How long the server said it is.
    announced: Option<u64>,
    /// How many octets came at most.
    passed: u64,
    /// Some of them lack.
    holed: bool,
}

struct Run {
    at: Option<Duration>,
    from: Side,
    span: Spanning,
    octets: u64,
    /// `None`: nobody can place them.
    records: Option<(RecordKind, u32)>,
}

impl Follow {
    /// Ears of a session whose beginning is heard, or that is joined in its middle.
    pub(super) fn new(session: u32, start_max_octets: usize, joined: bool) -> Self {
        Self {
            session,
            start_max_octets,
            recorder: Recorder::new(Bodies::Elided).with_starts(start_max_octets),
            doubtful: joined,
            said: Said::default(),
            secret_said: joined,
            lost: joined.then(Lost::default),
            client: Half::default(),
            server: Half::default(),
            message: None,
            unproven: false,
            answered: false,
            unanswered: 0,
            run: None,
            seen: Vec::new(),
        }
    }

    /// What is held costs about so many octets.
    pub(super) fn held_octets(&self) -> usize {
        let line = |half: &Half| half.begun_octets.min(LINE_MAX_OCTETS);
        line(&self.client) + line(&self.server) + self.unanswered * COMMAND_OCTETS
    }

    /// Takes what one side sent next.
    pub(super) fn part(&mut self, from: Side, at: Option<Duration>, part: Part<'_>, out: &mut Vec<Heard>) {
        match part {
            Part::Octets(octets, carrier) => self.octets(from, at, octets, carrier, out),
            Part::Lacking(octets) => self.lacking(from, at, octets, out),
        }
    }

    const fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn octets(
        &mut self,
        from: Side,
        at: Option<Duration>,
        octets: &[u8],
        carrier: Carrier,
        out: &mut Vec<Heard>,
    ) {
        if self.half(from).tls.is_some() {
            return self.records(from, at, octets, carrier, out);
        }
        if from == Side::Client {
            self.said.push(octets);
        }
        if self.lost.is_some() {
            return self.search(from, at, octets, carrier, out);
        }
        if from == Side::Client && self.unanswered == 0 {
            self.catch_up(octets, out);
        }
        // A client begins TLS where a line would begin, and then the server does.
        let begins: fn(&[u8]) -> bool = match from {
            Side::Client => tls::begins_hello,
            Side::Server if self.client.tls.is_some() => tls::begins_record,
            Side::Server => return self.lines(from, at, octets, carrier, out),
        };
        let mut rest = octets;
        while !rest.is_empty() {
            if !self.recorder.in_line(from) && begins(rest) {
                self.half(from).tls = Some(tls::Reader::default());
                return self.records(from, at, rest, carrier, out);
            }
            if from == Side::Client && memchr::memchr(tls::HANDSHAKE, rest).is_none() {
                return self.lines(from, at, rest, carrier, out);
            }
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let (line, behind) = rest.split_at(end);
            self.lines(from, at, line, carrier, out);
            rest = behind;
            if self.lost.is_some() {
                return self.search(from, at, rest, carrier, out);
            }
        }
    }

    /// Everything was answered, and the client has something new to say: that may tell more than was known.
    fn catch_up(&mut self, octets: &[u8], out: &mut Vec<Heard>) {
        let in_line = self.recorder.in_line(Side::Client) || self.recorder.in_line(Side::Server);
        let over = self.message.is_some_and(|message| message.holed);
        let proven = || resync::proof(octets).is_some_and(|found| found.logged_in);
        if over {
            // For the client the message is over: its end was in a hole.
            self.end_lines(out);
            (self.message, self.server.begun, self.server.begun_octets) = (None, None, 0);
        } else if !self.unproven || !self.answered || in_line || !proven() {
            return;
        }
        self.recorder = Recorder::resumed(Bodies::Elided, true).with_starts(self.start_max_octets);
        self.said.tell(&mut self.recorder);
        self.unproven = false;
    }

    /// Lines, which the recorder makes of octets.
    fn lines(
        &mut self,
        from: Side,
        at: Option<Duration>,
        octets: &[u8],
        carrier: Carrier,
        out: &mut Vec<Heard>,
    ) {
        self.flush(out);
        let mut begun = self.half(from).begun.take();
        if let Some(begun) = &mut begun {
            begun.add(carrier);
        }
        let mut seen = std::mem::take(&mut self.seen);
        self.recorder.observe(from, at, octets, &mut seen);
        let whole = !seen.is_empty();
        if let (Some(message), Side::Server) = (&mut self.message, from) {
            message.passed += octets.len() as u64;
        }
        let mut opens_message = false;
        for observed in seen.drain(..) {
            // A client that spoke first, in secret: the greeting may be its answer.
            let echoes = self.secret_said && observed.role == Some(Role::Greeting);
            if echoes || (self.doubtful && matches!(observed.role, Some(Role::Unknown | Role::Unasked))) {
                // What lacks told the two sides apart; the recorder would only guess from here on.
                self.lose(None, out);
                break;
            }
            opens_message = self.note(&observed, octets.len());
            let span = begun.take().unwrap_or_else(|| Spanning::new(carrier));
            if let Some(octets) = self.echo(&observed) {
                self.unplaced(from, at, octets, span, out);
                continue;
            }
            self.flush(out);
            self.say(What::Said { observed, span: Some(span.span()) }, out);
        }
        seen.clear();
        self.seen = seen;
        if self.lost.is_some() {
            return self.search(from, at, octets, carrier, out);
        }
        // A message begins behind its reply: whether something of it came already, the last line tells.
        let ends_in_reply = opens_message && last_line(octets).is_some_and(|line| line.starts_with(b"+OK"));
        if let (Some(message), true) = (&mut self.message, ends_in_reply) {
            message.passed = 0;
        }
        let in_message = from == Side::Server && self.message.is_some() && !ends_in_reply;
        let (in_line, fresh) = (self.recorder.in_line(from), Spanning::new(carrier));
        let half = self.half(from);
        if in_line || in_message {
            half.begun = if whole { Some(fresh) } else { begun.or(Some(fresh)) };
            half.begun_octets = if whole { octets.len() } else { half.begun_octets + octets.len() };
        } else {
            half.begun_octets = 0;
        }
    }

    /// The length of a reply that repeats what the client said, where nobody knows what it answers: the recorder looks for
    /// the secrets of the command that it answers.
    fn echo(&self, observed: &Observed) -> Option<u64> {
        let Kind::Server(line) = &observed.event.kind else { return None };
        let unclear = match observed.role {
            Some(Role::Message | Role::End) => return None,
            Some(Role::Listing) => false,
            Some(Role::Unasked) => true,
            _ => self.doubtful,
        };
        let repeats = |octets: &Vec<u8>| match unclear {
            true => self.said.is_in(octets),
            false => self.secret_said && self.said.is_plainly_in(octets),
        };
        let octets = line.octets().filter(repeats)?;
        Some(octets.len() as u64)
    }

    /// Follows commands, replies and messages, as far as it is needed here; tells whether a message begins.
    fn note(&mut self, observed: &Observed, octets: usize) -> bool {
        self.secret_said |= says_secret(observed);
        // Of a reply that a block may follow, its end is waited for.
        self.answered = match observed.role {
            Some(Role::End) => true,
            Some(Role::Reply { to, ok }) => !(ok && to.is_none_or(|verb| BLOCKS.contains(&verb))),
            _ => false,
        };
        match observed.role {
            Some(Role::Command { .. }) => self.unanswered += 1,
            Some(Role::Challenge { responded: true }) => self.unanswered = self.unanswered.saturating_sub(1),
            Some(Role::Reply { to, ok }) => {
                self.unanswered = self.unanswered.saturating_sub(1);
                self.unproven &= !(ok && matches!(to, Some(Verb::Pass | Verb::Apop | Verb::Auth)));
                if ok && to == Some(Verb::Stls) {
                    self.unanswered = 0;
                }
                if ok && matches!(to, Some(Verb::Retr | Verb::Top)) {
                    let announced = announced(observed).filter(|_| to == Some(Verb::Retr));
                    self.message = Some(Message { announced, passed: octets as u64, holed: false });
                    return true;
                }
            }
            Some(Role::Message) => self.message = None,
            _ => {}
        }
        false
    }

    /// Octets that came while nothing could be followed.
    fn search(
        &mut self,
        from: Side,
        at: Option<Duration>,
        octets: &[u8],
        carrier: Carrier,
        out: &mut Vec<Heard>,
    ) {
        if octets.is_empty() {
            return;
        }
        if tls::is_record(octets) {
            self.half(from).tls = Some(tls::Reader::default());
            return self.records(from, at, octets, carrier, out);
        }
        let Some(lost) = &mut self.lost else { return };
        let found = match from {
            Side::Client => lost.client(octets),
            Side::Server => lost.server(octets),
        };
        if let Some(resync::Found { logged_in }) = found {
            self.lost = None;
            (self.unproven, self.answered) = (!logged_in, false);
            self.recorder = Recorder::resumed(Bodies::Elided, logged_in).with_starts(self.start_max_octets);
            self.said.tell(&mut self.recorder);
            return self.lines(from, at, octets, carrier, out);
        }
        self.unplaced(from, at, octets.len() as u64, Spanning::new(carrier), out);
    }

    /// Where this side's octets begin is not known: what came before may not have been captured.
    pub(super) fn begins_anywhere(&mut self, side: Side, out: &mut Vec<Heard>) {
        (self.doubtful, self.secret_said) = (true, true);
        self.lose(Some(side), out);
    }

    /// So many octets of one side are not in the capture.
    fn lacking(&mut self, from: Side, at: Option<Duration>, octets: u64, out: &mut Vec<Heard>) {
        let missing = What::Missing { at, from, octets };
        if let Some(mut reader) = self.half(from).tls.take() {
            reader.lacking(octets, &mut |heard| self.heard(from, at, heard, out));
            self.half(from).tls = Some(reader);
            self.flush(out);
            return self.say(missing, out);
        }
        self.flush(out);
        (self.doubtful, self.secret_said) = (true, true);
        // Surely inside the message: its end is still to come.
        let inside = self.message.as_mut().filter(|_| from == Side::Server && self.lost.is_none());
        if let Some(message) = inside {
            message.passed = message.passed.saturating_add(octets);
            message.holed = true;
            let (announced, passed) = (message.announced.unwrap_or(0), message.passed);
            if passed <= announced {
                // Where the message is over, so is its last line: the `.` line comes next, and must be seen as one.
                let line_end = if passed == announced && octets >= 2 { &b"\r\n"[..] } else { b"" };
                self.recorder.left_out(at, octets - line_end.len() as u64);
                self.recorder.observe(Side::Server, at, line_end, &mut self.seen);
                return self.say(missing, out);
            }
        }
        self.lose(Some(from), out);
        self.say(missing, out);
    }

    /// From here on the session cannot be followed, until it can be again; octets of this side lack.
    fn lose(&mut self, lacking: Option<Side>, out: &mut Vec<Heard>) {
        let mut lost = self.lost.take().unwrap_or_else(|| {
            let server_line_begins = !self.recorder.in_line(Side::Server) && self.message.is_none();
            let lost = Lost::new(!self.recorder.in_line(Side::Client), server_line_begins);
            self.end_lines(out);
            lost
        });
        lost.lacking(lacking);
        self.lost = Some(lost);
        (self.message, self.unanswered) = (None, 0);
        for side in [Side::Client, Side::Server] {
            let half = self.half(side);
            (half.begun, half.begun_octets) = (None, 0);
        }
    }

    /// Tells what is left of lines and messages that are not whole.
    fn end_lines(&mut self, out: &mut Vec<Heard>) {
        let mut seen = std::mem::take(&mut self.seen);
        self.recorder.observe_end(&mut seen);
        for observed in seen.drain(..) {
            let from =
                if matches!(observed.event.kind, Kind::Client(_)) { Side::Client } else { Side::Server };
            let half = self.half(from);
            let (begun, octets) = (half.begun.take(), half.begun_octets as u64);
            self.secret_said |= says_secret(&observed);
            if matches!(observed.event.kind, Kind::Server(_)) && self.secret_said {
                // Half a line may end in half a secret, which nobody recognises.
                let (at, span) = (observed.event.at, begun.map(|begun| begun.span()));
                if octets > 0 {
                    self.say(What::Unplaced { at, from, octets, span }, out);
                }
                continue;
            }
            self.say(What::Said { observed, span: begun.map(|begun| begun.span()) }, out);
        }
        self.seen = seen;
    }

    fn records(
        &mut self,
        from: Side,
        at: Option<Duration>,
        octets: &[u8],
        carrier: Carrier,
        out: &mut Vec<Heard>,
    ) {
        let Some(mut reader) = self.half(from).tls.take() else { return };
        reader.push(at, octets, carrier, &mut |heard| self.heard(from, at, heard, out));
        self.half(from).tls = Some(reader);
    }

    fn heard(&mut self, from: Side, at: Option<Duration>, heard: tls::Heard, out: &mut Vec<Heard>) {
        match heard {
            tls::Heard::Record(record) => {
                let tls::Record { at, kind, count, octets, span } = record;
                self.join(Run { at, from, span, octets, records: Some((kind, count)) }, out);
            }
            tls::Heard::Unplaced(octets, span) => {
                if self.lost.is_none() {
                    // It looked like TLS. What the other side says in clear may repeat it.
                    self.secret_said = true;
                    self.lose(Some(from), out);
                }
                self.unplaced(from, at, octets, span, out);
            }
        }
    }

    fn unplaced(
        &mut self,
        from: Side,
        at: Option<Duration>,
        octets: u64,
        span: Spanning,
        out: &mut Vec<Heard>,
    ) {
        self.join(Run { at, from, span, octets, records: None }, out);
    }

    /// Joins what came to what came before it, where both are of one side and of one kind.
    fn join(&mut self, next: Run, out: &mut Vec<Heard>) {
        let kind = |run: &Run| run.records.as_ref().map(|(kind, _)| std::mem::discriminant(kind));
        if let Some(run) = self.run.as_mut().filter(|run| run.from == next.from && kind(run) == kind(&next)) {
            let merges = match (&mut run.records, &next.records) {
                (None, None) => true,
                // Hellos are told one by one, for what they say; alerts and messages only if they have the same name.
                (Some((RecordKind::ClientHello(_) | RecordKind::ServerHello(_), _)), _) => false,
                (Some((kind, count)), Some((next_kind, next_count))) if kind == next_kind => {
                    *count = count.saturating_add(*next_count);
                    true
                }
                _ => false,
            };
            if merges {
                run.octets += next.octets;
                run.span.append(&next.span);
                return;
            }
        }
        self.flush(out);
        self.run = Some(next);
    }

    /// Tells what was merged so far.
    pub(super) fn flush(&mut self, out: &mut Vec<Heard>) {
        let Some(Run { at, from, span, octets, records }) = self.run.take() else { return };
        let span = Some(span.span());
        self.say(
            match records {
                None => What::Unplaced { at, from, octets, span },
                Some((kind, count)) => What::Records(Records { at, from, kind, count, octets, span }),
            },
            out,
        );
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self, at: Option<Duration>, out: &mut Vec<Heard>) {
        for side in [Side::Client, Side::Server] {
            if let Some(mut reader) = self.half(side).tls.take() {
                reader.finish(&mut |heard| self.heard(side, at, heard, out));
            }
        }
        self.flush(out);
        self.end_lines(out);
    }

    /// Says something of this session.
    pub(super) fn say(&self, what: What, out: &mut Vec<Heard>) {
        out.push(Heard { session: self.session, what });
    }
}

/// Whether something of a client's line was taken out.
fn says_secret(observed: &Observed) -> bool {
    matches!(&observed.event.kind, Kind::Client(line) if line.pieces().contains(&Piece::Secret))
}

/// How long the server says that a message is: the first number behind `+OK`.
fn announced(observed: &Observed) -> Option<u64> {
    let Kind::Server(line) = &observed.event.kind else { return None };
    let octets = line.octets()?;
    let text = std::str::from_utf8(&octets).ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The last line that ends in these octets; `None` where they do not end with a line.
pub(super) fn last_line(octets: &[u8]) -> Option<&[u8]> {
    let content = octets.strip_suffix(b"\n")?;
    let start = memchr::memrchr(b'\n', content).map_or(0, |end| end + 1);
    octets.get(start..)
}
