//! The result: what is wanted and what was reached, then all numbers, in Markdown; and every run, in JSON.

use std::{fmt::Write, fs, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use super::{
    cells::{Cell, DELAY_MS, GOALS, Goal, Number, What},
    kind::floor,
    options::{CLIENTS, Options},
    watch::Run,
};
use crate::{
    bench::{
        machine::Machine,
        process::Accounting,
        report::{Spread, number},
    },
    run::{self, Failure},
};

/// What came of a cell for one client.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Runs(Vec<Run>),
    /// The same, but a further run took longer than so many seconds, and was the last.
    Stalled(Vec<Run>, f64),
    /// It takes longer than so many seconds.
    Late(f64),
    /// Why there is none.
    Cannot(String),
}

/// A cell with an outcome for each client.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) cell: Cell,
    pub(super) outcomes: Vec<Outcome>,
}

/// A client as the report names it.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) version: Option<String>,
    pub(super) configured: &'static str,
    pub(super) durable: bool,
    /// Whether it knows what it fetched before; one that does not is no mail client, and not among the best of them.
    pub(super) remembers: bool,
}

impl Run {
    pub(super) fn peak_mib(&self) -> f64 {
        self.peak_kib as f64 / 1024.0
    }

    fn number(&self, which: Number, cell: &Cell) -> Option<f64> {
        match which {
            Number::Wall => Some(self.wall_seconds),
            Number::CpuMessage => Some(self.cpu_seconds * 1000.0 / f64::from(cell.messages().max(1))),
            Number::Memory => Some(self.peak_mib()).filter(|mib| *mib > 0.0),
        }
    }
}

impl Outcome {
    fn runs(&self) -> &[Run] {
        match self {
            Self::Runs(runs) | Self::Stalled(runs, _) => runs,
            Self::Late(_) | Self::Cannot(_) => &[],
        }
    }

    fn spread(&self, which: Number, cell: &Cell) -> Option<Spread> {
        Spread::of(self.runs().iter().filter_map(|run| run.number(which, cell)).collect())
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
    let name = format!("{}-{}-client", machine.date, machine.name);
    let out = match (&options.out, options.quick) {
        (Some(out), _) => out.clone(),
        (None, true) => run::root().join("target/bench").join(name),
        (None, false) => run::root().join("bench/runs").join(name),
    };
    let report = Report { options, machine, accounting, subjects, rows, took };
    let mut markdown = String::new();
    // Writing to a string cannot fail.
    report.write_markdown(&mut markdown).unwrap_or_default();
    print!("\n{markdown}");
    fs::create_dir_all(&out)
        .and_then(|()| fs::write(out.join("README.md"), markdown))
        .and_then(|()| fs::write(out.join("results.json"), format!("{:#}\n", report.json())))
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

/// A goal beside what was reached.
struct Line<'a> {
    cell: &'a Cell,
    goal: &'static Goal,
    ours: Option<f64>,
    /// Ours takes longer than it was given.
    late: bool,
    best: Option<(&'static str, f64)>,
    floor: Option<f64>,
}

impl Line<'_> {
    fn verdict(&self, judged: bool) -> &'static str {
        match self.ours {
            _ if !judged => "not judged",
            Some(ours) if ours <= self.goal.most => "met",
            None if !self.late => "not measured",
            _ => "**missed**",
        }
    }
}

impl Report<'_> {
    fn lines(&self) -> Vec<Line<'_>> {
        let line = |goal: &'static Goal| {
            let row = self.rows.iter().find(|row| row.cell.name == goal.cell)?;
            let medians = || {
                let medians = self.subjects.iter().zip(&row.outcomes);
                medians.filter_map(|(subject, outcome)| {
                    Some((subject, outcome.spread(goal.number, &row.cell)?.median))
                })
            };
            let of = |name: &str| medians().find(|(of, _)| of.name == name).map(|(_, median)| median);
            let (ours, floor) = (CLIENTS[0], floor::FLOOR.name());
            let others = medians().filter(|(of, _)| of.remembers && of.name != ours && of.name != floor);
            let others = others.map(|(of, median)| (of.name, median));
            let at = self.subjects.iter().position(|subject| subject.name == ours);
            Some(Line {
                cell: &row.cell,
                goal,
                ours: of(ours),
                late: at.is_some_and(|at| matches!(row.outcomes[at], Outcome::Late(_))),
                best: others.reduce(|best, other| if other.1 < best.1 { other } else { best }),
                floor: of(floor),
            })
        };
        GOALS.iter().filter_map(line).collect()
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "# The client, {} on {}\n", self.machine.date, self.machine.name)?;
        if self.options.quick {
            writeln!(out, "**A quick run: it shows that everything works. Its numbers mean nothing.**\n")?;
        }
        for warning in self.machine.warnings() {
            writeln!(out, "**Note: {warning}.**\n")?;
        }
        self.write_goals(out)?;
        writeln!(
            out,
            "\nMedian (least–most) of {} runs below, or of as many as fit into {:.0} s for each client in a cell. How it \
             is measured: [docs/benchmarks.md](../../../docs/benchmarks.md).",
            self.options.runs,
            self.options.limit.as_secs_f64()
        )?;
        writeln!(out, "\n## Seconds\n\nFrom the start of the client to its end; in brackets the runs.\n")?;
        self.write_table(out, Number::Wall, |_| true)?;
        writeln!(out, "\n## CPU\n\nMilliseconds of the client, and of what it starts, for a message.\n")?;
        self.write_table(out, Number::CpuMessage, |cell| cell.what == What::All)?;
        writeln!(out, "\n## Memory\n\nThe most that a process of the client had at a time, in MiB.\n")?;
        self.write_table(out, Number::Memory, |_| true)?;
        self.write_notes(out)?;
        self.write_facts(out)
    }

    fn write_goals(&self, out: &mut String) -> std::fmt::Result {
        let lines = self.lines();
        if lines.is_empty() {
            return Ok(());
        }
        let judged = self.options.has_default_sizes();
        let count = |verdict: &str| lines.iter().filter(|line| line.verdict(judged) == verdict).count();
        writeln!(out, "## What is wanted, and what was reached\n")?;
        if judged {
            writeln!(out, "{} met, {} missed.\n", count("met"), count("**missed**"))?;
        } else {
            writeln!(out, "Goals are those of the default sizes; this run has others and is not judged.\n")?;
        }
        writeln!(out, "| case | unit | goal | ours | best of the others | others ÷ ours | floor | |")?;
        writeln!(out, "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |")?;
        for line in &lines {
            let shown = |value: Option<f64>| value.map_or_else(|| "–".into(), number);
            let times = line.best.zip(line.ours).filter(|(_, ours)| *ours > 0.0);
            // Throwing away takes neither the CPU nor the memory that fetching takes.
            let floor = line.floor.filter(|_| line.goal.number == Number::Wall);
            writeln!(
                out,
                "| {} | {} | ≤ {} | {} | {} | {} | {} | {} |",
                line.cell.about(),
                line.goal.number.words(),
                number(line.goal.most),
                shown(line.ours),
                line.best.map_or_else(|| "–".into(), |(name, best)| format!("{} ({name})", number(best))),
                times.map_or_else(|| "–".into(), |((_, best), ours)| format!("{:.1}×", best / ours)),
                shown(floor),
                line.verdict(judged),
            )?;
        }
        let durable = self.subjects.iter().filter(|subject| subject.durable);
        let durable: Vec<&str> = durable.map(|subject| subject.name).collect();
        writeln!(
            out,
            "\nThe floor asks for everything in one write and throws away what comes, from the same server over the same \
             connection. The others are those that remember what they fetched. A message is on the disk when it counts as \
             fetched: {}.",
            durable.join(", ")
        )
    }

    fn write_table(&self, out: &mut String, which: Number, wanted: fn(&Cell) -> bool) -> std::fmt::Result {
        write!(out, "| case |")?;
        self.subjects.iter().try_for_each(|subject| write!(out, " {} |", subject.name))?;
        writeln!(out, "\n| --- |{}", " ---: |".repeat(self.subjects.len()))?;
        for row in self.rows.iter().filter(|row| wanted(&row.cell)) {
            write!(out, "| {} |", row.cell.about())?;
            row.outcomes
                .iter()
                .try_for_each(|outcome| write!(out, " {} |", shown(outcome, which, &row.cell)))?;
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_notes(&self, out: &mut String) -> std::fmt::Result {
        let mut notes: Vec<(String, Vec<&str>)> = Vec::new();
        for row in self.rows {
            for (outcome, subject) in row.outcomes.iter().zip(self.subjects) {
                let Outcome::Cannot(why) = outcome else { continue };
                let note = format!("{}: {why}", subject.name);
                match notes.iter_mut().find(|(known, _)| *known == note) {
                    Some((_, cells)) => cells.push(row.cell.name),
                    None => notes.push((note, vec![row.cell.name])),
                }
            }
        }
        if notes.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nNot measured:\n")?;
        for (note, cells) in notes {
            let cells = if cells.len() == self.rows.len() { "all cells".into() } else { cells.join(", ") };
            writeln!(out, "- {note} ({cells})")?;
        }
        Ok(())
    }

    fn write_facts(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n## What was measured\n")?;
        for subject in self.subjects {
            let version = match (&subject.version, subject.name == floor::FLOOR.name()) {
                (Some(version), _) => format!(" {version}"),
                (None, true) => String::new(),
                (None, false) => " not there".to_owned(),
            };
            writeln!(out, "- **{}**{version}: {}.", subject.name, subject.configured)?;
        }
        writeln!(out, "- All fetched from **{}**; far away: {DELAY_MS} ms each way.", self.options.server)?;
        writeln!(out, "\n## Where\n")?;
        self.machine.facts.iter().try_for_each(|(name, value)| writeln!(out, "- {name}: {value}"))?;
        writeln!(out, "- CPU time: {}", self.accounting_words())?;
        writeln!(out, "- the whole run took {:.0} s", self.took.as_secs_f64())
    }

    const fn accounting_words(&self) -> &'static str {
        match self.accounting {
            Accounting::Group(_) => "a control group (v2) for each run of a client, in µs",
            Accounting::Proc { .. } => {
                "/proc: the client and the children that it waited for, in clock ticks; memory is that of the client's \
                 first process"
            }
        }
    }

    fn json(&self) -> Value {
        let row = |row: &Row| {
            let clients: serde_json::Map<_, _> = self
                .subjects
                .iter()
                .zip(&row.outcomes)
                .map(|(subject, outcome)| (subject.name.to_owned(), outcome_json(outcome, &row.cell)))
                .collect();
            let goals: serde_json::Map<_, _> = GOALS
                .iter()
                .filter(|goal| goal.cell == row.cell.name)
                .map(|goal| (goal.number.words().to_owned(), json!(goal.most)))
                .collect();
            json!({
                "cell": row.cell.name,
                "about": row.cell.about(),
                "messages": row.cell.messages(),
                "clients": clients,
                "goals": goals,
            })
        };
        let subject = |subject: &Subject| {
            json!({
                "name": subject.name,
                "version": subject.version,
                "configured": subject.configured,
                "durable": subject.durable,
            })
        };
        json!({
            "machine": self.machine.json(),
            "cpu_time": self.accounting_words(),
            "quick": self.options.quick,
            "runs": self.options.runs,
            "limit_seconds": self.options.limit.as_secs_f64(),
            "server": self.options.server,
            "seconds": self.took.as_secs_f64(),
            "clients": self.subjects.iter().map(subject).collect::<Vec<_>>(),
            "cells": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

fn outcome_json(outcome: &Outcome, cell: &Cell) -> Value {
    match outcome {
        Outcome::Cannot(why) => json!({ "cannot": why }),
        Outcome::Late(seconds) => json!({ "more_than_seconds": seconds }),
        Outcome::Runs(runs) | Outcome::Stalled(runs, _) => {
            let median = |which| outcome.spread(which, cell).map(|spread| spread.median);
            let run = |run: &Run| json!({ "wall_seconds": run.wall_seconds, "cpu_seconds": run.cpu_seconds, "peak_kib": run.peak_kib });
            let last = match outcome {
                Outcome::Stalled(_, seconds) => Some(seconds),
                _ => None,
            };
            json!({
                "wall_seconds": median(Number::Wall),
                "cpu_ms_per_message": median(Number::CpuMessage),
                "peak_mib": median(Number::Memory),
                "runs": runs.iter().map(run).collect::<Vec<_>>(),
                "last_more_than_seconds": last,
            })
        }
    }
}

fn shown(outcome: &Outcome, which: Number, cell: &Cell) -> String {
    if let (Outcome::Late(seconds), Number::Wall) = (outcome, which) {
        return format!("> {seconds:.0}");
    }
    let Some(spread) = outcome.spread(which, cell) else { return "–".into() };
    let (least, median, most) = (number(spread.least), number(spread.median), number(spread.most));
    match (which, outcome, outcome.runs().len()) {
        (Number::Wall, Outcome::Stalled(_, seconds), runs) => {
            format!("{median} ({least}–{most}) [{runs}, then > {seconds:.0}]")
        }
        (_, _, 1) => median,
        (Number::Wall, _, runs) => format!("{median} ({least}–{most}) [{runs}]"),
        (Number::CpuMessage | Number::Memory, _, _) => format!("{median} ({least}–{most})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell() -> Cell {
        let options = Options::parse(&[]).ok().flatten().expect("no arguments are right");
        super::super::cells::cells(&options).remove(0)
    }

    fn run(wall_seconds: f64) -> Run {
        Run { wall_seconds, cpu_seconds: 0.4, peak_kib: 2048 }
    }

    #[test]
    fn outcomes_are_shown_with_what_they_stand_on() {
        let (cell, wall) = (cell(), Number::Wall);
        assert_eq!(
            shown(&Outcome::Runs(vec![run(1.0), run(3.0), run(2.0)]), wall, &cell),
            "2.00 (1.00–3.00) [3]"
        );
        assert_eq!(shown(&Outcome::Runs(vec![run(1.0)]), wall, &cell), "1.00");
        assert_eq!(shown(&Outcome::Runs(vec![run(1.0)]), Number::CpuMessage, &cell), "0.200");
        assert_eq!(shown(&Outcome::Runs(vec![run(1.0)]), Number::Memory, &cell), "2.00");
        let stalled = Outcome::Stalled(vec![run(1.0)], 60.0);
        assert_eq!(shown(&stalled, wall, &cell), "1.00 (1.00–1.00) [1, then > 60]");
        assert_eq!(shown(&Outcome::Late(60.0), wall, &cell), "> 60");
        assert_eq!(shown(&Outcome::Cannot("gone".into()), wall, &cell), "–");
    }

    #[test]
    fn who_is_late_has_missed_the_goal() {
        let cell = cell();
        let line = |ours, late| Line { cell: &cell, goal: &GOALS[0], ours, late, best: None, floor: None };
        let verdicts = [(Some(1.0), false), (Some(1.1), false), (None, true), (None, false)]
            .map(|(ours, late)| line(ours, late).verdict(true));
        assert_eq!(verdicts, ["met", "**missed**", "**missed**", "not measured"]);
        assert_eq!(line(Some(1.0), false).verdict(false), "not judged");
    }
}
