//! The operator's filter (RFC 4515), with a user's name in it: escaped, so that a name is a value and nothing else.

use restante_proto::UserName;

/// The longest filter, in octets.
const FILTER_MAX_OCTETS: usize = 16 * 1024;

/// A filter with places for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    User,
    Local,
    Domain,
}

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It cannot be read.
    #[error("the filter is none (RFC 4515); an example: (mail={{user}})")]
    Malformed,
    /// A place that nobody knows.
    #[error("the filter knows {{user}}, {{local}} and {{domain}}, and no {{{0}}}")]
    Unknown(String),
    /// It would find the same for everybody.
    #[error("the filter asks for nobody: compare an attribute with {{user}} or {{local}}")]
    NoUser,
}

impl Filter {
    /// Reads the operator's filter.
    pub(super) fn new(text: &str) -> Result<Self, FilterError> {
        if text.len() > FILTER_MAX_OCTETS {
            return Err(FilterError::Malformed);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').ok_or(FilterError::Malformed)?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(match name {
                "user" => Part::User,
                "local" => Part::Local,
                "domain" => Part::Domain,
                other => return Err(FilterError::Unknown(other.to_owned())),
            });
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        let filter = Self(parts);
        if !filter.0.iter().any(|part| matches!(part, Part::User | Part::Local)) {
            return Err(FilterError::NoUser);
        }
        let sample = filter.with("a@b", "a", "b");
        match sample.starts_with('(') && ldap3::parse_filter(&sample).is_ok() {
            true => Ok(filter),
            false => Err(FilterError::Malformed),
        }
    }

    /// The filter for a user.
    pub(super) fn of(&self, user: &UserName) -> String {
        self.with(user.as_str(), user.local(), user.domain().unwrap_or_default())
    }

    fn with(&self, user: &str, local: &str, domain: &str) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(words) => text.push_str(words),
                Part::User => escape(user, &mut text),
                Part::Local => escape(local, &mut text),
                Part::Domain => escape(domain, &mut text),
            }
        }
        text
    }
}

/// A value as RFC 4515 §3 has it: what means something in a filter as its octet in hex.
fn escape(value: &str, text: &mut String) {
    for character in value.chars() {
        match character {
            '*' => text.push_str("\\2a"),
            '(' => text.push_str("\\28"),
            ')' => text.push_str("\\29"),
            '\\' => text.push_str("\\5c"),
            '\0' => text.push_str("\\00"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str, user: &str) -> String {
        Filter::new(text).unwrap().of(&UserName::new(user).unwrap())
    }

    #[test]
    fn names_stand_in_their_places() {
        assert_eq!(filter("(mail={user})", "Ann@Example.org"), "(mail=ann@example.org)");
        let text = "(&(uid={local})(|(o={domain})(mail={user})))";
        assert_eq!(filter(text, "ann@x.org"), "(&(uid=ann)(|(o=x.org)(mail=ann@x.org)))");
        assert_eq!(filter("(|(uid={local})(o={domain}))", "ann"), "(|(uid=ann)(o=))");
    }

    #[test]
    fn a_name_is_a_value_and_nothing_else() {
        for (name, escaped) in [
            ("*", "\\2a"),
            ("a*n", "a\\2an"),
            ("ann)(uid=*", "ann\\29\\28uid=\\2a"),
            ("j\u{f6}rg", "j\u{f6}rg"),
            ("a&b|c=d", "a&b|c=d"),
            ("{user}", "{user}"),
        ] {
            assert_eq!(filter("(uid={user})", name), format!("(uid={escaped})"));
        }
        let mut text = String::new();
        escape("a\\b\0c", &mut text);
        assert_eq!(text, "a\\5cb\\00c");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for text in ["", "mail={user}", "(mail={user}", "(mail={user", "((mail={user}))", "(mail {user})"] {
            assert!(matches!(Filter::new(text), Err(FilterError::Malformed | FilterError::NoUser)), "{text}");
        }
        assert_eq!(Filter::new("(mail={usr})"), Err(FilterError::Unknown("usr".to_owned())));
        assert_eq!(Filter::new("(o={domain})"), Err(FilterError::NoUser));
        assert_eq!(Filter::new(&format!("(a={{user}}{})", "x".repeat(20_000))), Err(FilterError::Malformed));
    }
}
