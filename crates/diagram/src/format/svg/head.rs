//! The head of a session: between whom it was, its figures, and what was found in it.

use super::{
    MARGIN, WIDTH,
    measure::Face,
    pen::{Anchor, Pen},
};
use crate::{
    format::{
        Picture,
        markup::{Clock, Found, figures, found, heading, icon, id, visible},
    },
    words::thousands,
};

/// The most places of one kind that are named; the rest is counted.
const PLACES_MAX: usize = 12;

/// Draws it from here downwards, and gives its bottom.
pub(super) fn draw(pen: &mut Pen, top: f64, picture: Picture<'_>, clock: Clock) -> f64 {
    let Picture { summary, rows } = picture;
    let (left, right) = (MARGIN, WIDTH - MARGIN);
    let mut y = top + 18.0;
    pen.text(
        left,
        y,
        "h1 sans",
        Anchor::Start,
        &Face::Bold(20.0).cut(&visible(&heading(summary)), right - left),
    );
    if summary.opening.joined {
        y += 22.0;
        let text = "Its beginning was not heard: the source begins in the middle of it.";
        pen.text(left, y, "remark sans", Anchor::Start, text);
    }
    y += 28.0;
    y = facts(pen, y, left, right, &figures(summary));
    let found = found(picture);
    if !found.is_empty() {
        y += 14.0;
    }
    for kind in &found {
        let severity = kind.anomaly.severity();
        let name = severity.name();
        pen.icon(left, y - 12.0, 14.0, icon(severity), &format!("{name}i"));
        let title = kind.title();
        let spans = [("", 0.0, title.as_str()), ("small", 10.0, name)];
        pen.spans(left + 22.0, y, &format!("title sans {name}i"), Anchor::Start, &spans);
        let x = left + 22.0 + Face::Bold(12.5).width(&title) + 10.0 + Face::Sans(11.0).width(name) + 9.0;
        places_of(pen, summary.number, kind, (x, y), right);
        for line in Face::Sans(12.5).wrap(kind.anomaly.advice(), right - left - 22.0, 4) {
            y += 17.0;
            pen.text(left + 22.0, y, "remark sans", Anchor::Start, &line);
        }
        y += 24.0;
    }
    if rows.iter().any(|row| row.share.is_some()) && clock.runs {
        y = legend(pen, y + 2.0, left);
    }
    pen.line((left, y), (right, y), "rule");
    y
}

/// The rows in which one kind was found, as links, as far as there is room.
fn places_of(pen: &mut Pen, session: u32, kind: &Found, (mut x, y): (f64, f64), right: f64) {
    let face = Face::Sans(11.0);
    let folded = match kind.folded {
        0 => String::new(),
        folded => format!("{} in folded rows", thousands(folded)),
    };
    let right = right - face.width(&folded) - 90.0;
    let many = kind.places.len() > 1;
    for (count, place) in kind.places.iter().enumerate() {
        let text = match (count, many) {
            (0, false) => format!("row {place}"),
            (0, true) => format!("rows {place}"),
            _ => place.to_string(),
        };
        let width = face.width(&text);
        if count == PLACES_MAX || x + width > right {
            let more = format!("and {} more", thousands((kind.places.len() - count) as u64));
            pen.text(x, y, "small sans", Anchor::Start, &more);
            x += face.width(&more) + 10.0;
            break;
        }
        pen.link(&id(session, *place));
        pen.text(x, y, "small sans", Anchor::Start, &text);
        pen.unlink();
        x += width + 10.0;
    }
    if !folded.is_empty() {
        pen.text(x, y, "small sans", Anchor::Start, &folded);
    }
}

/// Figures side by side, in as many lines as they need.
fn facts(pen: &mut Pen, top: f64, left: f64, right: f64, figures: &[(&'static str, String)]) -> f64 {
    let value_face = Face::Mono(12.5);
    let (mut x, mut y) = (left, top);
    for (name, value) in figures {
        let value = value_face.cut(&visible(value), right - left);
        let width = Face::Sans(11.0).width(name).max(value_face.width(&value));
        if x > left && x + width > right {
            x = left;
            y += 42.0;
        }
        pen.text(x, y, "key sans", Anchor::Start, name);
        pen.text(x, y + 17.0, "value", Anchor::Start, &value);
        x += width + 28.0;
    }
    y + 36.0
}

/// What the colours of the bars say.
fn legend(pen: &mut Pen, y: f64, left: f64) -> f64 {
    let mut x = left;
    for (class, text) in
        [("network", "on the network"), ("peer", "with who answered"), ("bar", "not known where")]
    {
        pen.rect(x, y - 6.0, 16.0, 4.0, 2.0, class);
        pen.text(x + 22.0, y, "small sans", Anchor::Start, text);
        x += 22.0 + Face::Sans(11.0).width(text) + 18.0;
    }
    y + 16.0
}
