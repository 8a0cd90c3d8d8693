//! What a check found, in a verdict and words, and the table or the JSON in which it is told.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    failure::Failure,
    output,
    terminal::{self, fit, harmless_json, harmless_line, width},
};

/// How good what was found is; the later the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Ok,
    /// Nothing is wrong, but it is good to know.
    Note,
    Warning,
    Fail,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fail => "fail",
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Self::Ok => "32",
            Self::Note => "36",
            Self::Warning => "33",
            Self::Fail => "1;31",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    detail: Vec<String>,
    advice: Option<&'static str>,
}

impl Finding {
    pub(super) fn ok(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, detail: vec![detail.into()], advice: None }
    }

    pub(super) fn note(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, ..Self::ok(detail) }
    }

    pub(super) fn warning(detail: impl Into<String>, advice: &'static str) -> Self {
        Self { verdict: Verdict::Warning, advice: Some(advice), ..Self::ok(detail) }
    }

    pub(super) fn fail(detail: impl Into<String>, advice: &'static str) -> Self {
        Self { verdict: Verdict::Fail, advice: Some(advice), ..Self::ok(detail) }
    }

    /// One more thing about it; the worst verdict counts, with its advice.
    pub(super) fn and(mut self, other: Self) -> Self {
        if other.verdict > self.verdict || self.advice.is_none() {
            self.advice = other.advice;
        }
        self.verdict = self.verdict.max(other.verdict);
        self.detail.extend(other.detail);
        self
    }

    /// No worse than this, for what is not asked of the server.
    pub(super) fn at_worst(mut self, verdict: Verdict) -> Self {
        self.verdict = self.verdict.min(verdict);
        self
    }

    fn words(&self) -> String {
        harmless_line(&self.detail.join("; "))
    }
}

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Table,
    Json,
}

/// The checks as they come.
pub(super) struct Report {
    form: Form,
    colour: bool,
    columns: Option<usize>,
    group: &'static str,
    done: Vec<serde_json::Value>,
    /// How many of each verdict there were.
    counts: [usize; 4],
}

/// Columns of the longest verdict.
const VERDICT_COLUMNS: usize = 7;

/// Columns of the longest name.
const NAME_COLUMNS: usize = 15;

impl Report {
    pub(super) fn new(form: Form) -> Self {
        let (colour, columns) = (output::stdout_takes_colour(), terminal::columns());
        Self { form, colour, columns, group: "", done: Vec::new(), counts: [0; 4] }
    }

    /// What is examined next; `id` stands before the names of the checks.
    pub(super) fn group(&mut self, id: &'static str, title: &str) -> Result<(), Failure> {
        let first = self.group.is_empty();
        self.group = id;
        if self.form == Form::Json {
            return Ok(());
        }
        let line = if first { "" } else { "\n" };
        let title = harmless_line(title);
        output::print(&format!(
            "{line}{}\n",
            if self.colour { format!("\x1b[1m{title}\x1b[0m") } else { title }
        ))
    }

    /// A check is done that began then.
    pub(super) fn tell(
        &mut self,
        name: &'static str,
        begun: Instant,
        finding: &Finding,
    ) -> Result<(), Failure> {
        self.counts[finding.verdict as usize] += 1;
        match self.form {
            Form::Table => output::print(&self.rows(name, finding)),
            Form::Json => {
                self.done.push(json!({
                    "id": format!("{}.{name}", self.group),
                    "verdict": finding.verdict.word(),
                    "detail": finding.words(),
                    "advice": finding.advice,
                    "seconds": (begun.elapsed().as_secs_f64() * 1e6).round() / 1e6,
                }));
                Ok(())
            }
        }
    }

    fn rows(&self, name: &str, finding: &Finding) -> String {
        let paint = |text: String, code: &str| match self.colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text,
        };
        let indent = VERDICT_COLUMNS + 2 + NAME_COLUMNS + 2;
        let room = self.columns.map_or(usize::MAX, |columns| columns.saturating_sub(indent).max(20));
        let mut out = format!(
            "{}  {}  ",
            paint(fit(finding.verdict.word(), VERDICT_COLUMNS), finding.verdict.colour()),
            fit(name, NAME_COLUMNS)
        );
        let between = format!("\n{}", " ".repeat(indent));
        out.push_str(&wrapped(&finding.words(), room).join(&between));
        if let Some(advice) = finding.advice.filter(|_| finding.verdict > Verdict::Ok) {
            let lines = wrapped(&format!("→ {advice}"), room);
            for line in lines {
                out.push_str(&between);
                out.push_str(&paint(line, "2"));
            }
        }
        out + "\n"
    }

    /// The end: how many of each, or the list. Whether any check failed.
    pub(super) fn close(self) -> Result<bool, Failure> {
        let [ok, notes, warnings, failed] = self.counts;
        match self.form {
            Form::Table => output::print(&format!(
                "\n{ok} ok, {notes} {}, {warnings} {}, {failed} failed\n",
                if notes == 1 { "note" } else { "notes" },
                if warnings == 1 { "warning" } else { "warnings" },
            ))?,
            Form::Json => output::print(&(harmless_json(&format!("{:#}", json!(self.done))) + "\n"))?,
        }
        Ok(failed > 0)
    }
}

/// Lines of at most so many columns, broken between words.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if !line.is_empty() && width(line) + 1 + width(word) > columns {
            lines.push(word.to_owned());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}

/// A time for a person.
pub(super) fn time(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1e3;
    match milliseconds {
        ..0.0995 => format!("{:.0} µs", milliseconds * 1e3),
        ..9.95 => format!("{milliseconds:.1} ms"),
        ..999.5 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.1} s", milliseconds / 1e3),
    }
}

/// The middle of several times.
pub(super) fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_verdict_counts_with_its_advice() {
        let found = Finding::ok("a").and(Finding::warning("b", "mend b")).and(Finding::note("c"));
        assert_eq!(
            (found.verdict, found.advice, found.words().as_str()),
            (Verdict::Warning, Some("mend b"), "a; b; c")
        );
        let found = found.and(Finding::fail("d\x1b", "mend d"));
        assert_eq!((found.verdict, found.advice), (Verdict::Fail, Some("mend d")));
        assert!(!found.words().contains('\x1b'));
        assert_eq!(found.at_worst(Verdict::Note).verdict, Verdict::Note);
    }

    #[test]
    fn times_and_lines_fit() {
        let of = |microseconds| time(Duration::from_micros(microseconds));
        assert_eq!(
            [of(35), of(120), of(9_940), of(41_300), of(999_000), of(1_260_000)],
            ["35 µs", "0.1 ms", "9.9 ms", "41 ms", "999 ms", "1.3 s"]
        );
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("longerthanthat a", 5), ["longerthanthat", "a"]);
        assert_eq!(median(&[3, 1, 2].map(Duration::from_secs)), Duration::from_secs(2));
        assert_eq!(median(&[]), Duration::ZERO);
    }
}
