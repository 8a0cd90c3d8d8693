//! What was [heard](crate::heard) of a session → [rows](crate::row): the session is followed command by command, each step
//! is explained, and what is wrong in it is named. Nothing is drawn here, and no input is read.

mod ending;
mod lines;
mod order;
mod remarks;
mod server;
mod tcp;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use restante_proto::{
    dialogue::{Kind as Event, Observed, Segment, Side, TcpEvent, TlsEvent},
    explain::Explanation,
    phase::Phase,
    verb::Verb,
};

use self::{order::Order, remarks::Fields, tcp::Tcp};
use crate::{
    anomaly::Anomaly,
    fold::{Fold, Step, Topic},
    heard::{Ending, Opening, RecordKind, Records, Span, What},
    names::Names,
    row::{About, Finding, PASSED_MAX, Passed, Remark, Row, RowKind, Summary},
    words,
};

/// What a tracer may do as it likes it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// A step that takes longer is slow.
    pub(crate) slow: Duration,
    /// Whether a client's step can be slow too.
    pub(crate) slow_client: bool,
    /// Whether runs of the same steps are folded.
    pub(crate) fold: bool,
    /// Whether names of users and addresses are hidden.
    pub(crate) hide_names: bool,
    /// How many lines a listing may have to be shown whole.
    pub(crate) listing_max_lines: usize,
    /// How many lines are shown of a longer one.
    pub(crate) listing_start_lines: usize,
    /// How many lines of a message are shown.
    pub(crate) message_max_lines: usize,
}

/// How many commands may wait for their answers.
const EXCHANGES_MAX: usize = 1 << 16;
/// A shorter wait is not shared out: it would be read as more exact than it is.
const SHARED_FROM: Duration = Duration::from_millis(1);
/// A server that closes after so long a silence does so by its timer.
const SILENCE: Duration = Duration::from_secs(30);
/// How many sizes and marks of messages are remembered.
const MESSAGES_MAX: usize = 1 << 20;

/// One session on its way into rows.
#[derive(Debug)]
pub(crate) struct Trace {
    settings: Settings,
    summary: Summary,
    names: Names,
    tcp: Tcp,
    order: Order,
    fold: Fold,
    /// The time and number of the row that was given out last.
    given: (Option<Duration>, u64),
    last_at: Option<Duration>,
    first_at: Option<Duration>,
    phase: Option<Phase>,
    /// It was told to who came in its midst: AUTHORIZATION, and whether a name was given nobody heard.
    phase_guessed: bool,
    exchanges: VecDeque<Exchange>,
    block: Option<Block>,
    /// The mechanism of the SASL exchange that is under way.
    mechanism: Option<String>,
    named: Option<String>,
    tls: bool,
    stls: Stls,
    stls_refused: bool,
    clear_told: bool,
    marks: BTreeSet<u32>,
    /// How many more were marked whose numbers are not shown: they were named before the login was answered.
    hidden_marks: u64,
    sizes: BTreeMap<u32, u64>,
    quit: Quit,
    unknown_told: bool,
    /// What is said once in a session: what a pure ACK is, and what encrypted records are.
    ack_told: bool,
    encrypted_told: bool,
    /// Something was not heard, or could not be followed: what was not said cannot be told.
    unsure: bool,
    /// TLS is seen from outside only.
    seen_outside: bool,
    /// When each side said its last word.
    spoke: [Option<Duration>; 2],
    /// The segment in which each side's last row ends.
    told: [u32; 2],
    /// A FIN that came with octets: it is told behind them.
    fin_due: Option<(u32, Side)>,
    closed: [bool; 2],
    /// When the command that is answered now had been said.
    answered_since: Option<Duration>,
    /// The state behind the row that is told now.
    next_phase: Option<Option<Phase>>,
}

/// A command that waits for its answer.
#[derive(Clone, Debug, Default)]
struct Exchange {
    verb: Option<Verb>,
    explanation: Option<&'static Explanation>,
    topic: Option<Topic>,
    fields: Fields,
    /// When all of it had passed.
    said: Option<Duration>,
    mechanism: Option<String>,
}

/// The lines of an answer that are under way.
#[derive(Debug)]
struct Block {
    of: Exchange,
    /// How many octets the status line announced.
    announced: Option<u64>,
    at: Option<Duration>,
    span: Option<Span>,
    lines: Vec<String>,
    count: u64,
    bare_lf: u64,
    findings: Vec<Finding>,
    message: bool,
    /// Its final dot came.
    whole: bool,
}

impl Block {
    const fn of(of: Exchange) -> Self {
        Self {
            of,
            announced: None,
            at: None,
            span: None,
            lines: Vec::new(),
            count: 0,
            bare_lf: 0,
            findings: Vec::new(),
            message: false,
            whole: false,
        }
    }
}

/// How far STLS is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stls {
    Off,
    Asked,
    Granted,
}

/// How far QUIT is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quit {
    Unsaid,
    Said,
    Done,
    Refused,
}

const fn place(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}

/// What a row is made of before its time, its number and its segments are known.
struct Draft {
    kind: RowKind,
    from: Option<Side>,
    label: String,
    lines: Vec<String>,
    lines_left_out: u64,
    remark: Option<Remark>,
    findings: Vec<Finding>,
    topic: Option<Topic>,
    message_octets: Option<u64>,
    /// How long this side was waited for.
    wait: Option<Duration>,
    /// How long after its command an answer was over.
    elapsed: Option<Duration>,
}

impl Draft {
    const fn new(kind: RowKind, from: Option<Side>, label: String) -> Self {
        Self {
            kind,
            from,
            label,
            lines: Vec::new(),
            lines_left_out: 0,
            remark: None,
            findings: Vec::new(),
            topic: None,
            message_octets: None,
            wait: None,
            elapsed: None,
        }
    }

    fn remark(mut self, remark: Remark) -> Self {
        self.remark = Some(remark);
        self
    }

    fn find(&mut self, anomaly: Anomaly, text: impl Into<String>) {
        self.findings.push(Finding { anomaly, text: text.into() });
    }
}

impl Trace {
    pub(crate) fn new(number: u32, opening: Opening, settings: Settings) -> Self {
        let names = Names::new(settings.hide_names);
        let mut opening = opening;
        if settings.hide_names {
            opening.client = opening.client.map(|_| "client".into());
            opening.server = opening.server.map(|_| "server".into());
            // It was written before anybody's name was known.
            opening.title = None;
        }
        Self {
            settings,
            phase: opening.phase,
            phase_guessed: opening.joined,
            summary: Summary { number, opening, ..Summary::default() },
            names,
            tcp: Tcp::default(),
            order: Order::default(),
            fold: Fold::default(),
            given: (None, 0),
            last_at: None,
            first_at: None,
            exchanges: VecDeque::new(),
            block: None,
            mechanism: None,
            named: None,
            tls: false,
            stls: Stls::Off,
            stls_refused: false,
            clear_told: false,
            marks: BTreeSet::new(),
            hidden_marks: 0,
            sizes: BTreeMap::new(),
            quit: Quit::Unsaid,
            unknown_told: false,
            ack_told: false,
            encrypted_told: false,
            unsure: false,
            seen_outside: false,
            spoke: [None; 2],
            told: [0; 2],
            fin_due: None,
            closed: [false; 2],
            answered_since: None,
            next_phase: None,
        }
    }

    /// The session in figures, as far as it went.
    pub(crate) const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Takes what was heard next, and appends the rows that may be drawn.
    pub(crate) fn heard(&mut self, what: What, rows: &mut Vec<Row>) {
        match what {
            What::Begin(_) => {}
            What::Said { observed, span } => self.said(observed, span, rows),
            What::Records(records) => self.records(records, rows),
            What::Missing { at, from, octets } => self.missing(at, from, octets, rows),
            What::Unplaced { at, from, octets, span } => {
                self.unsure = true;
                let label = format!("{} of something that began earlier", words::count(octets, "octet"));
                let mut draft = Draft::new(RowKind::Note, Some(from), label);
                if !self.unknown_told {
                    self.unknown_told = true;
                    let text = "What came before was not heard, so nobody can tell what this is, and nothing of it is shown.";
                    draft.remark = Some(remarks::remark(text, None));
                }
                self.row(at, draft, span, rows);
            }
            What::End(ending) => self.end(ending, rows),
        }
    }

    /// Gives out what is held back, since nothing comes for the moment.
    pub(crate) fn idle(&mut self, rows: &mut Vec<Row>) {
        let mut steps = Vec::new();
        self.order.flush(&mut steps);
        self.give(steps, rows);
        let mut held = Vec::new();
        self.fold.flush(&mut held);
        self.number(held, rows);
    }

    fn said(&mut self, observed: Observed, span: Option<Span>, rows: &mut Vec<Row>) {
        let Observed { event, role, body } = observed;
        let at = event.at;
        let span = |from| span.or_else(|| self.tcp.last_carrying(from));
        match event.kind {
            Event::Tcp(TcpEvent::Segment(segment)) => self.segment(at, segment, rows),
            Event::Tcp(TcpEvent::Connect) => {
                let text = "The TCP connection stands: the handshake is over.";
                let draft = Draft::new(RowKind::Note, None, "TCP connection".to_owned());
                self.row(at, draft.remark(remarks::remark(text, Some("RFC 9293 §3.5"))), None, rows);
            }
            Event::Tcp(TcpEvent::Timeout) => {
                let text = "Nothing came in the time that was given.";
                let draft = Draft::new(RowKind::Note, None, "time-out".to_owned());
                self.row(at, draft.remark(remarks::remark(text, None)), None, rows);
            }
            Event::Tls(event) => self.tls(at, &event, rows),
            Event::Client(line) => {
                let span = span(Side::Client);
                self.client_line(at, &line, role, span, rows);
            }
            Event::Server(line) => {
                let span = span(Side::Server);
                self.server_line(at, &line, role, span, rows);
            }
            Event::Body { octets } => {
                let span = span(Side::Server);
                self.message(at, octets, body, span, rows);
            }
            // Only in dialogues that somebody wrote: what the lines are is left open.
            Event::Lines => {
                if let Some(block) = &mut self.block {
                    block.lines.push("(any lines)".to_owned());
                    block.at = block.at.or(at);
                    block.count += 1;
                }
            }
        }
    }

    fn segment(&mut self, at: Option<Duration>, segment: Segment, rows: &mut Vec<Row>) {
        use restante_proto::dialogue::Flag;
        self.pass(at);
        let completes = self.tcp.is_shaking_hands();
        let kind = self.tcp.passed(at, segment);
        let completes = completes && !self.tcp.is_shaking_hands();
        // A program that sees no segments writes FIN and RST for what it sees.
        self.summary.segments += u64::from(segment.seq.is_some() || segment.octets.is_some());
        if !self.settings.fold && self.summary.passed.len() < PASSED_MAX {
            self.summary.passed.push(Passed { at, segment });
        }
        let number = self.tcp.count;
        let fin = segment.flags.has(Flag::Fin);
        match kind {
            tcp::Kind::Carries => {
                if fin {
                    self.fin_due = Some((number, segment.from));
                }
                return;
            }
            // It is told with the message that it is a part of.
            tcp::Kind::Again if self.block.as_ref().is_some_and(|block| block.message) => return,
            _ => {}
        }
        let octets = segment.octets.unwrap_or(0).into();
        let span = Span { first: number, last: number, count: 1, octets };
        let mut draft = Draft::new(RowKind::Segment, Some(segment.from), tcp::label(segment, kind));
        draft.remark = tcp::remark(segment, kind, completes);
        if kind == tcp::Kind::Ack && !completes && std::mem::replace(&mut self.ack_told, true) {
            draft.remark = (self.closed == [true; 2]).then(|| {
                remarks::remark("Both sides have closed: the connection is released.", Some("RFC 9293 §3.6"))
            });
        }
        if fin && segment.from == Side::Server {
            self.autologout(&mut draft, at);
        }
        if segment.flags.has(Flag::Rst) {
            self.reset(&mut draft, segment.from);
        }
        self.closed[place(segment.from)] |= fin;
        self.put(at, draft, Some((span, segment.from)), kind == tcp::Kind::Ack, rows);
    }

    /// A server that closes after a long silence has waited for a command in vain.
    fn autologout(&self, draft: &mut Draft, at: Option<Duration>) {
        let silence = at.zip(self.spoke[0].max(self.spoke[1])).and_then(|(at, last)| at.checked_sub(last));
        let in_vain = self.quit == Quit::Unsaid
            && self.exchanges.is_empty()
            && self.block.is_none()
            && !self.tcp.has_closed(Side::Client)
            && self.phase.is_some();
        let Some(silence) = silence.filter(|silence| in_vain && *silence >= SILENCE) else { return };
        let text = format!(
            "The server closes the connection, having waited {} for a whole command: its autologout timer.",
            words::duration(silence)
        );
        draft.remark = Some(remarks::remark(text, Some("RFC 1939 §3")));
        if !self.settings.slow_client {
            return;
        }
        draft.find(Anomaly::SlowStep, format!("No whole command came for {}.", words::duration(silence)));
    }

    fn reset(&self, draft: &mut Draft, from: Side) {
        let who = remarks::name(from);
        if self.closed[place(from)] || self.tcp.has_closed(from) {
            let text = format!("The {who} has closed the connection already, and refuses what still came.");
            draft.remark = Some(remarks::remark(text, Some("RFC 9293 §3.5.2")));
            return;
        }
        if self.quit == Quit::Done {
            let text = format!("The {who} ends the connection at once, behind QUIT: nothing is lost.");
            draft.remark = Some(remarks::remark(text, Some("RFC 9293 §3.5.2")));
            return;
        }
        let text = match self.quit {
            Quit::Said => format!(
                "The {who} broke the connection off before QUIT was answered: whether what was marked was removed, nobody can tell from here."
            ),
            _ => format!("The {who} broke the connection off in the middle of the session."),
        };
        draft.find(Anomaly::Reset, text);
    }

    fn tls(&mut self, at: Option<Duration>, event: &TlsEvent, rows: &mut Vec<Row>) {
        let draft = match event {
            TlsEvent::Handshake(facts) => {
                self.secured(facts);
                let mut said = vec![self.summary.tls.clone().unwrap_or_else(|| "TLS".to_owned())];
                if let Some(name) = facts.name.as_ref().filter(|_| !self.names.hidden()) {
                    said.push(format!("for {}", words::harmless(name.as_str())));
                }
                if let Some(alpn) = &facts.alpn {
                    said.push(format!("ALPN {}", words::harmless(alpn.as_str())));
                }
                let text = "From here on everything is encrypted; what follows is what was said inside.";
                Draft::new(RowKind::Note, None, format!("TLS handshake: {}", said.join(", ")))
                    .remark(remarks::remark(text, Some("RFC 8446 §2")))
            }
            TlsEvent::Failed => {
                Draft::new(RowKind::Note, None, "TLS handshake failed".to_owned()).remark(remarks::remark(
                    "Both sides could not agree: nothing can be said any more.",
                    Some("RFC 8446 §6.2"),
                ))
            }
            TlsEvent::Close(side) => {
                let text = format!(
                    "The {} says that it sends no more, so that nobody can cut the end off unseen.",
                    remarks::name(*side)
                );
                Draft::new(RowKind::Records, Some(*side), "TLS close_notify".to_owned())
                    .remark(remarks::remark(text, Some("RFC 8446 §6.1")))
            }
        };
        self.row(at, draft, None, rows);
    }

    /// TLS is on.
    fn secured(&mut self, facts: &restante_proto::dialogue::TlsFacts) {
        if self.stls != Stls::Off {
            self.exchanges.clear();
        }
        self.tls = true;
        self.tcp.encrypted = true;
        self.stls = Stls::Off;
        let version =
            facts.version.as_ref().map(|version| words::harmless(version.as_str()).replace("TLSv", "TLS "));
        let cipher = facts.cipher.as_ref().map(|cipher| words::harmless(cipher.as_str()));
        let known: Vec<String> = version.into_iter().chain(cipher).collect();
        if !known.is_empty() {
            self.summary.tls = Some(known.join(" "));
        } else if self.summary.tls.is_none() {
            self.summary.tls = Some("TLS".to_owned());
        }
    }

    fn records(&mut self, records: Records, rows: &mut Vec<Row>) {
        let mut said = match &records.kind {
            RecordKind::ClientHello(facts) => {
                self.secured(&restante_proto::dialogue::TlsFacts::default());
                let name = facts.name.as_ref().filter(|_| !self.names.hidden());
                let mut said = "TLS ClientHello".to_owned();
                if let Some(name) = name {
                    said.push_str(&format!(" for {}", words::harmless(name.as_str())));
                }
                if let Some(alpn) = &facts.alpn {
                    said.push_str(&format!(", ALPN {}", words::harmless(alpn.as_str())));
                }
                said
            }
            RecordKind::ServerHello(facts) => {
                self.secured(facts);
                let chosen = self.summary.tls.clone().filter(|tls| tls != "TLS");
                format!("TLS ServerHello{}", chosen.map_or_else(String::new, |chosen| format!(": {chosen}")))
            }
            RecordKind::Handshake(name) => format!("TLS {name}"),
            RecordKind::ChangeCipherSpec => "TLS ChangeCipherSpec".to_owned(),
            RecordKind::Alert(name) => format!("TLS alert: {name}"),
            RecordKind::ApplicationData => "TLS application data".to_owned(),
            RecordKind::Other(content) => format!("no TLS record (type {content})"),
        };
        let (count, octets) = (records.count.into(), words::size(records.octets));
        said.push_str(&match count {
            1 => format!(", {octets}"),
            _ => format!(", {}, {octets}", words::count(count, "record")),
        });
        let mut draft =
            Draft::new(RowKind::Records, Some(records.from), said).remark(remarks::records(&records.kind));
        self.seen_outside = true;
        if records.kind == RecordKind::ApplicationData && std::mem::replace(&mut self.encrypted_told, true) {
            draft.remark = None;
        }
        draft.wait = self.waited(records.from, records.at);
        self.slow(&mut draft, records.from);
        self.speak(records.from, records.at, records.span);
        self.row(records.at, draft, records.span, rows);
    }

    fn missing(&mut self, at: Option<Duration>, from: Side, octets: u64, rows: &mut Vec<Row>) {
        self.unsure = true;
        let (label, text) = match octets {
            0 => (
                "events are left out here".to_owned(),
                "Who wrote this down left something out; what came then is followed again from the next command on.",
            ),
            _ => (
                format!(
                    "{} of the {} are not in the capture",
                    words::count(octets, "octet"),
                    remarks::name(from)
                ),
                "They arrived, as their acknowledgement shows, or were cut off in the capture.",
            ),
        };
        let mut draft = Draft::new(RowKind::Note, Some(from).filter(|_| octets > 0), label);
        draft.find(Anomaly::NotCaptured, text);
        self.exchanges.clear();
        self.block = None;
        self.row(at, draft, None, rows);
    }

    /// How long this side was waited for, if it is its turn.
    fn waited(&self, side: Side, at: Option<Duration>) -> Option<Duration> {
        let last = self.spoke[0].max(self.spoke[1])?;
        let turn = match side {
            Side::Server => true,
            Side::Client => self.exchanges.is_empty() && self.block.is_none(),
        };
        at.and_then(|at| at.checked_sub(last)).filter(|_| turn)
    }

    /// Names a step slow that was.
    fn slow(&self, draft: &mut Draft, side: Side) {
        if side == Side::Client && !self.settings.slow_client {
            return;
        }
        let Some(wait) = draft.wait.filter(|wait| *wait >= self.settings.slow) else { return };
        let who = remarks::name(side);
        let share = self.tcp.share(side, wait);
        let text = match share {
            None => format!("The {who} took {}.", words::duration(wait)),
            Some(share) => format!(
                "{} passed: {} on the network, {} with the {who}.",
                words::duration(wait),
                words::duration(share.network),
                words::duration(share.peer)
            ),
        };
        draft.find(Anomaly::SlowStep, text);
    }

    /// How many messages are marked as deleted.
    fn marked(&self) -> u64 {
        self.marks.len() as u64 + self.hidden_marks
    }

    /// The same, if there are any, and none may have been marked before anybody heard.
    fn all_marked(&self) -> Option<u64> {
        Some(self.marked()).filter(|marked| *marked > 0 && !self.summary.opening.joined)
    }

    /// A side said something, whose last segment is that of the span.
    fn speak(&mut self, side: Side, at: Option<Duration>, span: Option<Span>) {
        let end = span.and_then(|span| self.tcp.passed_at(span.last)).and_then(|passed| passed.at);
        self.spoke[place(side)] = end.max(at).or_else(|| self.spoke[place(side)]);
    }

    fn pass(&mut self, at: Option<Duration>) {
        self.first_at = self.first_at.or(at);
        self.last_at = at.max(self.last_at);
    }

    /// When a line passed: one that came in pieces, when its last did.
    fn passed(&self, at: Option<Duration>, span: Option<Span>) -> Option<Duration> {
        let last = span.filter(|span| span.first != span.last).and_then(|span| self.tcp.passed_at(span.last));
        last.and_then(|passed| passed.at).max(at)
    }

    /// A row that lines or records of one side make.
    fn row(&mut self, at: Option<Duration>, draft: Draft, span: Option<Span>, rows: &mut Vec<Row>) {
        let carried = span.zip(draft.from);
        self.put(at, draft, carried, false, rows);
        if let Some((number, from)) = self.fin_due
            && span.is_some_and(|span| span.last >= number)
        {
            self.fin_due = None;
            self.closed[place(from)] = true;
            let passed = self.tcp.passed_at(number);
            let text = format!(
                "In the same segment the {} closes its side of the connection: it has sent all that it had to say.",
                remarks::name(from)
            );
            let draft = Draft::new(RowKind::Segment, Some(from), "FIN".to_owned())
                .remark(remarks::remark(text, Some("RFC 9293 §3.6")));
            let span = Span { first: number, last: number, count: 1, octets: 0 };
            self.put(passed.and_then(|passed| passed.at), draft, Some((span, from)), false, rows);
        }
    }

    fn put(
        &mut self,
        at: Option<Duration>,
        draft: Draft,
        carried: Option<(Span, Side)>,
        ack: bool,
        rows: &mut Vec<Row>,
    ) {
        self.pass(at);
        let mut findings = draft.findings;
        for finding in &findings {
            self.found(finding.anomaly, 1);
        }
        let (mut facts, mut end) = (None, at);
        if let Some((span, from)) = carried {
            for (finding, times) in self.tcp.findings(from, span) {
                self.found(finding.anomaly, times);
                findings.push(finding);
            }
            let told = &mut self.told[place(from)];
            let shared = *told == span.first && (draft.kind != RowKind::Segment || draft.label == "FIN");
            *told = span.last.max(*told);
            if draft.kind == RowKind::Segment {
                let passed = self.tcp.passed_at(span.first).map(|passed| passed.segment);
                facts = Some(crate::row::Carried {
                    count: 1,
                    flags: passed.map_or_else(Default::default, |segment| segment.flags),
                    seq: passed.and_then(|segment| segment.seq),
                    ack: passed.and_then(|segment| segment.ack),
                    octets: span.octets,
                    shared,
                    acks: 0,
                });
            } else {
                facts = Some(self.tcp.carried_row(from, span, shared));
            }
            end = self.tcp.passed_at(span.last).and_then(|passed| passed.at).max(at);
            self.pass(end);
        }
        let wait = draft.wait.filter(|wait| *wait >= SHARED_FROM);
        let share = draft.from.zip(wait).and_then(|(side, wait)| self.tcp.share(side, wait));
        let row = Row {
            number: 0,
            at,
            since: None,
            phase: self.phase,
            kind: draft.kind,
            from: draft.from,
            label: self.names.shown(draft.label),
            lines: draft.lines,
            lines_left_out: draft.lines_left_out,
            carried: facts,
            remark: draft
                .remark
                .map(|remark| Remark { text: self.names.shown_in_words(remark.text), ..remark }),
            findings,
            share,
            about: draft.topic.map(|topic| About {
                command: topic.command,
                verb: topic.verb,
                message: topic.number,
                octets: draft.message_octets,
                elapsed: draft.elapsed,
            }),
        };
        let step = Step { row, topic: draft.topic, ack, message_octets: draft.message_octets, end };
        let mut steps = Vec::new();
        self.order.row(step, end, &mut steps);
        self.give(steps, rows);
    }

    /// Counts an anomaly.
    fn found(&mut self, anomaly: Anomaly, times: u64) {
        match self.summary.anomalies.iter_mut().find(|(known, _)| *known == anomaly) {
            Some((_, count)) => *count += times,
            None => self.summary.anomalies.push((anomaly, times)),
        }
    }

    /// Steps that are in order go through the fold.
    fn give(&mut self, steps: Vec<Step>, rows: &mut Vec<Row>) {
        let mut folded = Vec::new();
        for step in steps {
            if self.settings.fold {
                self.fold.step(step, &mut folded);
            } else {
                folded.push(step);
            }
        }
        self.number(folded, rows);
    }

    /// Rows get their numbers, and the time since the one before them.
    fn number(&mut self, given: Vec<Step>, rows: &mut Vec<Row>) {
        for Step { mut row, end, .. } in given {
            let (before, count) = &mut self.given;
            *count += 1;
            row.number = *count;
            row.since = before.zip(row.at).map(|(before, at)| at.saturating_sub(before));
            // What was folded is over when the last of it is; all else counts from where it began.
            let over = if row.kind == RowKind::Fold { end } else { row.at };
            *before = over.max(*before);
            rows.push(row);
        }
    }

    fn end(&mut self, ending: Ending, rows: &mut Vec<Row>) {
        self.finish(ending, rows);
        let mut steps = Vec::new();
        self.order.end(&mut steps);
        self.give(steps, rows);
        let mut held = Vec::new();
        self.fold.flush(&mut held);
        self.number(held, rows);
        self.summary.duration =
            self.first_at.zip(self.last_at).map(|(first, last)| last.saturating_sub(first));
        self.summary.anomalies.sort_by_key(|(anomaly, _)| (std::cmp::Reverse(anomaly.severity()), *anomaly));
        // Programs that see no segments write what they know of a connection's end as such.
        let carried = [Side::Client, Side::Server].map(|side| self.tcp.octets(side));
        if carried != [0; 2] {
            [self.summary.client_octets, self.summary.server_octets] = carried;
        }
    }
}
