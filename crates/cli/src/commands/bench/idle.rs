//! `--mode idle`: sessions that log in and then say nothing, all at once, while the server's memory is looked at.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::sleep,
};

use super::{
    load::{End, Run, all_of, finish, interrupted},
    process::{Processes, Usage},
    session::{Client, Failed},
    tally::{ErrorKind, Problem, Step},
};

/// How many sessions log in, or quit, at once.
const AT_ONCE: usize = 64;

/// How long logging in may take, all sessions together.
const OPENING_MAX: Duration = Duration::from_secs(600);

/// What the sessions of a run share.
struct Hold {
    run: Arc<Run>,
    at_once: Semaphore,
    /// How many sessions are held.
    held: watch::Sender<usize>,
    /// Whether they may go.
    go: watch::Sender<bool>,
}

/// What was seen while the sessions were held.
pub(super) struct Held {
    pub(super) end: End,
    pub(super) sessions: usize,
    /// Of the server's processes, just before the sessions went.
    pub(super) usage: Option<Usage>,
}

/// Holds a session for each client for the duration of the plan.
pub(super) async fn hold(run: &Arc<Run>, processes: Option<&Processes>) -> Held {
    let (clients, duration) = (run.plan.clients, run.plan.duration);
    let hold = Arc::new(Hold {
        run: Arc::clone(run),
        at_once: Semaphore::new(AT_ONCE),
        held: watch::Sender::new(0),
        go: watch::Sender::new(false),
    });
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let hold = Arc::clone(&hold);
        tasks.spawn(async move { hold.one().await });
    }
    let mut held = hold.held.subscribe();
    let all_held = async {
        // Those that failed count as well: there is nothing to wait for. The sender lives as long as `hold`.
        let all = |held: &usize| *held as u64 + run.tally().counts.sessions_failed >= clients as u64;
        held.wait_for(all).await.is_ok()
    };
    let mut end = tokio::select! {
        _ = all_held => None,
        () = all_of(&mut tasks) => Some(End::Hopeless),
        () = sleep(OPENING_MAX) => Some(End::Time),
        () = interrupted() => Some(End::Interrupted),
    };
    if end.is_none() {
        end = tokio::select! {
            () = sleep(duration) => Some(End::Time),
            () = all_of(&mut tasks) => Some(End::Hopeless),
            () = interrupted() => Some(End::Interrupted),
        };
    }
    let sessions = *hold.held.borrow();
    let usage = processes.and_then(Processes::look);
    run.end();
    hold.go.send_replace(true);
    finish(run, &mut tasks).await;
    Held { end: end.unwrap_or(End::Time), sessions, usage }
}

impl Hold {
    async fn one(&self) {
        let mut client = Client::new(&self.run);
        let ended = self.session(&mut client).await;
        match ended {
            Ok(()) => client.record.counts.sessions_done += 1,
            Err((step, problem)) => {
                client.record.counts.sessions_failed += 1;
                client.record.errors.add(step, problem);
            }
        }
        client.tell();
        // So that who waits for all counts the failures too.
        self.held.send_modify(|_| {});
    }

    async fn session(&self, client: &mut Client) -> Result<(), Failed> {
        let begun = Instant::now();
        let user = self.run.take_user();
        let turn = self.at_once.acquire().await;
        if self.run.is_over() {
            return Err((
                Step::Login,
                Problem::new(ErrorKind::CutOff, "the run ended before the session began"),
            ));
        }
        let (mut connection, _) = client.open().await?;
        client.login(&mut connection, &user).await?;
        drop(turn);
        client.tell();
        self.held.send_modify(|held| *held += 1);
        let mut go = self.go.subscribe();
        tokio::select! {
            // The sender lives as long as this session.
            _gone = go.wait_for(|go| *go) => {}
            problem = connection.broken_silence() => {
                self.held.send_modify(|held| *held -= 1);
                return Err((Step::Hold, problem));
            }
        }
        connection.wake();
        let _turn = self.at_once.acquire().await;
        client.quit(connection, begun).await
    }
}
