//! Mermaid's `sequenceDiagram`, which many wikis and forges draw from Markdown. Several sessions stand in one document,
//! below each other. Mermaid's own limits are its readers' (50,000 characters, unless they set more): it is for sessions that
//! a person looks at.

use restante_proto::{dialogue::Side, reply::printable};

use super::{
    Draw, Picture, Style,
    facts::{JOINED, facts, gravest_first, is_drawn, left_out},
};
use crate::{
    row::{Row, RowKind, Summary},
    words::{clock, count, duration, thousands, times},
};

/// Labels and notes are broken into lines of about so many characters: Mermaid itself breaks nothing.
const LINE_USUAL_CHARS: usize = 48;
/// A blank at which no line is broken.
const UNBROKEN: &str = "\u{a0}";
/// What of one text is drawn.
const TEXT_MAX_CHARS: usize = 1024;
/// Behind what is wrong, in light and in dark themes.
const WRONG_COLOUR: &str = "rgba(224, 64, 32, 0.18)";
/// Behind each phase, likewise, by turns.
const PHASE_COLOURS: [&str; 2] = ["rgba(64, 128, 224, 0.08)", "rgba(128, 128, 128, 0.08)"];

/// A document at work.
struct Mermaid {
    style: Style,
    /// The first session, until it is known whether it is the only one, and its addresses may stand in the heads.
    first: Option<First>,
    sessions: u32,
}

struct First {
    client: Option<String>,
    server: Option<String>,
    drawn: Vec<u8>,
}

/// Begins one.
pub(super) fn new(style: &Style) -> Box<dyn Draw> {
    Box::new(Mermaid { style: style.clone(), first: None, sessions: 0 })
}

impl Draw for Mermaid {
    fn start(&mut self, _: &mut Vec<u8>) {}

    fn session(&mut self, picture: Picture<'_>, out: &mut Vec<u8>) {
        self.sessions = self.sessions.saturating_add(1);
        let opening = &picture.summary.opening;
        let (client, server) =
            (opening.client.as_deref().map(escaped), opening.server.as_deref().map(escaped));
        if self.sessions == 1 {
            let mut drawn = Vec::new();
            self.rows(picture, &mut drawn);
            self.first = Some(First { client, server, drawn });
            return;
        }
        if let Some(first) = self.first.take() {
            write_heads(None, None, out);
            write_between(first.client.as_deref(), first.server.as_deref(), out);
            out.extend_from_slice(&first.drawn);
        }
        write_between(client.as_deref(), server.as_deref(), out);
        self.rows(picture, out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        match self.first.take() {
            Some(first) => {
                write_heads(first.client.as_deref(), first.server.as_deref(), out);
                out.extend_from_slice(&first.drawn);
            }
            // Without a session there still is a diagram.
            None if self.sessions == 0 => write_heads(None, None, out),
            None => {}
        }
    }
}

impl Mermaid {
    fn rows(&self, picture: Picture<'_>, out: &mut Vec<u8>) {
        let summary = picture.summary;
        over(out, 1, &heading(summary));
        let mut phase: Option<&'static str> = None;
        let (mut phases, mut next) = (0, 0);
        for row in picture.rows.iter().filter(|row| is_drawn(row, &self.style)) {
            let now = row.phase.map(|phase| phase.name());
            if now.is_some() && now != phase {
                if phase.is_some() {
                    line(out, 1, "end");
                }
                let colour = PHASE_COLOURS.get(phases % 2).copied().unwrap_or_default();
                line(out, 1, &format!("rect {colour}"));
                over(out, 2, &escaped(now.unwrap_or_default()));
                phase = now;
                phases += 1;
            }
            let depth = if phase.is_some() { 2 } else { 1 };
            if is_arrow(row) {
                // Mermaid counts arrows, and we count rows.
                if row.number != next {
                    line(out, depth, &format!("autonumber {}", row.number));
                }
                next = row.number.saturating_add(1);
            }
            self.row(row, depth, out);
        }
        if phase.is_some() {
            line(out, 1, "end");
        }
        over(out, 1, &ending(summary));
    }

    fn row(&self, row: &Row, depth: usize, out: &mut Vec<u8>) {
        let wrong = !row.findings.is_empty();
        if wrong {
            line(out, depth, &format!("rect {WRONG_COLOUR}"));
        }
        let inner = depth + usize::from(wrong);
        let mut said = broken(&row.label);
        said.extend(row.lines.iter().map(|line| escaped(line)));
        if row.lines_left_out > 0 {
            said.push(escaped(&left_out(row.kind, row.lines_left_out)));
        }
        let mut known: Vec<String> =
            row.at.map(|at| format!("{} s", clock(at).trim_start())).into_iter().collect();
        known.extend(facts(row, &self.style));
        if !known.is_empty() {
            let known = known.iter().map(|fact| fact.replace(' ', UNBROKEN)).collect::<Vec<_>>();
            said.extend(broken(&format!("({})", known.join(", "))));
        }
        let said = said.join("<br/>");
        match (row.kind, row.from) {
            (RowKind::Note, Some(from)) => line(out, inner, &format!("Note {}: {said}", beside(from))),
            (RowKind::Note | RowKind::Fold, _) | (_, None) => over(out, inner, &said),
            (RowKind::Segment, Some(Side::Client)) => line(out, inner, &format!("C-->>S: {said}")),
            (RowKind::Segment, Some(Side::Server)) => line(out, inner, &format!("S-->>C: {said}")),
            (_, Some(Side::Client)) => line(out, inner, &format!("C->>S: {said}")),
            (_, Some(Side::Server)) => line(out, inner, &format!("S->>C: {said}")),
        }
        for finding in &row.findings {
            let text = broken(&format!("! {}: {}", finding.anomaly.title(), finding.text)).join("<br/>");
            line(out, inner, &format!("Note {}: {text}", beside(Side::Server)));
        }
        if let Some(remark) = row.remark.as_ref().filter(|_| self.style.remarks) {
            let text = match remark.rfc {
                Some(rfc) => broken(&format!("{} ({})", remark.text, rfc.replace(' ', UNBROKEN))),
                None => broken(&remark.text),
            };
            line(out, inner, &format!("Note {}: {}", beside(Side::Server), text.join("<br/>")));
        }
        if wrong {
            line(out, depth, "end");
        }
    }
}

fn write_heads(client: Option<&str>, server: Option<&str>, out: &mut Vec<u8>) {
    line(out, 0, "sequenceDiagram");
    for (letter, name, address) in [("C", "mail client", client), ("S", "POP3 server", server)] {
        let address = address.map(|address| format!("<br/>{address}")).unwrap_or_default();
        line(out, 1, &format!("participant {letter} as {name}{address}"));
    }
}

const fn is_arrow(row: &Row) -> bool {
    row.from.is_some() && !matches!(row.kind, RowKind::Note | RowKind::Fold)
}

/// Where something is written that belongs to one side.
const fn beside(side: Side) -> &'static str {
    match side {
        Side::Client => "left of C",
        Side::Server => "right of S",
    }
}

fn over(out: &mut Vec<u8>, depth: usize, text: &str) {
    line(out, depth, &format!("Note over C,S: {text}"));
}

fn line(out: &mut Vec<u8>, depth: usize, text: &str) {
    out.extend(std::iter::repeat_n(b' ', 4 * depth));
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

/// Between whom a session is, where several stand in one document; the addresses are escaped already.
fn write_between(client: Option<&str>, server: Option<&str>, out: &mut Vec<u8>) {
    if client.is_some() || server.is_some() {
        over(out, 1, &format!("{} → {}", client.unwrap_or("?"), server.unwrap_or("?")));
    }
}

fn heading(summary: &Summary) -> String {
    let opening = &summary.opening;
    let mut lines = vec![format!("Session {}", summary.number)];
    lines.extend([&opening.title, &opening.started].into_iter().flatten().map(|text| escaped(text)));
    if opening.joined {
        lines.push(JOINED.to_owned());
    }
    lines.join("<br/>")
}

fn ending(summary: &Summary) -> String {
    let mut figures = vec![count(summary.commands, "command"), count(summary.retrieved, "message")];
    if summary.retrieved > 0 {
        figures.push(count(summary.retrieved_octets, "octet"));
    }
    figures.push(format!("{} deleted", thousands(summary.deleted)));
    figures.extend(summary.duration.map(duration));
    let mut lines = broken(&summary.ending);
    lines.push(escaped(&figures.join(", ")));
    for (anomaly, number) in gravest_first(summary) {
        lines.push(escaped(&format!("! {}, {}", anomaly.title(), times(number))));
    }
    lines.join("<br/>")
}

/// A text in lines, each escaped.
fn broken(text: &str) -> Vec<String> {
    let text = printable(text, TEXT_MAX_CHARS);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut chars = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if chars > 0 && chars + 1 + length > LINE_USUAL_CHARS {
            lines.push(escaped(&line));
            line.clear();
            chars = 0;
        }
        if chars > 0 {
            line.push(' ');
            chars += 1;
        }
        line.push_str(word);
        chars += length;
    }
    lines.push(escaped(&line));
    lines.into_iter().map(|line| line.replace(UNBROKEN, " ")).collect()
}

/// A text that means nothing but itself to Mermaid. Characters become its entities, `#59;`: those that end a text, begin
/// one, are HTML, or stand for entities while it reads (`ﬂ°`, `¶ß`), and the first letter of words that it looks for.
fn escaped(text: &str) -> String {
    let text = printable(text, TEXT_MAX_CHARS);
    let mut out = String::with_capacity(text.len());
    let mut before: Option<char> = None;
    for (at, c) in text.char_indices() {
        let rest = text.get(at..).unwrap_or_default();
        let special = match c {
            '#' | ';' | '<' | '>' | '"' | '&' | '`' | '\\' | '$' | '%' | 'ﬂ' | '¶' => true,
            _ if !c.is_ascii_alphabetic() => false,
            _ => {
                begins_word(rest, "end") && !before.is_some_and(char::is_alphanumeric) || begins_marked(rest)
            }
        };
        if special {
            out.push_str(&format!("#{};", u32::from(c)));
        } else {
            out.push(c);
        }
        before = Some(c);
    }
    out
}

/// Whether this word stands here as a whole, in any case of letters.
fn begins_word(text: &str, word: &str) -> bool {
    let (Some(head), Some(tail)) = (text.get(..word.len()), text.get(word.len()..)) else { return false };
    head.eq_ignore_ascii_case(word) && !tail.starts_with(char::is_alphanumeric)
}

/// Whether something begins here that Mermaid looks for before it reads the diagram, or at the beginning of a text.
fn begins_marked(text: &str) -> bool {
    ["style", "classDef", "wrap:", "nowrap:"].iter().any(|mark| text.starts_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_mermaid_is_escaped() {
        for (text, shown) in [
            ("USER john.doe@example.com", "USER john.doe@example.com"),
            ("a;b#c", "a#59;b#35;c"),
            ("<b>\"x\"</b>", "#60;b#62;#34;x#34;#60;/b#62;"),
            ("the end", "the #101;nd"),
            ("End. send ended", "#69;nd. send ended"),
            ("%%{init}", "#37;#37;{init}"),
            ("style: a", "#115;tyle: a"),
            ("wrap: no", "#119;rap: no"),
            ("$$x$$", "#36;#36;x#36;#36;"),
            ("a\nb\u{202e}c", "a?b?c"),
            ("日本 é", "日本 é"),
            ("ﬂ°°60¶ß", "#64258;°°60#182;ß"),
        ] {
            assert_eq!(escaped(text), shown);
        }
        assert_eq!(escaped(&"a".repeat(5000)).len(), TEXT_MAX_CHARS);
    }

    #[test]
    fn lines_break_between_words() {
        let lines = broken(&"octet ".repeat(20));
        assert!(lines.iter().all(|line| line.chars().count() <= LINE_USUAL_CHARS), "{lines:?}");
        assert_eq!(broken(""), [""]);
    }
}
