//! Several directories in order: the first that knows the user decides. One that fails or hangs is never passed over, since
//! the user might be his; but where a name's domain is routed to directories, only those are asked.
//!
//! Who is in none of them is asked for, compared and hashed as a user of the last one would be, so that an answer's time
//! does not tell whether there is a user. It does tell which of several directories has him, where one hashes here and
//! another compares by itself; and how long a directory that compares takes for its own users, it alone can hide.

use std::{sync::Arc, time::Duration};

use restante_proto::{Secret, UserName};
use restante_sasl::{Needs, scram::Hash};
use tokio::time::timeout;

use super::{Account, Check, Directory, Entry, KeysLike, Lookup, LookupError, Task, point};
use crate::scheme::StoredPassword;

/// How long a directory may take for an answer, if nobody says otherwise.
pub const PATIENCE_DEFAULT: Duration = Duration::from_secs(10);

/// A directory in its place.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its kind, for the log.
    pub name: &'static str,
    /// The directory.
    pub directory: Arc<dyn Directory>,
    /// The domains whose users it has, in lower case; all others' where it is empty.
    pub domains: Vec<String>,
    /// How long it may take for an answer.
    pub patience: Duration,
}

/// Directories in order.
#[derive(Debug)]
pub struct Directories {
    routes: Vec<Route>,
}

/// What they know of a name.
#[derive(Debug)]
pub(crate) enum Found {
    Unknown,
    Known {
        entry: Box<Entry>,
        route: Route,
    },
    /// There is, and may not log in.
    LockedOut,
    /// A password was compared.
    Checked(Check),
}

impl Route {
    /// A directory that has the users of all domains.
    pub fn new(name: &'static str, directory: Arc<dyn Directory>) -> Self {
        Self { name, directory, domains: Vec::new(), patience: PATIENCE_DEFAULT }
    }

    /// What the directory knows of a user, within its time.
    pub async fn lookup(&self, user: &UserName) -> Result<Lookup, LookupError> {
        self.bounded(self.directory.lookup(user)).await
    }

    /// Has the directory compare a password.
    pub(crate) async fn check(
        &self,
        user: &UserName,
        password: &Secret<Vec<u8>>,
    ) -> Result<Check, LookupError> {
        self.bounded(self.directory.check(user, password)).await
    }

    /// Whether it compares passwords by itself.
    fn compares(&self) -> bool {
        self.directory.can(Needs::Password) && self.directory.stand_in("").is_none()
    }

    async fn bounded<T>(&self, task: Task<'_, Result<T, LookupError>>) -> Result<T, LookupError> {
        match timeout(self.patience, task).await {
            Ok(answer) => answer,
            Err(_) => Err(LookupError::Hangs { directory: self.name, patience: self.patience }),
        }
    }
}

impl Directories {
    /// These, in this order.
    pub const fn new(routes: Vec<Route>) -> Self {
        Self { routes }
    }

    /// One that has all users.
    pub fn one(directory: Arc<dyn Directory>) -> Self {
        Self::new(vec![Route::new("users", directory)])
    }

    /// Those that may know a name: those that its domain is routed to; where it is routed nowhere, those without domains.
    pub fn routes_of(&self, name: &str) -> impl Iterator<Item = &Route> {
        let domain = name.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase());
        let has = |route: &Route| domain.as_ref().is_some_and(|domain| route.domains.contains(domain));
        let routed = self.routes.iter().any(has);
        self.routes.iter().filter(move |route| match routed {
            true => domain.as_ref().is_some_and(|domain| route.domains.contains(domain)),
            false => route.domains.is_empty(),
        })
    }

    /// What is known of a user. `password` is compared by the directories that only tell so.
    pub(crate) async fn find(
        &self,
        user: &UserName,
        password: Option<&Secret<Vec<u8>>>,
    ) -> Result<Found, LookupError> {
        for route in self.routes_of(user.as_str()) {
            match route.lookup(user).await? {
                Lookup::Unknown => {
                    // For a user it would compare the password now.
                    if let Some(password) = password
                        && route.compares()
                    {
                        route.check(user, password).await?;
                    }
                }
                Lookup::Known(entry) => {
                    return Ok(Found::Known { entry, route: route.clone() });
                }
                Lookup::LockedOut(_) => return Ok(Found::LockedOut),
                Lookup::Ask => {
                    // He may be the user of this one, and then is nobody's of those behind it.
                    let Some(password) = password else { return Ok(Found::Unknown) };
                    match route.check(user, password).await? {
                        Check::Unknown => {}
                        verdict => return Ok(Found::Checked(verdict)),
                    }
                }
            }
        }
        Ok(Found::Unknown)
    }

    /// Whose token it is. A directory of tokens speaks for the users of its own domains alone, and says who somebody is; what
    /// holds for him is said by the directory that has him, if one has.
    pub(crate) async fn token(
        &self,
        claimed: Option<&UserName>,
        token: &Secret<String>,
    ) -> Result<Check, LookupError> {
        let name = claimed.map_or("", UserName::as_str);
        let routes: Vec<_> = match claimed {
            Some(_) => self.routes_of(name).collect(),
            None => self.routes.iter().collect(),
        };
        for route in routes {
            if !route.directory.can(Needs::Token) {
                continue;
            }
            match route.bounded(route.directory.token(claimed, token)).await? {
                Check::Unknown => {}
                refused @ (Check::Wrong | Check::Expired) => return Ok(refused),
                Check::Right(account) => {
                    let name = account.name.as_str();
                    if !self.routes_of(name).any(|its| Arc::ptr_eq(&its.directory, &route.directory)) {
                        tracing::warn!(directory = route.name, "a token is of a user of another domain");
                        return Ok(Check::Wrong);
                    }
                    return self.known_by_others(account).await;
                }
            }
        }
        Ok(Check::Unknown)
    }

    /// Whether a directory that holds no tokens has this name, as far as it can tell without a password. One that fails cannot.
    pub(crate) async fn has(&self, user: &UserName) -> bool {
        for route in self.routes_of(user.as_str()).filter(|route| !route.directory.can(Needs::Token)) {
            match route.lookup(user).await {
                Ok(Lookup::Known(_) | Lookup::LockedOut(_)) => return true,
                Ok(Lookup::Unknown | Lookup::Ask) => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// What the directories that hold no tokens say of somebody whose token was right.
    async fn known_by_others(&self, account: Box<Account>) -> Result<Check, LookupError> {
        for route in self.routes_of(account.name.as_str()) {
            if route.directory.can(Needs::Token) {
                continue;
            }
            match route.lookup(&account.name).await? {
                Lookup::Unknown | Lookup::Ask => {}
                Lookup::Known(entry) => return Ok(Check::Right(Box::new(entry.account))),
                Lookup::LockedOut(_) => return Ok(Check::Wrong),
            }
        }
        Ok(Check::Right(account))
    }

    /// Whether a mechanism that needs this can be offered. For tokens one directory is enough, since others hold no tokens;
    /// for the rest each directory of passwords has to do, or a client would take a mechanism by which its user cannot log in.
    pub fn can(&self, needs: Needs) -> bool {
        match needs {
            Needs::Token => self.routes.iter().any(|route| route.directory.can(needs)),
            _ => {
                let mut those = self
                    .routes
                    .iter()
                    .filter(|route| {
                        route.directory.can(Needs::Password) || !route.directory.can(Needs::Token)
                    })
                    .peekable();
                those.peek().is_some() && those.all(|route| route.directory.can(needs))
            }
        }
    }

    /// What is hashed for somebody who is in none of them; `None` where the last one compares by itself, as it has then
    /// done for him. `mark` stands for the name: it is made of it under the salt key.
    pub(crate) fn stand_in(&self, name: &str, mark: &str) -> Option<StoredPassword> {
        let last = self.routes_of(name).filter(|route| route.directory.can(Needs::Password)).last();
        match last.map_or_else(|| self.routes.iter().all(Route::compares), Route::compares) {
            true => None,
            false => Some(self.stored_stand_in(name, mark)),
        }
    }

    /// As [`Self::stand_in`], of somebody whose password is stored.
    pub(crate) fn stored_stand_in(&self, name: &str, mark: &str) -> StoredPassword {
        let those: Vec<_> = self.routes_of(name).filter_map(|route| route.directory.stand_in(mark)).collect();
        pick(mark, those).unwrap_or_else(StoredPassword::stand_in)
    }

    /// As [`Self::stand_in`]: what the keys of somebody who is not there are like.
    pub(crate) fn stand_in_keys(&self, name: &str, mark: &str, hash: Hash) -> KeysLike {
        let those: Vec<_> = self
            .routes_of(name)
            .filter(|route| route.directory.can(Needs::Password))
            .map(|route| route.directory.stand_in_keys(mark, hash))
            .collect();
        pick(mark, those).unwrap_or(KeysLike::USUAL)
    }

    /// The first key that a directory keeps.
    pub(crate) fn salt_key(&self) -> Option<Secret<[u8; 32]>> {
        self.routes.iter().find_map(|route| route.directory.salt_key())
    }
}

fn pick<T>(mark: &str, mut those: Vec<T>) -> Option<T> {
    // Low bits: the directory picks by the high ones.
    let number = usize::try_from(point(mark) & 0xffff).unwrap_or(0);
    let index = number.checked_rem(those.len())?;
    Some(those.swap_remove(index))
}
