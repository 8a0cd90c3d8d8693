//! Rows of HTML while a session goes on: they are those of the page, and no stranger's text becomes markup or another line.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod sample;

use restante_diagram::{
    drawing::{Drawing, Options},
    format::{
        Live, Style, by_name,
        html::{DIAGRAM_CSS, LiveRows},
    },
};
use sample::{Session, draw};
use serde_json::Value;

const SEED: &[u8] = include_bytes!("../../proto/tests/dialogues/seed.pop3");

/// What is drawn of a session while it goes on, line by line.
fn live(style: &Style, Session { summary, rows }: &Session) -> Vec<Value> {
    let (mut live, mut out) = (LiveRows::new(style), Vec::new());
    live.begin(&summary.opening, summary.number, &mut out);
    for row in rows {
        live.row(row, &mut out);
    }
    live.end(summary, &mut out);
    parsed(&out)
}

/// A drawing that grows with its source.
fn grows() -> Drawing {
    Drawing::live_with(Options::default(), Box::new(LiveRows::new(&Style::default())))
}

fn parsed(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Each object's name and what it holds.
fn named(value: &Value) -> (&str, &Value) {
    let object = value.as_object().unwrap();
    assert_eq!(object.len(), 1, "{value}");
    object.iter().map(|(name, value)| (name.as_str(), value)).next().unwrap()
}

/// The rows of a page with the classes of the phases that they stand in.
fn rows_of_page(page: &str) -> Vec<(String, String)> {
    let sections = page.split("<section class=\"phase").skip(1);
    sections
        .flat_map(|section| {
            let class = section.split('"').next().unwrap().trim().to_owned();
            let items = section.split("</li>\n").filter_map(|item| item.split_once("<li class=\"row "));
            items
                .map(move |(_, item)| (class.clone(), format!("<li class=\"row {item}</li>")))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The rows that were drawn live, in the same way.
fn rows_of_live(lines: &[Value]) -> Vec<(String, String)> {
    let rows = lines.iter().map(named).filter(|(name, _)| *name == "row");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows.map(|(_, row)| (text(&row["class"]), text(&row["html"]))).collect()
}

/// The markup without every stretch from `open` to `close`.
fn without(html: &str, open: &str, close: &str) -> String {
    let (mut rest, mut kept) = (html, String::new());
    while let Some((before, behind)) = rest.split_once(open) {
        kept.push_str(before);
        rest = behind.split_once(close).expect("what is opened is closed").1;
    }
    kept + rest
}

/// What does not need the whole session: the bars do, the number of a time's digits, and the ways between findings.
fn known_at_once(html: &str) -> String {
    let html = without(html, "<svg class=\"bar\"", "</svg>");
    let html = without(&html, "<nav", "</nav>");
    let html = without(&html, "<span class=\"at\">", "</span>");
    without(&html, "<dt>When</dt><dd>", " s")
}

#[test]
fn the_rows_are_those_of_the_page() {
    for sample in sample::all() {
        for segments in [true, false] {
            let style = Style { segments, ..Style::default() };
            let page = rows_of_page(&draw("html", &style, &sample.sessions));
            let lines = sample.sessions.iter().flat_map(|session| live(&style, session)).collect::<Vec<_>>();
            let live = rows_of_live(&lines);
            assert!(!page.is_empty());
            assert_eq!(page.len(), live.len(), "{}", sample.name);
            for (page, live) in page.iter().zip(&live) {
                assert_eq!(page.0, live.0, "{}", sample.name);
                assert_eq!(known_at_once(&page.1), known_at_once(&live.1), "{}", sample.name);
            }
        }
    }
}

#[test]
fn times_are_those_of_the_page_too() {
    let seed = sample::seed();
    let page = rows_of_page(&draw("html", &Style::default(), std::slice::from_ref(&seed)));
    let live = rows_of_live(&live(&Style::default(), &seed));
    for ((_, page), (_, live)) in page.iter().zip(&live) {
        let page = without(&without(page, "<svg class=\"bar\"", "</svg>"), "<nav", "</nav>");
        assert_eq!(&page, live);
    }
    // The whole session is not known: nothing is measured by its longest step, and nothing leads to what is to come.
    assert!(live.iter().all(|(_, html)| !html.contains("class=\"bar\"") && !html.contains("<nav")));
}

#[test]
fn heads_and_ends_are_those_of_the_page() {
    for session in sample::all().into_iter().flat_map(|sample| sample.sessions) {
        let page = draw("html", &Style::default(), std::slice::from_ref(&session));
        let lines = live(&Style::default(), &session);
        let (name, begin) = named(&lines[0]);
        assert_eq!(name, "begin");
        let heads = begin["html"].as_str().unwrap();
        // It may yet have times.
        let untimed = without(heads, "<div class=\"when\"", "</div>");
        assert!(page.contains(heads) || page.contains(&untimed), "{heads}");
        assert_eq!(begin["session"], session.summary.number);
        assert_eq!(begin["joined"], session.summary.opening.joined);
        let (name, end) = named(lines.last().unwrap());
        assert_eq!(name, "end");
        assert!(page.contains(end["html"].as_str().unwrap()));
        assert_eq!(end["end"], session.summary.end);
    }
}

#[test]
fn what_a_row_says_of_itself_is_there_for_programs() {
    let session = sample::everything();
    for line in live(&Style::default(), &session) {
        let ("row", said) = named(&line) else { continue };
        assert_eq!(said["session"], 1);
        let row = session.rows.iter().find(|row| said["number"] == row.number).unwrap();
        assert_eq!(said["phase"].as_str(), row.phase.map(|phase| phase.name()));
        assert_eq!(said["class"] == "", row.phase.is_none());
        let found: Vec<_> = row.findings.iter().map(|finding| finding.anomaly).collect();
        for (said, found) in said["findings"].as_array().unwrap().iter().zip(&found) {
            assert_eq!(said["severity"], found.severity().name());
            assert_eq!(said["title"], found.title());
        }
        assert_eq!(said["findings"].as_array().unwrap().len(), found.len());
    }
}

/// Checks that markup is made of known tags, closed in order, and of nothing that a browser would run.
fn is_harmless(html: &str) {
    let known = [
        "a", "b", "cite", "code", "dd", "details", "div", "dl", "dt", "i", "li", "p", "path", "span",
        "strong", "summary", "svg",
    ];
    let mut open = Vec::new();
    for tag in html.split('<').skip(1).map(|tag| tag.split_once('>').expect("a tag ends").0) {
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        assert!(known.contains(&name), "<{tag}>");
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        // Attributes, of which none is a handler, and no address leaves the page.
        for (place, part) in tag.split('"').enumerate() {
            let key = part.trim().trim_end_matches('=');
            assert!(place % 2 == 1 || !key.starts_with("on"), "<{tag}>");
        }
        if let Some(address) = tag.split("href=\"").nth(1) {
            assert!(address.starts_with('#'), "<{tag}>");
        }
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{html}"),
            None if tag.ends_with('/') => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?} in {html}");
}

fn check(lines: &[Value]) {
    for line in lines {
        let (_, said) = named(line);
        is_harmless(said["html"].as_str().unwrap());
        // Not even within JSON's own escapes does anything hide.
        let text = said.as_object().unwrap().values().filter_map(Value::as_str).collect::<String>();
        for sign in ['\u{202e}', '\u{2066}', '\u{200b}', '\u{2028}', '\u{0}', '\u{1b}', '\u{7f}', '\r'] {
            assert!(!text.contains(sign), "{sign:?} in {text}");
        }
    }
}

#[test]
fn no_text_of_a_stranger_is_markup() {
    for session in sample::all().into_iter().flat_map(|sample| sample.sessions) {
        check(&live(&Style::default(), &session));
    }
}

#[test]
fn hostile_dialogues_do_no_harm() {
    for harm in [
        "<script>alert(1)</script>",
        "</li></ol><img src=x onerror=alert(1)>",
        "\\\" onclick=\\\"alert(1)\\\" x='",
        "'>\\\"><svg/onload=alert(1)>",
        "\\n\\ndata: \\{}\\n\\n",
        "</script><!-- ]]> &lt;b&gt; &#60;",
        "\\x00\\x1b]0;x\\x07\\x7f",
        "\\xe2\\x80\\xae\\xe2\\x80\\xa8\\xe2\\x80\\x8b",
    ] {
        let text = format!(
            "title: {harm}\nclient: {harm}\nserver: {harm}\nstarted: {harm}\n\n\
             S: +OK \\xff\\xfe {harm}\nC: USER john{harm}\nS: -ERR {harm}\nC: USER john\nS: +OK\nC: PASS x\nS: +OK {harm}\n\
             C: LIST {harm}\nS: +OK\nS: {harm}\nS: .\nC: {harm}\nS: -ERR\nC: TOP 1 1\nS: +OK\nS: {harm}\nS: .\n\
             C: QUIT\nS: +OK {harm}\nS: {harm}\n"
        );
        let mut drawing = grows();
        let mut out = Vec::new();
        drawing.push(text.as_bytes(), &mut out).unwrap();
        drawing.idle(&mut out);
        drawing.end(&mut out).unwrap();
        let lines = parsed(&out);
        assert!(lines.len() > 15, "{text}");
        check(&lines);
    }
}

#[test]
fn a_dialogue_that_grows_is_drawn_row_by_row() {
    let mut whole = Drawing::new(Options::default(), by_name("html").unwrap(), &Style::default());
    let mut page = Vec::new();
    whole.push(SEED, &mut page).unwrap();
    whole.end(&mut page).unwrap();
    let page = rows_of_page(std::str::from_utf8(&page).unwrap());
    for at_once in [1, 50, SEED.len()] {
        let mut drawing = grows();
        let mut out = Vec::new();
        for piece in SEED.chunks(at_once) {
            drawing.push(piece, &mut out).unwrap();
            drawing.idle(&mut out);
        }
        let before = parsed(&out);
        assert!(named(&before[0]).0 == "begin" && named(before.last().unwrap()).0 == "row");
        drawing.end(&mut out).unwrap();
        let lines = parsed(&out);
        assert_eq!(named(lines.last().unwrap()).1["end"], "quit");
        let live = rows_of_live(&lines);
        assert_eq!(page.len(), live.len());
        for (page, live) in page.iter().zip(&live) {
            // Without times the page has no room for them.
            let strip = |html: &str| without(html, "<div class=\"when\">", "</div>");
            let page = without(&page.1, "<nav", "</nav>");
            assert_eq!(strip(&page), strip(&live.1));
        }
    }
}

#[test]
fn sessions_by_turns_say_whose_each_row_is() {
    let (one, mut two) = (sample::seed(), sample::seed());
    two.summary.number = 2;
    let (mut live, mut out) = (LiveRows::new(&Style::default()), Vec::new());
    live.begin(&one.summary.opening, 1, &mut out);
    live.row(&one.rows[0], &mut out);
    live.begin(&two.summary.opening, 2, &mut out);
    live.row(&two.rows[0], &mut out);
    live.resume(1, &one.summary.opening, &mut out);
    live.row(&one.rows[1], &mut out);
    live.end(&two.summary, &mut out);
    let said: Vec<_> = parsed(&out).iter().map(|line| named(line).1["session"].as_u64().unwrap()).collect();
    assert_eq!(said, [1, 1, 2, 2, 1, 2]);
    assert!(String::from_utf8(out).unwrap().contains("id=\\\"s2-r1\\\""));
}

#[test]
fn a_joined_session_says_so() {
    let mut drawing = grows();
    let mut out = Vec::new();
    drawing.push(b"joined: TRANSACTION\n\n35.2 C: NOOP\n35.3 S: +OK\n", &mut out).unwrap();
    drawing.idle(&mut out);
    let lines = parsed(&out);
    assert_eq!(named(&lines[0]).1["joined"], true);
    let (_, row) = named(&lines[1]);
    assert_eq!((&row["phase"], &row["class"]), (&Value::from("TRANSACTION"), &Value::from("p1")));
    assert_eq!(row["findings"], Value::Array(Vec::new()));
    assert!(row["html"].as_str().unwrap().contains("<span class=\"at\">35.200000</span>"));
}

/// What stands before each `{` of a style sheet, selector by selector.
fn selectors(css: &str) -> Vec<String> {
    let css = without(css, "/*", "*/");
    let mut pieces: Vec<&str> = css.split('{').collect();
    pieces.pop();
    let lists = pieces.into_iter().map(|piece| piece.rsplit('}').next().unwrap().trim());
    let mut selectors = Vec::new();
    for list in lists.filter(|list| !list.starts_with("@media")) {
        let mut depth = 0;
        let parts = list.split(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ',' && depth == 0
        });
        selectors.extend(parts.map(str::to_owned));
    }
    selectors
}

#[test]
fn the_diagrams_style_sheet_leaves_the_page_around_it_alone() {
    let selectors = selectors(DIAGRAM_CSS);
    assert!(selectors.len() > 100);
    let names = [":root", "svg.icon", ".slow", ".wrong", ".grave", ".p0", ".p1", ".p2", ".p3"];
    for selector in selectors {
        let inside = selector == ".diagram"
            || [".diagram ", ".diagram.", ":is(.diagram,"].iter().any(|start| selector.starts_with(start));
        assert!(inside || names.contains(&selector.as_str()), "{selector}");
    }
    // What it takes from elsewhere may lack.
    let defined = |name: &str| DIAGRAM_CSS.contains(&format!("{name}:"));
    for used in DIAGRAM_CSS.split("var(").skip(1).map(|used| used.split(')').next().unwrap()) {
        assert!(used.contains(',') || defined(used), "{used}");
    }
    assert_eq!(DIAGRAM_CSS.matches('{').count(), DIAGRAM_CSS.matches('}').count());
}

#[test]
fn a_drawing_may_be_used_in_tasks() {
    fn is_send<T: Send + 'static>(_: &T) {}
    is_send(&grows());
    is_send(&Drawing::new(Options::default(), by_name("html").unwrap(), &Style::default()));
}
