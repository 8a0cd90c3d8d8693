//! What a server asks: is this the password? One answer for all that is wrong, after the same work; failures answered
//! late; hashing in the pool, unless the same login was right a short while ago.
//!
//! The words of the answers live in the server; how passwords are stored, in [`crate::scheme`].

use std::{net::IpAddr, sync::Arc, time::Duration};

use md5::{Digest as _, Md5};
use restante_proto::{Secret, UserName};
use restante_sasl::{Credentials, PASSWORD_MAX_OCTETS};
use subtle::ConstantTimeEq as _;
use tokio::time::{Instant, sleep_until};

use crate::{
    Directory, StoredPassword,
    cache::{Cache, Remembered, Tags},
    delay::{
        Attempt, Delays,
        rooms::{Place, Rooms},
    },
    pool::{Pool, PoolError, QUEUE_DEFAULT},
};

/// How passwords are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many passwords are hashed at once; the number of cores by default.
    pub threads: usize,
    /// How many more may wait for that; 64 by default.
    pub queue: usize,
    /// How long the answer to a second failure waits; it doubles with each further one. 1 s by default.
    pub failure_delay_first: Duration,
    /// The longest that an answer waits; 15 s by default.
    pub failure_delay_max: Duration,
    /// After how long without a failure the earlier ones are forgotten; 10 minutes by default.
    pub failures_forgotten_after: Duration,
    /// How many attempts one address may have under way, wrong ones until they are answered; more wait for a turn, and
    /// in the end it is [`Verdict::Busy`]. 16 by default.
    pub waiting_per_address: usize,
    /// For how long a right password is known again without being hashed, at the address where it was right; zero:
    /// not at all. 5 minutes by default.
    pub cache: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: Pool::threads_default(),
            queue: QUEUE_DEFAULT,
            failure_delay_first: Duration::from_secs(1),
            failure_delay_max: Duration::from_secs(15),
            failures_forgotten_after: Duration::from_secs(600),
            waiting_per_address: 16,
            cache: Duration::from_secs(300),
        }
    }
}

/// What is to be said to somebody who wants to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is this user.
    Accepted(UserName),
    /// The name or the password is wrong, and nobody is told which: `[AUTH]` (RFC 3206 §5).
    Refused {
        /// Whether the name is a user's. For the log alone, where a name that is none might be a password.
        known: bool,
    },
    /// Too many passwords wait to be verified: `[SYS/TEMP]` (RFC 3206 §4).
    Busy,
    /// The directory is broken, which is in the log: `[SYS/TEMP]`.
    Failed,
}

/// Verifies passwords against a directory.
#[derive(Debug)]
pub struct Verifier {
    directory: Arc<dyn Directory>,
    pool: Pool,
    /// What is kept of failures and who may try, also by what runs in the pool.
    record: Arc<Record>,
}

#[derive(Debug)]
struct Record {
    delays: Delays,
    rooms: Arc<Rooms>,
    cache: Option<Cache>,
}

/// An attempt whose turn has come.
struct Trial {
    record: Arc<Record>,
    attempt: Attempt,
    /// `None` once it is settled.
    place: Option<Place>,
    remembered: Remembered,
}

/// Somebody's name, and what the directory has of it.
struct Found {
    /// The name, if it is one that could log in.
    name: Option<UserName>,
    /// Their password, or a stand-in.
    password: StoredPassword,
}

impl Verifier {
    /// A verifier of the users of a directory.
    pub fn new(directory: Arc<dyn Directory>, settings: &Settings) -> Self {
        let pool = Pool::new(settings.threads, settings.queue);
        let (delays, rooms) = (Delays::new(settings), Rooms::new(settings.waiting_per_address));
        let cache = Cache::new(settings.cache);
        Self { directory, pool, record: Arc::new(Record { delays, rooms, cache }) }
    }

    /// Whether this is the password of the user. It needs tokio's timer. Dropping it early forgets no failure whose
    /// password was hashed.
    pub async fn password(&self, user: &str, password: &Secret<Vec<u8>>, peer: IpAddr) -> Verdict {
        let attempt = self.record.delays.attempt(user, peer);
        let Some(mut trial) = self.enter(attempt).await else { return Verdict::Busy };
        let Some(Found { name, password: stored }) = self.find(user).await else { return Verdict::Failed };
        let known = name.is_some();
        // No empty password ever logs in, and nothing longer is hashed than a login may be; the work is done all the
        // same.
        let length = password.expose().len();
        let folded = name.as_ref().map_or(user, UserName::as_str).to_owned();
        let name = name.filter(|_| matches!(length, 1..=PASSWORD_MAX_OCTETS));
        let password = if length <= PASSWORD_MAX_OCTETS { password.clone() } else { Secret::new(Vec::new()) };
        // By its scheme alone, which tells nothing: those who are not there have each scheme as often.
        if stored.plaintext().is_some() {
            let fits = stored.verify(password.expose());
            return answer(trial.settle(name.filter(|_| fits)), known).await;
        }
        // For a stand-in as well, so that it takes no less time; there is nothing to recall of it.
        let tags = self.recall(&mut trial, &folded, &stored, &password);
        if trial.remembered == Remembered::Right {
            return answer(trial.settle(name), known).await;
        }
        // The record is kept on the pool's thread: a client that hangs up while its guess is hashed leaves it, too.
        let verdict = self.pool.run(move || {
            let fits = stored.verify(password.expose());
            trial.settle_and_remember(name.filter(|_| fits), tags)
        });
        match verdict.await {
            Ok(settled) => answer(settled, known).await,
            Err(PoolError::Full) => Verdict::Busy,
            Err(PoolError::Broken) => Verdict::Failed,
        }
    }

    /// As [`Self::password`], for what a SASL mechanism hands over.
    pub async fn credentials(&self, credentials: &Credentials, peer: IpAddr) -> Verdict {
        self.password(&credentials.user, &credentials.password, peer).await
    }

    /// Whether this is the digest of `stamp`, angle brackets included, and the user's password (RFC 1939 §7, APOP).
    /// Only a user whose password is stored as {PLAIN} can log in so.
    pub async fn apop(&self, user: &str, stamp: &str, digest: &[u8; 16], peer: IpAddr) -> Verdict {
        let attempt = self.record.delays.attempt(user, peer);
        let Some(trial) = self.enter(attempt).await else { return Verdict::Busy };
        let Some(Found { name, password: stored }) = self.find(user).await else { return Verdict::Failed };
        let plaintext = stored.plaintext().filter(|password| !password.expose().is_empty());
        if let (Some(name), None) = (&name, plaintext) {
            tracing::info!(user = %name, scheme = stored.scheme(), "APOP needs a password stored as {{PLAIN}}");
        }
        let known = name.is_some();
        let name = name.filter(|_| plaintext.is_some());
        let mut hasher = Md5::new();
        hasher.update(stamp);
        hasher.update(plaintext.map_or(&[][..], |password| password.expose()));
        let fits = bool::from(hasher.finalize().as_slice().ct_eq(digest));
        answer(trial.settle(name.filter(|_| fits)), known).await
    }

    /// Waits for the attempt's turn; `None` if too many wait, or for too long.
    async fn enter(&self, attempt: Attempt) -> Option<Trial> {
        let place = self.record.rooms.enter(attempt).await?;
        let record = Arc::clone(&self.record);
        Some(Trial { record, attempt, place: Some(place), remembered: Remembered::Nothing })
    }

    /// Looks whether the password was right a while ago; by the tags it can be remembered.
    fn recall(
        &self,
        trial: &mut Trial,
        user: &str,
        stored: &StoredPassword,
        password: &Secret<Vec<u8>>,
    ) -> Option<Tags> {
        let cache = self.record.cache.as_ref()?;
        let tags = cache.tags(user, stored, password.expose())?;
        trial.remembered = cache.recall(trial.attempt, &tags, Instant::now());
        Some(tags)
    }

    /// Looks a user up; `None` if the directory failed.
    async fn find(&self, user: &str) -> Option<Found> {
        let stand_in = || Found { name: None, password: self.directory.stand_in(user) };
        let Ok(name) = UserName::new(user) else { return Some(stand_in()) };
        match self.directory.lookup(&name).await {
            Ok(Some(password)) => Some(Found { name: Some(name), password }),
            Ok(None) => Some(stand_in()),
            Err(error) => {
                tracing::error!(%error, "a user could not be looked up");
                None
            }
        }
    }
}

impl Trial {
    /// Keeps the record: who has logged in, or when a refusal is to be answered.
    fn settle(mut self, accepted: Option<UserName>) -> Result<UserName, Instant> {
        let (now, place) = (Instant::now(), self.place.take());
        match accepted {
            Some(name) => {
                self.record.delays.succeeded(self.attempt, now);
                if let Some(place) = place {
                    place.succeeded(now);
                }
                Ok(name)
            }
            None => Err(self.fail(place, now)),
        }
    }

    /// As [`Self::settle`]; a right password is known again for a while.
    fn settle_and_remember(
        self,
        accepted: Option<UserName>,
        tags: Option<Tags>,
    ) -> Result<UserName, Instant> {
        if let (Some(_), Some(cache), Some(tags)) = (&accepted, &self.record.cache, tags) {
            cache.remember(self.attempt, tags, Instant::now());
        }
        self.settle(accepted)
    }

    fn fail(&self, place: Option<Place>, now: Instant) -> Instant {
        let due = self.record.delays.failed(self.attempt, now);
        if let Some(place) = place {
            place.keep_until(due);
        }
        due
    }
}

/// Where the pool is full, or the client hangs up in its queue, nothing is hashed. Somebody whose guess is known to be
/// wrong has learnt that all the same, by not being let in at once: it counts, or guesses would be free meanwhile.
impl Drop for Trial {
    fn drop(&mut self) {
        if let (Some(place), Remembered::Wrong) = (self.place.take(), self.remembered) {
            self.fail(Some(place), Instant::now());
        }
    }
}

/// Answers when the time has come, holding no thread until then.
async fn answer(settled: Result<UserName, Instant>, known: bool) -> Verdict {
    match settled {
        Ok(name) => Verdict::Accepted(name),
        Err(due) => {
            if due > Instant::now() {
                sleep_until(due).await;
            }
            Verdict::Refused { known }
        }
    }
}
