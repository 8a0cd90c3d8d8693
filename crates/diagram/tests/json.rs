//! JSON: golden files of the sample sessions, and that what is read back is what was drawn.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod sample;

use proptest::prelude::*;
use restante_diagram::format::Style;
use sample::{Session, bare, draw, golden, seed};
use serde_json::Value;

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn sessions_look_as_they_should() {
    let style = Style::default();
    for sample in sample::all() {
        golden(&format!("{}.json", sample.name), &draw("json", &style, &sample.sessions));
    }
    let short = Style { remarks: false, segments: false, ..style };
    golden("short.json", &draw("json", &short, &[seed()]));
}

#[test]
fn it_is_read_back() {
    let none = read(&draw("json", &Style::default(), &[]));
    assert_eq!(none, serde_json::json!({ "restante_diagram": 1, "sessions": [] }));

    let sessions = sample::all().into_iter().flat_map(|sample| sample.sessions).collect::<Vec<_>>();
    let value = read(&draw("json", &Style::default(), &sessions));
    assert_eq!(value["restante_diagram"], 1);
    for (session, value) in sessions.iter().zip(value["sessions"].as_array().unwrap()) {
        assert_eq!(value["number"], session.summary.number);
        assert_eq!(value["anomalies"].as_array().unwrap().len(), session.summary.anomalies.len());
        let rows = value["rows"].as_array().unwrap();
        assert_eq!(rows.len(), session.rows.len());
        for (row, value) in session.rows.iter().zip(rows) {
            assert_eq!(value["label"], row.label.as_str());
            assert_eq!(value["kind"], row.kind.name());
            let (written, at) =
                (value["at"].as_f64().unwrap_or(-1.0), row.at.map_or(-1.0, |at| at.as_secs_f64()));
            assert!((written - at).abs() <= at.abs() * 1e-9, "{value}");
            assert_eq!(value["carried"]["octets"].as_u64(), row.carried.map(|carried| carried.octets));
        }
    }
    let segments = value["sessions"][0]["segments"].as_array().unwrap();
    assert_eq!(segments.len(), sessions[0].summary.passed.len());
    assert_eq!(segments[1]["flags"], serde_json::json!(["SYN", "ACK"]));
    // What is not known is left out, and not null.
    let bare = value["sessions"][3].as_object().unwrap();
    for key in ["client", "server", "started", "title", "user", "tls", "duration_seconds", "joined"] {
        assert!(!bare.contains_key(key), "{key}");
    }
    assert_eq!(value["sessions"][1]["joined"], true);
}

#[test]
fn every_row_is_one_line() {
    let text = draw("json", &Style::default(), &[seed()]);
    let rows = text.lines().filter(|line| read_row(line).is_some()).count();
    assert_eq!(rows, seed().rows.len());
}

fn read_row(line: &str) -> Option<Value> {
    serde_json::from_str::<Value>(line.trim_end_matches(',')).ok().filter(|value| value["kind"].is_string())
}

proptest! {
    #[test]
    fn any_text_is_kept(text in "(\\PC|.|[\"\\\\\u{0}-\u{1f}\u{2028}]){0,40}") {
        let Session { mut summary, mut rows } = bare();
        rows[0].label.clone_from(&text);
        summary.ending.clone_from(&text);
        let value = read(&draw("json", &Style::default(), &[Session { summary, rows }]));
        prop_assert_eq!(&value["sessions"][0]["ending"], &Value::from(text.clone()));
        prop_assert_eq!(&value["sessions"][0]["rows"][0]["label"], &Value::from(text));
    }
}
