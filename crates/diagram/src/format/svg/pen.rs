//! Writes the elements of an SVG. Coordinates are pixels with at most one decimal.

use super::super::markup::{escaped, put};

/// The drawing so far.
#[derive(Debug, Default)]
pub(super) struct Pen {
    out: String,
}

/// A number as short as it can be written.
struct Px(f64);

impl std::fmt::Display for Px {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths = (self.0 * 10.0).round();
        if tenths % 10.0 == 0.0 { write!(f, "{}", tenths / 10.0) } else { write!(f, "{:.1}", self.0) }
    }
}

/// Where a text stands beside its point.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

impl Anchor {
    const fn attribute(self) -> &'static str {
        match self {
            Self::Start => "",
            Self::Middle => " text-anchor=\"middle\"",
            Self::End => " text-anchor=\"end\"",
        }
    }
}

impl Pen {
    /// How many octets were drawn.
    pub(super) fn octets(&self) -> usize {
        self.out.len()
    }

    /// One line of text.
    pub(super) fn text(&mut self, x: f64, y: f64, class: &str, anchor: Anchor, text: &str) {
        self.spans(x, y, class, anchor, &[("", 0.0, text)]);
    }

    /// One line of text in pieces, each with its class and with what is free before it.
    pub(super) fn spans(&mut self, x: f64, y: f64, class: &str, anchor: Anchor, spans: &[(&str, f64, &str)]) {
        put!(self.out, "<text x=\"{}\" y=\"{}\"{}", Px(x), Px(y), anchor.attribute());
        if !class.is_empty() {
            put!(self.out, " class=\"{class}\"");
        }
        self.out.push('>');
        for (class, free, text) in spans {
            if class.is_empty() {
                self.out.push_str(&escaped(text));
                continue;
            }
            put!(self.out, "<tspan class=\"{class}\"");
            if *free > 0.0 {
                put!(self.out, " dx=\"{}\"", Px(*free));
            }
            put!(self.out, ">{}</tspan>", escaped(text));
        }
        self.out.push_str("</text>\n");
    }

    /// A text that is read from below, its middle at the point.
    pub(super) fn upright(&mut self, x: f64, y: f64, class: &str, text: &str) {
        put!(
            self.out,
            "<text transform=\"translate({} {}) rotate(-90)\" text-anchor=\"middle\" class=\"{class}\">{}</text>\n",
            Px(x),
            Px(y),
            escaped(text)
        );
    }

    /// A rectangle with round corners.
    pub(super) fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, round: f64, class: &str) {
        let (x, y, width, height) = (Px(x), Px(y), Px(width), Px(height));
        put!(self.out, "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"");
        if round > 0.0 {
            put!(self.out, " rx=\"{}\"", Px(round));
        }
        put!(self.out, " class=\"{class}\"/>\n");
    }

    /// A straight line.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let (x1, y1, x2, y2) = (Px(from.0), Px(from.1), Px(to.0), Px(to.1));
        put!(self.out, "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" class=\"{class}\"/>\n");
    }

    /// A triangle, for the end of an arrow.
    pub(super) fn triangle(&mut self, points: [(f64, f64); 3], class: &str) {
        self.out.push_str("<path d=\"");
        for (place, (x, y)) in points.iter().enumerate() {
            put!(self.out, "{}{} {}", if place == 0 { 'M' } else { 'L' }, Px(*x), Px(*y));
        }
        put!(self.out, "Z\" class=\"{class}\"/>\n");
    }

    /// An icon of 16 × 16, scaled to this size.
    pub(super) fn icon(&mut self, x: f64, y: f64, size: f64, path: &str, class: &str) {
        put!(
            self.out,
            "<path transform=\"translate({} {}) scale({})\" fill-rule=\"evenodd\" d=\"{path}\" class=\"{class}\"/>\n",
            Px(x),
            Px(y),
            (size / 16.0 * 1000.0).round() / 1000.0
        );
    }

    /// Begins a group with an id and with what it is in words.
    pub(super) fn open(&mut self, id: &str, title: &str) {
        put!(self.out, "<g id=\"{id}\"><title>{}</title>\n", escaped(title));
    }

    /// Ends it.
    pub(super) fn close(&mut self) {
        self.out.push_str("</g>\n");
    }

    /// Begins a link to an id in this document.
    pub(super) fn link(&mut self, id: &str) {
        put!(self.out, "<a href=\"#{id}\">");
    }

    /// Ends it.
    pub(super) fn unlink(&mut self) {
        self.out.push_str("</a>\n");
    }

    /// Appends what another pen drew.
    pub(super) fn append(&mut self, other: &Self) {
        self.out.push_str(&other.out);
    }

    /// What was drawn.
    pub(super) fn drawn(&self) -> &str {
        &self.out
    }
}
