//! The head of a session: between whom it was, its figures, and what was found in it.

use super::{
    MARGIN, WIDTH,
    measure::Face,
    pen::{Anchor, Pen},
};
use crate::{
    format::{
        Picture,
        markup::{Clock, figures, found, heading, icon, id, visible},
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
        let (severity, places) = (kind.anomaly.severity(), &kind.places);
        let name = severity.name();
        pen.icon(left, y - 12.0, 14.0, icon(severity), &format!("{name}i"));
        let title = kind.title();
        let spans = [("", 0.0, title.as_str()), ("small", 10.0, name)];
        pen.spans(left + 22.0, y, &format!("title sans {name}i"), Anchor::Start, &spans);
        let mut x = left + 22.0 + Face::Bold(12.5).width(&title) + 10.0 + Face::Sans(11.0).width(name) + 4.0;
        for (count, place) in places.iter().enumerate() {
            let text = if count == 0 { format!("row {place}") } else { place.to_string() };
            let width = Face::Sans(11.0).width(&text);
            if count == PLACES_MAX || x + width > right - 80.0 {
                let more = format!("and {} more", thousands((places.len() - count) as u64));
                pen.text(x, y, "small sans", Anchor::Start, &more);
                break;
            }
            pen.link(&id(summary.number, *place));
            pen.text(x, y, "small sans", Anchor::Start, &text);
            pen.unlink();
            x += width + 10.0;
        }
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
