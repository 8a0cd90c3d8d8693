//! What stands below a drawn session: how it ended, its figures, and what was found in it.

use std::time::Duration;

use super::line::{Line, Paint, cut, harmless, wrap, write_line};
use crate::{
    anomaly::Anomaly,
    format::facts::gravest_first,
    row::Summary,
    words::{clock, count, duration, thousands, times},
};

/// Where values stand, behind their names.
const VALUE_COLUMN: usize = 10;
/// How many lines a value may take.
const VALUE_MAX_LINES: usize = 6;

pub(super) fn write(
    summary: &Summary,
    first: &[(Anomaly, Option<Duration>)],
    width: usize,
    colour: bool,
    out: &mut Vec<u8>,
) {
    let mut value = |name: &str, text: &str, paint| {
        let lines = wrap(&harmless(text), width - VALUE_COLUMN, VALUE_MAX_LINES);
        for (place, text) in lines.iter().enumerate() {
            let mut line = Line::new(colour);
            if place == 0 {
                line.put(name, Paint::Dim);
            }
            line.pad_to(VALUE_COLUMN);
            line.put(text, paint);
            line.end(out);
        }
    };
    value("end", &summary.ending, Paint::Bold);
    if let Some(user) = &summary.user {
        value("user", user, Paint::Plain);
    }
    value("TLS", tls(summary), Paint::Plain);
    if let Some(taken) = summary.duration {
        value("took", &duration(taken), Paint::Plain);
    }
    value("commands", &thousands(summary.commands), Paint::Plain);
    value("messages", &messages(summary), Paint::Plain);
    if let Some(text) = traffic(summary) {
        value("traffic", &text, Paint::Plain);
    }
    if summary.anomalies.is_empty() {
        value("found", "nothing wrong", Paint::Plain);
        return;
    }
    out.push(b'\n');
    write_line("Found", Paint::Bold, colour, out);
    for (anomaly, number) in gravest_first(summary) {
        let seen = first.iter().find(|(seen, _)| *seen == anomaly).and_then(|(_, at)| *at);
        let when = match (seen, number) {
            (None, _) => String::new(),
            (Some(at), 1) => format!(", at {} s", clock(at).trim_start()),
            (Some(at), _) => format!(", first at {} s", clock(at).trim_start()),
        };
        let text = format!("! {} ({}), {}{when}", anomaly.title(), anomaly.severity().name(), times(number));
        write_line(&cut(&text, width), Paint::Finding(anomaly.severity()), colour, out);
        for text in wrap(anomaly.advice(), width - 2, VALUE_MAX_LINES) {
            write_line(&format!("  {text}"), Paint::Dim, colour, out);
        }
    }
}

/// What is known of TLS; where it was taken off before anything was heard, that is nothing.
pub(super) fn tls(summary: &Summary) -> &str {
    let unknown = if summary.opening.inside_tls { "not known" } else { "none" };
    summary.tls.as_deref().unwrap_or(unknown)
}

fn messages(summary: &Summary) -> String {
    let mut text = format!("{} retrieved", thousands(summary.retrieved));
    if summary.retrieved > 0 {
        text.push_str(&format!(" ({})", count(summary.retrieved_octets, "octet")));
    }
    text.push_str(&format!(", {} deleted", thousands(summary.deleted)));
    text
}

/// What passed on the wire, if the source knows.
fn traffic(summary: &Summary) -> Option<String> {
    let (client, server) = (summary.client_octets, summary.server_octets);
    if summary.segments == 0 && client == 0 && server == 0 {
        return None;
    }
    let mut text = format!("client {}, server {}", count(client, "octet"), count(server, "octet"));
    if summary.segments > 0 {
        text.push_str(&format!(", {}", count(summary.segments, "segment")));
    }
    Some(text)
}
