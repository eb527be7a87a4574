//! How fast a role drains, and from that how long a refused caller should wait.

use std::collections::VecDeque;

use crate::sync::{AtomicU64, Mutex, Ordering};

/// How far back the drain rate looks, in milliseconds.
const WINDOW_MS: u64 = 10_000;
/// The least distance between two samples, in milliseconds.
const SPACING_MS: u64 = 1_000;
/// A computed rate is used for this long, in milliseconds.
const FRESH_MS: u64 = 100;
/// The advice when nothing drained, in milliseconds.
const NOTHING_DRAINED_MS: u64 = 1_000;
/// The longest advice, in milliseconds.
const LONGEST_MS: u64 = 60_000;

/// The drain rate of a role over the last ten seconds.
///
/// It keeps a handful of samples of a running count, so it is exact about what was counted but its
/// window begins at a sample: it is between nine and ten seconds long, and shorter for a young role.
#[derive(Debug)]
pub(crate) struct Drain {
    samples: Mutex<VecDeque<Sample>>,
    refresh_at_ms: AtomicU64,
    per_ms: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at_ms: u64,
    drained: u64,
}

impl Drain {
    pub(crate) fn new(now_ms: u64) -> Self {
        let first = Sample {
            at_ms: now_ms,
            drained: 0,
        };
        Self {
            samples: Mutex::new(VecDeque::from([first])),
            refresh_at_ms: AtomicU64::new(0),
            per_ms: AtomicU64::new(0.0_f64.to_bits()),
        }
    }

    /// Milliseconds until `excess` units will have drained from each of `owners` queues that share
    /// the role's rate: 1 to 60000, and 1000 when nothing drained.
    ///
    /// `drained` is the role's running count; it is read at most ten times a second.
    pub(crate) fn retry_after_ms(
        &self,
        excess: u64,
        owners: u64,
        now_ms: u64,
        drained: impl FnOnce() -> u64,
    ) -> u64 {
        self.refresh(now_ms, drained);
        let per_ms = f64::from_bits(self.per_ms.load(Ordering::Relaxed));
        if per_ms > 0.0 {
            let wait = (excess as f64 * owners.max(1) as f64 / per_ms).ceil();
            (wait as u64).clamp(1, LONGEST_MS)
        } else {
            NOTHING_DRAINED_MS
        }
    }

    fn refresh(&self, now_ms: u64, drained: impl FnOnce() -> u64) {
        let due = self.refresh_at_ms.load(Ordering::Relaxed);
        let next = now_ms.saturating_add(FRESH_MS);
        let mine = now_ms >= due
            && self
                .refresh_at_ms
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            let rate = self.sample(now_ms, drained());
            self.per_ms.store(rate.to_bits(), Ordering::Relaxed);
        }
    }

    /// Notes the running count and returns the rate per millisecond.
    pub(crate) fn sample(&self, now_ms: u64, drained: u64) -> f64 {
        let mut samples = self.samples.lock();
        while samples.len() > 1
            && samples
                .front()
                .is_some_and(|oldest| oldest.age(now_ms) > WINDOW_MS)
        {
            samples.pop_front();
        }
        let rate = samples.front().map_or(0.0, |oldest| {
            drained.saturating_sub(oldest.drained) as f64 / oldest.age(now_ms).max(1) as f64
        });
        if samples
            .back()
            .is_none_or(|newest| newest.age(now_ms) >= SPACING_MS)
        {
            samples.push_back(Sample {
                at_ms: now_ms,
                drained,
            });
        }
        rate
    }
}

impl Sample {
    fn age(self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.at_ms)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn nothing_drained_advises_a_second() {
        assert_eq!(Drain::new(0).retry_after_ms(5, 3, 500, || 0), 1_000);
    }

    #[test]
    fn the_advice_is_the_excess_over_the_rate() {
        // 200 in a second are 0.2 a millisecond; 3 × 2 / 0.2 = 30.
        assert_eq!(Drain::new(0).retry_after_ms(3, 2, 1_000, || 200), 30);
        // Rounded up: 1 × 1 / 0.3 = 3.33….
        assert_eq!(Drain::new(0).retry_after_ms(1, 1, 1_000, || 300), 4);
    }

    #[test]
    fn the_advice_stays_in_its_range() {
        assert_eq!(Drain::new(0).retry_after_ms(1, 1, 10, || 1_000_000), 1);
        assert_eq!(
            Drain::new(0).retry_after_ms(1_000_000, 1_000, 9_000, || 1),
            60_000
        );
        assert_eq!(
            Drain::new(0).retry_after_ms(u64::MAX, u64::MAX, 9_000, || 1),
            60_000
        );
    }

    #[test]
    fn what_drained_before_the_window_no_longer_counts() {
        let drain = Drain::new(0);
        for second in 0..=30 {
            drain.sample(second * 1_000, 5_000);
        }
        assert_eq!(drain.retry_after_ms(1, 1, 30_500, || 5_000), 1_000);
        assert!(drain.samples.lock().len() <= 12);
    }

    #[test]
    fn the_rate_is_read_at_most_ten_times_a_second() {
        let drain = Drain::new(0);
        let mut reads = 0;
        for now_ms in 1_000..2_000 {
            drain.retry_after_ms(1, 1, now_ms, || {
                reads += 1;
                now_ms
            });
        }
        assert_eq!(reads, 10);
    }
}
