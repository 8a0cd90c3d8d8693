//! Waiting for what only another program can bring about: look, wait a little, look again, up to a deadline.

use std::time::{Duration, Instant};

/// How long anything may take here; a machine under load is slow, and no test waits this long unless it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until there is something to see; `None` once the deadline has passed.
pub fn until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}
