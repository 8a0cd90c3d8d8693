//! `docs/diagram.md` names every anomaly with its severity, and every format.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_diagram::{anomaly::Anomaly, format::FORMATS};

const PAGE: &str = include_str!("../../../docs/diagram.md");

#[test]
fn the_tables_of_the_documentation_are_those_of_the_code() {
    let rows = |begins: &str| -> Vec<String> {
        let table = PAGE.lines().skip_while(|line| !line.starts_with(begins)).skip(2);
        table.take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
    };
    let anomalies: Vec<String> = Anomaly::ALL
        .iter()
        .map(|anomaly| format!("| {} | `{}` |", anomaly.severity().name(), anomaly.name()))
        .collect();
    let told = rows("| | name |");
    assert_eq!(told.len(), anomalies.len());
    for (told, anomaly) in told.iter().zip(anomalies) {
        assert!(told.starts_with(&anomaly), "{anomaly} is missing, or in another order: {told}");
    }
    let formats: Vec<String> = FORMATS.iter().map(|format| format!("| `{}` |", format.name)).collect();
    let told = rows("| format |");
    assert_eq!(told.len(), formats.len());
    assert!(told.iter().zip(formats).all(|(told, format)| told.starts_with(&format)), "{told:?}");
}
