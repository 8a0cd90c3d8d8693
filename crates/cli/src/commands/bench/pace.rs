//! `--rate`: sessions are due at fixed times, however long earlier ones take (an open loop). A server that stalls makes
//! clients late, and a session's time counts from when it was due: what a stall held up is not left out of the result.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, mpsc};

use super::load::Run;

/// How many sessions may be due and not begun. More are not lost: their times are told later, as what they were.
const DUE_MAX: usize = 1024;

/// Tells when sessions are due.
pub(super) struct Pace {
    began: Instant,
    rate: NonZeroU32,
    /// No more sessions than this.
    sessions: Option<u64>,
    /// None is due after this time.
    duration: Duration,
    begun: AtomicU64,
    due: Mutex<mpsc::Receiver<Instant>>,
}

impl Pace {
    /// Begins now. The clock of the runtime ticks in milliseconds, which would be seen in the result: a thread that
    /// sleeps is more exact.
    pub(super) fn begin(rate: NonZeroU32, run: &Arc<Run>) -> Self {
        let (sender, due) = mpsc::channel(DUE_MAX);
        let (began, sessions, duration) = (Instant::now(), run.plan.sessions, run.plan.duration);
        let run = Arc::clone(run);
        thread::spawn(move || {
            let mut number = 0;
            while !run.is_over()
                && offset(rate, number) < duration
                && sessions.is_none_or(|sessions| number < sessions)
            {
                let due = began + offset(rate, number);
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if sender.blocking_send(due).is_err() {
                    break;
                }
                number += 1;
            }
        });
        Self { began, rate, sessions, duration, begun: AtomicU64::new(0), due: Mutex::new(due) }
    }

    /// Waits until a session is due that nobody has begun; `None` where no more come.
    pub(super) async fn next(&self) -> Option<Instant> {
        let due = self.due.lock().await.recv().await?;
        self.begun.fetch_add(1, Ordering::Relaxed);
        Some(due)
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// How many sessions were due until now.
    pub(super) fn due(&self) -> u64 {
        let due = count(self.rate, self.began.elapsed().min(self.duration));
        self.sessions.map_or(due, |sessions| sessions.min(due))
    }
}

/// When the session of this number is due; the first one, 0, at once.
fn offset(rate: NonZeroU32, number: u64) -> Duration {
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How many are due before this time has passed.
fn count(rate: NonZeroU32, elapsed: Duration) -> u64 {
    let due = (elapsed.as_nanos() * u128::from(rate.get())).div_ceil(1_000_000_000);
    u64::try_from(due).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_due_at_even_times() {
        let rate = NonZeroU32::new(3).unwrap();
        assert_eq!([0, 1, 3, 300].map(|number| offset(rate, number).as_millis()), [0, 333, 1000, 100_000]);
        for number in 0..1000 {
            assert_eq!(count(rate, offset(rate, number)), number, "it is not due before its time");
            assert_eq!(count(rate, offset(rate, number) + Duration::from_nanos(2)), number + 1);
        }
    }
}
