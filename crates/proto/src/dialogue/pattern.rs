//! Whether a server's line is the one that was expected, and if not, from where on.

use alloc::{string::String, vec, vec::Vec};
use core::fmt;

use super::{Line, Pattern, Piece};

/// How an answer differs from what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The expected line in the form of the dialogue's text.
    pub expected: String,
    /// The line that came, in the same form.
    pub actual: String,
    /// How many characters of `actual` may stay as they are.
    pub same: usize,
}

impl fmt::Display for Difference {
    /// Three lines: both forms, and a mark under the first character that is wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "expected  S: {}", self.expected)?;
        writeln!(f, "received  S: {}", self.actual)?;
        write!(f, "             {:width$}^", "", width = self.same)
    }
}

/// A difference between two short texts.
pub(super) fn difference_of(expected: String, actual: String) -> Difference {
    let same = expected.chars().zip(actual.chars()).take_while(|(left, right)| left == right).count();
    Difference { expected, actual, same }
}

impl Line<Pattern> {
    /// Compares a line that came, its line end included, with this expected one; `None` if it is as expected.
    ///
    /// Cuts are not compared, since a stream does not show them, and a secret that was taken out may be anything.
    ///
    /// ```
    /// use restante_proto::dialogue::{Line, Pattern, Piece};
    /// let mut expected = Line::of(b"+OK ");
    /// expected.push(Piece::Mark(Pattern::Number));
    /// expected.push_octets(b" octets\r\n");
    /// assert_eq!(expected.difference(b"+OK 1317 octets\r\n"), None);
    /// let difference = expected.difference(b"+OK many octets\r\n").unwrap();
    /// assert_eq!(difference.to_string(), "\
    /// expected  S: +OK {number} octets
    /// received  S: +OK many octets
    ///                  ^");
    /// ```
    pub fn difference(&self, actual: &[u8]) -> Option<Difference> {
        let furthest = match self.reach(actual) {
            Ok(()) => return None,
            Err(furthest) => furthest,
        };
        // What was the same is measured in characters of the written form; a line end that is there takes none.
        let shown = actual.strip_suffix(b"\r\n").unwrap_or(actual);
        let mut before = String::new();
        // Writing to a String does not fail.
        let written = super::text::write_octets(&mut before, &shown[..furthest.min(shown.len())]);
        debug_assert!(written.is_ok());
        Some(Difference {
            expected: alloc::format!("{self}"),
            actual: alloc::format!("{}", Self::of(actual)),
            same: before.chars().count(),
        })
    }

    /// All places that the pieces can reach, piece by piece: linear in the line for each piece, however the patterns
    /// stand. An error is the furthest place that was reached.
    fn reach(&self, actual: &[u8]) -> Result<(), usize> {
        let mut reached = vec![false; actual.len() + 1];
        reached[0] = true;
        let mut furthest = 0;
        for piece in &self.pieces {
            let next = match piece {
                Piece::Cut => continue,
                Piece::Octets(octets) => {
                    let starts = (0..=actual.len()).filter(|&at| reached[at]);
                    let same = starts.map(|at| at + common(&actual[at..], octets)).max();
                    furthest = furthest.max(same.unwrap_or(0));
                    follow(&reached, |at| actual[at..].starts_with(octets).then_some(octets.len()))
                }
                // What was taken out when the dialogue was recorded was not empty, but need not come again.
                Piece::Secret => run(&reached, actual, 0, is_inside_line),
                Piece::Mark(Pattern::Any) => run(&reached, actual, 0, is_inside_line),
                Piece::Mark(Pattern::Number) => run(&reached, actual, 1, |octet| octet.is_ascii_digit()),
                Piece::Mark(Pattern::Word) => run(&reached, actual, 1, |octet| octet.is_ascii_graphic()),
                Piece::Mark(Pattern::Base64) => run(&reached, actual, 1, |octet| {
                    octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'=')
                }),
            };
            if !next.contains(&true) {
                return Err(furthest);
            }
            reached = next;
            furthest = furthest.max(reached.iter().position(|&at| at).unwrap_or(0));
        }
        if reached[actual.len()] { Ok(()) } else { Err(furthest) }
    }
}

const fn is_inside_line(octet: u8) -> bool {
    !matches!(octet, b'\r' | b'\n')
}

/// How many octets both begin with.
fn common(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

/// The places behind a piece of a length that depends on the place alone.
fn follow(reached: &[bool], length: impl Fn(usize) -> Option<usize>) -> Vec<bool> {
    let mut next = vec![false; reached.len()];
    for at in (0..reached.len()).filter(|&at| reached[at]) {
        if let Some(length) = length(at) {
            next[at + length] = true;
        }
    }
    next
}

/// The places behind a run of at least `least` (0 or 1) octets of a kind.
fn run(reached: &[bool], actual: &[u8], least: usize, kind: impl Fn(u8) -> bool) -> Vec<bool> {
    let mut next = vec![false; reached.len()];
    let mut inside = false;
    for at in 0..reached.len() {
        inside = inside && kind(actual[at - 1]);
        next[at] = inside || (least == 0 && reached[at]);
        inside = inside || reached[at];
    }
    next
}
