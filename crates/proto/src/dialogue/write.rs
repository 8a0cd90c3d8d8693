//! Values → text. Every octet that a terminal or an editor could take amiss is escaped, so what is written is ASCII.

use core::{
    fmt::{self, Write},
    time::Duration,
};

use super::{
    Dialogue, Event, Head, Kind, Line, Mark, Piece, Side,
    net::letter,
    text::{SECRET, write_octets},
};

impl fmt::Display for Dialogue {
    /// The whole text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.head)?;
        self.events.iter().try_for_each(|event| writeln!(f, "{event}"))
    }
}

impl fmt::Display for Head {
    /// Its lines and the empty line behind them; nothing for an empty head.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)?;
        if *self == Self::default() { Ok(()) } else { f.write_char('\n') }
    }
}

impl fmt::Display for Event {
    /// The event's line of text, without a line end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.at {
            write_time(f, at)?;
            f.write_char(' ')?;
        }
        match &self.kind {
            Kind::Client(line) => write_line(f, Side::Client, line),
            Kind::Server(line) => write_line(f, Side::Server, line),
            Kind::Body { octets } => write!(f, "S: [{octets} octets]"),
            Kind::Lines => f.write_str("S: {lines}"),
            Kind::Tls(event) => {
                f.write_str("T: ")?;
                event.write(f)
            }
            Kind::Tcp(event) => {
                f.write_str("N: ")?;
                event.write(f)
            }
        }
    }
}

impl<M: Mark> fmt::Display for Line<M> {
    /// What stands behind `C: ` or `S: `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_pieces(f, self)
    }
}

/// Microseconds, or nanoseconds where there are any.
fn write_time(out: &mut dyn Write, at: Duration) -> fmt::Result {
    write!(out, "{}.{:06}", at.as_secs(), at.subsec_micros())?;
    match at.subsec_nanos() % 1000 {
        0 => Ok(()),
        nanos => write!(out, "{nanos:03}"),
    }
}

fn write_line<M: Mark>(out: &mut dyn Write, from: Side, line: &Line<M>) -> fmt::Result {
    write!(out, "{}:", letter(from))?;
    if line.pieces == [Piece::Octets(b"\r\n".to_vec())] {
        return Ok(());
    }
    out.write_char(' ')?;
    write_pieces(out, line)
}

/// A final CRLF is implied, and a cut at the very end stands behind it. Where that would not say what the line is,
/// the whole is written out, and a backslash at the end tells that no line end follows.
fn write_pieces<M: Mark>(out: &mut dyn Write, line: &Line<M>) -> fmt::Result {
    let (pieces, cut) = match line.pieces.split_last() {
        Some((Piece::Cut, before)) => (before, "\\|"),
        _ => (line.pieces.as_slice(), ""),
    };
    let ended = match pieces.split_last() {
        Some((Piece::Octets(last), before)) => last
            .strip_suffix(b"\r\n")
            .map(|last| (before, last))
            .filter(|(before, last)| !(last.is_empty() && matches!(before.last(), Some(Piece::Cut)))),
        _ => None,
    };
    let Some((before, last)) = ended else {
        pieces.iter().try_for_each(|piece| write_piece(out, piece))?;
        out.write_str(cut)?;
        return out.write_char('\\');
    };
    before.iter().try_for_each(|piece| write_piece(out, piece))?;
    match last.strip_suffix(b" ") {
        // Editors take spaces at the end of a line away.
        Some(last) if cut.is_empty() => {
            write_octets(out, last)?;
            out.write_str("\\x20")
        }
        _ => {
            write_octets(out, last)?;
            out.write_str(cut)
        }
    }
}

fn write_piece<M: Mark>(out: &mut dyn Write, piece: &Piece<M>) -> fmt::Result {
    match piece {
        Piece::Octets(octets) => write_octets(out, octets),
        Piece::Cut => out.write_str("\\|"),
        Piece::Secret => out.write_str(SECRET),
        Piece::Mark(mark) => write!(out, "{{{}}}", mark.name()),
    }
}
