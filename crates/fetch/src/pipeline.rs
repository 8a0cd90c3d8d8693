//! From the session to the destination: one thread stages messages as they come, another commits batches of them, so that
//! the network, the writing and the disk's `fsync` go on at the same time.
//!
//! Batches size themselves: whenever the second thread has nothing to do it takes what there is.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
};

use restante_client::MessageNumber;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    destination::{Batch, BatchMax, Destination, Fault, Promise, Token},
    identity::{Fingerprint, Missing},
    journal::{Journal, JournalError, Key, Known, Record, Stage, now},
    policy::rest_left,
    report::{Event, Report},
    run::Stop,
};

/// How many pieces of messages may wait to be staged; a piece has 64 KiB at most.
const WAITING_MAX: usize = 12;

/// A batch that has fewer messages, and fewer octets, is not given on while more is waiting to be staged: each costs some
/// calls to the disk, however small it is.
const WORTH_A_COMMIT: BatchMax = BatchMax { messages: 100, octets: 4 << 20 };

/// For how long nothing is sent ahead to a server that did not answer it, in seconds.
const ONE_BY_ONE_SECONDS: u64 = 86_400;

/// A message that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) number: MessageNumber,
    pub(crate) key: Option<Key>,
    pub(crate) listed: Option<u64>,
    /// It may be one that was delivered under another unique-id.
    pub(crate) suspect: bool,
    /// The SHA-256 of what was delivered, and deleted or gone, under this unique-id: it may be that, or a new one.
    pub(crate) before: Option<[u8; 32]>,
    /// It is fetched again because its length is unlike what LIST said.
    pub(crate) again: bool,
}

/// What comes from the session.
#[derive(Debug)]
pub(crate) enum Item {
    /// A message begins.
    Begin(Job),
    /// More of it.
    Octets(Vec<u8>),
    /// It is whole.
    End,
    /// It will never be whole.
    Broken,
}

/// What became of a message.
#[derive(Debug)]
pub(crate) enum Outcome {
    Delivered(MessageNumber, Key, u64),
    /// It is this one, which was delivered before.
    Recognised(MessageNumber, Key, How),
    Aside(MessageNumber, Option<Key>, String),
}

/// How a message comes to be read that was delivered before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It has another unique-id now.
    Renamed,
    /// It has no unique-id.
    Nameless,
    /// The server said that it had removed it.
    Removed,
    /// It was gone for a while, or LIST tells another length now.
    Back,
}

/// Why nothing more can be delivered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    #[error("{0}")]
    Destination(String),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("a thread failed: {0}")]
    Thread(String),
}

/// What both threads share.
pub(crate) struct Shared {
    pub(crate) destination: Arc<dyn Destination>,
    pub(crate) journal: Mutex<Journal>,
    pub(crate) report: Arc<dyn Report>,
    /// The latest time that the journal had noted before this run.
    pub(crate) newest_before: u64,
}

impl Shared {
    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the server is asked one by one, since it did not answer lately what was sent ahead.
    pub(crate) fn is_one_by_one(&self) -> bool {
        let at = self.journal().state().one_by_one;
        at.is_some_and(|at| rest_left(at, ONE_BY_ONE_SECONDS, now()) > 0)
    }
}

/// The two threads, and the way in.
pub(crate) struct Pipeline {
    items: mpsc::Sender<Item>,
    stager: JoinHandle<Result<Staging, Stopped>>,
}

impl Pipeline {
    pub(crate) fn start(shared: Arc<Shared>, missing: Missing, stop: Stop) -> Self {
        let (items, received) = mpsc::channel(WAITING_MAX);
        let stager = tokio::task::spawn_blocking(move || stage(received, &shared, missing, &stop));
        Self { items, stager }
    }

    /// Hands over an item, once there is room; `false` if nothing more is taken.
    pub(crate) async fn push(&self, item: Item) -> bool {
        self.items.send(item).await.is_ok()
    }

    /// Waits until everything that was handed over is delivered or failed; where all is to stop, until what is being
    /// delivered is.
    pub(crate) async fn finish(self) -> Result<Staging, Stopped> {
        drop(self.items);
        self.stager.await.unwrap_or_else(|error| Err(Stopped::Thread(error.to_string())))
    }
}

/// What the threads come to.
#[derive(Debug, Default)]
pub(crate) struct Staging {
    pub(crate) outcomes: Vec<Outcome>,
    /// Something was given up, since all is to stop.
    pub(crate) gave_up: bool,
}

/// A message that is staged.
struct Staged {
    number: MessageNumber,
    key: Key,
    listed: Option<u64>,
    octets: u64,
    digest: [u8; 32],
    header: Option<[u8; 16]>,
}

/// A batch and what is in it, by place.
struct Load {
    batch: Box<dyn Batch>,
    staged: Vec<Staged>,
    octets: u64,
}

/// A message that is read.
struct Reading {
    job: Job,
    fingerprint: Fingerprint,
    /// The destination does not take it, for this reason; what comes of it is read over.
    refused: Option<String>,
}

struct Stager<'a> {
    shared: &'a Shared,
    stop: &'a Stop,
    gave_up: bool,
    missing: Missing,
    max: BatchMax,
    load: Option<Load>,
    reading: Option<Reading>,
    outcomes: Vec<Outcome>,
    /// Which of several messages that hold the same comes next.
    same: HashMap<[u8; 32], u32>,
    /// What was read in this session.
    read: HashSet<[u8; 32]>,
}

/// The first thread.
fn stage(
    mut items: mpsc::Receiver<Item>,
    shared: &Arc<Shared>,
    missing: Missing,
    stop: &Stop,
) -> Result<Staging, Stopped> {
    // A place for none: handing over succeeds when the other side waits, or waits itself.
    let (loads, taken) = sync_channel::<Load>(0);
    std::thread::scope(|scope| {
        let committer = scope.spawn(move || {
            let (mut done, mut deferred) = (Staging::default(), false);
            for load in taken {
                // Of what has no intent yet nothing stays, and it comes again.
                if stop.is_stopped() {
                    done.gave_up = true;
                } else {
                    commit(load, shared, &mut done.outcomes, &mut deferred)?;
                }
            }
            Ok::<_, Stopped>(done)
        });
        let max = shared.destination.batch_max();
        let mut stager = Stager {
            shared,
            stop,
            gave_up: false,
            missing,
            max,
            load: None,
            reading: None,
            outcomes: Vec::new(),
            same: HashMap::new(),
            read: HashSet::new(),
        };
        let staged = stager.run(&mut items, &loads);
        drop(loads);
        let committed =
            committer.join().unwrap_or_else(|_| Err(Stopped::Thread("the committing one panicked".into())));
        // What the committer failed with comes first: the stager then only found nobody to hand over to.
        let mut done = committed?;
        staged?;
        done.outcomes.append(&mut stager.outcomes);
        done.gave_up |= stager.gave_up;
        Ok(done)
    })
}

impl Stager<'_> {
    fn run(&mut self, items: &mut mpsc::Receiver<Item>, loads: &SyncSender<Load>) -> Result<(), Stopped> {
        while let Some(item) = items.blocking_recv() {
            if self.stop.is_stopped() {
                self.gave_up = true;
                break;
            }
            match item {
                Item::Begin(job) => self.begin(job)?,
                Item::Octets(octets) => self.octets(&octets)?,
                Item::Broken => self.broken(),
                Item::End => {
                    self.end()?;
                    if !self.hand_over(loads, !items.is_empty()) {
                        return Ok(());
                    }
                }
            }
        }
        self.broken();
        if let Some(load) = self.load.take().filter(|load| !load.staged.is_empty()) {
            // Where nobody takes it, the committer says why.
            drop(loads.send(load));
        }
        Ok(())
    }

    fn begin(&mut self, job: Job) -> Result<(), Stopped> {
        self.broken();
        let load = match &mut self.load {
            Some(load) => load,
            empty => {
                let batch = self.shared.destination.batch().map_err(stopped)?;
                empty.insert(Load { batch, staged: Vec::new(), octets: 0 })
            }
        };
        let refused = refused(load.batch.begin())?;
        self.reading = Some(Reading { job, fingerprint: Fingerprint::default(), refused });
        Ok(())
    }

    fn octets(&mut self, octets: &[u8]) -> Result<(), Stopped> {
        let (Some(reading), Some(load)) = (&mut self.reading, &mut self.load) else { return Ok(()) };
        reading.fingerprint.push(octets);
        if reading.refused.is_none() {
            reading.refused = refused(load.batch.write(octets))?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stopped> {
        let Some(Reading { job, fingerprint, refused: mut why }) = self.reading.take() else { return Ok(()) };
        let octets = fingerprint.octets;
        let (digest, header) = fingerprint.finish();
        if let Some((key, how)) = self.recognised(&job, &digest)? {
            self.abandon();
            self.outcomes.push(Outcome::Recognised(job.number, key, how));
            return Ok(());
        }
        if job.again && why.is_none() {
            why = self.mistaken(&job, octets, &digest);
        }
        self.read.insert(digest);
        let Some(load) = &mut self.load else { return Ok(()) };
        match why {
            None => why = refused(load.batch.finish())?,
            Some(_) => load.batch.abandon(),
        }
        let key = job.key.unwrap_or_else(|| self.content_key(&digest));
        if let Some(why) = why {
            return set_aside(job.number, &key, why, false, self.shared, &mut self.outcomes);
        }
        if let Some(load) = &mut self.load {
            load.octets += octets;
            load.staged.push(Staged { number: job.number, key, listed: job.listed, octets, digest, header });
        }
        Ok(())
    }

    fn abandon(&mut self) {
        if let Some(load) = &mut self.load {
            load.batch.abandon();
        }
    }

    /// The key of what was delivered before, if that is what was read.
    fn recognised(&mut self, job: &Job, digest: &[u8; 32]) -> Result<Option<(Key, How)>, Stopped> {
        if let (Some(key), true) = (&job.key, job.before == Some(*digest)) {
            let mut journal = self.shared.journal();
            let was_removed = journal.state().get(key).is_some_and(|known| known.stage == Stage::Deleted);
            let (record, how) = if was_removed {
                let at = journal.time_of_delivery();
                (Record::Delivered { key: key.clone(), at }, How::Removed)
            } else {
                (Record::Back { key: key.clone(), listed: job.listed }, How::Back)
            };
            journal.append(&[record])?;
            return Ok(Some((key.clone(), how)));
        }
        if !job.suspect {
            return Ok(None);
        }
        let Some(from) = self.missing.claim_by_digest(digest) else { return Ok(None) };
        let Some(to) = job.key.clone() else { return Ok(Some((from, How::Nameless))) };
        // Its length may be told in another way as well.
        let back = Record::Back { key: to.clone(), listed: job.listed };
        self.shared.journal().append(&[Record::Renamed { from, to: to.clone() }, back])?;
        Ok(Some((to, How::Renamed)))
    }

    /// Why a message whose length is twice unlike what LIST said is none: it is nothing, or another one.
    fn mistaken(&self, job: &Job, octets: u64, digest: &[u8; 32]) -> Option<String> {
        let listed = job.listed.unwrap_or(0);
        if octets == 0 {
            return Some(format!("the server sent nothing, though LIST says that it has {listed} octets"));
        }
        let is_another =
            |(key, known): (&Key, &Known)| known.digest == *digest && job.key.as_ref() != Some(key);
        let another = self.read.contains(digest) || self.shared.journal().state().iter().any(is_another);
        if another {
            return Some(format!(
                "the server sent another message in its place: LIST says {listed} octets, and {octets} came"
            ));
        }
        let text = format!(
            "message {}: LIST says {listed} octets, and {octets} came, twice; it is delivered as it came",
            job.number
        );
        self.shared.report.event(&Event::Warning { text });
        None
    }

    /// The key of a message that has no unique-id of its own: one that no other message has.
    fn content_key(&mut self, digest: &[u8; 32]) -> Key {
        let which = self.same.entry(*digest).or_default();
        loop {
            *which += 1;
            let key = Key::of_content(digest, *which);
            match self.shared.journal().state().get(&key) {
                // What failed before is this one.
                None | Some(Known { stage: Stage::Aside(_), .. }) => return key,
                Some(_) => {}
            }
        }
    }

    fn broken(&mut self) {
        if let (Some(_), Some(load)) = (self.reading.take(), &mut self.load) {
            load.batch.abandon();
        }
    }

    /// Gives the batch on: when it is full, or when it is waited for. `false` if nobody takes batches any more.
    fn hand_over(&mut self, loads: &SyncSender<Load>, more_is_waiting: bool) -> bool {
        let Some(load) = self.load.take_if(|load| !load.staged.is_empty()) else { return true };
        let small = load.staged.len() < WORTH_A_COMMIT.messages.min(self.max.messages)
            && load.octets < WORTH_A_COMMIT.octets.min(self.max.octets);
        if small && more_is_waiting {
            self.load = Some(load);
            return true;
        }
        if load.staged.len() >= self.max.messages || load.octets >= self.max.octets {
            return loads.send(load).is_ok();
        }
        match loads.try_send(load) {
            Ok(()) => true,
            Err(TrySendError::Full(load)) => {
                self.load = Some(load);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

/// A fault of one message as its reason; one of the destination ends it all.
fn refused(result: Result<(), Fault>) -> Result<Option<String>, Stopped> {
    match result {
        Ok(()) => Ok(None),
        Err(Fault::Message(why)) => Ok(Some(why)),
        Err(fault) => Err(stopped(fault)),
    }
}

fn stopped(fault: Fault) -> Stopped {
    Stopped::Destination(fault.to_string())
}

/// What the second thread does with a batch: durable, intended, visible, delivered.
///
/// A message that is deferred is set aside; two in a row mean that the destination takes nothing now.
fn commit(
    mut load: Load,
    shared: &Shared,
    outcomes: &mut Vec<Outcome>,
    deferred: &mut bool,
) -> Result<(), Stopped> {
    let tokens = load.batch.sync();
    let at = now();
    let (mut records, mut ready, mut fatal) = (Vec::new(), Vec::new(), None);
    let mut tokens = tokens.into_iter();
    for (place, staged) in load.staged.iter().enumerate() {
        let token =
            tokens.next().unwrap_or_else(|| Err(Fault::Destination("the destination lost a message".into())));
        match token {
            Ok(token) => {
                records.push(intent(staged, token, at));
                ready.push(place);
            }
            Err(Fault::Message(why)) => {
                set_aside(staged.number, &staged.key, why, false, shared, outcomes)?;
            }
            Err(fault) => fatal = Some(stopped(fault)),
        }
    }
    if !records.is_empty() {
        shared.journal().append_durably(&records)?;
    }
    let mut published = Vec::with_capacity(ready.len());
    for place in ready {
        let staged = &load.staged[place];
        match load.batch.publish(place) {
            Ok(()) => {
                *deferred = false;
                published.push(place);
            }
            Err(Fault::Message(why)) => {
                *deferred = false;
                set_aside(staged.number, &staged.key, why, false, shared, outcomes)?;
            }
            Err(Fault::Deferred(why)) if !*deferred => {
                *deferred = true;
                set_aside(staged.number, &staged.key, why, true, shared, outcomes)?;
            }
            // What became of it is asked at the next run, and nothing more is tried in this one.
            Err(fault) => {
                if matches!(fault, Fault::Deferred(_)) || load.batch.has_nothing_of(place) {
                    shared.journal().append(&[Record::Undone { key: staged.key.clone() }])?;
                }
                fatal = Some(stopped(fault));
                break;
            }
        }
    }
    load.batch.settle().map_err(stopped)?;
    let at = shared.journal().time_of_delivery();
    let delivered = |&place: &usize| Record::Delivered { key: load.staged[place].key.clone(), at };
    let records: Vec<Record> = published.iter().map(delivered).collect();
    match shared.destination.promise() {
        // Were this lost, the intents would tell.
        Promise::ExactlyOnce => shared.journal().append(&records)?,
        Promise::AtLeastOnce(_) => shared.journal().append_durably(&records)?,
    }
    for place in published {
        let Staged { number, key, octets, .. } = &load.staged[place];
        let id = key.id().map(str::to_owned);
        shared.report.event(&Event::Delivered { number: number.get(), id, octets: *octets });
        outcomes.push(Outcome::Delivered(*number, key.clone(), *octets));
    }
    fatal.map_or(Ok(()), Err)
}

fn intent(staged: &Staged, token: Token, at: u64) -> Record {
    Record::Intent {
        key: staged.key.clone(),
        octets: staged.octets,
        listed: staged.listed,
        digest: staged.digest,
        header: staged.header,
        token,
        at,
    }
}

fn set_aside(
    number: MessageNumber,
    key: &Key,
    why: String,
    last: bool,
    shared: &Shared,
    outcomes: &mut Vec<Outcome>,
) -> Result<(), Stopped> {
    let record = Record::Failed { key: key.clone(), at: now(), broke: last, why: why.clone() };
    shared.journal().append(&[record])?;
    outcomes.push(Outcome::Aside(number, Some(key.clone()), why));
    Ok(())
}

/// The keys of messages that are listed.
pub(crate) fn keys<'a>(jobs: impl Iterator<Item = Option<&'a Key>>) -> HashSet<&'a Key> {
    jobs.flatten().collect()
}
