//! Who holds which maildrop: for the words of `[IN-USE]`, and for taking a drop over from a session that is idle.
//!
//! The lock itself is the store's; this table only knows about the sessions of this process.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use restante_proto::UserName;
use tokio::sync::Notify;

/// The maildrops that are open, by user.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    holders: Mutex<HashMap<UserName, Arc<Holder>>>,
}

/// A session that holds a maildrop.
#[derive(Debug)]
pub(crate) struct Holder {
    address: IpAddr,
    since: SystemTime,
    /// Since when it has waited for a command; `None` while one is in flight.
    idle_since: Mutex<Option<Instant>>,
    /// Tells the session to end.
    kick: Arc<Notify>,
    /// Tells who waits for the maildrop that it is free.
    released: Notify,
}

/// A place in the table; dropping it gives the place up. It is dropped after the maildrop is.
#[derive(Debug)]
pub(crate) struct Held {
    registry: Arc<Registry>,
    user: UserName,
    holder: Arc<Holder>,
}

impl Registry {
    /// Notes that a session has opened the maildrop.
    pub(crate) fn hold(self: &Arc<Self>, user: UserName, address: IpAddr, kick: Arc<Notify>) -> Held {
        let holder = Arc::new(Holder {
            address,
            since: SystemTime::now(),
            idle_since: Mutex::new(None),
            kick,
            released: Notify::new(),
        });
        self.lock().insert(user.clone(), Arc::clone(&holder));
        Held { registry: Arc::clone(self), user, holder }
    }

    /// Who holds the user's maildrop, if a session of this process does.
    pub(crate) fn holder(&self, user: &UserName) -> Option<Arc<Holder>> {
        self.lock().get(user).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserName, Arc<Holder>>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder {
    /// Ends the session if it comes from this address and has been idle for so long with no command in flight
    /// (without QUIT nothing is lost), and waits until its maildrop is free. `false` if it may not be ended.
    pub(crate) async fn take_over(&self, address: IpAddr, idle: Duration) -> bool {
        const PATIENCE: Duration = Duration::from_secs(5);
        let released = self.released.notified();
        let idle_enough = self.idle_for().is_some_and(|so_far| so_far >= idle);
        if idle.is_zero() || address != self.address || !idle_enough {
            return false;
        }
        self.kick.notify_one();
        tokio::time::timeout(PATIENCE, released).await.is_ok()
    }

    /// The words of `[IN-USE]`.
    pub(crate) fn describe(&self) -> String {
        let seconds = self.since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() % 86_400);
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let idle = match self.idle_for() {
            Some(idle) => format!("idle for {} s", idle.as_secs()),
            None => "busy now".into(),
        };
        format!("maildrop in use since {hours:02}:{minutes:02}:{seconds:02} UTC by a session that is {idle}")
    }

    fn idle_for(&self) -> Option<Duration> {
        self.idle_since.lock().unwrap_or_else(PoisonError::into_inner).map(|since| since.elapsed())
    }
}

impl Held {
    /// The session waits for a command.
    pub(crate) fn waits(&self) {
        let mut idle_since = self.holder.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        idle_since.get_or_insert_with(Instant::now);
    }

    /// The session has got a command.
    pub(crate) fn works(&self) {
        *self.holder.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut holders = self.registry.lock();
        if holders.get(&self.user).is_some_and(|holder| Arc::ptr_eq(holder, &self.holder)) {
            holders.remove(&self.user);
        }
        drop(holders);
        self.holder.released.notify_waiters();
    }
}
