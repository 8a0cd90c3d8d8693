//! How figures are said to a person: durations, octets, how often, and the segments of a row. No columns, no colours.

use std::time::Duration;

use restante_proto::dialogue::{Flag, Flags};

use crate::{
    format::Style,
    row::{Carried, Row, RowKind, Share},
};

const NANOS_PER_SECOND: u128 = 1_000_000_000;
/// Of shorter steps nobody asks where their time went.
const SHARE_FROM: Duration = Duration::from_millis(10);

/// A duration's number and its unit: `31` and `µs`, `1.2` and `ms`, `44.5` and `s`.
pub(crate) fn duration_parts(duration: Duration) -> (String, &'static str) {
    // A unit's length, its name, how many of it are the next one, and whether tenths of it are said.
    const UNITS: [(u128, &str, u128, bool); 7] = [
        (1, "ns", 1000, false),
        (1000, "µs", 1000, false),
        (1_000_000, "ms", 1000, true),
        (NANOS_PER_SECOND, "s", 60, true),
        (60 * NANOS_PER_SECOND, "min", 60, true),
        (3600 * NANOS_PER_SECOND, "h", 48, true),
        (86_400 * NANOS_PER_SECOND, "d", u128::MAX, true),
    ];
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return ("0".to_owned(), "µs");
    }
    for (length, unit, next, with_tenths) in UNITS {
        let whole = (nanos + length / 2) / length;
        if whole >= next {
            continue;
        }
        let tenths = (nanos * 10 + length / 2) / length;
        let number = if with_tenths && tenths < 1000 {
            format!("{}.{}", tenths / 10, tenths % 10)
        } else {
            whole.to_string()
        };
        return (number, unit);
    }
    ("long".to_owned(), "")
}

/// A duration: `31 µs`, `1.2 ms`, `3.2 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let (number, unit) = duration_parts(duration);
    format!("{number} {unit}")
}

/// How many characters [`clock`] gives.
pub(crate) const CLOCK_COLUMNS: usize = 10;

/// Seconds since the start, so that the points stand below each other: `   0.000310`; the longest sessions lose digits that
/// nobody reads there.
pub(crate) fn clock(at: Duration) -> String {
    let (seconds, micros) = (at.as_secs(), at.subsec_micros());
    let text = match seconds {
        0..1000 => format!("{seconds}.{micros:06}"),
        1000..1_000_000 => format!("{seconds}.{:03}", micros / 1000),
        _ => seconds.to_string(),
    };
    format!("{text:>CLOCK_COLUMNS$}")
}

/// A number with a comma between thousands.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// So many of something: `1 octet`, `1,317 octets`.
pub(crate) fn count(number: u64, one: &str) -> String {
    format!("{} {one}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// How often.
pub(crate) fn times(number: u64) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{} times", thousands(number)),
    }
}

/// The names of a segment's flags, in the order of `docs/dialogue.md`.
pub(crate) fn flags(carried: &Carried) -> impl Iterator<Item = &'static str> {
    flag_names(carried.flags)
}

/// The names of flags, in their usual order.
pub(crate) fn flag_names(flags: Flags) -> impl Iterator<Item = &'static str> {
    let names =
        [(Flag::Syn, "SYN"), (Flag::Fin, "FIN"), (Flag::Rst, "RST"), (Flag::Psh, "PSH"), (Flag::Ack, "ACK")];
    names.into_iter().filter(move |(flag, _)| flags.has(*flag)).map(|(_, name)| name)
}

/// What is known about a row's segments and about the time before it, as pieces that may stand on one line or several.
pub(crate) fn facts(row: &Row, style: &Style) -> Vec<String> {
    let mut pieces = Vec::new();
    if let Some(carried) = row.carried.as_ref().filter(|_| style.segments) {
        segment_facts(row, carried, &mut pieces);
    }
    // Where the time went is told of steps that a person would notice, or that are wrong.
    let noticed = |share: &Share| share.network.saturating_add(share.peer) >= SHARE_FROM;
    if let Some(share) = row.share.filter(|share| noticed(share) || !row.findings.is_empty()) {
        let peer = row.from.map_or("peer", super::side_word);
        pieces.push(format!("network {}, {peer} {}", duration(share.network), duration(share.peer)));
    }
    pieces
}

fn segment_facts(row: &Row, carried: &Carried, pieces: &mut Vec<String>) {
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
            first_segment(row, carried, pieces);
        }
        let told = row.kind == RowKind::Segment && row.label.contains("octet");
        if carried.octets > 0 && !told {
            pieces.push(count(carried.octets, "octet"));
        }
    }
    if carried.acks > 0 {
        pieces.push(format!("{} back", count(carried.acks, "ACK")));
    }
}

/// What tells the first segment of a row from others.
fn first_segment(row: &Row, carried: &Carried, pieces: &mut Vec<String>) {
    let flags: Vec<&str> = flags(carried).collect();
    // The label of a bare segment begins with its flags, and may say more of it.
    let mut words = row.label.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let told = row.kind == RowKind::Segment && flags.iter().all(|flag| words.next() == Some(flag));
    if !flags.is_empty() && !told {
        pieces.push(flags.join(", "));
    }
    pieces.extend(carried.seq.map(|seq| format!("seq {seq}")));
    pieces.extend(carried.ack.map(|ack| format!("ack {ack}")));
}

/// What a row lacks: lines of what was said, or the rows that were folded into it.
pub(crate) fn left_out(row: &Row) -> String {
    match row.kind {
        RowKind::Fold => format!("{} in one", count(row.lines_left_out, "row")),
        _ => format!("… {}", count(row.lines_left_out, "more line")),
    }
}

/// Whether a row is drawn at all: a bare segment may be left out, unless something is wrong with it.
pub(crate) fn is_drawn(row: &Row, style: &Style) -> bool {
    style.segments || row.kind != RowKind::Segment || !row.findings.is_empty()
}

#[cfg(test)]
mod tests {
    use restante_proto::dialogue::{Flags, Side};

    use super::*;

    #[test]
    fn durations_are_read_at_a_glance() {
        for (nanos, text) in [
            (0, "0 µs"),
            (850, "850 ns"),
            (1_499, "1 µs"),
            (31_000, "31 µs"),
            (999_499, "999 µs"),
            (999_500, "1.0 ms"),
            (1_249_000, "1.2 ms"),
            (99_960_000, "100 ms"),
            (999_600_000, "1.0 s"),
            (3_200_000_000, "3.2 s"),
            (59_400_000_000, "59.4 s"),
            (59_600_000_000, "1.0 min"),
            (7_200_000_000_000, "2.0 h"),
            (1_000_000_000_000_000, "11.6 d"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanos)), text, "{nanos}");
        }
        assert!(duration(Duration::MAX).ends_with(" d"));
    }

    #[test]
    fn clocks_are_of_one_width() {
        for (micros, text) in [
            (0, "  0.000000"),
            (310, "  0.000310"),
            (999_999_999, "999.999999"),
            (1_000_000_000, "  1000.000"),
            (999_999_999_999, "999999.999"),
            (1_000_000_000_000, "   1000000"),
        ] {
            assert_eq!(clock(Duration::from_micros(micros)), text);
        }
    }

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

    #[test]
    fn numbers_have_commas() {
        for (number, text) in [
            (0, "0 octets"),
            (1, "1 octet"),
            (999, "999 octets"),
            (1317, "1,317 octets"),
            (1_234_567, "1,234,567 octets"),
        ] {
            assert_eq!(count(number, "octet"), text);
        }
        assert_eq!([times(1), times(2), times(1200)], ["once", "twice", "1,200 times"]);
    }
}
