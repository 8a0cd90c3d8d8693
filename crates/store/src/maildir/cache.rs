//! What is known of Maildirs that nobody has open at the moment, kept in memory: the next session of an unchanged one
//! need not read its state file. Bounded in octets; what was used longest ago goes first.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{state::Record, state_io::Remembered};

/// What an entry takes beside its messages, in octets.
const ENTRY_OCTETS: usize = 512;

/// What is known of Maildirs, by their paths.
#[derive(Debug)]
pub(super) struct Cache {
    /// How much memory all that is kept may take.
    max_octets: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_path: HashMap<PathBuf, (u64, Remembered)>,
    /// By when they were put.
    by_age: BTreeMap<u64, PathBuf>,
    clock: u64,
    octets: usize,
}

impl Cache {
    pub(super) fn new(max_octets: usize) -> Self {
        Self { max_octets, entries: Mutex::default() }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out what is known of the Maildir at `path`. Only who holds its lock does so.
    pub(super) fn take(&self, path: &Path) -> Option<Remembered> {
        self.entries().take(path)
    }

    /// How many messages are remembered of the Maildir at `path`, if anything is.
    pub(super) fn messages(&self, path: &Path) -> Option<usize> {
        self.entries().by_path.get(path).map(|(_, remembered)| remembered.state.len())
    }

    /// Keeps what is known of a Maildir that is still locked. Returns what had to go for it, for the caller to free
    /// where that may take its time.
    #[must_use]
    pub(super) fn put(&self, path: &Path, remembered: Remembered) -> Vec<Remembered> {
        let octets = octets(path, &remembered);
        let mut gone = Vec::new();
        if octets > self.max_octets {
            gone.push(remembered);
            return gone;
        }
        let mut entries = self.entries();
        gone.extend(entries.take(path));
        let now = entries.clock;
        entries.clock += 1;
        entries.octets += octets;
        entries.by_age.insert(now, path.to_owned());
        entries.by_path.insert(path.to_owned(), (now, remembered));
        while entries.octets > self.max_octets {
            let Some(oldest) = entries.by_age.first_key_value().map(|(_, path)| path.clone()) else { break };
            gone.extend(entries.take(&oldest));
        }
        gone
    }
}

impl Entries {
    fn take(&mut self, path: &Path) -> Option<Remembered> {
        let (path, (age, remembered)) = self.by_path.remove_entry(path)?;
        self.by_age.remove(&age);
        self.octets -= octets(&path, &remembered);
        Some(remembered)
    }
}

fn octets(path: &Path, Remembered { state, .. }: &Remembered) -> usize {
    state.records.capacity() * size_of::<Record>()
        + state.text.capacity()
        + 2 * path.as_os_str().len()
        + ENTRY_OCTETS
}

#[cfg(test)]
mod tests {
    use super::{super::state::State, *};

    fn remembered(octets: usize) -> Remembered {
        let state = State { text: vec![b'x'; octets], ..State::default() };
        Remembered { state, ..Remembered::default() }
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let cache = Cache::new(10_000);
        for name in ["a", "b", "c"] {
            assert!(cache.put(Path::new(name), remembered(2000)).is_empty());
        }
        // Used again.
        let again = cache.take(Path::new("a")).unwrap();
        assert_eq!(cache.messages(Path::new("a")), None);
        assert!(cache.put(Path::new("a"), again).is_empty());
        let gone = cache.put(Path::new("d"), remembered(5000));
        assert_eq!(gone.len(), 2);
        assert!(cache.take(Path::new("b")).is_none() && cache.take(Path::new("c")).is_none());
        assert_eq!(cache.put(Path::new("e"), remembered(10_000)).len(), 1, "what is too large is not kept");
        assert!(cache.take(Path::new("a")).is_some() && cache.take(Path::new("d")).is_some());
        let entries = cache.entries();
        assert_eq!((entries.octets, entries.by_path.len(), entries.by_age.len()), (0, 0, 0));
    }

    #[test]
    fn an_entry_is_replaced_by_a_newer_one_of_its_path() {
        let cache = Cache::new(10_000);
        assert!(cache.put(Path::new("a"), remembered(1)).is_empty());
        assert_eq!(cache.put(Path::new("a"), remembered(2)).len(), 1);
        assert_eq!(cache.take(Path::new("a")).unwrap().state.text.len(), 2);
    }
}
