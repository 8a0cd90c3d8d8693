//! A configuration file as it was written, with the place of everything in it, so that each error can name line and
//! column. What the keys are is in `keys.rs`; what their values mean together is in `check.rs`.

use std::{collections::BTreeMap, fmt, ops::Range};

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Key, SECTIONS, Section, Takes};

/// How many errors of one file are told; a file that is no configuration at all should not fill the screen.
const PROBLEMS_MAX: usize = 20;

/// A place in the file, counted from 1 in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Something that is wrong, or that works and should be known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// Where; `None` where a default is wrong on this machine.
    pub(crate) position: Option<Position>,
    /// What, and what to do.
    pub(crate) message: String,
    /// Where in another file that the configuration names: its name, and the line. It is told instead of `position`.
    pub(crate) elsewhere: Option<(String, usize)>,
}

impl Problem {
    /// A problem of the configuration file.
    pub(crate) const fn new(position: Option<Position>, message: String) -> Self {
        Self { position, message, elsewhere: None }
    }
}

/// The file's name and the places of its values. Outlives the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    file: String,
    keys: BTreeMap<String, Position>,
}

impl Places {
    /// A problem with the value of a key, given as `tls.key`.
    pub(crate) fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        Problem::new(self.keys.get(key).copied(), message.into())
    }

    /// A problem with what a key's value names; a default, which has no place, is told by the key.
    pub(crate) fn problem_of_value(&self, key: &str, message: impl Into<String>) -> Problem {
        match self.has(key) {
            true => self.problem(key, message),
            false => self.problem(key, format!("the default of {key}: {}", message.into())),
        }
    }

    /// Whether the file has this key, or this section.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// The file's name as it was given.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// `restante.toml:7:9: what is wrong`.
    pub(crate) fn tell(&self, problem: &Problem) -> String {
        if let Some((file, line)) = &problem.elsewhere {
            return format!("{file}:{line}: {}", problem.message);
        }
        match problem.position {
            Some(Position { line, column }) => format!("{}:{line}:{column}: {}", self.file, problem.message),
            None => format!("{}: {}", self.file, problem.message),
        }
    }
}

/// Reads the text of a file: the places of its values, and what is wrong with syntax, names and single values.
pub(crate) fn read(file: &str, text: &str) -> (Places, Vec<Problem>) {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { text, keys: BTreeMap::new(), problems: Vec::new() };
    for error in &errors {
        reader.problem(error.span().unwrap_or(0..0), format!("this is not TOML: {}", error.message()));
    }
    // What follows a syntax error is guesswork; errors about it would mislead.
    if errors.is_empty() {
        reader.root(root.get_ref());
    }
    reader.problems.sort();
    reader.problems.dedup();
    reader.problems.truncate(PROBLEMS_MAX);
    (Places { file: file.to_owned(), keys: reader.keys }, reader.problems)
}

/// The place of an octet in a text.
pub(super) fn position(text: &str, octet: usize) -> Position {
    let before = text.get(..octet).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}

struct Reader<'t> {
    text: &'t str,
    keys: BTreeMap<String, Position>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, span: Range<usize>, message: String) {
        self.problems.push(Problem::new(Some(position(self.text, span.start)), message));
    }

    fn root(&mut self, root: &DeTable<'_>) {
        for (name, value) in root {
            let (text, span) = (name.get_ref().as_ref(), name.span());
            match (keys::section("").and_then(|top| top.key(text)), keys::section(text), value.get_ref()) {
                (Some(key), _, _) => self.value("", key, value),
                (None, Some(section), DeValue::Table(table)) if !text.is_empty() => {
                    self.keys.insert(text.to_owned(), position(self.text, span.start));
                    self.section(section, table);
                }
                (None, Some(_), DeValue::Array(_)) => {
                    self.problem(span, format!("[{text}] is one section; write it once, in single brackets"));
                }
                (None, Some(_), _) if !text.is_empty() => {
                    self.problem(span, format!("{text} is a section; write [{text}] and its keys below"));
                }
                (None, _, DeValue::Table(_)) => {
                    let names = SECTIONS.iter().map(|section| section.name);
                    let hint = similar(text, names).map(|name| format!("; did you mean [{name}]?"));
                    self.problem(span, format!("unknown section [{text}]{}", hint.unwrap_or_else(sections)));
                }
                _ => self.unknown(&SECTIONS[0], text, span),
            }
        }
    }

    fn section(&mut self, section: &'static Section, table: &DeTable<'_>) {
        for (name, value) in table {
            match section.key(name.get_ref()) {
                Some(key) => self.value(section.name, key, value),
                None => self.unknown(section, name.get_ref(), name.span()),
            }
        }
    }

    fn unknown(&mut self, section: &Section, name: &str, span: Range<usize>) {
        let elsewhere = SECTIONS.iter().find(|other| other.key(name).is_some());
        let place = match section.name {
            "" => "at the top of the file".to_owned(),
            name => format!("in [{name}]"),
        };
        let hint = match (similar(name, section.keys.iter().map(|key| key.name)), elsewhere) {
            (_, Some(other)) => format!("; it belongs into {}", other.title()),
            (Some(meant), None) => format!("; did you mean \"{meant}\"?"),
            (None, None) => {
                let near =
                    SECTIONS.iter().flat_map(|other| other.keys.iter().map(move |key| (other, key.name)));
                let names = near.clone().map(|(_, name)| name);
                similar(name, names)
                    .and_then(|meant| near.clone().find(|(_, name)| *name == meant))
                    .map(|(other, meant)| format!("; did you mean \"{meant}\" in {}?", other.title()))
                    .unwrap_or_else(|| {
                        let known: Vec<_> = section.keys.iter().map(|key| key.name).collect();
                        format!("; the keys here are {}", known.join(", "))
                    })
            }
        };
        self.problem(span, format!("unknown key \"{name}\" {place}{hint}"));
    }

    fn value(&mut self, section: &str, key: &'static Key, value: &Spanned<DeValue<'_>>) {
        let span = value.span();
        self.keys.insert(keys::path(section, key.name), position(self.text, span.start));
        let wrong = match (key.takes, value.get_ref()) {
            (Takes::Switch, DeValue::Boolean(_)) => None,
            (Takes::Number { least, most }, DeValue::Integer(integer)) => {
                let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
                let fits = number.is_some_and(|n| (i128::from(least)..=i128::from(most)).contains(&n));
                (!fits).then(|| format!("{} must be {}", key.name, key.takes.describe()))
            }
            (Takes::Word(words), DeValue::String(text)) if !words.contains(&text.as_ref()) => {
                let hint =
                    similar(text, words.iter().copied()).map(|word| format!("; did you mean \"{word}\"?"));
                Some(format!("{} must be {}{}", key.name, key.takes.describe(), hint.unwrap_or_default()))
            }
            (Takes::Word(_), DeValue::String(_)) => None,
            (Takes::Text { check, .. }, DeValue::String(text)) => check(text).err(),
            (Takes::OneOrList { check, .. }, DeValue::String(text)) => check(text).err(),
            (Takes::List { check, .. } | Takes::OneOrList { check, .. }, DeValue::Array(items)) => {
                items.iter().for_each(|item| self.item(key, check, item));
                None
            }
            (Takes::List { .. }, DeValue::String(text)) => {
                Some(format!("{} is a list; write it in brackets: [{text:?}]", key.name))
            }
            _ => Some(format!("{} must be {}", key.name, key.takes.describe())),
        };
        if let Some(message) = wrong {
            self.problem(span, message);
        }
    }

    fn item(&mut self, key: &Key, check: fn(&str) -> Result<(), String>, item: &Spanned<DeValue<'_>>) {
        let wrong = match item.get_ref() {
            DeValue::String(text) => check(text).err(),
            _ => Some(format!("{} must be {}", key.name, key.takes.describe())),
        };
        if let Some(message) = wrong {
            self.problem(item.span(), message);
        }
    }
}

fn sections() -> String {
    let names: Vec<_> = SECTIONS.iter().skip(1).map(|section| format!("[{}]", section.name)).collect();
    format!("; the sections are {}", names.join(", "))
}

/// How alike two names must be to be offered for each other, from 0 to 1.
const SIMILAR: f64 = 0.8;

/// The name that somebody who wrote `word` may have meant.
pub(crate) fn similar<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let word = word.to_lowercase().replace('-', "_");
    names
        .map(|name| (strsim::jaro_winkler(&word, name), name))
        .filter(|(likeness, _)| *likeness >= SIMILAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
