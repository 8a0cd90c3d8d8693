//! From octets to a drawing: the source is found out, each of its sessions is traced, and a format draws those that were
//! chosen. Memory is bounded: a session's rows are held until it ends, others than the chosen ones only as figures.

use std::{collections::BTreeMap, io::BufRead, time::Duration};

use restante_proto::dialogue::ParseError;

use crate::{
    format::{Draw, Format, Live, Picture, Style, text::Text},
    heard::{Heard, What},
    row::{Row, Summary},
    source::{
        capture::{self, Capture, CaptureError},
        dialogue,
        rawlog::{self, Rawlog, RawlogError},
    },
    trace::{Settings, Trace},
};

/// How many rows are held at most, in all sessions that are under way.
pub const ROWS_MAX: usize = 1 << 20;
/// How many octets of text these rows hold at most.
pub const ROWS_MAX_OCTETS: usize = 256 << 20;
/// How many sessions are listed at most.
pub const LISTED_MAX: usize = 100_000;
/// How much of a message is shown where whole ones are asked for, in octets.
pub const MESSAGE_MAX_OCTETS: usize = 1 << 20;
/// How much of a message's first line is shown, in octets.
const FIRST_LINE_MAX_OCTETS: usize = 256;
/// How many lines a listing may have to be shown whole, and how many are shown of a longer one.
const LISTING_MAX_LINES: usize = 12;
const LISTING_START_LINES: usize = 4;
/// How many lines of a listing are shown where whole ones are asked for.
const WHOLE_LISTING_MAX_LINES: usize = 100_000;

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
    /// Whether a client's step can be slow too; else the client thinks as long as it likes, and only who lets it wait is.
    pub slow_client: bool,
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
            slow_client: true,
            ports: Vec::new(),
        }
    }
}

/// Why nothing, or not all, could be drawn.
#[derive(Debug)]
pub enum DrawError {
    /// The dialogue is none.
    Dialogue(ParseError),
    /// The capture cannot be read, or not to its end; what came before has been drawn.
    Capture(CaptureError),
    /// The rawlog cannot be read.
    Rawlog(RawlogError),
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
            Self::Capture(error) => error.fmt(f),
            Self::Rawlog(error) => error.fmt(f),
            Self::Several(sessions) => {
                write!(f, "there are {}", crate::words::count(sessions.len() as u64, "session"))
            }
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
    pen: Pen,
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

/// When rows are drawn.
enum Pen {
    /// With their session, when it is over.
    Whole(Box<dyn Draw>),
    /// As they come; of which session the last one was.
    Live(Box<dyn Live>, Option<u32>),
}

enum Source {
    /// Not enough came to tell.
    Unknown(Vec<u8>),
    Dialogue(Box<dialogue::Source>),
    Capture(Box<Capture>),
    /// It hands on by itself what it hears.
    Elsewhere,
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
        Self::drawn_by(options, Pen::Whole(draw))
    }

    /// A drawing as text that grows with its source: rows of several sessions alternate, under headings that say whose
    /// they are. All sessions are drawn.
    pub fn live(options: Options, style: &Style) -> Self {
        Self::live_with(options, Box::new(Text::new(style)))
    }

    /// The same in another format. Where nothing comes for a while, [`Drawing::idle`] draws what is held back.
    pub fn live_with(options: Options, live: Box<dyn Live>) -> Self {
        let options = Options { choice: Choice::All, ..options };
        Self::drawn_by(options, Pen::Live(live, None))
    }

    fn drawn_by(options: Options, pen: Pen) -> Self {
        Self {
            options,
            pen,
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
        self.read(octets, out)
    }

    /// Draws a pair of Dovecot's rawlogs, which is a source of its own; [`Drawing::end`] follows.
    pub fn rawlog(
        &mut self,
        client: impl BufRead,
        server: impl BufRead,
        out: &mut Vec<u8>,
    ) -> Result<(), DrawError> {
        let options = rawlog::Options { body_start_max_octets: self.start_max_octets() };
        let mut failed = None;
        self.source = Source::Elsewhere;
        let read = Rawlog::new(options).read(client, server, &mut |heard| {
            if failed.is_none() {
                failed = self.hear(heard, out).err();
            }
        });
        match failed {
            Some(error) => Err(error),
            None => read.map_err(DrawError::Rawlog),
        }
    }

    /// What the source is, by its first octets.
    fn find_out(&mut self, out: &mut Vec<u8>) -> Result<(), DrawError> {
        let Source::Unknown(first) = std::mem::replace(&mut self.source, Source::Elsewhere) else {
            return Ok(());
        };
        self.source = if Capture::looks_like(&first) {
            Source::Capture(Box::new(Capture::new(capture::Options {
                ports: self.options.ports.clone(),
                body_start_max_octets: self.start_max_octets(),
                only: match self.options.choice {
                    Choice::Number(number) => Some(number),
                    Choice::Single | Choice::All | Choice::List => None,
                },
            })))
        } else {
            Source::Dialogue(Box::new(dialogue::Source::new(self.start_max_octets())))
        };
        self.read(&first, out)
    }

    fn read(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), DrawError> {
        match &mut self.source {
            Source::Unknown(_) | Source::Elsewhere => {}
            Source::Dialogue(source) => source.push(octets, &mut self.heard).map_err(DrawError::Dialogue)?,
            Source::Capture(source) => {
                if let Err(error) = source.push(octets, &mut self.heard) {
                    // What came before the damage is worth its drawing; that there may be nothing is no news.
                    return match self.end(out) {
                        Err(DrawError::TooMuch) => Err(DrawError::TooMuch),
                        _ => Err(DrawError::Capture(error)),
                    };
                }
            }
        }
        self.take(out)
    }

    /// The source is at its end: the rest is drawn.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), DrawError> {
        if matches!(self.source, Source::Unknown(_)) {
            self.find_out(out)?;
        }
        let mut damaged = None;
        match &mut self.source {
            Source::Unknown(_) | Source::Elsewhere => {}
            Source::Dialogue(source) => source.end(&mut self.heard).map_err(DrawError::Dialogue)?,
            Source::Capture(source) => {
                damaged = source.end(&mut self.heard).err();
                // Sessions that nobody chose are numbered, and not heard.
                self.begun = self.begun.max(source.facts().sessions);
            }
        }
        self.take(out)?;
        for number in self.open.keys().copied().collect::<Vec<_>>() {
            self.close(number, out);
        }
        if let Some(error) = damaged.filter(|_| self.begun == 0) {
            return Err(DrawError::Capture(error));
        }
        match self.options.choice {
            _ if self.begun == 0 => return Err(DrawError::NoSession),
            Choice::Single if self.begun > 1 => {
                return Err(DrawError::Several(self.listed.clone()));
            }
            Choice::Number(number) if number == 0 || number > self.begun => {
                return Err(DrawError::NoSuchSession { number, sessions: self.begun });
            }
            _ => {}
        }
        if let Some(only) = self.only.take() {
            self.draw_session(&only, out);
        }
        if let Pen::Whole(draw) = &mut self.pen
            && self.drawn > 0
        {
            draw.finish(out);
        }
        Ok(())
    }

    /// Nothing comes for the moment: what is held back of a live drawing is drawn.
    pub fn idle(&mut self, out: &mut Vec<u8>) {
        if matches!(self.pen, Pen::Whole(_)) {
            return;
        }
        for (session, open) in &mut self.open {
            open.trace.idle(&mut self.rows);
            let heading = open.trace.summary();
            for row in self.rows.drain(..) {
                live(&mut self.pen, *session, heading, &row, out);
            }
        }
    }

    /// The sessions that there were, in figures; with [`Choice::List`] and where there are several.
    pub fn sessions(&self) -> &[Summary] {
        &self.listed
    }

    /// How many sessions began; more than [`LISTED_MAX`] are not listed.
    pub const fn begun(&self) -> u32 {
        self.begun
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
            let whole = self.options.whole_bodies;
            let settings = Settings {
                slow: self.options.slow,
                slow_client: self.options.slow_client,
                fold: self.options.fold,
                hide_names: self.options.hide_names,
                listing_max_lines: if whole { WHOLE_LISTING_MAX_LINES } else { LISTING_MAX_LINES },
                listing_start_lines: if whole { WHOLE_LISTING_MAX_LINES } else { LISTING_START_LINES },
                message_max_lines: if whole { usize::MAX } else { 1 },
            };
            let trace = Trace::new(session, opening.clone(), settings);
            self.open.insert(session, Open { trace, rows: Vec::new(), octets: 0 });
        }
        let keeps = self.draws(session);
        let Some(open) = self.open.get_mut(&session) else { return Ok(()) };
        open.trace.heard(what, &mut self.rows);
        if let Pen::Live(..) = self.pen {
            for row in self.rows.drain(..) {
                live(&mut self.pen, session, open.trace.summary(), &row, out);
            }
        }
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
        match &self.pen {
            Pen::Whole(draw) if draw.held_octets() > ROWS_MAX_OCTETS => Err(DrawError::TooMuch),
            _ => Ok(()),
        }
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
        let summary = session.trace.summary();
        match &mut self.pen {
            Pen::Whole(draw) => {
                if self.drawn == 0 {
                    draw.start(out);
                }
                draw.session(Picture { summary, rows: &session.rows }, out);
            }
            Pen::Live(draw, current) => {
                if *current != Some(summary.number) {
                    draw.resume(summary.number, &summary.opening, out);
                }
                draw.end(summary, out);
                *current = None;
            }
        }
        self.drawn += 1;
    }
}

/// Draws one row now, below a heading if the row before it was another session's.
fn live(pen: &mut Pen, session: u32, summary: &Summary, row: &Row, out: &mut Vec<u8>) {
    let Pen::Live(draw, current) = pen else { return };
    if row.number == 1 {
        draw.begin(&summary.opening, session, out);
    } else if *current != Some(session) {
        draw.resume(session, &summary.opening, out);
    }
    *current = Some(session);
    draw.row(row, out);
}

fn row_octets(row: &Row) -> usize {
    let texts = row.lines.iter().map(|line| line.len() + size_of::<String>()).sum::<usize>();
    size_of::<Row>() + row.label.len() + texts + row.remark.as_ref().map_or(0, |remark| remark.text.len())
}
