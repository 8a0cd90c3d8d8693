//! The checks behind the login: two sessions or more, in which mail is listed and some of it retrieved. Nothing is deleted.

use std::time::{Duration, Instant};

use restante_client::{
    Capabilities, Capability, Client, Credentials, Error, Listing, Options, Refused, ResponseCode, Url,
};
use tokio::time::{sleep, timeout};

use super::{
    check::{Finding, Report, median, time},
    drop::{self, Sample},
    mechanisms::{Ear, Offered, tried},
};
use crate::{commands::mail::session::SessionArgs, failure::Failure};

/// How often NOOP is timed.
const NOOPS: u32 = 5;

/// A check takes no longer than so many waits.
const WAITS_MAX: u32 = 4;

/// A login that is refused since the drop is locked should not take longer.
const LOCK_SLOW: Duration = Duration::from_secs(5);

/// How often a login is tried again that the lock of a session before keeps out.
const LOCKED_TRIES: u32 = 4;

/// After how long.
const LOCKED_PAUSE: Duration = Duration::from_millis(500);

const GONE: &str = "look at the server's log: it should not have lost this connection";

/// Who logs in, and how.
pub(super) struct Caller<'c> {
    pub(super) args: &'c SessionArgs,
    pub(super) ear: &'c Ear,
    pub(super) url: &'c Url,
    pub(super) options: &'c Options,
    pub(super) credentials: &'c Credentials,
    /// Whether messages may be retrieved.
    pub(super) retrieves: bool,
}

/// What a session showed that the next one is compared with.
struct Seen {
    listing: Option<Listing>,
    capabilities: Capabilities,
    /// Which ways to log in were offered.
    offered: Offered,
    /// Which one was taken.
    way: Option<String>,
}

impl Seen {
    /// How long the server wants to be left alone behind a login, in seconds.
    fn login_delay(&self) -> Option<u32> {
        self.capabilities.login_delay().filter(|&seconds| seconds > 0)
    }
}

/// Whether the connection can be used further on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alive {
    Yes,
    No,
}

impl Caller<'_> {
    pub(super) async fn examine(&self, report: &mut Report) -> Result<(), Failure> {
        let Some(seen) = self.first(report).await? else { return Ok(()) };
        self.mechanisms(&seen, report).await?;
        if let Some(seconds) = seen.login_delay() {
            let words = format!("not tried: the server wants {seconds} s between two logins");
            return report.tell("again", Instant::now(), &Finding::note(words));
        }
        self.second(seen, report).await
    }

    /// Commands one by one, and a look at the lock.
    async fn first(&self, report: &mut Report) -> Result<Option<Seen>, Failure> {
        let Some((mut client, offered)) = self.login("login", report).await? else { return Ok(None) };
        let before = client.capabilities().clone();
        let mut seen = Seen { listing: None, capabilities: before.clone(), offered, way: self.ear.way() };
        let (alive, ()) = self.step("capa", report, capabilities(&mut client, &before)).await?;
        seen.capabilities = client.capabilities().clone();
        if alive == Alive::No {
            return Ok(Some(seen));
        }
        let (alive, noop) = self.step("noop", report, noop(&mut client)).await?;
        if alive == Alive::No {
            return Ok(Some(seen));
        }
        let begun = Instant::now();
        let listed = self.bounded(client.listing()).await;
        let mut sample = Vec::new();
        match listed {
            Ok(listing) => {
                for (name, finding) in drop::listing(&listing, client.capabilities()) {
                    report.tell(name, begun, &finding)?;
                }
                sample = drop::smallest(&listing);
                seen.listing = Some(listing);
            }
            Err(error) => {
                report.tell(drop::blamed(&error), begun, &drop::not_listed(&error, client.capabilities()))?;
                if error.is_fatal() {
                    return Ok(Some(seen));
                }
                if let Ok(first) = self.bounded(drop::first_ones(&mut client)).await {
                    sample = first;
                }
            }
        }
        if self.mail(&mut client, &sample, noop, report).await? == Alive::No {
            return Ok(Some(seen));
        }
        if let Some(seconds) = seen.login_delay() {
            let words = format!("not tried: the server wants {seconds} s between two logins");
            report.tell("second-session", Instant::now(), &Finding::note(words))?;
        } else if self.lock(&mut client, report).await? == Alive::No {
            return Ok(Some(seen));
        }
        self.step("quit", report, quit(client)).await?;
        Ok(Some(seen))
    }

    /// TOP and RETR.
    async fn mail(
        &self,
        client: &mut Client,
        sample: &[Sample],
        noop: Duration,
        report: &mut Report,
    ) -> Result<Alive, Failure> {
        // One with a body, if there is one, which TOP should leave out.
        let Some(longest) = sample.last() else {
            let words = "there is no short message to try";
            report.tell("top", Instant::now(), &Finding::note(words))?;
            return Ok(Alive::Yes);
        };
        let (alive, ()) = self.step("top", report, drop::top(client, longest.number)).await?;
        if alive == Alive::No || !self.retrieves {
            return Ok(alive);
        }
        if client.capabilities().expire() == Some(Some(0)) {
            let words = "not tried: the server deletes what is retrieved (EXPIRE 0, RFC 2449 §6.7)";
            report.tell("retr", Instant::now(), &Finding::note(words))?;
            return Ok(alive);
        }
        let (alive, times) = self.step("retr", report, drop::retr(client, sample)).await?;
        if alive == Alive::No {
            return Ok(alive);
        }
        report.tell("stall", Instant::now(), &drop::stall(&times, noop))?;
        Ok(Alive::Yes)
    }

    /// What a second session meets while the first one is open, and what becomes of that.
    async fn lock(&self, client: &mut Client, report: &mut Report) -> Result<Alive, Failure> {
        let begun = Instant::now();
        let opened = self.bounded(self.open(self.options)).await;
        let took = begun.elapsed();
        let finding = match opened {
            Ok(second) => {
                second.quit().await.unwrap_or_default();
                Finding::note(format!("two sessions at once are allowed, after {}", time(took)))
            }
            Err(Error::Refused(refused)) => locked(&refused, took),
            Err(Error::TimedOut(_)) => Finding::warning(
                format!("waits, and is not answered in {}", time(took)),
                "say [IN-USE] at once (RFC 2449 §8.1.2): clients take a silent server for a dead one",
            ),
            Err(error) => Finding::warning(error.to_string(), GONE),
        };
        let (alive, finding) = match self.bounded(client.noop()).await {
            Ok(()) => (Alive::Yes, finding),
            Err(error) => {
                let ended = Finding::note(format!("and the first session is over: {error}"));
                (if error.is_fatal() { Alive::No } else { Alive::Yes }, finding.and(ended))
            }
        };
        report.tell("second-session", begun, &finding)?;
        Ok(alive)
    }

    /// Which ways to log in there are; each that this client knows is tried once.
    async fn mechanisms(&self, seen: &Seen, report: &mut Report) -> Result<(), Failure> {
        let (begun, used) = (Instant::now(), seen.way.as_deref());
        let (mut finding, others) = (seen.offered.told(used), seen.offered.others(used));
        let skipped = match (seen.login_delay(), &self.args.mechanism) {
            _ if others.is_empty() => None,
            (Some(seconds), _) => Some(format!("the server wants {seconds} s between two logins")),
            (None, Some(_)) => Some("--mechanism names one way and no other".to_owned()),
            (None, None) => None,
        };
        match skipped {
            Some(why) => {
                finding = finding.and(Finding::note(format!("{} not tried: {why}", others.join(", "))));
            }
            None => {
                for way in others {
                    finding = finding.and(tried(way, &self.bounded(self.log_in_by(way)).await));
                }
            }
        }
        report.tell("mechanisms", begun, &finding)
    }

    /// A session that does nothing but to log in.
    async fn log_in_by(&self, way: &str) -> Result<(), Error> {
        let client = patient(async || {
            let mut client = Client::connect(self.url, self.options).await?;
            client.authenticate_with(way, self.credentials).await?;
            Ok(client)
        });
        client.await?.quit().await.unwrap_or_default();
        Ok(())
    }

    /// A later session, with commands sent ahead where that is offered: does it show the same?
    async fn second(&self, seen: Seen, report: &mut Report) -> Result<(), Failure> {
        let offered = seen.capabilities.pipelining();
        if !offered {
            let words =
                "PIPELINING is not offered: clients wait for each answer, which takes long over long ways";
            report.tell("pipelining", Instant::now(), &Finding::note(words))?;
        }
        let (mut later, begun) = (None, Instant::now());
        if offered && seen.listing.is_none() {
            let words = "not known, since the mail could not be listed";
            report.tell("pipelining", begun, &Finding::note(words))?;
        } else if offered {
            let options = Options { pipelining: true, ..self.options.clone() };
            let listed = self.bounded(self.list(&options)).await;
            report.tell("pipelining", begun, &pipelined(&listed, seen.listing.as_ref()))?;
            later = listed.ok();
        }
        let Some(earlier) = seen.listing.filter(|listing| listing.has_unique_ids) else { return Ok(()) };
        let begun = Instant::now();
        let later = match later {
            Some(later) => Ok(later),
            None => self.bounded(self.list(self.options)).await,
        };
        let finding = match later {
            Ok(later) => drop::stable(&earlier, &later),
            Err(error) => Finding::warning(format!("a later session failed: {error}"), GONE),
        };
        report.tell("uidl-stable", begun, &finding)
    }

    /// Another session, logged in.
    async fn open(&self, options: &Options) -> Result<Client, Error> {
        let mut client = Client::connect(self.url, options).await?;
        self.args.log_in(&mut client, self.credentials).await?;
        Ok(client)
    }

    async fn list(&self, options: &Options) -> Result<Listing, Error> {
        let mut client = patient(async || self.open(options).await).await?;
        // What may be sent ahead is what is offered behind the login.
        client.refresh_capabilities().await?;
        let listing = client.listing().await?;
        client.quit().await.unwrap_or_default();
        Ok(listing)
    }

    async fn login(
        &self,
        name: &'static str,
        report: &mut Report,
    ) -> Result<Option<(Client, Offered)>, Failure> {
        let begun = Instant::now();
        let opened = self.bounded(Client::connect(self.url, self.options)).await;
        let mut client = match opened {
            Ok(client) => client,
            Err(error) => {
                report.tell(name, begun, &Finding::fail(error.to_string(), "look at the server's log"))?;
                return Ok(None);
            }
        };
        let (begun, offered) = (Instant::now(), Offered::of(&client));
        let done = self.bounded(self.args.log_in(&mut client, self.credentials)).await;
        let finding = match &done {
            Ok(()) => Finding::ok(format!("in {}", time(begun.elapsed()))),
            Err(error) => Finding::fail(error.to_string(), login_advice(error)),
        };
        report.tell(name, begun, &finding)?;
        Ok(done.is_ok().then_some((client, offered)))
    }

    /// No wait is for ever, however slowly the server drips.
    async fn bounded<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let late = || Error::Lost("the answer comes too slowly to wait for".into());
        timeout(self.args.timeout * WAITS_MAX, work).await.unwrap_or_else(|_| Err(late()))
    }

    /// A check that says what it found, and gives something; or that failed.
    async fn step<T: Default>(
        &self,
        name: &'static str,
        report: &mut Report,
        work: impl Future<Output = Result<(Finding, T), Error>>,
    ) -> Result<(Alive, T), Failure> {
        let begun = Instant::now();
        match self.bounded(work).await {
            Ok((finding, value)) => {
                report.tell(name, begun, &finding)?;
                Ok((Alive::Yes, value))
            }
            Err(error) => {
                let fatal = error.is_fatal();
                report.tell(name, begun, &Finding::fail(error.to_string(), GONE))?;
                Ok((if fatal { Alive::No } else { Alive::Yes }, T::default()))
            }
        }
    }
}

/// A session that is tried again where the one before is held to be there: some servers keep the lock a moment longer.
async fn patient(open: impl AsyncFn() -> Result<Client, Error>) -> Result<Client, Error> {
    let mut tries = 0;
    loop {
        match open().await {
            Err(error) if error.code() == Some(&ResponseCode::InUse) && tries < LOCKED_TRIES => {
                tries += 1;
                sleep(LOCKED_PAUSE).await;
            }
            opened => return opened,
        }
    }
}

/// How a second session was refused, and after how long.
fn locked(refused: &Refused, took: Duration) -> Finding {
    const IN_USE: &str =
        "say [IN-USE] (RFC 2449 §8.1.2): without it clients believe that the password is wrong";
    let words = refused.to_string();
    match &refused.code {
        Some(ResponseCode::InUse) if took > LOCK_SLOW => {
            Finding::note(format!("refused with [IN-USE], but after {}", time(took)))
        }
        Some(ResponseCode::InUse) => Finding::ok(format!("refused with [IN-USE] after {}", time(took))),
        Some(ResponseCode::LoginDelay) => Finding::note(format!(
            "{words}; the server wants more time between two logins, so nobody knows about its lock"
        )),
        Some(ResponseCode::SysTemp | ResponseCode::SysPerm) => Finding::warning(
            words,
            "if it is the lock, say [IN-USE] (RFC 2449 §8.1.2); else the server has trouble of its own: see its log",
        ),
        Some(ResponseCode::Auth) => Finding::warning(
            words,
            "if it is the lock, say [IN-USE] (RFC 2449 §8.1.2): [AUTH] says that the password is wrong",
        ),
        Some(ResponseCode::Other(_)) | None => Finding::warning(words, IN_USE),
    }
}

const fn login_advice(error: &Error) -> &'static str {
    match error.code() {
        Some(ResponseCode::Auth) => "the user's name or the password is wrong",
        Some(ResponseCode::InUse) => "another session holds the maildrop: end it, or try again later",
        Some(ResponseCode::LoginDelay) => "the server wants more time between two logins: try again later",
        Some(ResponseCode::SysTemp) => "the server has trouble of its own: try again later",
        Some(ResponseCode::SysPerm) => "the server has trouble that its operator has to mend",
        _ => "the user's name or the password may be wrong; the server's log should say",
    }
}

/// CAPA behind the login, and what it says that nobody knows.
async fn capabilities(client: &mut Client, before: &Capabilities) -> Result<(Finding, ()), Error> {
    let after = client.refresh_capabilities().await?;
    if !after.are_known() {
        return Ok((Finding::note("refused, so clients have to try what is there"), ()));
    }
    let written = |capability: &Capability| {
        let mut line = Vec::new();
        capability.write(&mut line);
        String::from_utf8_lossy(line.trim_ascii_end()).into_owned()
    };
    let (before, after): (Vec<_>, Vec<_>) =
        (before.iter().cloned().collect(), after.iter().cloned().collect());
    let told = |list: Vec<&Capability>| list.into_iter().map(written).collect::<Vec<_>>().join(", ");
    let gained = told(after.iter().filter(|one| !before.contains(one)).collect());
    // These are of no use once a session is logged in.
    let over = |one: &&Capability| matches!(one, Capability::User | Capability::Sasl(_) | Capability::Stls);
    let lost = told(before.iter().filter(|one| !after.contains(one) && !over(one)).collect());
    let unknown =
        |one: &&Capability| matches!(one, Capability::Other(line) if !matches!(line.trim(), "" | "CAPA"));
    let unknown = told(after.iter().filter(unknown).collect());
    let mut finding = match (gained.is_empty(), lost.is_empty()) {
        (true, true) => Finding::ok("as before the login"),
        (false, true) => Finding::ok(format!("more than before the login: {gained}")),
        (true, false) => Finding::note(format!("less than before the login: {lost}")),
        (false, false) => Finding::note(format!("other than before the login: {gained} instead of {lost}")),
    };
    if !unknown.is_empty() {
        finding = finding.and(Finding::note(format!("unknown here: {unknown}")));
    }
    let has = |wanted: &Capability| after.contains(wanted);
    if has(&Capability::AuthRespCode) && !has(&Capability::RespCodes) {
        finding = finding.and(Finding::note("AUTH-RESP-CODE without RESP-CODES"));
    }
    Ok((finding, ()))
}

/// How long a command takes that does nothing.
async fn noop(client: &mut Client) -> Result<(Finding, Duration), Error> {
    let mut times = Vec::new();
    for _ in 0..NOOPS {
        let begun = Instant::now();
        client.noop().await?;
        times.push(begun.elapsed());
    }
    let longest = times.iter().max().copied().unwrap_or_default();
    let middle = median(&times);
    Ok((Finding::ok(format!("{} in the middle of {NOOPS}, {} at most", time(middle), time(longest))), middle))
}

async fn quit(client: Client) -> Result<(Finding, ()), Error> {
    let begun = Instant::now();
    match client.quit().await {
        Ok(()) => Ok((Finding::ok(format!("answered in {}", time(begun.elapsed()))), ())),
        Err(error) => {
            let words = format!("{error}, though nothing was deleted");
            Ok((Finding::warning(words, "answer QUIT with +OK before the connection ends (RFC 1939 §6)"), ()))
        }
    }
}

/// Whether commands that are sent ahead are answered, and in order.
fn pipelined(listed: &Result<Listing, Error>, earlier: Option<&Listing>) -> Finding {
    match listed {
        Ok(listing) => {
            let same = earlier.is_none_or(|earlier| earlier.len() == listing.len());
            let words = if same { "" } else { "; there is other mail than before" };
            Finding::ok(format!("four commands sent ahead are answered in order{words}"))
        }
        // The connection is in step: it was refused for another reason.
        Err(Error::Refused(refused)) => Finding::note(format!("not known, since {refused}")),
        Err(error) => Finding::fail(
            format!("offered, but commands sent ahead fail: {error}"),
            "mend it, or do not offer PIPELINING: clients trust it (RFC 2449 §6.6)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[test]
    fn a_second_session_is_judged_by_the_code_of_its_refusal() {
        let verdict = |code, seconds| {
            let refused = Refused { verb: None, code, text: "no".into() };
            locked(&refused, Duration::from_secs(seconds)).verdict
        };
        assert_eq!(verdict(Some(ResponseCode::InUse), 0), Verdict::Ok);
        assert_eq!(verdict(Some(ResponseCode::InUse), 60), Verdict::Note);
        assert_eq!(verdict(Some(ResponseCode::LoginDelay), 0), Verdict::Note);
        for code in [ResponseCode::SysTemp, ResponseCode::Auth, ResponseCode::Other("X".into())] {
            assert_eq!(verdict(Some(code), 0), Verdict::Warning);
        }
        assert_eq!(verdict(None, 0), Verdict::Warning);
    }
}
