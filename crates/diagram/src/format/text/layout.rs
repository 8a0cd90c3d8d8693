//! Where the columns of the text stand, and the strips between the two lifelines. What a row says is not decided here.

use std::time::Duration;

use restante_proto::dialogue::Side;

use super::line::{Line, Paint, cut, cut_middle, width};
use crate::{format::Style, words};

/// Narrower texts are not drawn: what does not fit is for the terminal to break.
const WIDTH_MIN_COLUMNS: usize = 60;
/// Wider ones are not read.
const WIDTH_MAX_COLUMNS: usize = 1000;
/// From here on phases have a column; below it they are strips across the lifelines.
const PHASE_FROM_COLUMNS: usize = 100;
/// From here on remarks stand at the right of the lifelines, below it between them.
const REMARK_FROM_COLUMNS: usize = 140;
/// Between the lifelines no more than this: the eye would lose the line.
const GAP_MAX_COLUMNS: usize = 84;
/// Likewise where a remark stands at its right.
const GAP_MAX_BESIDE_REMARK_COLUMNS: usize = 72;
/// A remark's longest lines.
const REMARK_MAX_COLUMNS: usize = 76;

/// `+99.9 min`.
const STEP_COLUMNS: usize = 9;
/// `AUTHORIZATION`.
const PHASE_COLUMNS: usize = 13;
/// From a lifeline to the text beside it, where the arrow begins or ends.
const INDENT_COLUMNS: usize = 3;

/// Where everything stands, in columns from 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) width: usize,
    colour: bool,
    /// Whether rows have times.
    times: bool,
    /// Where phases stand, if they have a column.
    phase: Option<usize>,
    /// The client's lifeline.
    pub(super) left: usize,
    /// Columns between the lifelines.
    pub(super) gap: usize,
    /// Where remarks stand, and how wide they are, if they have a column.
    pub(super) remark: Option<(usize, usize)>,
}

impl Layout {
    pub(super) fn new(style: &Style, times: bool) -> Self {
        let width = style.width_columns.clamp(WIDTH_MIN_COLUMNS, WIDTH_MAX_COLUMNS);
        let mut left = if times { words::CLOCK_COLUMNS + 1 + STEP_COLUMNS + 1 } else { 1 };
        let phase = (width >= PHASE_FROM_COLUMNS).then_some(left);
        if phase.is_some() {
            left += PHASE_COLUMNS + 1;
        }
        let room = width - left - 2;
        let mut layout = Self {
            width,
            colour: style.colour,
            times,
            phase,
            left,
            gap: room.min(GAP_MAX_COLUMNS),
            remark: None,
        };
        if width >= REMARK_FROM_COLUMNS && style.remarks {
            layout.gap = (room * 11 / 20).min(GAP_MAX_BESIDE_REMARK_COLUMNS);
            let place = layout.right() + 3;
            layout.remark = Some((place, (width - place).min(REMARK_MAX_COLUMNS)));
        }
        layout
    }

    /// The server's lifeline.
    pub(super) const fn right(&self) -> usize {
        self.left + 1 + self.gap
    }

    /// Whether phases are strips across the lifelines.
    pub(super) const fn has_phase_strips(&self) -> bool {
        self.phase.is_none()
    }

    /// How wide a text between the lifelines may be.
    pub(super) const fn text_columns(&self) -> usize {
        self.gap - 2 * INDENT_COLUMNS
    }

    /// How wide a text between the lifelines may be that nobody said: it comes nearer to the right one.
    pub(super) const fn aside_columns(&self) -> usize {
        self.gap - INDENT_COLUMNS - 1
    }

    /// How wide a remark may be.
    pub(super) const fn remark_columns(&self) -> usize {
        match self.remark {
            Some((_, columns)) => columns,
            None => self.aside_columns(),
        }
    }

    /// A line with what stands left of the lifelines, a strip, and what stands right of them.
    pub(super) fn write(
        &self,
        margin: &Margin<'_>,
        strip: &Strip,
        beside: Option<&(String, Paint)>,
        out: &mut Vec<u8>,
    ) {
        let mut line = Line::new(self.colour);
        if self.times {
            if let Some(at) = margin.at {
                line.put(&cut(&words::clock(at), words::CLOCK_COLUMNS), Paint::Plain);
            }
            if let Some(since) = margin.since {
                let (number, unit) = words::duration_parts(since);
                line.pad_to(words::CLOCK_COLUMNS + 1);
                let number = format!("+{number}");
                line.put(&cut(&format!("{number:>5} {unit}"), STEP_COLUMNS), Paint::Dim);
            }
        }
        if let Some((place, phase)) = self.phase.zip(margin.phase) {
            line.pad_to(place);
            line.put(&cut(phase, PHASE_COLUMNS), Paint::Bold);
        }
        self.write_strip(line, strip, beside, out);
    }

    fn write_strip(
        &self,
        mut line: Line,
        strip: &Strip,
        beside: Option<&(String, Paint)>,
        out: &mut Vec<u8>,
    ) {
        line.pad_to(self.left);
        line.put(strip.left, Paint::Dim);
        for (piece, paint) in &strip.pieces {
            // Whatever it is, it does not push the other lifeline away.
            line.put(&cut(piece, self.right().saturating_sub(line.columns())), *paint);
        }
        line.pad_to(self.right());
        line.put(strip.right, Paint::Dim);
        if let Some(((place, columns), (text, paint))) = self.remark.zip(beside) {
            line.pad_to(place);
            line.put(&cut(text, columns), *paint);
        }
        line.end(out);
    }

    /// The names of the columns and of both sides, and their addresses.
    pub(super) fn write_heads(&self, client: &str, server: &str, out: &mut Vec<u8>) {
        let mut line = Line::new(self.colour);
        if self.times {
            line.put(&format!("{:>width$}", "seconds", width = words::CLOCK_COLUMNS), Paint::Dim);
            line.pad_to(words::CLOCK_COLUMNS + 1);
            line.put(" step", Paint::Dim);
        }
        if let Some(place) = self.phase {
            line.pad_to(place);
            line.put("phase", Paint::Dim);
        }
        line.pad_to(self.left);
        line.put("mail client", Paint::Bold);
        let name = "POP3 server";
        line.pad_to(self.right() + 1 - name.len());
        line.put(name, Paint::Bold);
        if let Some((place, _)) = self.remark {
            line.pad_to(place);
            line.put("remark", Paint::Dim);
        }
        line.end(out);
        // Addresses stand below the names; two long ones below each other.
        let room = self.gap + 2;
        let (client, server) = (cut_middle(client, room), cut_middle(server, room));
        let together = width(&client) + 2 + width(&server) <= room;
        let mut line = Line::new(self.colour);
        if !client.is_empty() {
            line.pad_to(self.left);
            line.put(&client, Paint::Client);
            if !together {
                line.end(out);
                line = Line::new(self.colour);
            }
        }
        if !server.is_empty() {
            line.pad_to(self.right() + 1 - width(&server));
            line.put(&server, Paint::Server);
        }
        if !(client.is_empty() && server.is_empty()) {
            line.end(out);
        }
    }
}

/// What stands left of the lifelines.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Margin<'a> {
    pub(super) at: Option<Duration>,
    pub(super) since: Option<Duration>,
    pub(super) phase: Option<&'a str>,
}

/// One line of what stands between the lifelines, and these.
#[derive(Clone, Debug)]
pub(super) struct Strip {
    left: &'static str,
    pieces: Vec<(String, Paint)>,
    right: &'static str,
}

/// The stroke of an arrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stroke {
    /// What is said.
    Plain,
    /// TLS records, of which only the outside is seen.
    Double,
    /// Segments that carry nothing.
    Dotted,
}

impl Stroke {
    const fn text(self) -> &'static str {
        match self {
            Self::Plain => "─",
            Self::Double => "═",
            Self::Dotted => "┄",
        }
    }
}

impl Strip {
    /// The lifelines alone.
    pub(super) const fn empty() -> Self {
        Self { left: "│", pieces: Vec::new(), right: "│" }
    }

    /// A text between the lifelines.
    pub(super) fn text(text: &str, paint: Paint) -> Self {
        Self { left: "│", pieces: vec![(format!("   {text}"), paint)], right: "│" }
    }

    /// A text between lifelines that are interrupted: much happened here.
    pub(super) fn folded(text: &str, paint: Paint) -> Self {
        Self { left: "┊", pieces: vec![(format!("   {text}"), paint)], right: "┊" }
    }

    /// An arrow from a side to the other one, with a text on it and behind that what is known about it.
    pub(super) fn arrow(layout: &Layout, from: Side, stroke: Stroke, text: &str, facts: &str) -> Self {
        let (paint, start, end) = match from {
            Side::Client => (Paint::Client, stroke.text(), "▶"),
            Side::Server => (Paint::Server, "◀", stroke.text()),
        };
        let mut pieces = vec![(format!("{start}{}", stroke.text()), paint)];
        let mut used = 2;
        for (piece, paint) in [(text, paint), (facts, Paint::Dim)] {
            if !piece.is_empty() {
                pieces.push((format!(" {piece}"), paint));
                used += 1 + width(piece);
            }
        }
        let blank = if used > 2 { " " } else { "" };
        let rest = layout.gap.saturating_sub(used + blank.len() + 1);
        pieces.push((format!("{blank}{}{end}", stroke.text().repeat(rest)), paint));
        Self { left: "│", pieces, right: "│" }
    }

    /// A text that belongs to one side's lifeline or to both, and that no arrow shows.
    pub(super) fn note(layout: &Layout, from: Option<Side>, text: &str) -> Self {
        let before = if from == Some(Side::Server) { "   " } else { "── " };
        let mut pieces = vec![(before.to_owned(), Paint::Dim), (text.to_owned(), paint_of(from))];
        let rest = layout.gap.saturating_sub(INDENT_COLUMNS + width(text) + 1);
        if from != Some(Side::Client) {
            pieces.push((format!(" {}", "─".repeat(rest)), Paint::Dim));
        }
        let tee = |side| from.is_none_or(|from| from == side);
        Self {
            left: if tee(Side::Client) { "├" } else { "│" },
            pieces,
            right: if tee(Side::Server) { "┤" } else { "│" },
        }
    }

    /// A new state of the session, across the lifelines.
    pub(super) fn phase(layout: &Layout, name: &str) -> Self {
        let name = cut(name, layout.text_columns());
        let dots = layout.gap.saturating_sub(width(&name) + 2);
        Self {
            left: "├",
            pieces: vec![
                (format!("{} ", "┄".repeat(dots / 2)), Paint::Dim),
                (name.into_owned(), Paint::Bold),
                (format!(" {}", "┄".repeat(dots - dots / 2)), Paint::Dim),
            ],
            right: "┤",
        }
    }
}

/// The colour of what a side said.
pub(super) const fn paint_of(from: Option<Side>) -> Paint {
    match from {
        Some(Side::Client) => Paint::Client,
        Some(Side::Server) => Paint::Server,
        None => Paint::Plain,
    }
}
