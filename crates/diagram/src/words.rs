//! Numbers, durations and lines of a session as words that a person reads and no terminal obeys.

use std::time::Duration;

use restante_proto::dialogue::{Line, Mark, Piece};

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

/// Octets in a unit of their size: `1,317 octets`, `81.4 kB`, `81 MB`.
pub fn size(octets: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.into_iter().find(|(unit, _)| octets >= 10 * unit) {
        None => count(octets, "octet"),
        Some((unit, name)) if octets < 100 * unit => {
            let tenths = octets / (unit / 10);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        Some((unit, name)) => format!("{} {name}", thousands(octets / unit)),
    }
}

/// A time that passed, in a unit of its size: `31 µs`, `1.2 ms`, `3.20 s`, `2 min 5 s`, `1 h 2 min`.
pub fn duration(time: Duration) -> String {
    let (micros, seconds) = (time.as_micros(), time.as_secs());
    match (micros, seconds) {
        (0..1_000, _) => format!("{micros} µs"),
        (1_000..100_000, _) => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        (100_000..1_000_000, _) => format!("{} ms", micros / 1_000),
        (_, 0..60) => format!("{seconds}.{:02} s", time.subsec_millis() / 10),
        (_, 60..3_600) => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
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
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(1_317), "1,317");
        assert_eq!(thousands(100_000), "100,000");
        assert_eq!(count(1, "octet"), "1 octet");
        assert_eq!(size(1_317), "1,317 octets");
        assert_eq!(size(81_400), "81.4 kB");
        assert_eq!(size(181_400_000), "181 MB");
    }

    #[test]
    fn durations_have_a_unit_of_their_size() {
        for (micros, text) in [
            (0, "0 µs"),
            (31, "31 µs"),
            (1_250, "1.2 ms"),
            (99_999, "99.9 ms"),
            (250_400, "250 ms"),
            (3_204_000, "3.20 s"),
            (125_000_000, "2 min 5 s"),
            (3_725_000_000, "1 h 2 min"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        assert_eq!(harmless("a\x1b[2Jb\u{202e}c"), "a\\x1b[2Jb?c");
        assert_eq!(harmless(&"x".repeat(1000)).chars().count(), LINE_MAX_CHARACTERS + 1);
    }
}
