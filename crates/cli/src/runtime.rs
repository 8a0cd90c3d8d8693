//! The runtime in which our clients work: it ends with its work.

use std::future::Future;

use tokio::runtime::Builder;

use crate::failure::Failure;

/// On how many threads the work runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    One,
    /// As many as the machine has cores.
    Many,
}

/// Does this work. A thread that still waits for the name server is not waited for: it knows no time limit of ours.
pub(crate) fn block_on<F: Future>(threads: Threads, work: F) -> Result<F::Output, Failure> {
    let mut builder = match threads {
        Threads::One => Builder::new_current_thread(),
        Threads::Many => Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_waits_is_not_waited_for() {
        for threads in [Threads::One, Threads::Many] {
            let (release, held) = mpsc::channel::<()>();
            let done = block_on(threads, async move {
                drop(tokio::task::spawn_blocking(move || held.recv()));
                7
            });
            // Were it waited for, nobody would come here to let it go.
            assert_eq!(done, Ok(7));
            drop(release);
        }
    }
}
