//! HTML against golden pages; that no stranger's text becomes markup, and that what a reader needs is there. What a
//! browser makes of it is in the interop tests.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod sample;

use restante_diagram::format::Style;
use sample::{Session, draw, golden};

/// The tags of a page behind its own style sheet and before its own script, each `<…>`.
fn tags(page: &str) -> Vec<&str> {
    let body = page.split("</style>").nth(1).expect("one style sheet").split("<script>").next().unwrap();
    assert_eq!(page.matches("<script>").count(), 1);
    assert_eq!(page.matches("<style>").count(), 1);
    body.split('<').skip(1).map(|tag| tag.split('>').next().unwrap()).collect()
}

#[test]
fn pages_are_as_they_were() {
    for sample in sample::all() {
        golden(&format!("{}.html", sample.name), &draw("html", &Style::default(), &sample.sessions));
    }
}

#[test]
fn no_text_of_a_stranger_is_markup() {
    let known = [
        "a", "b", "body", "button", "cite", "code", "dd", "details", "div", "dl", "dt", "h1", "h2", "h3",
        "head", "header", "i", "input", "kbd", "label", "li", "main", "nav", "ol", "output", "p", "path",
        "rect", "section", "small", "span", "strong", "summary", "svg", "table", "tbody", "td", "th",
        "thead", "tr", "ul",
    ];
    for sample in sample::all() {
        let page = draw("html", &Style::default(), &sample.sessions);
        let mut open = Vec::new();
        for tag in tags(&page) {
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
            assert!(known.contains(&name), "{}: <{tag}>", sample.name);
            let handler = tag.split(' ').any(|part| part.starts_with("on"));
            assert!(!handler || !tag.contains("=\"javascript"), "<{tag}>");
            // Attributes are quoted, and hold no quotes but their own.
            assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
            if let Some(address) = tag.split("href=\"").nth(1) {
                assert!(address.starts_with('#'), "<{tag}>");
            }
            // Tags are closed in order.
            match tag.strip_prefix('/') {
                Some(name) if name != "head" => assert_eq!(open.pop(), Some(name), "{}", sample.name),
                Some(_) => {}
                None if tag.ends_with('/') || ["input", "body"].contains(&name) => {}
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
        for sign in ['\u{202e}', '\u{2066}', '\u{200b}', '\u{0}', '\u{1b}', '\u{7f}'] {
            assert!(!page.contains(sign), "{sign:?}");
        }
    }
}

#[test]
fn each_row_has_its_place_its_name_and_its_facts() {
    let sessions = [sample::everything(), sample::secured()];
    let page = draw("html", &Style::default(), &sessions);
    for Session { summary, rows } in &sessions {
        for row in rows {
            assert_eq!(page.matches(&format!(" id=\"s{}-r{}\">", summary.number, row.number)).count(), 1);
            for finding in &row.findings {
                assert!(page.contains(finding.anomaly.advice()), "{}", finding.anomaly.name());
            }
        }
    }
    assert!(page.contains(
        "<span class=\"hidden\">Client to server, command: </span><span class=\"label\"><b>CAPA</b>"
    ));
    assert!(page.contains("<dt>Waited</dt><dd>40.0 ms on the network, 15.0 s with who answered</dd>"));
    assert!(page.contains("<dt>Numbers</dt><dd>sequence 1, acknowledges 6, 6 octets</dd>"));
    // What was folded is told too.
    assert!(page.contains("Delayed-ACK stall × 997") && page.contains("996 in folded rows"));
    // The index leads to both.
    assert!(page.contains("<a href=\"#s1\">") && page.contains("<a href=\"#s2\">"));
    // The lines that are not drawn at once stand in the details, or are counted.
    assert!(page.contains("<i>… 9,998 more lines</i>"));
}

#[test]
fn what_is_not_wanted_is_not_drawn_but_what_is_wrong_is() {
    let session = [sample::everything()];
    let bare = draw("html", &Style { remarks: false, segments: false, ..Style::default() }, &session);
    assert!(!bare.contains("The server greets."));
    assert!(!bare.contains("id=\"show-remarks\"") && !bare.contains("id=\"show-segments\""));
    assert!(!bare.contains("class=\"carried\""));
    assert!(!bare.contains("id=\"s1-r2\""), "a mere SYN");
    // A segment that something is wrong with stays.
    assert!(bare.contains("id=\"s1-r3\""));
    for finding in session[0].rows.iter().flat_map(|row| &row.findings) {
        assert!(bare.contains(finding.anomaly.title()), "{}", finding.anomaly.title());
    }
}

#[test]
fn no_session_is_a_page_too() {
    let none = draw("html", &Style::default(), &[]);
    assert!(none.contains("There is no POP3 session in it."));
}
