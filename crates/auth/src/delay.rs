//! Who failed how often, and how long the answer to the next failure waits.
//!
//! Pure bookkeeping: the caller brings the time and does the waiting. Only failures wait, so that nobody can lock
//! anybody out by guessing at a name. Everything here is bounded, whoever asks for whatever. How many may try at once is
//! in [`rooms`].

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::Settings;

pub(crate) mod rooms;

/// How many addresses, users, and pairs of both are remembered.
pub(crate) const REMEMBERED_MAX: usize = 16_384;

/// The book of failures.
#[derive(Debug)]
pub(crate) struct Delays {
    first: Duration,
    max: Duration,
    forget_after: Duration,
    names: RandomState,
    book: Mutex<Book>,
}

/// Who tries: an address (of IPv6 its /64, which is what one customer has), and a name, known or not, of fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) address: IpAddr,
    pub(crate) user: u64,
}

#[derive(Debug, Default)]
struct Book {
    addresses: Table<IpAddr>,
    users: Table<u64>,
    pairs: Table<Attempt>,
    /// How many failures there were ever: the number of the last one.
    failures: u64,
}

impl Delays {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            first: settings.failure_delay_first,
            max: settings.failure_delay_max,
            forget_after: settings.failures_forgotten_after,
            names: RandomState::new(),
            book: Mutex::default(),
        }
    }

    /// Who tries from `peer` to be `user`.
    pub(crate) fn attempt(&self, user: &str, peer: IpAddr) -> Attempt {
        Attempt { address: network(peer), user: self.names.hash_one(user.to_ascii_lowercase()) }
    }

    /// Notes a failure, and says when to answer it.
    pub(crate) fn failed(&self, attempt: Attempt, now: Instant) -> Instant {
        let mut book = self.book();
        book.failures += 1;
        let Book { addresses, users, pairs, failures } = &mut *book;
        let address = addresses.count(attempt.address, *failures, now, self.forget_after);
        let user = users.count(attempt.user, *failures, now, self.forget_after);
        pairs.count(attempt, *failures, now, self.forget_after);
        now + self.delay(address.max(user))
    }

    /// Notes a success: the failures of this user from this address were the owner's. Others' stay, so that neither
    /// a guesser's own account nor the owner's regular logins clear a guesser's record.
    pub(crate) fn succeeded(&self, attempt: Attempt, now: Instant) {
        let mut book = self.book();
        if let Some(forgiven) = book.pairs.entries.remove(&attempt)
            && now.duration_since(forgiven.last) < self.forget_after
        {
            book.addresses.subtract(attempt.address, forgiven);
            book.users.subtract(attempt.user, forgiven);
        }
    }

    /// Nothing for the first failure, which is a slip of the finger; then twice as long each time, up to the most.
    fn delay(&self, failures: u32) -> Duration {
        match failures {
            0 | 1 => Duration::ZERO,
            more => self.first.saturating_mul(1_u32.checked_shl(more - 2).unwrap_or(u32::MAX)).min(self.max),
        }
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of an address that one party holds: an IPv4 address, also where it is mapped into IPv6, or an IPv6 /64.
pub fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        canonical @ IpAddr::V4(_) => canonical,
    }
}

/// Failures by key, at most [`REMEMBERED_MAX`] of them.
#[derive(Debug)]
struct Table<K> {
    entries: HashMap<K, Failures>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    failures: u32,
    /// The number of the first of them.
    since: u64,
    last: Instant,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { entries: HashMap::new() }
    }
}

impl<K: Hash + Eq + Copy> Table<K> {
    /// Counts one more, of this number; what is older than `forget_after` is forgotten.
    fn count(&mut self, key: K, number: u64, now: Instant, forget_after: Duration) -> u32 {
        if self.entries.len() >= REMEMBERED_MAX && !self.entries.contains_key(&key) {
            self.make_room(now, forget_after);
        }
        let entry = self.entries.entry(key).or_insert(Failures { failures: 0, since: number, last: now });
        if now.duration_since(entry.last) >= forget_after {
            *entry = Failures { failures: 0, since: number, last: now };
        }
        *entry = Failures { failures: entry.failures.saturating_add(1), last: now, ..*entry };
        entry.failures
    }

    /// Notes a key without counting anything.
    fn add(&mut self, key: K, now: Instant, forget_after: Duration) {
        self.count(key, 0, now, forget_after);
    }

    /// Whether the key was noted lately.
    fn holds(&self, key: K, now: Instant, forget_after: Duration) -> bool {
        self.entries.get(&key).is_some_and(|entry| now.duration_since(entry.last) < forget_after)
    }

    /// Takes failures off that are counted here. Those from before this entry, which was dropped meanwhile and began
    /// anew, are not: it would forgive others' instead.
    fn subtract(&mut self, key: K, forgiven: Failures) {
        if let Some(entry) = self.entries.get_mut(&key)
            && entry.since <= forgiven.since
        {
            entry.failures = entry.failures.saturating_sub(forgiven.failures);
            if entry.failures == 0 {
                self.entries.remove(&key);
            }
        }
    }

    /// Drops what is forgotten anyway, else the quarter that has been quiet for longest: many at once, since each
    /// look takes as long as the table is large.
    fn make_room(&mut self, now: Instant, forget_after: Duration) {
        self.entries.retain(|_, entry| now.duration_since(entry.last) < forget_after);
        if self.entries.len() < REMEMBERED_MAX {
            return;
        }
        let mut times: Vec<_> = self.entries.values().map(|entry| entry.last).collect();
        let quarter = times.len() / 4;
        let (_, &mut limit, _) = times.select_nth_unstable(quarter);
        let mut left = quarter + 1;
        self.entries.retain(|_, entry| {
            let drop = left > 0 && entry.last <= limit;
            left -= usize::from(drop);
            !drop
        });
    }
}

#[cfg(test)]
mod tests;
