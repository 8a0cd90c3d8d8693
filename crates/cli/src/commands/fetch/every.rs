//! Again and again: how long to wait between two runs.

use std::time::Duration;

use restante_client::{Error, ResponseCode};
use restante_fetch::{Account, Mode, RunError, Stop};
use tokio::sync::Semaphore;

use super::{is_well, show::Show};

/// The longest pause that failures lead to, unless `--every` is longer.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// How soon a maildrop that another session holds is tried again.
const IN_USE_PAUSE: Duration = Duration::from_secs(60);

/// Runs until it is told to stop.
pub(super) async fn fetch(
    account: &Account,
    every: Duration,
    mut mode: Mode,
    show: &Show,
    stop: &Stop,
    room: &Semaphore,
) -> bool {
    let mut failures = 0;
    loop {
        let ended = {
            // It is never closed.
            let _place = room.acquire().await;
            restante_fetch::run(account, mode, show.account(&account.name), stop).await
        };
        if stop.is_stopped() {
            return true;
        }
        mode = Mode::Fetch;
        // A wrong password is told once, not every five minutes.
        if !matches!(ended, Err(RunError::Held { .. })) {
            show.ended(&account.name, &ended);
        }
        failures = if ended.as_ref().is_ok_and(is_well) { 0 } else { failures + 1 };
        let pause = jitter(pause(every, failures, &ended.err()), random());
        tokio::select! {
            () = stop.stopped() => return true,
            () = tokio::time::sleep(pause) => {}
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

/// Up to a tenth more or less, so that many clients do not come at the same second. `random` is any number.
fn jitter(pause: Duration, random: u16) -> Duration {
    let share = f64::from(random) / f64::from(u16::MAX);
    pause.mul_f64(0.9 + 0.2 * share)
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
        assert_eq!(pause(every, 1, &Some(RunError::Held { times: 2, seconds: 10 })), every);
    }

    #[test]
    fn jitter_is_a_tenth_at_most() {
        let pause = Duration::from_secs(100);
        assert_eq!(jitter(pause, 0).as_secs(), 90);
        assert_eq!(jitter(pause, u16::MAX).as_secs(), 110);
    }
}
