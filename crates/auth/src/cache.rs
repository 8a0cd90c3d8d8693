//! Passwords that were found right a short while ago, so that the same client's next login need not be hashed again.
//!
//! What is kept is a tag (BLAKE2b, RFC 7693, under a key that is made at the start and never leaves the process) of the
//! name, the stored hash and the password: no password, and nothing that could be guessed at without the key. The stored
//! hash is in it, so that a password that was changed is never taken for the old one. Only right passwords get in.
//!
//! An entry belongs to one user at one address. So what it can tell somebody who guesses, namely at once that a guess is
//! wrong, it tells at the owner's own address only; and the verifier counts such a guess whatever becomes of it.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry as Slot},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use blake2::{
    Blake2bMac,
    digest::{FixedOutput as _, KeyInit as _, Update as _, consts::U32},
};
use restante_proto::Secret;
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

use crate::{StoredPassword, delay::Attempt};

/// How many logins are remembered; of more the oldest are forgotten.
pub(crate) const ENTRIES_MAX: usize = 16_384;

/// How long a key is: as long as the tag.
const KEY_OCTETS: usize = 32;

type Tag = Secret<[u8; 32]>;

/// The logins of the last minutes.
pub(crate) struct Cache {
    lifetime: Duration,
    key: Secret<[u8; KEY_OCTETS]>,
    book: Mutex<Book>,
}

/// Every entry lives equally long, so that the order of arrival is the order in which they end.
#[derive(Default)]
struct Book {
    entries: HashMap<Attempt, Entry>,
    order: VecDeque<(Attempt, Instant)>,
}

struct Entry {
    tags: Tags,
    until: Instant,
}

/// What tells a name, a stored hash and a password from all others.
pub(crate) struct Tags {
    /// Of the name and the stored hash.
    stored: Tag,
    /// Of the password as well.
    password: Tag,
}

/// What is remembered of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// It was the right one a while ago, and nothing has changed since.
    Right,
    /// Another one was, so that this one is wrong.
    Wrong,
    /// Nothing.
    Nothing,
}

impl Cache {
    /// A cache that remembers for so long; `None` where that is no time at all, or no key can be made.
    pub(crate) fn new(lifetime: Duration) -> Option<Self> {
        if lifetime.is_zero() {
            return None;
        }
        let mut key = [0; KEY_OCTETS];
        if let Err(error) = getrandom::fill(&mut key) {
            tracing::warn!(%error, "no randomness for a key: every login is hashed");
            return None;
        }
        Some(Self { lifetime, key: Secret::new(key), book: Mutex::default() })
    }

    /// The tags of a password; `None` where its scheme is not worth remembering.
    pub(crate) fn tags(&self, user: &str, stored: &StoredPassword, password: &[u8]) -> Option<Tags> {
        let text = stored.text()?;
        let stored = self.tag(&[user.as_bytes(), stored.scheme().as_bytes(), text.expose()])?;
        let password = self.tag(&[stored.expose(), password])?;
        Some(Tags { stored, password })
    }

    /// Each part with its length in front, so that no two lists of parts are the same octets.
    fn tag(&self, parts: &[&[u8]]) -> Option<Tag> {
        let mut mac = Blake2bMac::<U32>::new_from_slice(self.key.expose()).ok()?;
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        Some(Secret::new(mac.finalize_fixed().into()))
    }

    /// What is remembered of this password.
    pub(crate) fn recall(&self, attempt: Attempt, tags: &Tags, now: Instant) -> Remembered {
        let mut book = self.book();
        let Slot::Occupied(slot) = book.entries.entry(attempt) else { return Remembered::Nothing };
        let known = slot.get();
        let is_same = |one: &Tag, other: &Tag| bool::from(one.expose().ct_eq(other.expose()));
        if known.until <= now || !is_same(&known.tags.stored, &tags.stored) {
            // Its time is over, or the user has another password now.
            slot.remove();
            return Remembered::Nothing;
        }
        if is_same(&known.tags.password, &tags.password) { Remembered::Right } else { Remembered::Wrong }
    }

    /// Remembers a password that was found right.
    pub(crate) fn remember(&self, attempt: Attempt, tags: Tags, now: Instant) {
        let until = now + self.lifetime;
        let mut book = self.book();
        book.entries.insert(attempt, Entry { tags, until });
        book.order.push_back((attempt, until));
        book.forget(now);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Forgets what is over, and the oldest of what is too many.
    fn forget(&mut self, now: Instant) {
        while let Some(&(attempt, until)) = self.order.front() {
            if until > now && self.order.len() <= ENTRIES_MAX {
                break;
            }
            self.order.pop_front();
            // Who has logged in once more since is further back, too.
            if let Slot::Occupied(slot) = self.entries.entry(attempt)
                && slot.get().until == until
            {
                slot.remove();
            }
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::{Settings, delay::Delays};

    const MINUTE: Duration = Duration::from_secs(60);
    const HASH: &str = "$5$rounds=1000$./$/zG1pZJDc8/tkfvRQ6eOhfFGYPMJUkcR/kWe8AYrVZC";

    fn cache() -> Cache {
        Cache::new(MINUTE).unwrap()
    }

    fn stored(hash: &str) -> StoredPassword {
        StoredPassword::parse(format!("{{SHA256-CRYPT}}{hash}").as_bytes()).unwrap()
    }

    fn attempts(count: u32) -> Vec<Attempt> {
        let delays = Delays::new(&Settings::default());
        (0..count).map(|number| delays.attempt("ann", IpAddr::V4(Ipv4Addr::from(number)))).collect()
    }

    #[test]
    fn every_part_and_the_key_are_in_the_tags() {
        let cache = cache();
        let tags = |cache: &Cache, user: &str, hash: &str, password: &str| {
            let tags = cache.tags(user, &stored(hash), password.as_bytes()).unwrap();
            (*tags.stored.expose(), *tags.password.expose())
        };
        let first = tags(&cache, "ann", HASH, "a");
        assert_eq!(tags(&cache, "ann", HASH, "a"), first);
        let (same, other) = (first.0, first.1);
        assert!(tags(&cache, "ann", HASH, "b").0 == same && tags(&cache, "ann", HASH, "b").1 != other);
        let costlier = HASH.replace("1000", "1001");
        let salted = HASH.replace("./$", "/.$");
        let digested = HASH.replace("/zG1", "/zG2");
        for (user, hash) in [("bob", HASH), ("ann", &costlier), ("ann", &salted), ("ann", &digested)] {
            let found = tags(&cache, user, hash, "a");
            assert!(found.0 != same && found.1 != other, "{user} {hash}");
        }
        assert_ne!(
            tags(&Cache::new(MINUTE).unwrap(), "ann", HASH, "a"),
            first,
            "another process, another key"
        );
    }

    #[test]
    fn a_cheap_scheme_is_not_remembered() {
        let plain = StoredPassword::parse(b"{PLAIN}a").unwrap();
        assert!(cache().tags("ann", &plain, b"a").is_none());
    }

    #[test]
    fn it_ends_after_its_time_however_often_it_is_used() {
        let (cache, attempt, begin) = (cache(), attempts(1)[0], Instant::now());
        let tags = |password: &str| cache.tags("ann", &stored(HASH), password.as_bytes()).unwrap();
        assert_eq!(cache.recall(attempt, &tags("a"), begin), Remembered::Nothing);
        cache.remember(attempt, tags("a"), begin);
        for second in [0, 30, 59] {
            let now = begin + Duration::from_secs(second);
            assert_eq!(cache.recall(attempt, &tags("a"), now), Remembered::Right);
            assert_eq!(cache.recall(attempt, &tags("b"), now), Remembered::Wrong);
        }
        assert_eq!(cache.recall(attempt, &tags("a"), begin + MINUTE), Remembered::Nothing);
        assert_eq!(cache.recall(attempt, &tags("b"), begin), Remembered::Nothing, "and is gone");
    }

    #[test]
    fn another_stored_hash_ends_it_at_once() {
        let (cache, attempt, now) = (cache(), attempts(1)[0], Instant::now());
        let tags = |hash: &str| cache.tags("ann", &stored(hash), b"a").unwrap();
        cache.remember(attempt, tags(HASH), now);
        assert_eq!(cache.recall(attempt, &tags(&HASH.replace("./$", "/.$")), now), Remembered::Nothing);
        assert_eq!(cache.recall(attempt, &tags(HASH), now), Remembered::Nothing);
    }

    #[test]
    fn the_oldest_are_forgotten_where_there_are_too_many() {
        let (cache, begin) = (cache(), Instant::now());
        let tags = || cache.tags("ann", &stored(HASH), b"a").unwrap();
        let attempts = attempts(u32::try_from(ENTRIES_MAX).unwrap() + 2);
        let known = |at: usize| cache.recall(attempts[at], &tags(), begin) == Remembered::Right;
        for attempt in &attempts[..ENTRIES_MAX] {
            cache.remember(*attempt, tags(), begin);
        }
        assert!(known(0) && known(1) && known(ENTRIES_MAX - 1));
        // The first one comes back, so that the second one is the oldest.
        cache.remember(attempts[0], tags(), begin + Duration::from_secs(1));
        cache.remember(attempts[ENTRIES_MAX], tags(), begin + Duration::from_secs(1));
        assert!(known(0) && !known(1) && known(ENTRIES_MAX));
        let book = cache.book();
        assert!(book.entries.len() <= ENTRIES_MAX && book.order.len() <= ENTRIES_MAX);
        drop(book);
        // What is over goes with the next login.
        cache.remember(attempts[ENTRIES_MAX + 1], tags(), begin + MINUTE * 2);
        assert_eq!(cache.book().entries.len(), 1);
    }

    #[test]
    fn none_where_it_is_off() {
        assert!(Cache::new(Duration::ZERO).is_none());
    }
}
