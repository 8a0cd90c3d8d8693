//! Who has come by TCP, and is counted: strangers until they show the token, few of each address; whoever has shown it is
//! none of them any more. Where too many strangers are there the one that came first goes, so that nobody who sits there
//! and says nothing keeps others out.

use std::{
    collections::VecDeque,
    future::{Future, pending},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::door::net;

/// Strangers of one address at a time.
const STRANGERS_PER_ADDRESS_MAX: usize = 32;
/// Strangers at a time.
const STRANGERS_MAX: usize = 256;

/// All that are there, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    there: Mutex<There>,
}

#[derive(Debug, Default)]
struct There {
    strangers: VecDeque<(u64, IpAddr, oneshot::Sender<()>)>,
    next: u64,
}

impl Strangers {
    fn there(&self) -> MutexGuard<'_, There> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl There {
    /// Makes room for one from there.
    fn make_room(&mut self, from: IpAddr) {
        let all = self.strangers.iter().enumerate();
        let mut theirs = all.filter(|(_, (_, net, _))| *net == from).map(|(at, _)| at);
        let first = theirs.next();
        let first = first.filter(|_| 1 + theirs.count() >= STRANGERS_PER_ADDRESS_MAX);
        let first = first.or_else(|| (self.strangers.len() >= STRANGERS_MAX).then_some(0));
        if let Some((_, _, cut)) = first.and_then(|at| self.strangers.remove(at)) {
            // It may be gone already.
            let _gone = cut.send(());
        }
    }
}

/// One who has come.
#[derive(Debug)]
pub(crate) struct Guest {
    number: u64,
    strangers: Arc<Strangers>,
    room: Arc<Semaphore>,
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Guest {
    /// A stranger, and what is ready when it has to go.
    pub(super) fn new(
        strangers: &Arc<Strangers>,
        from: IpAddr,
        room: Arc<Semaphore>,
    ) -> (Self, impl Future<Output = ()> + use<>) {
        let (cut, is_cut) = oneshot::channel();
        let mut there = strangers.there();
        let (number, from) = (there.next, net(from));
        there.next += 1;
        there.make_room(from);
        there.strangers.push_back((number, from, cut));
        let is_cut = async {
            // Where nobody can tell it any more, it is no stranger.
            if is_cut.await.is_err() {
                pending::<()>().await;
            }
        };
        (Self { number, strangers: Arc::clone(strangers), room, place: Mutex::default() }, is_cut)
    }

    /// It has shown the token, and is no stranger any more; `false` where too many of those are there.
    pub(crate) fn is_let_in(&self) -> bool {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_none() {
            *place = Arc::clone(&self.room).try_acquire_owned().ok();
            if place.is_some() {
                self.leave();
            }
        }
        place.is_some()
    }

    fn leave(&self) {
        self.strangers.there().strangers.retain(|(number, ..)| *number != self.number);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_stranger_goes_where_many_are() {
        let (strangers, room) = (Arc::default(), Arc::new(Semaphore::new(1)));
        let come = |last: u8| Guest::new(&strangers, [192, 0, 2, last].into(), Arc::clone(&room));
        let (known, known_cut) = come(7);
        assert!(known.is_let_in() && known.is_let_in());
        let (other, other_cut) = come(8);
        assert!(!other.is_let_in(), "there is no room");
        let (_first, first_cut) = come(7);
        let _more: Vec<_> = (1..STRANGERS_PER_ADDRESS_MAX).map(|_| come(7)).collect();
        assert_eq!(strangers.there().strangers.len(), STRANGERS_PER_ADDRESS_MAX + 1);
        let (_last, last_cut) = come(7);
        first_cut.await;
        assert_eq!(strangers.there().strangers.len(), STRANGERS_PER_ADDRESS_MAX + 1);
        // From everywhere: the other one is the first of all.
        let _all: Vec<_> = (0..=STRANGERS_MAX).map(|n| come(100 + (n % 100) as u8)).collect();
        other_cut.await;
        assert_eq!(strangers.there().strangers.len(), STRANGERS_MAX);
        tokio::select! {
            biased;
            () = known_cut => panic!("who has shown the token stays"),
            () = last_cut => {}
        }
        drop(known);
        let (one, _cut) = come(7);
        assert!(one.is_let_in());
    }
}
