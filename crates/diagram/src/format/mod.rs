//! The formats that a diagram can be drawn in: one file, one line in [`FORMATS`] and one file of tests each. A format gets
//! whole sessions, row by row, and knows nothing of where they come from.

mod facts;
pub mod html;
pub mod json;
mod markup;
mod mermaid;
mod svg;
pub mod text;

use crate::{
    heard::Opening,
    row::{Row, Summary},
};

/// One session as it is handed to a format.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// The session in figures.
    pub summary: &'a Summary,
    /// Its rows, in order.
    pub rows: &'a [Row],
}

/// What a format may do as it likes it.
#[derive(Clone, Debug)]
pub struct Style {
    /// How many columns the text may have.
    pub width_columns: usize,
    /// Whether there are colours (ANSI), for text.
    pub colour: bool,
    /// Whether remarks are drawn.
    pub remarks: bool,
    /// Whether rows of segments that carry nothing, and the facts of those that do, are drawn.
    pub segments: bool,
}

impl Default for Style {
    /// 100 columns, no colour, everything drawn.
    fn default() -> Self {
        Self { width_columns: 100, colour: false, remarks: true, segments: true }
    }
}

/// A format at work: `start` once, `session` for each, `finish` once.
pub trait Draw: Send {
    /// What stands before the first session.
    fn start(&mut self, out: &mut Vec<u8>);
    /// A whole session.
    fn session(&mut self, picture: Picture<'_>, out: &mut Vec<u8>);
    /// What stands behind the last session.
    fn finish(&mut self, out: &mut Vec<u8>);
    /// How many octets it holds back until then; nothing, if what is drawn goes out at once.
    fn held_octets(&self) -> usize {
        0
    }
}

/// A format that draws row by row, while sessions go on, one after another or by turns.
pub trait Live: Send {
    /// A session begins: between whom it is, and since when. Its rows follow.
    fn begin(&mut self, opening: &Opening, number: u32, out: &mut Vec<u8>);
    /// The rows that come now are of another session, which has begun before.
    fn resume(&mut self, number: u32, opening: &Opening, out: &mut Vec<u8>);
    /// A row of the session that was begun or resumed last.
    fn row(&mut self, row: &Row, out: &mut Vec<u8>);
    /// The end of that session.
    fn end(&mut self, summary: &Summary, out: &mut Vec<u8>);
}

/// A format that exists.
pub struct Format {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is good for, in a few words.
    pub about: &'static str,
    /// The usual ends of file names, without the dot.
    pub extensions: &'static [&'static str],
    /// Begins one.
    pub new: fn(&Style) -> Box<dyn Draw>,
}

/// Every format. Help texts, man pages and errors for unknown names are renderings of this table.
pub const FORMATS: &[Format] = &[
    Format { name: "text", about: "for terminals, in colour there", extensions: &["txt"], new: text::new },
    svg::FORMAT,
    html::FORMAT,
    Format {
        name: "mermaid",
        about: "for Markdown pages",
        extensions: &["mmd", "mermaid"],
        new: mermaid::new,
    },
    Format { name: "json", about: "for scripts", extensions: &["json"], new: json::new },
];

/// The format of this name.
pub fn by_name(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}
