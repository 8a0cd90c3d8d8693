//! The text: golden files of the sample sessions at several widths, and what holds for any row: no line is wider than the
//! width, and the lifelines are straight.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod sample;

use std::time::Duration;

use proptest::prelude::*;
use restante_diagram::{
    anomaly::Anomaly,
    format::{
        Live, Style,
        text::{Text, list},
    },
    heard::Opening,
    row::{Carried, Finding, Remark, Row, RowKind, Share, Summary},
};
use restante_proto::{
    dialogue::{Flag, Flags, Side},
    phase::Phase,
};
use sample::{Session, bare, draw, everything, golden, secured, seed};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

const WIDTHS: [usize; 4] = [60, 80, 100, 160];
const KINDS: [RowKind; 9] = [
    RowKind::Segment,
    RowKind::Command,
    RowKind::Response,
    RowKind::Reply,
    RowKind::Listing,
    RowKind::Message,
    RowKind::Records,
    RowKind::Note,
    RowKind::Fold,
];

fn style(width_columns: usize) -> Style {
    Style { width_columns, ..Style::default() }
}

fn listed(style: &Style) -> String {
    let summaries = [everything(), secured(), bare()].map(|session| session.summary);
    let mut out = Vec::new();
    list(&summaries, style, &mut out);
    String::from_utf8(out).unwrap()
}

fn columns(line: &str) -> usize {
    line.graphemes(true).map(UnicodeWidthStr::width).sum()
}

#[test]
fn sessions_look_as_they_should() {
    let [seed, everything, hostile] = sample::all();
    for (sample, width) in [seed, everything].iter().flat_map(|sample| WIDTHS.map(|width| (sample, width))) {
        golden(&format!("{}-{width}.txt", sample.name), &draw("text", &style(width), &sample.sessions));
    }
    golden("hostile-100.txt", &draw("text", &style(100), &hostile.sessions));
}

#[test]
fn the_samples_leave_nothing_out() {
    let rows = || [everything(), secured()].into_iter().flat_map(|session| session.rows);
    for anomaly in Anomaly::ALL {
        let found = rows().any(|row| row.findings.iter().any(|finding| finding.anomaly == *anomaly));
        assert!(found, "{}", anomaly.name());
    }
    for kind in KINDS {
        assert!(rows().any(|row| row.kind == kind), "{}", kind.name());
    }
}

#[test]
fn less_is_drawn_if_asked() {
    let style = Style { remarks: false, segments: false, ..style(80) };
    golden("short-80.txt", &draw("text", &style, &[everything(), secured()]));
}

#[test]
fn colours_say_nothing_of_their_own() {
    let coloured = draw("text", &Style { colour: true, ..style(100) }, &[seed()]);
    golden("colour-100.txt", &coloured.replace('\x1b', "ESC"));
    let mut plain = String::new();
    for (place, part) in coloured.split("\x1b[").enumerate() {
        plain.push_str(if place == 0 { part } else { part.split_once('m').unwrap().1 });
    }
    assert_eq!(plain, draw("text", &style(100), &[seed()]));
}

#[test]
fn sessions_are_listed() {
    for width in [60, 80, 100, 160, 300] {
        let text = listed(&style(width));
        golden(&format!("list-{width}.txt"), &text);
        assert!(text.lines().all(|line| columns(line) <= width), "{text}");
    }
    let mut out = Vec::new();
    list(&[], &style(80), &mut out);
    assert_eq!(String::from_utf8(out).unwrap().lines().count(), 1, "headings alone");
}

#[test]
fn rows_of_several_sessions_may_come_by_turns() {
    let sessions = [everything(), secured()];
    let (mut text, mut out) = (Text::new(&style(80)), Vec::new());
    for session in &sessions {
        text.begin(&session.summary.opening, session.summary.number, &mut out);
        session.rows.iter().take(5).for_each(|row| text.row(row, &mut out));
    }
    for session in &sessions {
        text.resume(session.summary.number, &session.summary.opening, &mut out);
        session.rows.iter().skip(5).take(3).for_each(|row| text.row(row, &mut out));
        text.end(&session.summary, &mut out);
    }
    golden("turns-80.txt", &String::from_utf8(out).unwrap());
}

#[test]
fn the_time_of_rows_that_are_left_out_is_not_lost() {
    let style = Style { segments: false, ..style(80) };
    let text = draw("text", &style, &[seed()]);
    // The greeting came 2,310 µs after the client's ACK, and 2,556 µs after its SYN.
    assert!(text.contains("0.002556  +2.6 ms  │◀─ +OK X1"), "{text}");
}

#[test]
fn a_remark_is_made_once_in_a_session() {
    let Session { summary, mut rows } = bare();
    rows.extend(rows.clone());
    let text = draw("text", &style(160), &[Session { summary, rows }, bare()]);
    let said = "Nobody was logged in: nothing is removed.";
    assert_eq!(text.matches(said).count(), 2, "once in each session: {text}");
    assert_eq!(text.matches("+OK bye").count(), 3);
}

#[test]
fn what_is_known_of_tls_is_said_and_no_more() {
    for (tls, inside_tls, long, short) in [
        (None, false, "TLS       none\n", " none "),
        (None, true, "TLS       not known\n", " ? "),
        (Some("TLS 1.3 TLS_AES_128_GCM_SHA256"), false, "TLS 1.3 TLS_AES_128_GCM_SHA256\n", " TLS 1.3 "),
        (Some("TLS 1.2"), true, "TLS       TLS 1.2\n", " TLS 1.2 "),
        (Some("TLS"), false, "TLS       TLS\n", " TLS "),
    ] {
        let Session { mut summary, rows } = bare();
        summary.tls = tls.map(str::to_owned);
        summary.opening.inside_tls = inside_tls;
        let mut out = Vec::new();
        list(std::slice::from_ref(&summary), &style(100), &mut out);
        let listed = String::from_utf8(out).unwrap();
        assert!(listed.contains(short), "{listed}");
        let drawn = draw("text", &style(80), &[Session { summary, rows }]);
        assert!(drawn.contains(long), "{drawn}");
    }
}

/// Texts that are hard to measure: wide, stacked, hidden, long, empty.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "\\PC{0,40}",
        ".{0,40}",
        "[a-z ]{0,300}",
        "[\u{4e00}-\u{4e20}\u{1100}-\u{1120}\u{1160}\u{11a8} ]{0,120}",
        "[e\u{300}-\u{320}\u{fe0f}\u{200d}1👩🚀🇩🇪 ]{0,60}",
        "[\u{0}-\u{1f}\u{80}-\u{9f}\u{202a}-\u{202e}]{0,20}",
    ]
}

fn any_duration() -> impl Strategy<Value = Option<Duration>> {
    prop_oneof![
        Just(None),
        Just(Some(Duration::MAX / 2)),
        (0u64..100_000_000_000_000).prop_map(|nanos| Some(Duration::from_nanos(nanos))),
    ]
}

fn any_carried() -> impl Strategy<Value = Option<Carried>> {
    let numbers =
        (any::<u64>(), any::<u64>(), any::<u64>(), proptest::option::of(any::<u32>()), any::<bool>());
    proptest::option::of(numbers.prop_map(|(count, octets, acks, seq, shared)| {
        Carried {
            count,
            flags: [Flag::Syn, Flag::Fin, Flag::Rst, Flag::Psh, Flag::Ack]
                .iter()
                .fold(Flags::default(), |all, flag| all.with(*flag)),
            seq,
            ack: seq,
            octets,
            shared,
            acks,
        }
    }))
}

fn any_row() -> impl Strategy<Value = Row> {
    let what = (
        proptest::sample::select(KINDS.to_vec()),
        proptest::sample::select(vec![None, Some(Side::Client), Some(Side::Server)]),
        proptest::option::of(proptest::sample::select(Phase::ALL.to_vec())),
    );
    let said = (any_text(), proptest::collection::vec(any_text(), 0..4), any::<u64>());
    let noted = (proptest::option::of(any_text()), proptest::collection::vec(any_text(), 0..3));
    (what, (any_duration(), any_duration()), said, any_carried(), noted).prop_map(
        |((kind, from, phase), (at, since), (label, lines, lines_left_out), carried, (remark, findings))| {
            Row {
                number: 1,
                at,
                since,
                phase,
                kind,
                from,
                label,
                lines,
                lines_left_out,
                carried,
                remark: remark.map(|text| Remark { text, rfc: Some("RFC 1939 §5") }),
                findings: findings
                    .into_iter()
                    .map(|text| Finding { anomaly: Anomaly::SlowStep, text })
                    .collect(),
                share: at.zip(since).map(|(network, peer)| Share { network, peer }),
                about: None,
            }
        },
    )
}

/// What stands in a column of a line.
fn standing_at(line: &str, column: usize) -> &str {
    let mut used = 0;
    for character in line.graphemes(true) {
        if used == column {
            return character;
        }
        used += character.width();
    }
    ""
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn lines_fit_and_lifelines_are_straight(
        rows in proptest::collection::vec(any_row(), 1..6),
        width in 0usize..260,
        (remarks, segments) in any::<(bool, bool)>(),
    ) {
        let style = Style { width_columns: width, colour: false, remarks, segments };
        let (mut text, mut out) = (Text::new(&style), Vec::new());
        // Where they stand is read from the first line that has nothing but them.
        text.begin(&Opening::default(), 1, &mut out);
        let head = String::from_utf8(std::mem::take(&mut out)).unwrap();
        let lifelines = head.lines().last().unwrap();
        let left = lifelines.find('│').unwrap();
        let right = columns(lifelines) - 1;
        prop_assert!(right > left + 20);
        for row in &rows {
            text.row(row, &mut out);
        }
        let drawn = String::from_utf8(out).unwrap();
        for line in drawn.lines() {
            prop_assert!(columns(line) <= width.max(60), "{line:?}");
            for column in [left, right] {
                let there = standing_at(line, column);
                prop_assert!(["│", "┊", "├", "┤"].contains(&there), "{there:?} in column {column} of {line:?}");
            }
            prop_assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        }
    }

    #[test]
    fn heads_and_summaries_fit(texts in proptest::collection::vec(any_text(), 8), width in 0usize..260) {
        let texts: Vec<Box<str>> = texts.into_iter().map(String::into_boxed_str).collect();
        let opening = Opening {
            title: Some(texts[0].clone()),
            client: Some(texts[1].clone()),
            server: Some(texts[2].clone()),
            started: Some(texts[3].clone()),
            joined: true,
            ..Opening::default()
        };
        let summary = Summary {
            number: u32::MAX,
            opening: opening.clone(),
            user: Some(texts[4].to_string()),
            tls: Some(texts[5].to_string()),
            duration: Some(Duration::MAX),
            commands: u64::MAX,
            retrieved: u64::MAX,
            retrieved_octets: u64::MAX,
            deleted: u64::MAX,
            segments: u64::MAX,
            client_octets: u64::MAX,
            server_octets: u64::MAX,
            anomalies: Anomaly::ALL.iter().map(|anomaly| (*anomaly, u64::MAX)).collect(),
            ending: texts[6].to_string(),
            ..Summary::default()
        };
        let style = style(width);
        let (mut text, mut out) = (Text::new(&style), Vec::new());
        text.begin(&opening, 1, &mut out);
        text.resume(1, &opening, &mut out);
        text.end(&summary, &mut out);
        list(&[summary], &style, &mut out);
        let drawn = String::from_utf8(out).unwrap();
        for line in drawn.lines() {
            prop_assert!(columns(line) <= width.max(60), "{line:?}");
            prop_assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        }
    }
}
