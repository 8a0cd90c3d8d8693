//! What was heard of one session, as the text of a dialogue (`docs/dialogue.md`). The session writes and goes on; whoever
//! reads has a place of his own, and comes when he likes. A tape has a bound: of what is older nothing is left but how much it
//! was, and a reader who was too slow is told the same.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use restante_proto::{UserName, dialogue::left_out};
use tokio::sync::Notify;

/// How much text is read under the lock that the session's events wait for, in octets.
const READ_MAX_OCTETS: usize = 64 << 10;
/// What a piece takes beside its text, in octets, at most.
const PIECE_OCTETS: usize = 96;

/// The text of one session.
#[derive(Debug)]
pub(crate) struct Tape {
    session: String,
    head: String,
    user: OnceLock<UserName>,
    said: Mutex<Said>,
    /// How often something changed.
    changes: AtomicU64,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Said {
    pieces: VecDeque<Piece>,
    octets: usize,
    /// How many events there were, with those that are not kept.
    events: u64,
    over: Option<String>,
    /// Nobody keeps it any more.
    let_go: bool,
}

#[derive(Debug)]
struct Piece {
    text: String,
    /// How many events stand before it.
    before: u64,
    events: u64,
}

/// How far somebody has read: the head, and so many events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    head: bool,
    events: u64,
}

/// What a reader finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The next text, of whole lines.
    Text(String),
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will follow: why the session ended.
    Over(String),
}

impl Tape {
    /// A tape that begins with this head.
    pub(crate) fn new(session: String, head: String) -> Self {
        Self {
            session,
            head,
            user: OnceLock::new(),
            said: Mutex::default(),
            changes: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// Whose tape it is.
    pub(crate) fn session(&self) -> &str {
        &self.session
    }

    /// Who has logged in, as far as anybody told.
    pub(crate) fn user(&self) -> Option<&UserName> {
        self.user.get()
    }

    /// This user has logged in. There is one login at most.
    pub(crate) fn set_user(&self, user: UserName) {
        let _again = self.user.set(user);
    }

    /// How often something changed: as long as it stays, there is nothing new to read.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What it takes, in octets.
    pub(crate) fn octets(&self) -> usize {
        self.lock().octets + self.session.len() + self.head.len()
    }

    /// Nobody keeps it any more: it takes nothing from now on. Returns what it took, in octets.
    pub(crate) fn let_go(&self) -> usize {
        let mut said = self.lock();
        said.let_go = true;
        said.pieces = VecDeque::new();
        std::mem::take(&mut said.octets) + self.session.len() + self.head.len()
    }

    /// Takes so many events as text, and lets its oldest go beyond so many octets; the newest text always stays. Returns by
    /// how many octets the tape has become longer, or shorter; `None` where nobody keeps it any more.
    pub(crate) fn push(&self, text: String, events: u64, max_octets: usize) -> Option<isize> {
        let mut said = self.lock();
        if said.let_go {
            return None;
        }
        let before = said.octets;
        let place = said.events;
        said.events += events;
        said.octets += text.len() + PIECE_OCTETS;
        said.pieces.push_back(Piece { text, before: place, events });
        let grown = said.shrink(max_octets, before);
        drop(said);
        self.change();
        Some(grown)
    }

    /// Lets its oldest text go beyond so many octets. Returns by how many octets the tape has become longer: none, or less.
    pub(crate) fn shrink(&self, max_octets: usize) -> isize {
        let mut said = self.lock();
        let before = said.octets;
        said.shrink(max_octets, before)
    }

    fn change(&self) {
        self.changes.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// The session is over.
    pub(crate) fn end(&self, why: &str) {
        self.lock().over.get_or_insert_with(|| why.to_owned());
        self.change();
    }

    /// Whether the session is over.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().over.is_some()
    }

    /// Reads on from a place, up to about so many octets.
    pub(crate) fn read(&self, place: &mut Place, max_octets: usize) -> Found {
        let said = self.lock();
        let mut text = String::new();
        if !std::mem::replace(&mut place.head, true) {
            text.push_str(&self.head);
        }
        let from = said.pieces.partition_point(|piece| piece.before < place.events);
        for piece in said.pieces.range(from..) {
            missing(&mut text, piece.before - place.events);
            text.push_str(&piece.text);
            place.events = piece.before + piece.events;
            if text.len() >= max_octets {
                return Found::Text(text);
            }
        }
        missing(&mut text, said.events - place.events);
        place.events = said.events;
        match &said.over {
            _ if !text.is_empty() => Found::Text(text),
            Some(why) => Found::Over(why.clone()),
            None => Found::Nothing,
        }
    }

    /// All that is kept.
    pub(crate) fn text(&self) -> String {
        let (mut place, mut all) = (Place::default(), String::new());
        while let Found::Text(text) = self.read(&mut place, READ_MAX_OCTETS) {
            all.push_str(&text);
        }
        all
    }

    /// Reads on, and waits where there is nothing yet.
    pub(crate) async fn next(&self, place: &mut Place, max_octets: usize) -> Found {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // What happens from now on is not missed.
            changed.as_mut().enable();
            match self.read(place, max_octets) {
                Found::Nothing => changed.await,
                found => return found,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    /// Lets the oldest go; by how much longer it has become than `before`, in octets.
    fn shrink(&mut self, max_octets: usize, before: usize) -> isize {
        while self.octets > max_octets
            && self.pieces.len() > 1
            && let Some(oldest) = self.pieces.pop_front()
        {
            self.octets -= oldest.text.len() + PIECE_OCTETS;
        }
        self.octets as isize - before as isize
    }
}

/// So many events lack here.
fn missing(text: &mut String, events: u64) {
    if events > 0 {
        text.push_str(&left_out(events, "only the newest are kept"));
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 20;

    fn line(n: usize) -> String {
        format!("{n}.000000 C: NOOP\n")
    }

    #[test]
    fn every_reader_reads_all_in_order_from_the_head_on() {
        let tape = Tape::new("1-1".into(), "title: a\n\n".into());
        let (mut early, mut late) = (Place::default(), Place::default());
        assert_eq!(tape.read(&mut early, 1), Found::Text("title: a\n\n".into()));
        assert_eq!(tape.read(&mut early, 1), Found::Nothing);
        tape.push(line(1), 1, MAX);
        tape.push(line(2), 1, MAX);
        assert_eq!(tape.read(&mut early, 1), Found::Text(line(1)), "a piece at a time");
        assert_eq!(tape.read(&mut early, 1000), Found::Text(line(2)));
        tape.end("quit");
        assert_eq!(tape.read(&mut early, 1000), Found::Over("quit".into()));
        assert_eq!(tape.read(&mut late, 1000), Found::Text(format!("title: a\n\n{}{}", line(1), line(2))));
        assert_eq!(tape.read(&mut late, 1000), Found::Over("quit".into()));
    }

    #[test]
    fn it_is_bounded_and_the_newest_stays() {
        let tape = Tape::new("1-1".into(), "\n".into());
        let (mut octets, mut place) = (0, Place::default());
        for n in 0..20_000 {
            octets += tape.push(line(n), 1, MAX).unwrap();
            if n == 5 {
                tape.read(&mut place, MAX);
            }
        }
        assert!(tape.octets() <= MAX + 100 && octets as usize <= MAX);
        // Who reads for the first time, and who was too slow.
        for (mut place, read) in [(Place::default(), 0), (place, 6)] {
            let mut text = String::new();
            while let Found::Text(more) = tape.read(&mut place, 1000) {
                text.push_str(&more);
            }
            let mut lines = text.lines().filter(|line| !line.is_empty());
            let first = lines.next().unwrap();
            let gone = restante_proto::dialogue::events_left_out(first.as_bytes()).unwrap() as usize;
            assert_eq!(lines.next(), Some(line(gone + read).trim_end()));
            assert_eq!(lines.next_back(), Some(line(19_999).trim_end()));
        }
        octets += tape.shrink(1);
        assert_eq!(tape.text().lines().next_back(), Some(line(19_999).trim_end()), "the last one stays");
        assert_eq!(tape.let_go(), octets as usize + "1-1\n".len());
        assert_eq!((tape.push(line(1), 1, MAX), tape.octets()), (None, "1-1\n".len()));
    }
}
