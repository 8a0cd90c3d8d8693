//! Users in memory: for the demo and for tests.

use std::collections::BTreeMap;

use restante_proto::UserName;
use restante_sasl::{Needs, scram::Hash};

use super::{Directory, Entry, KeysLike, Lookup, LookupError, Shape, Task, point};
use crate::scheme::StoredPassword;

/// A directory that is fixed when it is made.
#[derive(Debug, Default)]
pub struct MemoryDirectory {
    users: BTreeMap<UserName, StoredPassword>,
}

impl MemoryDirectory {
    /// A directory of these users; of two with the same name the last one counts.
    pub fn new(users: impl IntoIterator<Item = (UserName, StoredPassword)>) -> Self {
        Self { users: users.into_iter().collect() }
    }

    fn all(&self, can: impl Fn(&StoredPassword) -> bool) -> bool {
        !self.users.is_empty() && self.users.values().all(can)
    }

    fn picked(&self, name: &str) -> Option<&StoredPassword> {
        pick(name, self.users.len()).and_then(|index| self.users.values().nth(index))
    }
}

impl Directory for MemoryDirectory {
    fn lookup<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Lookup, LookupError>> {
        let found =
            self.users.get(user).cloned().map_or(Lookup::Unknown, |password| {
                Lookup::Known(Box::new(Entry::new(user.clone(), password)))
            });
        Box::pin(async { Ok(found) })
    }

    fn can(&self, needs: Needs) -> bool {
        match needs {
            Needs::Password | Needs::Certificate => true,
            Needs::Plaintext => self.all(|password| password.plaintext().is_some()),
            Needs::Keys(hash) => self.all(|password| {
                password.plaintext().is_some() || password.keys().is_some_and(|keys| keys.hash() == hash)
            }),
            Needs::Token => false,
        }
    }

    fn stand_in(&self, name: &str) -> Option<StoredPassword> {
        Some(self.picked(name).cloned().unwrap_or_else(StoredPassword::stand_in))
    }

    fn stand_in_keys(&self, name: &str, hash: Hash) -> KeysLike {
        let keys = |password: &StoredPassword| {
            let of = |hash| password.keys().map(|keys| &**keys).filter(|keys| keys.hash() == hash);
            Shape::new(password.plaintext().is_some(), of).of(hash)
        };
        let those: Vec<_> = self.users.values().filter_map(keys).collect();
        pick(name, those.len()).and_then(|index| those.get(index)).copied().unwrap_or(KeysLike::USUAL)
    }
}

/// One of so many, for a name.
fn pick(name: &str, count: usize) -> Option<usize> {
    usize::try_from(point(name) >> 32).unwrap_or(0).checked_rem(count)
}
