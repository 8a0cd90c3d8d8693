//! Again and again: how long to wait between two runs.

use std::time::Duration;

use restante_client::{Error, ResponseCode, Transcript};
use restante_fetch::{Account, Event, Mode, RunError, Stop};
use tokio::sync::Semaphore;

use super::{is_well, show::Show};
use crate::{accounts::Configured, failure::Failure};

/// The longest pause that failures lead to, unless `--every` is longer.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// How soon a maildrop that another session holds is tried again.
const IN_USE_PAUSE: Duration = Duration::from_secs(60);

/// Where an account comes from: it is opened anew for each run, so that a password that was changed is noticed, and a
/// destination that was mounted.
pub(super) struct Source {
    pub(super) configured: Configured,
    pub(super) transcript: Option<Transcript>,
    /// As it was opened last.
    pub(super) account: Option<Account>,
}

impl Source {
    /// The account; nobody is asked for a password again.
    fn open(&mut self) -> Result<&Account, Failure> {
        if self.account.is_none() || !self.configured.asks_for_password() {
            self.account = Some(self.configured.open(self.transcript.as_ref())?);
        }
        self.account.as_ref().ok_or_else(|| Failure::failed("the account is not open"))
    }
}

/// Runs until it is told to stop.
pub(super) async fn fetch(
    mut source: Source,
    every: Duration,
    mut mode: Mode,
    show: &Show,
    stop: &Stop,
    room: &Semaphore,
) -> bool {
    let name = source.configured.name.clone();
    let (mut failures, mut first) = (0, true);
    loop {
        let opened = if first { source.account.as_ref().ok_or(None) } else { source.open().map_err(Some) };
        first = false;
        let (well, error) = match opened {
            Ok(account) => {
                // It is never closed.
                let place = room.acquire().await;
                let ended = restante_fetch::run(account, mode, show.account(&name), stop).await;
                drop(place);
                if stop.is_stopped() {
                    return true;
                }
                // What only takes its time is no failure; and a wrong password is told once, not every five minutes.
                if !matches!(ended, Err(RunError::Held { .. } | RunError::TooEarly { .. })) {
                    show.ended(&name, &ended);
                }
                (ended.as_ref().is_ok_and(is_well), ended.err())
            }
            Err(failure) => {
                // The first time it was told already.
                failure.into_iter().for_each(|failure| show.eprint(&failure.of(&name).render_now()));
                (false, None)
            }
        };
        mode = Mode::Fetch;
        failures = if well { 0 } else { failures + 1 };
        let pause = pause(every, failures, &error);
        if let Some(RunError::TooEarly { .. }) = error {
            show.event(&name, &Event::Waiting { seconds: pause.as_secs() });
        }
        tokio::select! {
            () = stop.stopped() => return true,
            () = tokio::time::sleep(jitter(pause, random(), &error)) => {}
        }
    }
}

/// How long to wait after so many failures in a row, the last of which was this.
fn pause(every: Duration, failures: u32, error: &Option<RunError>) -> Duration {
    match error {
        None => every,
        Some(RunError::TooEarly { seconds, .. } | RunError::Held { seconds, .. }) => {
            every.max(Duration::from_secs(*seconds))
        }
        Some(RunError::Client(Error::Refused(refused))) if refused.code == Some(ResponseCode::InUse) => {
            every.min(IN_USE_PAUSE * failures.max(1))
        }
        Some(_) => {
            let longer = every.saturating_mul(1 << failures.saturating_sub(1).min(6));
            longer.min(every.max(PAUSE_MAX))
        }
    }
}

/// Up to a tenth more or less, so that many clients do not come at the same second; never less where the server wants so much
/// time. `random` is any number.
fn jitter(pause: Duration, random: u16, error: &Option<RunError>) -> Duration {
    let share = f64::from(random) / f64::from(u16::MAX);
    match error {
        Some(RunError::TooEarly { .. } | RunError::Held { .. }) => pause.mul_f64(1.0 + 0.1 * share),
        _ => pause.mul_f64(0.9 + 0.2 * share),
    }
}

fn random() -> u16 {
    let mut octets = [0; 2];
    // Without randomness there is no jitter, which is no reason to stop.
    getrandom::fill(&mut octets).unwrap_or_default();
    u16::from_le_bytes(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_lead_to_longer_pauses_up_to_an_hour() {
        let every = Duration::from_secs(300);
        let lost = || Some(RunError::Client(Error::Lost("x".into())));
        assert_eq!(pause(every, 0, &None), every);
        let pauses = [1, 2, 3, 4, 5, 60].map(|failures| pause(every, failures, &lost()).as_secs());
        assert_eq!(pauses, [300, 600, 1200, 2400, 3600, 3600]);
        let rare = Duration::from_secs(86_400);
        assert_eq!(pause(rare, 9, &lost()), rare);
        assert_eq!(pause(every, 1, &Some(RunError::TooEarly { delay: 900, seconds: 700 })).as_secs(), 700);
        assert_eq!(pause(every, 1, &Some(RunError::Held { what: "password", times: 2, seconds: 10 })), every);
    }

    #[test]
    fn jitter_is_a_tenth_at_most() {
        let pause = Duration::from_secs(100);
        assert_eq!(jitter(pause, 0, &None).as_secs(), 90);
        assert_eq!(jitter(pause, u16::MAX, &None).as_secs(), 110);
        let early = Some(RunError::TooEarly { delay: 100, seconds: 100 });
        assert_eq!(jitter(pause, 0, &early).as_secs(), 100);
    }
}
