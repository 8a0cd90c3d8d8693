//! How long things took: counts by bounds, added to without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// More bounds than any histogram here has.
const BOUNDS_MAX: usize = 17;

/// Observations, counted by the first bound that is not less.
#[derive(Debug)]
pub(super) struct Histogram {
    /// In seconds, ascending.
    bounds: &'static [f64],
    /// One for each bound, then what is longer than all of them.
    counts: [AtomicU64; BOUNDS_MAX + 1],
    sum_nanoseconds: AtomicU64,
}

/// What was counted up to a moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) sum_seconds: f64,
    pub(super) count: u64,
    /// Each bound in seconds, the last one infinite, and how many observations lie between it and the one before.
    pub(super) buckets: Vec<(f64, u64)>,
}

impl Histogram {
    pub(super) const fn new(bounds: &'static [f64]) -> Self {
        assert!(bounds.len() <= BOUNDS_MAX);
        Self {
            bounds,
            counts: [const { AtomicU64::new(0) }; BOUNDS_MAX + 1],
            sum_nanoseconds: AtomicU64::new(0),
        }
    }

    /// So many observations of the same length.
    pub(super) fn observe(&self, times: u64, each: Duration) {
        let seconds = each.as_secs_f64();
        let place = self.bounds.iter().take_while(|bound| seconds > **bound).count();
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(times, Ordering::Relaxed);
        }
        // 584 years of answering.
        let nanoseconds = u64::try_from(each.as_nanos()).unwrap_or(u64::MAX).saturating_mul(times);
        self.sum_nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// The count is that of the buckets, whoever adds meanwhile.
    pub(super) fn snapshot(&self) -> Snapshot {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        Snapshot {
            sum_seconds: self.sum_nanoseconds.load(Ordering::Relaxed) as f64 / 1e9,
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_belongs_to_the_first_bound_that_is_not_less() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for (times, milliseconds) in [(1, 0), (2, 100), (3, 101), (4, 1000), (5, 1001), (6, 1_000_000)] {
            histogram.observe(times, Duration::from_millis(milliseconds));
        }
        let Snapshot { sum_seconds, count, buckets } = histogram.snapshot();
        assert_eq!(buckets, [(0.1, 3), (1.0, 7), (f64::INFINITY, 11)]);
        assert_eq!(count, 21);
        assert!((sum_seconds - 6009.508).abs() < 1e-6, "{sum_seconds}");
    }
}
