//! The result: tables for people, in Markdown, and every number of every run, in JSON. Ours against what is wanted of
//! it is `report/summary.rs`, curves are `report/curves.rs`, what is told beside the table of all cells is
//! `report/beside.rs`.

use std::{collections::BTreeMap, fmt::Write, fs, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use super::{
    cells::{Cell, goals},
    machine::Machine,
    measure::Run,
    options::Options,
    process::Accounting,
};
use crate::run::{self, Failure};

mod beside;
mod curves;
mod summary;

/// What came of a cell on one server.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Runs(Vec<Run>),
    /// Why there is none.
    Cannot(String),
}

/// A row of the table: an outcome for each server, ours first.
#[derive(Clone, Debug)]
pub(super) struct Row {
    cell: Cell,
    pub(super) outcomes: Vec<Outcome>,
}

/// A server as the report names it.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) version: Option<String>,
    pub(super) configured: &'static str,
    /// Whether its changes are on the disk when it says so.
    pub(super) durable: bool,
}

impl Row {
    /// The row of a cell, and those of its further numbers.
    pub(super) fn all(cell: Cell, outcomes: Vec<Outcome>) -> Vec<Self> {
        let mut rows = Vec::new();
        for (further, number) in cell.further() {
            let of = |run: &Run| Some(Run { value: *run.further.get(number)?, ..Run::default() });
            let outcome = |outcome: &Outcome| match outcome {
                Outcome::Runs(runs) => Outcome::Runs(runs.iter().filter_map(of).collect()),
                Outcome::Cannot(why) => Outcome::Cannot(why.clone()),
            };
            rows.push(Self { cell: further, outcomes: outcomes.iter().map(outcome).collect() });
        }
        rows.insert(0, Self { cell, outcomes });
        rows
    }

    fn ours(&self) -> Option<Spread> {
        self.outcomes.first()?.spread()
    }

    /// The median of the best of the others. Ours stands first.
    fn best_of_the_others(&self) -> Option<f64> {
        let others = self.outcomes.get(1..)?.iter();
        others.filter_map(|outcome| Some(outcome.spread()?.median)).reduce(f64::min)
    }

    /// How many times ours the best of the others needs, where both are known.
    fn ratio(&self) -> Option<f64> {
        let ours = self.ours()?.median;
        let best = self.best_of_the_others()?;
        (ours > 0.0).then(|| best / ours)
    }
}

/// The middle and the ends of some runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) most: f64,
}

impl Spread {
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Self { least, median, most })
    }
}

impl Outcome {
    fn runs(&self) -> &[Run] {
        match self {
            Self::Runs(runs) => runs,
            Self::Cannot(_) => &[],
        }
    }

    fn spread(&self) -> Option<Spread> {
        Spread::of(self.runs().iter().map(|run| run.value).collect())
    }

    /// The spread of a further number.
    fn further(&self, number: &str) -> Option<Spread> {
        Spread::of(self.runs().iter().filter_map(|run| run.further.get(number).copied()).collect())
    }

    /// Median of the medians, and of the 99th percentiles, of a session's time.
    fn session_ms(&self) -> Option<(f64, f64)> {
        let times: Vec<(f64, f64)> = self.runs().iter().filter_map(|run| run.session_ms).collect();
        let median = |values: Vec<f64>| Some(Spread::of(values)?.median);
        median(times.iter().map(|time| time.0).collect())
            .zip(median(times.iter().map(|time| time.1).collect()))
    }
}

/// Writes both files and says where.
pub(super) fn write(
    options: &Options,
    machine: &Machine,
    accounting: &Accounting,
    subjects: &[Subject],
    rows: &[Row],
    took: Duration,
) -> Result<PathBuf, Failure> {
    let name = format!("{}-{}", machine.date, machine.name);
    let out = match (&options.out, options.quick) {
        (Some(out), _) => out.clone(),
        (None, true) => run::root().join("target/bench").join(name),
        (None, false) => run::root().join("bench/runs").join(name),
    };
    let report = Report { options, machine, accounting, subjects, rows, took };
    let markdown = report.markdown();
    print!("\n{markdown}");
    fs::create_dir_all(&out)
        .and_then(|()| fs::write(out.join("README.md"), markdown))
        .and_then(|()| fs::write(out.join("results.json"), format!("{:#}\n", report.json())))
        .and_then(|()| {
            let mut plots = report.curves().into_iter().filter(curves::Curve::is_drawn);
            plots.try_for_each(|curve| fs::write(out.join(curve.file), curve.svg()))
        })
        .map_err(|error| Failure::Failed(format!("{}: {error}", out.display())))?;
    Ok(out)
}

struct Report<'a> {
    options: &'a Options,
    machine: &'a Machine,
    accounting: &'a Accounting,
    subjects: &'a [Subject],
    rows: &'a [Row],
    took: Duration,
}

impl Report<'_> {
    fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        self.write_markdown(&mut text).unwrap_or_default();
        text
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "# {} on {}\n", self.machine.date, self.machine.name)?;
        if self.options.quick {
            writeln!(out, "**A quick run: it shows that everything works. Its numbers mean nothing.**\n")?;
        }
        for warning in self.machine.warnings() {
            writeln!(out, "**Note: {warning}.**\n")?;
        }
        self.write_summary(out)?;
        writeln!(out, "\n## All cells\n")?;
        writeln!(
            out,
            "CPU of all the server's processes, smaller is better: median (least–most) of {} runs, or fewer where a cell takes long. How it is measured: \
             [docs/benchmarks.md](../../../docs/benchmarks.md).\n",
            self.options.runs
        )?;
        write!(out, "| cell | unit |")?;
        self.subjects.iter().try_for_each(|subject| write!(out, " {} |", subject.name))?;
        writeln!(out, " best of the others ÷ ours |")?;
        writeln!(out, "| --- | --- |{} ---: |", " ---: |".repeat(self.subjects.len()))?;
        let mut notes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for row in self.rows {
            write!(out, "| {} | {} |", row.cell.about, row.cell.unit.words())?;
            for (outcome, subject) in row.outcomes.iter().zip(self.subjects) {
                write!(out, " {} |", shown(outcome))?;
                if let Outcome::Cannot(why) = outcome {
                    let of: &mut Vec<&str> = notes.entry(format!("{}: {why}", subject.name)).or_default();
                    of.push(&row.cell.name);
                }
            }
            writeln!(out, " {} |", row.ratio().map_or_else(|| "–".into(), |ratio| format!("{ratio:.1}×")))?;
        }
        if !notes.is_empty() {
            writeln!(out, "\nNot measured:\n")?;
            for (note, of) in &notes {
                let of = if of.len() == self.rows.len() { "all cells".into() } else { of.join(", ") };
                writeln!(out, "- {note} ({of})")?;
            }
        }
        self.write_times(out)?;
        self.write_calm(out)?;
        self.write_crowds(out)?;
        self.write_deletion(out)?;
        self.write_curves(out)?;
        self.write_calls(out)?;
        self.write_facts(out)
    }

    /// Wall time is a second table: two processors share client and server.
    fn write_times(&self, out: &mut String) -> std::fmt::Result {
        let timed: Vec<&Row> = self
            .rows
            .iter()
            .filter(|row| row.outcomes.iter().any(|outcome| outcome.session_ms().is_some()))
            .collect();
        if timed.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n## Times\n\nTime of a whole session as the client sees it, p50 / p99 in ms; and CPU-s of a run:\n"
        )?;
        write!(out, "| cell |")?;
        self.subjects.iter().try_for_each(|subject| write!(out, " {} |", subject.name))?;
        writeln!(out, "\n| --- |{}", " ---: |".repeat(self.subjects.len()))?;
        for row in timed {
            write!(out, "| {} |", row.cell.name)?;
            for outcome in &row.outcomes {
                let cpu = Spread::of(outcome.runs().iter().map(|run| run.cpu_seconds).collect());
                match outcome.session_ms().zip(cpu) {
                    Some(((middle, high), cpu)) => {
                        write!(out, " {} / {}; {:.2} |", number(middle), number(high), cpu.median)?;
                    }
                    None => write!(out, " – |")?,
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_facts(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n## What was measured\n")?;
        for subject in self.subjects {
            let version = subject.version.as_deref().unwrap_or("not installed");
            writeln!(out, "- **{}** {version}: {}.", subject.name, subject.configured)?;
        }
        writeln!(out, "\n## Where\n")?;
        self.machine.facts.iter().try_for_each(|(name, value)| writeln!(out, "- {name}: {value}"))?;
        writeln!(out, "- CPU time: {}", self.accounting.words())?;
        writeln!(out, "- the whole run took {:.0} s", self.took.as_secs_f64())
    }

    fn json(&self) -> Value {
        let row = |row: &Row| {
            let servers: serde_json::Map<_, _> = self
                .subjects
                .iter()
                .zip(&row.outcomes)
                .map(|(subject, outcome)| (subject.name.to_owned(), outcome_json(outcome)))
                .collect();
            json!({
                "cell": row.cell.name,
                "about": row.cell.about,
                "unit": row.cell.unit.words(),
                "servers": servers,
                "best_of_the_others_by_ours": row.ratio(),
                "goal": goals::of(&row.cell.name).map(|goal| goal.most),
            })
        };
        let subject = |subject: &Subject| json!({ "name": subject.name, "version": subject.version, "configured": subject.configured });
        json!({
            "machine": self.machine.json(),
            "cpu_time": self.accounting.words(),
            "quick": self.options.quick,
            "runs": self.options.runs,
            "seconds": self.took.as_secs_f64(),
            "servers": self.subjects.iter().map(subject).collect::<Vec<_>>(),
            "cells": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

fn outcome_json(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Cannot(why) => json!({ "cannot": why }),
        Outcome::Runs(runs) => {
            let spread = outcome.spread();
            let run = |run: &Run| json!({ "value": run.value, "further": run.further, "calls": run.counts, "raw": run.raw });
            json!({
                "median": spread.map(|spread| spread.median),
                "least": spread.map(|spread| spread.least),
                "most": spread.map(|spread| spread.most),
                "runs": runs.iter().map(run).collect::<Vec<_>>(),
            })
        }
    }
}

fn shown(outcome: &Outcome) -> String {
    match outcome.spread() {
        None => "–".into(),
        Some(spread) => {
            format!("{} ({}–{})", number(spread.median), number(spread.least), number(spread.most))
        }
    }
}

/// Three figures that count.
pub(super) fn number(value: f64) -> String {
    let places = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { least: 1.0, median: 2.0, most: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn numbers_have_three_figures() {
        let shown = [0.0612, 1.234, 12.34, 123.4, 1234.5].map(number);
        assert_eq!(shown, ["0.061", "1.23", "12.3", "123", "1234"]);
    }
}
