//! A destination as people write it: parsed, its kind found, opened.

use std::path::{Component, Path, PathBuf};

use super::{Destination, KINDS, Kind, Spec, SpecError};

/// How alike a kind must be to what was written to be suggested (Jaro–Winkler, 0 to 1).
const ALIKE: f64 = 0.75;

/// The kinds whose place is a path.
const FILES: [&str; 3] = ["maildir", "eml", "mbox"];

impl Spec {
    /// Takes apart what was written: a kind, a colon, a place. Whether the kind exists, [`open`] finds out.
    pub fn parse(written: &str) -> Result<Self, SpecError> {
        let (kind, place) = written.split_once(':').ok_or(SpecError::NoColon)?;
        if kind.is_empty() || kind.contains('/') {
            return Err(SpecError::NoColon);
        }
        Ok(Self { kind: kind.into(), place: place.into(), password: None, ca_file: None })
    }

    /// The kind and the place in a form that is the same however they were written: the whole path of a file or a folder.
    ///
    /// ```
    /// use restante_fetch::destination::Spec;
    /// let canonical = |written: &str| Spec::parse(written).map(|spec| spec.canonical());
    /// assert_eq!(canonical("maildir:/var/mail/john/")?, canonical("maildir:/var/mail//./john")?);
    /// # Ok::<(), restante_fetch::destination::SpecError>(())
    /// ```
    pub fn canonical(&self) -> String {
        let is_file = FILES.contains(&&*self.kind);
        let path =
            is_file.then(|| self.path().ok().and_then(|path| std::path::absolute(path).ok())).flatten();
        match path {
            // Put together anew: without a slash at the end, or two in the middle.
            Some(path) => format!("{}:{}", self.kind, path.components().collect::<PathBuf>().display()),
            None => format!("{}:{}", self.kind, self.place),
        }
    }

    /// The place as the path of a file or a folder; a leading `~/` is the home directory.
    pub(super) fn path(&self) -> Result<PathBuf, SpecError> {
        let (kind, place) = (&self.kind, &*self.place);
        if place.is_empty() || place.contains('\0') {
            return Err(SpecError::Place(format!("«{kind}:» needs the path of a {}", noun(kind))));
        }
        let path = match place.strip_prefix('~') {
            Some(below) if below.is_empty() || below.starts_with('/') => {
                let home = std::env::home_dir().filter(|home| home.is_absolute()).ok_or_else(|| {
                    SpecError::Place(format!("{place}: there is no home directory; write the whole path"))
                })?;
                home.join(below.trim_start_matches('/'))
            }
            _ => PathBuf::from(place),
        };
        // The last component is what may be created: it needs a name.
        match path.components().next_back() {
            Some(Component::Normal(_)) => Ok(path),
            _ => std::path::absolute(&path)
                .and_then(|path| path.canonicalize())
                .map_err(|error| SpecError::Place(format!("{place}: {error}"))),
        }
    }
}

fn noun(kind: &str) -> &'static str {
    if kind == "mbox" { "file" } else { "folder" }
}

/// Finds the kind and opens the destination. Nothing is created.
pub fn open(spec: &Spec) -> Result<Box<dyn Destination>, SpecError> {
    (find(&spec.kind)?.open)(spec)
}

/// The kind of this name.
pub fn find(name: &str) -> Result<&'static Kind, SpecError> {
    KINDS
        .iter()
        .find(|kind| kind.name == name)
        .ok_or_else(|| SpecError::UnknownKind { kind: name.into(), meant: closest(name) })
}

/// The kind that was probably meant.
fn closest(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let kinds = KINDS.iter().map(|kind| (strsim::jaro_winkler(&name, kind.name), kind.name));
    let best = kinds.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}

/// The folder that a path stands in.
pub(super) fn above(path: &Path) -> &Path {
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_a_kind_a_colon_and_a_place() {
        let parts = |written| Spec::parse(written).map(|spec| format!("{}|{}", spec.kind, spec.place));
        assert_eq!(parts("maildir:~/Mail").unwrap(), "maildir|~/Mail");
        assert_eq!(
            parts("imaps://john@imap.example.org/INBOX").unwrap(),
            "imaps|//john@imap.example.org/INBOX"
        );
        assert_eq!(parts("command:a: b").unwrap(), "command|a: b");
        for wrong in ["", "Mail", ":Mail", "./a:b", "/home/a:b"] {
            assert_eq!(parts(wrong), Err(SpecError::NoColon), "{wrong}");
        }
    }

    #[test]
    fn a_tilde_is_the_home_directory_at_the_start_only() {
        let path = |written| Spec::parse(written).unwrap().path();
        let home = std::env::home_dir().unwrap();
        assert_eq!(path("maildir:~/Mail").unwrap(), home.join("Mail"));
        assert_eq!(path("maildir:~john/Mail").unwrap(), Path::new("~john/Mail"));
        assert_eq!(path("eml:a/~/b").unwrap(), Path::new("a/~/b"));
        assert_eq!(path("eml:.").unwrap(), std::env::current_dir().unwrap().canonicalize().unwrap());
        assert!(path("mbox:").unwrap_err().to_string().contains("path of a file"));
        assert!(path("mbox:/nowhere/..").is_err());
    }

    #[test]
    fn a_destination_has_one_name() {
        let canonical = |written| Spec::parse(written).unwrap().canonical();
        let home = std::env::home_dir().unwrap();
        let mail = format!("maildir:{}", home.join("Mail").display());
        for written in ["maildir:~/Mail", "maildir:~/Mail/", "maildir:~/./Mail//"] {
            assert_eq!(canonical(written), mail, "{written}");
        }
        let here = std::env::current_dir().unwrap().join("box");
        assert_eq!(canonical("mbox:box"), format!("mbox:{}", here.display()));
        assert_eq!(canonical("mbox:./box"), canonical("mbox:box"));
        assert_eq!(canonical("imaps://john@h/INBOX"), "imaps://john@h/INBOX");
        assert_eq!(canonical("command:a ~ b/"), "command:a ~ b/");
    }

    #[test]
    fn an_unknown_kind_is_told_with_what_was_meant() {
        let error = |written| open(&Spec::parse(written).unwrap()).unwrap_err().to_string();
        assert_eq!(error("maildri:a"), "there is no destination «maildri»; did you mean «maildir»?");
        assert_eq!(error("Mbox:a"), "there is no destination «Mbox»; did you mean «mbox»?");
        assert!(!error("punched-cards:a").contains("did you mean"));
    }

    #[test]
    fn each_kind_has_a_name_of_its_own_a_line_of_help_and_an_example() {
        for kind in KINDS {
            assert_eq!(find(kind.name).unwrap().name, kind.name);
            assert!(!kind.help.is_empty() && !kind.help.contains('\n'));
            assert_eq!(&*Spec::parse(kind.example).unwrap().kind, kind.name);
        }
    }
}
