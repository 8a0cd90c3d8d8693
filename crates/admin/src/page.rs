//! The files of the live page, as they are sent: there is nothing to build. What they do is written in them; who may have
//! them is decided before (`door.rs`). The style sheet of the diagram is the diagram's own.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use restante_diagram::format::html::DIAGRAM_CSS;

/// A file of the page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File {
    /// Where it is asked for.
    pub(crate) path: &'static str,
    /// Its media type.
    pub(crate) content_type: &'static str,
    /// What is in it.
    pub(crate) text: &'static str,
}

/// What the page may do: load what this server has, and nothing else; no script or style that stands in the markup.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

impl IntoResponse for File {
    fn into_response(self) -> Response {
        let heads = [(header::CONTENT_TYPE, self.content_type), (header::CONTENT_SECURITY_POLICY, POLICY)];
        (heads, self.text).into_response()
    }
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// All of them.
pub(crate) const FILES: &[File] = &[
    File { path: "/", content_type: HTML, text: include_str!("page/index.html") },
    File { path: "/diagram.css", content_type: CSS, text: DIAGRAM_CSS },
    File { path: "/page.css", content_type: CSS, text: include_str!("page/page.css") },
    File { path: "/page.js", content_type: SCRIPT, text: include_str!("page/page.js") },
    File { path: "/list.js", content_type: SCRIPT, text: include_str!("page/list.js") },
    File { path: "/detail.js", content_type: SCRIPT, text: include_str!("page/detail.js") },
    File { path: "/stream.js", content_type: SCRIPT, text: include_str!("page/stream.js") },
    File { path: "/names.js", content_type: SCRIPT, text: include_str!("page/names.js") },
    File { path: "/door.js", content_type: SCRIPT, text: include_str!("page/door.js") },
    File { path: "/words.js", content_type: SCRIPT, text: include_str!("page/words.js") },
    File { path: "/icon.svg", content_type: SVG, text: include_str!("page/icon.svg") },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of this attribute.
    fn values<'a>(html: &'a str, attribute: &'a str) -> impl Iterator<Item = &'a str> {
        html.split(attribute).skip(1).filter_map(|rest| rest.split('"').next())
    }

    #[test]
    fn all_that_the_page_asks_for_is_there() {
        let html = FILES[0].text;
        for path in values(html, " src=\"").chain(values(html, " href=\"")) {
            assert!(FILES.iter().any(|file| file.path == path), "{path}");
        }
        for script in FILES.iter().filter(|file| file.content_type == SCRIPT) {
            for line in script.text.lines().filter(|line| line.starts_with("import ")) {
                let (_, from) = line.split_once(" from './").unwrap();
                let name = from.strip_suffix("';").unwrap();
                assert!(FILES.iter().any(|file| file.path[1..] == *name), "{}: {name}", script.path);
            }
        }
    }

    #[test]
    fn nothing_stands_in_the_markup_that_the_policy_forbids() {
        let html = FILES[0].text;
        assert!(!html.contains(" style=\"") && !html.contains("<style"));
        let handler = |word: &&str| word.starts_with("on") && word.contains("=\"");
        assert_eq!(html.split_ascii_whitespace().find(handler), None, "a handler");
        for file in FILES {
            let foreign = file.text.replace("http://www.w3.org/2000/svg", "");
            assert!(!foreign.contains("http://") && !foreign.contains("https://"), "{}", file.path);
        }
    }
}
