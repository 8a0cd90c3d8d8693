//! HTML against golden pages; that no stranger's text becomes markup, and that what a reader needs is there.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod golden;
mod sample;

use golden::{drawn, golden};
use restante_diagram::format::Style;

#[test]
fn pages_are_as_they_were() {
    for sample in sample::all() {
        golden(sample.name, "html", &drawn("html", &sample, &Style::default()));
    }
}
