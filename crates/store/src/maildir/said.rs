//! What this process has logged of a Maildir already: a state that lasts is told once, and not at every login.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    path::Path,
    sync::{LazyLock, Mutex, PoisonError},
};

/// Of how many states this is known at most; then all is told again.
const STATES_MAX: usize = 4096;

/// What a state is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum About {
    /// Entries that are left out of the maildrop.
    OddEntries,
    /// A state file that is not used.
    Unused,
    /// A state file that cannot be written.
    Unwritable,
}

#[derive(Debug, Default)]
struct Said {
    hasher: RandomState,
    /// A digest of what was said last, by a digest of the Maildir's path and what it is about.
    states: HashMap<u64, u64>,
}

static SAID: LazyLock<Mutex<Said>> = LazyLock::new(Mutex::default);

/// Whether a state of the Maildir at `path` is another than the last one that was told; `None` is a state in order.
pub(super) fn is_news(path: &Path, about: About, state: Option<impl Hash>) -> bool {
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    let key = said.hasher.hash_one((path, about));
    let Some(state) = state else {
        said.states.remove(&key);
        return false;
    };
    let state = said.hasher.hash_one(state);
    if said.states.len() >= STATES_MAX {
        said.states.clear();
    }
    said.states.insert(key, state) != Some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_news_until_it_was_told() {
        let news = |state| is_news(Path::new("a path of this test"), About::Unused, state);
        assert!(news(Some("a")) && !news(Some("a")) && news(Some("b")) && news(Some("a")));
        assert!(!news(None) && news(Some("a")));
        assert!(is_news(Path::new("another path"), About::Unused, Some("a")));
        assert!(is_news(Path::new("a path of this test"), About::OddEntries, Some("a")));
        for n in 0..=STATES_MAX {
            is_news(Path::new(&n.to_string()), About::Unwritable, Some("a"));
        }
        assert!(SAID.lock().unwrap().states.len() <= STATES_MAX);
    }
}
