//! Who holds which maildrop: for the words of `[IN-USE]`, and for taking a drop over from a session that is idle.
//!
//! A session is *idle* while it waits for a command and the client has received all that was sent to it. The lock
//! itself is the store's; this table only knows about the sessions of this process.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use restante_proto::UserName;
use tokio::sync::Notify;

use crate::{
    happening::LockResult,
    sessions::{Kick, LockFacts, Presence},
};

/// The maildrops that are open or being opened, by user.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    holders: Mutex<HashMap<UserName, Arc<Holder>>>,
}

/// A session that holds a maildrop.
#[derive(Debug)]
pub(crate) struct Holder {
    /// The session; it is told to end for a new one.
    presence: Arc<Presence>,
    since: Instant,
    activity: Mutex<Activity>,
    /// Tells who waits for the maildrop that it is free.
    released: Notify,
}

/// What a session that holds a maildrop does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// It opens the drop, answers a command, or the client still receives the answer.
    Busy,
    /// Nothing, since then.
    Idle(Instant),
    /// It is being ended; a command that comes now is not run.
    Taken,
    /// It has given the place up.
    Gone,
}

/// A place in the table; dropping it gives the place up. It is dropped after the maildrop is.
#[derive(Debug)]
pub(crate) struct Held {
    registry: Arc<Registry>,
    user: UserName,
    holder: Arc<Holder>,
}

impl Registry {
    /// Takes the user's place in the table, or says who has it.
    pub(crate) fn claim(
        self: &Arc<Self>,
        user: &UserName,
        presence: &Arc<Presence>,
    ) -> Result<Held, Arc<Holder>> {
        match self.lock().entry(user.clone()) {
            Entry::Occupied(taken) => Err(Arc::clone(taken.get())),
            Entry::Vacant(free) => {
                let holder = Arc::new(Holder {
                    presence: Arc::clone(presence),
                    since: Instant::now(),
                    activity: Mutex::new(Activity::Busy),
                    released: Notify::new(),
                });
                free.insert(Arc::clone(&holder));
                Ok(Held { registry: Arc::clone(self), user: user.clone(), holder })
            }
        }
    }

    /// What is held, by user.
    pub(crate) fn locks(&self) -> Vec<LockFacts> {
        let mut locks: Vec<_> = {
            let holders = self.lock();
            holders.iter().map(|(user, holder)| holder.facts(user)).collect()
        };
        locks.sort_by(|one, other| one.user.cmp(&other.user));
        locks
    }

    /// Waits until nobody has been logged in for a moment: others have nothing to lose when the server stops.
    pub(crate) async fn empty(&self) {
        const LOOK_EVERY: Duration = Duration::from_millis(250);
        let mut empty_looks = 0;
        while empty_looks < 4 {
            tokio::time::sleep(LOOK_EVERY).await;
            empty_looks = if self.lock().is_empty() { empty_looks + 1 } else { 0 };
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserName, Arc<Holder>>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder {
    /// Ends the session if it comes from this address and has been idle for so long (without QUIT nothing is lost),
    /// and waits until its maildrop is free: then it is worth asking for again. `None` if it may not be ended.
    pub(crate) async fn take_over(&self, address: IpAddr, idle: Duration) -> Option<LockResult> {
        const PATIENCE: Duration = Duration::from_secs(5);
        // What is released from here on is heard of; what was before is seen below.
        let released = self.released.notified();
        {
            let mut activity = self.activity();
            if *activity == Activity::Gone {
                return Some(LockResult::Free);
            }
            let idle_enough = matches!(*activity, Activity::Idle(since) if since.elapsed() >= idle);
            if idle.is_zero() || address != self.presence.peer.ip() || !idle_enough {
                return None;
            }
            *activity = Activity::Taken;
        }
        self.presence.kick(Kick::NewSession);
        // Whoever waited in vain may have missed it by a moment.
        let _in_vain = tokio::time::timeout(PATIENCE, released).await;
        (*self.activity() == Activity::Gone).then_some(LockResult::TakenOver)
    }

    fn facts(&self, user: &UserName) -> LockFacts {
        LockFacts {
            user: user.clone(),
            session: self.presence.id.to_string(),
            client: self.presence.peer,
            held_for: self.since.elapsed(),
            idle_for: match *self.activity() {
                Activity::Idle(since) => Some(since.elapsed()),
                Activity::Busy | Activity::Taken | Activity::Gone => None,
            },
        }
    }

    /// The words of `[IN-USE]`.
    pub(crate) fn describe(&self) -> String {
        let since = spell(self.since.elapsed());
        match *self.activity() {
            Activity::Idle(idle) => {
                format!("maildrop in use since {since} ago by a session idle for {}", spell(idle.elapsed()))
            }
            Activity::Busy | Activity::Taken | Activity::Gone => {
                format!("maildrop in use since {since} ago by a session that is busy now")
            }
        }
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The session is idle from now on.
    pub(crate) fn idle(&self) {
        let mut activity = self.holder.activity();
        if *activity == Activity::Busy {
            *activity = Activity::Idle(Instant::now());
        }
    }

    /// The session is busy; `false` if it is being taken over, and has to end.
    pub(crate) fn busy(&self) -> bool {
        let mut activity = self.holder.activity();
        if *activity == Activity::Taken {
            return false;
        }
        *activity = Activity::Busy;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.user);
        *self.holder.activity() = Activity::Gone;
        self.holder.released.notify_waiters();
    }
}

/// A time in the two units that matter: `2 h 5 min`, `5 min 3 s`, `3 s`.
fn spell(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::{Arrival, Sessions};

    fn claim(registry: &Arc<Registry>) -> Result<Held, Arc<Holder>> {
        let sessions = Arc::<Sessions>::default();
        registry.claim(&UserName::new("a").unwrap(), sessions.enter(Arrival::sample()).presence())
    }

    #[test]
    fn a_place_is_taken_once_and_given_up() {
        let registry = Arc::default();
        let held = claim(&registry).unwrap();
        assert!(claim(&registry).is_err());
        drop(held);
        assert!(claim(&registry).is_ok());
    }

    #[tokio::test]
    async fn only_an_idle_session_of_the_same_address_is_taken_over() {
        let registry = Arc::default();
        let held = claim(&registry).unwrap();
        let holder = claim(&registry).unwrap_err();
        let (here, there) = ([127, 0, 0, 1].into(), [192, 0, 2, 1].into());
        assert_eq!(holder.take_over(here, Duration::from_nanos(1)).await, None, "it is busy");
        held.idle();
        assert_eq!(holder.take_over(there, Duration::from_nanos(1)).await, None, "another address");
        assert_eq!(holder.take_over(here, Duration::from_secs(60)).await, None, "not for long enough");
        assert_eq!(holder.take_over(here, Duration::ZERO).await, None, "switched off");
        assert!(held.busy());
        held.idle();
        let free = tokio::spawn(async move { holder.take_over(here, Duration::from_nanos(1)).await });
        while held.busy() {
            held.idle();
            tokio::task::yield_now().await;
        }
        held.idle();
        assert!(!held.busy(), "a command that comes now is not run");
        drop(held);
        assert_eq!(free.await.unwrap(), Some(LockResult::TakenOver));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_just_gone_is_not_waited_for() {
        let registry = Arc::default();
        let held = claim(&registry).unwrap();
        held.idle();
        let holder = claim(&registry).unwrap_err();
        drop(held);
        let (here, there) = ([127, 0, 0, 1].into(), [192, 0, 2, 1].into());
        let asked = tokio::time::Instant::now();
        for (address, idle) in [(here, Duration::from_nanos(1)), (there, Duration::ZERO)] {
            assert_eq!(holder.take_over(address, idle).await, Some(LockResult::Free));
        }
        assert_eq!(asked.elapsed(), Duration::ZERO);
        assert!(claim(&registry).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_go_keeps_his_place() {
        let registry = Arc::default();
        let held = claim(&registry).unwrap();
        held.idle();
        let holder = claim(&registry).unwrap_err();
        assert_eq!(holder.take_over([127, 0, 0, 1].into(), Duration::from_nanos(1)).await, None);
        assert!(claim(&registry).is_err());
    }

    #[test]
    fn times_are_spelt_for_people() {
        let spelt = [3, 303, 7500, 90_000].map(|seconds| spell(Duration::from_secs(seconds)));
        assert_eq!(spelt, ["3 s", "5 min 3 s", "2 h 5 min", "25 h 0 min"]);
    }
}
