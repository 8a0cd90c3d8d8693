//! SVG against golden pictures; that it is well-formed whatever it is given, and asks for nothing from outside.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod sample;

use restante_diagram::format::Style;
use roxmltree::Document;
use sample::{Session, draw, golden};

fn styles() -> [Style; 4] {
    let whole = Style::default();
    [
        whole.clone(),
        Style { remarks: false, ..whole.clone() },
        Style { segments: false, ..whole.clone() },
        Style { remarks: false, segments: false, ..whole },
    ]
}

#[test]
fn pictures_are_as_they_were() {
    for sample in sample::all() {
        golden(&format!("{}.svg", sample.name), &draw("svg", &Style::default(), &sample.sessions));
    }
}

#[test]
fn every_picture_is_well_formed_and_alone() {
    for sample in sample::all() {
        for style in styles() {
            let picture = draw("svg", &style, &sample.sessions);
            let document = Document::parse(&picture).unwrap_or_else(|e| panic!("{}: {e}", sample.name));
            let root = document.root_element();
            assert_eq!(root.attribute("role"), Some("img"));
            assert!(root.children().any(|child| child.has_tag_name("desc")));
            let mut ids = Vec::new();
            for node in document.descendants().filter(roxmltree::Node::is_element) {
                let known =
                    ["svg", "title", "desc", "style", "g", "a", "text", "tspan", "rect", "line", "path"];
                assert!(known.contains(&node.tag_name().name()), "{}", node.tag_name().name());
                for attribute in node.attributes() {
                    assert!(!attribute.name().starts_with("on"), "{}", attribute.name());
                    // A link stays in the picture.
                    assert!(
                        attribute.name() != "href" || attribute.value().starts_with('#'),
                        "{}",
                        attribute.value()
                    );
                }
                ids.extend(node.attribute("id"));
            }
            let count = ids.len();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), count, "an id stands twice");
            let style =
                document.descendants().find(|node| node.has_tag_name("style")).and_then(|node| node.text());
            assert!(!style.unwrap().contains("url(") && !style.unwrap().contains("@import"));
        }
    }
}

#[test]
fn each_row_is_drawn_once_and_links_lead_to_it() {
    for sample in sample::all() {
        let picture = draw("svg", &Style::default(), &sample.sessions);
        assert_eq!(sample.name == "everything", picture.contains("996 in folded rows"));
        let document = Document::parse(&picture).unwrap();
        let ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
        for Session { summary, rows } in &sample.sessions {
            for row in rows {
                let id = format!("s{}-r{}", summary.number, row.number);
                assert!(ids.contains(&id.as_str()), "{}: {id}", sample.name);
            }
        }
        for link in document.descendants().filter_map(|node| node.attribute("href")) {
            assert!(ids.contains(&&link[1..]), "{link}");
        }
    }
}

#[test]
fn what_is_not_wanted_is_not_drawn_but_what_is_wrong_is() {
    let session = [sample::everything()];
    let bare = draw("svg", &Style { remarks: false, segments: false, ..Style::default() }, &session);
    assert!(!bare.contains("The server greets."));
    assert!(!bare.contains(">PSH, ACK"));
    assert!(!bare.contains("id=\"s1-r2\""), "a mere SYN");
    // A segment that something is wrong with stays.
    assert!(bare.contains("id=\"s1-r3\"") && bare.contains("Out of order · slow"));
    for finding in session[0].rows.iter().flat_map(|row| &row.findings) {
        assert!(bare.contains(finding.anomaly.title()), "{}", finding.anomaly.title());
    }
}

#[test]
fn no_session_is_a_picture_too() {
    let none = draw("svg", &Style::default(), &[]);
    Document::parse(&none).unwrap();
    assert!(none.contains("There is no POP3 session in it."));
}
