//! How things are said to a person, once for the tracer and all formats: numbers, durations, sizes, how often, sides and
//! flags, and the lines of a session as no terminal obeys them. No columns, no colours.

use std::time::Duration;

use restante_proto::dialogue::{Flag, Flags, Line, Mark, Piece, Side};

/// What a line was taken out for.
pub const SECRET: &str = "[secret]";

/// The longest text of one line that is shown, in characters.
pub(crate) const LINE_MAX_CHARACTERS: usize = 400;

/// `1317` as `1,317`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many of something: `1 octet`, `1,317 octets`.
pub fn count(number: u64, one: &str) -> String {
    let more = if number == 1 { "" } else { "s" };
    format!("{} {one}{more}", thousands(number))
}

/// How often: `once`, `twice`, `1,200 times`.
pub fn times(number: u64) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{} times", thousands(number)),
    }
}

/// So many units of this length, rounded to the nearest: with tenths below a hundred, if they are wanted.
fn in_units(of: u128, length: u128, with_tenths: bool) -> String {
    let rounded = |length: u128| of.saturating_add(length / 2) / length;
    // A unit with tenths is long enough to be cut in ten.
    let tenths = if with_tenths { rounded(length / 10) } else { u128::MAX };
    match tenths {
        ..1000 => format!("{}.{}", tenths / 10, tenths % 10),
        _ => thousands(u64::try_from(rounded(length)).unwrap_or(u64::MAX)),
    }
}

/// Octets in a unit of their size: `1,317 octets`, `81.4 kB`, `181 MB`.
pub fn size(octets: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.into_iter().find(|(unit, _)| octets >= 10 * unit) {
        None => count(octets, "octet"),
        Some((unit, name)) => format!("{} {name}", in_units(octets.into(), unit.into(), true)),
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// A duration's number and its unit: `31` and `µs`, `1.2` and `ms`, `44.5` and `s`.
pub(crate) fn duration_parts(time: Duration) -> (String, &'static str) {
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
    let nanos = time.as_nanos();
    if nanos == 0 {
        return ("0".to_owned(), "µs");
    }
    let fits = |(length, _, next, _): &(u128, &str, u128, bool)| (nanos + length / 2) / length < *next;
    match UNITS.into_iter().find(fits) {
        Some((length, unit, _, with_tenths)) => (in_units(nanos, length, with_tenths), unit),
        None => ("long".to_owned(), ""),
    }
}

/// A time that passed, in a unit of its size: `31 µs`, `1.2 ms`, `3.2 s`, `2.1 min`.
pub fn duration(time: Duration) -> String {
    let (number, unit) = duration_parts(time);
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

/// A side in one word.
pub const fn side(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

/// The names of flags, in the order of `docs/dialogue.md`.
pub(crate) fn flag_names(flags: Flags) -> impl Iterator<Item = &'static str> {
    let names =
        [(Flag::Syn, "SYN"), (Flag::Fin, "FIN"), (Flag::Rst, "RST"), (Flag::Psh, "PSH"), (Flag::Ack, "ACK")];
    names.into_iter().filter(move |(flag, _)| flags.has(*flag)).map(|(_, name)| name)
}

/// `PSH, ACK`; empty if no flag is set.
pub(crate) fn flags(flags: Flags) -> String {
    flag_names(flags).collect::<Vec<_>>().join(", ")
}

/// What a line says, without its line end: secrets as `[secret]`, control characters as `\xNN`, bounded.
pub(crate) fn line<M: Mark>(line: &Line<M>) -> String {
    let mut shown = String::new();
    for piece in line.pieces() {
        match piece {
            Piece::Octets(octets) => shown.push_str(&String::from_utf8_lossy(octets)),
            Piece::Cut => {}
            Piece::Secret => shown.push_str(SECRET),
            Piece::Mark(mark) => shown.push_str(&format!("{{{}}}", mark.name())),
        }
    }
    let shown = shown.strip_suffix('\n').map_or(&*shown, |line| line.strip_suffix('\r').unwrap_or(line));
    harmless(shown.trim_end_matches(' '))
}

/// Octets of a message as text, one line of it.
pub(crate) fn octets(octets: &[u8]) -> String {
    harmless(&String::from_utf8_lossy(octets))
}

/// The text without characters that could move a cursor or turn the direction of writing, shortened if it is long.
pub(crate) fn harmless(text: &str) -> String {
    // Nearly all of them are.
    if text.len() <= LINE_MAX_CHARACTERS && text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for (place, character) in text.chars().enumerate() {
        if place == LINE_MAX_CHARACTERS {
            shown.push('…');
            break;
        }
        match character {
            '\t' => shown.push_str("  "),
            '\0'..='\x1f' | '\x7f' => shown.push_str(&format!("\\x{:02x}", u32::from(character))),
            ' '..='~' => shown.push(character),
            _ => shown.push_str(&restante_proto::reply::printable(character.encode_utf8(&mut [0; 4]), 1)),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        for (number, text) in [(0, "0"), (7, "7"), (999, "999"), (1_317, "1,317"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
        assert_eq!([count(0, "octet"), count(1, "octet")], ["0 octets", "1 octet"]);
        assert_eq!([times(1), times(2), times(1200)], ["once", "twice", "1,200 times"]);
        for (octets, text) in [
            (1_317, "1,317 octets"),
            (9_999, "9,999 octets"),
            (10_000, "10.0 kB"),
            (81_449, "81.4 kB"),
            (81_450, "81.5 kB"),
            (99_960, "100 kB"),
            (181_400_000, "181 MB"),
            (9_999_999, "10,000 kB"),
        ] {
            assert_eq!(size(octets), text);
        }
        assert!(size(u64::MAX).ends_with(" GB"));
    }

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
        assert_eq!(duration(Duration::from_secs(125)), "2.1 min");
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
    fn what_a_terminal_would_obey_is_not_shown() {
        assert_eq!(harmless("a\x1b[2Jb\u{202e}c"), "a\\x1b[2Jb?c");
        assert_eq!(harmless(&"x".repeat(1000)).chars().count(), LINE_MAX_CHARACTERS + 1);
    }
}
