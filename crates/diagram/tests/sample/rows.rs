//! Builds rows one after another.

use std::time::Duration;

use restante_diagram::{
    anomaly::Anomaly,
    row::{Carried, Finding, Remark, Row, RowKind, Share},
};
use restante_proto::{
    dialogue::{Flag, Flags, Side},
    phase::Phase,
};

pub(super) const SYN: &[Flag] = &[Flag::Syn];
pub(super) const SYN_ACK: &[Flag] = &[Flag::Syn, Flag::Ack];
pub(super) const ACK: &[Flag] = &[Flag::Ack];
pub(super) const PSH_ACK: &[Flag] = &[Flag::Psh, Flag::Ack];
pub(super) const FIN_ACK: &[Flag] = &[Flag::Fin, Flag::Ack];

#[derive(Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
    now: Duration,
    phase: Option<Phase>,
}

/// The row that was added last, to say more of it.
pub(super) struct Last<'a>(&'a mut Row);

impl Rows {
    pub(super) fn flags(flags: &[Flag]) -> &[Flag] {
        flags
    }

    pub(super) fn phase(&mut self, phase: Phase) {
        self.phase = Some(phase);
    }

    pub(super) fn no_phase(&mut self) {
        self.phase = None;
    }

    pub(super) fn add(&mut self, micros: u64, from: Option<Side>, kind: RowKind, label: &str) -> Last<'_> {
        let since = Duration::from_micros(micros);
        self.now += since;
        let row = Row {
            number: self.rows.len() as u64 + 1,
            at: Some(self.now),
            since: (!self.rows.is_empty()).then_some(since),
            phase: self.phase,
            kind,
            from,
            label: label.to_owned(),
            lines: Vec::new(),
            lines_left_out: 0,
            carried: None,
            remark: None,
            findings: Vec::new(),
            share: None,
            about: None,
        };
        self.rows.push(row);
        Last(self.rows.last_mut().unwrap())
    }

    pub(super) fn segment(
        &mut self,
        micros: u64,
        from: Side,
        label: &str,
        flags: &[Flag],
        seq: u32,
        ack: Option<u32>,
    ) -> Last<'_> {
        self.add(micros, Some(from), RowKind::Segment, label).carried(flags, seq, ack, 0)
    }

    /// A command or a reply in a segment of its own.
    pub(super) fn say(&mut self, micros: u64, from: Side, label: &str, seq: u32, ack: u32) -> Last<'_> {
        let kind = if from == Side::Client { RowKind::Command } else { RowKind::Reply };
        let octets = label.len() as u64 + 2;
        self.add(micros, Some(from), kind, label).carried(PSH_ACK, seq, Some(ack), octets)
    }

    pub(super) fn listing(
        &mut self,
        micros: u64,
        lines: &[&str],
        left_out: u64,
        seq: u32,
        ack: u32,
    ) -> Last<'_> {
        let count = lines.len() as u64 + left_out;
        let label = restante_diagram::words::count(count, "line");
        let octets = lines.iter().map(|line| line.len() as u64 + 2).sum::<u64>() + 3;
        let row = self.add(micros, Some(Side::Server), RowKind::Listing, &label);
        let row = row.carried(PSH_ACK, seq, Some(ack), octets).lines(lines, left_out);
        row.0.carried.as_mut().unwrap().shared = true;
        row
    }

    pub(super) fn message(
        &mut self,
        micros: u64,
        label: &str,
        lines: &[&str],
        left_out: u64,
        seq: u32,
        ack: u32,
    ) -> Last<'_> {
        self.add(micros, Some(Side::Server), RowKind::Message, label)
            .carried(PSH_ACK, seq, Some(ack), 1_322)
            .lines(lines, left_out)
            .several(2)
            .acks(1)
    }

    pub(super) fn records(&mut self, micros: u64, from: Side, label: &str, octets: u64) -> Last<'_> {
        self.add(micros, Some(from), RowKind::Records, label).carried(PSH_ACK, 1, Some(1), octets)
    }

    pub(super) fn note(&mut self, micros: u64, label: &str) -> Last<'_> {
        self.add(micros, None, RowKind::Note, label)
    }

    pub(super) fn done(self) -> Vec<Row> {
        self.rows
    }
}

impl Last<'_> {
    pub(super) fn carried(self, flags: &[Flag], seq: u32, ack: Option<u32>, octets: u64) -> Self {
        let flags = flags.iter().fold(Flags::default(), |all, flag| all.with(*flag));
        self.0.carried =
            Some(Carried { count: 1, flags, seq: Some(seq), ack, octets, shared: false, acks: 0 });
        self
    }

    pub(super) fn several(self, count: u64) -> Self {
        self.0.carried.as_mut().unwrap().count = count;
        self
    }

    pub(super) fn acks(self, acks: u64) -> Self {
        self.0.carried.as_mut().unwrap().acks = acks;
        self
    }

    pub(super) fn lines(self, lines: &[&str], left_out: u64) -> Self {
        self.0.lines = lines.iter().map(|line| (*line).to_owned()).collect();
        self.0.lines_left_out = left_out;
        self
    }

    pub(super) fn remark(self, text: &str, rfc: impl Into<Option<&'static str>>) -> Self {
        self.0.remark = Some(Remark { text: text.to_owned(), rfc: rfc.into() });
        self
    }

    pub(super) fn share(self, network: u64, peer: u64) -> Self {
        self.0.share =
            Some(Share { network: Duration::from_micros(network), peer: Duration::from_micros(peer) });
        self
    }

    pub(super) fn finding(self, anomaly: Anomaly, text: &str) -> Self {
        self.0.findings.push(Finding { anomaly, text: text.to_owned() });
        self
    }
}
