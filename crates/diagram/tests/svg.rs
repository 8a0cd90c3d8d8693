//! SVG against golden pictures; that it is well-formed whatever it is given, and asks for nothing from outside.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod golden;
mod sample;

use golden::{drawn, golden};
use restante_diagram::format::Style;
use roxmltree::Document;

#[test]
fn pictures_are_as_they_were() {
    for sample in sample::all() {
        golden(sample.name, "svg", &drawn("svg", &sample, &Style::default()));
    }
}
