//! Text of strangers on a terminal: made harmless, measured in columns, cut and padded to them. What a terminal shows as
//! one character may be many code points (emoji, combining marks), and one character may take two columns (CJK).

use std::io::{self, IsTerminal};

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// How many code points one character on the terminal may have; more are marks stacked to cover other lines.
const CHARACTER_MAX_CHARS: usize = 12;

/// Columns where the terminal does not tell.
const COLUMNS_DEFAULT: usize = 80;

/// How wide standard output is, if it is a terminal: as `$COLUMNS` says, or the terminal itself.
pub(crate) fn columns_or_told() -> Option<usize> {
    let told = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0);
    columns().map(|columns| told().unwrap_or(columns))
}

/// How wide standard output is, if it is a terminal.
pub(crate) fn columns() -> Option<usize> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let told = rustix::termios::tcgetwinsize(&out).map_or(0, |size| usize::from(size.ws_col));
    Some(if told == 0 { COLUMNS_DEFAULT } else { told })
}

/// One line: nothing in it moves the cursor, changes colours, or turns the direction of writing; blanks in a row are one.
pub(crate) fn harmless_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    harmless(&words.join(" "), |_| false)
}

/// Several lines, likewise; tabs and the ends of lines stay.
pub(crate) fn harmless_text(text: &str) -> String {
    harmless(&text.replace("\r\n", "\n"), |c| matches!(c, '\n' | '\t'))
}

/// A text of JSON that says the same, and no more to a terminal than its letters: what is harmful is escaped.
pub(crate) fn harmless_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        // Outside of strings there is nothing but ASCII, and no control character but these.
        if c != '\n' && c != '\t' && (c.is_control() || turns(c) || is_hidden(c)) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

fn harmless(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.graphemes(true) {
        for c in character.chars().take(CHARACTER_MAX_CHARS) {
            match c {
                c if keep(c) => out.push(c),
                c if c.is_control() || turns(c) => out.push(char::REPLACEMENT_CHARACTER),
                c if is_hidden(c) => {}
                c => out.push(c),
            }
        }
    }
    out
}

/// Overrides and isolates of the direction of writing (UAX #9), which show text in another order than it is; and the
/// separators of lines and paragraphs.
const fn turns(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}')
}

/// What is there and not seen; the joiners and selectors that emoji and some scripts are made with stay.
const fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
            | '\u{e0000}'..='\u{e001f}'
    )
}

/// How many columns a harmless line takes.
pub(crate) fn width(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// A harmless line in no more than this many columns; `…` stands for what is cut off.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (mut out, mut used) = (String::new(), 0);
    for character in text.graphemes(true) {
        used += character.width();
        if used >= columns {
            break;
        }
        out.push_str(character);
    }
    out.truncate(out.trim_end().len());
    if columns > 0 {
        out.push('…');
    }
    out
}

/// A harmless line in exactly this many columns.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let mut out = cut(text, columns);
    let used = width(&out);
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    out
}

/// A number of octets for a person: `1317`, `12K`, `3.4M`.
pub(crate) fn octets(octets: u64) -> String {
    const STEP: u64 = 1024;
    let mut unit = STEP;
    for name in ["K", "M", "G", "T"] {
        if octets < 10_000 && unit == STEP {
            return octets.to_string();
        }
        let tenths = (octets.saturating_mul(10).saturating_add(unit / 2)) / unit;
        match tenths {
            0..=99 => return format!("{}.{}{name}", tenths / 10, tenths % 10),
            100..=10_239 => return format!("{}{name}", (tenths + 5) / 10),
            _ => unit = unit.saturating_mul(STEP),
        }
    }
    "huge".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_moves_it() {
        assert_eq!(harmless_line("a\x1b[31mb\r\n\tc\u{9b}d\u{7f}"), "a\u{fffd}[31mb c\u{fffd}d\u{fffd}");
        assert_eq!(harmless_line("invoice\u{202e}fdp.exe"), "invoice\u{fffd}fdp.exe");
        assert_eq!(harmless_line("pay\u{200b}pal \u{ad}x"), "paypal x");
        assert_eq!(harmless_line("👩\u{200d}🚀 e\u{301}"), "👩\u{200d}🚀 e\u{301}", "joiners stay");
        assert_eq!(harmless_text("a\r\nb\tc\x07\rd"), "a\nb\tc\u{fffd}\u{fffd}d");
        let stacked = format!("z{}", "\u{336}".repeat(500));
        assert_eq!(harmless_line(&stacked).chars().count(), CHARACTER_MAX_CHARS);
    }

    #[test]
    fn json_says_the_same_without_harm() {
        let said = "a\u{9b}b\u{7f}\x1b\u{202e}c\u{200b}\u{e0001}\n\t日本";
        let text = harmless_json(&serde_json::json!({ "said": said }).to_string());
        assert_eq!(text.matches("\\u").count(), 7, "{text}");
        assert!(
            text.contains("日本") && !text.chars().any(|c| c.is_control() || turns(c) || is_hidden(c)),
            "{text}"
        );
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["said"], said);
    }

    #[test]
    fn columns_are_those_of_the_terminal() {
        for (text, columns, shown) in [
            ("plain", 8, "plain   "),
            ("plain text", 6, "plain…"),
            ("plain text", 7, "plain… "),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日… "),
            ("👩\u{200d}🚀x", 3, "👩\u{200d}🚀x"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
            ("abc", 1, "…"),
            ("abc", 0, ""),
        ] {
            assert_eq!(fit(text, columns), shown, "{text:?}");
            assert!(width(&fit(text, columns)) == columns, "{text:?}");
        }
    }

    #[test]
    fn octets_are_short() {
        for (number, text) in [
            (0, "0"),
            (1317, "1317"),
            (9_999, "9999"),
            (10_000, "9.8K"),
            (12_345, "12K"),
            (1_048_575, "1.0M"),
            (3_565_158, "3.4M"),
            (5_000_000_000, "4.7G"),
            (u64::MAX, "huge"),
        ] {
            assert_eq!(octets(number), text);
        }
    }
}
