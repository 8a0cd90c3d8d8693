//! The run: clients at work side by side, and all that ends it. Whatever a server does, a run ends.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
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
    for _ in 0..run.plan.clients {
        let run = Arc::clone(run);
        clients.spawn(async move { one_after_another(&run).await });
    }
    let end = tokio::select! {
        () = all_of(&mut clients) => None,
        () = sleep_until(Instant::now() + run.plan.duration) => Some(End::Time),
        () = interrupted() => Some(End::Interrupted),
    };
    run.end();
    finish(run, &mut clients).await;
    match end {
        Some(end) => end,
        None if run.is_hopeless() => End::Hopeless,
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
        let user = run.take_user();
        let ended = client.session(&user).await;
        run.give_back(user);
        let failed = ended.is_err();
        match ended {
            Ok(()) => client.record.counts.sessions_done += 1,
            Err((step, problem)) => {
                client.record.counts.sessions_failed += 1;
                client.record.errors.add(step, problem);
            }
        }
        client.tell();
        if failed {
            if run.is_hopeless() {
                run.end();
            }
            sleep(REST).await;
        }
    }
}
