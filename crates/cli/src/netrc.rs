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
    Ok(find(&text, host, user).map(|password| Secret::new(password.as_bytes().to_vec())))
}

/// Words are divided by white space; a comment goes from `#` at the start of a line to its end, and a macro to an empty line.
fn find<'a>(text: &'a str, host: &str, user: &str) -> Option<&'a str> {
    let (mut fits_host, mut login, mut password) = (false, None, None);
    let mut in_macro = false;
    let fits = |fits_host: bool, login: Option<&str>| fits_host && login.is_none_or(|login| login == user);
    for line in text.lines() {
        in_macro &= !line.trim().is_empty();
        if in_macro || line.trim_start().starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "machine" | "default" => {
                    if fits(fits_host, login) && password.is_some() {
                        return password;
                    }
                    (login, password) = (None, None);
                    fits_host =
                        word == "default" || words.next().is_some_and(|name| name.eq_ignore_ascii_case(host));
                }
                "login" => login = words.next(),
                "password" => password = words.next(),
                "account" => drop(words.next()),
                "macdef" => {
                    in_macro = true;
                    break;
                }
                _ => {}
            }
        }
    }
    password.filter(|_| fits(fits_host, login))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_user_have_to_fit() {
        let text = "# mine\nmachine a.org login john password one\nmachine A.org\n  login mary\n  password two\n\
                    machine b.org password three account x\nmacdef init\nmachine c.org login john password bad\n\ndefault login any password four\n";
        assert_eq!(find(text, "a.org", "john"), Some("one"));
        assert_eq!(find(text, "a.org", "mary"), Some("two"));
        assert_eq!(find(text, "b.org", "john"), Some("three"));
        assert_eq!(find(text, "c.org", "john"), None);
        assert_eq!(find(text, "c.org", "any"), Some("four"));
        assert_eq!(find("machine a.org login", "a.org", "john"), None);
    }
}
