//! Rows in the order of time: a message is told when it is whole, and by its first octet; what passed meanwhile stands
//! behind it, and the ACKs of its segments are told with it.

use std::{collections::VecDeque, time::Duration};

use crate::{fold::Step, row::RowKind};

/// How many rows wait for one that began before them.
const WAITING_MAX: usize = 512;

/// Rows that wait.
#[derive(Debug, Default)]
pub(super) struct Order {
    waiting: VecDeque<Step>,
    /// A message is under way, of which no row tells yet.
    open: bool,
}

impl Order {
    /// A message begins; what comes waits until it is told.
    pub(super) const fn open(&mut self) {
        self.open = true;
    }

    /// A row is there; those that may be told now go to `out`. `last_at` is when the last of its segments passed.
    pub(super) fn row(&mut self, step: Step, last_at: Option<Duration>, out: &mut Vec<Step>) {
        let closes = self.open && matches!(step.row.kind, RowKind::Message);
        if self.open && !closes && self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(step);
            return;
        }
        if closes || self.open {
            self.open = false;
        } else if is_ack(&step) && self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(step);
            return;
        }
        let mut step = step;
        let begin = step.row.at;
        let carries = step.row.carried.is_some_and(|carried| carried.count > 1);
        let mut behind = VecDeque::new();
        for mut waits in self.waiting.drain(..) {
            let at = waits.row.at;
            let earlier = at.zip(begin).is_none_or(|(at, begin)| at < begin || (at == begin && !carries));
            let within = at.zip(last_at).is_some_and(|(at, last)| at <= last);
            match &mut step.row.carried {
                _ if earlier => out.push(waits),
                Some(carried) if is_ack(&waits) && within && carried.count > 1 => {
                    carried.acks += 1;
                    step.row.findings.append(&mut waits.row.findings);
                }
                _ => behind.push_back(waits),
            }
        }
        out.push(step);
        while behind.front().is_some_and(|step| !is_ack(step)) || behind.iter().any(|step| !is_ack(step)) {
            out.extend(behind.pop_front());
        }
        self.waiting = behind;
    }

    /// Tells all that waits.
    pub(super) fn flush(&mut self, out: &mut Vec<Step>) {
        if !self.open {
            out.extend(self.waiting.drain(..));
        }
    }

    /// Tells all that waits, the session being at its end.
    pub(super) fn end(&mut self, out: &mut Vec<Step>) {
        self.open = false;
        self.flush(out);
    }
}

/// Whether it is a pure ACK.
fn is_ack(step: &Step) -> bool {
    step.row.kind == RowKind::Segment && step.ack
}
