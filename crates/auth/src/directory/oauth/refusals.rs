//! Why tokens were refused, for the log: each reason now and then with a count, since whoever sends tokens that are wrong
//! decides how many there are. Whose session it was, its own line says.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How often a reason is told, at most.
const PAUSE: Duration = Duration::from_secs(10);

/// When each reason was told, and how often it was there since.
#[derive(Default)]
pub(super) struct Refusals {
    told: Mutex<HashMap<&'static str, (Instant, u64)>>,
}

impl Refusals {
    /// One more for this reason; how many are to be told now, if any.
    pub(super) fn count(&self, why: &'static str) -> Option<u64> {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((last, silent)) = told.get_mut(why) else {
            told.insert(why, (now, 0));
            return Some(1);
        };
        *silent = silent.saturating_add(1);
        if now.saturating_duration_since(*last) < PAUSE {
            return None;
        }
        *last = now;
        Some(std::mem::take(silent))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_reason_is_told_now_and_then_with_a_count() {
        let refusals = Refusals::default();
        assert_eq!(refusals.count("one"), Some(1));
        for _ in 0..5 {
            assert_eq!(refusals.count("one"), None);
        }
        assert_eq!(refusals.count("another"), Some(1));
        advance(PAUSE).await;
        assert_eq!(refusals.count("one"), Some(6));
        assert_eq!(refusals.count("one"), None);
    }
}
