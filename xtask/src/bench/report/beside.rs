//! What is told beside the table of all cells: small sessions while others work, very many sessions, deletion, and
//! system calls.

use std::fmt::Write;

use super::{Outcome, Report, Row, number};
use crate::bench::cells::Work;

/// So many of a server's system calls are named.
const CALLS_NAMED: usize = 8;

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), number)
}

impl Report<'_> {
    /// The rows of a kind of work, each with its servers' outcomes by name.
    fn of(&self, is: impl Fn(&Work) -> bool, main: &str) -> Vec<&Row> {
        let has = |row: &&Row| {
            is(&row.cell.work)
                && row.outcomes.iter().any(|outcome| {
                    outcome.runs().iter().any(|run| main.is_empty() || run.further.contains_key(main))
                })
        };
        self.rows.iter().filter(has).collect()
    }

    pub(super) fn write_calm(&self, out: &mut String) -> std::fmt::Result {
        let rows = self.of(|work| matches!(work, Work::Calm { .. }), "ratio");
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n## Small sessions while others work\n\nTimes in ms, p50 / p99 / most, of sessions on 5 messages that begin at \
             a fixed rate, each counted from when it was due: alone; beside the others; and, as a control, beside processes \
             that burn as much CPU as server and clients took for the others' sake, and have nothing to do with the \
             server. What the control suffers is the scheduler's share: any server would. The client that is timed runs at \
             nice −10, servers and what burns for them at 0, the others' clients and what burns for them at 10. \
             «Processors» are those that the server took for the others; a session that was refused or not begun in time \
             is not among the times, but counted.\n"
        )?;
        writeln!(
            out,
            "| cell | server | alone | beside the others | ÷ alone, p99 | control | ÷ control, p99 | not had | processors | others' work |"
        )?;
        writeln!(out, "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for row in rows {
            for (subject, outcome) in self.subjects.iter().zip(&row.outcomes) {
                let of = |number: &str| outcome.further(number).map(|spread| spread.median);
                let three = |name: &str| {
                    let part = |part: &str| shown(of(&format!("{name}_{part}")));
                    format!("{} / {} / {}", part("p50"), part("p99"), part("max"))
                };
                if outcome.runs().is_empty() {
                    continue;
                }
                let ratio = outcome.further("ratio").map_or_else(
                    || "–".into(),
                    |ratio| {
                        format!("{} ({}–{})", number(ratio.median), number(ratio.least), number(ratio.most))
                    },
                );
                let by_control =
                    of("beside_p99").zip(of("control_p99")).map(|(beside, control)| beside / control);
                let failed: f64 = outcome
                    .runs()
                    .iter()
                    .filter_map(|run| run.further.get("beside_failed"))
                    .fold(0.0, |sum, more| sum + more);
                writeln!(
                    out,
                    "| {} | {} | {} | {} | {ratio} | {} | {} | {failed:.0} | {} | {} |",
                    row.cell.name,
                    subject.name,
                    three("alone"),
                    three("beside"),
                    three("control"),
                    shown(by_control),
                    shown(of("server_share")),
                    shown(of("did")),
                )?;
            }
        }
        writeln!(
            out,
            "\nThe others' work: how many drops were opened or deleted, or how many of the others' sessions were done, in a \
             run. A server that does little of it disturbs little."
        )
    }

    pub(super) fn write_crowds(&self, out: &mut String) -> std::fmt::Result {
        let rows = self.of(|work| matches!(work, Work::Crowd { .. }), "newcomer_p99_ms");
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n## Very many sessions\n\nMemory is PSS of the whole server for a session; «added» leaves out what it had before; \
             «sockets» is what the system holds for all TCP sockets, on loopback those of both ends. Newcomers are small \
             sessions at a fixed rate while the others are held, p50 / p99 / most in ms.\n"
        )?;
        writeln!(out, "| cell | server | sessions | KiB | added | sockets | newcomers |")?;
        writeln!(out, "| --- | --- | ---: | ---: | ---: | ---: | ---: |")?;
        for row in rows {
            for (subject, outcome) in self.subjects.iter().zip(&row.outcomes) {
                let of = |number: &str| outcome.further(number).map(|spread| spread.median);
                let Some(memory) = outcome.spread() else { continue };
                writeln!(
                    out,
                    "| {} | {} | {} | {} | {} | {} | {} / {} / {} |",
                    row.cell.name,
                    subject.name,
                    of("sessions").map_or_else(|| "–".into(), |sessions| format!("{sessions:.0}")),
                    number(memory.median),
                    shown(of("added_kib")),
                    shown(of("socket_kib")),
                    shown(of("newcomer_p50_ms")),
                    shown(of("newcomer_p99_ms")),
                    shown(of("newcomer_max_ms")),
                )?;
            }
        }
        Ok(())
    }

    /// How much of a QUIT that deletes is work, and how much waiting.
    pub(super) fn write_deletion(&self, out: &mut String) -> std::fmt::Result {
        for row in self.of(|work| matches!(work, Work::Delete { .. }), "quit_wall_ms") {
            writeln!(
                out,
                "\n## QUIT after {}\n\n| server | CPU-ms | ms until +OK | of them waiting | durable |",
                row.cell.about
            )?;
            writeln!(out, "| --- | ---: | ---: | ---: | --- |")?;
            for (subject, outcome) in self.subjects.iter().zip(&row.outcomes) {
                let of = |number: &str| outcome.further(number).map(|spread| spread.median);
                let (cpu, wall) = (of("quit_ms"), of("quit_wall_ms"));
                if outcome.runs().is_empty() {
                    continue;
                }
                writeln!(
                    out,
                    "| {} | {} | {} | {} | {} |",
                    subject.name,
                    shown(cpu),
                    shown(wall),
                    shown(wall.zip(cpu).map(|(wall, cpu)| (wall - cpu).max(0.0))),
                    if subject.durable { "fsync before +OK" } else { "no fsync" },
                )?;
            }
            writeln!(
                out,
                "\nCPU is counted until the server is at rest, so it may be more than the time until `+OK`; waiting is the \
                 time in which nothing was computed: the disk, for who makes it durable."
            )?;
        }
        Ok(())
    }

    pub(super) fn write_calls(&self, out: &mut String) -> std::fmt::Result {
        let counted = |work: &Work| matches!(work, Work::Calls(_));
        let rows: Vec<&Row> = self.of(counted, "");
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n## System calls\n\nOf all processes of the server, for one session, counted by strace in a run of their own: \
             {CALLS_NAMED} of the most frequent ones.\n"
        )?;
        writeln!(out, "| cell | server | all | which |")?;
        writeln!(out, "| --- | --- | ---: | --- |")?;
        for row in rows {
            for (subject, outcome) in self.subjects.iter().zip(&row.outcomes) {
                let Some(all) = outcome.spread() else { continue };
                writeln!(
                    out,
                    "| {} | {} | {} | {} |",
                    row.cell.name,
                    subject.name,
                    number(all.median),
                    most_frequent(outcome)
                )?;
            }
        }
        Ok(())
    }
}

fn most_frequent(outcome: &Outcome) -> String {
    let Some(run) = outcome.runs().first() else { return String::new() };
    let mut calls: Vec<(&String, &f64)> = run.counts.iter().collect();
    calls.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let calls = calls.iter().take(CALLS_NAMED).map(|(call, count)| format!("{call} {}", number(**count)));
    calls.collect::<Vec<_>>().join(", ")
}
