//! How fast a count grows, over the last ten seconds.

use std::collections::VecDeque;

use crate::sync::{AtomicU64, Mutex, Ordering};

/// How far back a rate looks, in milliseconds.
const WINDOW_MS: u64 = 10_000;
/// The least distance between two samples, in milliseconds.
const SPACING_MS: u64 = 1_000;
/// A computed rate is used for this long, in milliseconds.
const FRESH_MS: u64 = 100;

/// The rate of a running count over the last ten seconds, and since it grows.
///
/// It keeps a handful of samples of the count, so it is exact about what was counted but its window begins at
/// a sample: it is between nine and ten seconds long, and shorter for a young role.
#[derive(Debug)]
pub(crate) struct Rate {
    samples: Mutex<VecDeque<Sample>>,
    refresh_at_ms: AtomicU64,
    per_ms: AtomicU64,
    since_it_grows_per_ms: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at_ms: u64,
    count: u64,
}

impl Rate {
    /// Of a count that is zero now.
    pub(crate) fn new(now_ms: u64) -> Self {
        let first = Sample {
            at_ms: now_ms,
            count: 0,
        };
        Self {
            samples: Mutex::new(VecDeque::from([first])),
            refresh_at_ms: AtomicU64::new(0),
            per_ms: AtomicU64::new(0.0_f64.to_bits()),
            since_it_grows_per_ms: AtomicU64::new(0.0_f64.to_bits()),
        }
    }

    /// The rate per millisecond. `count` is read at most ten times a second.
    pub(crate) fn per_ms(&self, now_ms: u64, count: impl FnOnce() -> u64) -> f64 {
        self.refresh(now_ms, count);
        f64::from_bits(self.per_ms.load(Ordering::Relaxed))
    }

    /// The rate per millisecond since the count last began to grow, if that is less than ten seconds ago: what came
    /// before, when little or nothing was there to be counted, says nothing of how fast it can go. It began at the last
    /// sample with more growth after it than before.
    pub(crate) fn since_it_grows_per_ms(&self, now_ms: u64, count: impl FnOnce() -> u64) -> f64 {
        self.refresh(now_ms, count);
        f64::from_bits(self.since_it_grows_per_ms.load(Ordering::Relaxed))
    }

    fn refresh(&self, now_ms: u64, count: impl FnOnce() -> u64) {
        let due = self.refresh_at_ms.load(Ordering::Relaxed);
        let next = now_ms.saturating_add(FRESH_MS);
        let mine = now_ms >= due
            && self
                .refresh_at_ms
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            self.sample(now_ms, count());
        }
    }

    /// Notes the running count, and what the rates are.
    pub(crate) fn sample(&self, now_ms: u64, count: u64) {
        let mut samples = self.samples.lock();
        while samples.len() > 1
            && samples
                .front()
                .is_some_and(|oldest| oldest.age(now_ms) > WINDOW_MS)
        {
            samples.pop_front();
        }
        let oldest = samples.front();
        let last_idle = samples.iter().rfind(|sample| {
            let before = oldest.map_or(0, |oldest| sample.count.saturating_sub(oldest.count));
            before == 0 || count.saturating_sub(sample.count) > before
        });
        for (since, rate) in [
            (oldest, &self.per_ms),
            (last_idle, &self.since_it_grows_per_ms),
        ] {
            let per_ms = since.map_or(0.0, |since| since.rate(now_ms, count));
            rate.store(per_ms.to_bits(), Ordering::Relaxed);
        }
        if samples
            .back()
            .is_none_or(|newest| newest.age(now_ms) >= SPACING_MS)
        {
            samples.push_back(Sample {
                at_ms: now_ms,
                count,
            });
        }
    }
}

impl Sample {
    fn age(self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.at_ms)
    }

    /// How fast the count has grown from here, per millisecond.
    fn rate(self, now_ms: u64, count: u64) -> f64 {
        count.saturating_sub(self.count) as f64 / self.age(now_ms).max(1) as f64
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_growth_over_time() {
        let rate = Rate::new(0);
        assert!((rate.per_ms(1_000, || 200) - 0.2).abs() < 1e-9);
    }

    #[test]
    fn what_was_counted_before_the_window_no_longer_counts() {
        let rate = Rate::new(0);
        for second in 0..=30 {
            rate.sample(second * 1_000, 5_000);
        }
        assert!(rate.per_ms(30_500, || 5_000) == 0.0);
        assert!(rate.samples.lock().len() <= 12);
    }

    #[test]
    fn what_was_idle_before_does_not_slow_the_rate_since() {
        let rate = Rate::new(0);
        (1..=30).for_each(|second| rate.sample(second * 1_000, 5));
        assert!(rate.since_it_grows_per_ms(30_000, || 5) == 0.0);
        // Thirty within half a second, after ten seconds and more without any.
        assert!((rate.since_it_grows_per_ms(30_500, || 35) - 0.06).abs() < 1e-9);
        assert!((rate.per_ms(30_500, || 35) - 30.0 / 9_500.0).abs() < 1e-9);
        // From here on it is the rate of all the time since.
        assert!((rate.since_it_grows_per_ms(33_000, || 65) - 0.02).abs() < 1e-9);
    }

    /// One that trickled eight seconds ago, and then forty that all came at once and drain at 27 a second.
    #[test]
    fn what_trickled_before_does_not_slow_the_rate_since() {
        let rate = Rate::new(0);
        (1..=2).for_each(|second| rate.sample(second * 1_000, 0));
        (3..=10).for_each(|second| rate.sample(second * 1_000, 1));
        assert!((rate.since_it_grows_per_ms(10_500, || 14) - 13.0 / 500.0).abs() < 1e-9);
        // Half of what it was before tells as much as all of it, while it goes on as it was.
        let steady = Rate::new(0);
        (1..=10).for_each(|second| steady.sample(second * 1_000, second * 30));
        assert!((steady.since_it_grows_per_ms(10_500, || 315) - 0.03).abs() < 1e-9);
    }

    #[test]
    fn the_count_is_read_at_most_ten_times_a_second() {
        let rate = Rate::new(0);
        let mut reads = 0;
        for now_ms in 1_000..2_000 {
            rate.per_ms(now_ms, || {
                reads += 1;
                now_ms
            });
        }
        assert_eq!(reads, 10);
    }
}
