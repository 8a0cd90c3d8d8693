//! Every kind of input in every format: what is drawn of small real sessions is what is kept in `golden/inputs/`.
//! `UPDATE_SNAPSHOTS=1` writes them anew: look at the difference before you commit it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod sample;

use std::{
    fs,
    path::{Path, PathBuf},
};

use restante_diagram::{
    drawing::{DrawError, Drawing, Options},
    format::{self, Format, Style},
};
use sample::golden;

/// The inputs: a name, and its files below `tests/`; two are a rawlog.
const INPUTS: &[(&str, &[&str])] = &[
    ("capture", &["../../../docs/seed.pcap"]),
    ("capture-stls", &["inputs/stls.pcap"]),
    ("dialogue", &["../../proto/tests/dialogues/seed.pop3"]),
    ("transcript", &["inputs/transcript.pop3"]),
    ("rawlog", &["rawlog/after-login.in", "rawlog/after-login.out"]),
];

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn draw(files: &[&str], format: &Format, style: &Style) -> Result<Vec<u8>, DrawError> {
    let read: Vec<Vec<u8>> =
        files.iter().map(|file| fs::read(tests().join(file)).expect("a fixture")).collect();
    let (mut drawing, mut out) = (Drawing::new(Options::default(), format, style), Vec::new());
    match read.as_slice() {
        [one] => drawing.push(one, &mut out)?,
        [client, server] => drawing.rawlog(&client[..], &server[..], &mut out)?,
        _ => unreachable!("an input is one file or two"),
    }
    drawing.end(&mut out)?;
    Ok(out)
}

#[test]
fn every_input_is_drawn_in_every_format_as_it_was() {
    for (name, files) in INPUTS {
        for format in format::FORMATS {
            let drawn = draw(files, format, &Style::default()).unwrap();
            let name = format!("inputs/{name}.{}", format.extensions[0]);
            golden(&name, &String::from_utf8(drawn).unwrap());
        }
    }
}

#[test]
fn an_input_cut_in_any_way_is_drawn_the_same() {
    let text = format::by_name("text").unwrap();
    for (_, files) in INPUTS.iter().filter(|(_, files)| files.len() == 1) {
        let whole = draw(files, text, &Style::default()).unwrap();
        let octets = fs::read(tests().join(files[0])).unwrap();
        for at_once in [1, 7, 1000] {
            let mut drawing = Drawing::new(Options::default(), text, &Style::default());
            let mut out = Vec::new();
            for piece in octets.chunks(at_once) {
                drawing.push(piece, &mut out).unwrap();
            }
            drawing.end(&mut out).unwrap();
            assert!(out == whole, "{} by {at_once}", files[0]);
        }
    }
}
