//! When users last logged in, for those who have to wait between two logins (RFC 2449 §6.5). How long that is, is the
//! configuration's and the directories' to say; what a client is told, `ask.rs`'s.
//!
//! Only a login that reached the maildrop counts, and one that came too soon changes nothing. Who lost the connection, so that
//! his session ended without QUIT, may come again at once, once: a second time it would be a way around.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use restante_proto::{UserName, server::LoginDelay};

/// How many users are remembered. Those beyond have to wait for less time than they should.
const USERS_MAX: usize = 65_536;

/// The last logins.
#[derive(Debug, Default)]
pub(crate) struct LoginDelays {
    users: Mutex<HashMap<UserName, Last>>,
    /// The longest time, in seconds, that a directory has given a user of its own.
    own_max_seconds: AtomicU32,
}

/// The last login of a user.
#[derive(Clone, Copy, Debug)]
struct Last {
    at: Instant,
    /// From when on he may log in again.
    until: Instant,
    /// Its session ended without QUIT.
    lost: bool,
    /// It was let in early, because of the one before it.
    excused: bool,
}

/// A session whose user has to wait for the next one; dropped without [`Self::quit`], it was lost.
#[derive(Debug)]
pub(crate) struct Visit {
    delays: Arc<LoginDelays>,
    user: UserName,
    at: Instant,
    has_quit: bool,
}

impl LoginDelays {
    /// How long this user has still to wait; `None` if he may log in.
    pub(crate) fn wait(&self, user: &UserName, now: Instant) -> Option<Duration> {
        let last = *self.lock().get(user)?;
        let wait = last.until.saturating_duration_since(now);
        (!wait.is_zero() && (!last.lost || last.excused)).then_some(wait)
    }

    /// Whether he could log in now, if his last session were lost.
    pub(crate) fn may_follow(&self, user: &UserName, now: Instant) -> bool {
        self.lock().get(user).is_none_or(|last| last.until <= now || !last.excused)
    }

    /// He has logged in, and the next time he does so has to be so long after this one; `None` where there is nothing to keep.
    pub(crate) fn entered(self: &Arc<Self>, user: &UserName, delay: Duration, now: Instant) -> Option<Visit> {
        if delay.is_zero() {
            return None;
        }
        let mut users = self.lock();
        if users.len() >= USERS_MAX && !users.contains_key(user) {
            make_room(&mut users, now);
        }
        let excused = users.get(user).is_some_and(|last| last.until > now);
        users.insert(user.clone(), Last { at: now, until: now + delay, lost: false, excused });
        drop(users);
        Some(Visit { delays: Arc::clone(self), user: user.clone(), at: now, has_quit: false })
    }

    /// A directory has given a user this time of his own.
    pub(crate) fn learn(&self, own: Duration) {
        self.own_max_seconds.fetch_max(seconds(own), Ordering::Relaxed);
    }

    /// What is announced before anybody has logged in: the most that was seen, since no directory tells all that it has.
    pub(crate) fn announced(&self, usual: Duration) -> Option<LoginDelay> {
        let (usual, own) = (seconds(usual), self.own_max_seconds.load(Ordering::Relaxed));
        match usual.max(own) {
            0 => None,
            most => Some(LoginDelay { seconds: most, per_user: own > 0 }),
        }
    }

    /// What is announced to a user who has logged in.
    pub(crate) fn exact(delay: Duration) -> Option<LoginDelay> {
        Some(seconds(delay))
            .filter(|&seconds| seconds > 0)
            .map(|seconds| LoginDelay { seconds, per_user: false })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserName, Last>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    /// The session has come to QUIT.
    pub(crate) fn quit(mut self) {
        self.has_quit = true;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(last) = self.delays.lock().get_mut(&self.user)
            && !self.has_quit
            && last.at == self.at
        {
            last.lost = true;
        }
    }
}

/// Whole seconds, none too few.
pub(crate) fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// Drops those who need not wait any more, else the quarter that has waited for longest: many at once, since each look takes
/// as long as the table is large.
fn make_room(users: &mut HashMap<UserName, Last>, now: Instant) {
    users.retain(|_, last| last.until > now);
    if users.len() < USERS_MAX {
        return;
    }
    let mut times: Vec<_> = users.values().map(|last| last.until).collect();
    let quarter = times.len() / 4;
    let (_, &mut limit, _) = times.select_nth_unstable(quarter);
    let mut left = quarter + 1;
    users.retain(|_, last| {
        let drop = left > 0 && last.until <= limit;
        left -= usize::from(drop);
        !drop
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(900);

    fn name(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    #[test]
    fn the_time_counts_from_the_last_login_and_nothing_shortens_it() {
        let (delays, begin) = (Arc::new(LoginDelays::default()), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        let ann = name("ann");
        assert_eq!(delays.wait(&ann, begin), None);
        delays.entered(&ann, DELAY, begin).unwrap().quit();
        assert_eq!(delays.wait(&ann, after(1)), Some(Duration::from_secs(899)));
        assert_eq!(delays.wait(&ann, after(899)), Some(Duration::from_secs(1)), "asking changes nothing");
        assert_eq!(delays.wait(&name("bob"), after(1)), None);
        assert_eq!(delays.wait(&ann, after(900)), None);
    }

    #[test]
    fn who_lost_the_connection_may_come_again_once() {
        let (delays, begin) = (Arc::new(LoginDelays::default()), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        let ann = name("ann");
        let first = delays.entered(&ann, DELAY, begin).unwrap();
        assert!(delays.wait(&ann, after(5)).is_some(), "it is still on");
        assert!(delays.may_follow(&ann, after(5)));
        drop(first);
        assert_eq!(delays.wait(&ann, after(6)), None);
        let second = delays.entered(&ann, DELAY, after(6)).unwrap();
        assert!(!delays.may_follow(&ann, after(7)));
        drop(second);
        assert_eq!(delays.wait(&ann, after(7)), Some(Duration::from_secs(899)), "no way around");
        let third = delays.entered(&ann, DELAY, after(1000)).unwrap();
        drop(third);
        assert_eq!(delays.wait(&ann, after(1001)), None, "and later once more");
    }

    #[test]
    fn an_older_session_that_ends_late_excuses_nothing() {
        let (delays, begin) = (Arc::new(LoginDelays::default()), Instant::now());
        let ann = name("ann");
        let old = delays.entered(&ann, DELAY, begin).unwrap();
        let later = begin + DELAY;
        delays.entered(&ann, DELAY, later).unwrap().quit();
        drop(old);
        assert!(delays.wait(&ann, later).is_some());
    }

    #[test]
    fn what_is_announced_is_the_most_that_was_seen() {
        let delays = LoginDelays::default();
        assert_eq!(delays.announced(Duration::ZERO), None);
        assert_eq!(delays.announced(DELAY), Some(LoginDelay { seconds: 900, per_user: false }));
        delays.learn(Duration::from_secs(60));
        assert_eq!(delays.announced(DELAY), Some(LoginDelay { seconds: 900, per_user: true }));
        assert_eq!(delays.announced(Duration::ZERO), Some(LoginDelay { seconds: 60, per_user: true }));
        assert_eq!(LoginDelays::exact(Duration::ZERO), None);
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let (delays, now) = (Arc::new(LoginDelays::default()), Instant::now());
        for number in 0..=USERS_MAX {
            let at = now + Duration::from_millis(number as u64);
            delays.entered(&name(&format!("user{number}")), DELAY, at).unwrap().quit();
        }
        assert!(delays.lock().len() <= USERS_MAX);
        let end = now + Duration::from_millis(USERS_MAX as u64);
        assert!(delays.wait(&name(&format!("user{USERS_MAX}")), end).is_some());
        assert!(delays.wait(&name("user0"), end).is_none());
    }
}
