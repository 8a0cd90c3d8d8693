//! The passwords of those who logged in a short while ago, as stand-ins for those who are not there: a database is not
//! asked which schemes it has.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use restante_sasl::scram;

use crate::{
    directory::{Entry, KeysLike, Shape, point},
    scheme::StoredPassword,
};

/// Of how many users it is known; of more, the first are forgotten.
pub(super) const SEEN_MAX: usize = 1024;

/// What was seen.
#[derive(Default)]
pub(super) struct Seen {
    names: RandomState,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    entries: Vec<(u64, Sample)>,
    places: HashMap<u64, usize>,
    /// Which entry is replaced next, once there are as many as may be.
    next: usize,
}

#[derive(Clone)]
struct Sample {
    password: StoredPassword,
    shape: Shape,
}

impl Seen {
    /// Remembers what a user has.
    pub(super) fn remember(&self, entry: &Entry) {
        let Some(password) = &entry.password else { return };
        let keys = |hash| entry.keys_of(hash).map(|keys| &**keys);
        let shape = Shape::new(password.plaintext().is_some(), keys);
        let name = self.names.hash_one(entry.account.name.as_str());
        let sample = Sample { password: password.clone(), shape };
        let mut book = self.book();
        let book = &mut *book;
        let place = match book.places.get(&name) {
            Some(&place) => place,
            None if book.entries.len() < SEEN_MAX => book.entries.len(),
            None => {
                let place = book.next;
                book.next = (place + 1) % SEEN_MAX;
                place
            }
        };
        match book.entries.get_mut(place) {
            Some(entry) => {
                let (before, _) = std::mem::replace(entry, (name, sample));
                book.places.remove(&before);
            }
            None => book.entries.push((name, sample)),
        }
        book.places.insert(name, place);
    }

    /// A user's password, the same one for the same name while as many are known.
    pub(super) fn stand_in(&self, name: &str) -> StoredPassword {
        self.pick(name).map_or_else(StoredPassword::stand_in, |sample| sample.password)
    }

    /// What a user's keys of a hash are like; where that one has none, another's.
    pub(super) fn stand_in_keys(&self, name: &str, hash: scram::Hash) -> KeysLike {
        let those: Vec<_> =
            self.book().entries.iter().map(|(_, sample)| sample.shape).filter(Shape::has_any).collect();
        let at = |point, those: &[Shape]| {
            let index = jump(point, those.len())?;
            those.get(index)?.of(hash)
        };
        let like = at(point(name), &those).or_else(|| {
            // Another point, since the first one tells what the keys of the other hash are like.
            let others: Vec<_> = those.iter().copied().filter(|shape| shape.of(hash).is_some()).collect();
            at(point(name).rotate_left(32), &others)
        });
        like.unwrap_or(KeysLike::USUAL)
    }

    fn pick(&self, name: &str) -> Option<Sample> {
        let book = self.book();
        let index = jump(point(name), book.entries.len())?;
        book.entries.get(index).map(|(_, sample)| sample.clone())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of so many, such that one more changes it for few (Lamping and Veach, jump consistent hash): a name's answers
/// keep their time while users come to be known.
fn jump(hash: u64, count: usize) -> Option<usize> {
    let (mut key, mut chosen, mut next) = (hash, None, 0_u64);
    while next < count as u64 {
        chosen = Some(next);
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        // The step of the algorithm, (chosen + 1) · 2³¹ / (upper bits + 1), without floating point.
        next = ((next + 1) << 31) / ((key >> 33) + 1);
    }
    chosen.and_then(|chosen| usize::try_from(chosen).ok())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use restante_proto::UserName;
    use restante_sasl::scram::{Hash, Keys};

    use super::*;

    fn entry(number: usize) -> Entry {
        let name = UserName::new(&format!("user{number}")).unwrap();
        Entry::new(name, StoredPassword::parse(b"{PLAIN}a").unwrap())
    }

    #[test]
    fn the_default_until_somebody_is_known() {
        let seen = Seen::default();
        assert_eq!(seen.stand_in("ann").scheme(), StoredPassword::stand_in().scheme());
        assert_eq!(seen.stand_in_keys("ann", Hash::Sha1), KeysLike::USUAL);
        seen.remember(&entry(1));
        assert_eq!(seen.stand_in("ann").scheme(), "PLAIN");
        assert_eq!(Hash::ALL.map(|hash| seen.stand_in_keys("ann", hash)), [KeysLike::DERIVED; 2]);
    }

    #[test]
    fn keys_of_each_hash_are_like_some_users() {
        let seen = Seen::default();
        let keys = |hash, salt: usize, iterations| {
            Arc::new(Keys::stand_in(hash, &[0; 32], vec![1; salt], iterations))
        };
        let user = |number, keys| {
            let name = UserName::new(&format!("user{number}")).unwrap();
            Entry { keys, ..Entry::new(name, StoredPassword::stand_in()) }
        };
        seen.remember(&user(1, vec![keys(Hash::Sha256, 64, 10_000), keys(Hash::Sha1, 16, 4096)]));
        seen.remember(&user(2, vec![keys(Hash::Sha256, 24, 20_000)]));
        for number in 0..50 {
            let name = format!("nobody{number}");
            let like = |hash| seen.stand_in_keys(&name, hash);
            let (sha256, sha1) = (like(Hash::Sha256), like(Hash::Sha1));
            assert!(
                matches!((sha256.salt_octets, sha256.iterations), (64, 10_000) | (24, 20_000)),
                "{sha256:?}"
            );
            assert_eq!((sha1.salt_octets, sha1.iterations), (16, 4096), "{name}");
        }
    }

    #[test]
    fn the_first_are_forgotten_where_there_are_too_many() {
        let seen = Seen::default();
        for number in 0..SEEN_MAX + 2 {
            seen.remember(&entry(number));
        }
        let book = seen.book();
        assert_eq!((book.entries.len(), book.places.len()), (SEEN_MAX, SEEN_MAX));
        assert!(!book.places.contains_key(&seen.names.hash_one("user0")));
        assert!(book.places.contains_key(&seen.names.hash_one("user2")));
        drop(book);
        seen.remember(&entry(2));
        assert_eq!(seen.book().entries.len(), SEEN_MAX);
    }

    #[test]
    fn one_more_changes_few_and_each_is_taken() {
        for count in 1..40_usize {
            let chosen = |key: u64, count| jump(key.wrapping_mul(0x9e37_79b9_7f4a_7c15), count).unwrap();
            let keys = 0..4000_u64;
            let moved = keys.clone().filter(|&key| chosen(key, count) != chosen(key, count + 1)).count();
            assert!(moved < 2 * 4000 / (count + 1) + 50, "{moved} of 4000 move from {count}");
            let taken: std::collections::HashSet<_> = keys.map(|key| chosen(key, count)).collect();
            assert_eq!(taken.len(), count);
        }
        assert_eq!(jump(7, 0), None);
    }
}
