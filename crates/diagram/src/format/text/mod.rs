//! Text for terminals and for whoever reads files: times, the state of the session, and between two lifelines an arrow
//! for each row. It fits the width; colours are never the only sign of anything, and no remark of a session is made twice in
//! the same words. [`Text`] also draws row by row, while a session goes on. Columns are in `layout`, the table
//! of sessions in [`list`].

mod layout;
mod line;
mod list;
mod summary;

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

pub use self::list::list;
use self::{
    layout::{Layout, Margin, Strip, Stroke, paint_of},
    line::{Paint, cut, cut_middle, flow, harmless, width, wrap, write_line},
};
use super::{Draw, Live, Picture, Style, facts};
use crate::{
    anomaly::Anomaly,
    heard::Opening,
    row::{Remark, Row, RowKind, Summary},
};

/// How many lines what was said may take; the rest is for formats with more room.
const LABEL_MAX_LINES: usize = 3;
/// How many sessions may be under way by turns; of the oldest one more is forgotten what was shown.
const OTHERS_MAX: usize = 4096;
/// How many remarks of a session are remembered, so that none is said twice.
const REMARKS_MAX: usize = 256;
/// How many lines a remark or a finding may take.
const NOTE_MAX_LINES: usize = 12;

/// In front of what is wrong.
const MARK: &str = "! ";
/// A blank at which no line is broken.
const UNBROKEN: &str = "\u{a0}";
/// In front of the lines of a listing or a message, to tell them from what is said about them.
const QUOTE: &str = "┆ ";

/// Sessions drawn as text, row by row.
///
/// ```
/// use restante_diagram::{format::{Live, Style, text::Text}, heard::Opening, row::Summary};
/// let (mut text, mut out) = (Text::new(&Style::default()), Vec::new());
/// text.begin(&Opening::default(), 1, &mut out);
/// text.end(&Summary { number: 1, ending: "closed".into(), ..Summary::default() }, &mut out);
/// assert!(String::from_utf8(out)?.contains("mail client"));
/// # Ok::<(), std::string::FromUtf8Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Text {
    style: Style,
    layout: Layout,
    /// Something stands above.
    below: bool,
    /// The session whose rows come now, if one is under way.
    number: Option<u32>,
    session: Session,
    /// The others that have begun and not ended.
    others: BTreeMap<u32, Session>,
}

/// What is remembered of a session while it is drawn.
#[derive(Clone, Debug, Default)]
struct Session {
    /// The last phase that was shown.
    phase: Option<&'static str>,
    /// The kind of the row above, if that is of this session.
    above: Option<RowKind>,
    /// How long ago the last drawn row was, in rows that were left out.
    hidden: Duration,
    /// Which remarks were made; the very same text would only push the arrows apart.
    remarks: HashSet<u64>,
    /// When each anomaly was seen first.
    first: Vec<(Anomaly, Option<Duration>)>,
}

impl Text {
    /// For sessions of which rows will come one by one.
    pub fn new(style: &Style) -> Self {
        Self::with_times(style, true)
    }

    fn with_times(style: &Style, times: bool) -> Self {
        Self {
            style: style.clone(),
            layout: Layout::new(style, times),
            below: false,
            number: None,
            session: Session::default(),
            others: BTreeMap::new(),
        }
    }

    /// Turns to another session.
    fn turn(&mut self, number: u32) {
        if self.number == Some(number) {
            return;
        }
        let next = self.others.remove(&number).unwrap_or_default();
        let before = std::mem::replace(&mut self.session, next);
        if let Some(before_number) = self.number.replace(number) {
            if self.others.len() >= OTHERS_MAX {
                self.others.pop_first();
            }
            self.others.insert(before_number, before);
        }
    }

    /// Air above what begins something new, where there is air at all.
    fn separate(&self, row: &Row, phase: Option<&str>, out: &mut Vec<u8>) {
        let airy = self.style.remarks || self.style.segments;
        let begins = match row.kind {
            RowKind::Command | RowKind::Fold => self.session.above != Some(row.kind),
            _ => phase.is_some(),
        };
        if airy && begins && self.session.above.is_some() {
            self.layout.write(&Margin::default(), &Strip::empty(), None, out);
        }
    }

    /// What was said, and in which segments.
    fn said(&self, row: &Row) -> Vec<Strip> {
        let (layout, columns) = (&self.layout, self.layout.text_columns());
        let paint = if row.kind == RowKind::Fold { Paint::Bold } else { paint_of(row.from) };
        let label = harmless(&row.label);
        let mut facts = flow(&facts::facts(row, &self.style), layout.aside_columns());
        let mut label = wrap(&label, columns, LABEL_MAX_LINES).into_iter();
        let first = label.next().unwrap_or_default();
        let mut strips = Vec::new();
        match (row.kind, row.from) {
            (RowKind::Fold, _) => strips.push(Strip::folded(&first, paint)),
            (RowKind::Note, from) => strips.push(Strip::note(layout, from, &first)),
            (_, None) => strips.push(Strip::note(layout, None, &first)),
            (kind, Some(from)) => {
                let stroke = match kind {
                    RowKind::Segment => Stroke::Dotted,
                    RowKind::Records => Stroke::Double,
                    _ => Stroke::Plain,
                };
                // A bare segment is one line if it can be.
                let fits = |facts: &String| width(&first) + 2 + width(facts) <= columns;
                let one_line = kind == RowKind::Segment && label.len() == 0 && facts.len() == 1;
                let on_arrow = if one_line && facts.first().is_some_and(fits) {
                    facts.pop().map(|facts| format!(" {facts}"))
                } else {
                    None
                };
                strips.push(Strip::arrow(
                    layout,
                    from,
                    stroke,
                    &first,
                    on_arrow.as_deref().unwrap_or_default(),
                ));
            }
        }
        let strip = if row.kind == RowKind::Fold { Strip::folded } else { Strip::text };
        strips.extend(label.map(|line| strip(&line, paint)));
        strips.extend(row.lines.iter().map(|line| {
            let line = harmless(line);
            strip(format!("{QUOTE}{}", cut(&line, columns - width(QUOTE))).trim_end(), paint)
        }));
        if row.lines_left_out > 0 {
            let text = match row.kind {
                RowKind::Fold => facts::left_out(row.kind, row.lines_left_out),
                _ => format!("{QUOTE}{}", facts::left_out(row.kind, row.lines_left_out)),
            };
            strips.push(strip(&text, Paint::Dim));
        }
        strips.extend(facts.iter().map(|line| strip(line, Paint::Dim)));
        strips
    }

    /// What is wrong, and what it means.
    fn noted(&mut self, row: &Row) -> Vec<(String, Paint)> {
        let columns = self.layout.remark_columns();
        let mut lines = Vec::new();
        for finding in &row.findings {
            let text = format!("{}: {}", finding.anomaly.title(), finding.text);
            let paint = Paint::Finding(finding.anomaly.severity());
            let wrapped = wrap(&harmless(&text), columns - width(MARK), NOTE_MAX_LINES);
            let mark = std::iter::once(MARK).chain(std::iter::repeat("  "));
            lines.extend(mark.zip(wrapped).map(|(mark, line)| (format!("{mark}{line}"), paint)));
        }
        if let Some(remark) = row.remark.as_ref().filter(|remark| self.style.remarks && self.is_new(remark)) {
            let mut text = harmless(&remark.text).into_owned();
            if let Some(rfc) = remark.rfc {
                text.push_str(&format!(" ({})", rfc.replace(' ', UNBROKEN)));
            }
            let wrapped = wrap(&text, columns, NOTE_MAX_LINES);
            lines.extend(wrapped.into_iter().map(|line| (line.replace(UNBROKEN, " "), Paint::Dim)));
        }
        lines
    }

    /// Whether a remark is made for the first time.
    fn is_new(&mut self, remark: &Remark) -> bool {
        let mut hasher = DefaultHasher::new();
        (&remark.text, remark.rfc).hash(&mut hasher);
        let hash = hasher.finish();
        if self.session.remarks.len() < REMARKS_MAX {
            self.session.remarks.insert(hash)
        } else {
            !self.session.remarks.contains(&hash)
        }
    }
}

impl Live for Text {
    fn begin(&mut self, opening: &Opening, number: u32, out: &mut Vec<u8>) {
        self.turn(number);
        self.session = Session::default();
        if std::mem::replace(&mut self.below, true) {
            out.push(b'\n');
        }
        let known = [opening.title.as_deref(), opening.started.as_deref()];
        let mut heading = format!("Session {number}");
        for text in known.into_iter().flatten() {
            heading.push_str(" · ");
            heading.push_str(&harmless(text));
        }
        for line in wrap(&heading, self.layout.width, LABEL_MAX_LINES) {
            write_line(&line, Paint::Bold, self.style.colour, out);
        }
        if opening.joined {
            write_line(facts::JOINED, Paint::Dim, self.style.colour, out);
        }
        out.push(b'\n');
        let address =
            |address: &Option<Box<str>>| harmless(address.as_deref().unwrap_or_default()).into_owned();
        self.layout.write_heads(&address(&opening.client), &address(&opening.server), out);
        self.layout.write(&Margin::default(), &Strip::empty(), None, out);
    }

    // One line says whose rows come now.
    fn resume(&mut self, number: u32, opening: &Opening, out: &mut Vec<u8>) {
        self.turn(number);
        self.below = true;
        // The phase is said again: the last mark of it may be far above.
        (self.session.phase, self.session.above) = (None, None);
        let name = format!("session {number}");
        // The two addresses share what is left of the line.
        let room = self.layout.width.saturating_sub(width(&name) + "──  ·  →  ──".chars().count()) / 2;
        let side = |address: Option<&str>| cut_middle(&harmless(address.unwrap_or("?")), room).into_owned();
        let (client, server) = (side(opening.client.as_deref()), side(opening.server.as_deref()));
        out.push(b'\n');
        let text = format!("── {name} · {client} → {server} ──");
        write_line(&text, Paint::Bold, self.style.colour, out);
    }

    fn row(&mut self, row: &Row, out: &mut Vec<u8>) {
        let session = &mut self.session;
        for finding in &row.findings {
            if session.first.iter().all(|(anomaly, _)| *anomaly != finding.anomaly) {
                session.first.push((finding.anomaly, row.at));
            }
        }
        if !facts::is_drawn(row, &self.style) {
            session.hidden = session.hidden.saturating_add(row.since.unwrap_or_default());
            return;
        }
        let hidden = std::mem::take(&mut session.hidden);
        let phase = row.phase.map(|phase| phase.name()).filter(|name| session.phase != Some(*name));
        self.separate(row, phase, out);
        if let Some(name) = phase {
            self.session.phase = phase;
            if self.layout.has_phase_strips() {
                self.layout.write(&Margin::default(), &Strip::phase(&self.layout, name), None, out);
            }
        }
        let mut strips = self.said(row);
        let beside = self.noted(row);
        let beside = if self.layout.remark.is_some() {
            beside
        } else {
            let strip = |(text, paint): &(String, Paint)| match row.kind {
                RowKind::Fold => Strip::folded(text, *paint),
                _ => Strip::text(text, *paint),
            };
            strips.extend(beside.iter().map(strip));
            Vec::new()
        };
        let mut margin =
            Margin { at: row.at, since: row.since.map(|since| since.saturating_add(hidden)), phase };
        for place in 0..strips.len().max(beside.len()) {
            let bare = Strip::empty();
            self.layout.write(&margin, strips.get(place).unwrap_or(&bare), beside.get(place), out);
            margin = Margin::default();
        }
        self.session.above = Some(row.kind);
    }

    // The end of the lifelines, and below them the session in figures.
    fn end(&mut self, summary: &Summary, out: &mut Vec<u8>) {
        self.turn(summary.number);
        let session = std::mem::take(&mut self.session);
        self.number = None;
        self.layout.write(&Margin::default(), &Strip::empty(), None, out);
        out.push(b'\n');
        summary::write(summary, &session.first, self.layout.width, self.style.colour, out);
    }
}

/// Whole sessions as text.
struct Whole {
    style: Style,
    below: bool,
}

/// Begins one.
pub(super) fn new(style: &Style) -> Box<dyn Draw> {
    Box::new(Whole { style: style.clone(), below: false })
}

impl Draw for Whole {
    fn start(&mut self, _: &mut Vec<u8>) {}

    fn session(&mut self, picture: Picture<'_>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.below, true) {
            out.extend_from_slice(b"\n\n");
        }
        let times = picture.rows.iter().any(|row| row.at.is_some());
        let mut text = Text::with_times(&self.style, times);
        text.begin(&picture.summary.opening, picture.summary.number, out);
        for row in picture.rows {
            text.row(row, out);
        }
        text.end(picture.summary, out);
    }

    fn finish(&mut self, _: &mut Vec<u8>) {}
}
