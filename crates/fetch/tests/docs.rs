//! The documentation's table of destinations says what the code says.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_fetch::destination::{KINDS, Promise};

#[test]
fn every_destination_has_its_row() {
    let page = include_str!("../../../docs/fetching.md");
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.contains("exactly once |") || line.contains("at least once |"))
        .collect();
    for kind in KINDS {
        let (promise, window) = match kind.promise {
            Promise::ExactlyOnce => ("exactly once", "–"),
            Promise::AtLeastOnce(window) => ("at least once", window),
        };
        let row = format!("| `{}` | {} | {promise} | {window} |", kind.example, kind.help);
        assert!(rows.contains(&row.as_str()), "docs/fetching.md lacks this row, or has another:\n{row}");
    }
    assert_eq!(rows.len(), KINDS.len(), "a row for each and no other");
}
