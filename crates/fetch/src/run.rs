//! One run for one account: log in, plan, fetch, deliver, delete, and say how it went.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use restante_client::{
    Client, Credentials, Error, Listing, MessageNumber, Offer, Options, ResponseCode, Url, Verb,
};
use tokio::sync::watch;

use restante_store::crash;

use crate::{
    destination::{Destination, Fate},
    download::{Download, Fetched, Lessons, Trust, trouble},
    identity::{HeaderDigest, Missing},
    journal::{Journal, JournalError, Key, Known, Record, Stage, now},
    pipeline::{How, Job, Outcome, Pipeline, Shared, Stopped},
    plan::{Action, Plan, Step, Why},
    policy::{Keep, Policy, rest_of_login, rest_of_message},
    report::{Event, Report},
};

/// How long a run that was told to stop waits for the answers to DELE and QUIT.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How long a header may be that is asked for, with what a server sends behind it though it should not, in octets.
const TOP_MAX_OCTETS: u64 = 64 << 20;

/// How long a run waits for a server that wants more time between logins, in seconds; otherwise it comes to nothing.
const WAIT_MAX_SECONDS: u64 = 60;

/// A source of mail and where it goes.
#[derive(Clone, Debug)]
pub struct Account {
    /// What it is called.
    pub name: String,
    /// The server.
    pub url: Url,
    /// The name and the password.
    pub credentials: Credentials,
    /// How to log in; by the strongest way on offer where nothing is said.
    pub way: Option<String>,
    /// How the connection is made and held.
    pub options: Options,
    /// What is kept, what is fetched.
    pub policy: Policy,
    /// Where mail goes.
    pub destination: Arc<dyn Destination>,
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
    /// How many messages are set aside or too long: tried again later, or left for good.
    pub stuck: usize,
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
    /// The server refused the credentials before, and is not asked again for so many seconds.
    #[error(
        "the server refused the password {times} times in a row; it is not tried again for {}",
        crate::plan::Span(*.seconds)
    )]
    Held {
        /// How often.
        times: u32,
        /// How long, in seconds.
        seconds: u64,
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
            Self::Credentials(_) | Self::Held { .. } => false,
            Self::Client(error) => {
                !matches!(error, Error::NotOffered(_) | Error::Cleartext | Error::Credentials(_))
            }
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
    async fn or_late<T>(&self, work: impl Future<Output = Result<T, RunError>>) -> Result<T, RunError> {
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

    async fn or<T>(&self, work: impl Future<Output = Result<T, RunError>>) -> Result<T, RunError> {
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
    let shared = prepare(account, report).await?;
    keep_pace(&shared, mode, stop).await?;
    let mut summary = Summary::default();
    let mut lessons = Lessons { retry_aside: patience.retry_aside, ..Lessons::default() };
    let mut breaks = 0;
    loop {
        let before = summary.delivered;
        let mut session =
            Session { account, shared: &shared, stop, summary: &mut summary, lessons: &mut lessons };
        let error = match session.run().await {
            Err(RunError::Client(error)) if is_break(&error, breaks > 0) => error,
            ended => return ended.map(|()| summary),
        };
        lessons.broke = true;
        breaks = if summary.delivered > before { 1 } else { breaks + 1 };
        // A server that wants more time between logins would refuse the next one.
        let delay = Duration::from_secs(shared.journal().state().delay.unwrap_or(0).into());
        let pause = patience.pauses.get(breaks - 1).filter(|&&pause| pause >= delay || delay.is_zero());
        let Some(&pause) = pause else {
            return Err(RunError::Client(error));
        };
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
    let shared = prepare(account, report).await?;
    keep_pace(&shared, Mode::Fetch, stop).await?;
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
    let shared = prepare(account, report).await?;
    keep_pace(&shared, Mode::FetchNow, stop).await?;
    let (mut summary, mut lessons) = (Summary::default(), Lessons::default());
    let mut session =
        Session { account, shared: &shared, stop, summary: &mut summary, lessons: &mut lessons };
    let (client, listing) = session.open().await?;
    let plan = Plan::new(&listing, shared.journal().state(), &account.policy, now());
    client.quit().await.map_err(RunError::Client)?;
    Ok(plan)
}

/// Opens the journal, and finds out what became of what was under way when the last run died.
async fn prepare(account: &Account, report: Arc<dyn Report>) -> Result<Arc<Shared>, RunError> {
    let (path, destination) = (account.journal.clone(), Arc::clone(&account.destination));
    let prepared = tokio::task::spawn_blocking(move || {
        let mut journal = Journal::open(&path)?;
        for (key, intent) in journal.intents(now()) {
            let fate =
                destination.resolve(&intent).map_err(|fault| RunError::Destination(fault.to_string()))?;
            let record = match fate {
                Fate::Delivered => Record::Delivered { key, at: now() },
                Fate::NotDelivered => Record::Undone { key },
                Fate::Unknown(why) => {
                    let text = format!(
                        "message {}: the last run ended while it was delivered, and {why}; if the server still has it, it is delivered again",
                        key.shown()
                    );
                    report.event(&Event::Warning { text });
                    Record::Undone { key }
                }
            };
            journal.append_durably(&[record])?;
        }
        Ok(Arc::new(Shared { destination, journal: Mutex::new(journal), report }))
    });
    prepared.await.unwrap_or_else(|error| Err(RunError::Destination(error.to_string())))
}

/// Waits where the server wants more time between logins, if that is short enough.
async fn keep_pace(shared: &Shared, mode: Mode, stop: &Stop) -> Result<(), RunError> {
    match check_pace(shared, mode) {
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
fn check_pace(shared: &Shared, mode: Mode) -> Result<(), RunError> {
    let (journal, now) = (shared.journal(), now());
    let state = journal.state();
    if let (Some((at, times)), Mode::Fetch) = (state.refused, mode) {
        let rest = rest_of_login(times);
        // A clock that was wrong must not make it wait for longer.
        let seconds = at.saturating_add(rest).saturating_sub(now).min(rest);
        if seconds > 0 {
            return Err(RunError::Held { times, seconds });
        }
    }
    if let (Some(delay), Some(login)) = (state.delay, state.login) {
        let seconds = login.saturating_add(u64::from(delay)).saturating_sub(now).min(u64::from(delay));
        if seconds > 0 {
            return Err(RunError::TooEarly { delay, seconds });
        }
    }
    Ok(())
}

/// Whether a new session may go better at once.
fn is_break(error: &Error, broke: bool) -> bool {
    match error {
        Error::Lost(_) | Error::TimedOut(_) | Error::Protocol(_) => true,
        // The server may not know yet that the session before has ended.
        Error::Connect { .. } => broke,
        Error::Refused(refused) => broke && refused.code == Some(ResponseCode::InUse),
        _ => false,
    }
}

/// One session of a run.
struct Session<'a> {
    account: &'a Account,
    shared: &'a Arc<Shared>,
    stop: &'a Stop,
    summary: &'a mut Summary,
    lessons: &'a mut Lessons,
}

impl Session<'_> {
    async fn run(&mut self) -> Result<(), RunError> {
        (self.summary.kept, self.summary.stuck, self.summary.not_deleted) = (0, 0, None);
        let (mut client, listing) = self.open().await?;
        let mut plan = self.plan(&mut client, &listing).await?;
        self.shared.journal().append(&plan.news)?;
        if self.lessons.retry_aside {
            let lessons = &*self.lessons;
            let may = |step: &Step| !lessons.is_enough(&trouble(step.key.as_ref(), step.number, step.octets));
            plan.retry(&self.account.policy, self.shared.journal().state(), may);
        }
        self.tell_plan(&plan);
        let jobs = self.jobs(&plan);
        let (fetched, ended) = self.fetch(&mut client, jobs, &plan).await?;
        if let Some((job, why)) = fetched.broke_at {
            self.broke_at(&job, why);
        }
        let mut deletions: Vec<(MessageNumber, Key)> =
            plan.to_delete().filter_map(|step| Some((step.number, step.key.clone()?))).collect();
        let told = self.contents(&plan, &fetched.outcomes);
        self.settle(fetched.outcomes, &mut deletions)?;
        ended?;
        self.shared.journal().append(&told)?;
        self.count_left(&plan);
        self.delete_and_quit(client, deletions, &plan).await?;
        // Within the time in which a destination can still tell what became of an intent.
        Ok(self.shared.journal().sync()?)
    }

    /// A session broke at this message; the second time it is set aside.
    fn broke_at(&mut self, job: &Job, why: String) {
        *self.lessons.broke_at.entry(job.trouble()).or_default() += 1;
        let often = |key: &Key| match self.shared.journal().state().get(key).map(|known| &known.stage) {
            Some(Stage::Aside(aside)) => rest_of_message(aside.attempts) > 0,
            _ => false,
        };
        if job.key.as_ref().map_or_else(|| self.lessons.is_enough(&job.trouble()), often) {
            let id = job.key.as_ref().and_then(Key::id).map(str::to_owned);
            self.event(&Event::SetAside { number: job.number.get(), id, why });
        }
    }

    /// Connects, logs in and lists.
    async fn open(&mut self) -> Result<(Client, Listing), RunError> {
        let Account { url, credentials, way, .. } = self.account;
        let mut options = self.account.options.clone();
        options.pipelining &= !self.lessons.broke;
        let opened = self.stop.or(async {
            let mut client = Client::connect(url, &options).await.map_err(RunError::Client)?;
            let entered = match way {
                None => client.authenticate(credentials).await,
                Some(way) => client.authenticate_with(way, credentials).await,
            };
            entered.map_err(|error| {
                match is_credentials(&error, client.capabilities().auth_resp_code()) {
                    true => RunError::Credentials(error),
                    false => RunError::Client(error),
                }
            })?;
            Ok(client)
        });
        let mut client = match opened.await {
            // They were right a moment ago.
            Err(RunError::Credentials(error)) if self.lessons.logged_in => {
                return Err(RunError::Client(error));
            }
            Err(error @ RunError::Credentials(_)) => {
                self.shared.journal().append_durably(&[Record::Refused { at: now() }])?;
                return Err(error);
            }
            opened => opened?,
        };
        self.shared.journal().append(&[Record::Login { at: now() }])?;
        self.lessons.logged_in = true;
        let tls = client.tls().and_then(|tls| tls.version.clone());
        self.event(&Event::Connected { server: url.to_string(), tls });
        let listing = self.stop.or(async { client.listing().await.map_err(RunError::Client) }).await?;
        for doubt in &listing.doubts {
            self.warn(doubt.to_string());
        }
        let delay = client.capabilities().login_delay().unwrap_or(0);
        if delay != self.shared.journal().state().delay.unwrap_or(0) {
            self.shared.journal().append(&[Record::Delay { seconds: delay }])?;
        }
        Ok((client, listing))
    }

    /// The plan, once it is clear which new messages are old ones under new unique-ids.
    async fn plan(&mut self, client: &mut Client, listing: &Listing) -> Result<Plan, RunError> {
        if !listing.has_unique_ids && !listing.is_empty() && self.account.policy.keep != Keep::No {
            self.warn("the server gives no unique-ids (UIDL): what is kept there has to be looked at each time to see whether it is new".into());
        }
        let policy = &self.account.policy;
        let new_plan = |session: &Self| Plan::new(listing, session.shared.journal().state(), policy, now());
        let mut plan = new_plan(self);
        let look_at = plan.to_look_at();
        let tops = client.capabilities().top() != Offer::No && !self.lessons.broke_in_headers;
        if look_at.is_empty() || !tops {
            return Ok(plan);
        }
        let headers = self.stop.or(headers(client, &look_at)).await.inspect_err(|error| {
            self.lessons.broke_in_headers |= matches!(error, RunError::Client(_));
        })?;
        let found = self.recognise(&plan, headers);
        let removed = found.iter().filter(|(step, _)| step.action == Action::Fetch(Why::Removed));
        self.warn_removed(removed.count());
        let renamed: Vec<Record> = found
            .iter()
            .filter_map(|(step, from)| match &step.key {
                Some(to) if to != from => Some(Record::Renamed { from: from.clone(), to: to.clone() }),
                _ => None,
            })
            .collect();
        if !renamed.is_empty() {
            self.warn_renamed(renamed.len());
            self.summary.recognised += renamed.len();
            self.shared.journal().append_durably(&renamed)?;
            plan = new_plan(self);
        }
        let journal = self.shared.journal();
        for (Step { number, key, .. }, from) in found {
            let key = key.unwrap_or(from);
            if let Some(known) = journal.state().get(&key) {
                plan.is_known(number, &key, known, policy, now());
            }
        }
        drop(journal);
        Ok(plan)
    }

    /// The messages that were delivered before, by their headers, and what the journal knows them by.
    fn recognise(&self, plan: &Plan, headers: Vec<(MessageNumber, [u8; 16])>) -> Vec<(Step, Key)> {
        let journal = self.shared.journal();
        let steps: HashMap<MessageNumber, &Step> =
            plan.steps.iter().map(|step| (step.number, step)).collect();
        let mut missing = Missing::new(journal.state(), &listed(plan));
        let mut found = Vec::new();
        for (number, header) in headers {
            let Some(&step) = steps.get(&number) else { continue };
            let from = match (&step.action, &step.key) {
                (Action::Fetch(Why::Removed), Some(key)) => {
                    let known = journal.state().get(key);
                    let same = |known: &Known| known.header == Some(header) && known.listed == step.octets;
                    known.is_some_and(same).then(|| key.clone())
                }
                _ => missing.claim_by_header(&header, step.octets),
            };
            found.extend(from.map(|from| (step.clone(), from)));
        }
        found
    }

    fn jobs(&self, plan: &Plan) -> Vec<Job> {
        let suspects: HashSet<MessageNumber> = plan.suspects.iter().copied().collect();
        let journal = self.shared.journal();
        let before = |step: &Step| match (&step.action, &step.key) {
            (Action::Fetch(Why::Removed), Some(key)) => journal.state().get(key).map(|known| known.digest),
            _ => None,
        };
        let job = |step: &Step| Job {
            number: step.number,
            key: step.key.clone(),
            listed: step.octets,
            suspect: suspects.contains(&step.number),
            before: before(step),
            again: false,
        };
        let mut jobs: Vec<Job> = plan.to_fetch(journal.state()).into_iter().map(job).collect();
        // Those without a unique-id cannot be found in the journal.
        jobs.sort_by_key(|job| self.lessons.broke_at.contains_key(&job.trouble()));
        jobs
    }

    /// Fetches and delivers. What was delivered before a session broke stays delivered.
    async fn fetch(
        &self,
        client: &mut Client,
        jobs: Vec<Job>,
        plan: &Plan,
    ) -> Result<(Fetched, Result<(), RunError>), RunError> {
        let mut fetched = Fetched::default();
        let (given_up, jobs): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| job.key.is_none() && self.lessons.is_enough(&job.trouble()));
        for job in given_up {
            let why = "the session broke each time that it was read".to_owned();
            fetched.outcomes.push(Outcome::Aside(job.number, None, why));
        }
        if jobs.is_empty() {
            return Ok((fetched, Ok(())));
        }
        let (missing, trust) = {
            let journal = self.shared.journal();
            (Missing::new(journal.state(), &listed(plan)), Trust::new(journal.state()))
        };
        let pipeline = Pipeline::start(Arc::clone(self.shared), missing);
        let mut download = Download {
            shared: self.shared,
            pipeline: &pipeline,
            max_octets: self.account.policy.max_octets,
            trust,
            ahead: self.account.options.pipelining
                && !self.lessons.broke
                && client.capabilities().pipelining(),
            unlike: Vec::new(),
            fetched: &mut fetched,
        };
        let ended = self.stop.or(download.run(client, jobs)).await;
        let mut outcomes = pipeline.finish().await?;
        fetched.outcomes.append(&mut outcomes);
        Ok((fetched, ended))
    }

    /// What is to be noted of messages that have no unique-ids, once all were read.
    fn contents(&self, plan: &Plan, outcomes: &[Outcome]) -> Vec<Record> {
        if plan.steps.iter().all(Step::is_by_id) {
            return Vec::new();
        }
        let mut there = listed(plan);
        let keys = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Delivered(number, key, _) | Outcome::Recognised(number, key, _) => Some((number, key)),
            Outcome::Aside(number, key, _) => key.as_ref().map(|key| (number, key)),
        });
        let without: HashSet<MessageNumber> =
            plan.steps.iter().filter(|step| step.key.is_none()).map(|step| step.number).collect();
        let read: Vec<&Key> =
            keys.filter(|(number, _)| without.contains(number)).map(|(_, key)| key).collect();
        if read.len() < without.len() {
            return Vec::new();
        }
        there.extend(read);
        Plan::of_content(self.shared.journal().state(), &there, now())
    }

    /// Takes note of what became of the messages, and of what is to be deleted now.
    fn settle(
        &mut self,
        outcomes: Vec<Outcome>,
        deletions: &mut Vec<(MessageNumber, Key)>,
    ) -> Result<(), RunError> {
        let keep = self.account.policy.keep;
        let (mut renamed, mut removed) = (0, 0);
        for outcome in outcomes {
            match outcome {
                Outcome::Delivered(number, key, octets) => {
                    self.summary.delivered += 1;
                    self.summary.octets += octets;
                    if keep.is_over(now(), now()) {
                        deletions.push((number, key));
                    }
                }
                Outcome::Recognised(number, key, how) => {
                    self.summary.recognised += 1;
                    renamed += usize::from(how == How::Renamed);
                    removed += usize::from(how == How::Removed);
                    self.event(&Event::Recognised { number: number.get(), id: key.id().map(str::to_owned) });
                    let at = self.shared.journal().state().get(&key).map(|known| known.at);
                    if at.is_some_and(|at| keep.is_over(at, now())) {
                        deletions.push((number, key));
                    }
                }
                Outcome::Aside(number, key, why) => {
                    self.summary.stuck += 1;
                    let id = key.as_ref().and_then(Key::id).map(str::to_owned);
                    self.event(&Event::SetAside { number: number.get(), id, why });
                }
            }
        }
        self.warn_renamed(renamed);
        self.warn_removed(removed);
        Ok(())
    }

    /// Says what is to go, and QUIT; only its answer counts (RFC 1939 §6).
    ///
    /// The highest number goes first: even a server that numbers its messages anew behind each DELE then means the same
    /// message as we do.
    async fn delete_and_quit(
        &mut self,
        mut client: Client,
        mut deletions: Vec<(MessageNumber, Key)>,
        plan: &Plan,
    ) -> Result<(), RunError> {
        crash::point("run: delivered");
        deletions.sort_by_key(|&(number, _)| std::cmp::Reverse(number));
        let mut gone = Vec::with_capacity(deletions.len());
        if !deletions.is_empty() {
            let numbers = deletions.iter().map(|&(number, _)| number);
            let deleted = async { client.delete_all(numbers).await.map_err(RunError::Client) };
            let answers = self.stop.or_late(deleted).await?;
            crash::point("run: DELE");
            let mut refusals = 0;
            for ((number, answer), (_, key)) in answers.into_iter().zip(deletions) {
                match answer {
                    Ok(()) => gone.push((number, key)),
                    Err(refused) => {
                        refusals += 1;
                        self.summary.not_deleted.get_or_insert_with(|| refused.to_string());
                    }
                }
            }
            if refusals > 0 {
                self.warn(format!("the server refused to delete {refusals} messages; they were delivered, and are not delivered again"));
            }
            self.look_for_new_numbers(&mut client, &gone, plan).await?;
        }
        let quit = async { Ok(client.quit().await) };
        let quit = self.stop.or_late(quit).await?;
        crash::point("run: QUIT");
        match quit {
            Ok(()) => {
                let at = now();
                let records: Vec<Record> =
                    gone.into_iter().map(|(_, key)| Record::Deleted { key, at }).collect();
                self.shared.journal().append_durably(&records)?;
                if !records.is_empty() {
                    self.summary.deleted += records.len();
                    self.event(&Event::Deleted { messages: records.len() });
                }
                Ok(())
            }
            // Nothing was to be deleted, so nothing is amiss.
            Err(_) if gone.is_empty() => Ok(()),
            Err(error) => {
                let why = format!(
                    "it is not known whether the server removed {} messages ({error}); they were delivered, and are not delivered again",
                    gone.len()
                );
                self.warn(why.clone());
                self.summary.not_deleted = Some(why);
                Ok(())
            }
        }
    }

    /// Whether a message that stays, above one that goes, is still the same one. It does no harm if not, but should be known.
    async fn look_for_new_numbers(
        &self,
        client: &mut Client,
        gone: &[(MessageNumber, Key)],
        plan: &Plan,
    ) -> Result<(), RunError> {
        let Some(&(lowest, _)) = gone.last() else { return Ok(()) };
        let going: HashSet<MessageNumber> = gone.iter().map(|&(number, _)| number).collect();
        let stays = plan
            .steps
            .iter()
            .find(|step| step.number > lowest && !going.contains(&step.number) && step.key.is_some());
        let Some(Step { number, key: Some(key), .. }) = stays else { return Ok(()) };
        let same = match client.unique_id(*number).await {
            Ok(id) => id.is_some_and(|id| Key::of_id(&id) == *key),
            Err(Error::Refused(_)) => false,
            Err(error) => return Err(RunError::Client(error)),
        };
        if !same {
            self.warn("the server gives messages new numbers when one is deleted, against RFC 1939; mail is deleted from the highest number down, so that it does no harm".into());
        }
        Ok(())
    }

    fn tell_plan(&self, plan: &Plan) {
        let fetch = plan.steps.iter().filter(|step| matches!(step.action, Action::Fetch(_)));
        let (count, octets) = fetch.fold((0, 0_u64), |(count, octets), step| {
            (count + 1, octets.saturating_add(step.octets.unwrap_or(0)))
        });
        let delete = plan.to_delete().count();
        self.event(&Event::Planned {
            messages: plan.steps.len(),
            fetch: count,
            fetch_octets: octets,
            delete,
        });
    }

    fn count_left(&mut self, plan: &Plan) {
        use crate::plan::Because;
        for step in &plan.steps {
            match &step.action {
                Action::Leave(Because::Kept(_)) => self.summary.kept += 1,
                Action::Leave(_) => self.summary.stuck += 1,
                Action::Fetch(_) | Action::Delete(_) => {}
            }
        }
    }

    fn warn_renamed(&self, messages: usize) {
        if messages > 0 {
            self.warn(format!(
                "the server has given {messages} messages that were delivered before new unique-ids; they are not delivered again"
            ));
        }
    }

    fn warn_removed(&self, messages: usize) {
        if messages > 0 {
            self.warn(format!(
                "the server still has {messages} messages that it said it had removed; they are not delivered again"
            ));
        }
    }

    fn warn(&self, text: String) {
        self.event(&Event::Warning { text });
    }

    fn event(&self, event: &Event) {
        self.shared.report.event(event);
    }
}

fn listed(plan: &Plan) -> HashSet<&Key> {
    crate::pipeline::keys(plan.steps.iter().map(|step| step.key.as_ref()))
}

/// The digests of the headers of these messages, of those that have one that is like no other.
async fn headers(
    client: &mut Client,
    numbers: &[MessageNumber],
) -> Result<Vec<(MessageNumber, [u8; 16])>, RunError> {
    let mut headers = Vec::new();
    let mut tops = client.tops(numbers.iter().copied(), 0);
    while let Some(mut top) = tops.next().await.map_err(RunError::Client)? {
        let (number, mut header, mut octets) = (top.number(), HeaderDigest::default(), 0);
        let whole = loop {
            match top.chunk().await {
                Ok(Some(chunk)) => {
                    header.push(chunk);
                    octets += chunk.len() as u64;
                }
                Ok(None) => break true,
                // The whole message will tell.
                Err(Error::Refused(_)) => break false,
                Err(error) => return Err(RunError::Client(error)),
            }
            if octets > TOP_MAX_OCTETS {
                let text = format!("what the server sends as the header of message {number} has no end");
                return Err(RunError::Client(Error::Lost(text)));
            }
        };
        headers.extend(header.finish().filter(|_| whole).map(|header| (number, header)));
    }
    Ok(headers)
}

/// Whether the user name or the password is to blame.
fn is_credentials(error: &Error, coded: bool) -> bool {
    let Error::Refused(refused) = error else { return false };
    let login = matches!(refused.verb, Some(Verb::User | Verb::Pass | Verb::Apop | Verb::Auth));
    let to_blame = match &refused.code {
        Some(code) => *code == ResponseCode::Auth,
        // RFC 3206 §4: a server that tells causes apart would have said so.
        None => !coded,
    };
    login && to_blame
}
