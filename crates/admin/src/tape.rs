//! What was heard of one session, as the text of a dialogue (`docs/dialogue.md`). The session writes and goes on; whoever
//! reads has a place of his own, and comes when he likes. A tape has a bound: of what is older nothing is left but how much it
//! was, and a reader who was too slow is told the same.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use restante_proto::dialogue::left_out;
use tokio::sync::Notify;

/// How much text of one session is kept, in octets.
pub(crate) const TAPE_MAX_OCTETS: usize = 1 << 20;
/// What a piece takes beside its text, in octets, at most.
const PIECE_OCTETS: usize = 96;

/// The text of one session.
#[derive(Debug)]
pub(crate) struct Tape {
    session: String,
    head: String,
    said: Mutex<Said>,
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
        Self { session, head, said: Mutex::default(), changed: Notify::new() }
    }

    /// Whose tape it is.
    pub(crate) fn session(&self) -> &str {
        &self.session
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

    /// Takes so many events as text. Without `room` they are only counted. Returns by how many octets the tape has become
    /// longer, or shorter; `None` where nobody keeps it any more.
    pub(crate) fn push(&self, text: String, events: u64, room: bool) -> Option<isize> {
        let mut said = self.lock();
        if said.let_go {
            return None;
        }
        let before = said.octets;
        let place = said.events;
        said.events += events;
        if room && text.len() + PIECE_OCTETS <= TAPE_MAX_OCTETS {
            said.octets += text.len() + PIECE_OCTETS;
            said.pieces.push_back(Piece { text, before: place, events });
            while said.octets > TAPE_MAX_OCTETS
                && let Some(oldest) = said.pieces.pop_front()
            {
                said.octets -= oldest.text.len() + PIECE_OCTETS;
            }
        }
        let grown = said.octets as isize - before as isize;
        drop(said);
        self.changed.notify_waiters();
        Some(grown)
    }

    /// The session is over.
    pub(crate) fn end(&self, why: &str) {
        self.lock().over.get_or_insert_with(|| why.to_owned());
        self.changed.notify_waiters();
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
        match self.read(&mut Place::default(), usize::MAX) {
            Found::Text(text) => text,
            Found::Nothing | Found::Over(_) => String::new(),
        }
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

/// So many events lack here.
fn missing(text: &mut String, events: u64) {
    if events > 0 {
        text.push_str(&left_out(events, "they came faster than they were kept"));
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: usize) -> String {
        format!("{n}.000000 C: NOOP\n")
    }

    #[test]
    fn every_reader_reads_all_in_order_from_the_head_on() {
        let tape = Tape::new("1-1".into(), "title: a\n\n".into());
        let (mut early, mut late) = (Place::default(), Place::default());
        assert_eq!(tape.read(&mut early, 1), Found::Text("title: a\n\n".into()));
        assert_eq!(tape.read(&mut early, 1), Found::Nothing);
        tape.push(line(1), 1, true);
        tape.push(line(2), 1, true);
        assert_eq!(tape.read(&mut early, 1), Found::Text(line(1)), "a piece at a time");
        assert_eq!(tape.read(&mut early, 1000), Found::Text(line(2)));
        tape.end("quit");
        assert_eq!(tape.read(&mut early, 1000), Found::Over("quit".into()));
        assert_eq!(tape.read(&mut late, 1000), Found::Text(format!("title: a\n\n{}{}", line(1), line(2))));
        assert_eq!(tape.read(&mut late, 1000), Found::Over("quit".into()));
    }

    #[test]
    fn what_is_not_kept_is_told_in_its_place() {
        let tape = Tape::new("1-1".into(), "\n".into());
        let mut place = Place::default();
        tape.push(line(1), 1, true);
        tape.push(line(2), 3, false);
        tape.push(line(3), 1, true);
        tape.push(line(4), 2, false);
        let told = |events| format!("{}\n", left_out(events, "they came faster than they were kept"));
        let whole = format!("\n{}{}{}{}", line(1), told(3), line(3), told(2));
        assert_eq!(tape.read(&mut place, 1000), Found::Text(whole));
        assert_eq!(tape.read(&mut place, 1000), Found::Nothing);
    }

    #[test]
    fn it_is_bounded_and_the_newest_stays() {
        let tape = Tape::new("1-1".into(), "\n".into());
        let mut octets = 0;
        for n in 0..20_000 {
            octets += tape.push(line(n), 1, true).unwrap();
        }
        assert!(tape.octets() <= TAPE_MAX_OCTETS + 100 && octets as usize <= TAPE_MAX_OCTETS);
        let text = tape.text();
        let mut lines = text.lines().skip(1);
        let first = lines.next().unwrap();
        let gone: usize = restante_proto::dialogue::events_left_out(first.as_bytes()).unwrap() as usize;
        assert_eq!(lines.next(), Some(line(gone).trim_end()));
        assert_eq!(lines.last(), Some(line(19_999).trim_end()));
        assert_eq!(tape.let_go(), octets as usize + "1-1\n".len());
        assert_eq!((tape.push(line(1), 1, true), tape.octets()), (None, "1-1\n".len()));
    }
}
