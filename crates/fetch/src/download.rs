//! Messages from the session to the pipeline: each with a limit, its length compared with what LIST said, and what broke
//! the session blamed for it.

use std::collections::HashMap;

use restante_client::{Client, Error, MessageNumber};

use crate::{
    journal::{Key, Record, Stage, State, now},
    pipeline::{Item, Job, Outcome, Pipeline, Shared},
    report::Event,
    run::RunError,
};

/// The longest message, in octets, where the account sets no limit.
const MESSAGE_MAX_OCTETS: u64 = 4 << 30;

/// So many octets more than twice as many as LIST says make a message that has no end.
const GROWN_MAX_OCTETS: u64 = 1 << 30;

/// How much of a message that is too long is read over, so that the session can go on, in octets.
const SKIPPED_MAX_OCTETS: u64 = 4 << 20;

/// What a run learnt that its later sessions should know.
#[derive(Debug, Default)]
pub(crate) struct Lessons {
    pub(crate) retry_aside: bool,
    /// The server took the credentials.
    pub(crate) logged_in: bool,
    /// A session broke: commands are sent one by one, since the server may lose those that come early.
    pub(crate) broke: bool,
    /// It broke because an answer did not come, and commands were sent ahead.
    pub(crate) lost_ahead: bool,
    /// It broke while headers were read: they are not asked for any more.
    pub(crate) broke_in_headers: bool,
    /// How often a session broke at each message.
    pub(crate) broke_at: HashMap<Trouble, u32>,
}

/// A message that made a session break: its key, or its number and its length.
pub(crate) type Trouble = (Option<Key>, MessageNumber, Option<u64>);

/// So often a session may break at a message in a run.
const BREAKS_OF_MESSAGE_MAX: u32 = 2;

impl Lessons {
    /// Whether sessions broke at this message often enough.
    pub(crate) fn is_enough(&self, trouble: &Trouble) -> bool {
        self.broke_at.get(trouble).is_some_and(|&times| times >= BREAKS_OF_MESSAGE_MAX)
    }
}

/// Its number tells nothing in another session, if it has a key.
pub(crate) fn trouble(key: Option<&Key>, number: MessageNumber, listed: Option<u64>) -> Trouble {
    match key {
        Some(key) => (Some(key.clone()), MessageNumber::FIRST, None),
        None => (None, number, listed),
    }
}

/// How the messages came.
#[derive(Default)]
pub(crate) struct Fetched {
    pub(crate) outcomes: Vec<Outcome>,
    /// The message at which the session broke, and how.
    pub(crate) broke_at: Option<(Job, String)>,
}

/// Whether a server's LIST can be believed. Some count lines as they store them, some estimate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trust {
    fit: u64,
    unlike: u64,
}

impl Trust {
    /// By what was delivered before.
    pub(crate) fn new(state: &State) -> Self {
        let mut trust = Self::default();
        for (_, known) in state.iter() {
            match (&known.stage, known.listed) {
                (Stage::Delivered | Stage::Deleted, Some(listed)) if listed == known.octets => trust.fit += 1,
                (Stage::Delivered | Stage::Deleted, Some(_)) => trust.unlike += 1,
                _ => {}
            }
        }
        trust
    }

    /// Whether a message that has so many octets and lines is unlike what a LIST that can be believed says.
    fn doubts(&mut self, octets: u64, lines: u64, listed: Option<u64>) -> bool {
        let Some(listed) = listed else { return false };
        // With LF for CRLF, without the last line end, and with the final dot, as servers count.
        let counts =
            [octets, octets.saturating_sub(lines), octets + lines, octets.saturating_sub(2), octets + 3];
        if counts.contains(&listed) {
            self.fit += 1;
            return false;
        }
        let believed = self.fit >= self.unlike;
        // Once some fit, one that does not is the odd one.
        self.unlike += u64::from(self.fit == 0);
        // That a message is empty is no way of counting.
        believed || octets == 0
    }
}

impl Job {
    pub(crate) fn trouble(&self) -> Trouble {
        trouble(self.key.as_ref(), self.number, self.listed)
    }
}

/// The messages of a session on their way.
pub(crate) struct Download<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) max_octets: Option<u64>,
    pub(crate) trust: Trust,
    /// Whether commands are sent before the answers to earlier ones came.
    pub(crate) ahead: bool,
    /// Those whose length is unlike what LIST says: they are fetched once more in the end.
    pub(crate) unlike: Vec<Job>,
    pub(crate) fetched: &'a mut Fetched,
}

/// How a message came.
enum Came {
    Whole {
        octets: u64,
        lines: u64,
    },
    /// The others follow.
    Not(String),
    /// Nothing follows.
    Broke(Error),
    /// Nothing more is taken.
    Stopped,
}

impl Download<'_> {
    pub(crate) async fn run(&mut self, client: &mut Client, jobs: Vec<Job>) -> Result<(), RunError> {
        if !self.pass(client, jobs).await? {
            return Ok(());
        }
        let unlike = std::mem::take(&mut self.unlike);
        let again = unlike.into_iter().map(|job| Job { again: true, ..job }).collect();
        self.pass(client, again).await.map(drop)
    }

    /// Reads these messages; `false` if nothing more is taken.
    async fn pass(&mut self, client: &mut Client, jobs: Vec<Job>) -> Result<bool, RunError> {
        let numbers: Vec<MessageNumber> = jobs.iter().map(|job| job.number).collect();
        let mut jobs = jobs.into_iter();
        let mut messages = client.messages(numbers);
        // Where the one before was unlike LIST, the server may have sent its end too early.
        let mut doubted: Option<Job> = None;
        loop {
            let mut message = match messages.next().await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(true),
                Err(error) => {
                    let blamed = doubted.or_else(|| jobs.next());
                    return Err(self.broke(blamed.as_ref(), error)?);
                }
            };
            let Some(job) = jobs.next() else { return Ok(true) };
            if !self.pipeline.push(Item::Begin(job.clone())).await {
                return Ok(false);
            }
            let came = self.read(&mut message, &job).await;
            let why = match came {
                Came::Stopped => return Ok(false),
                Came::Whole { octets, lines } => {
                    let doubts = self.trust.doubts(octets, lines, job.listed);
                    doubted = doubts.then(|| job.clone());
                    let later = doubts && !job.again;
                    if later && self.ahead {
                        // If answers are out of step, none of those that follow can be trusted.
                        self.pipeline.push(Item::Broken).await;
                        return Err(RunError::Client(Error::Lost(format!(
                            "message {} has {octets} octets, and LIST says something else; to be sure, messages are asked for one by one",
                            job.number
                        ))));
                    }
                    let end = if later { Item::Broken } else { Item::End };
                    if later {
                        self.unlike.push(job);
                    }
                    if !self.pipeline.push(end).await {
                        return Ok(false);
                    }
                    continue;
                }
                Came::Broke(error) => {
                    self.pipeline.push(Item::Broken).await;
                    return Err(self.broke(Some(&job), error)?);
                }
                Came::Not(why) => why,
            };
            doubted = None;
            if !self.pipeline.push(Item::Broken).await {
                return Ok(false);
            }
            self.failed(&job, &why, false)?;
            self.fetched.outcomes.push(Outcome::Aside(job.number, job.key, why));
        }
    }

    async fn read(&self, message: &mut restante_client::Message<'_, '_>, job: &Job) -> Came {
        let grown = job.listed.map(|listed| listed.saturating_mul(2).saturating_add(GROWN_MAX_OCTETS));
        let max = self.max_octets.or(grown).unwrap_or(MESSAGE_MAX_OCTETS).min(MESSAGE_MAX_OCTETS);
        let (mut octets, mut lines) = (0, 0);
        loop {
            let chunk = match message.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) if octets > max => {
                    return Came::Not(format!("it is longer than {max} octets, unlike what LIST said"));
                }
                Ok(None) => return Came::Whole { octets, lines },
                Err(error) if error.is_fatal() => return Came::Broke(error),
                Err(error) => return Came::Not(error.to_string()),
            };
            let before = octets;
            octets += chunk.len() as u64;
            lines += memchr::memchr_iter(b'\n', chunk).count() as u64;
            if octets > max.saturating_add(SKIPPED_MAX_OCTETS) {
                return Came::Broke(Error::Lost(format!("it has more than {max} octets, and no end")));
            }
            if before > max {
                continue;
            }
            self.shared.report.event(&Event::Progress { octets: chunk.len() as u64 });
            let item = if octets > max { Item::Broken } else { Item::Octets(chunk.to_vec()) };
            if !self.pipeline.push(item).await {
                return Came::Stopped;
            }
        }
    }

    /// The session broke at this message.
    fn broke(&mut self, job: Option<&Job>, error: Error) -> Result<RunError, RunError> {
        if let (Some(job), true) = (job, error.is_fatal()) {
            self.failed(job, &error.to_string(), true)?;
            self.fetched.broke_at = Some((job.clone(), error.to_string()));
        }
        Ok(RunError::Client(error))
    }

    fn failed(&self, job: &Job, why: &str, broke: bool) -> Result<(), RunError> {
        let Some(key) = job.key.clone() else { return Ok(()) };
        let record = Record::Failed { key, at: now(), broke, why: why.to_owned() };
        Ok(self.shared.journal().append(&[record])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_may_count_as_they_store() {
        for listed in [None, Some(1000), Some(990), Some(1010), Some(998), Some(1003)] {
            let mut trust = Trust { fit: 5, unlike: 0 };
            assert!(!trust.doubts(1000, 10, listed), "{listed:?}");
        }
        assert!(Trust { fit: 5, unlike: 0 }.doubts(1000, 10, Some(1001)));
    }

    #[test]
    fn a_list_that_is_often_wrong_is_not_believed() {
        let mut trust = Trust::default();
        assert!(trust.doubts(1000, 10, Some(1)), "nothing is known of the server yet");
        assert!(!trust.doubts(2000, 20, Some(1)));
        assert!(trust.doubts(0, 0, Some(1)), "a message that is nothing is no way of counting");
        assert!(!Trust { fit: 5, unlike: 6 }.doubts(1000, 10, Some(1)));
        // One after the other, where answers are out of step.
        let mut trust = Trust { fit: 1, unlike: 0 };
        assert!((0..100).all(|_| trust.doubts(1000, 10, Some(1))));
    }
}
