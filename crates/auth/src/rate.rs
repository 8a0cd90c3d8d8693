//! How many logins there may be: from one address, of one user, and in all.
//!
//! Pure bookkeeping: the caller brings the time and does the waiting. Each limit is a bucket of tokens that fills up again
//! by itself. What is counted, and why so:
//!
//! - **From one address** (of IPv6 its /64) an attempt takes a token, and a right one gives it back: a thousand people behind
//!   one address never run dry, somebody who guesses there does. So does who begins SCRAM exchanges and never ends them.
//! - **Of one user**, known or not, a failure alone takes a token, wherever it comes from: this is what slows down a guesser with
//!   many addresses.
//! - **In all** every attempt takes a token: what a machine can bear.
//!
//! A user is known at an address for a day after a login there. Nobody else's guessing refuses him there: where his own
//! bucket is empty his attempt waits for about as long as a token takes to come, and the buckets of the address and of all
//! are for strangers; what a guesser at the same address gains by his name is bounded by the delays in [`crate::delay`].
//!
//! The record of an address that has many tokens missing is worth more than that of one that tried once. Where there is no more room those go
//! that miss least: whoever wants a guesser to be forgotten has to be as busy at each of [`REMEMBERED_MAX`] other addresses.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    Settings,
    delay::{Attempt, REMEMBERED_MAX},
};

/// A minute's tokens are in a full bucket of an address or a user.
const MINUTE: Duration = Duration::from_secs(60);
/// So many seconds' tokens are in the full bucket of all: clients like to come on the minute.
const BURST_OF_ALL: Duration = Duration::from_secs(5);
/// How often refusals at one address are told.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked which of those are old, at most: a look takes as long as the table is large.
const SWEPT_EVERY: Duration = Duration::from_secs(1);
/// The longest that somebody who is known waits, in place of being refused.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// The buckets.
#[derive(Debug)]
pub(crate) struct Rates {
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    addresses: Option<Buckets<IpAddr>>,
    users: Option<Buckets<u64>>,
    /// One bucket.
    all: Option<Buckets<()>>,
    told: HashMap<IpAddr, Told>,
    /// When it was last looked which of these are old.
    swept: Option<Instant>,
}

/// Refusals at an address.
#[derive(Clone, Copy, Debug)]
struct Told {
    last: Instant,
    since: u64,
}

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is looked at.
    Now,
    /// It is looked at after so long.
    After(Duration),
    /// There are too many. How many were refused at this address since it was last told, if it is to be told now.
    Refused(Option<u64>),
}

impl Rates {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            book: Mutex::new(Book {
                addresses: Buckets::new(settings.logins_per_minute_per_address, MINUTE, MINUTE),
                users: Buckets::new(settings.failed_logins_per_minute_per_user, MINUTE, MINUTE),
                all: Buckets::new(settings.logins_per_second, Duration::from_secs(1), BURST_OF_ALL),
                told: HashMap::new(),
                swept: None,
            }),
        }
    }

    /// Takes the tokens of an attempt, if there are any. `known`: whether this user has logged in lately from this address.
    pub(crate) fn ask(&self, attempt: Attempt, known: bool, now: Instant) -> Admission {
        let mut book = self.book();
        let Book { addresses, users, all, .. } = &mut *book;
        let wait = users.as_ref().map_or(Duration::ZERO, |users| users.wait(&attempt.user, now));
        let room = |empty: Option<bool>| empty.unwrap_or(true);
        let stranger_may = wait.is_zero()
            && room(addresses.as_ref().map(|addresses| addresses.wait(&attempt.address, now).is_zero()))
            && room(all.as_ref().map(|all| all.wait(&(), now).is_zero()));
        if !known && !stranger_may {
            return Admission::Refused(book.refused(attempt.address, now));
        }
        if let Some(addresses) = addresses {
            addresses.take(attempt.address, now);
        }
        if let Some(all) = all {
            all.take((), now);
        }
        if wait.is_zero() { Admission::Now } else { Admission::After(wait.min(WAIT_MAX)) }
    }

    /// The attempt was right, or nobody looked at it: it counts no more at its address.
    pub(crate) fn give_back(&self, attempt: Attempt, now: Instant) {
        if let Some(addresses) = &mut self.book().addresses {
            addresses.give_back(attempt.address, now);
        }
    }

    /// The attempt was wrong.
    pub(crate) fn failed(&self, attempt: Attempt, now: Instant) {
        if let Some(users) = &mut self.book().users {
            users.take(attempt.user, now);
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn refused(&mut self, address: IpAddr, now: Instant) -> Option<u64> {
        let is_old = |told: &Told| now.duration_since(told.last) >= TOLD_EVERY;
        if let Some(told) = self.told.get_mut(&address) {
            told.since += 1;
            let since = told.since;
            return is_old(told).then(|| {
                *told = Told { last: now, since: 0 };
                since
            });
        }
        if self.told.len() >= REMEMBERED_MAX
            && self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEPT_EVERY)
        {
            self.swept = Some(now);
            self.told.retain(|_, told| !is_old(told));
        }
        // So many lines a minute say enough.
        (self.told.len() < REMEMBERED_MAX).then(|| {
            self.told.insert(address, Told { last: now, since: 0 });
            1
        })
    }
}

/// Buckets by key. One that is full is not here.
#[derive(Debug)]
struct Buckets<K> {
    /// How long a token takes to come.
    every: Duration,
    /// How long an empty bucket takes to be full.
    depth: Duration,
    /// When each is full again: the later, the more tokens are missing.
    full_at: HashMap<K, Instant>,
}

impl<K: Hash + Eq + Copy> Buckets<K> {
    /// So many tokens `per` that time, as many as `depth` brings in a full one; `None` where there is no limit.
    fn new(tokens: u32, per: Duration, depth: Duration) -> Option<Self> {
        (tokens > 0).then(|| Self { every: per / tokens, depth, full_at: HashMap::new() })
    }

    /// How long it takes until there is a token.
    fn wait(&self, key: &K, now: Instant) -> Duration {
        let missing = self.full_at.get(key).map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        (missing + self.every).saturating_sub(self.depth)
    }

    /// Takes a token, or leaves the bucket empty.
    fn take(&mut self, key: K, now: Instant) {
        if self.full_at.len() >= REMEMBERED_MAX && !self.full_at.contains_key(&key) {
            self.make_room(now);
        }
        let at = self.full_at.entry(key).or_insert(now);
        *at = ((*at).max(now) + self.every).min(now + self.depth);
    }

    fn give_back(&mut self, key: K, now: Instant) {
        if let Some(at) = self.full_at.get_mut(&key) {
            match at.checked_sub(self.every).filter(|at| *at > now) {
                Some(earlier) => *at = earlier,
                None => drop(self.full_at.remove(&key)),
            }
        }
    }

    /// Drops the full ones, else the quarter that misses least: many at once, since each look takes as long as the table
    /// is large.
    fn make_room(&mut self, now: Instant) {
        self.full_at.retain(|_, at| *at > now);
        if self.full_at.len() < REMEMBERED_MAX {
            return;
        }
        let mut times: Vec<_> = self.full_at.values().copied().collect();
        let quarter = times.len() / 4;
        let (_, &mut limit, _) = times.select_nth_unstable(quarter);
        let mut left = quarter + 1;
        self.full_at.retain(|_, at| {
            let drop = left > 0 && *at <= limit;
            left -= usize::from(drop);
            !drop
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::delay::Delays;

    fn limits(address: u32, user: u32, all: u32) -> (Rates, Delays) {
        let settings = Settings {
            logins_per_minute_per_address: address,
            failed_logins_per_minute_per_user: user,
            logins_per_second: all,
            ..Settings::default()
        };
        (Rates::new(&settings), Delays::new(&settings))
    }

    fn at(number: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    #[test]
    fn an_address_runs_dry_by_what_is_wrong_and_fills_up_again() {
        let ((rates, delays), now) = (limits(6, 0, 0), Instant::now());
        let guess = |number: u32| delays.attempt(&format!("user{number}"), at(1));
        for number in 0..6 {
            assert_eq!(rates.ask(guess(number), false, now), Admission::Now);
        }
        assert_eq!(rates.ask(guess(6), false, now), Admission::Refused(Some(1)));
        assert_eq!(rates.ask(guess(7), false, now), Admission::Refused(None), "told once a minute");
        assert_eq!(rates.ask(delays.attempt("user7", at(2)), false, now), Admission::Now, "another address");
        let later = now + Duration::from_secs(10);
        assert_eq!(rates.ask(guess(8), false, later), Admission::Now, "one token came");
        assert_eq!(rates.ask(guess(9), false, later), Admission::Refused(None));
        let much_later = now + Duration::from_secs(61);
        (0..5).for_each(|number| assert_eq!(rates.ask(guess(number), false, much_later), Admission::Now));
        assert_eq!(
            rates.ask(guess(9), false, much_later),
            Admission::Refused(Some(3)),
            "and how many there were"
        );
    }

    #[test]
    fn right_logins_never_run_dry() {
        let ((rates, delays), now) = (limits(2, 2, 0), Instant::now());
        for number in 0..10_000 {
            let attempt = delays.attempt(&format!("user{number}"), at(1));
            assert_eq!(rates.ask(attempt, false, now), Admission::Now, "{number}");
            rates.give_back(attempt, now);
        }
        assert!(rates.book().addresses.as_ref().unwrap().full_at.is_empty(), "a full bucket takes no memory");
    }

    #[test]
    fn guessing_at_a_user_delays_him_where_he_is_known_and_refuses_strangers() {
        let ((rates, delays), now) = (limits(0, 6, 0), Instant::now());
        for number in 0..6 {
            let guess = delays.attempt("ann", at(number));
            assert_eq!(rates.ask(guess, false, now), Admission::Now);
            rates.failed(guess, now);
        }
        assert_eq!(rates.ask(delays.attempt("ANN", at(99)), false, now), Admission::Refused(Some(1)));
        assert_eq!(rates.ask(delays.attempt("bob", at(99)), false, now), Admission::Now, "another user");
        let owner = delays.attempt("ann", at(100));
        assert_eq!(rates.ask(owner, true, now), Admission::After(Duration::from_secs(10)));
    }

    #[test]
    fn what_is_known_passes_where_strangers_have_taken_all() {
        let ((rates, delays), now) = (limits(1, 0, 1), Instant::now());
        let mut taken = 0;
        while rates.ask(delays.attempt("x", at(taken)), false, now) == Admission::Now {
            taken += 1;
        }
        assert_eq!(taken, 5, "as many as five seconds bring");
        assert_eq!(rates.ask(delays.attempt("ann", at(0)), true, now), Admission::Now);
    }

    #[test]
    fn without_limits_nothing_is_kept() {
        let ((rates, delays), now) = (limits(0, 0, 0), Instant::now());
        for _ in 0..1000 {
            let attempt = delays.attempt("ann", at(1));
            assert_eq!(rates.ask(attempt, false, now), Admission::Now);
            rates.failed(attempt, now);
        }
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let ((rates, delays), now) = (limits(1, 0, 0), Instant::now());
        let attempt = |peer: &str| delays.attempt("ann", peer.parse().unwrap());
        assert_eq!(rates.ask(attempt("2001:db8::1"), false, now), Admission::Now);
        assert!(matches!(rates.ask(attempt("2001:db8::2"), false, now), Admission::Refused(_)));
        assert_eq!(rates.ask(attempt("192.0.2.1"), false, now), Admission::Now);
        assert!(matches!(rates.ask(attempt("::ffff:192.0.2.1"), false, now), Admission::Refused(_)));
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_and_hides_no_guesser() {
        let ((rates, delays), now) = (limits(60, 60, 0), Instant::now());
        let guess = delays.attempt("ann", at(0));
        for _ in 0..60 {
            assert_eq!(rates.ask(guess, false, now), Admission::Now);
            rates.failed(guess, now);
        }
        for number in 1..2 * REMEMBERED_MAX as u32 {
            let other = delays.attempt(&format!("user{number}"), at(number));
            assert_eq!(rates.ask(other, false, now), Admission::Now);
            rates.failed(other, now);
        }
        let book = rates.book();
        let (addresses, users) = (book.addresses.as_ref().unwrap(), book.users.as_ref().unwrap());
        assert!(addresses.full_at.len() <= REMEMBERED_MAX && users.full_at.len() <= REMEMBERED_MAX);
        drop(book);
        assert!(matches!(rates.ask(guess, false, now), Admission::Refused(_)), "he was forgotten");
        for number in 0..2 * REMEMBERED_MAX as u32 {
            rates.book().refused(at(number), now);
        }
        assert_eq!(rates.book().told.len(), REMEMBERED_MAX);
    }
}
