//! The run: clients at work side by side, and all that ends it. Whatever a server does, a run ends.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};

use super::{
    pace::Pace,
    plan::Plan,
    session::Client,
    tally::{ErrorKind, Problem, Step, Tally},
};

/// How long a client rests after a session that failed, so that a server that is down is not stormed.
const REST: Duration = Duration::from_millis(100);

/// How many sessions may fail before the first one is done, where there are fewer clients.
const FIRST_FAILURES_MAX: u64 = 16;

/// How long sessions may take to end, beyond the time-out of an answer.
const GRACE: Duration = Duration::from_secs(20);

/// How long sessions that were due in time may begin after it.
const DRAIN: Duration = Duration::from_secs(2);

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All sessions were had.
    Count,
    /// The time was over.
    Time,
    /// No session was done, and many failed.
    Hopeless,
    /// By the user.
    Interrupted,
}

impl End {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Time => "time",
            Self::Hopeless => "hopeless",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A run.
pub(super) struct Run {
    pub(super) plan: Plan,
    over: AtomicBool,
    begun: AtomicU64,
    /// Users without a session. The one that waited longest is next.
    free: Mutex<VecDeque<Arc<str>>>,
    /// How many connections have a source.
    sourced: AtomicU64,
    tally: Mutex<Tally>,
}

impl Run {
    pub(super) fn new(plan: Plan) -> Arc<Self> {
        let free = Mutex::new(plan.users.iter().map(Arc::clone).collect());
        Arc::new(Self {
            plan,
            over: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            free,
            sourced: AtomicU64::new(0),
            tally: Mutex::default(),
        })
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no more is to begin.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether one more session may begin.
    fn may_begin(&self) -> bool {
        let begun = self.begun.fetch_add(1, Ordering::Relaxed);
        !self.is_over() && self.plan.sessions.is_none_or(|sessions| begun < sessions)
    }

    /// The next user. Where drops are shared all have a session already, and the users take turns.
    pub(super) fn take_user(&self) -> Arc<str> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.pop_front().unwrap_or_else(|| {
            let turn = self.begun.load(Ordering::Relaxed) as usize;
            Arc::clone(&self.plan.users[turn % self.plan.users.len()])
        })
    }

    /// Where the next connection comes from.
    pub(super) fn source(&self) -> Option<IpAddr> {
        let turn = self.sourced.fetch_add(1, Ordering::Relaxed) as usize;
        let sources = &self.plan.sources;
        sources.get(turn % sources.len().max(1)).copied()
    }

    fn give_back(&self, user: Arc<str>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.plan.users.len() {
            free.push_back(user);
        }
    }

    fn is_hopeless(&self) -> bool {
        let counts = self.tally().counts;
        let enough = FIRST_FAILURES_MAX.max(self.plan.clients as u64);
        counts.sessions_done == 0 && counts.sessions_failed >= enough
    }
}

/// Lets all clients work until the run ends.
pub(super) async fn work(run: &Arc<Run>) -> End {
    let mut clients = JoinSet::new();
    let pace = run.plan.rate.map(|rate| Arc::new(Pace::begin(rate, run)));
    for _ in 0..run.plan.clients {
        let (run, pace) = (Arc::clone(run), pace.clone());
        clients.spawn(async move {
            match pace {
                None => one_after_another(&run).await,
                Some(pace) => when_due(&run, &pace).await,
            }
        });
    }
    let drain = if pace.is_some() { DRAIN } else { Duration::ZERO };
    let end = tokio::select! {
        () = all_of(&mut clients) => None,
        () = sleep(run.plan.duration + drain) => Some(End::Time),
        () = interrupted() => Some(End::Interrupted),
    };
    run.end();
    let begun = pace.as_ref().map(|pace| pace.begun());
    let left = pace.map_or(0, |pace| pace.due().saturating_sub(pace.begun()));
    finish(run, &mut clients).await;
    if left > 0 {
        let told = "sessions were due, and all clients busy until the run ended".to_owned();
        run.tally().errors.add_many(Step::Due, ErrorKind::CutOff, left, told);
    }
    match end {
        Some(end) => end,
        None if run.is_hopeless() => End::Hopeless,
        None if begun.is_some_and(|begun| Some(begun) != run.plan.sessions) => End::Time,
        None => End::Count,
    }
}

/// Waits for the clients that are still at work, but not for ever: those who take too long are cut off.
pub(super) async fn finish(run: &Run, clients: &mut JoinSet<()>) {
    tokio::select! {
        () = all_of(clients) => return,
        () = sleep(run.plan.patience + GRACE) => {}
        () = interrupted() => {}
    }
    let cut_off = clients.len() as u64;
    clients.abort_all();
    all_of(clients).await;
    let mut tally = run.tally();
    tally.counts.sessions_failed += cut_off;
    for _ in 0..cut_off {
        tally
            .errors
            .add(Step::Session, Problem::new(ErrorKind::CutOff, "the session did not end with the run"));
    }
}

/// Waits until all clients have ended.
pub(super) async fn all_of(clients: &mut JoinSet<()>) {
    while clients.join_next().await.is_some() {}
}

/// Waits for Ctrl-C. Where it cannot be had the run's other ends hold.
pub(super) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn one_after_another(run: &Arc<Run>) {
    let mut client = Client::new(run);
    while run.may_begin() {
        if !one(run, &mut client, None).await {
            sleep(REST).await;
        }
    }
}

/// Begins a session when one is due, or at once where one was due while all clients were busy.
async fn when_due(run: &Arc<Run>, pace: &Pace) {
    let mut client = Client::new(run);
    while let Some(due) = pace.next().await {
        if !run.may_begin() {
            break;
        }
        one(run, &mut client, Some(due)).await;
    }
}

/// One session, and whether it was done.
async fn one(run: &Run, client: &mut Client, due: Option<Instant>) -> bool {
    let user = run.take_user();
    let ended = client.session(&user, due).await;
    run.give_back(user);
    let done = ended.is_ok();
    match ended {
        Ok(()) => client.record.counts.sessions_done += 1,
        Err((step, problem)) => {
            client.record.counts.sessions_failed += 1;
            client.record.errors.add(step, problem);
        }
    }
    client.tell();
    if !done && run.is_hopeless() {
        run.end();
    }
    done
}
