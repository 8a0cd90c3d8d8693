//! Text of strangers in columns: made harmless, measured as terminals do, cut, wrapped, and put together into lines with
//! colours or without. A character may be many code points (combining marks) and may take two columns (CJK).

use std::borrow::Cow;

use restante_proto::reply::printable;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::anomaly::Severity;

/// What of a text is looked at, in code points; a command has 255 octets at most (RFC 2449 §4), a reply 512.
const TEXT_MAX_CHARS: usize = 4096;
/// How many code points one character may have; more are marks stacked to cover other lines.
const CHARACTER_MAX_CHARS: usize = 12;
/// The end of a text that is kept when its middle is cut out: of an address the port.
const TAIL_COLUMNS: usize = 7;

/// How a piece of a line is painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Bold,
    Dim,
    Client,
    Server,
    Finding(Severity),
}

impl Paint {
    /// The ANSI code (SGR): of the sixteen colours, so that the terminal's theme decides how they look.
    const fn code(self) -> Option<&'static str> {
        Some(match self {
            Self::Plain => return None,
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Client => "36",
            Self::Server => "32",
            Self::Finding(Severity::Slow) => "33",
            Self::Finding(Severity::Wrong) => "31",
            Self::Finding(Severity::Grave) => "1;31",
        })
    }
}

/// A line under construction.
pub(super) struct Line {
    text: String,
    columns: usize,
    colour: bool,
}

impl Line {
    pub(super) const fn new(colour: bool) -> Self {
        Self { text: String::new(), columns: 0, colour }
    }

    pub(super) const fn columns(&self) -> usize {
        self.columns
    }

    /// Appends a harmless text.
    pub(super) fn put(&mut self, text: &str, paint: Paint) {
        if text.is_empty() {
            return;
        }
        self.columns += width(text);
        match paint.code().filter(|_| self.colour) {
            None => self.text.push_str(text),
            Some(code) => {
                for part in ["\x1b[", code, "m", text, "\x1b[0m"] {
                    self.text.push_str(part);
                }
            }
        }
    }

    /// Appends blanks up to this column.
    pub(super) fn pad_to(&mut self, column: usize) {
        let missing = column.saturating_sub(self.columns);
        self.text.extend(std::iter::repeat_n(' ', missing));
        self.columns += missing;
    }

    /// Ends the line.
    pub(super) fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text.trim_end_matches(' ').as_bytes());
        out.push(b'\n');
    }
}

/// A line of one piece.
pub(super) fn write_line(text: &str, paint: Paint, colour: bool, out: &mut Vec<u8>) {
    let mut line = Line::new(colour);
    line.put(text, paint);
    line.end(out);
}

/// A text in which nothing moves the cursor, changes colours, turns the direction of writing, or covers other lines.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_MAX_CHARS && text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let text = printable(text, TEXT_MAX_CHARS);
    Cow::Owned(
        text.graphemes(true).flat_map(|character| character.chars().take(CHARACTER_MAX_CHARS)).collect(),
    )
}

/// How many columns a harmless text takes.
pub(super) fn width(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// A harmless text in no more than this many columns; `…` stands for what is cut off.
pub(super) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let (head, _) = split(text, columns.saturating_sub(1));
    let mut out = head.trim_end().to_owned();
    if columns > 0 {
        out.push('…');
    }
    Cow::Owned(out)
}

/// Likewise, but what is left out is in the middle: addresses differ at their ends.
pub(super) fn cut_middle(text: &str, columns: usize) -> Cow<'_, str> {
    let missing = width(text).saturating_sub(columns);
    if missing == 0 || columns < 3 * TAIL_COLUMNS {
        return cut(text, columns);
    }
    let mut tail = text;
    while width(tail) > TAIL_COLUMNS {
        let mut characters = tail.graphemes(true);
        characters.next();
        tail = characters.as_str();
    }
    let head = cut(text, columns - width(tail));
    Cow::Owned(format!("{head}{tail}"))
}

/// As many whole characters as go into this many columns, and the rest.
fn split(text: &str, columns: usize) -> (&str, &str) {
    let mut used = 0;
    for (at, character) in text.grapheme_indices(true) {
        used += character.width();
        if used > columns {
            return text.split_at(at);
        }
    }
    (text, "")
}

/// A harmless text in lines of no more than this many columns, broken between words where that is possible; the last of
/// `max_lines` ends in `…` if more follows. A text that fits is not touched.
pub(super) fn wrap(text: &str, columns: usize, max_lines: usize) -> Vec<String> {
    if width(text) <= columns {
        return vec![text.to_owned()];
    }
    let mut lines = Vec::new();
    let mut rest = text.trim_end();
    while !rest.is_empty() {
        if lines.len() + 1 >= max_lines || columns < 2 {
            lines.push(cut(rest, columns).into_owned());
            break;
        }
        let (head, tail) = split(rest, columns);
        if tail.is_empty() {
            lines.push(head.to_owned());
            break;
        }
        // Back to the last gap between words, unless there is none, or so far back that the line would be nearly empty.
        let end = match head.rfind(' ') {
            _ if tail.starts_with(' ') => head.len(),
            Some(at) if width(&head[..at]) * 3 >= columns => at,
            _ => head.len(),
        };
        let (line, next) = rest.split_at(end);
        lines.push(line.trim_end().to_owned());
        rest = next.trim_start();
    }
    lines
}

/// Pieces on as few lines as possible, two blanks between them; none is broken that fits a line.
pub(super) fn flow(pieces: &[String], columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for piece in pieces {
        let piece = cut(piece, columns);
        match lines.last_mut() {
            Some(line) if width(line) + 2 + width(&piece) <= columns => {
                line.push_str("  ");
                line.push_str(&piece);
            }
            _ => lines.push(piece.into_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_harm_is_replaced() {
        assert_eq!(harmless("plain"), "plain");
        assert_eq!(harmless("a\x1b[31mb\u{9b}\u{202e}c\u{200b}"), "a?[31mb??c?");
        let stacked = format!("z{}", "\u{336}".repeat(500));
        assert_eq!(harmless(&stacked).chars().count(), CHARACTER_MAX_CHARS);
        assert_eq!(harmless(&"日".repeat(9000)).chars().count(), TEXT_MAX_CHARS);
    }

    #[test]
    fn columns_are_those_of_the_terminal() {
        for (text, columns, shown) in [
            ("plain", 8, "plain"),
            ("plain text", 6, "plain…"),
            ("plain text", 7, "plain…"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
            ("abc", 0, ""),
        ] {
            assert_eq!(cut(text, columns), shown, "{text:?}");
        }
        let address = "[2001:db8:4006:812:1234:5678:9abc:def0]:50312";
        assert_eq!(cut_middle(address, 26), "[2001:db8:4006:812…]:50312");
        assert_eq!(cut_middle(address, 12), "[2001:db8:4…");
        assert_eq!(cut_middle("192.0.2.1:110", 20), "192.0.2.1:110");
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("fits  as it is", 20, 3), ["fits  as it is"]);
        assert_eq!(wrap("one two three four", 8, 9), ["one two", "three", "four"]);
        assert_eq!(wrap("one two three four", 8, 2), ["one two", "three f…"]);
        assert_eq!(wrap("a-word-without-a-gap", 8, 9), ["a-word-w", "ithout-a", "-gap"]);
        assert_eq!(wrap("日本語日本語", 5, 9), ["日本", "語日", "本語"]);
        assert_eq!(wrap("", 5, 9), [""]);
        assert_eq!(wrap("日日", 1, 9), ["…"]);
        assert_eq!(flow(&["one".into(), "two".into(), "three".into()], 9), ["one  two", "three"]);
    }

    #[test]
    fn colours_are_left_away_where_they_are_not_wanted() {
        for (colour, text) in [(true, "\x1b[1mhead\x1b[0m  end\n"), (false, "head  end\n")] {
            let (mut line, mut out) = (Line::new(colour), Vec::new());
            line.put("head", Paint::Bold);
            line.pad_to(6);
            line.put("end", Paint::Plain);
            line.end(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
