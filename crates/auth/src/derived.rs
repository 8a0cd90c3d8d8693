//! SCRAM keys that were made of passwords which can be read: making them takes a login's time, so that some are kept.
//!
//! They are known by a tag of name, hash and password under the salt key; a password that was changed has another tag.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use restante_sasl::scram::Keys;

/// How many keys are kept; of more the oldest are forgotten.
pub(crate) const DERIVED_MAX: usize = 1024;

type Tag = [u8; 32];

#[derive(Default)]
pub(crate) struct Derived {
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    keys: HashMap<Tag, Arc<Keys>>,
    order: VecDeque<Tag>,
}

impl Derived {
    pub(crate) fn get(&self, tag: &Tag) -> Option<Arc<Keys>> {
        self.book().keys.get(tag).cloned()
    }

    pub(crate) fn insert(&self, tag: Tag, keys: Arc<Keys>) {
        let mut book = self.book();
        if book.keys.insert(tag, keys).is_none() {
            book.order.push_back(tag);
        }
        while book.order.len() > DERIVED_MAX {
            if let Some(oldest) = book.order.pop_front() {
                book.keys.remove(&oldest);
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use restante_sasl::scram::Hash;

    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let derived = Derived::default();
        let keys = Arc::new(Keys::stand_in(Hash::Sha1, &[0; 32], vec![0], 4096));
        let tag = |number: usize| {
            let mut tag = [0; 32];
            tag[..8].copy_from_slice(&number.to_be_bytes());
            tag
        };
        (0..=DERIVED_MAX)
            .chain([DERIVED_MAX])
            .for_each(|number| derived.insert(tag(number), Arc::clone(&keys)));
        assert!(derived.get(&tag(0)).is_none());
        assert!((1..=DERIVED_MAX).all(|number| derived.get(&tag(number)).is_some()));
    }
}
