//! `restante mail URL delete N…`: shows what would go, asks, marks it, and tells what QUIT said.

use std::io::{self, BufRead};

use restante_client::{Client, Entry, Error};

use super::{
    header::{count, summaries},
    list::Page,
};
use crate::{
    failure::{Failure, Kind},
    output,
    terminal::harmless_line,
};

/// Whether a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consent {
    Given,
    Ask,
}

/// Deletes these messages, and ends the session.
pub(super) async fn delete(mut client: Client, entries: &[&Entry], consent: Consent) -> Result<(), Failure> {
    let shown: Vec<Entry> = entries.iter().map(|&entry| entry.clone()).collect();
    let page = Page::new(&shown);
    let numbers: Vec<_> = shown.iter().map(|entry| entry.number).collect();
    let mut rows = shown.iter();
    summaries(&mut client, &numbers, |number, summary| match rows.find(|entry| entry.number == number) {
        Some(entry) => output::print(&page.row(entry, &summary)),
        None => Ok(()),
    })
    .await?;
    if consent == Consent::Ask && !asked(&count(shown.len(), None))? {
        quit_unchanged(client).await;
        return output::print("Nothing was deleted.\n");
    }
    // Some servers count anew behind a DELE, so the highest number goes first.
    let marked = client.delete_all(numbers.iter().rev().copied()).await;
    let marked = marked.map_err(|error| Failure::from(error).hint("without QUIT nothing is deleted"))?;
    let refused: Vec<String> = marked
        .iter()
        .filter_map(|(number, answer)| {
            Some(harmless_line(&format!("message {number}: {}", answer.as_ref().err()?)))
        })
        .collect();
    let deleted = marked.len() - refused.len();
    match client.quit().await {
        Ok(()) => output::print(&format!("Deleted: {}.\n", count(deleted, None)))?,
        Err(error @ Error::Refused(_)) => {
            return Err(Failure::failed(harmless_line(&format!("not all may be deleted: {error}")))
                .hint("list the mail again"));
        }
        Err(error) => {
            return Err(Failure::failed(harmless_line(&format!(
                "nobody knows whether it is deleted, since QUIT was not answered: {error}"
            )))
            .hint("list the mail again"));
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(Failure::several(refused)) }
}

/// Ends a session in which nothing is to be deleted; how is of no matter.
pub(super) async fn quit_unchanged(client: Client) {
    // RFC 2449 §6.7: RETR has marked messages, and QUIT would delete them.
    if client.capabilities().expire() == Some(Some(0)) {
        let words = "the server deletes what is retrieved (EXPIRE 0), so the session ends without QUIT";
        return output::warn(&[words.to_owned()]);
    }
    client.quit().await.unwrap_or_default();
}

/// The question, on the terminal.
fn asked(what: &str) -> Result<bool, Failure> {
    output::eprint(&format!("Delete {what} for good? [y/N] "));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match read {
        Ok(0) => {
            output::eprint("\n");
            Ok(false)
        }
        Ok(_) => Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")),
        Err(_) => Err(Failure::silent(Kind::Failed)),
    }
}
