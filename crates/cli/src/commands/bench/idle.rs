//! `--mode idle` and `slow`: sessions that log in and then say nothing, or read a message slower than it comes, all at
//! once, while the server's memory is looked at.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use restante_proto::body::Unstuffer;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::sleep,
};

use super::{
    connection::Connection,
    load::{End, Run, all_of, finish, interrupted},
    plan::Mode,
    process::{Processes, Usage},
    session::{Client, Failed},
    tally::{ErrorKind, Problem, Step},
};
use crate::output;

/// How many sessions log in, or quit, at once.
const AT_ONCE: usize = 64;

/// How long logging in may take, all sessions together.
const OPENING_MAX: Duration = Duration::from_secs(600);

/// How often a slow session reads.
const SIP: Duration = Duration::from_secs(1);

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
        // Whoever has waited for that may begin.
        output::eprint(&format!("{} sessions are held\n", *hold.held.borrow()));
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
        let slow = self.run.plan.mode == Mode::Slow;
        if slow {
            client.ask_for_first(&mut connection).await?;
        }
        drop(turn);
        client.tell();
        self.held.send_modify(|held| *held += 1);
        let mut go = self.go.subscribe();
        let broken = async {
            match slow {
                true => self.sip(client, &mut connection).await,
                false => (Step::Hold, connection.broken_silence().await),
            }
        };
        tokio::select! {
            // The sender lives as long as this session.
            _gone = go.wait_for(|go| *go) => {}
            failed = broken => {
                self.held.send_modify(|held| *held -= 1);
                return Err(failed);
            }
        }
        if slow {
            // In the middle of a message nothing can be said.
            return Ok(());
        }
        connection.wake();
        let _turn = self.at_once.acquire().await;
        client.quit(connection, begun).await
    }

    /// Reads the first message slowly, again and again, until something fails.
    async fn sip(&self, client: &mut Client, connection: &mut Connection) -> Failed {
        let mut unstuffer = Unstuffer::default();
        loop {
            sleep(SIP).await;
            let ended = match connection.sip(&mut unstuffer, self.run.plan.sip_octets).await {
                Ok(ended) => ended,
                Err(problem) => return (Step::Hold, problem),
            };
            if ended {
                connection.wake();
                if let Err(failed) = client.ask_for_first(connection).await {
                    return failed;
                }
            }
        }
    }
}
