//! How wide a text is at most, without asking a font: what is drawn must fit whichever of the fonts a reader has.

use unicode_width::UnicodeWidthChar;

/// The widest of the usual monospace fonts, in em.
const MONO_EM: f64 = 0.62;
/// What monospace fonts lack comes from another font, whose letters are not wider than this, in em.
const FOREIGN_EM: f64 = 1.0;
/// A character of two columns, in em.
const WIDE_EM: f64 = 2.0 * MONO_EM;

/// The widths of ASCII from the space on in the widest of the usual fonts without serifs (DejaVu Sans, Verdana), in
/// hundredths of an em.
#[rustfmt::skip]
const SANS: [u8; 95] = [
    36, 41, 46, 84, 64, 108, 78, 28, 46, 46, 64, 84, 37, 46, 37, 46, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 46, 46, 84, 84, 84, 55,
    100, 69, 69, 70, 78, 64, 58, 78, 76, 43, 46, 70, 56, 87, 75, 79, 61, 79, 70, 69, 62, 74, 69, 99, 69, 62, 69, 46, 46, 46, 84, 64,
    64, 61, 64, 55, 64, 62, 37, 64, 64, 28, 35, 60, 28, 98, 64, 62, 64, 64, 44, 53, 40, 64, 60, 82, 60, 60, 53, 64, 46, 64, 84,
];
/// Bold letters are so much wider.
const BOLD: f64 = 1.13;

/// A font at a size, as a class of the style sheet has it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Face {
    /// Monospace, of so many pixels.
    Mono(f64),
    /// Without serifs.
    Sans(f64),
    /// The same in bold.
    Bold(f64),
}

impl Face {
    fn em(self, c: char) -> f64 {
        let wide = match c.width() {
            Some(0) => return 0.0,
            Some(2) => Some(WIDE_EM),
            // What monospace fonts have: Latin, Greek, Cyrillic, and punctuation.
            _ if matches!(c, '\u{20}'..='\u{52f}' | '\u{2010}'..='\u{2027}') => None,
            _ => Some(FOREIGN_EM),
        };
        match self {
            Self::Mono(size) => size * wide.unwrap_or(MONO_EM),
            Self::Sans(size) => size * wide.unwrap_or_else(|| sans_em(c)),
            Self::Bold(size) => size * BOLD * wide.unwrap_or_else(|| sans_em(c)),
        }
    }

    /// How wide the text is at most, in pixels.
    pub(super) fn width(self, text: &str) -> f64 {
        text.chars().map(|c| self.em(c)).sum()
    }

    /// As much of the text as fits, with `…` for what does not.
    pub(super) fn cut(self, text: &str, width: f64) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let room = width - self.em('…');
        let mut cut = String::new();
        let mut used = 0.0;
        for c in text.chars() {
            used += self.em(c);
            if used > room {
                break;
            }
            cut.push(c);
        }
        cut.truncate(cut.trim_end().len());
        cut + "…"
    }

    /// The text in lines that fit, broken between words where that is possible; what does not fit into the last of so
    /// many lines is `…`.
    pub(super) fn wrap(self, text: &str, width: f64, lines_max: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let mut rest = text.trim_end();
        while !rest.is_empty() {
            if lines.len() + 1 >= lines_max {
                lines.push(self.cut(rest, width));
                break;
            }
            let end = self.line_end(rest, width);
            let (line, behind) = rest.split_at(end);
            lines.push(line.trim_end().to_owned());
            rest = behind.trim_start();
        }
        lines
    }

    /// Where the first line of the text ends: at least one character further.
    fn line_end(self, text: &str, width: f64) -> usize {
        let mut used = 0.0;
        let mut space = None;
        for (at, c) in text.char_indices() {
            used += self.em(c);
            if c == ' ' && at > 0 {
                space = Some(at);
            }
            if used > width && at > 0 {
                // A word that is longer than half a line is broken: rather that than a ragged hole.
                return space.filter(|space| space * 2 > at || c == ' ').unwrap_or(at);
            }
        }
        text.len()
    }
}

fn sans_em(c: char) -> f64 {
    let ascii = u32::from(c).checked_sub(0x20).and_then(|place| SANS.get(place as usize));
    ascii.map_or(0.9, |hundredths| f64::from(*hundredths) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_too_wide_and_no_word_is_lost() {
        let text = "The client sends the user's password. 日本語テキスト and a_word_that_is_longer_than_any_line_can_be_here.";
        for width in [60.0, 100.0, 333.0] {
            for face in [Face::Mono(12.0), Face::Sans(12.0), Face::Bold(12.0)] {
                let lines = face.wrap(text, width, usize::MAX);
                assert!(lines.iter().all(|line| face.width(line) <= width), "{lines:?}");
                let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
                assert_eq!(letters(&lines.concat()), letters(text));
            }
        }
    }

    #[test]
    fn what_is_too_long_ends_in_an_ellipsis() {
        let face = Face::Mono(10.0);
        assert_eq!(face.cut("abcdef", 6.2 * 6.0), "abcdef");
        assert_eq!(face.cut("abcdefg", 6.2 * 6.0), "abcde…");
        assert_eq!(face.cut("日本語", 6.2 * 5.0), "日本…");
        assert_eq!(face.wrap("one two three four", 6.2 * 8.0, 2), ["one two", "three…"]);
        assert_eq!(face.wrap("", 50.0, 2), Vec::<String>::new());
        // Too narrow for anything: it ends all the same.
        assert_eq!(face.wrap("ab", 1.0, 9), ["a", "b"]);
    }
}
