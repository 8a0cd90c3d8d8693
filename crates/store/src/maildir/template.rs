//! The path of a user's Maildir: a text with `{user}`, `{local}` and `{domain}` in it.
//!
//! A [`UserName`] is safe as a part of a path, so that what is put in cannot lead out of the place that it is put into.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use restante_proto::UserName;

/// A path with places for the parts of a user name.
///
/// ```
/// use restante_proto::UserName;
/// use restante_store::maildir::Template;
/// let template: Template = "/var/vmail/{domain}/{local}".parse()?;
/// let path = template.path(&UserName::new("john.doe@anydomain.com").unwrap());
/// assert_eq!(path.unwrap().to_str(), Some("/var/vmail/anydomain.com/john.doe"));
/// assert!("/var/vmail/{domian}/{local}".parse::<Template>().is_err());
/// # Ok::<(), restante_store::maildir::TemplateError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    User,
    Local,
    Domain,
}

/// Why a text is no path template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is no such placeholder.
    #[error("a Maildir path knows {{user}}, {{local}} and {{domain}}, but not {{{name}}}")]
    Unknown {
        /// What stands between the braces.
        name: Box<str>,
    },
    /// A brace without its partner.
    #[error("a Maildir path has a brace without its partner")]
    Brace,
    /// Every user would get the same Maildir.
    #[error("a Maildir path needs {{user}} or {{local}}: without one, all users would share one maildrop")]
    Shared,
    /// A NUL octet.
    #[error("a Maildir path holds a NUL octet")]
    Nul,
}

impl std::str::FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.contains('\0') {
            return Err(TemplateError::Nul);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            let (before, from_brace) = rest.split_at(brace);
            let (name, after) = from_brace
                .strip_prefix('{')
                .and_then(|behind| behind.split_once('}'))
                .filter(|(name, _)| !name.contains('{'))
                .ok_or(TemplateError::Brace)?;
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            parts.push(match name {
                "user" => Part::User,
                "local" => Part::Local,
                "domain" => Part::Domain,
                _ => return Err(TemplateError::Unknown { name: name.into() }),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        if !parts.iter().any(|part| matches!(part, Part::User | Part::Local)) {
            return Err(TemplateError::Shared);
        }
        Ok(Self { text: text.into(), parts: parts.into_boxed_slice() })
    }
}

impl Template {
    /// The path of this user's Maildir; `None` if it needs a domain and the name has none.
    pub fn path(&self, user: &UserName) -> Option<PathBuf> {
        let mut path = String::new();
        for part in &self.parts {
            path.push_str(match part {
                Part::Text(text) => text,
                Part::User => user.as_str(),
                Part::Local => user.local(),
                Part::Domain => user.domain()?,
            });
        }
        Some(PathBuf::from(path))
    }

    /// The folder that is the same for all users: where it is missing, a disk is not mounted, and no maildrop is empty
    /// for that reason.
    pub fn root(&self) -> &Path {
        let Some(Part::Text(text)) = self.parts.first() else { return Path::new(".") };
        match text.rfind('/') {
            None => Path::new("."),
            Some(0) => Path::new("/"),
            Some(slash) => Path::new(&text[..slash]),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(template: &str, user: &str) -> Option<String> {
        let path = template.parse::<Template>().unwrap().path(&UserName::new(user).unwrap())?;
        Some(path.to_str().unwrap().to_owned())
    }

    #[test]
    fn each_part_of_the_name_finds_its_place() {
        assert_eq!(path("/m/{domain}/{local}", "a@b@c").as_deref(), Some("/m/c/a@b"));
        assert_eq!(path("/home/{user}/Maildir", "Root").as_deref(), Some("/home/root/Maildir"));
        assert_eq!(path("/m/{local}", "root").as_deref(), Some("/m/root"));
        assert_eq!(path("/m/{domain}/{local}", "root"), None, "no domain, no place");
    }

    #[test]
    fn a_mistake_in_a_template_is_told() {
        let error = |text: &str| text.parse::<Template>().unwrap_err();
        assert_eq!(error("/m/{usr}"), TemplateError::Unknown { name: "usr".into() });
        assert_eq!(error("/m/{user"), TemplateError::Brace);
        assert_eq!(error("/m/user}"), TemplateError::Brace);
        assert_eq!(error("/m/{{user}}"), TemplateError::Brace);
        assert_eq!(error("/m/{domain}"), TemplateError::Shared);
        assert_eq!(error(""), TemplateError::Shared);
        assert_eq!(error("/m/\0{user}"), TemplateError::Nul);
        assert_eq!(
            error("/m/{usr}").to_string(),
            "a Maildir path knows {user}, {local} and {domain}, but not {usr}"
        );
    }

    #[test]
    fn the_root_is_what_all_users_share() {
        let root = |text: &str| text.parse::<Template>().unwrap().root().to_str().unwrap().to_owned();
        assert_eq!(root("/var/vmail/{domain}/{local}"), "/var/vmail");
        assert_eq!(root("/var/vmail/u-{user}"), "/var/vmail");
        assert_eq!(root("/{user}"), "/");
        assert_eq!(root("{user}/Maildir"), ".");
        assert_eq!(root("mail/{user}"), "mail");
    }
}
