//! User names, validated once: a [`UserName`] that exists is safe as a part of a path and in a log line.

use alloc::{borrow::ToOwned, boxed::Box, string::String};
use core::fmt;

/// The longest user name, in octets: what a 512-octet command line could hold, rounded down to a file name's limit.
pub const USER_NAME_MAX_OCTETS: usize = 255;

/// The name of a user, ASCII letters folded to lower case: `john.doe@anydomain.com`, or a name without a domain.
///
/// Neither half (before and after the last `@`) is empty, begins with a dot, or holds a `/`, a control character,
/// white space or a character of formatting; so neither can leave the folder that a path template puts it in.
///
/// ```
/// use restante_proto::UserName;
/// let user = UserName::new("John.Doe@AnyDomain.com")?;
/// assert_eq!(user.as_str(), "john.doe@anydomain.com");
/// assert_eq!((user.local(), user.domain()), ("john.doe", Some("anydomain.com")));
/// assert!(UserName::new("../etc/passwd").is_err());
/// # Ok::<(), restante_proto::user::InvalidUserName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Box<str>);

/// Why a text is no user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidUserName {
    /// It, or its part before or after the last `@`, is empty.
    Empty,
    /// It has more than [`USER_NAME_MAX_OCTETS`] octets.
    TooLong,
    /// A part begins with a dot.
    LeadingDot,
    /// It holds this character, which no user name may hold.
    Character(char),
}

impl fmt::Display for InvalidUserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a user name, or its part before or after the last @, is empty"),
            Self::TooLong => write!(f, "a user name has more than {USER_NAME_MAX_OCTETS} octets"),
            Self::LeadingDot => f.write_str("a part of a user name begins with a dot"),
            Self::Character(c) => write!(f, "a user name holds {c:?}, which is not allowed"),
        }
    }
}

impl core::error::Error for InvalidUserName {}

impl UserName {
    /// Validates `name` and folds its ASCII letters to lower case.
    pub fn new(name: &str) -> Result<Self, InvalidUserName> {
        if name.len() > USER_NAME_MAX_OCTETS {
            return Err(InvalidUserName::TooLong);
        }
        if let Some(c) = name.chars().find(|&c| !is_allowed(c)) {
            return Err(InvalidUserName::Character(c));
        }
        let (local, domain) = match name.rsplit_once('@') {
            Some((local, domain)) => (local, Some(domain)),
            None => (name, None),
        };
        for part in [Some(local), domain].into_iter().flatten() {
            if part.is_empty() {
                return Err(InvalidUserName::Empty);
            }
            if part.starts_with('.') {
                return Err(InvalidUserName::LeadingDot);
            }
        }
        let mut folded: String = name.to_owned();
        folded.make_ascii_lowercase();
        Ok(Self(folded.into_boxed_str()))
    }

    /// The whole name.
    pub const fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the last `@`, or the whole name where there is none.
    pub fn local(&self) -> &str {
        self.0.rsplit_once('@').map_or(&self.0, |(local, _)| local)
    }

    /// What stands after the last `@`.
    pub fn domain(&self) -> Option<&str> {
        self.0.rsplit_once('@').map(|(_, domain)| domain)
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `/` would leave the folder, `:` is the separator of users files; white space, control and formatting characters
/// would let one user pass for another in a log.
fn is_allowed(c: char) -> bool {
    !(c.is_control() || c.is_whitespace() || is_formatting(c) || matches!(c, '/' | '\\' | ':'))
}

/// The general category Cf of Unicode 16, and the two separators of lines and paragraphs.
pub(crate) const fn is_formatting(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_folder_are_refused() {
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "@",
            "a@",
            "@b",
            "a@.b",
            ".a@b",
            "a\0b",
            "a b",
            "a\\b",
            "a:b",
            "a\nb",
            "a\u{202e}b",
            "a\u{ad}b",
        ] {
            assert!(UserName::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(UserName::new(&"a".repeat(256)), Err(InvalidUserName::TooLong));
    }

    #[test]
    fn the_last_at_divides() {
        let user = UserName::new("a@B@c").unwrap();
        assert_eq!((user.local(), user.domain(), user.as_str()), ("a@b", Some("c"), "a@b@c"));
        assert_eq!(UserName::new("root").unwrap().domain(), None);
    }
}
