//! The sessions of a source as a table: one line each where the width allows it, else several.

use super::{
    Layout,
    line::{Line, Paint, cut_middle, harmless, width, wrap},
};
use crate::{
    format::{Style, facts::gravest_first},
    row::Summary,
    words::{duration, thousands},
};

/// Between two columns.
const BETWEEN_COLUMNS: usize = 2;
/// A column of text is not made narrower than this.
const TEXT_MIN_COLUMNS: usize = 8;
/// For how much of what was found a line is made longer.
const FOUND_USUAL_COLUMNS: usize = 24;
/// How many lines what was found may take.
const FOUND_MAX_LINES: usize = 4;

/// A column of the table: its heading, and a cell for each session.
struct Column<'a> {
    head: &'a str,
    cells: Vec<(String, Paint)>,
    numbers: bool,
    width: usize,
    /// How many lines a cell may take, if the column is the last one of its line.
    max_lines: usize,
}

impl<'a> Column<'a> {
    fn new(head: &'a str, numbers: bool, cells: impl Iterator<Item = (String, Paint)>) -> Self {
        let cells: Vec<_> = cells.map(|(text, paint)| (harmless(&text).into_owned(), paint)).collect();
        let widest = cells.iter().map(|(text, _)| width(text)).max().unwrap_or_default();
        Self { head, cells, numbers, width: widest.max(width(head)), max_lines: 1 }
    }
}

/// The table of the sessions of a source, for a terminal of the style's width.
pub fn list(summaries: &[Summary], style: &Style, out: &mut Vec<u8>) {
    let width = Layout::new(style, true).width;
    let found =
        Column { max_lines: FOUND_MAX_LINES, ..Column::new("found", false, summaries.iter().map(found)) };
    let ([mut all, figures], ended) = columns(summaries);
    let usual = found.width.min(FOUND_USUAL_COLUMNS);
    let taken =
        [&all[..], &figures, std::slice::from_ref(&ended)].iter().map(|line| length(line)).sum::<usize>();
    let last = taken + 2 * BETWEEN_COLUMNS + BETWEEN_COLUMNS;
    if last + usual <= width {
        all.extend(figures);
        all.extend([ended, Column { width: width - last, ..found }]);
        write_heads(&all, 0, style.colour, out);
        for session in 0..summaries.len() {
            write_cells(&all, session, 0, style.colour, out);
        }
        return;
    }
    // Several lines for each session; what was found has the last one, where there is something.
    let indent = all.first().map_or(0, |number| number.width) + BETWEEN_COLUMNS;
    let mut lines = vec![all];
    add(figures, width, indent, &mut lines);
    match lines.iter_mut().enumerate().find_map(|(place, line)| {
        let before = if place == 0 { 0 } else { indent };
        (before + length(line) + BETWEEN_COLUMNS + ended.width <= width).then_some(line)
    }) {
        Some(line) => line.push(ended),
        None => lines.push(vec![ended]),
    }
    let indents = || std::iter::once(0).chain(std::iter::repeat(indent));
    let found = [Column { width: width - indent, ..found }];
    for (line, indent) in lines.iter_mut().zip(indents()) {
        shrink(line, width - indent);
        write_heads(line, indent, style.colour, out);
    }
    for (session, summary) in summaries.iter().enumerate() {
        out.push(b'\n');
        for (line, indent) in lines.iter().zip(indents()) {
            write_cells(line, session, indent, style.colour, out);
        }
        if !summary.anomalies.is_empty() {
            write_cells(&found, session, indent, style.colour, out);
        }
    }
}

/// How long a line of these columns is.
fn length(line: &[Column<'_>]) -> usize {
    let columns = line.iter().map(|column| column.width + BETWEEN_COLUMNS).sum::<usize>();
    columns.saturating_sub(BETWEEN_COLUMNS)
}

/// Columns go to the end of the last line if they fit there, else on one of their own.
fn add<'a>(columns: Vec<Column<'a>>, width: usize, indent: usize, lines: &mut Vec<Vec<Column<'a>>>) {
    let before = if lines.len() > 1 { indent } else { 0 };
    match lines.last_mut() {
        Some(line) if before + length(line) + BETWEEN_COLUMNS + length(&columns) <= width => {
            line.extend(columns);
        }
        _ => lines.push(columns),
    }
}

/// Takes columns in, the widest first, until the line fits: those of text, and numbers only if that is not enough.
fn shrink(line: &mut [Column<'_>], width: usize) {
    for _ in width..length(line) {
        let rank = |column: &Column<'_>| (!column.numbers && column.width > TEXT_MIN_COLUMNS, column.width);
        let Some(widest) = line.iter_mut().max_by_key(|column| rank(column)) else { return };
        widest.width = widest.width.saturating_sub(1);
    }
}

/// Between whom a session was; what it did; and how it ended.
fn columns(summaries: &[Summary]) -> ([Vec<Column<'_>>; 2], Column<'_>) {
    let column = |head, numbers, cell: &dyn Fn(&Summary) -> (String, Paint)| {
        Column::new(head, numbers, summaries.iter().map(cell))
    };
    let text = |head, cell: &dyn Fn(&Summary) -> Option<&str>| {
        column(head, false, &|summary| (cell(summary).unwrap_or("-").to_owned(), Paint::Plain))
    };
    let number = |head, cell: &dyn Fn(&Summary) -> u64| {
        column(head, true, &|summary| (thousands(cell(summary)), Paint::Plain))
    };
    let taken = |summary: &Summary| summary.duration.map_or_else(|| "-".to_owned(), duration);
    let day = day(summaries);
    let who = vec![
        column("#", true, &|summary| (summary.number.to_string(), Paint::Bold)),
        text(day.unwrap_or("started"), &|summary| started(summary, day)),
        column("client", false, &|summary| (address(summary.opening.client.as_deref()), Paint::Client)),
        column("server", false, &|summary| (address(summary.opening.server.as_deref()), Paint::Server)),
    ];
    let what = vec![
        text("user", &|summary| summary.user.as_deref()),
        text("TLS", &|summary| Some(tls(summary))),
        column("took", true, &|summary| (taken(summary), Paint::Plain)),
        number("commands", &|summary| summary.commands),
        number("messages", &|summary| summary.retrieved),
        number("octets", &|summary| summary.retrieved_octets),
    ];
    ([who, what], text("end", &|summary| Some(&summary.ending)))
}

/// When a session began; without the day if it is known.
fn started<'a>(summary: &'a Summary, day: Option<&str>) -> Option<&'a str> {
    let started = summary.opening.started.as_deref()?;
    Some(day.and_then(|day| started.strip_prefix(day)?.strip_prefix('T')).unwrap_or(started))
}

/// The version of TLS; the cipher is told where the session is drawn.
fn tls(summary: &Summary) -> &str {
    match &summary.tls {
        // `TLS 1.3 TLS_AES_128_GCM_SHA256`, or less of it.
        Some(tls) => match tls.rsplit_once(' ') {
            Some((version, cipher)) if cipher.contains('_') => version,
            _ => tls,
        },
        None if summary.opening.inside_tls => "?",
        None => "none",
    }
}

/// The day on which all began whose time is known: it is said once, as the heading of the times.
fn day(summaries: &[Summary]) -> Option<&str> {
    let mut days = summaries.iter().filter_map(|summary| summary.opening.started.as_deref()?.split_once('T'));
    let (day, _) = days.next()?;
    (day.len() == "2005-04-01".len() && days.all(|(other, _)| other == day)).then_some(day)
}

fn address(address: Option<&str>) -> String {
    address.unwrap_or("-").to_owned()
}

/// What was found, the gravest first.
fn found(summary: &Summary) -> (String, Paint) {
    let anomalies = gravest_first(summary);
    let Some((gravest, _)) = anomalies.first() else { return ("-".to_owned(), Paint::Plain) };
    let paint = Paint::Finding(gravest.severity());
    let names = anomalies.iter().map(|(anomaly, number)| match number {
        1 => anomaly.title().to_owned(),
        more => format!("{} ×{}", anomaly.title(), thousands(*more)),
    });
    (format!("! {}", names.collect::<Vec<_>>().join(", ")), paint)
}

fn write_heads(row: &[Column<'_>], indent: usize, colour: bool, out: &mut Vec<u8>) {
    let mut line = Line::new(colour);
    let mut place = indent;
    for column in row {
        put(&mut line, column, place, column.head, Paint::Dim);
        place += column.width + BETWEEN_COLUMNS;
    }
    line.end(out);
}

fn write_cells(row: &[Column<'_>], session: usize, indent: usize, colour: bool, out: &mut Vec<u8>) {
    let mut line = Line::new(colour);
    let mut place = indent;
    let Some((last, before)) = row.split_last() else { return };
    for column in before {
        if let Some((text, paint)) = column.cells.get(session) {
            put(&mut line, column, place, text, *paint);
        }
        place += column.width + BETWEEN_COLUMNS;
    }
    let Some((text, paint)) = last.cells.get(session) else { return };
    let texts = if last.max_lines > 1 { wrap(text, last.width, last.max_lines) } else { vec![text.clone()] };
    for text in texts {
        put(&mut line, last, place, &text, *paint);
        std::mem::replace(&mut line, Line::new(colour)).end(out);
    }
}

/// A cell at its place; numbers stand at the right end of it.
fn put(line: &mut Line, column: &Column<'_>, place: usize, text: &str, paint: Paint) {
    let text = cut_middle(text, column.width);
    let before = if column.numbers { column.width - width(&text) } else { 0 };
    line.pad_to(place + before);
    line.put(&text, paint);
}
