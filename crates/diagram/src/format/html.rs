//! HTML: one file that works offline, folds, prints, and can be read without a mouse, without a script, and without eyes.
//!
//! The page allows itself no more than it brings: its policy names its own style sheet and its own script by their hashes,
//! so that nothing that a stranger said can run, even if it came through the escaping.

mod live;
mod row;
mod session;

pub use self::live::LiveRows;
use super::{
    Draw, Format, Picture, Style,
    markup::{escaped, heading, icon, put},
};
use crate::{
    anomaly::Severity,
    row::{RowKind, Summary},
    words::{duration, thousands},
};

/// The format as the table has it.
pub(super) const FORMAT: Format = Format {
    name: "html",
    about: "one page that works offline: fold, jump, print, read each detail",
    extensions: &["html", "htm"],
    new: |style| Box::new(Html::new(style)),
};

/// The style sheet of a diagram, without the page around it: for rows as [`LiveRows`] draws them, in a page of another make.
/// It styles what is in a `class="diagram"`. All else that it touches are icons, and colours and measures by their names:
/// of `:root`, of findings (`slow`, `wrong`, `grave`), of states (`p0` to `p3`). The names above the lifelines stay at the
/// window's top, or below as much of it as `--tools` says that something else covers. The page's ground should be `--bg`.
pub const DIAGRAM_CSS: &str = include_str!("html/diagram.css");
const PAGE_CSS: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");
/// SHA-256 of the style sheets together and of the script in base64, for the page's policy; a test says what they have to be.
const CSS_HASH: &str = "CiDstayNaLI/Ggy+IpPQIvVvtZrU4YVvO68L5npmZz0=";
const SCRIPT_HASH: &str = "dZn3h/IVOeSWCP7oj8UTUnJ7H5rw/Npgk2hWG8ckIkg=";

struct Html {
    style: Style,
    /// Session by session.
    body: String,
    /// What the index needs of each.
    sessions: Vec<Entry>,
    /// What can be folded away.
    segments: u64,
    blocks: u64,
    remarks: u64,
}

/// A session in the index.
struct Entry {
    summary: Summary,
    /// How many findings there are of each severity, worst first.
    findings: [(Severity, u64); 3],
}

impl Html {
    fn new(style: &Style) -> Self {
        Self {
            style: style.clone(),
            body: String::new(),
            sessions: Vec::new(),
            segments: 0,
            blocks: 0,
            remarks: 0,
        }
    }

    fn title(&self) -> String {
        match self.sessions.as_slice() {
            [] => "No POP3 session".to_owned(),
            [one] => heading(&one.summary),
            all => format!("{} POP3 sessions", all.len()),
        }
    }

    fn top(&self, page: &mut String) {
        page.push_str("<header class=\"top\">\n");
        if let [_, _, ..] = self.sessions.as_slice() {
            put!(
                page,
                "<h1>{}</h1>\n<nav aria-label=\"Sessions\">\n<table class=\"index\">\n<thead><tr>",
                escaped(&self.title())
            );
            for head in ["Session", "Began", "Between", "Took", "Commands", "Retrieved", "Found", "End"] {
                put!(page, "<th scope=\"col\">{head}</th>");
            }
            page.push_str("</tr></thead>\n<tbody>\n");
            for entry in &self.sessions {
                index_row(page, entry);
            }
            page.push_str("</tbody>\n</table>\n</nav>\n");
        }
        if self.sessions.len() == 1 {
            page.push_str("<h1 class=\"over\">Sequence diagram of a POP3 session</h1>\n");
        }
        if self.sessions.is_empty() {
            page.push_str(
                "<h1>No POP3 session</h1>\n<p class=\"nothing\">There is no POP3 session in it.</p>\n",
            );
        }
        page.push_str("</header>\n");
    }

    fn tools(&self, page: &mut String) {
        if self.sessions.is_empty() {
            return;
        }
        page.push_str("<div class=\"tools\" role=\"group\" aria-label=\"What is shown\">\n");
        let toggles = [
            (self.style.segments, "segments", "TCP segments", self.segments, "t"),
            (true, "bodies", "Listings and messages", self.blocks, "b"),
            (self.style.remarks, "remarks", "Remarks", self.remarks, "r"),
        ];
        for (_, id, name, count, key) in toggles.iter().filter(|(drawn, ..)| *drawn) {
            put!(
                page,
                "<label><input type=\"checkbox\" id=\"show-{id}\" checked aria-keyshortcuts=\"{key}\"> {name} <small>{count}</small> <kbd hidden>{key}</kbd></label>\n"
            );
        }
        page.push_str("<div class=\"jump\" hidden><output aria-live=\"polite\"></output><button type=\"button\" class=\"previous\" aria-keyshortcuts=\"p\">Previous finding <kbd>p</kbd></button><button type=\"button\" class=\"next\" aria-keyshortcuts=\"n\">Next finding <kbd>n</kbd></button></div>\n<button type=\"button\" class=\"open\" aria-keyshortcuts=\"e\" hidden>All details <kbd>e</kbd></button>\n</div>\n");
    }
}

fn index_row(page: &mut String, entry: &Entry) {
    let summary = &entry.summary;
    let opening = &summary.opening;
    let text = |text: &Option<Box<str>>| text.as_deref().map(escaped).unwrap_or_default();
    let between = match (&opening.client, &opening.server) {
        (None, None) => String::new(),
        (client, server) => format!("{} → {}", text(client), text(server)),
    };
    put!(
        page,
        "<tr><td><a href=\"#s{}\">{}</a></td><td>{}</td><td class=\"between\">{between}</td><td class=\"nowrap\">{}</td><td class=\"n\">{}<span class=\"unit\"> commands</span></td><td class=\"n\">{}<span class=\"unit\"> retrieved</span></td><td>",
        summary.number,
        escaped(&heading(summary)),
        text(&opening.started),
        summary.duration.map(duration).unwrap_or_default(),
        thousands(summary.commands),
        thousands(summary.retrieved)
    );
    for (severity, count) in entry.findings.iter().filter(|(_, count)| *count > 0) {
        let name = severity.name();
        put!(page, "<span class=\"count {name}\">{} {count} {name}</span>", drawn_icon(icon(*severity)));
    }
    put!(page, "</td><td>{}</td></tr>\n", escaped(&summary.ending));
}

/// An icon in the text; the words beside it say the same.
fn drawn_icon(path: &str) -> String {
    format!("<svg class=\"icon\" viewBox=\"0 0 16 16\" aria-hidden=\"true\"><path d=\"{path}\"/></svg>")
}

impl Draw for Html {
    // The index stands before the sessions, and what they are is known only at the end: all is held until then.
    fn start(&mut self, _out: &mut Vec<u8>) {}

    fn held_octets(&self) -> usize {
        self.body.len() + self.sessions.len() * size_of::<Entry>()
    }

    fn session(&mut self, picture: Picture<'_>, _out: &mut Vec<u8>) {
        session::draw(&mut self.body, picture, &self.style);
        let rows = picture.rows;
        let count =
            |what: &dyn Fn(&crate::row::Row) -> bool| rows.iter().filter(|row| what(row)).count() as u64;
        self.segments += count(&|row| row.kind == RowKind::Segment);
        self.blocks += count(&|row| !row.lines.is_empty() || row.lines_left_out > 0);
        self.remarks += count(&|row| row.remark.is_some());
        let findings = [Severity::Grave, Severity::Wrong, Severity::Slow].map(|severity| {
            let all = rows.iter().flat_map(|row| &row.findings);
            (severity, all.filter(|finding| finding.anomaly.severity() == severity).count() as u64)
        });
        self.sessions.push(Entry { summary: picture.summary.clone(), findings });
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let mut page =
            String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        put!(
            page,
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{CSS_HASH}'; script-src 'sha256-{SCRIPT_HASH}'; base-uri 'none'; form-action 'none'\">\n"
        );
        put!(
            page,
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>{DIAGRAM_CSS}{PAGE_CSS}</style>\n</head>\n<body>\n<a class=\"skip hidden\" href=\"#sessions\">To the diagram</a>\n",
            escaped(&self.title())
        );
        self.top(&mut page);
        self.tools(&mut page);
        page.push_str("<main id=\"sessions\">\n");
        out.extend_from_slice(page.as_bytes());
        out.extend_from_slice(self.body.as_bytes());
        let mut end = String::from("</main>\n");
        put!(end, "<script>{SCRIPT}</script>\n</body>\n</html>\n");
        out.extend_from_slice(end.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_policy_names_what_the_page_brings() {
        let css = [DIAGRAM_CSS, PAGE_CSS].concat();
        assert_eq!(
            STANDARD.encode(Sha256::digest(css)),
            CSS_HASH,
            "html/diagram.css or page.css has changed"
        );
        assert_eq!(STANDARD.encode(Sha256::digest(SCRIPT)), SCRIPT_HASH, "html/page.js has changed");
    }
}
