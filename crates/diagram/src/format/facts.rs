//! What several formats say of a row or a session in the same words: its segments, where the time before it went, what it
//! lacks, what was found. How numbers are said is in [`words`], and where all of it stands is the format's.

use std::{cmp::Reverse, time::Duration};

use super::Style;
use crate::{
    anomaly::Anomaly,
    row::{Carried, Row, RowKind, Share, Summary},
    words::{self, count, duration, thousands},
};

/// Of a session whose beginning was not heard.
pub(super) const JOINED: &str = "It was under way when the recording began.";
/// Of shorter steps nobody asks where their time went.
const SHARE_FROM: Duration = Duration::from_millis(10);

/// What is known about a row's segments and about the time before it, as pieces that may stand on one line or several.
pub(super) fn facts(row: &Row, style: &Style) -> Vec<String> {
    let mut pieces = if style.segments { segments(row) } else { Vec::new() };
    // Where the time went is told of steps that a person would notice, or that are wrong.
    let noticed = |share: &Share| share.network.saturating_add(share.peer) >= SHARE_FROM;
    // A slow step says it in its finding.
    let said = row.findings.iter().any(|finding| finding.anomaly == Anomaly::SlowStep);
    if let Some(share) = row.share.filter(|share| noticed(share) && !said) {
        let peer = row.from.map_or("peer", words::side);
        pieces.push(format!("network {}, {peer} {}", duration(share.network), duration(share.peer)));
    }
    pieces
}

/// What is known about a row's segments, and is not said by its label.
pub(super) fn segments(row: &Row) -> Vec<String> {
    let mut pieces = Vec::new();
    let Some(carried) = &row.carried else { return pieces };
    if carried.shared {
        pieces.push(match carried.count {
            0 | 1 => "in the same segment".to_owned(),
            more => format!("in the same segment and {} more", thousands(more - 1)),
        });
    } else {
        if carried.count > 1 {
            pieces.push(count(carried.count, "segment"));
        }
        if row.kind != RowKind::Fold {
            first_segment(row, carried, &mut pieces);
        }
        let told = row.kind == RowKind::Segment && row.label.contains("octet");
        if carried.octets > 0 && !told {
            pieces.push(count(carried.octets, "octet"));
        }
    }
    if carried.acks > 0 {
        pieces.push(format!("{} back", count(carried.acks, "ACK")));
    }
    pieces
}

/// What tells the first segment of a row from others.
fn first_segment(row: &Row, carried: &Carried, pieces: &mut Vec<String>) {
    let flags: Vec<&str> = words::flag_names(carried.flags).collect();
    // The label of a bare segment begins with its flags, and may say more of it.
    let mut words = row.label.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let told = row.kind == RowKind::Segment && flags.iter().all(|flag| words.next() == Some(flag));
    if !flags.is_empty() && !told {
        pieces.push(flags.join(", "));
    }
    pieces.extend(carried.seq.map(|seq| format!("seq {seq}")));
    pieces.extend(carried.ack.map(|ack| format!("ack {ack}")));
}

/// What a row lacks: so many lines of what was said, or the rows that were folded into it.
pub(super) fn left_out(kind: RowKind, lines: u64) -> String {
    match kind {
        RowKind::Fold => format!("{} in one", count(lines, "row")),
        _ => format!("… {}", count(lines, "more line")),
    }
}

/// Where a wait went, in a sentence's words.
pub(super) fn waited(share: Share) -> String {
    format!("{} on the network, {} with who answered", duration(share.network), duration(share.peer))
}

/// What was found in a session and how often, the gravest first; among equals, as the table has them.
pub(super) fn gravest_first(summary: &Summary) -> Vec<(Anomaly, u64)> {
    let mut anomalies = summary.anomalies.clone();
    anomalies.sort_by_key(|(anomaly, _)| (Reverse(anomaly.severity()), *anomaly));
    anomalies
}

/// Whether a row is drawn at all: a bare segment may be left out, unless something is wrong with it.
pub(super) fn is_drawn(row: &Row, style: &Style) -> bool {
    style.segments || row.kind != RowKind::Segment || !row.findings.is_empty()
}

#[cfg(test)]
mod tests {
    use restante_proto::dialogue::{Flag, Flags, Side};

    use super::*;

    #[test]
    fn what_a_label_says_is_not_said_again() {
        let mut row = Row {
            number: 1,
            at: None,
            since: None,
            phase: None,
            kind: RowKind::Segment,
            from: Some(Side::Client),
            label: "SYN, ACK".to_owned(),
            lines: Vec::new(),
            lines_left_out: 0,
            carried: Some(Carried {
                count: 1,
                flags: Flags::default().with(Flag::Syn).with(Flag::Ack),
                seq: Some(0),
                ack: Some(1),
                octets: 20,
                shared: false,
                acks: 0,
            }),
            remark: None,
            findings: Vec::new(),
            share: None,
            about: None,
        };
        let style = Style::default();
        assert_eq!(facts(&row, &style), ["seq 0", "ack 1", "20 octets"]);
        row.label = "SYN, ACK: 20 octets again".to_owned();
        assert_eq!(facts(&row, &style), ["seq 0", "ack 1"]);
        row.label = "SYN".to_owned();
        assert_eq!(facts(&row, &style), ["SYN, ACK", "seq 0", "ack 1", "20 octets"]);
        row.kind = RowKind::Reply;
        row.share = Some(Share { network: Duration::from_micros(31), peer: Duration::from_micros(9_900) });
        assert_eq!(facts(&row, &style), ["SYN, ACK", "seq 0", "ack 1", "20 octets"]);
        row.share = Some(Share { network: Duration::from_micros(31), peer: Duration::from_millis(200) });
        assert_eq!(facts(&row, &Style { segments: false, ..style }), ["network 31 µs, client 200 ms"]);
    }
}
