//! How many attempts an address may have under way, and whose turn is next.
//!
//! An attempt takes one of its address's places before its password is looked at; a right one gives it back at once, a
//! wrong one when its answer is due, even if the client has gone, so that guessing in parallel or hanging up buys
//! nothing. Who has logged in lately from there has places of their own, and where all are taken attempts wait for a
//! turn, the name that holds fewest places first, the newest of the name that waits most often being sent away where
//! too many wait: guessing at one name keeps nobody else out. (Ever new names can make strangers to an address wait.)

use std::{
    collections::{HashMap, hash_map::Entry},
    mem::take,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, sleep_until, timeout},
};

use super::{Attempt, REMEMBERED_MAX, Table};

/// How long a login is remembered as a late one: most clients look for mail more than once a day.
const LATELY: Duration = Duration::from_secs(24 * 3600);

/// How many places a user who has logged in lately has of their own at an address.
pub(crate) const RESERVED_PER_USER: usize = 2;
/// How many such places an address has in all.
pub(crate) const RESERVED_PER_ADDRESS: usize = 64;
/// How many attempts wait for a turn at one address.
pub(crate) const QUEUE_PER_ADDRESS: usize = 128;
/// How long an attempt waits for its turn.
pub(crate) const TURN_WAIT_MAX: Duration = Duration::from_secs(30);

/// The places of every address.
#[derive(Debug)]
pub(crate) struct Rooms {
    /// How many places an address has, but for those reserved.
    places: usize,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    rooms: HashMap<IpAddr, Room>,
    lately: Table<Attempt>,
    next_id: u64,
}

/// One address; it is here as long as somebody holds a place or waits.
#[derive(Debug, Default)]
struct Room {
    held: Vec<Held>,
    queue: Vec<Waiter>,
}

#[derive(Debug)]
struct Held {
    id: u64,
    user: u64,
    reserved: bool,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    user: u64,
    known: bool,
    /// Dropped where the attempt is sent away.
    turn: oneshot::Sender<()>,
}

/// A place, or a place in the queue for one; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    rooms: Arc<Rooms>,
    attempt: Attempt,
    id: u64,
}

impl Rooms {
    /// So many places for each address, one at least.
    pub(crate) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places: places.max(1), book: Mutex::default() })
    }

    /// Waits for a place; `None` if too many wait already, or for too long.
    pub(crate) async fn enter(self: &Arc<Self>, attempt: Attempt) -> Option<Place> {
        let (place, turn) = self.ask(attempt, Instant::now());
        match timeout(TURN_WAIT_MAX, turn).await {
            Ok(Ok(())) => Some(place),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// Whether this user has logged in lately from this address.
    pub(crate) fn knows(&self, attempt: Attempt, now: Instant) -> bool {
        self.book().lately.holds(attempt, now, LATELY)
    }

    fn ask(self: &Arc<Self>, attempt: Attempt, now: Instant) -> (Place, oneshot::Receiver<()>) {
        let (turn, wait) = oneshot::channel();
        let mut book = self.book();
        let Book { rooms, lately, next_id } = &mut *book;
        let id = *next_id;
        *next_id += 1;
        let known = lately.holds(attempt, now, LATELY);
        let room = rooms.entry(attempt.address).or_default();
        room.queue.push(Waiter { id, user: attempt.user, known, turn });
        room.admit(self.places);
        if room.queue.len() > QUEUE_PER_ADDRESS {
            room.send_one_away();
        }
        drop(book);
        (Place { rooms: Arc::clone(self), attempt, id }, wait)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The password was right: whoever this is has places of their own here from now on.
    pub(crate) fn succeeded(self, now: Instant) {
        self.rooms.book().lately.add(self.attempt, now, LATELY);
    }

    /// The password was wrong, and is answered then. It needs tokio's timer, or the place is given back at once.
    pub(crate) fn keep_until(self, due: Instant) {
        let Ok(runtime) = Handle::try_current() else { return };
        // Where too many addresses wait, one is forgotten: its answer is delayed all the same.
        if due > Instant::now() && self.rooms.book().rooms.len() <= REMEMBERED_MAX {
            runtime.spawn(async move {
                sleep_until(due).await;
                drop(self);
            });
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut book = self.rooms.book();
        if let Entry::Occupied(mut room) = book.rooms.entry(self.attempt.address) {
            room.get_mut().leave(self.id, self.rooms.places);
            if room.get().held.is_empty() && room.get().queue.is_empty() {
                room.remove();
            }
        }
    }
}

impl Room {
    fn leave(&mut self, id: u64, places: usize) {
        self.held.retain(|held| held.id != id);
        self.queue.retain(|waiter| waiter.id != id);
        self.admit(places);
    }

    /// Gives the free places to those whose turn it is.
    fn admit(&mut self, places: usize) {
        // In the order of arrival, who has a place of their own.
        for waiter in take(&mut self.queue) {
            if waiter.known && self.has_reserved(waiter.user) {
                self.give(waiter, true);
            } else {
                self.queue.push(waiter);
            }
        }
        while self.held.iter().filter(|held| !held.reserved).count() < places {
            let holds = |user| self.held.iter().filter(|held| !held.reserved && held.user == user).count();
            let turns = self.queue.iter().enumerate();
            let first = turns.min_by_key(|(_, waiter)| (holds(waiter.user), !waiter.known, waiter.id));
            let Some((index, _)) = first else { break };
            let waiter = self.queue.remove(index);
            self.give(waiter, false);
        }
    }

    fn has_reserved(&self, user: u64) -> bool {
        let reserved = || self.held.iter().filter(|held| held.reserved);
        reserved().count() < RESERVED_PER_ADDRESS
            && reserved().filter(|held| held.user == user).count() < RESERVED_PER_USER
    }

    fn give(&mut self, waiter: Waiter, reserved: bool) {
        self.held.push(Held { id: waiter.id, user: waiter.user, reserved });
        // Who has just gone gives the place back as soon as we let go of the book.
        waiter.turn.send(()).unwrap_or_default();
    }

    /// The newest attempt of the name that waits most often; where all wait as often, of a name not known here.
    fn send_one_away(&mut self) {
        let waits = |user| self.queue.iter().filter(|waiter| waiter.user == user).count();
        let queue = self.queue.iter().enumerate();
        let last = queue.max_by_key(|(_, waiter)| (waits(waiter.user), !waiter.known, waiter.id));
        if let Some((index, _)) = last {
            self.queue.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn attempt(user: u64) -> Attempt {
        Attempt { address: ADDRESS, user }
    }

    type Asked = (Place, oneshot::Receiver<()>);

    fn ask(rooms: &Arc<Rooms>, user: u64) -> Asked {
        rooms.ask(attempt(user), Instant::now())
    }

    fn is_in((_, turn): &mut Asked) -> bool {
        turn.try_recv().is_ok()
    }

    fn is_sent_away((_, turn): &mut Asked) -> bool {
        turn.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn a_place_is_given_back_and_an_address_without_any_is_forgotten() {
        let rooms = Rooms::new(2);
        let mut asked: Vec<_> = (0..3).map(|_| ask(&rooms, 1)).collect();
        assert_eq!(asked.iter_mut().map(is_in).collect::<Vec<_>>(), [true, true, false]);
        drop(asked.remove(0));
        assert!(is_in(&mut asked[1]));
        // Who goes while waiting leaves the queue.
        drop(ask(&rooms, 1));
        assert!(rooms.book().rooms[&ADDRESS].queue.is_empty());
        asked.clear();
        assert!(rooms.book().rooms.is_empty());
    }

    #[test]
    fn the_name_that_holds_fewest_is_next_however_long_the_others_wait() {
        let rooms = Rooms::new(3);
        let mut flood: Vec<_> = (0..50).map(|_| ask(&rooms, 1)).collect();
        let mut honest = ask(&rooms, 2);
        assert!(!is_in(&mut honest));
        drop(flood.remove(0));
        assert!(is_in(&mut honest) && !is_in(&mut flood[2]));
    }

    #[test]
    fn a_full_queue_sends_the_most_frequent_name_away() {
        let rooms = Rooms::new(1);
        let mut flood: Vec<_> = (0..=QUEUE_PER_ADDRESS).map(|_| ask(&rooms, 1)).collect();
        assert!(!flood.iter_mut().any(is_sent_away));
        let mut honest = ask(&rooms, 2);
        assert!(!is_sent_away(&mut honest) && is_sent_away(&mut flood[QUEUE_PER_ADDRESS]));
        assert!(is_sent_away(&mut ask(&rooms, 1)), "the newest of the name");
        assert_eq!(rooms.book().rooms[&ADDRESS].queue.len(), QUEUE_PER_ADDRESS);
    }

    #[test]
    fn who_has_logged_in_lately_has_places_of_their_own() {
        let rooms = Rooms::new(1);
        let (place, _) = ask(&rooms, 7);
        place.succeeded(Instant::now());
        // Ever new names.
        let mut flood: Vec<_> = (100..200 + QUEUE_PER_ADDRESS as u64).map(|user| ask(&rooms, user)).collect();
        let mut own: Vec<_> = (0..=RESERVED_PER_USER).map(|_| ask(&rooms, 7)).collect();
        assert_eq!(own.iter_mut().map(is_in).collect::<Vec<_>>(), [true, true, false]);
        assert!(!is_sent_away(&mut own[2]), "a stranger goes instead");
        drop(flood.remove(0));
        assert!(is_in(&mut own[2]), "and comes next");
        drop(own);
        let later = Instant::now() + LATELY;
        let (_place, mut turn) = rooms.ask(attempt(7), later);
        assert!(turn.try_recv().is_err(), "not for ever");
    }

    #[test]
    fn reserved_places_are_bounded_for_each_address() {
        let rooms = Rooms::new(1);
        let users = 1..=RESERVED_PER_ADDRESS as u64 + 3;
        for user in users.clone() {
            ask(&rooms, user).0.succeeded(Instant::now());
        }
        let mut asked: Vec<_> = users.map(|user| ask(&rooms, user)).collect();
        assert_eq!(
            asked.iter_mut().filter_map(|asked| is_in(asked).then_some(())).count(),
            RESERVED_PER_ADDRESS + 1
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_answer_keeps_its_place_until_it_is_due_and_nobody_waits_for_ever() {
        let rooms = Rooms::new(1);
        let begin = Instant::now();
        let place = rooms.enter(attempt(1)).await.unwrap();
        place.keep_until(begin + Duration::from_secs(15));
        let place = rooms.enter(attempt(2)).await.unwrap();
        assert_eq!(begin.elapsed().as_secs(), 15);
        assert!(rooms.enter(attempt(3)).await.is_none());
        assert_eq!(begin.elapsed().as_secs(), 15 + TURN_WAIT_MAX.as_secs());
        drop(place);
        assert!(rooms.enter(attempt(3)).await.is_some());
    }
}
