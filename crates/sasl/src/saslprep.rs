//! SASLprep (RFC 4013): different spellings of the same name or password become one, as SCRAM hashes them.
//!
//! The tables are the `stringprep` crate's, of Unicode 3.2. What that did not know yet, emoji among it, cannot be
//! prepared (RFC 5802 §2.2 has it so for passwords).

use restante_proto::Secret;

/// The prepared text; `None` where it cannot be prepared, or nothing is left of it.
pub(crate) fn prepare(text: &str) -> Option<Secret<String>> {
    let prepared = Secret::new(stringprep::saslprep(text).ok()?.into_owned());
    (!prepared.expose().is_empty()).then_some(prepared)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 4013 §3.
    #[test]
    fn the_examples_of_the_rfc() {
        for (text, prepared) in [
            ("I\u{ad}X", Some("IX")),
            ("user", Some("user")),
            ("USER", Some("USER")),
            ("\u{aa}", Some("a")),
            ("\u{2168}", Some("IX")),
            ("\u{7}", None),
            ("\u{627}1", None),
        ] {
            assert_eq!(prepare(text).map(|text| text.expose().clone()).as_deref(), prepared, "{text:?}");
        }
    }

    #[test]
    fn what_is_nothing_or_newer_than_the_tables_cannot_be_prepared() {
        for text in ["", "\u{ad}", "\u{1f980}", "a\u{e000}"] {
            assert!(prepare(text).is_none(), "{text:?}");
        }
        assert_eq!(prepare("a\u{a0}b").unwrap().expose(), "a b");
    }
}
