//! The page's rows while a session goes on: JSON, one object a line, each with the markup that the page would have in that
//! place. Whoever shows them puts them below one another; what a page has around its diagram is his.
//!
//! ```json
//! {"begin":{"session":1,"client":"192.0.2.7:50312","server":"192.0.2.1:110","started":"2005-04-01T07:56:00Z",
//!  "joined":false,"html":"<div class=\"heads\">…</div>"}}
//! {"row":{"session":1,"number":4,"phase":"AUTHORIZATION","class":"p0","findings":[{"severity":"slow",
//!  "title":"Slow step"}],"html":"<li class=\"row reply server\" id=\"s1-r4\">…</li>"}}
//! {"end":{"session":1,"ending":"ended by QUIT","end":"quit","html":"<div class=\"end\">…</div>"}}
//! ```
//!
//! `html` is markup and safe as it is; every other text is plain, and what does not show is written out in it. What is
//! not known is `null`. Rows of one `phase` that follow one another stand in a `<section>` of their own:
//! `<section class="phase p0"><h3 class="band"><span>AUTHORIZATION</span></h3><ol class="rows">…</ol></section>`; where it
//! is `null`, `class` is empty, and there is no band. Bars, which are measured by a session's longest step, and links from
//! finding to finding need the whole session, and are left out.

use restante_proto::phase::Phase;
use serde::Serialize;

use super::{row, session};
use crate::{
    format::{
        Live, Style,
        facts::is_drawn,
        markup::{Clock, visible},
    },
    heard::Opening,
    row::{Row, Summary},
};

/// Draws rows as HTML while their session goes on, for a page that grows.
///
/// ```
/// use restante_diagram::{drawing::{Drawing, Options}, format::{Style, html::LiveRows}};
/// let (live, mut out) = (LiveRows::new(&Style::default()), Vec::new());
/// let mut drawing = Drawing::live_with(Options::default(), Box::new(live));
/// drawing.push(b"S: +OK ready\nC: USER john\n", &mut out)?;
/// drawing.idle(&mut out);
/// let lines: Vec<&str> = std::str::from_utf8(&out)?.lines().collect();
/// assert!(lines[0].starts_with("{\"begin\":{\"session\":1,") && lines[1].starts_with("{\"row\":{\"session\":1,"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LiveRows {
    style: Style,
    /// The session whose rows come now.
    session: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Line<'a> {
    Begin {
        session: u32,
        client: Option<String>,
        server: Option<String>,
        started: Option<String>,
        joined: bool,
        html: &'a str,
    },
    Row {
        session: u32,
        number: u64,
        phase: Option<&'static str>,
        class: &'static str,
        findings: Vec<Found>,
        html: &'a str,
    },
    End {
        session: u32,
        ending: String,
        end: &'static str,
        html: &'a str,
    },
}

#[derive(Serialize)]
struct Found {
    severity: &'static str,
    title: &'static str,
}

impl LiveRows {
    /// A drawer of no session yet.
    pub fn new(style: &Style) -> Self {
        Self { style: style.clone(), session: 0 }
    }
}

impl Live for LiveRows {
    fn begin(&mut self, opening: &Opening, number: u32, out: &mut Vec<u8>) {
        self.session = number;
        let mut html = String::new();
        session::heads(&mut html, opening, Clock::running());
        let text = |text: &Option<Box<str>>| text.as_deref().map(|text| visible(text).into_owned());
        let line = Line::Begin {
            session: number,
            client: text(&opening.client),
            server: text(&opening.server),
            started: text(&opening.started),
            joined: opening.joined,
            html: html.trim_end(),
        };
        write(&line, out);
    }

    // Each object says whose it is.
    fn resume(&mut self, number: u32, _: &Opening, _: &mut Vec<u8>) {
        self.session = number;
    }

    fn row(&mut self, row: &Row, out: &mut Vec<u8>) {
        if !is_drawn(row, &self.style) {
            return;
        }
        let (session, clock, style) = (self.session, Clock::running(), &self.style);
        let mut html = String::new();
        row::draw(&mut html, row, row::Around { session, clock, places: &[], style });
        let found = row.findings.iter().map(|finding| finding.anomaly);
        let line = Line::Row {
            session,
            number: row.number,
            phase: row.phase.map(Phase::name),
            class: row.phase.map_or("", session::class),
            findings: found
                .map(|anomaly| Found { severity: anomaly.severity().name(), title: anomaly.title() })
                .collect(),
            html: html.trim_end(),
        };
        write(&line, out);
    }

    fn end(&mut self, summary: &Summary, out: &mut Vec<u8>) {
        let mut html = String::new();
        session::end(&mut html, &summary.ending);
        let ending = visible(&summary.ending).into_owned();
        write(&Line::End { session: summary.number, ending, end: summary.end, html: html.trim_end() }, out);
    }
}

/// Nothing here can fail to be written: keys are texts, and the writer is memory.
fn write(line: &Line<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&serde_json::to_vec(line).unwrap_or_default());
    out.push(b'\n');
}
