//! Users in memory: for the demo and for tests.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
};

use restante_proto::UserName;
use restante_sasl::Needs;

use super::{Directory, Entry, Lookup, LookupError, Task};
use crate::scheme::StoredPassword;

/// A directory that is fixed when it is made.
#[derive(Debug, Default)]
pub struct MemoryDirectory {
    users: BTreeMap<UserName, StoredPassword>,
    names: RandomState,
}

impl MemoryDirectory {
    /// A directory of these users; of two with the same name the last one counts.
    pub fn new(users: impl IntoIterator<Item = (UserName, StoredPassword)>) -> Self {
        Self { users: users.into_iter().collect(), names: RandomState::new() }
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
            Needs::Keys(_) | Needs::Plaintext => {
                self.users.values().all(|password| password.plaintext().is_some())
            }
            Needs::Token => false,
        }
    }

    fn stand_in(&self, name: &str) -> Option<StoredPassword> {
        let number = usize::try_from(self.names.hash_one(name) >> 32).unwrap_or(0);
        let picked = number.checked_rem(self.users.len()).and_then(|index| self.users.values().nth(index));
        Some(picked.cloned().unwrap_or_else(StoredPassword::stand_in))
    }
}
