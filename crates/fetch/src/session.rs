//! One session of a run: log in, list, plan, fetch, delete, QUIT. When there is another one is decided in `run.rs`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use restante_client::{
    Client, CredentialKind, Credentials, Error, Listing, MessageNumber, Offer, Refused, ResponseCode,
    Strength, Verb,
};
use restante_proto::Secret;
use restante_store::crash;

use crate::{
    download::{Download, Fetched, Lessons, Trust, trouble},
    identity::{HeaderDigest, Missing},
    journal::{Key, Known, Record, Stage, now},
    pipeline::{How, Job, Outcome, Pipeline, Shared},
    plan::{Action, Because, Plan, Step, Why},
    policy::{Keep, rest_of_message},
    refused,
    report::Event,
    run::{Account, RunError, Stop, Summary},
    tokens::TokenSource,
};

/// How long a header may be that is asked for, with what a server sends behind it though it should not, in octets.
const TOP_MAX_OCTETS: u64 = 64 << 20;

/// One session of a run.
pub(crate) struct Session<'a> {
    pub(crate) account: &'a Account,
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) stop: &'a Stop,
    pub(crate) summary: &'a mut Summary,
    pub(crate) lessons: &'a mut Lessons,
}

impl Session<'_> {
    pub(crate) async fn run(&mut self) -> Result<(), RunError> {
        let summary = &mut *self.summary;
        (summary.kept, summary.stuck, summary.too_long, summary.not_deleted) = (0, 0, 0, None);
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
        if std::mem::take(&mut self.lessons.lost_ahead) {
            // Otherwise each run would wait in vain first.
            self.shared.journal().append(&[Record::OneByOne { at: now() }])?;
        }
        // Within the time in which a destination can still tell what became of an intent.
        Ok(self.shared.journal().sync()?)
    }

    /// Whether commands may be sent ahead.
    fn pipelines(&self) -> bool {
        self.account.options.pipelining && !self.lessons.broke && !self.shared.is_one_by_one()
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
    pub(crate) async fn open(&mut self) -> Result<(Client, Listing), RunError> {
        let url = &self.account.url;
        let seen = self.shared.journal().state().strength;
        let opened = match &self.account.tokens {
            None => self.enter(&self.account.credentials, seen).await,
            Some(source) => {
                let user = &self.account.credentials.user;
                let token = self.token(source, None).await?;
                let entered = self.enter(&Credentials::token(user, token.clone()), seen).await;
                match entered {
                    // It may have been withdrawn, or a clock is wrong. Once: a new one that is refused too is no matter of age.
                    Err(RunError::Credentials(_)) => {
                        let token = self.token(source, Some(&token)).await?;
                        self.enter(&Credentials::token(user, token), seen).await
                    }
                    entered => entered,
                }
            }
        };
        let (mut client, strength) = match opened {
            // They were right a moment ago.
            Err(RunError::Credentials(error)) if self.lessons.logged_in => {
                return Err(RunError::Client(error));
            }
            Err(RunError::Credentials(error)) => {
                let before = self.shared.journal().state().refused_mark;
                let mark = Some(refused::mark(self.account, before).await);
                self.shared.journal().append_durably(&[Record::Refused { at: now(), mark }])?;
                return Err(match self.account.tokens {
                    Some(_) => RunError::TokenRefused(error),
                    None => RunError::Credentials(error),
                });
            }
            opened => opened?,
        };
        self.shared.journal().append(&[Record::Login { at: now() }])?;
        if strength > seen.map(|(strength, _)| strength) {
            // Only what worked is remembered: what a list says can be forged both ways.
            self.shared.journal().append(&[Record::Strength { strength, at: now() }])?;
        }
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

    /// A token to log in with.
    async fn token(
        &self,
        source: &Arc<dyn TokenSource>,
        refused: Option<&Secret<Vec<u8>>>,
    ) -> Result<Secret<Vec<u8>>, RunError> {
        let token = self.stop.or(async { source.token(refused).await.map_err(RunError::Token) }).await?;
        if let Some(text) = source.trouble() {
            self.warn(text);
        }
        Ok(token)
    }

    /// Connects and logs in; says how strong that was. `seen` is how strong it was before.
    async fn enter(
        &self,
        credentials: &Credentials,
        seen: Option<(Strength, u64)>,
    ) -> Result<(Client, Option<Strength>), RunError> {
        let Account { url, way, minimum, .. } = self.account;
        let mut options = self.account.options.clone();
        options.pipelining = self.pipelines();
        let minimum = (*minimum).max(seen.map(|(strength, _)| strength));
        self.stop
            .or(async {
                let mut client = Client::connect(url, &options).await.map_err(RunError::Client)?;
                let entered = match way {
                    None => client.authenticate_at_least(credentials, minimum).await,
                    // What is named is what is wanted.
                    Some(way) => {
                        client.authenticate_with(way, credentials).await.map(|()| Client::strength_of(way))
                    }
                };
                let strength = entered.map_err(|error| {
                    if let (Error::TooWeak { minimum, .. }, Some((strength, at))) = (&error, seen)
                        && *minimum == strength
                    {
                        return RunError::Weaker { seconds: now().saturating_sub(at), error };
                    }
                    if way.is_none() && minimum < Some(Strength::Keys) && is_refused_by_keys(&error, &client)
                    {
                        self.warn(NO_KEYS.to_owned());
                    }
                    if credentials.kind == CredentialKind::Password && wants_tokens(&client) {
                        self.warn(TOKENS_ALONE.to_owned());
                    }
                    let was_right = self.shared.journal().state().login.is_some();
                    match is_credentials(&error, client.capabilities().auth_resp_code(), was_right) {
                        true => RunError::Credentials(error),
                        false => RunError::Client(error),
                    }
                })?;
                Ok((client, strength))
            })
            .await
    }

    /// The plan, once it is clear which new messages are old ones under new unique-ids.
    pub(crate) async fn plan(&mut self, client: &mut Client, listing: &Listing) -> Result<Plan, RunError> {
        if !listing.has_unique_ids && !listing.is_empty() && self.account.policy.keep != Keep::No {
            self.warn("the server gives no unique-ids (UIDL): what is kept there has to be looked at each time to see whether it is new".into());
        }
        let policy = &self.account.policy;
        let new_plan =
            |session: &Self| Plan::new(listing.entries(), session.shared.journal().state(), policy, now());
        let mut plan = new_plan(self);
        self.shared.journal().append(&plan.notes_first())?;
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
        let doubted = found.iter().filter(|(step, _)| step.action == Action::Fetch(Why::Doubted));
        let back: Vec<Record> =
            doubted.map(|(step, key)| Record::Back { key: key.clone(), listed: step.octets }).collect();
        let renamed: Vec<Record> = found
            .iter()
            .filter_map(|(step, from)| match &step.key {
                Some(to) if to != from => Some(Record::Renamed { from: from.clone(), to: to.clone() }),
                _ => None,
            })
            .collect();
        self.warn_renamed(renamed.len());
        self.summary.recognised += renamed.len();
        if !renamed.is_empty() || !back.is_empty() {
            self.shared.journal().append_durably(&[renamed, back].concat())?;
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
                (Action::Fetch(why), Some(key)) if why.has_one_before() => {
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
            (Action::Fetch(why), Some(key)) if why.has_one_before() => {
                journal.state().get(key).map(|known| known.digest)
            }
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
        let pipeline = Pipeline::start(Arc::clone(self.shared), missing, self.stop.clone());
        let mut download = Download {
            shared: self.shared,
            pipeline: &pipeline,
            max_octets: self.account.policy.max_octets,
            trust,
            ahead: self.pipelines() && client.capabilities().pipelining(),
            unlike: Vec::new(),
            fetched: &mut fetched,
        };
        let mut ended = self.stop.or(download.run(client, jobs)).await;
        let mut done = pipeline.finish().await?;
        if done.gave_up && ended.is_ok() {
            ended = Err(RunError::Stopped);
        }
        fetched.outcomes.append(&mut done.outcomes);
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
                    // One that is as it was did not seem new.
                    self.summary.recognised += usize::from(how != How::Back);
                    renamed += usize::from(how == How::Renamed);
                    removed += usize::from(how == How::Removed);
                    if how != How::Back {
                        let id = key.id().map(str::to_owned);
                        self.event(&Event::Recognised { number: number.get(), id });
                    }
                    let at = self.shared.journal().state().get(&key).map(|known| known.at);
                    let was_to_go = how == How::Removed && keep != Keep::Always;
                    if was_to_go || at.is_some_and(|at| keep.is_over(at, now())) {
                        deletions.push((number, key));
                    } else if how == How::Back {
                        self.summary.kept += 1;
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
            // Before anything is removed: that all of it was delivered is on disk.
            self.shared.journal().sync()?;
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
                let deleted = gone.len();
                let mut records: Vec<Record> =
                    gone.into_iter().map(|(_, key)| Record::Deleted { key, at }).collect();
                let mut journal = self.shared.journal();
                records.extend(journal.state().moved.then_some(Record::Settled));
                journal.append_durably(&records)?;
                drop(journal);
                if deleted > 0 {
                    self.summary.deleted += deleted;
                    self.event(&Event::Deleted { messages: deleted });
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
            .find(|step| step.number > lowest && !going.contains(&step.number) && step.is_by_id());
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
        for step in &plan.steps {
            match &step.action {
                Action::Leave(Because::Kept(_)) => self.summary.kept += 1,
                Action::Leave(Because::Aside(..)) => self.summary.stuck += 1,
                Action::Leave(Because::TooLong(_)) => {
                    self.summary.too_long += 1;
                    let id = step.key.as_ref().and_then(Key::id).map(str::to_owned);
                    let octets = step.octets.unwrap_or(0);
                    self.event(&Event::TooLong { number: step.number.get(), id, octets });
                }
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

/// Words that servers have for a maildrop that somebody else has open, or for a fault of their own.
const HELD_WORDS: [&str; 6] = ["lock", "busy", "in use", "try again", "temporar", "another session"];

/// What may be the matter where SCRAM is offered and refused.
const NO_KEYS: &str = "the server offers SCRAM, as some do for users of whom they have no keys: if the password is right, mechanism = \"PLAIN\" in the account (or --mechanism PLAIN) sends it inside TLS instead";

/// What may be the matter with a password there. USER may be on offer all the same.
const TOKENS_ALONE: &str = "by AUTH the server takes tokens alone: if no password works there, oauth = … in the account, and then «restante account login», sign in";

/// Whether tokens are all that the server takes by AUTH.
fn wants_tokens(client: &Client) -> bool {
    let mut mechanisms = client.capabilities().mechanisms().peekable();
    mechanisms.peek().is_some() && mechanisms.all(|name| matches!(name, "OAUTHBEARER" | "XOAUTH2"))
}

/// Whether SCRAM was refused where PLAIN would be safe from those who listen.
fn is_refused_by_keys(error: &Error, client: &Client) -> bool {
    let offers = |start: &str| client.capabilities().mechanisms().any(|name| name.starts_with(start));
    let is_refused = matches!(error, Error::Refused(refused) if refused.verb == Some(Verb::Auth));
    is_refused && client.tls().is_some() && offers("SCRAM-") && offers("PLAIN")
}

/// Whether a login was refused.
pub(crate) fn is_login(refused: &Refused) -> bool {
    matches!(refused.verb, Some(Verb::User | Verb::Pass | Verb::Apop | Verb::Auth))
}

/// Whether the user name or the password is to blame.
///
/// Servers that have no codes for it say so in words. These count only where the password was right before: at a first
/// login «locked» may be said of an account, and guessing on would make that worse.
fn is_credentials(error: &Error, coded: bool, was_right: bool) -> bool {
    let Error::Refused(refused) = error else { return false };
    let login = is_login(refused);
    let text = refused.text.to_ascii_lowercase();
    if was_right && refused.code.is_none() && HELD_WORDS.iter().any(|word| text.contains(word)) {
        return false;
    }
    let to_blame = match &refused.code {
        Some(code) => *code == ResponseCode::Auth,
        // RFC 3206 §4: a server that tells causes apart would have said so.
        None => !coded,
    };
    login && to_blame
}
