//! SVG: one self-contained picture, sessions below one another. It has no scripts and asks for no fonts, so that it works
//! as an image on other people's pages, and it follows the reader's choice of light or dark.

mod head;
mod measure;
mod pen;
mod row;
mod session;

use super::{
    Draw, Format, Picture, Style,
    markup::{escaped, heading, put},
};
use pen::Pen;

/// The format as the table has it.
pub(super) const FORMAT: Format = Format {
    name: "svg",
    about: "a picture for pages and slides, in light and dark",
    extensions: &["svg"],
    new: |style| Box::new(Svg::new(style)),
};

/// How wide the picture is, in pixels.
const WIDTH: f64 = 1120.0;
/// What is left free at its edges, and between sessions.
const MARGIN: f64 = 28.0;

struct Svg {
    style: Style,
    pen: Pen,
    /// How far down the picture is drawn.
    bottom: f64,
    headings: Vec<String>,
}

impl Svg {
    fn new(style: &Style) -> Self {
        Self { style: style.clone(), pen: Pen::default(), bottom: 0.0, headings: Vec::new() }
    }
}

impl Draw for Svg {
    // The height is known only at the end: all is held until then.
    fn start(&mut self, _out: &mut Vec<u8>) {}

    fn session(&mut self, picture: Picture<'_>, _out: &mut Vec<u8>) {
        self.bottom = session::draw(&mut self.pen, self.bottom + MARGIN, picture, &self.style);
        self.headings.push(heading(picture.summary));
    }

    fn held_octets(&self) -> usize {
        self.pen.octets()
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.headings.is_empty() {
            let (x, y) = (WIDTH / 2.0, self.bottom + MARGIN + 20.0);
            self.pen.text(x, y, "sans", pen::Anchor::Middle, "There is no POP3 session in it.");
            self.bottom = y;
        }
        let height = (self.bottom + MARGIN).ceil();
        let title = match self.headings.as_slice() {
            [] => "No POP3 session".to_owned(),
            [one] => one.clone(),
            all => format!("{} POP3 sessions", all.len()),
        };
        let mut head = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"title desc\" xml:space=\"preserve\">\n"
        );
        put!(head, "<title id=\"title\">{}</title>\n", escaped(&title));
        put!(
            head,
            "<desc id=\"desc\">Sequence diagram between a mail client, left, and a POP3 server, right: {}. Time runs downwards.</desc>\n",
            escaped(&self.headings.join("; "))
        );
        put!(head, "<style>\n{}</style>\n", include_str!("svg/style.css"));
        let mut page = Pen::default();
        page.rect(0.5, 0.5, WIDTH - 1.0, height - 1.0, 8.0, "page");
        for part in [head.as_str(), page.drawn(), self.pen.drawn(), "</svg>\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}
