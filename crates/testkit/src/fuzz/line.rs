//! `Lines` against the letter of its limits, at every cut.
//!
//! In the first line, an odd number says that a SASL exchange is under way; the rest are the lengths of pieces. An octet
//! 0xFF and the one behind it stand for so many times 128 letters, so that a short input reaches the limits.

use restante_proto::line::{AUTH_LINE_MAX_OCTETS, COMMAND_LINE_MAX_OCTETS, Found, Lines, Of};

use super::{number, pieces, split_how};

/// Below [`restante_proto::line::DISCARD_MAX_OCTETS`], where every line still has an end.
const INPUT_MAX_OCTETS: usize = 96 * 1024;
/// Below this every single cut is tried.
const EVERY_CUT_MAX_OCTETS: usize = 300;

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Line(Vec<u8>),
    TooLong,
}

pub(super) fn run(data: &[u8]) {
    let (how, rest) = split_how(data);
    let exchange = number(how, 0) % 2 == 1;
    let input = expand(rest);
    let expected = naive(&input, exchange);
    assert_eq!(seen(std::iter::once(input.as_slice()), exchange), expected, "whole");
    assert_eq!(seen(pieces(&input, how.get(1..).unwrap_or_default()), exchange), expected, "in pieces");
    if input.len() <= EVERY_CUT_MAX_OCTETS {
        for at in 0..=input.len() {
            let (before, behind) = input.split_at(at);
            assert_eq!(seen([before, behind].into_iter(), exchange), expected, "cut at {at}");
        }
    }
}

fn expand(rest: &[u8]) -> Vec<u8> {
    let (mut input, mut octets) = (Vec::new(), rest.iter());
    while let Some(&octet) = octets.next() {
        match octet {
            0xff => {
                let times = octets.next().map_or(0, |&times| usize::from(times));
                input.resize(input.len() + times * 128, b'A');
            }
            _ => input.push(octet),
        }
        if input.len() > INPUT_MAX_OCTETS {
            break;
        }
    }
    input
}

fn seen<'a>(pieces: impl Iterator<Item = &'a [u8]>, exchange: bool) -> Vec<Seen> {
    let (mut lines, mut seen) = (Lines::default(), Vec::new());
    for mut piece in pieces {
        while !piece.is_empty() {
            match lines.next(&mut piece, if exchange { Of::Exchange } else { Of::Command }) {
                Found::Line(line) => seen.push(Seen::Line(line.to_vec())),
                Found::TooLong => seen.push(Seen::TooLong),
                Found::Incomplete => assert!(piece.is_empty(), "the input is consumed"),
                Found::Endless => panic!("no line here is so long"),
            }
        }
    }
    seen
}

fn naive(input: &[u8], exchange: bool) -> Vec<Seen> {
    let mut lines: Vec<&[u8]> = input.split(|&octet| octet == b'\n').collect();
    lines.pop(); // no line end, no line
    let line = |line: &[u8]| {
        let auth = line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "));
        let limit = if exchange || auth { AUTH_LINE_MAX_OCTETS } else { COMMAND_LINE_MAX_OCTETS };
        if line.len() + 1 > limit {
            return Seen::TooLong;
        }
        Seen::Line(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
    };
    lines.into_iter().map(line).collect()
}
