//! The verification pool: hashing runs on a bounded number of threads, off the I/O threads, behind a bounded queue.
//!
//! The threads are the runtime's own for blocking work; what is bounded here is how many of them hash at once, since
//! each of them may take a core and up to [`crate::scheme::ARGON2_MEMORY_MAX_KIB`].

use std::sync::Arc;

use tokio::{sync::Semaphore, task};

/// How many jobs may wait, if nobody says otherwise.
pub const QUEUE_DEFAULT: usize = 64;

/// Runs slow jobs, a few at a time.
#[derive(Clone, Debug)]
pub struct Pool {
    /// A permit for each job that runs or waits.
    places: Arc<Semaphore>,
    /// A permit for each job that runs.
    threads: Arc<Semaphore>,
}

/// Why a job was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// As many jobs wait as may.
    #[error("too many passwords wait to be verified")]
    Full,
    /// The job panicked, or the runtime is going down.
    #[error("the verification of a password did not end")]
    Broken,
}

impl Pool {
    /// A pool of so many threads (one at least), behind which so many jobs may wait.
    pub fn new(threads: usize, queue: usize) -> Self {
        let threads = threads.clamp(1, Semaphore::MAX_PERMITS / 2);
        let places = threads + queue.min(Semaphore::MAX_PERMITS / 2);
        Self { places: Arc::new(Semaphore::new(places)), threads: Arc::new(Semaphore::new(threads)) }
    }

    /// As many threads as the machine has cores.
    pub fn threads_default() -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    }

    /// Waits for a thread and runs the job on it. Dropped while it waits, the job is never run; dropped later, the job
    /// runs to its end and keeps its thread until then.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| PoolError::Full)?;
        let thread = Arc::clone(&self.threads).acquire_owned().await.map_err(|_| PoolError::Broken)?;
        let done = task::spawn_blocking(move || {
            let result = job();
            drop((thread, place));
            result
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "a job of the verification pool did not end");
            PoolError::Broken
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::task::yield_now;

    use super::*;

    /// A job that runs until it is told not to.
    fn gate() -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
        let (open, wait) = mpsc::channel();
        (open, move || assert!(wait.recv().is_err()))
    }

    #[tokio::test]
    async fn no_more_run_than_there_are_threads_and_no_more_wait_than_there_are_places() {
        let pool = Pool::new(2, 3);
        let mut opens = Vec::new();
        let mut jobs = Vec::new();
        for _ in 0..5 {
            let (open, job) = gate();
            opens.push(open);
            let pool = pool.clone();
            jobs.push(tokio::spawn(async move { pool.run(job).await }));
        }
        while pool.places.available_permits() > 0 {
            yield_now().await;
        }
        assert_eq!(pool.threads.available_permits(), 0);
        assert_eq!(pool.run(|| ()).await, Err(PoolError::Full));

        opens.clear();
        for job in jobs {
            assert_eq!(job.await.unwrap(), Ok(()));
        }
        assert_eq!(pool.run(|| 7).await, Ok(7));
        assert_eq!((pool.places.available_permits(), pool.threads.available_permits()), (5, 2));
    }

    #[tokio::test]
    async fn a_caller_who_leaves_the_queue_frees_the_place() {
        let pool = Pool::new(1, 1);
        let (open, job) = gate();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(job).await }
        });
        while pool.threads.available_permits() > 0 {
            yield_now().await;
        }
        let second = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(|| panic!("nobody waits for this")).await }
        });
        while pool.places.available_permits() > 0 {
            yield_now().await;
        }
        second.abort();
        assert!(second.await.unwrap_err().is_cancelled());
        assert_eq!(pool.places.available_permits(), 1);
        drop(open);
        assert_eq!(first.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_panic_costs_one_job_and_no_thread() {
        let pool = Pool::new(1, 0);
        assert_eq!(pool.run(|| panic!("a bug")).await, Err::<(), _>(PoolError::Broken));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }
}
