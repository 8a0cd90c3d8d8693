//! One row: its times, its arrow with what was said, everything that is known of it for who asks, and what there is to
//! say about it.

use super::drawn_icon;
use crate::{
    format::{
        Style,
        facts::{left_out, waited},
        markup::{
            Clock, LOCK, escaped, icon, id, is_long, put, segments, shortened, speaker, split_verb, worst,
        },
    },
    row::{Finding, Row, RowKind},
    words::{count, duration, flags, side, thousands},
};

/// The most characters of a label that are drawn; all of it stands in the details.
const LABEL_MAX_CHARS: usize = 280;
/// The most lines of a listing or a message that are drawn; all of them stand in the details.
const BLOCK_LINES_MAX: usize = 12;

/// What a row needs to know of what is around it.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    /// The session's number.
    pub(super) session: u32,
    pub(super) clock: Clock,
    /// The rows in which something was found, in order; none where they are not all known.
    pub(super) places: &'a [u64],
    pub(super) style: &'a Style,
}

/// Draws it.
pub(super) fn draw(page: &mut String, row: &Row, around: Around<'_>) {
    let id = id(around.session, row.number);
    put!(page, "<li class=\"row {}", row.kind.name());
    if let Some(from) = row.from {
        put!(page, " {}", side(from));
    }
    if goes_across(row) {
        page.push_str(" wide");
    }
    if let Some(worst) = worst(row) {
        put!(page, " found {}", worst.name());
    }
    put!(page, "\" id=\"{id}\">");
    when(page, row, &id, around.clock);
    put!(page, "<details class=\"lane\"><summary><span class=\"hidden\">{}: </span>", speaker(row));
    said(page, row, around.style);
    page.push_str("</summary>");
    facts(page, row, around.clock);
    page.push_str("</details>");
    beside(page, row, around);
    page.push_str("</li>\n");
}

fn when(page: &mut String, row: &Row, id: &str, clock: Clock) {
    put!(
        page,
        "<div class=\"when\"><a class=\"no\" href=\"#{id}\" aria-label=\"Row {n}\">{n}</a>",
        n = row.number
    );
    if !clock.runs {
        page.push_str("</div>");
        return;
    }
    put!(page, "<span class=\"at\">{}</span>", row.at.map(|at| clock.at(at)).unwrap_or_default());
    if let Some(since) = row.since.filter(|since| !since.is_zero()) {
        put!(
            page,
            "<span{}>+{}</span>",
            if is_long(since) { " class=\"long\"" } else { "" },
            duration(since)
        );
        bar(page, row, clock);
    }
    page.push_str("</div>");
}

/// How long the step was, beside the longest one, and where the time went.
fn bar(page: &mut String, row: &Row, clock: Clock) {
    let whole = row.since.map_or(0, |since| clock.part(since));
    // Less than that is a speck of dust.
    if whole < 70 {
        return;
    }
    let (network, peer) = row.share.map_or((0, 0), |share| {
        let network = clock.part(share.network).min(whole);
        (network, clock.part(share.peer).min(whole - network))
    });
    page.push_str(
        "<svg class=\"bar\" viewBox=\"0 0 1000 5\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
    );
    let mut x = 0;
    for (class, width) in [("network", network), ("peer", peer), ("unknown", whole - network - peer)] {
        if width > 0 {
            put!(page, "<rect class=\"{class}\" x=\"{x}\" width=\"{width}\" height=\"5\"/>");
        }
        x += width;
    }
    page.push_str("</svg>");
}

/// Whether it is a box across both lifelines rather than an arrow from one to the other.
fn goes_across(row: &Row) -> bool {
    matches!(row.kind, RowKind::Note | RowKind::Fold) || row.from.is_none()
}

/// What can be seen at once.
fn said(page: &mut String, row: &Row, style: &Style) {
    let across = goes_across(row);
    if across {
        page.push_str("<span class=\"across\">");
    }
    page.push_str("<span class=\"label\">");
    if row.kind == RowKind::Records {
        page.push_str(&drawn_icon(LOCK));
    }
    let (verb, rest) = split_verb(row);
    let short = shortened(rest, LABEL_MAX_CHARS);
    if verb.is_empty() {
        page.push_str(&escaped(&short));
    } else {
        put!(page, "<b>{}</b>{}", escaped(&shortened(verb, LABEL_MAX_CHARS)), escaped(&short));
    }
    let carried =
        segments(row).filter(|carried| style.segments && !carried.is_empty()).map(|text| escaped(&text));
    if row.kind == RowKind::Segment
        && let Some(carried) = &carried
    {
        let dot = if row.label.is_empty() { "" } else { " · " };
        put!(page, "<span class=\"carried\">{dot}{carried}</span>");
    }
    page.push_str("</span>");
    block(page, row, BLOCK_LINES_MAX);
    if across {
        page.push_str("</span>");
        return;
    }
    page.push_str("<span class=\"arrow\" aria-hidden=\"true\"></span>");
    if row.kind != RowKind::Segment
        && let Some(carried) = &carried
    {
        put!(page, "<span class=\"carried\">{carried}</span>");
    }
}

fn block(page: &mut String, row: &Row, lines_max: usize) {
    if row.lines.is_empty() && row.lines_left_out == 0 {
        return;
    }
    page.push_str("<span class=\"block\">");
    let shown = row.lines.get(..lines_max).unwrap_or(&row.lines);
    for line in shown {
        put!(page, "<code>{}</code>", escaped(&shortened(line, LABEL_MAX_CHARS)));
    }
    let hidden = (row.lines.len() - shown.len()) as u64 + row.lines_left_out;
    if hidden > 0 {
        put!(page, "<i>{}</i>", left_out(row.kind, hidden));
    }
    page.push_str("</span>");
}

/// All that is known.
fn facts(page: &mut String, row: &Row, clock: Clock) {
    page.push_str("<dl class=\"facts\">");
    let mut fact = |name: &str, value: &str| {
        put!(page, "<dt>{name}</dt><dd>{}</dd>", escaped(value));
    };
    fact("What", &what(row));
    if let Some(at) = row.at {
        let since = row.since.map(|since| format!(", {} behind the row before", duration(since)));
        fact("When", &format!("{} s{}", clock.at(at), since.unwrap_or_default()));
    }
    if let Some(share) = row.share {
        fact("Waited", &waited(share));
    }
    if row.label.chars().nth(LABEL_MAX_CHARS).is_some() {
        fact("Said", &row.label);
    }
    if let Some(carried) = &row.carried {
        let first = if carried.count > 1 { ", the first" } else { "," };
        let shared = if carried.shared { ", begun by the row before" } else { "" };
        fact(
            "Carried by",
            &format!("{}{first} {}{shared}", count(carried.count, "segment"), flags(carried.flags)),
        );
        let mut numbers: Vec<String> = Vec::with_capacity(3);
        numbers.extend(carried.seq.map(|seq| format!("sequence {seq}")));
        numbers.extend(carried.ack.map(|ack| format!("acknowledges {ack}")));
        numbers.push(count(carried.octets, "octet"));
        fact("Numbers", &numbers.join(", "));
        if carried.acks > 0 {
            fact("Came back", &format!("{} that carry nothing", count(carried.acks, "ACK")));
        }
    }
    let hides = row.lines.len() > BLOCK_LINES_MAX
        || row.lines.iter().any(|line| shortened(line, LABEL_MAX_CHARS) != *line);
    if hides {
        let mut lines = row.lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n");
        if row.lines_left_out > 0 {
            put!(lines, "\n{}", left_out(row.kind, row.lines_left_out));
        }
        put!(page, "<dt>Lines</dt><dd>{lines}</dd>");
    } else if row.lines_left_out > 0 {
        let name = if row.kind == RowKind::Fold { "Rows folded" } else { "Lines left out" };
        put!(page, "<dt>{name}</dt><dd>{}</dd>", thousands(row.lines_left_out));
    }
    if let Some(rfc) = row.remark.as_ref().and_then(|remark| remark.rfc) {
        put!(page, "<dt>Rule</dt><dd>{}</dd>", escaped(rfc));
    }
    for finding in &row.findings {
        put!(
            page,
            "<dt>{}</dt><dd class=\"words\">{}</dd>",
            escaped(finding.anomaly.title()),
            escaped(finding.anomaly.advice())
        );
    }
    page.push_str("</dl>");
}

/// `command of the client, row 8, in AUTHORIZATION`
fn what(row: &Row) -> String {
    let mut what = row.kind.name().to_owned();
    if let Some(from) = row.from {
        what += &format!(" of the {}", side(from));
    }
    what += &format!(", row {}", row.number);
    if let Some(phase) = row.phase {
        what += &format!(", in {}", phase.name());
    }
    what
}

/// What was found, and what the step is for.
fn beside(page: &mut String, row: &Row, around: Around<'_>) {
    let remark = row.remark.as_ref().filter(|_| around.style.remarks);
    if row.findings.is_empty() && remark.is_none() {
        return;
    }
    put!(page, "<div class=\"beside{}\">", if row.findings.is_empty() { "" } else { " finds" });
    for (place, found) in row.findings.iter().enumerate() {
        finding(page, row, found, if place == 0 { Some(around) } else { None });
    }
    if let Some(remark) = remark {
        put!(page, "<p class=\"remark\">{}", escaped(&remark.text));
        if let Some(rfc) = remark.rfc {
            put!(page, " <cite>{}</cite>", escaped(rfc));
        }
        page.push_str("</p>");
    }
    page.push_str("</div>");
}

/// One thing that was found, the first one with the way to the findings before and behind it.
fn finding(page: &mut String, row: &Row, finding: &Finding, around: Option<Around<'_>>) {
    let severity = finding.anomaly.severity();
    put!(page, "<div class=\"finding {}\">{}", severity.name(), drawn_icon(icon(severity)));
    if let Some(around) = around.filter(|around| !around.places.is_empty()) {
        let at = around.places.partition_point(|place| *place < row.number);
        let before = at.checked_sub(1).and_then(|before| around.places.get(before));
        let behind = around.places.get(at + 1);
        page.push_str("<nav aria-label=\"Findings\">");
        for (place, sign, name) in [(before, "‹", "Finding before"), (behind, "›", "Next finding")] {
            if let Some(place) = place {
                put!(
                    page,
                    "<a href=\"#{}\" title=\"{name}\" aria-label=\"{name}\">{sign}</a>",
                    id(around.session, *place)
                );
            }
        }
        page.push_str("</nav>");
    }
    put!(
        page,
        "<strong>{}</strong> <span class=\"severity\">{}</span><p>{}</p></div>",
        finding.anomaly.title(),
        severity.name(),
        escaped(&finding.text)
    );
}
