//! One row: its times, its arrow with what was said and in which segments, and what there is to say about it.

use restante_proto::dialogue::Side;

use super::{
    measure::Face,
    pen::{Anchor, Pen},
    session::Columns,
};
use crate::{
    format::{
        Style,
        facts::{left_out, waited},
        markup::{self, Clock, LOCK, icon, is_long, segments, speaker, split_verb},
    },
    row::{Row, RowKind},
    words::duration,
};

/// The most lines of a label, and of a finding or a remark.
const LABEL_LINES_MAX: usize = 3;
const REMARK_LINES_MAX: usize = 12;
/// The most lines of a listing or a message that are drawn.
const BLOCK_LINES_MAX: usize = 8;
/// What is free between a lifeline and a text.
const INSET: f64 = 16.0;
/// How long the bar of the longest step is.
const BAR: f64 = 58.0;

/// What is free between a remark and its rule.
const RULE_GAP: f64 = 9.0;

const LABEL: Face = Face::Mono(13.0);
const SMALL: Face = Face::Mono(11.0);
const LINE: Face = Face::Mono(11.5);
const REMARK: Face = Face::Sans(12.5);
const TITLE: Face = Face::Bold(12.5);

/// All that there is to say about a row, for a tooltip.
pub(super) fn title(row: &Row) -> String {
    let mut title = format!("{}: {}", speaker(row), row.label);
    if let Some(segments) = segments(row) {
        title += &format!(" ({segments})");
    }
    if let Some(share) = row.share {
        title += &format!("; {}", waited(share));
    }
    for finding in &row.findings {
        title += &format!("; {}: {}", finding.anomaly.title(), finding.text);
    }
    title
}

/// Draws a row from here downwards, and gives its bottom.
pub(super) fn draw(pen: &mut Pen, top: f64, row: &Row, columns: Columns, clock: Clock, style: &Style) -> f64 {
    let lane = match row.kind {
        RowKind::Segment if row.from.is_some() => segment(pen, top, row, columns),
        RowKind::Fold => fold(pen, top, row, columns),
        RowKind::Note | RowKind::Segment => note(pen, top, row, columns),
        _ => message(pen, top, row, columns, style),
    };
    let baseline = top + if row.kind == RowKind::Segment { 16.0 } else { 21.0 };
    times(pen, baseline, row, columns, clock);
    let beside = remarks(pen, baseline - 15.0, row, columns, style);
    lane.max(beside).max(baseline + 10.0)
}

fn times(pen: &mut Pen, y: f64, row: &Row, columns: Columns, clock: Clock) {
    pen.text(columns.number, y, "small", Anchor::End, &row.number.to_string());
    if let Some(at) = row.at {
        let room = columns.at - columns.number - 8.0;
        pen.text(columns.at, y, "small", Anchor::End, &SMALL.cut(&clock.at(at), room));
    }
    let Some(since) = row.since.filter(|since| !since.is_zero()) else { return };
    let class = if is_long(since) { "small long" } else { "small" };
    let room = columns.band - columns.since - 4.0;
    pen.text(columns.since, y, class, Anchor::Start, &SMALL.cut(&format!("+{}", duration(since)), room));
    let length = |time| f64::from(clock.part(time)) * BAR / 1000.0;
    let whole = length(since);
    // Less than that is a speck of dust.
    if whole < 4.5 {
        return;
    }
    let Some(share) = row.share else {
        pen.rect(columns.since, y + 5.0, whole, 4.0, 1.0, "bar");
        return;
    };
    let network = length(share.network).min(whole);
    let peer = length(share.peer).min(whole - network);
    pen.rect(columns.since, y + 5.0, network, 4.0, 1.0, "network");
    pen.rect(columns.since + network, y + 5.0, peer, 4.0, 1.0, "peer");
    pen.rect(columns.since + network + peer, y + 5.0, whole - network - peer, 4.0, 1.0, "bar");
}

/// A line from lifeline to lifeline with its head at who hears it.
fn arrow(pen: &mut Pen, y: f64, from: Side, columns: Columns, kind: RowKind) {
    let (start, end, inwards) = match from {
        Side::Client => (columns.client, columns.server, -1.0),
        Side::Server => (columns.server, columns.client, 1.0),
    };
    let thin = kind == RowKind::Segment;
    let class = match (thin, from) {
        (true, _) => "t",
        (false, Side::Client) => "c",
        (false, Side::Server) => "s",
    };
    // The lifeline is two pixels wide: the tip touches its edge.
    let tip = end + inwards;
    let (length, half) = if thin { (8.0, 3.5) } else { (10.0, 4.5) };
    let back = tip + inwards * length;
    let weight = if thin { "arrow thin" } else { "arrow" };
    pen.line((start - inwards, y), (back, y), &format!("{weight} {class}"));
    pen.triangle([(tip, y), (back, y - half), (back, y + half)], &format!("{class}h"));
}

/// A segment that carries nothing: thin and grey, in one line.
fn segment(pen: &mut Pen, top: f64, row: &Row, columns: Columns) -> f64 {
    let Some(from) = row.from else { return top };
    let mut text = row.label.clone();
    if let Some(segments) = segments(row).filter(|segments| !segments.is_empty()) {
        text = if text.is_empty() { segments } else { format!("{text} · {segments}") };
    }
    let room = columns.server - columns.client - 2.0 * INSET;
    let mut y = top + 16.0;
    for line in SMALL.wrap(&markup::visible(&text), room, 2) {
        pen.text(columns.middle(), y, "small", Anchor::Middle, &line);
        y += 15.0;
    }
    arrow(pen, y - 7.0, from, columns, row.kind);
    y + 2.0
}

/// What was said: above its arrow, with its lines as a block, and its segments below.
fn message(pen: &mut Pen, top: f64, row: &Row, columns: Columns, style: &Style) -> f64 {
    let room = columns.server - columns.client - 2.0 * INSET;
    let (verb, _) = split_verb(row);
    let locked = row.kind == RowKind::Records;
    let mut y = top + 21.0;
    let label = markup::visible(&row.label);
    let lines = LABEL.wrap(&label, room - if locked { 24.0 } else { 0.0 }, LABEL_LINES_MAX);
    for (place, line) in lines.iter().enumerate() {
        let x = columns.middle() + if locked { 10.0 } else { 0.0 };
        if locked && place == 0 {
            pen.icon(x - LABEL.width(line) / 2.0 - 22.0, y - 12.0, 14.0, LOCK, class_of(row.from));
        }
        match line.strip_prefix(verb).filter(|_| place == 0 && !verb.is_empty()) {
            Some(rest) => pen.spans(x, y, "", Anchor::Middle, &[("verb", 0.0, verb), ("", 0.0, rest)]),
            None => pen.text(x, y, "", Anchor::Middle, line),
        }
        y += 18.0;
    }
    y -= 11.0;
    if !row.lines.is_empty() || row.lines_left_out > 0 {
        y = block(pen, y + 2.0, row, columns);
    }
    y += 4.0;
    let Some(from) = row.from else { return y + 8.0 };
    arrow(pen, y, from, columns, row.kind);
    y += 15.0;
    if let Some(segments) = segments(row).filter(|_| style.segments) {
        for line in SMALL.wrap(&segments, room, 2) {
            pen.text(columns.middle(), y, "small", Anchor::Middle, &line);
            y += 14.0;
        }
    }
    y
}

const fn class_of(from: Option<Side>) -> &'static str {
    match from {
        Some(Side::Client) => "ch",
        Some(Side::Server) => "sh",
        None => "th",
    }
}

/// The first lines of a listing or a message.
fn block(pen: &mut Pen, top: f64, row: &Row, columns: Columns) -> f64 {
    let (x, width) = (columns.client + INSET, columns.server - columns.client - 2.0 * INSET);
    let shown = row.lines.get(..BLOCK_LINES_MAX).unwrap_or(&row.lines);
    let hidden = (row.lines.len() - shown.len()) as u64 + row.lines_left_out;
    let count = shown.len() + usize::from(hidden > 0);
    let height = count as f64 * 16.0 + 12.0;
    pen.rect(x, top, width, height, 5.0, "block");
    let mut y = top + 18.0;
    for line in shown {
        pen.text(x + 10.0, y, "line", Anchor::Start, &LINE.cut(&markup::visible(line), width - 20.0));
        y += 16.0;
    }
    if hidden > 0 {
        pen.text(x + 10.0, y, "more", Anchor::Start, &left_out(row.kind, hidden));
    }
    top + height + 8.0
}

/// A note across both lifelines.
fn note(pen: &mut Pen, top: f64, row: &Row, columns: Columns) -> f64 {
    let lines =
        SMALL.wrap(&markup::visible(&row.label), columns.server - columns.client - 24.0, LABEL_LINES_MAX);
    let height = lines.len() as f64 * 16.0 + 10.0;
    let (x, width) = (columns.client - 8.0, columns.server - columns.client + 16.0);
    pen.rect(x, top + 6.0, width, height, 5.0, "note");
    let mut y = top + 21.0;
    for line in &lines {
        pen.text(columns.middle(), y, "small", Anchor::Middle, line);
        y += 16.0;
    }
    top + height + 14.0
}

/// Many rows in one, across both lifelines.
fn fold(pen: &mut Pen, top: f64, row: &Row, columns: Columns) -> f64 {
    let lines =
        LABEL.wrap(&markup::visible(&row.label), columns.server - columns.client - 40.0, LABEL_LINES_MAX);
    let height = lines.len() as f64 * 18.0 + 22.0;
    let (x, width) = (columns.client - 8.0, columns.server - columns.client + 16.0);
    pen.rect(x, top + 8.0, width, height, 5.0, "fold");
    let mut y = top + 32.0;
    for line in &lines {
        pen.text(columns.middle(), y, "", Anchor::Middle, line);
        y += 18.0;
    }
    top + height + 18.0
}

/// What was found in a row, and what it is for.
fn remarks(pen: &mut Pen, top: f64, row: &Row, columns: Columns, style: &Style) -> f64 {
    let width = columns.right - columns.remark;
    let mut y = top;
    for finding in &row.findings {
        let severity = finding.anomaly.severity();
        let name = severity.name();
        let title = format!("{} · {name}", finding.anomaly.title());
        let titles = TITLE.wrap(&title, width - 42.0, 2);
        let lines = REMARK.wrap(&markup::visible(&finding.text), width - 42.0, REMARK_LINES_MAX);
        let height = (titles.len() + lines.len()) as f64 * 17.0 + 12.0;
        pen.rect(columns.remark, y, width, height, 5.0, name);
        pen.rect(columns.remark, y, 3.0, height, 1.0, &format!("{name}i"));
        pen.icon(columns.remark + 12.0, y + 6.0, 15.0, icon(severity), &format!("{name}i"));
        let x = columns.remark + 34.0;
        let mut line_y = y + 18.0;
        for title in &titles {
            pen.text(x, line_y, &format!("title sans {name}i"), Anchor::Start, title);
            line_y += 17.0;
        }
        for line in &lines {
            pen.text(x, line_y, "remark sans", Anchor::Start, line);
            line_y += 17.0;
        }
        y += height + 6.0;
    }
    let Some(remark) = row.remark.as_ref().filter(|_| style.remarks) else { return y };
    y += 15.0;
    let lines = REMARK.wrap(&markup::visible(&remark.text), width, REMARK_LINES_MAX);
    // The rule stands behind the last word if there is room, or below.
    let rule = remark.rfc.map(|rfc| (rfc, RULE_GAP + Face::Sans(11.0).width(rfc)));
    let (mut lines_left, mut rule_left) = (lines.len(), rule);
    for line in &lines {
        lines_left -= 1;
        match rule_left.filter(|(_, room)| lines_left == 0 && REMARK.width(line) + room <= width) {
            Some((rfc, _)) => {
                let spans = [("", 0.0, line.as_str()), ("ref", RULE_GAP, rfc)];
                pen.spans(columns.remark, y, "remark sans", Anchor::Start, &spans);
                rule_left = None;
            }
            None => pen.text(columns.remark, y, "remark sans", Anchor::Start, line),
        }
        y += 17.0;
    }
    if let Some((rfc, _)) = rule_left {
        pen.text(columns.remark, y, "ref sans", Anchor::Start, rfc);
        y += 17.0;
    }
    y - 7.0
}
