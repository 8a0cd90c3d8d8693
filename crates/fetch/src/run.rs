//! One run for one account: sessions until one comes to its end, and how it went.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use restante_client::{Credentials, Error, Options, ResponseCode, Strength, Url, Waiting};
use tokio::sync::watch;

use crate::{
    destination::{Destination, Fate},
    download::Lessons,
    journal::{Bound, INTERRUPTED, Journal, JournalError, Key, Record, now},
    pipeline::{Shared, Stopped},
    plan::Plan,
    policy::{Keep, Policy, rest_left, rest_of_delay, rest_of_login},
    refused,
    report::{Event, Report},
    session::{Session, is_login},
    tokens::{TokenError, TokenSource},
};

/// How long a run that was told to stop waits for the answers to DELE and QUIT.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How long a run waits for a server that wants more time between logins, in seconds; otherwise it comes to nothing.
const WAIT_MAX_SECONDS: u64 = 60;

/// A clock that is later than the last run by more than this is not believed at once, in seconds.
const CLOCK_JUMP_MAX_SECONDS: u64 = 30 * 86_400;

/// A source of mail and where it goes.
#[derive(Clone, Debug)]
pub struct Account {
    /// What it is called.
    pub name: String,
    /// The server.
    pub url: Url,
    /// The name and the password; where there are `tokens`, of these the name alone counts.
    pub credentials: Credentials,
    /// Where tokens come from, if one logs in with these.
    pub tokens: Option<Arc<dyn TokenSource>>,
    /// How to log in; by the strongest way on offer where nothing is said.
    pub way: Option<String>,
    /// The weakest login by password that is accepted, whatever was seen before.
    pub minimum: Option<Strength>,
    /// How the connection is made and held.
    pub options: Options,
    /// What is kept, what is fetched.
    pub policy: Policy,
    /// Where mail goes.
    pub destination: Arc<dyn Destination>,
    /// The same in the form that [`Spec::canonical`](crate::destination::Spec::canonical) gives it: the journal is bound to it.
    pub to: String,
    /// Where the journal is.
    pub journal: PathBuf,
}

/// How a run went.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// How many messages were delivered.
    pub delivered: usize,
    /// How long these are together, in octets.
    pub octets: u64,
    /// How many that seemed new were delivered before.
    pub recognised: usize,
    /// How many messages the server removed.
    pub deleted: usize,
    /// How many messages are left on the server because they were delivered before and are kept.
    pub kept: usize,
    /// How many messages are set aside, and tried again later.
    pub stuck: usize,
    /// How many messages are left on the server because they are longer than the account wants.
    pub too_long: usize,
    /// The server did not remove what it was told to, for this reason. It will be told again.
    pub not_deleted: Option<String>,
}

/// Why a run came to nothing, or to an early end. What was delivered before stays delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// There is no journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The server refused the credentials.
    #[error("{0}")]
    Credentials(Error),
    /// The server refused a token, and then a new one: it is no matter of age.
    #[error("{0}")]
    TokenRefused(Error),
    /// There is no token to log in with.
    #[error("{}", .0.text)]
    Token(TokenError),
    /// The server refused the credentials before, and is not asked again for so many seconds.
    #[error(
        "the server refused the {what} {times} times in a row; it is not tried again for {}",
        crate::plan::Span(*.seconds)
    )]
    Held {
        /// What: a password, a token or a certificate.
        what: &'static str,
        /// How often.
        times: u32,
        /// How long, in seconds.
        seconds: u64,
    },
    /// The server offers less than it did: somebody between may have stripped its list. Nothing was sent.
    #[error("{error}; {} ago a login was that strong, so somebody may stand between", crate::plan::Span(*.seconds))]
    Weaker {
        /// How long ago that was seen first, in seconds.
        seconds: u64,
        /// What is missing.
        error: Error,
    },
    /// The server wants more time between logins (LOGIN-DELAY, RFC 2449 §6.5).
    #[error("the server wants {} between logins: too early by {}", crate::plan::Span(u64::from(*.delay)), crate::plan::Span(*.seconds))]
    TooEarly {
        /// What it wants, in seconds.
        delay: u32,
        /// What is missing, in seconds.
        seconds: u64,
    },
    /// The server, or the way to it.
    #[error("{0}")]
    Client(Error),
    /// The destination.
    #[error("nothing can be delivered: {0}")]
    Destination(String),
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}

impl From<Stopped> for RunError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Journal(error) => Self::Journal(error),
            Stopped::Destination(text) => Self::Destination(text),
            Stopped::Thread(_) => Self::Destination(stopped.to_string()),
        }
    }
}

impl RunError {
    /// Whether it may go better in a while without anybody doing anything.
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Credentials(_) | Self::TokenRefused(_) | Self::Held { .. } | Self::Weaker { .. } => false,
            Self::Token(error) => error.is_temporary,
            Self::Client(error) => !matches!(
                error,
                Error::NotOffered(_)
                    | Error::Cleartext
                    | Error::Credentials(_)
                    | Error::Unsuitable(_)
                    | Error::TooWeak { .. }
                    | Error::Impostor
            ),
            Self::Journal(error) => error.is_temporary(),
            Self::TooEarly { .. } | Self::Destination(_) | Self::Stopped => true,
        }
    }
}

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything.
    Fetch,
    /// Logs in although the server refused the credentials lately.
    FetchNow,
}

/// How patient a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long is waited before a session that broke is made anew: the server may still hold the lock of the old one. There
    /// are as many new sessions in a row in which nothing is delivered as there are pauses.
    pub pauses: Vec<Duration>,
    /// Whether what was set aside in earlier runs is tried again now, whenever its time may be.
    pub retry_aside: bool,
}

impl Default for Patience {
    fn default() -> Self {
        Self { pauses: [1, 4, 10].map(Duration::from_secs).to_vec(), retry_aside: false }
    }
}

/// Tells runs to stop: [`Stop::now`] by one side, everything else by the runs.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// All runs end as soon as that loses nothing.
    pub fn now(&self) {
        self.0.send_replace(true);
    }

    /// Whether [`Self::now`] was called.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Comes back when [`Self::now`] is called.
    pub async fn stopped(&self) {
        let mut receiver = self.0.subscribe();
        // An error would mean that nobody can say it any more; we hold a sender.
        drop(receiver.wait_for(|&stopped| stopped).await);
    }

    /// What was begun comes to its end, unless it takes long once all is to stop.
    pub(crate) async fn or_late<T>(
        &self,
        work: impl Future<Output = Result<T, RunError>>,
    ) -> Result<T, RunError> {
        let late = async {
            self.stopped().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            biased;
            done = work => done,
            () = late => Err(RunError::Stopped),
        }
    }

    pub(crate) async fn or<T>(&self, work: impl Future<Output = Result<T, RunError>>) -> Result<T, RunError> {
        tokio::select! {
            biased;
            () = self.stopped() => Err(RunError::Stopped),
            done = work => done,
        }
    }
}

/// Fetches an account's mail once.
pub async fn run(
    account: &Account,
    mode: Mode,
    report: Arc<dyn Report>,
    stop: &Stop,
) -> Result<Summary, RunError> {
    run_with(account, mode, &Patience::default(), report, stop).await
}

/// The same with a patience of one's own.
pub async fn run_with(
    account: &Account,
    mode: Mode,
    patience: &Patience,
    report: Arc<dyn Report>,
    stop: &Stop,
) -> Result<Summary, RunError> {
    let shared = prepare(account, report, stop).await?;
    keep_pace(account, &shared, mode, stop).await?;
    let account = &believed(account, &shared);
    let mut summary = Summary::default();
    let mut lessons = Lessons { retry_aside: patience.retry_aside, ..Lessons::default() };
    let mut breaks = 0;
    loop {
        let before = summary.delivered;
        let mut session =
            Session { account, shared: &shared, stop, summary: &mut summary, lessons: &mut lessons };
        let error = match session.run().await {
            Err(RunError::Client(error)) if is_break(&error, breaks > 0, session.lessons.logged_in) => error,
            ended => return ended.map(|()| summary),
        };
        let ahead = account.options.pipelining && !lessons.broke && !shared.is_one_by_one();
        if let Error::TimedOut(Waiting::Answer(_)) = error {
            // What is not answered one by one either is lost for another reason.
            lessons.lost_ahead = ahead && lessons.logged_in;
        }
        lessons.broke = true;
        breaks = if summary.delivered > before { 1 } else { breaks + 1 };
        // A server that wants more time between logins would refuse the next one.
        let delay = u64::from(shared.journal().state().delay.unwrap_or(0));
        let Some(&pause) = patience.pauses.get(breaks - 1) else {
            return Err(RunError::Client(error));
        };
        if delay > WAIT_MAX_SECONDS {
            if ahead {
                // The next run would send ahead again, and might break off again.
                shared.journal().append(&[Record::OneByOne { at: now() }])?;
            }
            return Err(RunError::Client(error));
        }
        let pause = pause.max(Duration::from_secs(delay));
        shared.report.event(&Event::Again { why: error.to_string() });
        stop.or(async {
            tokio::time::sleep(pause).await;
            Ok(())
        })
        .await?;
    }
}

/// What would be done, without doing it.
pub async fn plan(account: &Account, report: Arc<dyn Report>, stop: &Stop) -> Result<Plan, RunError> {
    let shared = prepare(account, report, stop).await?;
    keep_pace(account, &shared, Mode::Fetch, stop).await?;
    let account = &believed(account, &shared);
    let (mut summary, mut lessons) = (Summary::default(), Lessons::default());
    let mut session =
        Session { account, shared: &shared, stop, summary: &mut summary, lessons: &mut lessons };
    let (mut client, listing) = session.open().await?;
    let plan = session.plan(&mut client, &listing).await?;
    client.quit().await.map_err(RunError::Client)?;
    Ok(plan)
}

/// Whether the account works: logs in, lists, and ends.
pub async fn check(account: &Account, report: Arc<dyn Report>, stop: &Stop) -> Result<Plan, RunError> {
    let shared = prepare(account, report, stop).await?;
    keep_pace(account, &shared, Mode::FetchNow, stop).await?;
    let (mut summary, mut lessons) = (Summary::default(), Lessons::default());
    let mut session =
        Session { account, shared: &shared, stop, summary: &mut summary, lessons: &mut lessons };
    let (client, listing) = session.open().await?;
    let plan = Plan::new(listing.entries(), shared.journal().state(), &account.policy, now());
    client.quit().await.map_err(RunError::Client)?;
    Ok(plan)
}

/// Forgets how strong logins were before: the server was changed, and offers less.
pub async fn forget_login(account: &Account) -> Result<(), RunError> {
    let path = account.journal.clone();
    let forgotten = tokio::task::spawn_blocking(move || {
        Journal::open(&path)?.append_durably(&[Record::Strength { strength: None, at: now() }])
    });
    match forgotten.await {
        Ok(written) => Ok(written?),
        Err(error) => Err(RunError::Destination(error.to_string())),
    }
}

/// Opens the journal, and finds out what became of what was under way when the last run died.
async fn prepare(account: &Account, report: Arc<dyn Report>, stop: &Stop) -> Result<Arc<Shared>, RunError> {
    let stop = stop.clone();
    let (path, destination) = (account.journal.clone(), Arc::clone(&account.destination));
    let (user, host, to) = (account.credentials.user.clone(), account.url.host.clone(), account.to.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        let mut journal = Journal::open(&path)?;
        let newest_before = journal.state().newest;
        // Only a destination that is asked about its own messages can tell; the new one is noted when all is settled.
        let elsewhere = journal.state().account.as_ref().is_some_and(|before| before.to != to);
        let is_same_user = journal.state().account.as_ref().is_none_or(|before| before.user == user);
        let intents = if is_same_user { journal.intents(now()) } else { Vec::new() };
        for (key, intent) in intents {
            if stop.is_stopped() {
                return Err(RunError::Stopped);
            }
            let fate = if elsewhere {
                Fate::Unknown("mail goes somewhere else now, where nobody can be asked".into())
            } else {
                destination.resolve(&intent).map_err(|fault| RunError::Destination(fault.to_string()))?
            };
            let record = match fate {
                Fate::Delivered => Record::Delivered { key, at: journal.time_of_delivery() },
                Fate::NotDelivered => undone(&journal, key),
                Fate::Unknown(why) => {
                    let text = format!(
                        "message {}: the last run died or failed while it was delivered, and {why}; if the server still has it, it is delivered again",
                        key.shown()
                    );
                    report.event(&Event::Warning { text });
                    undone(&journal, key)
                }
            };
            journal.append_durably(&[record])?;
        }
        journal.bind(&Bound { user, host, to })?;
        let journal = Mutex::new(journal);
        Ok(Arc::new(Shared { destination, journal, report, newest_before }))
    });
    prepared.await.unwrap_or_else(|error| Err(RunError::Destination(error.to_string())))
}

/// What is noted of an intent that came to nothing: the message comes behind the others, which it may have hindered, and does
/// not have to wait for it.
fn undone(journal: &Journal, key: Key) -> Record {
    match journal.state().get(&key) {
        Some(known) if known.failures == 0 => {
            Record::Failed { key, at: known.at, broke: true, why: INTERRUPTED.into() }
        }
        _ => Record::Undone { key },
    }
}

/// The account as it is fetched in this run. Where the clock was put forward by far, or nothing was fetched for as long,
/// the ages of messages are not believed: if it is right, the next run deletes what is old.
fn believed(account: &Account, shared: &Shared) -> Account {
    let mut account = account.clone();
    let jump = now().saturating_sub(shared.newest_before);
    if shared.newest_before > 0
        && jump > CLOCK_JUMP_MAX_SECONDS
        && matches!(account.policy.keep, Keep::For(_))
    {
        let text = format!(
            "there was no run for {}, if the clock is right: nothing is deleted for its age this time",
            crate::plan::Span(jump)
        );
        shared.report.event(&Event::Warning { text });
        account.policy.keep = Keep::Always;
    }
    account
}

/// Waits where the server wants more time between logins, if that is short enough.
async fn keep_pace(account: &Account, shared: &Shared, mode: Mode, stop: &Stop) -> Result<(), RunError> {
    let refused = shared.journal().state().refused_mark;
    // What was not refused is not held.
    let is_other = match refused {
        Some(_) if mode == Mode::Fetch => Some(refused::mark(account, refused).await) != refused,
        _ => false,
    };
    let mode = if is_other { Mode::FetchNow } else { mode };
    match check_pace(shared, mode, refused::what(account)) {
        Err(RunError::TooEarly { seconds, .. }) if seconds <= WAIT_MAX_SECONDS => {
            shared.report.event(&Event::Waiting { seconds });
            stop.or(async {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Ok(())
            })
            .await
        }
        checked => checked,
    }
}

/// Whether it is time to log in.
fn check_pace(shared: &Shared, mode: Mode, what: &'static str) -> Result<(), RunError> {
    let (journal, now) = (shared.journal(), now());
    let state = journal.state();
    if let (Some((at, times)), Mode::Fetch) = (state.refused, mode) {
        let rest = rest_of_login(times);
        let seconds = rest_left(at, rest, now);
        if seconds > 0 {
            return Err(RunError::Held { what, times, seconds });
        }
    }
    if let (Some(delay), Some(login)) = (state.delay, state.login) {
        let seconds = rest_left(login, rest_of_delay(delay), now);
        if seconds > 0 {
            return Err(RunError::TooEarly { delay, seconds });
        }
    }
    Ok(())
}

/// Whether a new session may go better at once.
fn is_break(error: &Error, broke: bool, logged_in: bool) -> bool {
    match error {
        Error::Lost(_) | Error::TimedOut(_) | Error::Protocol(_) => true,
        // The server may not know yet that the session before has ended.
        Error::Connect { .. } => broke,
        Error::Refused(refused) => {
            let held = match &refused.code {
                Some(code) => *code == ResponseCode::InUse,
                // The same password was taken a moment ago.
                None => logged_in && is_login(refused),
            };
            broke && held
        }
        _ => false,
    }
}
