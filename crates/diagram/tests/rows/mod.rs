//! Rows as a test sees them: a format that draws nothing and keeps what it was given.
#![allow(dead_code)] // each test file uses its part

use std::sync::{Arc, Mutex};

use restante_diagram::{
    anomaly::Anomaly,
    drawing::{Choice, Drawing, Options},
    format::{Draw, Picture},
    row::{Row, RowKind, Summary},
};

type Sessions = Vec<(Summary, Vec<Row>)>;

#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Sessions>>);

impl Draw for Kept {
    fn start(&mut self, _: &mut Vec<u8>) {}
    fn session(&mut self, picture: Picture<'_>, _: &mut Vec<u8>) {
        self.0.lock().unwrap().push((picture.summary.clone(), picture.rows.to_vec()));
    }
    fn finish(&mut self, _: &mut Vec<u8>) {}
}

/// All sessions of a source.
pub(crate) fn sessions(source: &[u8], options: Options) -> Vec<(Summary, Vec<Row>)> {
    let kept = Kept::default();
    let mut drawing = Drawing::with(options, Box::new(kept.clone()));
    drawing.push(source, &mut Vec::new()).unwrap();
    drawing.end(&mut Vec::new()).unwrap();
    kept.0.lock().unwrap().clone()
}

/// The one session of a dialogue.
pub(crate) fn session(dialogue: &str) -> (Summary, Vec<Row>) {
    let mut sessions = sessions(dialogue.as_bytes(), Options { choice: Choice::All, ..Options::default() });
    assert_eq!(sessions.len(), 1);
    sessions.remove(0)
}

/// Each row as `kind label`.
pub(crate) fn labels(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| format!("{} {}", row.kind.name(), row.label)).collect()
}

/// What was found, with the label of the row that it was found in.
pub(crate) fn found(rows: &[Row]) -> Vec<(Anomaly, String)> {
    rows.iter()
        .flat_map(|row| row.findings.iter().map(|finding| (finding.anomaly, row.label.clone())))
        .collect()
}

/// The first row of this label.
pub(crate) fn row<'r>(rows: &'r [Row], label: &str) -> &'r Row {
    rows.iter()
        .find(|row| row.label == label)
        .unwrap_or_else(|| panic!("no row {label:?}: {:#?}", labels(rows)))
}

/// How many rows of a kind there are.
pub(crate) fn count(rows: &[Row], kind: RowKind) -> usize {
    rows.iter().filter(|row| row.kind == kind).count()
}
