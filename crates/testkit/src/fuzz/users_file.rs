//! The users file: any octets are read, within bounds, and `restante user` changes one line and no other.
//!
//! The first line is the name of the user that is added, changed and removed; the rest is a users file.

use restante_auth::{
    UsersFile,
    users::{
        LINE_ERRORS_MAX, LineError, LineProblem,
        edit::{EditError, NewLogin, with_password, with_user, without_user},
    },
};
use restante_proto::{Secret, UserName};
use restante_sasl::Needs;

use super::{password_scheme::shows_nothing, split_how};

/// Octets of a line that no error may repeat; a shorter run may well be a word of the error's own.
const QUOTED_MIN_OCTETS: usize = 16;

pub(super) fn run(data: &[u8]) {
    let (how, text) = split_how(data);
    let (users, errors) = UsersFile::parse(text);
    let lines = text.split(|&octet| octet == b'\n').count();
    assert!(errors.len() <= LINE_ERRORS_MAX && users.len() <= lines);
    assert_eq!(users.is_empty(), users.iter().next().is_none());
    assert_eq!(format!("{users:?}"), format!("UsersFile({} users)", users.len()));
    let mut before = 0;
    for (name, password, line) in users.iter() {
        assert!(before < line && line <= lines, "in the order of the file");
        before = line;
        assert_eq!(UserName::new(name.as_str()).as_ref(), Ok(name));
        assert_eq!(users.get(name).map(|found| found.cost()), Some(password.cost()));
        let entry = users.entry(name).expect("a user");
        assert_eq!(Some(&entry.account), users.account(name).as_ref());
        assert!(entry.keys.len() <= 2 && entry.account.name == *name);
        assert!(entry.keys.iter().all(|keys| entry.can(Needs::Keys(keys.hash()))));
    }
    errors.iter().for_each(|error| check_error(text, error));

    let user = UserName::new(&String::from_utf8_lossy(how));
    edits(text, &user.unwrap_or_else(|_| UserName::new("ann").unwrap()));
}

fn check_error(text: &[u8], error: &LineError) {
    let said = error.to_string();
    assert!(said.is_ascii() && said.len() < 400 && !said.contains(|c: char| c.is_ascii_control()), "{said}");
    let line = text.split(|&octet| octet == b'\n').nth(error.line - 1).expect("a line of the file");
    if let LineProblem::Password(error) = &error.problem {
        let field = line.split(|&octet| octet == b':').nth(1).expect("a password");
        shows_nothing(field.strip_suffix(b"\r").unwrap_or(field), error);
        return;
    }
    // A password in the wrong place must not reach a log.
    let quoted = line.windows(QUOTED_MIN_OCTETS).any(|run| {
        said.as_bytes().windows(QUOTED_MIN_OCTETS).any(|words| words == run)
            && !String::from_utf8_lossy(line).contains(" ")
    });
    assert!(!quoted, "{said}");
}

/// What is in a file, to be compared: names in order with what verifying costs and what is known of the password.
fn content(text: &[u8]) -> Vec<(String, &'static str, String, Option<Vec<u8>>)> {
    let (users, _) = UsersFile::parse(text);
    let known = |password: &restante_auth::StoredPassword| {
        (password.scheme(), password.cost(), password.plaintext().map(|plain| plain.expose().clone()))
    };
    users
        .iter()
        .map(|(name, password, _)| {
            let (scheme, cost, plain) = known(password);
            (name.as_str().to_owned(), scheme, cost, plain)
        })
        .collect()
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|&octet| octet == b'\n').collect()
}

fn edits(text: &[u8], user: &UserName) {
    let password = NewLogin::from(Secret::new("{PLAIN}abcxyz".to_owned()));
    let name = user.as_str();
    let (users, _) = UsersFile::parse(text);
    let was_there = users.get(user).is_some();
    let others = || content(text).into_iter().filter(|(other, ..)| other != name);

    match with_user(text, user, &password) {
        Ok(new) => {
            assert!(!was_there && new.starts_with(text), "a line more at the end");
            assert_is_set(&new, user);
            assert!(content(&new).into_iter().filter(|(other, ..)| other != name).eq(others()));
        }
        Err(EditError::Comment) => assert!(name.starts_with('#')),
        Err(EditError::Exists(_)) => {}
        Err(EditError::TooLong) => assert!(name.len() > 255),
        Err(error) => panic!("{error}"),
    }
    match with_password(text, user, &password) {
        Ok(new) => {
            assert_is_set(&new, user);
            assert!(content(&new).into_iter().filter(|(other, ..)| other != name).eq(others()));
            let (old, new) = (lines(text), lines(&new));
            assert_eq!(old.len(), new.len());
            let mut changed = old.iter().zip(&new).filter(|(old, new)| old != new);
            if let Some((old, new)) = changed.next() {
                let fields = |line: &[u8]| {
                    let content = line.strip_suffix(b"\n").unwrap_or(line);
                    let content = content.strip_suffix(b"\r").unwrap_or(content);
                    let rest = content.split(|&octet| octet == b':').skip(2).map(<[u8]>::to_vec);
                    rest.collect::<Vec<_>>()
                };
                let is_keys = |field: &Vec<u8>| field.to_ascii_uppercase().starts_with(b"{SCRAM-");
                let mut kept = fields(old);
                kept.retain(|field| !is_keys(field));
                assert_eq!(kept, fields(new), "further fields stay, but keys of the old password");
            }
            assert!(changed.next().is_none(), "one line");
        }
        Err(EditError::NotFound(_)) => assert!(!was_there),
        Err(EditError::TooLong) => {}
        Err(error) => panic!("{error}"),
    }
    match without_user(text, user) {
        Ok(new) => {
            assert!(UsersFile::parse(&new).0.get(user).is_none(), "no second line brings the user back");
            assert!(content(&new).into_iter().eq(others()));
            let mut kept = lines(text).into_iter();
            assert!(lines(&new).iter().all(|line| kept.any(|old| old == *line)), "other lines stay");
            // Who was removed can be added again.
            assert!(with_user(&new, user, &password).is_ok());
        }
        Err(EditError::NotFound(_)) => assert!(!was_there),
        Err(error) => panic!("{error}"),
    }
}

fn assert_is_set(text: &[u8], user: &UserName) {
    let (users, _) = UsersFile::parse(text);
    let stored = users.get(user).expect("the user is there");
    assert_eq!(stored.plaintext().expect("the new password").expose(), b"abcxyz");
}
