//! `docs/dialogue.md` and the module agree: every example on the page is a dialogue, and its first one is the seed's.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_proto::dialogue::{Dialogue, Kind, Mark, Pattern, Slot};

const PAGE: &str = include_str!("../../../docs/dialogue.md");
const SEED: &str = include_str!("dialogues/seed.pop3");

/// The examples of the page, each with the line that it begins on.
fn examples() -> Vec<(usize, String)> {
    let (mut examples, mut open) = (Vec::new(), None::<(usize, String)>);
    for (line, number) in PAGE.lines().zip(1..) {
        match (line, &mut open) {
            ("```pop3", None) => open = Some((number, String::new())),
            ("```", Some(_)) => examples.extend(open.take()),
            (line, Some((_, text))) => text.extend([line, "\n"]),
            _ => {}
        }
    }
    assert!(open.is_none(), "an example is not closed");
    examples
}

#[test]
fn every_example_is_a_dialogue_and_is_written_back_the_same() {
    assert!(examples().len() >= 6);
    for (line, example) in examples() {
        let dialogue = Dialogue::parse(example.as_bytes())
            .unwrap_or_else(|error| panic!("the example on line {line} of docs/dialogue.md: {error}"));
        let comments_gone: String =
            example.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect();
        assert_eq!(dialogue.to_string(), comments_gone, "the example on line {line}");
    }
}

#[test]
fn the_first_example_is_the_seed() {
    let mut seed = Dialogue::parse(SEED.as_bytes()).unwrap();
    assert!(matches!(seed.events.pop().unwrap().kind, Kind::Tcp(_)), "the file ends with the server's FIN");
    assert_eq!(Dialogue::parse(examples()[0].1.as_bytes()), Ok(seed));
}

#[test]
fn the_page_names_every_mark_and_key() {
    let marks = Slot::NAMES.iter().map(|(name, _)| *name).chain(Pattern::NAMES.iter().map(|(name, _)| *name));
    for name in marks {
        assert!(PAGE.contains(&format!("`{{{name}}}`")), "{name}");
    }
    let keys = [
        "title",
        "started",
        "client",
        "server",
        "joined",
        "hostname",
        "user",
        "password",
        "mail",
        "apop",
        "tls",
        "cleartext",
    ];
    for key in keys {
        assert!(PAGE.contains(&format!("`{key}`")), "{key}");
    }
}
