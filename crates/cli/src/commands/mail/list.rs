//! `restante mail URL`: the messages in columns that fit the terminal, or as JSON.

use restante_client::{Client, Entry, Listing, UniqueId};
use serde_json::json;

use super::header::{Summary, count, summaries};
use crate::{
    failure::{Failure, Kind},
    output,
    terminal::{self, fit, harmless_json, harmless_line, octets},
};

/// Columns of `2005-04-01 07:56`.
const DATE_COLUMNS: usize = 16;

/// Columns of a length.
const SIZE_COLUMNS: usize = 5;

/// Columns of the sender where nobody tells how wide the page is.
const SENDER_COLUMNS: usize = 28;

/// What stands for a header that could not be read.
const NOT_READ: &str = "its header was not read";

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Columns,
    Json,
}

/// Lists the last `limit` messages, or all.
pub(super) async fn list(client: &mut Client, limit: Option<usize>, form: Form) -> Result<(), Failure> {
    let listing = client.listing().await?;
    doubts(&listing);
    let entries = listing.entries();
    let shown = &entries[entries.len() - limit.unwrap_or(entries.len()).min(entries.len())..];
    match form {
        Form::Columns => {
            columns(client, shown).await?;
            let sum = shown.iter().map(|entry| entry.octets).sum();
            let told = match shown.len() == entries.len() {
                true => count(shown.len(), sum),
                false => format!("the last {} of {}", shown.len(), count(entries.len(), None)),
            };
            output::print(&format!("{}{told}\n", if shown.is_empty() { "" } else { "\n" }))
        }
        Form::Json => as_json(client, shown).await,
    }
}

/// What cannot be right in what the server lists.
pub(super) fn doubts(listing: &Listing) {
    let told: Vec<String> = listing.doubts.iter().map(|doubt| harmless_line(&doubt.to_string())).collect();
    output::warn(&told);
}

/// The columns of a list.
pub(super) struct Page {
    number: usize,
    sender: usize,
    /// `None`: as long as it is.
    subject: Option<usize>,
    colour: bool,
}

impl Page {
    pub(super) fn new(entries: &[Entry]) -> Self {
        let number = entries.last().map_or(1, |last| last.number.to_string().len());
        let (sender, subject) = match terminal::columns() {
            None => (SENDER_COLUMNS, None),
            Some(columns) => {
                let rest = columns.saturating_sub(number + SIZE_COLUMNS + DATE_COLUMNS + 4 * 2);
                let sender = (rest * 2 / 5).min(SENDER_COLUMNS);
                (sender, Some(rest - sender))
            }
        };
        Self { number, sender, subject, colour: output::stdout_takes_colour() }
    }

    pub(super) fn row(&self, entry: &Entry, summary: &Result<Summary, String>) -> String {
        let size = entry.octets.map_or_else(|| "?".to_owned(), octets);
        let empty = Summary::default();
        let (summary, subject) = match summary {
            Ok(summary) if summary.subject.is_empty() => (summary, "(no subject)".to_owned()),
            Ok(summary) => (summary, summary.subject.clone()),
            Err(why) => (&empty, harmless_line(&format!("({why})"))),
        };
        let subject =
            self.subject.map_or_else(|| subject.clone(), |columns| terminal::cut(&subject, columns));
        let faint = |text: String| if self.colour { format!("\x1b[2m{text}\x1b[0m") } else { text };
        let strong = |text: String| if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text };
        let row = format!(
            "{}  {}  {}  {}  {subject}",
            strong(format!("{:>w$}", entry.number, w = self.number)),
            format_args!("{size:>SIZE_COLUMNS$}"),
            faint(fit(&summary.minute(), DATE_COLUMNS)),
            fit(&summary.sender, self.sender),
        );
        row.trim_end().to_owned() + "\n"
    }
}

async fn columns(client: &mut Client, shown: &[Entry]) -> Result<(), Failure> {
    let page = Page::new(shown);
    let numbers: Vec<_> = shown.iter().map(|entry| entry.number).collect();
    let mut entries = shown.iter();
    let told = summaries(client, &numbers, |number, summary| {
        // They come in the order in which they were asked for.
        match entries.find(|entry| entry.number == number) {
            Some(entry) => output::print(&page.row(entry, &summary)),
            None => Ok(()),
        }
    });
    let told = told.await;
    if is_cut_off(&told) {
        // The rest is known all the same, but for its headers.
        entries.try_for_each(|entry| output::print(&page.row(entry, &Err(NOT_READ.to_owned()))))?;
    }
    told
}

/// Whether somebody still reads what could not be told to its end.
fn is_cut_off(told: &Result<(), Failure>) -> bool {
    told.as_ref().is_err_and(|failure| failure.kind() != Kind::Hangup)
}

/// One object a line for each message, in a list.
async fn as_json(client: &mut Client, shown: &[Entry]) -> Result<(), Failure> {
    let numbers: Vec<_> = shown.iter().map(|entry| entry.number).collect();
    let (mut entries, mut before) = (shown.iter(), "[\n  ");
    let mut print = |entry: &Entry, summary: Result<Summary, String>| {
        let mut object = json!({
            "number": entry.number.get(),
            "octets": entry.octets,
            "id": entry.id.as_ref().map(UniqueId::as_str),
        });
        match summary {
            Ok(summary) => {
                let told = |text: String| Some(text).filter(|text| !text.is_empty());
                object["date"] = json!(summary.date);
                object["from"] = json!(told(summary.from));
                object["subject"] = json!(told(summary.subject));
            }
            Err(why) => object["error"] = json!(harmless_line(&why)),
        }
        output::print(&format!("{before}{}", harmless_json(&object.to_string())))?;
        before = ",\n  ";
        Ok(())
    };
    let told =
        summaries(client, &numbers, |number, summary| match entries.find(|entry| entry.number == number) {
            Some(entry) => print(entry, summary),
            None => Ok(()),
        });
    let told = told.await;
    if is_cut_off(&told) {
        entries.try_for_each(|entry| print(entry, Err(NOT_READ.to_owned())))?;
    }
    output::print(if shown.is_empty() { "[]\n" } else { "\n]\n" }).and(told)
}
