//! Mermaid: golden files of the sample sessions, which its own parser has read, and what holds for any text.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod sample;

use proptest::prelude::*;
use restante_diagram::format::Style;
use sample::{Session, bare, draw, golden, seed};

#[test]
fn sessions_look_as_they_should() {
    let style = Style::default();
    for sample in sample::all() {
        golden(&format!("{}.mmd", sample.name), &draw("mermaid", &style, &sample.sessions));
    }
    let short = Style { remarks: false, segments: false, ..style };
    golden("short.mmd", &draw("mermaid", &short, &[seed()]));
}

#[test]
fn without_sessions_there_still_is_a_diagram() {
    assert!(draw("mermaid", &Style::default(), &[]).starts_with("sequenceDiagram\n"));
}

proptest! {
    #[test]
    fn no_text_leaves_its_line(text in "(\\PC|[;#<>\"%`\n\r\u{85}\u{2028}\u{202e}]| end | style:){0,60}") {
        let Session { mut summary, mut rows } = bare();
        let lines = draw("mermaid", &Style::default(), &[bare()]).lines().count();
        // Of one line as it was, so that their number tells.
        rows[0].label.clone_from(&text);
        rows[0].lines = vec![text.clone()];
        rows[2].remark.as_mut().unwrap().text.clone_from(&text);
        summary.opening.client = Some(text.clone().into());
        summary.opening.title = Some(text.clone().into());
        summary.ending = text;
        let drawn = draw("mermaid", &Style::default(), &[Session { summary, rows }]);
        prop_assert_eq!(drawn.lines().count(), lines);
        for line in drawn.lines() {
            let said = line.replace("<br/>", "");
            let mut rest = said.as_str();
            while let Some((before, behind)) = rest.split_once('#') {
                prop_assert!(!before.contains([';', '<', '"', '%']), "{}", line);
                let (number, behind) = behind.split_once(';').unwrap();
                prop_assert!(number.parse::<u32>().is_ok(), "{}", line);
                rest = behind;
            }
            prop_assert!(!rest.contains([';', '<', '"', '%']), "{}", line);
        }
    }
}
