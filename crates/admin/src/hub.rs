//! Sessions heard while somebody watches, and those that ended lately. With nobody watching a session is not heard, and
//! costs nothing; whoever watches reads from tapes, and never makes a session wait.

use std::{
    collections::{HashMap, VecDeque},
    fmt::{self, Write as _},
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use restante_proto::dialogue::Event;
use restante_server::{Begun, Happening, Observer, SessionFacts, Watch};
use tokio::sync::watch;

use crate::{
    facts::{Ended, Session, millis},
    tape::Tape,
};

/// How much text of all sessions together is kept, in octets.
const TAPES_MAX_OCTETS: usize = 64 << 20;
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
    watchers: AtomicUsize,
    /// Somebody watches, or did a moment ago.
    hears: AtomicBool,
    octets: AtomicUsize,
    memory: Mutex<Memory>,
    /// A session began or ended.
    turned: watch::Sender<()>,
    /// Something was heard, or a session began or ended.
    said: watch::Sender<()>,
}

#[derive(Default)]
struct Memory {
    tapes: HashMap<String, Arc<Tape>>,
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
            watchers: AtomicUsize::new(0),
            hears: AtomicBool::new(false),
            octets: AtomicUsize::new(0),
            memory: Mutex::default(),
            turned: watch::Sender::default(),
            said: watch::Sender::default(),
        }))
    }

    /// Somebody watches: sessions that begin from now on are heard.
    pub(crate) fn watch(&self) -> Watching {
        self.0.watchers.fetch_add(1, Ordering::SeqCst);
        self.0.hears.store(true, Ordering::SeqCst);
        Watching(self.clone())
    }

    /// What was heard of this session.
    pub(crate) fn tape(&self, session: &str) -> Option<Arc<Tape>> {
        self.lock().tapes.get(session).map(Arc::clone)
    }

    /// What was heard of all sessions.
    pub(crate) fn tapes(&self) -> Vec<Arc<Tape>> {
        self.lock().tapes.values().map(Arc::clone).collect()
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

    /// Nobody has watched for a while: what was heard is forgotten.
    fn rest(&self) {
        let mut memory = self.lock();
        if self.0.watchers.load(Ordering::SeqCst) > 0 {
            return;
        }
        self.0.hears.store(false, Ordering::SeqCst);
        for (_, tape) in memory.tapes.drain() {
            self.grow(-(tape.let_go() as isize));
        }
    }

    fn begins(&self, tape: &Arc<Tape>) -> bool {
        let mut memory = self.lock();
        // Somebody may have asked twice.
        if memory.tapes.contains_key(tape.session()) {
            return false;
        }
        self.grow(tape.octets() as isize);
        memory.tapes.insert(tape.session().to_owned(), Arc::clone(tape));
        drop(memory);
        self.turns();
        true
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
            let Some(tape) = memory.tapes.get(&gone.facts.session) else { continue };
            kept += tape.octets();
            if kept > ENDED_TAPES_MAX_OCTETS {
                beyond.push(gone.facts.session.clone());
            }
        }
        for session in beyond {
            self.forget(&mut memory, &session);
        }
        drop(memory);
        self.turns();
    }

    fn forget(&self, memory: &mut Memory, session: &str) {
        if let Some(tape) = memory.tapes.remove(session) {
            self.grow(-(tape.let_go() as isize));
        }
    }

    /// Whether so much more may be kept.
    fn has_room(&self, octets: usize) -> bool {
        self.0.octets.load(Ordering::Relaxed) + octets <= TAPES_MAX_OCTETS
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
        if self.0.0.watchers.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        let hub = self.0.clone();
        // Without a runtime the server is gone too.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(LINGER).await;
                hub.rest();
            });
        }
    }
}

impl Observer for Hub {
    fn begin(&self, session: &Begun<'_>) -> Option<Box<dyn Watch>> {
        if !self.hears() {
            return None;
        }
        let head = session.head().to_string();
        if !self.has_room(head.len()) {
            return None;
        }
        let tape = Arc::new(Tape::new(session.session(), head));
        self.begins(&tape).then(|| Box::new(Ear { hub: self.clone(), tape }) as Box<dyn Watch>)
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
}

impl Watch for Ear {
    fn events(&mut self, events: &[Event]) -> ControlFlow<()> {
        if !self.hub.hears() {
            return ControlFlow::Break(());
        }
        let mut text = String::new();
        for event in events {
            // A text takes all.
            let _written = writeln!(text, "{event}");
        }
        let room = self.hub.has_room(text.len());
        let Some(grown) = self.tape.push(text, events.len() as u64, room) else {
            return ControlFlow::Break(());
        };
        self.hub.grow(grown);
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
