//! What a server asks: is this the password? One answer for all that is wrong, after the same work; failures answered
//! late; hashing in the pool, unless the same login was right a short while ago.
//!
//! The words of the answers live in the server; how passwords are stored, in [`crate::scheme`].

use std::{net::IpAddr, sync::Arc, time::Duration};

use hmac::{Hmac, Mac as _};
use md5::{Digest as _, Md5};
use restante_proto::{Secret, UserName};
use restante_sasl::{
    Credentials, Needs, PASSWORD_MAX_OCTETS,
    scram::{self, Keys},
};
use subtle::ConstantTimeEq as _;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    Account, Directories, Directory, StoredPassword,
    cache::{Cache, Remembered, Tags},
    delay::{
        Attempt, Delays, network,
        rooms::{Place, Rooms},
    },
    derived::Derived,
    directory::{Check, Found, KeysLike, LookupError},
    pool::{Pool, PoolError, QUEUE_DEFAULT},
    rate::{Admission, Rates},
    repeats::Repeats,
    stranger::{self, SaltKey},
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
    /// How many attempts a minute one address may make that are wrong, or under way; more are [`Verdict::TooMany`]. 0: no
    /// limit. 300 by default.
    pub logins_per_minute_per_address: u32,
    /// How many failures a minute one user may have before strangers to him are [`Verdict::TooMany`]. 0: no limit. 60 by
    /// default.
    pub failed_logins_per_minute_per_user: u32,
    /// How many attempts a second there may be in all. 0: no limit. 2000 by default.
    pub logins_per_second: u32,
    /// For how long a right password is known again without being hashed, at the address where it was right; zero:
    /// not at all. 5 minutes by default.
    pub cache: Duration,
    /// From this the salts of those who are not there are made. Where it is `None`, a directory may have one; else it is
    /// random, and then they change at each start, which those of users do not.
    pub salt_key: Option<Secret<[u8; 32]>>,
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
            logins_per_minute_per_address: 300,
            failed_logins_per_minute_per_user: 60,
            logins_per_second: 2000,
            cache: Duration::from_secs(300),
            salt_key: None,
        }
    }
}

/// What is to be said to somebody who wants to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is this user.
    Accepted(Account),
    /// The name or the password is wrong, and nobody is told which: `[AUTH]` (RFC 3206 §5).
    Refused {
        /// Whether the name is a user's. For the log alone, where a name that is none might be a password.
        known: bool,
    },
    /// What was shown is genuine, and its time is over: a token that a mail program has not renewed yet. The client is told as
    /// with [`Self::Refused`]; nobody guesses so, and it delays nothing.
    Expired {
        /// As in [`Self::Refused`].
        known: bool,
    },
    /// Too many passwords wait to be verified: `[SYS/TEMP]` (RFC 3206 §4).
    Busy,
    /// There were too many logins in a short time; nobody has looked at this one: `[SYS/TEMP]`.
    TooMany {
        /// How many were refused at this address since it was last told, if it is to be told now. For the log alone.
        told: Option<u64>,
    },
    /// The directory is broken, which is in the log: `[SYS/TEMP]`.
    Failed,
}

/// Verifies passwords against a directory.
#[derive(Debug)]
pub struct Verifier {
    directories: Directories,
    pool: Pool,
    /// The configuration's.
    salt_key: Option<SaltKey>,
    /// Where neither the configuration nor a directory has one.
    random_key: SaltKey,
    derived: Arc<Derived>,
    /// What is kept of failures and who may try, also by what runs in the pool.
    record: Arc<Record>,
}

#[derive(Debug)]
struct Record {
    delays: Delays,
    rates: Rates,
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
    /// Whether it counts at its address, even if nobody comes to a verdict.
    spent: bool,
}

/// A SCRAM exchange whose user was looked up, so that the client's proof can be checked.
#[derive(Debug)]
pub struct Claim {
    /// The user's keys, or some that nobody's password fits.
    pub keys: Arc<Keys>,
    user: String,
    account: Option<Account>,
    known: bool,
}

impl Claim {
    /// The name, as the client sent it.
    pub fn user(&self) -> &str {
        &self.user
    }
}

/// Somebody, and what the directories have of him.
struct Somebody {
    /// Who it is, if somebody who could log in.
    account: Option<Account>,
    /// Whether the name is a user's.
    known: bool,
    /// Their password, or a stand-in.
    password: Compare,
}

/// How a password is compared.
enum Compare {
    /// In the pool.
    Stored(StoredPassword),
    /// It was, by the directory.
    Done { right: bool },
}

impl Verifier {
    /// A verifier of the users of a directory.
    pub fn new(directory: Arc<dyn Directory>, settings: &Settings) -> Self {
        Self::of(Directories::one(directory), settings)
    }

    /// A verifier of the users of several directories.
    pub fn of(directories: Directories, settings: &Settings) -> Self {
        let pool = Pool::new(settings.threads, settings.queue);
        let (delays, rooms) = (Delays::new(settings), Rooms::new(settings.waiting_per_address));
        let rates = Rates::new(settings);
        let cache = Cache::new(settings.cache);
        Self {
            directories,
            pool,
            salt_key: settings.salt_key.clone().map(SaltKey::new),
            random_key: SaltKey::random(),
            derived: Arc::default(),
            record: Arc::new(Record { delays, rates, rooms, cache }),
        }
    }

    fn salt_key(&self) -> SaltKey {
        let kept = || self.directories.salt_key().map(SaltKey::new);
        self.salt_key.clone().or_else(kept).unwrap_or_else(|| self.random_key.clone())
    }

    /// Whether a mechanism that needs this can be offered to all users.
    pub fn can(&self, needs: Needs) -> bool {
        self.directories.can(needs)
    }

    /// Whether this is the password of the user. It needs tokio's timer. Dropping it early forgets no failure whose
    /// password was hashed.
    pub async fn password(&self, user: &str, password: &Secret<Vec<u8>>, peer: IpAddr) -> Verdict {
        let attempt = self.record.delays.attempt(user, peer);
        let mut trial = match self.enter(attempt).await {
            Ok(trial) => trial,
            Err(verdict) => return verdict,
        };
        let length = password.expose().len();
        let usable = matches!(length, 1..=PASSWORD_MAX_OCTETS);
        let Some(found) = self.find(user, usable.then_some(password)).await else { return Verdict::Failed };
        let Somebody { account, known, password: compare } = found;
        trial.is_of(account.as_ref());
        let stored = match compare {
            Compare::Stored(stored) => stored,
            Compare::Done { right } => {
                return answer(trial.settle(account.filter(|_| right)), known).await;
            }
        };
        // No empty password ever logs in, and nothing longer is hashed than a login may be; the work is done all the
        // same.
        let folded = account.as_ref().map_or(user, |account| account.name.as_str()).to_owned();
        let account = account.filter(|_| usable);
        let password = if length <= PASSWORD_MAX_OCTETS { password.clone() } else { Secret::new(Vec::new()) };
        // By its scheme alone, which tells nothing: those who are not there have each scheme as often.
        if stored.plaintext().is_some() {
            let fits = stored.verify(password.expose());
            return answer(trial.settle(account.filter(|_| fits)), known).await;
        }
        // For a stand-in as well, so that it takes no less time; there is nothing to recall of it.
        let tags = self.recall(&mut trial, &folded, &stored, &password);
        if trial.remembered == Remembered::Right {
            return answer(trial.settle(account), known).await;
        }
        // The record is kept on the pool's thread: a client that hangs up while its guess is hashed leaves it, too.
        let verdict = self.pool.run(move || {
            let fits = stored.verify(password.expose());
            trial.settle_and_remember(account.filter(|_| fits), tags)
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
        let mut trial = match self.enter(attempt).await {
            Ok(trial) => trial,
            Err(verdict) => return verdict,
        };
        let Some((account, plaintext, known)) = self.plaintext(user, "APOP").await else {
            return Verdict::Failed;
        };
        trial.is_of(account.as_ref());
        let mut hasher = Md5::new();
        hasher.update(stamp);
        hasher.update(plaintext.expose());
        let fits = bool::from(hasher.finalize().as_slice().ct_eq(digest));
        answer(trial.settle(account.filter(|_| fits)), known).await
    }

    /// Whether this is HMAC-MD5 of `challenge` with the user's password as its key (RFC 2195, CRAM-MD5). Only a user whose
    /// password is stored as {PLAIN} can log in so.
    pub async fn digest(&self, user: &str, challenge: &[u8], digest: &[u8; 16], peer: IpAddr) -> Verdict {
        let attempt = self.record.delays.attempt(user, peer);
        let mut trial = match self.enter(attempt).await {
            Ok(trial) => trial,
            Err(verdict) => return verdict,
        };
        let Some((account, plaintext, known)) = self.plaintext(user, "CRAM-MD5").await else {
            return Verdict::Failed;
        };
        trial.is_of(account.as_ref());
        let mac = Hmac::<Md5>::new_from_slice(plaintext.expose());
        let fits = mac.is_ok_and(|mac| {
            bool::from(mac.chain_update(challenge).finalize().into_bytes().as_slice().ct_eq(digest))
        });
        answer(trial.settle(account.filter(|_| fits)), known).await
    }

    /// A user whose password can be read, for mechanisms that need that; `None` if a directory failed. Somebody else's
    /// password is empty, and he is no account; the flag says whether the name is a user's.
    async fn plaintext(&self, user: &str, by: &str) -> Option<(Option<Account>, Secret<Vec<u8>>, bool)> {
        let Somebody { account, known, password } = self.find(user, None).await?;
        let Compare::Stored(stored) = password else { return Some((None, Secret::new(Vec::new()), known)) };
        let plaintext = stored.plaintext().filter(|password| !password.expose().is_empty()).cloned();
        if let (Some(account), None) = (&account, &plaintext) {
            let scheme = stored.scheme();
            tracing::info!(user = %account.name, scheme, "{by} needs a password stored as {{PLAIN}}");
        }
        let account = account.filter(|_| plaintext.is_some());
        Some((account, plaintext.unwrap_or_else(|| Secret::new(Vec::new())), known))
    }

    /// Looks for the SCRAM keys of a user: the first half of an exchange, which [`Self::proof`] ends. Somebody who is not
    /// there, or has no keys, gets some that are the same for the same name and that nobody's password fits.
    pub async fn keys(&self, user: &str, hash: scram::Hash, peer: IpAddr) -> Result<Claim, Verdict> {
        let attempt = self.record.delays.attempt(user, peer);
        // Until there are keys, since making them may take a thread's time. Nothing is proven then, and a client that thinks about
        // its proof keeps nobody else out.
        let mut trial = self.enter(attempt).await?;
        let found = match UserName::new(user) {
            Ok(name) => self.directories.find(&name, None).await.map_err(|error| failed(&error))?,
            Err(_) => Found::Unknown,
        };
        trial.spent = true;
        let known = !matches!(found, Found::Unknown);
        let claim = |keys, account| Claim { keys, user: user.to_owned(), account, known };
        let (mut account, mut plaintext) = (None, None);
        if let Found::Known { entry, .. } = found {
            if let Some(keys) = entry.keys_of(hash) {
                return Ok(claim(Arc::clone(keys), Some(entry.account)));
            }
            let stored = entry.password.as_ref();
            plaintext =
                stored.and_then(StoredPassword::plaintext).filter(|text| !text.expose().is_empty()).cloned();
            if plaintext.is_some() {
                account = Some(entry.account);
            } else {
                let (user, mechanism) = (entry.account.name, hash.mechanism());
                tracing::info!(%user, "{mechanism} needs keys, which `restante user passwd` makes");
            }
        }
        let key = self.salt_key();
        let like = match plaintext {
            Some(_) => KeysLike::DERIVED,
            None => self.directories.stand_in_keys(user, &key.mark(user), hash),
        };
        let stand_in = Arc::new(stranger::keys(&key, user, hash, like));
        if !like.derived {
            return Ok(claim(stand_in, None));
        }
        // As many of those who are not there as there are users whose keys are made now: it takes no less time.
        let password = plaintext.unwrap_or_else(|| key.mark(user).into_bytes().into());
        let salt = stand_in.salt().to_vec();
        let tag = key.derived(user, hash, password.expose());
        if let Some(keys) = self.derived.get(&tag) {
            return Ok(claim(if account.is_some() { keys } else { stand_in }, account));
        }
        let derived = Arc::clone(&self.derived);
        let job = move || {
            let keys = Keys::derive(hash, password.expose(), &salt, like.iterations).map(Arc::new);
            keys.inspect(|keys| derived.insert(tag, Arc::clone(keys)))
        };
        match self.pool.run(job).await {
            Ok(Some(keys)) if account.is_some() => Ok(claim(keys, account)),
            Ok(_) => Ok(claim(stand_in, None)),
            Err(PoolError::Full) => Err(Verdict::Busy),
            Err(PoolError::Broken) => Err(Verdict::Failed),
        }
    }

    /// Ends an exchange that [`Self::keys`] began: whether the client's proof was right.
    pub async fn proof(&self, claim: Claim, right: bool, peer: IpAddr) -> Verdict {
        let name = claim.account.as_ref().map_or(claim.user.as_str(), |account| account.name.as_str());
        let attempt = self.record.delays.attempt(name, peer);
        // It was counted when it began.
        let Some(trial) = self.turn(attempt).await else { return Verdict::Busy };
        answer(trial.settle(claim.account.filter(|_| right)), claim.known).await
    }

    /// Whose token this is. `user` is whom the client says it is.
    pub async fn token(&self, user: Option<&str>, token: &Secret<String>, peer: IpAddr) -> Verdict {
        // No token is guessed by trying: whatever name stands before it, wrong ones are counted at their address, and nobody is
        // kept out elsewhere.
        let attempt = self.record.delays.attempt(&format!("\0{}", network(peer)), peer);
        let mut trial = match self.enter(attempt).await {
            Ok(trial) => trial,
            Err(verdict) => return verdict,
        };
        let Ok(claimed) = user.map(UserName::new).transpose() else {
            return answer(trial.settle(None), false).await;
        };
        let verdict = match self.directories.token(claimed.as_ref(), token).await {
            Ok(Check::Right(account)) => return answer(trial.settle(Some(*account)), true).await,
            Err(error) => return failed(&error),
            Ok(verdict) => verdict,
        };
        // What somebody says that he is called is no name because a token came with it.
        let known = match &claimed {
            Some(name) => self.directories.has(name).await,
            None => false,
        };
        match verdict {
            Check::Expired => {
                // It is no failure; it counts at its address all the same.
                trial.spent = true;
                Verdict::Expired { known }
            }
            _ => answer(trial.settle(None), known).await,
        }
    }

    /// Whether there is this user, who has shown a certificate in his name.
    pub async fn certificate(&self, user: &str, peer: IpAddr) -> Verdict {
        let attempt = self.record.delays.attempt(user, peer);
        // No certificate is guessed either: those who guess at the name's password do not keep it out.
        let Some(trial) = self.turn(attempt).await else { return Verdict::Busy };
        let found = match UserName::new(user) {
            Ok(name) => self.directories.find(&name, None).await,
            Err(_) => Ok(Found::Unknown),
        };
        match found {
            Ok(Found::Known { entry, route }) if route.directory.can(Needs::Certificate) => {
                answer(trial.settle(Some(entry.account)), true).await
            }
            Ok(Found::Known { entry, route }) => {
                let (user, directory) = (entry.account.name, route.name);
                tracing::info!(%user, directory, "the directory's users do not log in by certificate");
                answer(trial.settle(None), true).await
            }
            Ok(_) => answer(trial.settle(None), false).await,
            Err(error) => failed(&error),
        }
    }

    /// Lets an attempt in, if there are not too many, and waits for its turn.
    async fn enter(&self, attempt: Attempt) -> Result<Trial, Verdict> {
        let (Record { rates, rooms, .. }, now) = (&*self.record, Instant::now());
        match rates.ask(attempt, rooms.knows(attempt, now), now) {
            Admission::Now => {}
            Admission::After(wait) => sleep(wait).await,
            Admission::Refused(told) => return Err(Verdict::TooMany { told }),
        }
        self.turn(attempt).await.ok_or(Verdict::Busy)
    }

    /// Waits for the attempt's turn; `None` if too many wait, or for too long.
    async fn turn(&self, attempt: Attempt) -> Option<Trial> {
        let place = self.record.rooms.enter(attempt).await?;
        let record = Arc::clone(&self.record);
        Some(Trial { record, attempt, place: Some(place), remembered: Remembered::Nothing, spent: false })
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

    /// Looks a user up, and has the password compared by a directory that does so itself; `None` if a directory failed.
    async fn find(&self, user: &str, password: Option<&Secret<Vec<u8>>>) -> Option<Somebody> {
        let mark = || self.salt_key().mark(user);
        let stand_in = || {
            let stored = self.directories.stand_in(user, &mark());
            let password = stored.map_or(Compare::Done { right: false }, Compare::Stored);
            Somebody { account: None, known: false, password }
        };
        let Ok(name) = UserName::new(user) else { return Some(stand_in()) };
        let found = self.directories.find(&name, password).await;
        let checked = match found {
            Ok(Found::Known { entry, route }) => match (entry.password, password) {
                (Some(stored), _) => {
                    let (account, password) = (Some(entry.account), Compare::Stored(stored));
                    return Some(Somebody { account, known: true, password });
                }
                (None, Some(password)) => match route.check(&name, password).await {
                    Ok(Check::Wrong) => {
                        let (account, password) = (Some(entry.account), Compare::Done { right: false });
                        return Some(Somebody { account, known: true, password });
                    }
                    checked => checked,
                },
                (None, None) => {
                    let password = Compare::Done { right: false };
                    return Some(Somebody { account: None, known: true, password });
                }
            },
            Ok(Found::Checked(check)) => Ok(check),
            Ok(Found::Unknown) => return Some(stand_in()),
            // He is hashed for as others are, and is nobody.
            Ok(Found::LockedOut) => {
                let password = Compare::Stored(self.directories.stored_stand_in(user, &mark()));
                return Some(Somebody { account: None, known: true, password });
            }
            Err(error) => Err(error),
        };
        match checked {
            Ok(Check::Right(account)) => Some(Somebody {
                account: Some(*account),
                known: true,
                password: Compare::Done { right: true },
            }),
            Ok(Check::Wrong | Check::Expired) => {
                Some(Somebody { account: None, known: true, password: Compare::Done { right: false } })
            }
            Ok(Check::Unknown) => Some(stand_in()),
            Err(error) => {
                failed(&error);
                None
            }
        }
    }
}

impl Trial {
    /// What becomes of it is recorded under the name that the directory has of somebody: there may be many spellings of it.
    fn is_of(&mut self, account: Option<&Account>) {
        if let Some(account) = account {
            self.attempt = self.record.delays.attempt(account.name.as_str(), self.attempt.address);
        }
    }

    /// Keeps the record: who has logged in, or when a refusal is to be answered.
    fn settle(mut self, accepted: Option<Account>) -> Result<Account, Instant> {
        let (now, place) = (Instant::now(), self.place.take());
        match accepted {
            Some(account) => {
                self.record.delays.succeeded(self.attempt, now);
                self.record.rates.give_back(self.attempt, now);
                if let Some(place) = place {
                    place.succeeded(now);
                }
                Ok(account)
            }
            None => Err(self.fail(place, now)),
        }
    }

    /// As [`Self::settle`]; a right password is known again for a while.
    fn settle_and_remember(self, accepted: Option<Account>, tags: Option<Tags>) -> Result<Account, Instant> {
        if let (Some(_), Some(cache), Some(tags)) = (&accepted, &self.record.cache, tags) {
            cache.remember(self.attempt, tags, Instant::now());
        }
        self.settle(accepted)
    }

    fn fail(&self, place: Option<Place>, now: Instant) -> Instant {
        let due = self.record.delays.failed(self.attempt, now);
        self.record.rates.failed(self.attempt, now);
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
        match (self.place.take(), self.remembered) {
            (Some(place), Remembered::Wrong) => drop(self.fail(Some(place), Instant::now())),
            (Some(_), _) if !self.spent => self.record.rates.give_back(self.attempt, Instant::now()),
            _ => {}
        }
    }
}

/// Failures of directories that were told.
static FAILURES: Repeats = Repeats::new();

/// A directory that failed is told in the log, the same failure only once in a while; the client learns nothing of it.
fn failed(error: &LookupError) -> Verdict {
    match FAILURES.ask(&error.to_string(), Instant::now()) {
        Some(0) => tracing::error!(%error, "a user could not be looked up"),
        Some(untold) => tracing::error!(%error, untold, "a user could not be looked up, again"),
        None => {}
    }
    Verdict::Failed
}

/// Answers when the time has come, holding no thread until then.
async fn answer(settled: Result<Account, Instant>, known: bool) -> Verdict {
    match settled {
        Ok(account) => Verdict::Accepted(account),
        Err(due) => {
            if due > Instant::now() {
                sleep_until(due).await;
            }
            Verdict::Refused { known }
        }
    }
}
