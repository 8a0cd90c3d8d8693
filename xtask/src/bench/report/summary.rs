//! What is wanted of our own server, and what it reached: the first table.

use std::fmt::Write;

use super::{Report, Row, Spread, number};
use crate::bench::{
    cells::Work,
    cells::goals::{self, CALM_RATIO_MAX},
};

/// A line of it.
#[derive(Clone, Debug, PartialEq)]
struct Line<'a> {
    about: &'a str,
    unit: &'static str,
    goal: f64,
    ours: Option<f64>,
    best: Option<f64>,
    floor: &'static str,
}

impl Line<'_> {
    fn verdict(&self, judged: bool) -> &'static str {
        match self.ours {
            _ if !judged => "not judged",
            None => "not measured",
            Some(ours) if ours <= self.goal => "met",
            Some(_) => "**missed**",
        }
    }
}

fn line(row: &Row) -> Option<Line<'_>> {
    if matches!(row.cell.work, Work::Calm { .. }) {
        // What counts is how many times longer it takes beside the others.
        let ratio = |of: Option<Spread>| of.map(|spread| spread.median);
        let mut ratios = row.outcomes.iter().map(|outcome| ratio(outcome.further("ratio")));
        return Some(Line {
            about: &row.cell.about,
            unit: "p99 ÷ p99 alone",
            goal: CALM_RATIO_MAX,
            ours: ratios.next()?,
            best: ratios.flatten().reduce(f64::min),
            floor: "",
        });
    }
    let goal = goals::of(&row.cell.name)?;
    Some(Line {
        about: &row.cell.about,
        unit: row.cell.unit.words(),
        goal: goal.most,
        ours: row.ours().map(|spread| spread.median),
        best: row.best_of_the_others(),
        floor: goal.floor,
    })
}

impl Report<'_> {
    pub(super) fn write_summary(&self, out: &mut String) -> std::fmt::Result {
        let lines: Vec<Line<'_>> = self.rows.iter().filter_map(line).collect();
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
        writeln!(out, "| cell | unit | goal | ours | best of the others | others ÷ ours | floor | |")?;
        writeln!(out, "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |")?;
        for line in &lines {
            let shown = |value: Option<f64>| value.map_or_else(|| "–".into(), number);
            let times = line.best.zip(line.ours).filter(|(_, ours)| *ours > 0.0);
            writeln!(
                out,
                "| {} | {} | ≤ {} | {} | {} | {} | {} | {} |",
                line.about,
                line.unit,
                number(line.goal),
                shown(line.ours),
                shown(line.best),
                times.map_or_else(|| "–".into(), |(best, ours)| format!("{:.1}×", best / ours)),
                if line.floor.is_empty() { "–" } else { line.floor },
                line.verdict(judged),
            )?;
        }
        writeln!(
            out,
            "\nThe floor is what a bare server needs that makes the same round trips and nothing else, on a machine like \
             that of the goals: two processors. Only numbers of one machine can be compared."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_up_to_its_number() {
        let of = |ours| Line { about: "", unit: "", goal: 0.4, ours, best: None, floor: "" };
        let verdicts = [Some(0.4), Some(0.41), None].map(|ours| of(ours).verdict(true));
        assert_eq!(verdicts, ["met", "**missed**", "not measured"]);
        assert_eq!(of(Some(0.1)).verdict(false), "not judged");
    }
}
