//! `//user@host:port/path?key=value`: the places of destinations on the network, taken apart. What a path or a key means
//! is the destination's business. A password never stands in it.

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
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(read_user(user)?), rest),
            None => (None, rest),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_port(host)?;
        Ok(Self { user, host: host.to_owned(), port, path: decode(path)?, query })
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
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&octet, behind)) = rest.split_first() {
        if octet != b'%' {
            octets.push(octet);
            rest = behind;
            continue;
        }
        let digit = |at: usize| behind.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return wrong("a % is followed by two digits, such as %40; write %25 for the sign itself");
        };
        octets.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
        rest = &behind[2..];
    }
    match String::from_utf8(octets) {
        Ok(text) if !text.chars().any(char::is_control) => Ok(text),
        _ => wrong("this place holds control characters, or is not UTF-8"),
    }
}

/// The name. Nothing of it is repeated: it may hold a password.
fn read_user(text: &str) -> Result<String, SpecError> {
    let user = decode(text)?;
    if user.contains(':') {
        return wrong("a password never stands in a place: others can read it");
    }
    if user.is_empty() { wrong("the user's name in front of the @ is empty") } else { Ok(user) }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), SpecError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, behind)) = rest.split_once(']') else {
            return wrong("an IPv6 address stands in brackets, such as [2001:db8::1]:993");
        };
        // A zone (`fe80::1%eth0`) names an interface, and is nothing to check.
        let number = address.split_once('%').map_or(address, |(number, _)| number);
        let behind = if behind.is_empty() { None } else { Some(behind.strip_prefix(':').unwrap_or("")) };
        if number.parse::<std::net::Ipv6Addr>().is_err() {
            return wrong("what stands in brackets is no IPv6 address");
        }
        (address, behind)
    } else {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !host.chars().all(legal) {
            return wrong(
                "a host's name has letters, digits, dots and hyphens; write other letters in their xn-- form, and an \
                 IPv6 address in brackets",
            );
        }
        (host, port)
    };
    let Some(port) = port else { return Ok((host, None)) };
    let digits = port.bytes().all(|octet| octet.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits && port != 0 => Ok((host, Some(port))),
        _ => wrong("a port is a number from 1 to 65535"),
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
