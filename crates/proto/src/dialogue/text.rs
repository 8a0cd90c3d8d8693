//! How octets stand in the text of a dialogue: escapes, both directions. Which marks there are is `mod.rs`'s business.

use core::{
    fmt::{self, Write},
    iter::RepeatN,
};

use super::{LINE_MAX_OCTETS, Problem, TEXT_LINE_MAX_OCTETS};

/// What the text writes in place of a secret.
pub(super) const SECRET: &str = "[secret]";
/// A run of one octet this long is abbreviated as `{600*A}`.
const RUN_MIN_OCTETS: usize = 64;

/// So many characters of escapes stand for one of a run such as `{63*A}` at most.
const GROWTH_MAX: usize = 64;

/// Whether what was read from `text` can be read again once it is written out: escapes may be longer than what they
/// stand for.
pub(super) fn fits(text: &[u8], write: impl FnOnce(&mut dyn Write) -> fmt::Result) -> bool {
    struct Room(usize);
    impl Write for Room {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    text.len() * GROWTH_MAX <= TEXT_LINE_MAX_OCTETS || write(&mut Room(TEXT_LINE_MAX_OCTETS)).is_ok()
}

/// Writes octets in their escaped form. Printable ASCII stands for itself, but for a backslash and for what would
/// read as a mark.
pub(super) fn write_octets(out: &mut dyn Write, octets: &[u8]) -> fmt::Result {
    let mut rest = octets;
    while let Some(&octet) = rest.first() {
        let run = rest.iter().take(LINE_MAX_OCTETS).take_while(|&&other| other == octet).count();
        if run >= RUN_MIN_OCTETS {
            write!(out, "{{{run}*")?;
            write_octet(out, octet, b"")?;
            out.write_char('}')?;
            rest = &rest[run..];
        } else {
            write_octet(out, octet, &rest[1..])?;
            rest = &rest[1..];
        }
    }
    Ok(())
}

fn write_octet(out: &mut dyn Write, octet: u8, behind: &[u8]) -> fmt::Result {
    match octet {
        b'\\' => out.write_str("\\\\"),
        b'\t' => out.write_str("\\t"),
        b'\r' => out.write_str("\\r"),
        b'\n' => out.write_str("\\n"),
        b'{' => out.write_str("\\{"),
        b'[' if behind.starts_with(&SECRET.as_bytes()[1..])
            || behind.first().is_some_and(u8::is_ascii_digit) =>
        {
            out.write_str("\\[")
        }
        b' '..=b'~' => out.write_char(char::from(octet)),
        _ => write!(out, "\\x{octet:02x}"),
    }
}

/// Reads one octet from the front of the text, escaped or not: the octet, and how much of the text it took.
pub(super) fn read_octet(text: &[u8]) -> Result<(u8, usize), Problem> {
    match text {
        [b'\\', escape, ..] => match escape {
            b'\\' | b'{' | b'}' | b'[' | b']' | b'"' => Ok((*escape, 2)),
            b't' => Ok((b'\t', 2)),
            b'r' => Ok((b'\r', 2)),
            b'n' => Ok((b'\n', 2)),
            b'x' => match (text.get(2).copied().and_then(hex), text.get(3).copied().and_then(hex)) {
                (Some(high), Some(low)) => Ok((high << 4 | low, 4)),
                _ => Err(Problem::Hexadecimal),
            },
            _ => Err(Problem::Escape),
        },
        [b'\\'] => Err(Problem::Escape),
        [octet, ..] if octet.is_ascii_control() => Err(Problem::Control),
        [octet, ..] => Ok((*octet, 1)),
        [] => Err(Problem::Escape),
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// A decimal number at the front of the text, and what is behind it; `None` where there is no digit, or too many.
pub(super) fn read_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    Some((core::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

/// `[1317 octets]` and nothing else.
pub(super) fn read_elided(text: &[u8]) -> Option<u64> {
    let (octets, rest) = read_number(text.strip_prefix(b"[")?)?;
    (rest == b" octets]").then_some(octets)
}

/// Reads one octet, or a run of one octet such as `{600*A}`: the run, and how much of the text it took.
pub(super) fn read_run(text: &[u8]) -> Result<(RepeatN<u8>, usize), Problem> {
    let (octet, count, taken) = match text {
        [b'{', rest @ ..] => {
            let (count, rest) = read_number(rest).ok_or(Problem::Brace)?;
            let rest = rest.strip_prefix(b"*").ok_or(Problem::Brace)?;
            let (octet, taken) = read_octet(rest)?;
            let rest = rest[taken..].strip_prefix(b"}").ok_or(Problem::Run)?;
            let count = usize::try_from(count).ok().filter(|count| (1..=LINE_MAX_OCTETS).contains(count));
            (octet, count.ok_or(Problem::RunTooLong)?, text.len() - rest.len())
        }
        _ => {
            let (octet, taken) = read_octet(text)?;
            (octet, 1, taken)
        }
    };
    Ok((core::iter::repeat_n(octet, count), taken))
}
