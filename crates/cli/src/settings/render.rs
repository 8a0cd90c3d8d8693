//! The keys for people: `config explain` and `config default`, both out of the table in `keys.rs`.

use std::fmt::Write;

use super::keys::{Fallback, Key, SECTIONS, Section};

/// The width of a terminal that everybody has.
const WIDTH: usize = 100;

/// What a key means, takes and defaults to.
pub(crate) fn explain(section: &Section, key: &Key) -> String {
    let title = match section.name {
        "" => key.name.to_owned(),
        name => format!("[{name}] {}", key.name),
    };
    let default = match key.default {
        Fallback::Value(value) => value.to_owned(),
        Fallback::Words { words, .. } => words.to_owned(),
    };
    let mut text = format!("{title}\n");
    for line in
        [key.doc.to_owned(), format!("Takes {}.", key.takes.describe()), format!("Default: {default}")]
    {
        wrap(&mut text, "    ", &line);
    }
    if let Fallback::Words { example, .. } = key.default {
        wrap(&mut text, "    ", &format!("Example: {} = {example}", key.name));
    }
    text
}

/// All keys of a section, explained.
pub(crate) fn explain_section(section: &Section) -> String {
    let mut text = String::new();
    if !section.name.is_empty() {
        wrap(&mut text, "", &format!("[{}] {}", section.name, section.doc));
        text.push('\n');
    }
    let keys: Vec<_> = section.keys.iter().map(|key| explain(section, key)).collect();
    text + &keys.join("\n")
}

/// All keys, explained.
pub(crate) fn explain_all() -> String {
    let sections: Vec<_> = SECTIONS.iter().map(explain_section).collect();
    sections.join("\n")
}

/// A configuration file with every key at its default. Where the default is no value, an example is commented out.
pub(crate) fn default_file() -> String {
    let mut text = String::from(
        "# Restante's configuration. Every key is here with its default; a key may be left out.\n",
    );
    for section in SECTIONS {
        let all_words = section.keys.iter().all(|key| matches!(key.default, Fallback::Words { .. }));
        if !section.name.is_empty() {
            text.push('\n');
            wrap(&mut text, "# ", section.doc);
            // A section of which nothing has a value would be an incomplete one.
            let mark = if all_words { "#" } else { "" };
            writeln!(text, "{mark}[{}]", section.name).unwrap_or_default();
        }
        for key in section.keys {
            text.push('\n');
            wrap(&mut text, "# ", key.doc);
            wrap(&mut text, "# ", &format!("Takes {}.", key.takes.describe()));
            match key.default {
                Fallback::Value(value) => writeln!(text, "{} = {value}", key.name),
                Fallback::Words { words, example } => {
                    wrap(&mut text, "# ", &format!("Default: {words}."));
                    writeln!(text, "#{} = {example}", key.name)
                }
            }
            .unwrap_or_default();
        }
    }
    text
}

/// Appends `words` in lines of at most [`WIDTH`] characters, each after `indent`.
fn wrap(text: &mut String, indent: &str, words: &str) {
    let mut width = 0;
    for word in words.split(' ') {
        let long = word.chars().count();
        if width == 0 {
            text.push_str(indent);
            width = indent.chars().count();
        } else if width + 1 + long > WIDTH {
            text.push('\n');
            text.push_str(indent);
            width = indent.chars().count();
        } else {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += long;
    }
    text.push('\n');
}
