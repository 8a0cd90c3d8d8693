//! Points at which a test may kill the process, to prove that nothing is lost there.
//!
//! Without the feature `crash-points` (or `cfg(test)`) a point is nothing at all. With it, a process whose environment
//! says `RESTANTE_CRASH_AT=N` is killed at the N-th point that it reaches, counted from 1.
//!
//! What a power failure loses, only the order of calls decides: unit tests see the ones that are noted here.

/// A point between two steps; a process that was told to die here does.
#[cfg(not(any(test, feature = "crash-points")))]
#[inline(always)]
pub const fn point(_step: &str) {}

/// A point between two steps; a process that was told to die here does.
#[cfg(any(test, feature = "crash-points"))]
pub fn point(step: &str) {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };

    static AT: OnceLock<Option<u64>> = OnceLock::new();
    static REACHED: AtomicU64 = AtomicU64::new(0);

    let at = AT.get_or_init(|| std::env::var("RESTANTE_CRASH_AT").ok()?.parse().ok());
    let Some(at) = *at else { return };
    if REACHED.fetch_add(1, Ordering::SeqCst) + 1 == at {
        tracing::debug!(step, "killed by a test");
        // SIGKILL, so that no destructor and no exit handler tidies up.
        if rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).is_err() {
            std::process::abort();
        }
    }
}

/// Notes a call that succeeded, for tests of the order of calls.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn noted<T, E>(_call: &'static str, done: Result<T, E>) -> Result<T, E> {
    done
}

#[cfg(test)]
thread_local! {
    static NOTED: std::cell::RefCell<Vec<&'static str>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Notes a call that succeeded, for tests of the order of calls.
#[cfg(test)]
pub(crate) fn noted<T, E>(call: &'static str, done: Result<T, E>) -> Result<T, E> {
    if done.is_ok() {
        NOTED.with_borrow_mut(|noted| noted.push(call));
    }
    done
}

/// What this thread noted since it was last asked.
#[cfg(test)]
pub(crate) fn take_noted() -> Vec<&'static str> {
    NOTED.take()
}
