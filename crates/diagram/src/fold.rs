//! Long runs of the same steps folded into one row, as they come: `RETR 3 … 998, 996 messages, 81 MB, 3.2 s`.
//!
//! A run is made of commands about one message each, or of one command again and again. Its first two and last two messages
//! stay, and rows with something wrong, as long as they are not too many of one kind. What is held meanwhile is bounded.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use restante_proto::{phase::Phase, verb::Verb};

use crate::{
    anomaly::Anomaly,
    row::{Carried, Finding, Remark, Row, RowKind},
    words,
};

/// A run of so many messages or fewer is not folded.
const PLAIN_MAX: u64 = 12;
/// How many stay at each end of a run.
const EDGE: u64 = 2;
/// How many rows with one kind of anomaly stay in a run.
const SHOWN_MAX: u64 = 8;
/// After so many rows it is looked which of them may be folded.
const COMPACT_ROWS: usize = 256;
/// How many rows are held at most, whatever they are.
const HELD_MAX: usize = 4096;

/// A row with what folding has to know.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) row: Row,
    /// What it is about, if it is about a command.
    pub(crate) topic: Option<Topic>,
    /// It is a pure ACK.
    pub(crate) ack: bool,
    /// How many octets a message has.
    pub(crate) message_octets: Option<u64>,
    /// When it was over.
    pub(crate) end: Option<Duration>,
}

/// The command that a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    /// The command's place among all of the session, from 1.
    pub(crate) command: u64,
    pub(crate) verb: Verb,
    /// The message that it is about.
    pub(crate) number: Option<u32>,
    /// Whether it is one of those that come again and again: the others end a run.
    pub(crate) repeats: bool,
}

/// Folds what passes.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    run: Option<Run>,
}

/// Commands of one kind, one after another.
#[derive(Debug)]
struct Run {
    /// The verb that the first group began with.
    verb: Verb,
    /// Groups are the commands about one message; counted from the session's first command.
    first: u64,
    last: u64,
    /// The last command, its message, and its group.
    newest: Topic,
    /// The groups of commands whose answers are still to come, or may be.
    groups: VecDeque<(u64, u64)>,
    held: VecDeque<Held>,
    /// With so many of them it is looked which may be folded.
    compact_at: usize,
    shown: BTreeMap<Anomaly, u64>,
    /// How many `-ERR` there were within it.
    refused: u64,
}

#[derive(Debug)]
enum Held {
    Row { step: Box<Step>, group: u64 },
    Folded(Box<Folded>),
}

/// Rows that became one.
#[derive(Debug, Default)]
struct Folded {
    rows: u64,
    commands: u64,
    replies: u64,
    refused: u64,
    messages: u64,
    octets: u64,
    verbs: Vec<Verb>,
    first: Option<u32>,
    last: Option<u32>,
    at: Option<Duration>,
    end: Option<Duration>,
    phase: Option<Phase>,
    segments: u64,
    segment_octets: u64,
    findings: BTreeMap<Anomaly, u64>,
}

impl Fold {
    /// Takes a row, and appends those that may be drawn now.
    pub(crate) fn step(&mut self, step: Step, out: &mut Vec<Step>) {
        let starts = step.row.kind == RowKind::Command;
        match (&mut self.run, step.topic) {
            (None, Some(topic)) if topic.repeats => self.run = Some(Run::new(step, topic)),
            (None, _) => out.push(step),
            (Some(run), topic) => {
                let ends = match topic {
                    Some(topic) if starts || topic.command > run.newest.command => {
                        !topic.repeats || run.is_another(topic)
                    }
                    Some(_) => false,
                    // The end of the connection is no part of a run; an ACK is.
                    None => !step.ack && step.row.kind != RowKind::Segment,
                };
                if ends || run.held.len() >= HELD_MAX {
                    self.flush(out);
                    return self.step(step, out);
                }
                run.push(step);
            }
        }
    }

    /// Gives out what is held.
    pub(crate) fn flush(&mut self, out: &mut Vec<Step>) {
        let Some(mut run) = self.run.take() else { return };
        run.compact();
        out.extend(run.held.into_iter().map(|held| match held {
            Held::Row { step, .. } => *step,
            Held::Folded(folded) => {
                let end = folded.end;
                Step { row: folded.row(), topic: None, ack: false, message_octets: None, end }
            }
        }));
    }
}

impl Run {
    fn new(step: Step, topic: Topic) -> Self {
        let mut run = Self {
            verb: topic.verb,
            first: 1,
            last: 1,
            newest: topic,
            groups: VecDeque::from([(topic.command, 1)]),
            held: VecDeque::new(),
            compact_at: COMPACT_ROWS,
            shown: BTreeMap::new(),
            refused: 0,
        };
        run.held.push_back(Held::Row { step: Box::new(step), group: 1 });
        run
    }

    /// Whether this command begins another message, with another verb than the run's.
    fn is_another(&self, topic: Topic) -> bool {
        let same_message = topic.number.is_some() && topic.number == self.newest.number;
        topic.verb != self.verb && !same_message
    }

    fn push(&mut self, step: Step) {
        let group = match step.topic {
            // A command, or the answer to one that an earlier run has told.
            Some(topic) if step.row.kind == RowKind::Command || topic.command > self.newest.command => {
                let same = topic.number.is_some() && topic.number == self.newest.number;
                self.last += u64::from(!same || topic.verb == self.verb);
                self.newest = topic;
                self.groups.push_back((topic.command, self.last));
                self.last
            }
            Some(topic) => {
                while self.groups.len() > 1
                    && self.groups.front().is_some_and(|(command, _)| *command < topic.command)
                {
                    self.groups.pop_front();
                }
                self.groups.front().map_or(self.last, |(_, group)| *group)
            }
            None => self.held.back().map_or(self.last, |held| match held {
                Held::Row { group, .. } => *group,
                Held::Folded(_) => self.first + EDGE,
            }),
        };
        self.held.push_back(Held::Row { step: Box::new(step), group });
        if self.held.len() >= self.compact_at {
            self.compact();
            self.compact_at = self.held.len() + COMPACT_ROWS;
        }
    }

    /// Folds what is no longer at an end of the run.
    fn compact(&mut self) {
        if self.last - self.first < PLAIN_MAX {
            return;
        }
        let inner = self.first + EDGE..=self.last - EDGE;
        let mut held = VecDeque::with_capacity(self.held.len());
        for entry in self.held.drain(..) {
            match entry {
                Held::Row { step, group }
                    if inner.contains(&group) && stays(&mut self.shown, &mut self.refused, &step) =>
                {
                    // From now on it is no part of what is looked at again.
                    held.push_back(Held::Row { step, group: self.first });
                }
                Held::Row { step, group } if inner.contains(&group) => match held.back_mut() {
                    Some(Held::Folded(folded)) => folded.add(&step),
                    _ => {
                        let mut folded = Folded::default();
                        folded.add(&step);
                        held.push_back(Held::Folded(Box::new(folded)));
                    }
                },
                Held::Folded(more) => match held.back_mut() {
                    Some(Held::Folded(folded)) => folded.join(*more),
                    _ => held.push_back(Held::Folded(more)),
                },
                row => held.push_back(row),
            }
        }
        self.held = held;
    }
}

fn is_refusal(row: &Row) -> bool {
    row.kind == RowKind::Reply && row.label.starts_with("-ERR")
}

/// Whether a row within a run has something wrong that has not been shown often yet.
fn stays(shown: &mut BTreeMap<Anomaly, u64>, refused: &mut u64, step: &Step) -> bool {
    let mut stays = false;
    if is_refusal(&step.row) {
        *refused += 1;
        stays |= *refused <= SHOWN_MAX;
    }
    for finding in &step.row.findings {
        let count = shown.entry(finding.anomaly).or_default();
        *count += 1;
        stays |= *count <= SHOWN_MAX;
    }
    stays
}

impl Folded {
    fn add(&mut self, step: &Step) {
        let row = &step.row;
        self.rows += 1;
        self.commands += u64::from(row.kind == RowKind::Command);
        self.replies += u64::from(row.kind == RowKind::Reply);
        self.refused += u64::from(is_refusal(row));
        if let Some(octets) = step.message_octets {
            self.messages += 1;
            self.octets = self.octets.saturating_add(octets);
        }
        if let Some(topic) = step.topic {
            if !self.verbs.contains(&topic.verb) {
                self.verbs.push(topic.verb);
            }
            self.first = self.first.or(topic.number);
            self.last = topic.number.or(self.last);
        }
        self.at = self.at.or(row.at);
        self.end = step.end.or(row.at).max(self.end);
        self.phase = row.phase.or(self.phase);
        if let Some(carried) = &row.carried {
            self.segments += if carried.shared { carried.count - 1 } else { carried.count } + carried.acks;
            self.segment_octets += if carried.shared { 0 } else { carried.octets };
        }
        for finding in &row.findings {
            *self.findings.entry(finding.anomaly).or_default() += 1;
        }
    }

    fn join(&mut self, more: Self) {
        self.rows += more.rows;
        self.commands += more.commands;
        self.replies += more.replies;
        self.refused += more.refused;
        self.messages += more.messages;
        self.octets = self.octets.saturating_add(more.octets);
        for verb in more.verbs {
            if !self.verbs.contains(&verb) {
                self.verbs.push(verb);
            }
        }
        self.first = self.first.or(more.first);
        self.last = more.last.or(self.last);
        self.at = self.at.or(more.at);
        self.end = more.end.max(self.end);
        self.segments += more.segments;
        self.segment_octets += more.segment_octets;
        for (anomaly, count) in more.findings {
            *self.findings.entry(anomaly).or_default() += count;
        }
    }

    fn row(self) -> Row {
        let mut label = String::new();
        if self.commands == 0 && self.replies + self.messages > 0 {
            label.push_str("answers to ");
        }
        let verbs: Vec<&str> = self.verbs.iter().map(|verb| verb.word()).collect();
        label.push_str(if verbs.is_empty() { "segments" } else { "" });
        label.push_str(&verbs.join(", "));
        match (self.first, self.last) {
            (Some(first), Some(last)) if first != last => label.push_str(&format!(" {first} … {last}")),
            (Some(first), _) => label.push_str(&format!(" {first}")),
            _ => {}
        }
        let pipelined = self.commands > 0 && self.replies > 0 && self.commands != self.replies;
        if pipelined {
            label.push_str(&format!(", {}", words::count(self.commands, "command")));
        }
        if self.messages > 0 {
            label.push_str(&format!(
                ", {}, {}",
                words::count(self.messages, "message"),
                words::size(self.octets)
            ));
        } else if self.commands > 0 && !pipelined {
            label.push_str(&format!(", {}", words::count(self.commands, "command")));
        } else if self.replies > 0 {
            label.push_str(&format!(", {}", words::count(self.replies, "answer")));
        }
        if self.refused > 0 {
            label.push_str(&format!(", {} refused", words::thousands(self.refused)));
        }
        if let Some((at, end)) = self.at.zip(self.end) {
            label.push_str(&format!(", {}", words::duration(end.saturating_sub(at))));
        }
        let findings = self.findings.into_iter().map(|(anomaly, count)| {
            let text = format!("In {} of the rows that are folded here.", words::thousands(count));
            Finding { anomaly, text }
        });
        let carried = (self.segments > 0).then(|| Carried {
            count: self.segments,
            flags: Default::default(),
            seq: None,
            ack: None,
            octets: self.segment_octets,
            shared: false,
            acks: 0,
        });
        Row {
            number: 0,
            at: self.at,
            since: None,
            phase: self.phase,
            kind: RowKind::Fold,
            from: None,
            label,
            lines: Vec::new(),
            lines_left_out: self.rows,
            carried,
            remark: (self.commands != self.replies).then(|| Remark {
                text: "The client sends its commands without waiting for each answer (pipelining); the server answers in the same order.".to_owned(),
                rfc: Some("RFC 2449 §6.6"),
            }),
            findings: findings.collect(),
            share: None,
            about: None,
        }
    }
}
