//! restante.toml(5): the configuration's keys, from the table that `restante config explain` prints.

use super::sections::{escaped, of_text};
use crate::settings::{
    DEFAULT_FILE,
    keys::{Fallback, Key, SECTIONS},
};

/// The page's name.
pub(super) const NAME: &str = "restante.toml";

/// The page, as roff.
pub(super) fn page() -> String {
    let mut roff = format!(
        ".TH RESTANTE.TOML 5 \"\" \"restante {}\" Restante\n.SH NAME\nrestante.toml \\- the configuration of restante\n\
         .SH SYNOPSIS\n\\fB{}\\fR\n.SH DESCRIPTION\n{}\n",
        env!("CARGO_PKG_VERSION"),
        escaped(DEFAULT_FILE),
        "The file is TOML: keys and their values, most of them in sections under a heading in brackets. Every key may \
         be left out. An unknown key, or a value that a key does not take, is an error with line and column.",
    );
    for section in SECTIONS {
        let title = match section.name {
            "" => "AT THE TOP".to_owned(),
            name => format!("[{name}]"),
        };
        roff += &format!(".SH {title}\n{}\n", line(section.doc));
        section.keys.iter().for_each(|key| roff += &entry(key));
    }
    let examples = "Examples:\n  restante config default > /etc/restante/restante.toml\n  restante config check\n  \
                    restante config explain tls.certificate\n";
    roff + &of_text(examples)
        + ".SH SEE ALSO\n\\fBrestante\\fR(1), \\fBrestante\\-serve\\fR(1), \\fBrestante\\-config\\fR(1)\n"
}

fn entry(key: &Key) -> String {
    let default = match key.default {
        Fallback::Value(value) => format!("Default: {value}."),
        Fallback::Words { words, example } => {
            format!("Default: {words}. Example: {} = {example}", key.name)
        }
    };
    let takes = format!("Takes {}.", key.takes.describe());
    format!(
        ".TP\n\\fB{}\\fR\n{}\n.br\n{}\n.br\n{}\n",
        escaped(key.name),
        line(key.doc),
        line(&takes),
        line(&default)
    )
}

/// A line of text; `\&` keeps its first character from beginning a request.
fn line(text: &str) -> String {
    format!("\\&{}", escaped(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there() {
        let page = page();
        for section in SECTIONS {
            for key in section.keys {
                assert!(
                    page.contains(&format!("\\fB{}\\fR\n\\&{}", key.name, escaped(key.doc))),
                    "{}",
                    key.name
                );
            }
        }
    }
}
