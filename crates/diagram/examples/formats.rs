//! Shows the sample sessions of the tests in a format, to look at while one works on it:
//! `cargo run -p restante-diagram --example formats -- text 100 colour`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a tool of tests

use std::io::Write;

use restante_diagram::format::{Style, text};

#[path = "../tests/plain/mod.rs"]
mod plain;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| args.iter().any(|arg| arg == word);
    let style = Style {
        width_columns: args.get(1).and_then(|width| width.parse().ok()).unwrap_or(100),
        colour: has("colour"),
        remarks: !has("no-remarks"),
        segments: !has("no-segments"),
    };
    let sessions = [plain::textbook(), plain::everything(), plain::bare()];
    let mut out = Vec::new();
    match args.first().map(String::as_str) {
        Some("list") => text::list(&sessions.map(|session| session.summary), &style, &mut out),
        Some(format) => {
            let chosen: Vec<_> = sessions
                .iter()
                .filter(|session| {
                    has(&session.summary.number.to_string()) || !(has("1") || has("2") || has("3"))
                })
                .collect();
            out = plain::draw(format, &style, &chosen).into_bytes();
        }
        None => out
            .extend_from_slice(b"formats FORMAT|list [WIDTH] [1|2|3] [colour] [no-remarks] [no-segments]\n"),
    }
    std::io::stdout().write_all(&out).unwrap();
}
