//! What people and programs see of runs: bars on a terminal, one line an account at the end, or JSON.

use std::{
    io::IsTerminal,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use restante_fetch::{Event, Report, RunError, Summary};
use serde_json::json;

use super::told;
use crate::{
    accounts::octets,
    failure::Failure,
    output::{self, Label},
    terminal::{harmless_json, harmless_line},
};

/// Where it is shown. Cheap to clone.
#[derive(Clone)]
pub(super) struct Show(Arc<Inner>);

struct Inner {
    form: Form,
    /// The longest name, for columns.
    width: usize,
    /// Standard output could not be written to.
    failed: Mutex<Option<Failure>>,
}

enum Form {
    Json,
    Quiet,
    Lines,
    Bars(MultiProgress),
}

impl Show {
    pub(super) fn new<'a>(json: bool, quiet: bool, names: impl Iterator<Item = &'a str>) -> Self {
        let bars = std::io::stderr().is_terminal() && output::stderr_takes_colour();
        let form = match (json, quiet) {
            (true, _) => Form::Json,
            (false, true) => Form::Quiet,
            (false, false) if bars => {
                Form::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8)))
            }
            (false, false) => Form::Lines,
        };
        let width = names.map(|name| name.chars().count()).max().unwrap_or(0);
        Self(Arc::new(Inner { form, width, failed: Mutex::new(None) }))
    }

    pub(super) fn is_json(&self) -> bool {
        matches!(self.0.form, Form::Json)
    }

    /// Who watches a run of this account.
    pub(super) fn account(&self, name: &str) -> Arc<dyn Report> {
        let bar = match &self.0.form {
            Form::Bars(bars) => {
                let bar = bars.add(ProgressBar::new_spinner());
                bar.set_style(style("{prefix}  {spinner} {msg}"));
                bar.set_prefix(format!("{name:<width$}", width = self.0.width));
                bar.set_message("connecting");
                bar.enable_steady_tick(Duration::from_millis(120));
                Some(bar)
            }
            _ => None,
        };
        Arc::new(Watcher { show: self.clone(), name: name.to_owned(), bar, delivered: AtomicU64::new(0) })
    }

    /// Something happened between two runs.
    pub(super) fn event(&self, name: &str, event: &Event) {
        if self.is_json() {
            let mut line = json!({"account": name});
            merge(&mut line, event);
            self.print(&format!("{line}\n"));
        }
    }

    /// How a run ended.
    pub(super) fn ended(&self, name: &str, ended: &Result<Summary, RunError>) {
        match (&self.0.form, ended) {
            (Form::Json, Ok(summary)) => {
                let mut line = json!({"event": "done", "account": name});
                merge(&mut line, summary);
                self.print_json(&line);
            }
            (Form::Json, Err(error)) => {
                self.print_json(&json!({"event": "failed", "account": name, "why": error.to_string()}));
            }
            (_, Err(error)) => self.eprint(&told(name, error).render_now()),
            (Form::Quiet, Ok(summary)) => {
                if summary.stuck > 0 || summary.not_deleted.is_some() {
                    self.eprint(&format!("{}\n", line(name, summary)));
                }
            }
            (_, Ok(summary)) => self.print(&format!("{}\n", line(name, summary))),
        }
    }

    /// Whether everything could be told.
    pub(super) fn close(&self) -> Result<(), Failure> {
        let failed = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), Err)
    }

    pub(super) fn print(&self, text: &str) {
        let printed = match &self.0.form {
            // Bars are taken away while something else is printed.
            Form::Bars(bars) => bars.suspend(|| output::print(text)),
            _ => output::print(text),
        };
        if let Err(failure) = printed {
            self.0.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        }
    }

    pub(super) fn print_json(&self, line: &serde_json::Value) {
        self.print(&(harmless_json(&line.to_string()) + "\n"));
    }

    pub(super) fn eprint(&self, text: &str) {
        match &self.0.form {
            Form::Bars(bars) => bars.suspend(|| output::eprint(text)),
            _ => output::eprint(text),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are ours, and a test makes each.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The bar while messages come.
const BAR: &str = "{prefix}  {bar:24} {msg} of {len} messages  {binary_bytes_per_sec}  {eta} left";

/// One account's run, watched.
struct Watcher {
    show: Show,
    name: String,
    bar: Option<ProgressBar>,
    delivered: AtomicU64,
}

impl Report for Watcher {
    fn event(&self, event: &Event) {
        if let Some(bar) = &self.bar {
            self.draw(bar, event);
        }
        match (event, &self.show.0.form) {
            (Event::Progress { .. }, _) => {}
            (event, Form::Json) => {
                let mut line = json!({"account": self.name});
                merge(&mut line, event);
                self.show.print_json(&line);
            }
            (Event::Warning { text }, _) => self.label(Label::Warning, text),
            (Event::SetAside { number, id, why }, _) => {
                let id = id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
                self.label(Label::Warning, &format!("message {number}{id} is set aside: {why}"));
            }
            (Event::Again { why }, form) if !matches!(form, Form::Quiet) => {
                self.label(Label::Warning, &format!("{why}; once more"));
            }
            _ => {}
        }
    }
}

impl Watcher {
    fn label(&self, label: Label, text: &str) {
        let text = harmless_line(&format!("{}: {text}", self.name));
        self.show.eprint(&label.line(&text, output::stderr_takes_colour()));
    }

    fn draw(&self, bar: &ProgressBar, event: &Event) {
        match event {
            Event::Waiting { seconds } => {
                bar.set_message(format!("waiting {seconds} s, as the server wants it"));
            }
            Event::Connected { .. } => bar.set_message("listing"),
            Event::Planned { fetch: 0, .. } => bar.set_message("nothing new"),
            Event::Planned { fetch, fetch_octets, .. } => {
                self.delivered.store(0, Ordering::Relaxed);
                bar.reset();
                bar.set_length((*fetch_octets).max(1));
                bar.set_style(style(&BAR.replace("{len}", &fetch.to_string())));
                bar.set_message("0");
            }
            Event::Progress { octets } => bar.inc(*octets),
            Event::Delivered { .. } => {
                let delivered = self.delivered.fetch_add(1, Ordering::Relaxed) + 1;
                bar.set_message(delivered.to_string());
            }
            _ => {}
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The fields of a value behind those of a line.
fn merge(line: &mut serde_json::Value, value: &impl serde::Serialize) {
    if let (Some(line), Ok(serde_json::Value::Object(fields))) =
        (line.as_object_mut(), serde_json::to_value(value))
    {
        line.extend(fields);
    }
}

/// A run in one line.
fn line(name: &str, summary: &Summary) -> String {
    let mut parts = Vec::new();
    let messages =
        |count: usize| if count == 1 { "1 message".to_owned() } else { format!("{count} messages") };
    match summary.delivered {
        0 => parts.push("nothing new".to_owned()),
        count => parts.push(format!("{} fetched ({})", messages(count), octets::shown(summary.octets))),
    }
    for (count, what) in [
        (summary.recognised, "known under another unique-id"),
        (summary.deleted, "deleted on the server"),
        (summary.kept, "kept on the server"),
        (summary.too_long, "too long"),
        (summary.stuck, "set aside"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    if let Some(why) = &summary.not_deleted {
        parts.push(harmless_line(&format!("not deleted: {why}")));
    }
    format!("{name}: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_one_line() {
        let nothing = Summary::default();
        assert_eq!(line("gmx", &nothing), "gmx: nothing new");
        let summary =
            Summary { delivered: 1, octets: 1317, deleted: 2, kept: 3, too_long: 4, stuck: 1, ..nothing };
        let expected = "gmx: 1 message fetched (1.3 KiB), 2 deleted on the server, 3 kept on the server, 4 too long, 1 set aside";
        assert_eq!(line("gmx", &summary), expected);
        let not_deleted = Some("it says \u{202e}no\x1b[2J".to_owned());
        let told = line("gmx", &Summary { not_deleted, ..Summary::default() });
        assert_eq!(told, "gmx: nothing new, not deleted: it says \u{fffd}no\u{fffd}[2J");
    }

    #[test]
    fn the_templates_are_sound() {
        for template in [BAR, "{prefix}  {spinner} {msg}"] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
