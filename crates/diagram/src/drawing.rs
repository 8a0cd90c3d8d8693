//! From octets to a drawing: the source is found out, each of its sessions is traced, and a format draws those that were
//! chosen. Memory is bounded: a session's rows are held until it ends, others than the chosen ones only as figures.

use std::{collections::BTreeMap, time::Duration};

use restante_proto::dialogue::ParseError;

use crate::{
    format::{Draw, Format, Picture, Style},
    heard::{Heard, What},
    row::{Row, Summary},
    source::dialogue,
    trace::{Settings, Trace},
};

/// How many rows are held at most, in all sessions that are under way.
pub const ROWS_MAX: usize = 1 << 20;
/// How many octets of text these rows hold at most.
pub const ROWS_MAX_OCTETS: usize = 512 << 20;
/// How many sessions are listed at most.
pub const LISTED_MAX: usize = 100_000;
/// How much of a message is shown where whole ones are asked for, in octets.
pub const MESSAGE_MAX_OCTETS: usize = 1 << 20;
/// How much of a message's first line is shown, in octets.
const FIRST_LINE_MAX_OCTETS: usize = 256;
/// How many lines of a listing are shown.
const LISTING_MAX_LINES: usize = 5;

/// Which sessions of a source are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The one that there is; several are an error that lists them.
    #[default]
    Single,
    /// The one with this number.
    Number(u32),
    /// All, in the order in which they end.
    All,
    /// None: they are listed only.
    List,
}

/// What is drawn, and how much of it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which sessions.
    pub choice: Choice,
    /// Long runs of the same steps become one row.
    pub fold: bool,
    /// Messages and listings are shown whole, up to [`MESSAGE_MAX_OCTETS`]; else their first lines.
    pub whole_bodies: bool,
    /// Names of users and addresses are hidden.
    pub hide_names: bool,
    /// A step that takes longer is slow.
    pub slow: Duration,
    /// More ports of servers, for captures.
    pub ports: Vec<u16>,
}

impl Default for Options {
    /// The one session that there is, folded, messages by their first line, slow from half a second on.
    fn default() -> Self {
        Self {
            choice: Choice::Single,
            fold: true,
            whole_bodies: false,
            hide_names: false,
            slow: Duration::from_millis(500),
            ports: Vec::new(),
        }
    }
}

/// Why nothing, or not all, could be drawn.
#[derive(Debug)]
pub enum DrawError {
    /// The dialogue is none.
    Dialogue(ParseError),
    /// There are several sessions, and none was chosen.
    Several(Vec<Summary>),
    /// There is no session of this number.
    NoSuchSession {
        /// The number.
        number: u32,
        /// How many there are.
        sessions: u32,
    },
    /// There is no session at all.
    NoSession,
    /// There are more rows than are held.
    TooMuch,
}

impl std::fmt::Display for DrawError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dialogue(error) => error.fmt(f),
            Self::Several(sessions) => write!(f, "there are {} sessions", sessions.len()),
            Self::NoSuchSession { number, sessions: 1 } => {
                write!(f, "there is no session {number}; there is one")
            }
            Self::NoSuchSession { number, sessions } => {
                write!(f, "there is no session {number}; there are {sessions}")
            }
            Self::NoSession => f.write_str("there is no POP3 session in it"),
            Self::TooMuch => f.write_str("that is more than can be drawn at once"),
        }
    }
}

impl std::error::Error for DrawError {}

/// A drawing on its way.
///
/// ```
/// use restante_diagram::{drawing::{Drawing, Options}, format::{self, Style}};
/// let text = format::by_name("text").unwrap();
/// let (mut drawing, mut out) = (Drawing::new(Options::default(), text, &Style::default()), Vec::new());
/// drawing.push(b"S: +OK ready\nC: USER john\n", &mut out)?;
/// drawing.end(&mut out)?;
/// assert!(String::from_utf8_lossy(&out).contains("USER john"));
/// # Ok::<(), restante_diagram::drawing::DrawError>(())
/// ```
pub struct Drawing {
    options: Options,
    draw: Box<dyn Draw>,
    source: Source,
    open: BTreeMap<u32, Open>,
    /// The first session, which is over, as long as it is the only one.
    only: Option<Box<Open>>,
    begun: u32,
    drawn: u32,
    listed: Vec<Summary>,
    held: usize,
    held_octets: usize,
    heard: Vec<Heard>,
    rows: Vec<Row>,
}

/// A session that is under way.
struct Open {
    trace: Trace,
    rows: Vec<Row>,
    octets: usize,
}

enum Source {
    /// Not enough came to tell.
    Unknown(Vec<u8>),
    Dialogue(Box<dialogue::Source>),
}

/// So many octets tell what a source is.
const TELLTALE_OCTETS: usize = 16;

impl Drawing {
    /// A drawing of nothing yet.
    pub fn new(options: Options, format: &Format, style: &Style) -> Self {
        Self::with(options, (format.new)(style))
    }

    /// A drawing in a format of one's own.
    pub fn with(options: Options, draw: Box<dyn Draw>) -> Self {
        Self {
            options,
            draw,
            only: None,
            source: Source::Unknown(Vec::new()),
            open: BTreeMap::new(),
            begun: 0,
            drawn: 0,
            listed: Vec::new(),
            held: 0,
            held_octets: 0,
            heard: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// How many octets of each message are kept.
    const fn start_max_octets(&self) -> usize {
        if self.options.whole_bodies { MESSAGE_MAX_OCTETS } else { FIRST_LINE_MAX_OCTETS }
    }

    /// Takes the next octets of a capture or a dialogue, and draws what can be drawn.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), DrawError> {
        if let Source::Unknown(first) = &mut self.source {
            first.extend_from_slice(octets);
            if first.len() < TELLTALE_OCTETS {
                return Ok(());
            }
            return self.find_out(out);
        }
        self.read(octets)?;
        self.take(out)
    }

    /// What the source is, by its first octets.
    fn find_out(&mut self, out: &mut Vec<u8>) -> Result<(), DrawError> {
        let source = dialogue::Source::new(self.start_max_octets());
        let Source::Unknown(first) = std::mem::replace(&mut self.source, Source::Dialogue(Box::new(source)))
        else {
            return Ok(());
        };
        self.read(&first)?;
        self.take(out)
    }

    fn read(&mut self, octets: &[u8]) -> Result<(), DrawError> {
        match &mut self.source {
            Source::Unknown(_) => Ok(()),
            Source::Dialogue(source) => source.push(octets, &mut self.heard).map_err(DrawError::Dialogue),
        }
    }

    /// The source is at its end: the rest is drawn.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), DrawError> {
        if matches!(self.source, Source::Unknown(_)) {
            self.find_out(out)?;
        }
        match &mut self.source {
            Source::Unknown(_) => {}
            Source::Dialogue(source) => source.end(&mut self.heard).map_err(DrawError::Dialogue)?,
        }
        self.take(out)?;
        for number in self.open.keys().copied().collect::<Vec<_>>() {
            self.close(number, out);
        }
        match self.options.choice {
            _ if self.begun == 0 => return Err(DrawError::NoSession),
            Choice::Single if self.begun > 1 => {
                return Err(DrawError::Several(std::mem::take(&mut self.listed)));
            }
            Choice::Number(number) if number == 0 || number > self.begun => {
                return Err(DrawError::NoSuchSession { number, sessions: self.begun });
            }
            _ => {}
        }
        if let Some(only) = self.only.take() {
            self.draw_session(&only, out);
        }
        if self.drawn > 0 {
            self.draw.finish(out);
        }
        Ok(())
    }

    /// The sessions that there were, in figures; with [`Choice::List`] and where there are several.
    pub fn sessions(&self) -> &[Summary] {
        &self.listed
    }

    /// What a source heard is traced, and drawn where a session is over.
    fn take(&mut self, out: &mut Vec<u8>) -> Result<(), DrawError> {
        let mut heard = std::mem::take(&mut self.heard);
        for heard in heard.drain(..) {
            self.hear(heard, out)?;
        }
        self.heard = heard;
        Ok(())
    }

    /// Takes what was heard of one session.
    pub fn hear(&mut self, heard: Heard, out: &mut Vec<u8>) -> Result<(), DrawError> {
        let Heard { session, what } = heard;
        let ends = matches!(what, What::End(_));
        if let What::Begin(opening) = &what {
            self.begun = self.begun.max(session);
            if self.options.choice == Choice::Single && self.begun > 1 {
                // None will be drawn.
                self.forget_rows();
            }
            let settings = Settings {
                slow: self.options.slow,
                fold: self.options.fold,
                hide_names: self.options.hide_names,
                listing_max_lines: if self.options.whole_bodies { usize::MAX } else { LISTING_MAX_LINES },
            };
            let trace = Trace::new(session, opening.clone(), settings);
            self.open.insert(session, Open { trace, rows: Vec::new(), octets: 0 });
        }
        let keeps = self.draws(session);
        let Some(open) = self.open.get_mut(&session) else { return Ok(()) };
        open.trace.heard(what, &mut self.rows);
        for row in self.rows.drain(..).filter(|_| keeps) {
            let octets = row_octets(&row);
            self.held += 1;
            self.held_octets += octets;
            open.octets += octets;
            open.rows.push(row);
        }
        self.rows.clear();
        if self.held > ROWS_MAX || self.held_octets > ROWS_MAX_OCTETS {
            return Err(DrawError::TooMuch);
        }
        if ends {
            self.close(session, out);
        }
        Ok(())
    }

    fn draws(&self, session: u32) -> bool {
        match self.options.choice {
            Choice::Single => self.begun == 1,
            Choice::Number(number) => number == session,
            Choice::All => true,
            Choice::List => false,
        }
    }

    fn forget_rows(&mut self) {
        for open in self.open.values_mut() {
            open.rows = Vec::new();
            open.octets = 0;
        }
        self.only = None;
        (self.held, self.held_octets) = (0, 0);
    }

    fn close(&mut self, session: u32, out: &mut Vec<u8>) {
        let Some(open) = self.open.remove(&session) else { return };
        if self.listed.len() < LISTED_MAX {
            self.listed.push(open.trace.summary().clone());
        }
        if self.options.choice == Choice::Single && self.begun == 1 {
            // Another one may still begin.
            self.only = Some(Box::new(open));
            return;
        }
        self.held -= open.rows.len().min(self.held);
        self.held_octets -= open.octets.min(self.held_octets);
        if self.draws(session) {
            self.draw_session(&open, out);
        }
    }

    fn draw_session(&mut self, session: &Open, out: &mut Vec<u8>) {
        if self.drawn == 0 {
            self.draw.start(out);
        }
        self.drawn += 1;
        self.draw.session(Picture { summary: session.trace.summary(), rows: &session.rows }, out);
    }
}

fn row_octets(row: &Row) -> usize {
    let texts = row.lines.iter().map(|line| line.len() + size_of::<String>()).sum::<usize>();
    size_of::<Row>() + row.label.len() + texts + row.remark.as_ref().map_or(0, |remark| remark.text.len())
}
