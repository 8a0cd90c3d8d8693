//! Passwords in `~/.netrc`, as curl, ftp and mpop read them: `machine HOST login USER password PASSWORD`.

use std::{fs, io, path::Path};

use restante_proto::Secret;
use zeroize::Zeroizing;

/// The longest file that is read, in octets.
const FILE_MAX_OCTETS: u64 = 1 << 20;

/// The password of this user at this host; `None` where the file, or a fitting entry, is missing.
pub(crate) fn password(file: &Path, host: &str, user: &str) -> io::Result<Option<Secret<Vec<u8>>>> {
    match fs::metadata(file) {
        Ok(meta) if meta.len() > FILE_MAX_OCTETS => return Err(io::Error::other("it is larger than 1 MiB")),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let text = Zeroizing::new(fs::read_to_string(file)?);
    let found = find(&text, host, user)?;
    Ok(found.map(|password| Secret::new(password.as_bytes().to_vec())))
}

/// A word of the file, with its quotes and escapes taken away; wiped, since it may be a password.
type Word = Zeroizing<String>;

/// A macro goes to an empty line; an entry from its `machine` to the next one.
fn find(text: &str, host: &str, user: &str) -> io::Result<Option<Word>> {
    let (mut fits_host, mut login, mut password) = (false, None, None);
    let fits = |fits_host: bool, login: &Option<Word>| {
        fits_host && login.as_ref().is_none_or(|login| **login == user)
    };
    let mut words = Words { rest: text };
    while let Some(word) = words.keyword()? {
        match word.as_str() {
            "machine" | "default" => {
                if fits(fits_host, &login) && password.is_some() {
                    return Ok(password);
                }
                (login, password) = (None, None);
                fits_host =
                    *word == "default" || words.value()?.is_some_and(|name| name.eq_ignore_ascii_case(host));
            }
            "login" => login = words.value()?,
            "password" => password = words.value()?,
            "account" => drop(words.value()?),
            "macdef" => words.skip_macro(),
            _ => {}
        }
    }
    Ok(password.filter(|_| fits(fits_host, &login)))
}

/// The words of a file, divided by white space. One that begins with `"` goes to the next `"`, and there `\"`, `\\`, `\n`,
/// `\r` and `\t` are escapes; elsewhere a backslash is itself, as for curl.
struct Words<'t> {
    rest: &'t str,
}

impl Words<'_> {
    /// The next word where a keyword stands: there `#` begins a comment, which goes to the end of the line.
    fn keyword(&mut self) -> io::Result<Option<Word>> {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') {
                return self.value();
            }
            self.skip_line();
        }
    }

    /// The next word where a value stands, which may begin with `#`.
    fn value(&mut self) -> io::Result<Option<Word>> {
        self.rest = self.rest.trim_start();
        if let Some(quoted) = self.rest.strip_prefix('"') {
            self.rest = quoted;
            return self.quoted().map(Some);
        }
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok((!word.is_empty()).then(|| Word::new(word.to_owned())))
    }

    fn quoted(&mut self) -> io::Result<Word> {
        let line = self.rest.lines().next().unwrap_or_default();
        // All room at once: a string that grows leaves copies of a password behind.
        let (mut word, mut chars) = (Word::new(String::with_capacity(line.len())), line.char_indices());
        while let Some((at, c)) = chars.next() {
            let c = match c {
                '"' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(word);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 'r')) => '\r',
                    Some((_, 't')) => '\t',
                    Some((_, other)) => other,
                    None => break,
                },
                c => c,
            };
            word.push(c);
        }
        Err(io::Error::other("a word begins with a quote and has none at its end"))
    }

    fn skip_line(&mut self) {
        self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
    }

    fn skip_macro(&mut self) {
        self.skip_line();
        while !self.rest.lines().next().unwrap_or_default().trim().is_empty() {
            self.skip_line();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, host: &str, user: &str) -> Option<String> {
        find(text, host, user).unwrap().map(|password| password.to_string())
    }

    #[test]
    fn host_and_user_have_to_fit() {
        let text = "# mine\nmachine a.org login john password one\nmachine A.org\n  login mary\n  password two\n\
                    machine b.org password three account x\nmacdef init\nmachine c.org login john password bad\n\ndefault login any password four\n";
        assert_eq!(found(text, "a.org", "john").as_deref(), Some("one"));
        assert_eq!(found(text, "a.org", "mary").as_deref(), Some("two"));
        assert_eq!(found(text, "b.org", "john").as_deref(), Some("three"));
        assert_eq!(found(text, "c.org", "john"), None);
        assert_eq!(found(text, "c.org", "any").as_deref(), Some("four"));
        assert_eq!(found("machine a.org login", "a.org", "john"), None);
        assert_eq!(found("machine a.org macdef x\npassword y", "a.org", "john"), None);
    }

    #[test]
    fn words_may_be_quoted_and_passwords_may_begin_with_a_hash() {
        let of =
            |password: &str| found(&format!("machine a.org login john password {password}"), "a.org", "john");
        assert_eq!(of(r#""p w\"x\\" # mine"#).as_deref(), Some(r#"p w"x\"#));
        assert_eq!(of(r#""machine" account x"#).as_deref(), Some("machine"));
        assert_eq!(of(r"p\w").as_deref(), Some(r"p\w"));
        assert_eq!(of("#secret").as_deref(), Some("#secret"));
        assert_eq!(of("\n#secret # one\n# password two").as_deref(), Some("#secret"));
        let user = "machine a.org login \"j doe\" # login x\n password x";
        assert_eq!(found(user, "a.org", "j doe").as_deref(), Some("x"));
        assert!(find("machine a.org password \"x\nlogin \"y", "a.org", "john").is_err());
    }
}
