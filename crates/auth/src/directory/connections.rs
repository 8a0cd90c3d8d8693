//! A bounded number of connections to one service, made when they are needed and kept for the next who needs one.
//!
//! What a connection is, and whether it still works, its user knows: who is done with a sound one gives it back, and
//! one that is dropped is closed. So a question that was cut short never leaves its answer to somebody else.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

/// For how long a connection that nobody uses is kept. What stands in between may have forgotten an older one.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(60);

/// Connections, and the right to have one.
pub(super) struct Connections<C> {
    places: Semaphore,
    idle: Mutex<Vec<(C, Instant)>>,
}

/// The right to have one connection.
pub(super) struct Place<'a, C> {
    connections: &'a Connections<C>,
    /// Held for what its end means.
    _permit: SemaphorePermit<'a>,
}

impl<C> Connections<C> {
    /// So many connections at once, one at least.
    pub(super) fn new(most: usize) -> Self {
        Self { places: Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)), idle: Mutex::new(Vec::new()) }
    }

    /// Waits for a place. The caller bounds how long.
    pub(super) async fn place(&self) -> Option<Place<'_, C>> {
        let permit = self.places.acquire().await.ok()?;
        Some(Place { connections: self, _permit: permit })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(C, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Place<'_, C> {
    /// The connection that was used last, if one is left that is not too old.
    pub(super) fn take(&self) -> Option<C> {
        let mut idle = self.connections.idle();
        idle.retain(|(_, since)| since.elapsed() < IDLE_MAX);
        idle.pop().map(|(connection, _)| connection)
    }

    /// Gives a sound connection back.
    pub(super) fn give_back(self, connection: C) {
        self.connections.idle().push((connection, Instant::now()));
    }

    /// Closes what nobody uses: one that failed says that the others will, since the service was started anew.
    pub(super) fn forget_others(&self) {
        let idle = std::mem::take(&mut *self.connections.idle());
        drop(idle);
    }
}

impl<C> fmt::Debug for Connections<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("free", &self.places.available_permits()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_than_there_are_places_and_who_leaves_makes_room() {
        let connections = Connections::new(2);
        let (first, second) = (connections.place().await.unwrap(), connections.place().await.unwrap());
        assert!(timeout(Duration::from_secs(1), connections.place()).await.is_err());
        first.give_back(1);
        let third = connections.place().await.unwrap();
        assert_eq!((third.take(), third.take()), (Some(1), None));
        drop(second);
        drop(third);
        assert_eq!(connections.place().await.unwrap().take(), None, "what was not given back is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn old_ones_and_those_of_a_service_that_ended_are_closed() {
        let connections = Connections::new(2);
        connections.place().await.unwrap().give_back(1);
        advance(IDLE_MAX).await;
        assert_eq!(connections.place().await.unwrap().take(), None);
        connections.place().await.unwrap().give_back(2);
        let place = connections.place().await.unwrap();
        place.forget_others();
        assert_eq!(place.take(), None);
    }
}
