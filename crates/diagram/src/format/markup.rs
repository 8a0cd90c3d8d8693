//! What SVG and HTML have in common: escaping, the clock, and what a session and a row are called.

use std::{borrow::Cow, cmp::Reverse, fmt::Write, time::Duration};

use restante_proto::dialogue::Side;

use crate::{
    anomaly::{Anomaly, Severity},
    format::{Picture, facts},
    row::{Row, RowKind, Summary},
    words::{duration, size, thousands},
};

/// Whether a character can be seen and leaves the text around it alone: no control, none that turns the direction of
/// writing, none without width that could hide something. What joins letters and emoji may stay.
fn shows(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The text with everything that does not show written out as `\u{…}`.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(shows) {
        return Cow::Borrowed(text);
    }
    let mut seen = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if shows(c) {
            seen.push(c);
        } else {
            seen.extend(c.escape_unicode());
        }
    }
    Cow::Owned(seen)
}

/// The text for XML and HTML, between tags and in attributes.
pub(super) fn escaped(text: &str) -> String {
    let text = visible(text);
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// The first characters of a text, with `…` for the rest.
pub(super) fn shortened(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

/// Writes into text, where writing cannot fail.
macro_rules! put {
    ($out:expr, $($what:tt)*) => {{
        use std::fmt::Write as _;
        let _: std::fmt::Result = write!($out, $($what)*);
    }};
}
pub(super) use put;

/// How a session's times are written: in seconds, with as many digits as there is room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    digits: usize,
    /// The longest step, which the bars are measured by; without one there are none.
    pub(super) longest: Duration,
    /// Whether anything has a time.
    pub(super) runs: bool,
}

impl Clock {
    pub(super) fn of(rows: &[Row]) -> Self {
        let last = rows.iter().filter_map(|row| row.at).max();
        let digits = match last.unwrap_or_default().as_secs() {
            ..100 => 6,
            100..10_000 => 4,
            _ => 2,
        };
        let longest = rows.iter().filter_map(|row| row.since).max().unwrap_or_default();
        Self { digits, longest, runs: last.is_some() || longest > Duration::ZERO }
    }

    /// The clock of a session that goes on: how long it will be, and its steps, nobody knows.
    pub(super) const fn running() -> Self {
        Self { digits: 6, longest: Duration::ZERO, runs: true }
    }

    pub(super) fn at(self, time: Duration) -> String {
        let micros = format!("{:06}", time.subsec_micros());
        format!("{}.{}", time.as_secs(), micros.get(..self.digits).unwrap_or(&micros))
    }

    /// Which part of the longest step this time is, in thousandths.
    pub(super) fn part(self, time: Duration) -> u32 {
        let whole = self.longest.as_nanos().max(1);
        u32::try_from(time.min(self.longest).as_nanos() * 1000 / whole).unwrap_or(1000)
    }
}

/// A step that somebody waited for, and its time is written in bold.
pub(super) fn is_long(time: Duration) -> bool {
    time >= Duration::from_millis(100)
}

/// The segments of a row in one line: `PSH, ACK · seq 1 · ack 1 · 20 octets`.
pub(super) fn segments(row: &Row) -> Option<String> {
    let pieces = facts::segments(row);
    // A piece is not broken over lines.
    let pieces = || pieces.iter().map(|piece| piece.replace(' ', "\u{a0}"));
    (pieces().len() > 0).then(|| pieces().collect::<Vec<_>>().join(" · "))
}

/// What a row is called.
const fn kind(kind: RowKind) -> &'static str {
    match kind {
        RowKind::Segment => "TCP",
        RowKind::Command => "command",
        RowKind::Response => "SASL response",
        RowKind::Reply => "reply",
        RowKind::Listing => "listing",
        RowKind::Message => "message",
        RowKind::Records => "TLS",
        RowKind::Note => "Note",
        RowKind::Fold => "Folded",
    }
}

/// Who speaks to whom, and what kind of thing it is, for those who do not see the arrow.
pub(super) fn speaker(row: &Row) -> String {
    match row.from {
        Some(Side::Client) => format!("Client to server, {}", kind(row.kind)),
        Some(Side::Server) => format!("Server to client, {}", kind(row.kind)),
        None => kind(row.kind).to_owned(),
    }
}

/// The first word of what was said, which is its verb or its status, and the rest.
pub(super) fn split_verb(row: &Row) -> (&str, &str) {
    match row.kind {
        RowKind::Command | RowKind::Reply => {
            let end = row.label.find(' ').unwrap_or(row.label.len());
            row.label.split_at(end)
        }
        _ => ("", &row.label),
    }
}

/// The heading of a session.
pub(super) fn heading(summary: &Summary) -> String {
    match &summary.opening.title {
        Some(title) => format!("{title}, session {}", summary.number),
        None => format!("POP3 session {}", summary.number),
    }
}

/// A session's figures as name and value, those that are known.
pub(super) fn figures(summary: &Summary) -> Vec<(&'static str, String)> {
    let mut figures = Vec::with_capacity(10);
    if let Some(started) = &summary.opening.started {
        figures.push(("Began", started.to_string()));
    }
    if let Some(whole) = summary.duration {
        figures.push(("Took", duration(whole)));
    }
    if let Some(user) = &summary.user {
        figures.push(("User", user.clone()));
    }
    match &summary.tls {
        Some(tls) => figures.push(("TLS", tls.clone())),
        None if summary.opening.inside_tls => {}
        None => figures.push(("TLS", "none".to_owned())),
    }
    figures.push(("Commands", thousands(summary.commands)));
    let mut messages = thousands(summary.retrieved);
    if summary.retrieved > 0 {
        messages += &format!(" ({})", size(summary.retrieved_octets));
    }
    figures.push(("Retrieved", messages));
    figures.push(("Deleted", thousands(summary.deleted)));
    if summary.segments > 0 {
        figures.push(("Segments", thousands(summary.segments)));
    }
    if summary.client_octets + summary.server_octets > 0 {
        figures.push(("Client sent", size(summary.client_octets)));
        figures.push(("Server sent", size(summary.server_octets)));
    }
    if !summary.ending.is_empty() {
        figures.push(("End", summary.ending.clone()));
    }
    figures
}

/// One kind of what was found in a session.
pub(super) struct Found {
    pub(super) anomaly: Anomaly,
    /// How often.
    pub(super) count: u64,
    /// The rows in which it was found, in order.
    pub(super) places: Vec<u64>,
    /// How often in rows that were folded, and have no place.
    pub(super) folded: u64,
}

impl Found {
    /// What it is, and how often if that is more than once.
    pub(super) fn title(&self) -> String {
        let title = self.anomaly.title();
        if self.count > 1 { format!("{title} × {}", thousands(self.count)) } else { title.to_owned() }
    }
}

/// What was found in a session, worst first.
pub(super) fn found(picture: Picture<'_>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for row in picture.rows {
        for finding in &row.findings {
            match found.iter_mut().find(|found| found.anomaly == finding.anomaly) {
                Some(found) if found.places.last() == Some(&row.number) => found.count += 1,
                Some(found) => {
                    found.count += 1;
                    found.places.push(row.number);
                }
                None => {
                    found.push(Found {
                        anomaly: finding.anomaly,
                        count: 1,
                        places: vec![row.number],
                        folded: 0,
                    });
                }
            }
        }
    }
    // The figures know of more than the rows where rows were folded.
    for &(anomaly, count) in &picture.summary.anomalies {
        match found.iter_mut().find(|found| found.anomaly == anomaly) {
            Some(found) => {
                found.folded = count.saturating_sub(found.count);
                found.count += found.folded;
            }
            None => found.push(Found { anomaly, count, places: Vec::new(), folded: count }),
        }
    }
    found.sort_by_key(|found| (Reverse(found.anomaly.severity()), found.anomaly));
    found
}

/// How bad the worst is that was found in a row.
pub(super) fn worst(row: &Row) -> Option<Severity> {
    row.findings.iter().map(|finding| finding.anomaly.severity()).max()
}

/// The drawing of an icon of 16 × 16, for `fill-rule="evenodd"`.
pub(super) const LOCK: &str = "M4 7V5a4 4 0 0 1 8 0v2h1v7.5H3V7Zm1.6 0h4.8V5a2.4 2.4 0 0 0-4.8 0Z";

/// The icon of a severity: a clock, a triangle, an octagon.
pub(super) const fn icon(severity: Severity) -> &'static str {
    match severity {
        Severity::Slow => "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm-.8 3v4.6l3.1 1.8.8-1.3-2.4-1.4V4Z",
        Severity::Wrong => "M8 1.2 15.6 14.6H.4ZM7.2 5.8v4.4h1.6V5.8Zm0 5.5v1.6h1.6v-1.6Z",
        Severity::Grave => {
            "M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1Zm2.1 3.2v5h1.6v-5Zm0 6.2V12h1.6v-1.6Z"
        }
    }
}

/// A row's id, to link to.
pub(super) fn id(session: u32, number: u64) -> String {
    let mut id = String::with_capacity(16);
    let _: std::fmt::Result = write!(id, "s{session}-r{number}");
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup_or_hides() {
        assert_eq!(escaped("<b a=\"1\" c='2'>&"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;");
        assert_eq!(
            escaped("a\u{202e}b\u{200b}\u{0}\u{1b}[1m\n"),
            "a\\u{202e}b\\u{200b}\\u{0}\\u{1b}[1m\\u{a}"
        );
        assert_eq!(escaped("Grüße, 日本 👩\u{200d}🚀"), "Grüße, 日本 👩\u{200d}🚀");
    }
}
