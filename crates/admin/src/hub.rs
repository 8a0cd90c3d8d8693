//! Sessions heard while somebody watches, and those that ended lately. With nobody watching a session is not heard, and
//! costs nothing; whoever watches reads from tapes, and never makes a session wait.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::{self, Write as _},
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use restante_proto::dialogue::Event;
use restante_server::{Begun, Happening, Observer, SessionFacts, Watch, Who};
use tokio::sync::watch;

use crate::{
    facts::{Ended, Session, millis},
    tape::Tape,
};

/// How much text of all sessions together is kept, in octets.
const TAPES_MAX_OCTETS: usize = 64 << 20;
/// How much of one session is kept at most, in octets, and how much at least, however many there are: a flood of strangers
/// takes nobody's place.
const TAPE_MAX_OCTETS: usize = 1 << 20;
const TAPE_MIN_OCTETS: usize = 4 << 10;
/// How much text is kept or let go as a whole, in octets, apart from what the last line of it has more.
const PIECE_OCTETS: usize = 2 << 10;
/// How often at most all tapes are made shorter.
const SHRINK_EVERY: Duration = Duration::from_secs(1);
/// How much of that is left to sessions that have ended, in octets.
const ENDED_TAPES_MAX_OCTETS: usize = TAPES_MAX_OCTETS / 2;
/// How many sessions that ended are remembered.
const ENDED_MAX: usize = 200;
/// How long sessions are still heard when nobody watches any more: a page that is loaded anew misses nothing.
const LINGER: Duration = Duration::from_secs(20);

/// Hears sessions. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Inner>);

struct Inner {
    /// Somebody watches, or did a moment ago. It changes under the lock of `memory`.
    hears: AtomicBool,
    octets: AtomicUsize,
    /// How much one tape may hold now, in octets.
    share_octets: AtomicUsize,
    memory: Mutex<Memory>,
    /// A session began or ended.
    turned: watch::Sender<()>,
    /// Something was heard, or a session began or ended.
    said: watch::Sender<()>,
}

#[derive(Default)]
struct Memory {
    watchers: usize,
    /// How often somebody began to watch.
    visits: u64,
    /// With the place of each in `order`.
    tapes: HashMap<String, (u64, Arc<Tape>)>,
    /// In the order in which they began.
    order: BTreeMap<u64, Arc<Tape>>,
    begins: u64,
    shrunk: Option<Instant>,
    /// The latest first.
    ended: VecDeque<Gone>,
    ends: u64,
}

/// A session that ended. What is told of it is made when somebody asks: most sessions end unseen.
struct Gone {
    /// It was the how-many-th to end.
    end: u64,
    facts: SessionFacts,
    at: SystemTime,
    why: String,
}

/// Somebody who watches, as long as he does.
pub(crate) struct Watching(Hub);

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hub")
    }
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            hears: AtomicBool::new(false),
            octets: AtomicUsize::new(0),
            share_octets: AtomicUsize::new(TAPE_MAX_OCTETS),
            memory: Mutex::default(),
            turned: watch::Sender::default(),
            said: watch::Sender::default(),
        }))
    }

    /// Somebody watches: sessions that begin from now on are heard.
    pub(crate) fn watch(&self) -> Watching {
        let mut memory = self.lock();
        memory.watchers += 1;
        memory.visits += 1;
        self.0.hears.store(true, Ordering::Relaxed);
        Watching(self.clone())
    }

    /// What was heard of this session.
    pub(crate) fn tape(&self, session: &str) -> Option<Arc<Tape>> {
        self.lock().tapes.get(session).map(|(_, tape)| Arc::clone(tape))
    }

    /// What was heard of sessions that began to be heard behind so many, in that order; and how many that were.
    pub(crate) fn tapes_since(&self, begins: u64) -> (Vec<Arc<Tape>>, u64) {
        let memory = self.lock();
        (memory.order.range(begins + 1..).map(|(_, tape)| Arc::clone(tape)).collect(), memory.begins)
    }

    /// This session, if it ended lately.
    pub(crate) fn ended(&self, session: &str) -> Option<Ended> {
        let memory = self.lock();
        memory.ended.iter().find(|gone| gone.facts.session == session).map(|gone| gone.told(&memory))
    }

    /// The sessions that ended behind so many, the latest first; and how many have ended.
    pub(crate) fn ended_since(&self, ends: u64) -> (Vec<Ended>, u64) {
        let memory = self.lock();
        let since = memory.ended.iter().take_while(|gone| gone.end > ends);
        (since.map(|gone| gone.told(&memory)).collect(), memory.ends)
    }

    /// Tells, from now on, that a session began or ended.
    pub(crate) fn turned(&self) -> watch::Receiver<()> {
        self.0.turned.subscribe()
    }

    /// Tells, from now on, that something was heard, or that a session began or ended.
    pub(crate) fn said(&self) -> watch::Receiver<()> {
        self.0.said.subscribe()
    }

    fn turns(&self) {
        self.0.turned.send_replace(());
        self.0.said.send_replace(());
    }

    fn hears(&self) -> bool {
        self.0.hears.load(Ordering::Relaxed)
    }

    /// Nobody has watched since so many visits: what was heard is forgotten.
    fn rest(&self, visits: u64) {
        let mut memory = self.lock();
        if memory.watchers > 0 || memory.visits != visits {
            return;
        }
        self.0.hears.store(false, Ordering::Relaxed);
        memory.order.clear();
        for (_, (_, tape)) in memory.tapes.drain() {
            self.grow(-(tape.let_go() as isize));
        }
    }

    fn begins(&self, tape: &Arc<Tape>) -> bool {
        let mut memory = self.lock();
        // Nobody watches any more, or somebody has asked twice.
        if !self.hears() || memory.tapes.contains_key(tape.session()) {
            return false;
        }
        self.grow(tape.octets() as isize);
        memory.begins += 1;
        let begin = memory.begins;
        memory.order.insert(begin, Arc::clone(tape));
        memory.tapes.insert(tape.session().to_owned(), (begin, Arc::clone(tape)));
        self.share(&mut memory);
        drop(memory);
        self.turns();
        true
    }

    /// Finds out how much one tape may hold, and makes those shorter that hold more where there is too much.
    fn share(&self, memory: &mut Memory) {
        let share = (TAPES_MAX_OCTETS / memory.tapes.len().max(1)).clamp(TAPE_MIN_OCTETS, TAPE_MAX_OCTETS);
        self.0.share_octets.store(share, Ordering::Relaxed);
        if self.0.octets.load(Ordering::Relaxed) <= TAPES_MAX_OCTETS
            || memory.shrunk.is_some_and(|last| last.elapsed() < SHRINK_EVERY)
        {
            return;
        }
        memory.shrunk = Some(Instant::now());
        for tape in memory.order.values() {
            self.grow(tape.shrink(share));
        }
    }

    /// How much one tape may hold now, in octets.
    fn share_octets(&self) -> usize {
        if self.0.octets.load(Ordering::Relaxed) > TAPES_MAX_OCTETS {
            return TAPE_MIN_OCTETS;
        }
        self.0.share_octets.load(Ordering::Relaxed)
    }

    fn ends(&self, facts: SessionFacts, why: String) {
        let mut memory = self.lock();
        memory.ends += 1;
        let end = memory.ends;
        memory.ended.push_front(Gone { end, facts, at: SystemTime::now(), why });
        if memory.ended.len() > ENDED_MAX
            && let Some(oldest) = memory.ended.pop_back()
        {
            self.forget(&mut memory, &oldest.facts.session);
        }
        let (mut kept, mut beyond) = (0, Vec::new());
        let heard = if memory.tapes.is_empty() { 0 } else { memory.ended.len() };
        for gone in memory.ended.iter().take(heard) {
            let Some((_, tape)) = memory.tapes.get(&gone.facts.session) else { continue };
            kept += tape.octets();
            if kept > ENDED_TAPES_MAX_OCTETS {
                beyond.push(gone.facts.session.clone());
            }
        }
        for session in beyond {
            self.forget(&mut memory, &session);
        }
        if heard > 0 {
            self.share(&mut memory);
        }
        drop(memory);
        self.turns();
    }

    fn forget(&self, memory: &mut Memory, session: &str) {
        if let Some((begin, tape)) = memory.tapes.remove(session) {
            memory.order.remove(&begin);
            self.grow(-(tape.let_go() as isize));
        }
    }

    /// Keeps so many events as text; `false` where nobody keeps the tape any more.
    fn keep(&self, tape: &Tape, mut text: String, events: u64) -> bool {
        // What it could hold more is not counted.
        text.shrink_to_fit();
        tape.push(text, events, self.share_octets()).is_some_and(|grown| {
            self.grow(grown);
            true
        })
    }

    fn grow(&self, octets: isize) {
        self.0.octets.fetch_add(octets as usize, Ordering::Relaxed); // wraps where it is less than nothing
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gone {
    fn told(&self, memory: &Memory) -> Ended {
        Ended {
            session: Session::from(&self.facts),
            ended_ms: millis(self.at),
            why: self.why.clone(),
            heard: memory.tapes.contains_key(&self.facts.session),
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let hub = self.0.clone();
        let visits = {
            let mut memory = hub.lock();
            memory.watchers -= 1; // there was this one
            if memory.watchers > 0 {
                return;
            }
            memory.visits
        };
        // Without a runtime the server is gone too.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(LINGER).await;
                hub.rest(visits);
            });
        }
    }
}

impl Observer for Hub {
    fn begin(&self, session: &Begun<'_>) -> Option<Box<dyn Watch>> {
        if !self.hears() {
            return None;
        }
        let tape = Arc::new(Tape::new(session.session(), session.head().to_string()));
        let ear = || Ear { hub: self.clone(), tape: Arc::clone(&tape), who: session.who() };
        self.begins(&tape).then(|| Box::new(ear()) as Box<dyn Watch>)
    }

    fn happened(&self, happening: &Happening<'_>) {
        match happening {
            Happening::Connected { .. } => self.turns(),
            Happening::Ended { session, why, .. } => self.ends((*session).clone(), (*why).to_owned()),
            _ => {}
        }
    }
}

/// Hears one session.
struct Ear {
    hub: Hub,
    tape: Arc<Tape>,
    who: Who,
}

impl Watch for Ear {
    fn events(&mut self, events: &[Event]) -> ControlFlow<()> {
        if !self.hub.hears() {
            return ControlFlow::Break(());
        }
        if self.tape.user().is_none()
            && let Some(user) = self.who.user()
        {
            self.tape.set_user(user);
        }
        let (mut text, mut written) = (String::new(), 0);
        for (at, event) in events.iter().enumerate() {
            // A text takes all.
            let _written = writeln!(text, "{event}");
            written += 1;
            if text.len() < PIECE_OCTETS && at + 1 < events.len() {
                continue;
            }
            if !self.hub.keep(&self.tape, std::mem::take(&mut text), std::mem::take(&mut written)) {
                return ControlFlow::Break(());
            }
        }
        self.hub.0.said.send_replace(());
        ControlFlow::Continue(())
    }

    fn ended(&mut self, why: &str) {
        self.tape.end(why);
        self.hub.0.said.send_replace(());
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.tape.end("it is not heard any more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::{Found, Place};

    fn begins(hub: &Hub, session: usize) -> Arc<Tape> {
        let tape = Arc::new(Tape::new(format!("1-{session}"), "\n".into()));
        assert!(hub.begins(&tape));
        tape
    }

    fn octets(hub: &Hub) -> usize {
        let octets = hub.0.octets.load(Ordering::Relaxed);
        let sum: usize = hub.lock().order.values().map(|tape| tape.octets()).sum();
        assert_eq!(octets, sum, "it is counted right");
        octets
    }

    #[tokio::test]
    async fn a_flood_of_strangers_takes_nobodys_place() {
        let (hub, line) = (Hub::new(), "0.000000 C: NOOP\n");
        let _watching = hub.watch();
        let text = line.repeat(100);
        let mut tapes = Vec::new();
        for session in 0..1000 {
            hub.lock().shrunk = None;
            let tape = begins(&hub, session);
            for _ in 0..400 {
                assert!(hub.keep(&tape, text.clone(), 100));
            }
            tapes.push(tape);
        }
        let largest = TAPES_MAX_OCTETS + 1000 * TAPE_MIN_OCTETS + text.len() * 400;
        assert!(octets(&hub) < largest, "{} octets", octets(&hub));
        // Who comes now is heard, and keeps what is newest.
        let tape = begins(&hub, 1000);
        assert!(hub.keep(&tape, line.into(), 1));
        assert_eq!(tape.read(&mut Place::default(), 1000), Found::Text(format!("\n{line}")));
        assert!(tape.text().ends_with(line));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_heard_is_forgotten_when_nobody_has_watched_for_a_while() {
        let hub = Hub::new();
        let watching = hub.watch();
        let tape = begins(&hub, 1);
        drop(watching);
        tokio::time::sleep(LINGER - Duration::from_secs(1)).await;
        // Somebody comes back, and goes again: the time begins anew.
        drop(hub.watch());
        tokio::time::sleep(LINGER - Duration::from_secs(1)).await;
        assert!(hub.tape("1-1").is_some() && hub.keep(&tape, "a\n".into(), 1));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(hub.tape("1-1").is_none() && !hub.hears() && octets(&hub) == 0);
        assert!(!hub.keep(&tape, "a\n".into(), 1), "nobody keeps it");
        assert!(!hub.begins(&Arc::new(Tape::new("1-2".into(), "\n".into()))), "nobody watches");
    }
}
