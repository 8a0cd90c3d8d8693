//! Shows the sample sessions of the tests in a format, to look at while one works on it:
//! `cargo run -p restante-diagram --example formats -- text 100 colour`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a tool of tests

use std::io::Write;

use restante_diagram::format::{Live, Style, html::LiveRows, text};

#[path = "../tests/sample/mod.rs"]
mod sample;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| args.iter().any(|arg| arg == word);
    let style = Style {
        width_columns: args.get(1).and_then(|width| width.parse().ok()).unwrap_or(100),
        colour: has("colour"),
        remarks: !has("no-remarks"),
        segments: !has("no-segments"),
    };
    let [seed, everything, hostile] = sample::all();
    let sample = [seed, hostile].into_iter().find(|sample| has(sample.name)).unwrap_or(everything);
    let mut out = Vec::new();
    match args.first().map(String::as_str) {
        Some("list") => {
            let summaries: Vec<_> = sample.sessions.into_iter().map(|session| session.summary).collect();
            text::list(&summaries, &style, &mut out);
        }
        Some("live") => {
            let mut live = LiveRows::new(&style);
            for session in &sample.sessions {
                live.begin(&session.summary.opening, session.summary.number, &mut out);
                session.rows.iter().for_each(|row| live.row(row, &mut out));
                live.end(&session.summary, &mut out);
            }
        }
        Some(format) => out = sample::draw(format, &style, &sample.sessions).into_bytes(),
        None => out.extend_from_slice(
            b"formats FORMAT|list|live [WIDTH] [seed|everything|hostile] [colour] [no-remarks] [no-segments]\n",
        ),
    }
    std::io::stdout().write_all(&out).unwrap();
}
