//! `//user@host:port/path?key=value`: the places of destinations on the network, taken apart. What a path or a key means
//! is the destination's business. A password never stands in it.

use restante_client::{Authority, percent_decode};

use super::SpecError;

/// The longest place, in octets.
const PLACE_MAX_OCTETS: usize = 2048;

/// A place, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) user: Option<String>,
    /// A name or an address; an IPv6 address without its brackets.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// What stands behind the host's slash; empty if there is none.
    pub(crate) path: String,
    pub(crate) query: Query,
}

impl Place {
    /// Takes what stands behind the kind's colon. It is split at the last `@`, so that `//user@domain@host` works.
    pub(crate) fn parse(text: &str) -> Result<Self, SpecError> {
        if text.len() > PLACE_MAX_OCTETS {
            return wrong("this place is longer than 2,048 octets");
        }
        let Some(rest) = text.strip_prefix("//") else {
            return wrong(
                "a host is expected behind two slashes, such as imaps://john@imap.example.org/INBOX",
            );
        };
        let (rest, query) = Query::split(rest)?;
        // The path is behind the host, and a user's name may have a slash.
        let host = rest.rfind('@').map_or(0, |at| at + 1);
        let end = rest[host..].find('/').map_or(rest.len(), |at| host + at);
        let (authority, path) = (&rest[..end], rest[end..].strip_prefix('/').unwrap_or_default());
        let Authority { user, host, port } =
            Authority::parse(authority).map_err(|error| SpecError::Place(error.to_string()))?;
        Ok(Self { user, host, port, path: decode(path)?, query })
    }
}

/// What stands behind the question mark. Each key is taken once, and none may be left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Splits it off: the part behind the first `?` that stands behind the last `@`, or behind the host.
    pub(crate) fn split(text: &str) -> Result<(&str, Self), SpecError> {
        // An address in the query has an @ too; the user's name ends at the last one in front of the query.
        let Some((rest, query)) = text.split_once('?') else { return Ok((text, Self(Vec::new()))) };
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decode(key)?, decode(value)?);
            if pairs.iter().any(|(known, _)| *known == key) {
                return wrong(&format!("«{key}» stands there twice"));
            }
            pairs.push((key, value));
        }
        Ok((rest, Self(pairs)))
    }

    /// Takes the value of this key out.
    pub(crate) fn take(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Everything must have been taken.
    pub(crate) fn finish(self, known: &str) -> Result<(), SpecError> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => wrong(&format!("«{key}» is not understood behind the question mark: {known}")),
        }
    }
}

/// A [`SpecError`] of these words.
pub(crate) fn wrong<T>(words: &str) -> Result<T, SpecError> {
    Err(SpecError::Place(words.to_owned()))
}

/// Decodes `%40` and the like; the text must not hold control characters.
pub(crate) fn decode(text: &str) -> Result<String, SpecError> {
    match percent_decode(text) {
        Some(text) if !text.chars().any(char::is_control) => Ok(text),
        _ => wrong(
            "this place holds control characters, is not UTF-8, or has a % without two digits (write %25 for the sign itself)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> (Option<String>, String, Option<u16>, String) {
        let Place { user, host, port, path, .. } =
            Place::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        (user, host, port, path)
    }

    fn expected(
        user: &str,
        host: &str,
        port: u16,
        path: &str,
    ) -> (Option<String>, String, Option<u16>, String) {
        ((!user.is_empty()).then(|| user.into()), host.into(), (port != 0).then_some(port), path.into())
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(place("//john@h/INBOX"), expected("john", "h", 0, "INBOX"));
        assert_eq!(place("//john@a.org@h:1993/Lists/rust"), expected("john@a.org", "h", 1993, "Lists/rust"));
        assert_eq!(place("//john%40a.org@[::1]:993"), expected("john@a.org", "::1", 993, ""));
        assert_eq!(place("//h?to=john@b.org"), expected("", "h", 0, ""));
        assert_eq!(place("//j@h/B%C3%BCro/a%3Fb"), expected("j", "h", 0, "Büro/a?b"));
        assert_eq!(place("//j@h/Büro"), expected("j", "h", 0, "Büro"));
    }

    #[test]
    fn a_query_is_taken_key_by_key() {
        let mut query = Place::parse("//h/p?to=a@b.org&tls=none&create").unwrap().query;
        assert_eq!(query.take("tls").as_deref(), Some("none"));
        assert_eq!(query.take("tls"), None);
        assert_eq!(query.take("create").as_deref(), Some(""));
        assert!(query.finish("to=ADDRESS").unwrap_err().to_string().contains("«to»"));
    }

    #[test]
    fn what_is_no_place_is_refused_without_repeating_a_password() {
        for text in [
            "h",
            "//",
            "//@h",
            "//j@",
            "//j@h:0",
            "//j@h:x",
            "//j@[h]",
            "//j@[::1]x",
            "//j@h/%4",
            "//j@h/%0A",
            "//j@h/%ff",
            "//j:hunter2@h",
            "//j%3ahunter2@h",
            "//h?a=1&a=2",
            "//b\u{fc}ro",
            "//a b",
        ] {
            let error = Place::parse(text).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{text}: {error}");
        }
        Place::parse(&format!("//{}", "a".repeat(3000))).unwrap_err();
    }
}
