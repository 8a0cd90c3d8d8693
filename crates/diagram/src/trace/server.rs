//! The server's lines: greeting, answers, challenges, listings and messages.

use std::time::Duration;

use restante_proto::{
    dialogue::{BodyFacts, Line, Pattern, Role, Side},
    phase::{Phase, TRANSITIONS},
    reply::{Status, announced_octets},
    verb::Verb,
};

use super::{Block, Draft, Exchange, MESSAGES_MAX, Quit, Stls, Trace, lines, remarks};
use crate::{
    anomaly::Anomaly,
    heard::Span,
    row::{Finding, Row, RowKind},
    words,
};

impl Trace {
    pub(super) fn server_line(
        &mut self,
        at: Option<Duration>,
        line: &Line<Pattern>,
        role: Option<Role>,
        span: Option<Span>,
        rows: &mut Vec<Row>,
    ) {
        let label = words::line(line);
        let bare_lf = lines::ends_in_bare_lf(line);
        match role {
            Some(Role::Listing | Role::Message) => return self.listing_line(at, label, bare_lf, span),
            Some(Role::End) => {
                self.speak(Side::Server, at, span);
                return self.end_of_block(at, label, span, rows);
            }
            // A listing that a reply cuts short.
            Some(Role::Reply { .. }) => self.break_off(rows),
            _ => {}
        }
        let at = self.passed(at, span);
        let mut draft = match role {
            Some(Role::Greeting) => {
                self.phase = Some(Phase::Authorization);
                Draft::new(RowKind::Reply, Some(Side::Server), label).remark(remarks::greeting())
            }
            Some(Role::Challenge { responded }) => self.challenge(label, responded),
            Some(Role::Reply { to, ok }) => self.reply(label, to, ok),
            Some(Role::Unasked) => self.unasked(label),
            _ => self.unknown(Side::Server, label),
        };
        if bare_lf {
            draft.find(Anomaly::BareLf, "The line ends in LF alone.");
        }
        // The server was waited for since the command, or since its answer to the one before.
        let said = self.answered_since.take();
        let since = said.max(self.spoke[1]).or(self.spoke[0]);
        draft.elapsed = at.zip(said).and_then(|(at, said)| at.checked_sub(said));
        draft.wait = at.zip(since).and_then(|(at, since)| at.checked_sub(since));
        self.slow(&mut draft, Side::Server);
        self.speak(Side::Server, at, span);
        self.row(at, draft, span, rows);
        if let Some(phase) = self.next_phase.take() {
            self.phase = phase;
        }
        if self.block.as_ref().is_some_and(|block| block.message) {
            self.order.open();
        }
    }

    fn challenge(&mut self, label: String, responded: bool) -> Draft {
        if responded {
            // What looked like a command was the response.
            self.exchanges.remove(1);
        }
        if let Some(exchange) = self.exchanges.front() {
            self.mechanism.clone_from(&exchange.mechanism);
            self.answered_since = exchange.said;
        }
        let text = match &self.mechanism {
            Some(name) if label.trim() == "+" => format!("The server waits for the client's part of {name}."),
            Some(name) => format!("The server's part of {name}, in base64: the client is to go on."),
            None => "The server's part of the exchange, in base64: the client is to go on.".to_owned(),
        };
        Draft::new(RowKind::Reply, Some(Side::Server), label)
            .remark(remarks::remark(text, Some("RFC 5034 §4")))
    }

    fn unasked(&self, label: String) -> Draft {
        let mut draft = Draft::new(RowKind::Reply, Some(Side::Server), label);
        if self.stls == Stls::Granted {
            draft.find(
                Anomaly::StlsInjection,
                "The server's octets stood behind its answer to STLS, before TLS began: a client that keeps them takes them for an answer inside TLS.",
            );
        } else {
            draft.find(Anomaly::UnaskedReply, "No command waits for an answer.");
        }
        draft
    }

    fn reply(&mut self, label: String, to: Option<Verb>, ok: bool) -> Draft {
        let exchange = self.exchanges.pop_front();
        self.answered_since = exchange.as_ref().and_then(|exchange| exchange.said);
        let mut exchange = exchange.unwrap_or_else(|| Exchange {
            verb: to,
            explanation: to.map(|verb| verb.explanation(false)),
            topic: None,
            fields: Default::default(),
            said: None,
            mechanism: None,
        });
        let status = Status::parse(label.as_bytes());
        let (text, code) = match &status {
            Some(Status::Ok { text }) => (text.as_str(), None),
            Some(Status::Err { code, text }) => {
                (text.as_str(), code.as_ref().map(|code| code.as_str().to_owned()))
            }
            _ => ("", None),
        };
        let mut draft = Draft::new(RowKind::Reply, Some(Side::Server), label);
        draft.topic = exchange.topic;
        let verb = exchange.verb.or(to);
        if ok {
            self.learn(verb, text, &mut exchange);
            if let (Some(Verb::List), Some(number), Some(size)) =
                (verb, exchange.topic.and_then(|topic| topic.number), exchange.fields.octets)
            {
                self.listed_size(number, size);
            }
            draft.remark = exchange.explanation.map(|of| remarks::ok(of, &exchange.fields));
        } else {
            let misplaced = verb.and_then(|verb| self.misplaced(verb));
            draft.remark =
                exchange.explanation.map(|of| remarks::err(of, misplaced.as_deref(), code.as_deref()));
        }
        if exchange.explanation.is_none() {
            draft.remark = Some(remarks::unknown_command(Some(ok)));
        }
        if verb == Some(Verb::Quit) && !ok && self.phase != Some(Phase::Transaction) {
            let text = "The server does not take QUIT now. Nothing was marked, so nothing is lost.";
            draft.remark = Some(remarks::remark(text, Some("RFC 1939 §6")));
        }
        if let Some(verb) = verb {
            self.follow(verb, ok, &exchange, &mut draft);
        }
        let has_block = ok && exchange.explanation.is_some_and(|of| of.block.is_some());
        if has_block {
            let announced = exchange.fields.octets.filter(|_| verb == Some(Verb::Retr));
            let message = matches!(verb, Some(Verb::Retr | Verb::Top));
            self.block = Some(Block { announced, message, ..Block::of(exchange) });
        }
        draft
    }

    /// What a positive answer says in its text.
    fn learn(&self, verb: Option<Verb>, text: &str, exchange: &mut Exchange) {
        let mut numbers = numbers(text);
        let fields = &mut exchange.fields;
        match verb {
            Some(Verb::Stat) => {
                fields.messages = numbers.next();
                fields.octets = numbers.next();
            }
            Some(Verb::Retr) => fields.octets = announced_octets(text),
            Some(Verb::List) if exchange.topic.is_some_and(|topic| topic.number.is_some()) => {
                fields.octets = numbers.nth(1);
            }
            Some(Verb::List | Verb::Uidl) if exchange.topic.is_some_and(|topic| topic.number.is_none()) => {
                fields.messages = text.split(' ').next().and_then(|word| word.parse().ok());
            }
            Some(Verb::Uidl) => fields.id = text.split(' ').nth(1).map(str::to_owned),
            Some(Verb::Quit) => fields.messages = self.all_marked(),
            _ => {}
        }
    }

    /// What is to be said of a verb that may not be said in this state, if it is one.
    fn misplaced(&self, verb: Verb) -> Option<String> {
        let phase = self.phase.filter(|_| !self.unsure)?;
        // Who came in the midst has not heard whether a name was given.
        let also = (self.phase_guessed && phase == Phase::Authorization).then_some(Phase::Named);
        if [Some(phase), also].into_iter().flatten().any(|phase| phase.transition(verb).is_some()) {
            return None;
        }
        let mut from = TRANSITIONS.iter().filter(|row| row.verb == verb).map(|row| row.from);
        let first = from.next()?;
        let (word, name) = (verb.word(), phase.name());
        Some(if first == Phase::Named && phase == Phase::Authorization {
            format!(
                "{word} may stand only behind a USER that the server took, and no name is given: none was said yet, or a login that failed took it back."
            )
        } else {
            format!("{word} belongs to the {} state, and the session is in the {name} state.", first.name())
        })
    }

    /// What an answer does to the session.
    fn follow(&mut self, verb: Verb, ok: bool, exchange: &Exchange, draft: &mut Draft) {
        let number = exchange.topic.and_then(|topic| topic.number);
        match (verb, ok) {
            (Verb::Stls, true) => {
                self.stls = Stls::Granted;
                self.exchanges.clear();
            }
            (Verb::Stls, false) => {
                self.stls = Stls::Off;
                self.stls_refused = true;
            }
            (Verb::Pass | Verb::Apop | Verb::Auth, true)
                if !(verb == Verb::Auth && exchange.mechanism.is_none()) =>
            {
                // Who logs in by AUTH or APOP is said where secrets are.
                let named = self.named.clone().filter(|_| verb == Verb::Pass);
                self.summary.user = Some(named.unwrap_or_else(|| words::SECRET.to_owned()));
                self.mechanism = None;
            }
            (Verb::Auth, false) => self.mechanism = None,
            (Verb::Dele, true) if number.is_none() => self.hidden_marks += 1,
            (Verb::Dele, true) if self.marks.len() < MESSAGES_MAX => self.marks.extend(number),
            (Verb::Rset, true) => {
                self.marks.clear();
                self.hidden_marks = 0;
            }
            (Verb::Quit, true) => {
                self.quit = Quit::Done;
                self.summary.deleted = self.marked();
            }
            (Verb::Quit, false) => {
                self.quit = Quit::Refused;
                if self.phase == Some(Phase::Transaction) {
                    draft.find(Anomaly::QuitRefused, "The server could not remove all that was marked.");
                }
            }
            _ => {}
        }
        let login =
            matches!(verb, Verb::Pass | Verb::Apop) || (verb == Verb::Auth && exchange.mechanism.is_some());
        if login && self.phase.is_none() {
            // Its beginning was not heard.
            self.phase = Some(Phase::Authorization);
        }
        if matches!(verb, Verb::User | Verb::Pass | Verb::Apop)
            || (ok && matches!(verb, Verb::Stls | Verb::Auth))
        {
            // Wherever it came from, it is known where that leads.
            self.phase_guessed = false;
        }
        let lists_mechanisms = verb == Verb::Auth && exchange.mechanism.is_none();
        let row = self.phase.filter(|_| !lists_mechanisms).and_then(|phase| phase.transition(verb));
        let next = match row {
            Some(row) if ok => Some(row.ok),
            Some(row) => Some(row.err),
            // Servers that allow more than they should.
            None if login && ok => Some(Phase::Transaction),
            None => None,
        };
        match next {
            // The server is in it while it answers; then the session is over.
            Some(Phase::Update) => {
                self.phase = Some(Phase::Update);
                self.next_phase = Some(None);
            }
            Some(Phase::Closed) => self.next_phase = Some(None),
            Some(next) => self.next_phase = Some(Some(next)),
            None => {}
        }
    }

    fn listing_line(&mut self, at: Option<Duration>, label: String, bare_lf: bool, span: Option<Span>) {
        let masked = capability_is_masked(&label);
        let label = self.names.shown(label);
        let listing_max_lines = self.settings.listing_max_lines;
        let block = self.block.get_or_insert_with(|| Block::of(Exchange::default()));
        block.at = block.at.or(at);
        block.span = join(block.span, span);
        block.count += 1;
        block.bare_lf += u64::from(bare_lf);
        let verb = block.of.verb;
        if verb == Some(Verb::Capa) && masked {
            let text = "A capability is written over. Some firewalls and attackers do that to STLS, so that the client sends its password in clear.";
            block.findings.push(Finding { anomaly: Anomaly::StlsStripped, text: text.to_owned() });
        }
        let mut numbers = label.split(' ').map_while(|word| word.parse::<u64>().ok());
        let size = numbers.next().and_then(|number| u32::try_from(number).ok()).zip(numbers.next());
        if block.lines.len() < listing_max_lines {
            block.lines.push(label);
        }
        if let Some((number, size)) = size.filter(|_| verb == Some(Verb::List)) {
            self.listed_size(number, size);
        }
    }

    /// LIST said how long a message is.
    fn listed_size(&mut self, number: u32, size: u64) {
        if self.sizes.len() < MESSAGES_MAX {
            self.sizes.insert(number, size);
        }
    }

    /// The final dot of a block.
    fn end_of_block(&mut self, at: Option<Duration>, dot: String, span: Option<Span>, rows: &mut Vec<Row>) {
        let Some(mut block) = self.block.take() else { return };
        if block.message {
            // It was told with its message, if there was one.
            if !block.lines.is_empty() {
                self.listed(block, rows);
            }
            return;
        }
        block.at = block.at.or(at);
        block.span = join(block.span, span);
        if block.count == block.lines.len() as u64 {
            block.lines.push(dot);
        }
        block.whole = true;
        self.listed(block, rows);
    }

    /// What is under way did not come to its final dot.
    pub(super) fn break_off(&mut self, rows: &mut Vec<Row>) {
        let Some(mut block) = self.block.take() else { return };
        let text = "The session went on or ended before the final dot came.";
        block.findings.push(Finding { anomaly: Anomaly::MissingFinalDot, text: text.to_owned() });
        if block.message {
            let label = "message, and nothing of it".to_owned();
            let mut draft = Draft::new(RowKind::Message, Some(Side::Server), label);
            draft.findings = block.findings;
            draft.topic = block.of.topic;
            self.row(self.last_at, draft, None, rows);
        } else {
            block.at = block.at.or(self.last_at);
            self.listed(block, rows);
        }
    }

    /// A listing is told, whole or not.
    pub(super) fn listed(&mut self, block: Block, rows: &mut Vec<Row>) {
        let end = if block.whole { "and the final dot" } else { "and no end" };
        let label = format!("{}, {end}", words::count(block.count, "line"));
        let mut draft = Draft::new(RowKind::Listing, Some(Side::Server), label);
        draft.lines = block.lines;
        if block.count > self.settings.listing_max_lines as u64 {
            draft.lines.truncate(self.settings.listing_start_lines);
        }
        draft.lines_left_out = block.count.saturating_sub(draft.lines.len() as u64);
        draft.findings = block.findings;
        draft.topic = block.of.topic;
        draft.elapsed = self.spoke[1].zip(block.of.said).and_then(|(over, said)| over.checked_sub(said));
        if block.bare_lf > 0 {
            draft.find(Anomaly::BareLf, format!("{} in LF alone.", ended(block.bare_lf)));
        }
        if let Some(of) = block.of.explanation
            && let Some(text) = of.block
        {
            draft.remark = Some(remarks::remark(block.of.fields.fill(text), Some(of.rfc)));
        }
        self.row(block.at, draft, block.span, rows);
    }

    /// A message, whole or not.
    pub(super) fn message(
        &mut self,
        at: Option<Duration>,
        octets: u64,
        facts: Option<BodyFacts>,
        span: Option<Span>,
        rows: &mut Vec<Row>,
    ) {
        self.speak(Side::Server, at, span);
        let whole = facts.as_ref().is_none_or(|facts| facts.whole);
        let seen = facts.filter(|facts| facts.seen);
        let block = self.block.as_mut();
        let exchange = block.as_ref().map(|block| block.of.clone());
        let announced = block.and_then(|block| block.announced.take());
        let mut draft = Draft::new(
            RowKind::Message,
            Some(Side::Server),
            format!("message, {}{}", words::count(octets, "octet"), if whole { "" } else { ", and no end" }),
        );
        let verb = exchange.as_ref().and_then(|exchange| exchange.verb);
        if verb == Some(Verb::Top) {
            draft.label = draft.label.replacen("message", "top of message", 1);
        }
        draft.topic = exchange.as_ref().and_then(|exchange| exchange.topic);
        let said = exchange.as_ref().and_then(|exchange| exchange.said);
        draft.elapsed = self.spoke[1].zip(said).and_then(|(over, said)| over.checked_sub(said));
        draft.message_octets = Some(octets).filter(|_| whole && verb == Some(Verb::Retr));
        if whole && verb == Some(Verb::Retr) {
            self.summary.retrieved += 1;
            self.summary.retrieved_octets = self.summary.retrieved_octets.saturating_add(octets);
        }
        self.count_check(&mut draft, octets, whole, announced, seen.as_ref());
        if let Some(facts) = &seen {
            if facts.unstuffed_dots > 0 {
                let text = format!("{} with an unstuffed dot.", began(facts.unstuffed_dots));
                draft.find(Anomaly::UnstuffedDot, text);
            }
            if facts.bare_lf > 0 {
                draft.find(Anomaly::BareLf, format!("{} in LF alone.", ended(facts.bare_lf)));
            }
            if !self.names.hidden() {
                draft.lines = shown_lines(&facts.start, facts.octets, whole, self.settings.message_max_lines);
            }
            draft.lines_left_out = facts.lines.saturating_sub(draft.lines.len() as u64);
        }
        if !whole {
            draft.find(Anomaly::MissingFinalDot, "The session went on or ended before the final dot came.");
        }
        if let Some(of) = exchange.as_ref().and_then(|exchange| exchange.explanation)
            && let Some(block) = of.block
        {
            let size = match &seen {
                Some(facts) if whole => format!(
                    "{} in {}; with stuffed dots and the final dot {} on the wire. ",
                    words::count(octets, "octet"),
                    words::count(facts.lines, "line"),
                    words::thousands(facts.wire_octets)
                ),
                Some(facts) => {
                    format!("{} in {}. ", words::count(octets, "octet"), words::count(facts.lines, "line"))
                }
                None => String::new(),
            };
            draft.remark = Some(remarks::remark(format!("{size}{}", block.plain), Some("RFC 1939 §3")));
        }
        self.row(at, draft, span, rows);
        if !whole {
            self.block = None;
        }
    }

    /// Compares a message's length with what was said of it.
    fn count_check(
        &self,
        draft: &mut Draft,
        octets: u64,
        whole: bool,
        announced: Option<u64>,
        seen: Option<&BodyFacts>,
    ) {
        let canonical = octets.saturating_add(seen.map_or(0, |facts| facts.bare_lf));
        let listed = draft.topic.filter(|topic| topic.verb == Verb::Retr).and_then(|topic| topic.number);
        let listed = listed.and_then(|number| self.sizes.get(&number).copied());
        if !whole {
            return;
        }
        let differs = |said: u64| said != octets && said != canonical;
        match (announced, listed) {
            (Some(announced), _) if differs(announced) => {
                let text = format!(
                    "{} were announced, {} came.",
                    words::count(announced, "octet"),
                    words::thousands(octets)
                );
                draft.find(Anomaly::OctetCount, text);
            }
            (_, Some(listed)) if differs(listed) => {
                let text = format!(
                    "LIST said {}, {} came.",
                    words::count(listed, "octet"),
                    words::thousands(octets)
                );
                draft.find(Anomaly::OctetCount, text);
            }
            _ => {}
        }
    }
}

/// The first lines of a message, as many as were kept whole.
fn shown_lines(start: &[u8], octets: u64, whole: bool, max: usize) -> Vec<String> {
    let all = whole && start.len() as u64 >= octets;
    let mut lines: Vec<&[u8]> = start.split_inclusive(|&octet| octet == b'\n').collect();
    // The last one may be cut off; one alone is shown all the same.
    if !all && lines.len() > 1 && lines.last().is_some_and(|last| !last.ends_with(b"\n")) {
        lines.pop();
    }
    lines
        .into_iter()
        .take(max)
        .map(|line| {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            words::octets(line.strip_suffix(b"\r").unwrap_or(line))
        })
        .collect()
}

/// The spans of two parts of one row as one.
pub(super) fn join(first: Option<Span>, next: Option<Span>) -> Option<Span> {
    let (Some(first), Some(next)) = (first, next) else { return first.or(next) };
    if next.last <= first.last {
        return Some(first);
    }
    let shared = next.first <= first.last;
    let octets = if shared && next.count == 1 { 0 } else { next.octets };
    Some(Span {
        first: first.first,
        last: next.last,
        count: first.count + if shared { next.count - 1 } else { next.count },
        octets: first.octets + octets,
    })
}

/// The decimal numbers of a text.
fn numbers(text: &str) -> impl Iterator<Item = u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok())
}

/// Whether a capability was written over, as some firewalls do it to what they do not like.
fn capability_is_masked(line: &str) -> bool {
    line.len() >= 3 && (line.bytes().all(|octet| octet == b'X') || line.bytes().all(|octet| octet == b'*'))
}

fn ended(lines: u64) -> String {
    format!("{} {}", words::count(lines, "line"), if lines == 1 { "ends" } else { "end" })
}

fn began(lines: u64) -> String {
    format!("{} {}", words::count(lines, "line"), if lines == 1 { "begins" } else { "begin" })
}
