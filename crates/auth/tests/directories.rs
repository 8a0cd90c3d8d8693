//! The conformance suite on every directory there is.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use restante_auth::{
    Account, Directory, MemoryDirectory, StoredPassword, UsersFileDirectory,
    conformance::{self, Fixture, Style, User},
    directory::{Check, Lookup, LookupError, Task},
};
use restante_proto::{Secret, UserName};
use restante_sasl::{Needs, scram::Hash};

fn ready<'a>(directory: impl Directory) -> Task<'a, Arc<dyn Directory>> {
    Box::pin(async { Arc::new(directory) as Arc<dyn Directory> })
}

fn name(user: &User) -> UserName {
    UserName::new(user.name).unwrap()
}

struct Memory;

impl Fixture for Memory {
    fn style(&self) -> Style {
        Style::Stores
    }

    fn directory<'a>(&'a self, users: &'a [User]) -> Task<'a, Arc<dyn Directory>> {
        let stored = |user: &User| StoredPassword::parse(user.stored.as_bytes()).unwrap();
        ready(MemoryDirectory::new(users.iter().map(|user| (name(user), stored(user)))))
    }
}

#[tokio::test]
async fn memory() {
    conformance::check(&Memory).await;
}

struct UsersFiles {
    folder: tempfile::TempDir,
    files: AtomicUsize,
}

impl Fixture for UsersFiles {
    fn style(&self) -> Style {
        Style::Stores
    }

    fn directory<'a>(&'a self, users: &'a [User]) -> Task<'a, Arc<dyn Directory>> {
        let file = format!("users{}", self.files.fetch_add(1, Ordering::Relaxed));
        let path = self.folder.path().join(file);
        let keys = |user: &User| {
            Hash::ALL
                .map(|hash| format!(":{{{}}}{}", hash.mechanism(), user.keys(hash).text().expose()))
                .concat()
        };
        let place = |user: &User| user.maildrop.map(|place| format!(":maildir={place}")).unwrap_or_default();
        let delay = |user: &User| {
            user.login_delay.map(|delay| format!(":login_delay={}", delay.as_secs())).unwrap_or_default()
        };
        let line = |user: &User| {
            format!("{}:{}{}{}:1000{}\n", user.name, user.stored, keys(user), place(user), delay(user))
        };
        fs::write(&path, users.iter().map(line).collect::<String>()).unwrap();
        ready(UsersFileDirectory::open(path).unwrap())
    }

    fn has_keys(&self) -> bool {
        true
    }

    fn has_accounts(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn users_file() {
    let (folder, files) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
    conformance::check(&UsersFiles { folder, files }).await;
}

/// What directories that compare, or know tokens, are like at the least; and what the suite has to see in them.
#[derive(Debug)]
struct Small {
    style: Style,
    users: Vec<User>,
    broken: bool,
}

impl Small {
    fn answer(&self, found: Option<&User>, right: bool) -> Result<Check, LookupError> {
        match found {
            _ if self.broken => Err(LookupError::Broken {
                context: "asking".to_owned(),
                source: io::ErrorKind::ConnectionRefused.into(),
            }),
            None => Ok(Check::Unknown),
            Some(_) if !right => Ok(Check::Wrong),
            Some(user) => {
                let account = Account {
                    name: name(user),
                    maildrop: user.maildrop.map(str::to_owned),
                    login_delay: user.login_delay,
                };
                Ok(Check::Right(Box::new(account)))
            }
        }
    }
}

impl Directory for Small {
    fn lookup<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Lookup, LookupError>> {
        let is_there = self.users.iter().any(|other| name(other) == *user);
        let found = if self.style == Style::Compares && (is_there || self.broken) {
            Lookup::Ask
        } else {
            Lookup::Unknown
        };
        Box::pin(async { Ok(found) })
    }

    fn check<'a>(
        &'a self,
        user: &'a UserName,
        password: &'a Secret<Vec<u8>>,
    ) -> Task<'a, Result<Check, LookupError>> {
        let found = self.users.iter().find(|other| name(other) == *user);
        let right = found.is_some_and(|user| user.password.as_bytes() == password.expose().as_slice());
        Box::pin(async move { self.answer(found, right) })
    }

    fn token<'a>(
        &'a self,
        claimed: Option<&'a UserName>,
        token: &'a Secret<String>,
    ) -> Task<'a, Result<Check, LookupError>> {
        let whose = token.expose().strip_prefix("token of ");
        let found = self.users.iter().find(|user| Some(user.name) == whose);
        let right = found.is_some_and(|user| claimed.is_none_or(|claimed| *claimed == name(user)));
        Box::pin(async move { self.answer(found, right) })
    }

    fn can(&self, needs: Needs) -> bool {
        match self.style {
            Style::Tokens => needs == Needs::Token,
            _ => needs == Needs::Password,
        }
    }

    fn stand_in(&self, _: &str) -> Option<StoredPassword> {
        None
    }
}

struct Smalls(Style);

impl Fixture for Smalls {
    fn style(&self) -> Style {
        self.0
    }

    fn directory<'a>(&'a self, users: &'a [User]) -> Task<'a, Arc<dyn Directory>> {
        ready(Small { style: self.0, users: users.to_vec(), broken: false })
    }

    fn broken(&self) -> Task<'_, Option<Arc<dyn Directory>>> {
        let small = Small { style: self.0, users: Vec::new(), broken: true };
        Box::pin(async { Some(Arc::new(small) as Arc<dyn Directory>) })
    }

    fn has_accounts(&self) -> bool {
        true
    }

    fn token(&self, user: &User) -> String {
        format!("token of {}", user.name)
    }
}

#[tokio::test]
async fn one_that_compares() {
    conformance::check(&Smalls(Style::Compares)).await;
}

#[tokio::test]
async fn one_that_knows_tokens() {
    conformance::check(&Smalls(Style::Tokens)).await;
}
