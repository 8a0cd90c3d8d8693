//! What the columns of a row mean. Only those that have a meaning are read.

use std::sync::Arc;

use restante_proto::{Secret, UserName};
use restante_sasl::scram::{self, Keys};

use crate::{
    directory::{
        Account, Entry, Lookup,
        values::{self, ValueError},
    },
    scheme::{SchemeError, StoredPassword},
};

/// The columns that have a meaning.
pub(super) const COLUMNS: [&str; 6] =
    ["password", "scram_sha_256", "scram_sha_1", "maildir", "login_delay", "name"];

/// A value of a row.
pub(super) enum Field {
    Null,
    Number(i64),
    Octets(Secret<Vec<u8>>),
}

/// The columns of a row that have a meaning.
pub(super) struct Row(pub(super) Vec<(&'static str, Field)>);

/// What is wrong with a row. It holds no text of the row.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RowError {
    #[error("the query has no column password")]
    NoPassword,
    #[error("the column {column} holds {problem}")]
    Value { column: &'static str, problem: ValueError },
}

impl Row {
    fn get(&self, column: &str) -> Option<&Field> {
        let (_, field) = self.0.iter().find(|(name, _)| *name == column)?;
        Some(field).filter(|field| !matches!(field, Field::Null))
    }

    fn has(&self, column: &str) -> bool {
        self.0.iter().any(|(name, _)| *name == column)
    }

    /// A text that is not empty.
    fn octets(&self, column: &str) -> Option<Secret<Vec<u8>>> {
        match self.get(column)? {
            Field::Octets(octets) if octets.expose().is_empty() => None,
            Field::Octets(octets) => Some(octets.clone()),
            Field::Number(number) => Some(Secret::new(number.to_string().into_bytes())),
            Field::Null => None,
        }
    }

    /// What is known of `user` by this row. Whose password is damaged is as one who is locked out: known, and not let in.
    pub(super) fn entry(&self, user: &UserName) -> Result<Lookup, RowError> {
        if !self.has("password") {
            return Err(RowError::NoPassword);
        }
        if self.get("password").is_none() {
            return Ok(Lookup::Unknown);
        }
        let account = Account {
            name: self.value("name", values::name)?.unwrap_or_else(|| user.clone()),
            maildrop: self.value("maildir", values::maildir)?,
            login_delay: self.value("login_delay", values::login_delay)?,
        };
        let field = self.octets("password").unwrap_or_else(|| Secret::new(Vec::new()));
        match StoredPassword::parse(field.expose()) {
            Ok(password) => {
                let keys = self.keys(user);
                Ok(Lookup::Known(Box::new(Entry { account, password: Some(password), keys })))
            }
            Err(problem) => {
                match problem {
                    SchemeError::LockedOut { .. } => tracing::info!(%user, "{problem}"),
                    _ => tracing::warn!(%user, column = "password", "{problem}"),
                }
                Ok(Lookup::LockedOut(Box::new(account)))
            }
        }
    }

    /// What a column says, if anything.
    fn value<T>(
        &self,
        column: &'static str,
        read: fn(&[u8]) -> Result<T, ValueError>,
    ) -> Result<Option<T>, RowError> {
        let octets = self.octets(column);
        let value = octets.map(|octets| read(octets.expose())).transpose();
        value.map_err(|problem| RowError::Value { column, problem })
    }

    /// His keys. Damaged ones are left out: he can log in by his password.
    fn keys(&self, user: &UserName) -> Vec<Arc<Keys>> {
        let columns = [("scram_sha_256", scram::Hash::Sha256), ("scram_sha_1", scram::Hash::Sha1)];
        let read = |(column, hash): (&'static str, scram::Hash)| {
            let octets = self.octets(column)?;
            let text = without_scheme(octets.expose(), hash);
            match Keys::parse(hash, text) {
                Ok(keys) => Some(Arc::new(keys)),
                Err(problem) => {
                    tracing::warn!(%user, column, "{problem}");
                    None
                }
            }
        };
        columns.into_iter().filter_map(read).collect()
    }
}

/// Keys may stand with their scheme in front, as in a users file.
fn without_scheme(text: &[u8], hash: scram::Hash) -> &[u8] {
    let scheme = format!("{{{}}}", hash.mechanism());
    match text.split_at_checked(scheme.len()) {
        Some((first, rest)) if first.eq_ignore_ascii_case(scheme.as_bytes()) => rest,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wrong(column: &'static str, problem: ValueError) -> RowError {
        RowError::Value { column, problem }
    }

    const KEYS: &str = "4096,AAAAAAAAAAAAAAAAAAAAAA==,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn text(text: &str) -> Field {
        Field::Octets(Secret::new(text.as_bytes().to_vec()))
    }

    fn read(fields: Vec<(&'static str, Field)>) -> Result<Option<Entry>, RowError> {
        match Row(fields).entry(&UserName::new("ann@example.org").unwrap())? {
            Lookup::Known(entry) => Ok(Some(*entry)),
            _ => Ok(None),
        }
    }

    fn with(column: &'static str, field: Field) -> Result<Option<Entry>, RowError> {
        read(vec![("password", text("{PLAIN}x")), (column, field)])
    }

    #[test]
    fn a_password_is_enough() {
        let entry = read(vec![("password", text("{PLAIN}x"))]).unwrap().unwrap();
        assert_eq!(entry.account, Account::new(UserName::new("ann@example.org").unwrap()));
        assert!(entry.password.unwrap().verify(b"x"));
        assert!(entry.keys.is_empty());
    }

    #[test]
    fn no_password_is_nobody_and_no_column_is_an_error() {
        assert!(read(vec![("password", Field::Null), ("maildir", text("x"))]).unwrap().is_none());
        assert_eq!(read(vec![("name", text("ann"))]).unwrap_err(), RowError::NoPassword);
        assert_eq!(read(Vec::new()).unwrap_err(), RowError::NoPassword);
    }

    #[test]
    fn everything_has_its_column() {
        let entry = read(vec![
            ("password", text("{PLAIN}x")),
            ("name", text("Ann.B@Example.org")),
            ("maildir", text("/srv/mail/ann")),
            ("login_delay", Field::Number(30)),
            ("scram_sha_256", text(KEYS)),
            ("scram_sha_1", Field::Null),
        ]);
        let entry = entry.unwrap().unwrap();
        assert_eq!(entry.account.name.as_str(), "ann.b@example.org");
        assert_eq!(entry.account.maildrop.as_deref(), Some("/srv/mail/ann"));
        assert_eq!(entry.account.login_delay, Some(Duration::from_secs(30)));
        assert_eq!(entry.keys.len(), 1);
        let prefixed = with("scram_sha_256", text(&format!("{{scram-sha-256}}{KEYS}"))).unwrap().unwrap();
        assert_eq!(prefixed.keys, entry.keys);
    }

    #[test]
    fn what_is_empty_is_not_there() {
        for column in ["name", "maildir", "login_delay", "scram_sha_256", "scram_sha_1"] {
            for field in [text(""), Field::Null] {
                let entry = with(column, field).unwrap().unwrap();
                assert_eq!(
                    entry.account,
                    Account::new(UserName::new("ann@example.org").unwrap()),
                    "{column}"
                );
                assert!(entry.keys.is_empty());
            }
        }
    }

    #[test]
    fn damage_is_refused() {
        for maildir in ["mail/ann", "/srv/../etc", "/srv/..", "/a\0b"] {
            assert_eq!(
                with("maildir", text(maildir)).unwrap_err(),
                wrong("maildir", ValueError::Maildir),
                "{maildir}"
            );
        }
        assert_eq!(
            with("maildir", text(&format!("/{}", "a".repeat(5000)))).unwrap_err(),
            wrong("maildir", ValueError::Maildir)
        );
        for delay in [Field::Number(-1), Field::Number(i64::MAX), text("x"), text("1.5"), text("-1")] {
            assert_eq!(with("login_delay", delay).unwrap_err(), wrong("login_delay", ValueError::LoginDelay));
        }
        assert_eq!(with("name", text("../etc")).unwrap_err(), wrong("name", ValueError::Name));
        assert_eq!(
            with("name", Field::Octets(Secret::new(vec![0xff]))).unwrap_err(),
            wrong("name", ValueError::Name)
        );
        let entry = with("scram_sha_256", text("4095,x")).unwrap().unwrap();
        assert!(entry.keys.is_empty() && entry.password.unwrap().verify(b"x"));
    }

    #[test]
    fn who_is_locked_out_or_damaged_is_known_and_not_let_in() {
        for damaged in ["!", "!{PLAIN}x", "*", "x", "{PLAIN}", "{NONE}x", ""] {
            let row =
                Row(vec![("password", text(damaged)), ("scram_sha_256", text(KEYS)), ("name", text("bob"))]);
            let lookup = row.entry(&UserName::new("ann@example.org").unwrap()).unwrap();
            let Lookup::LockedOut(account) = lookup else { panic!("{damaged:?}: {lookup:?}") };
            assert_eq!(account.name.as_str(), "bob");
        }
    }
}
