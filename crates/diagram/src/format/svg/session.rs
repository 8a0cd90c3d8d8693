//! One session: its head, the two lifelines with the rows between them, the phases as a band beside them, and its end.

use restante_proto::phase::Phase;

use super::{
    MARGIN, WIDTH, head,
    measure::Face,
    pen::{Anchor, Pen},
    row,
};
use crate::{
    format::{
        Picture, Style,
        facts::is_drawn,
        markup::{Clock, id, visible, worst},
    },
    row::{RowKind, Summary},
};

/// Where the columns of a session stand, in pixels from the left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    /// Numbers of rows end here.
    pub(super) number: f64,
    /// Times since the start end here.
    pub(super) at: f64,
    /// Times since the step before begin here.
    pub(super) since: f64,
    /// The band of the phases begins here.
    pub(super) band: f64,
    /// The client's lifeline.
    pub(super) client: f64,
    /// The server's lifeline.
    pub(super) server: f64,
    /// Remarks begin here.
    pub(super) remark: f64,
    /// And they end here.
    pub(super) right: f64,
}

/// How wide the band of the phases is.
const BAND: f64 = 20.0;
/// How wide the boxes of client and server are.
const ACTOR: f64 = 210.0;
/// The most lines of an address in them.
const ADDRESS_LINES_MAX: usize = 3;

impl Columns {
    fn of(clock: Clock, style: &Style) -> Self {
        let number = MARGIN + 26.0;
        // What has no times has no columns for them.
        let band = if clock.runs { number + 166.0 } else { number + 14.0 };
        let client = band + BAND + 16.0;
        // Without remarks only findings stand at the right.
        let server = if style.remarks { 710.0 } else { 780.0 };
        let right = WIDTH - MARGIN;
        Self {
            number,
            at: number + 82.0,
            since: number + 96.0,
            band,
            client,
            server,
            remark: server + 28.0,
            right,
        }
    }

    /// The middle between the lifelines.
    pub(super) fn middle(self) -> f64 {
        f64::midpoint(self.client, self.server)
    }
}

/// A stretch of rows in one phase.
struct Stretch {
    phase: Phase,
    top: f64,
    bottom: f64,
}

/// Draws a session from here downwards, and gives its bottom.
pub(super) fn draw(pen: &mut Pen, top: f64, picture: Picture<'_>, style: &Style) -> f64 {
    let Picture { summary, rows } = picture;
    let clock = Clock::of(rows);
    let columns = Columns::of(clock, style);
    let mut y = head::draw(pen, top, picture, clock) + 22.0;
    y = actors(pen, columns, y, summary);
    if clock.runs {
        pen.text(columns.at, y - 6.0, "key sans", Anchor::End, "time, s");
        pen.text(columns.since, y - 6.0, "key sans", Anchor::Start, "step");
    }
    let first = y;
    y += 8.0;

    // The rows are drawn above the lifelines and beside the band, which are known only behind them.
    let mut drawn = Pen::default();
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut gaps: Vec<(f64, f64)> = Vec::new();
    for row in rows.iter().filter(|row| is_drawn(row, style)) {
        drawn.open(&id(summary.number, row.number), &row::title(row));
        let bottom = row::draw(&mut drawn, y, row, columns, clock, style);
        drawn.close();
        if let Some(worst) = worst(row) {
            let (x, width) = (columns.client, columns.server - columns.client);
            pen.rect(x, y, width, bottom - y, 0.0, &format!("{} tint", worst.name()));
        }
        if row.kind == RowKind::Fold {
            gaps.push((y, bottom));
        }
        match (row.phase, stretches.last_mut()) {
            (Some(phase), Some(last)) if last.bottom == y && last.phase.name() == phase.name() => {
                last.bottom = bottom;
            }
            (Some(phase), _) => stretches.push(Stretch { phase, top: y, bottom }),
            (None, _) => {}
        }
        y = bottom;
    }
    y += 10.0;

    for stretch in &stretches {
        band(pen, columns, stretch);
    }
    lifelines(pen, columns, first, y, &gaps);
    pen.append(&drawn);
    ending(pen, columns, y, summary)
}

/// The boxes above the lifelines, with room for the longer address; gives their bottom.
fn actors(pen: &mut Pen, columns: Columns, y: f64, summary: &Summary) -> f64 {
    let face = Face::Mono(11.0);
    let address = |address: &Option<Box<str>>| {
        let address = address.as_deref().map(visible).unwrap_or_default();
        face.wrap(&address, ACTOR - 16.0, ADDRESS_LINES_MAX)
    };
    let (client, server) = (address(&summary.opening.client), address(&summary.opening.server));
    let height = 29.0 + 15.0 * client.len().max(server.len()) as f64;
    for (name, address, x, class) in [
        ("Mail client", client, columns.client - 14.0, "ch"),
        ("POP3 server", server, columns.server + 14.0 - ACTOR, "sh"),
    ] {
        pen.rect(x, y, ACTOR, height, 6.0, "panel");
        let middle = x + ACTOR / 2.0;
        pen.text(middle, y + 19.0, &format!("h2 sans {class}"), Anchor::Middle, name);
        for (place, line) in address.iter().enumerate() {
            pen.text(middle, y + 36.0 + 15.0 * place as f64, "small", Anchor::Middle, line);
        }
    }
    y + height
}

fn band(pen: &mut Pen, columns: Columns, stretch: &Stretch) {
    let number = match stretch.phase {
        Phase::Authorization | Phase::Named => 0,
        Phase::Transaction => 1,
        Phase::Update => 2,
        Phase::Closed => 3,
    };
    let (top, height) = (stretch.top + 1.0, stretch.bottom - stretch.top - 2.0);
    pen.rect(columns.band, top, BAND, height, 4.0, &format!("p{number}"));
    // Letter-spacing is told to the face as size. A short band has smaller letters.
    let whole = stretch.phase.name();
    let (size, class) =
        if Face::Bold(11.5).width(whole) <= height - 8.0 { (11.5, "phase") } else { (8.5, "phase tight") };
    let name = Face::Bold(size).cut(whole, height - 3.0);
    if name.chars().count() < 3 {
        return;
    }
    let class = format!("{class} sans p{number}t");
    let x = columns.band + BAND / 2.0 + 4.0;
    pen.upright(x, top + height / 2.0, &class, &name);
    // In a long phase its name comes again, so that one is always in sight.
    const AGAIN: f64 = 700.0;
    if height > 2.0 * AGAIN && name == stretch.phase.name() {
        let mut down = AGAIN / 2.0;
        while down < height - AGAIN / 4.0 {
            if (down - height / 2.0).abs() > AGAIN / 3.0 {
                pen.upright(x, top + down, &class, &name);
            }
            down += AGAIN;
        }
    }
}

/// Both lifelines, dotted where rows are folded.
fn lifelines(pen: &mut Pen, columns: Columns, top: f64, bottom: f64, gaps: &[(f64, f64)]) {
    for x in [columns.client, columns.server] {
        let mut from = top;
        for (gap_top, gap_bottom) in gaps {
            pen.line((x, from), (x, *gap_top), "life");
            pen.line((x, *gap_top), (x, *gap_bottom), "life gap");
            from = *gap_bottom;
        }
        pen.line((x, from), (x, bottom), "life");
    }
}

fn ending(pen: &mut Pen, columns: Columns, y: f64, summary: &Summary) -> f64 {
    for x in [columns.client, columns.server] {
        pen.line((x - 8.0, y), (x + 8.0, y), "life");
    }
    if summary.ending.is_empty() {
        return y + 4.0;
    }
    let text = Face::Sans(12.5).cut(&visible(&summary.ending), columns.server - columns.client - 40.0);
    pen.text(columns.middle(), y + 16.0, "remark sans", Anchor::Middle, &text);
    y + 26.0
}
