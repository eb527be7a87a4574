//! Latencies in microseconds, as HDR histograms that any thread may record into at any time.

use crossbeam_utils::CachePadded;
use hdrhistogram::Histogram;

use crate::sync::{Mutex, thread_number};

/// Latencies longer than so many microseconds are not told apart: they count as this.
pub const LONGEST_US: u64 = 60_000_000;

/// How many decimal digits of each value are kept.
const FINE: u8 = 3;
const COARSE: u8 = 2;
const MAX_SHARDS: usize = 16;

/// This is a histogram of latencies from 0 µs to 60 s, to three significant digits, or two.
///
/// It is split over shards by thread, each behind a lock that is practically never contended. A shard
/// takes no memory before its first record, and with three digits 16 KiB while latencies stay below
/// 2 ms, 140 KiB at most. Nothing that was recorded before a summary begins is missing from it.
///
/// ```
/// use erlmcp_core::latency::Latency;
///
/// let latency = Latency::sharded();
/// (1..=100).for_each(|us| latency.record(us));
/// let summary = latency.summary();
/// assert_eq!((summary.count, summary.p50_us, summary.max_us), (100, 50, 100));
/// latency.reset();
/// assert_eq!(latency.summary().count, 0);
/// ```
#[derive(Debug)]
pub struct Latency {
    shards: Box<[Shard]>,
    digits: u8,
}

type Shard = CachePadded<Mutex<Option<Recorded>>>;

/// What was recorded, and its exact sum.
#[derive(Clone, Debug)]
struct Recorded {
    histogram: Histogram<u64>,
    sum_us: u64,
}

/// A summary says what was recorded, in microseconds. Percentiles have as many significant digits as the histogram, the
/// rest is exact; all are 0 while nothing was recorded. [`Latency`] has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// So many latencies were recorded.
    pub count: u64,
    /// Half of them were at most this: the median.
    pub p50_us: u64,
    /// Of 100 latencies 95 were at most this.
    pub p95_us: u64,
    /// Of 100 latencies 99 were at most this.
    pub p99_us: u64,
    /// Of 1000 latencies 999 were at most this.
    pub p999_us: u64,
    /// The longest one was this.
    pub max_us: u64,
}

/// A distribution says how many latencies were below which bounds.
///
/// All of it is exact: the bounds are powers of two, where no digit is rounded away, and latencies are recorded
/// as whole microseconds, the fraction dropped.
///
/// ```
/// use erlmcp_core::latency::Latency;
///
/// let latency = Latency::single();
/// [3, 5, 6].into_iter().for_each(|us| latency.record(us));
/// let (_, distribution) = latency.distribution();
/// assert_eq!((distribution.count, distribution.sum_us), (3, 14));
/// // Below 1, 2, 4 and 8 µs.
/// assert_eq!(distribution.below[..4], [0, 0, 1, 3]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// So many latencies were recorded.
    pub count: u64,
    /// This is their sum; those above a minute count as a minute.
    pub sum_us: u64,
    /// So many were below 2^place microseconds. The last bound is above a minute: below it are all.
    pub below: [u64; BOUNDS],
}

/// A distribution has so many bounds, from 1 µs to 67 s.
pub const BOUNDS: usize = 27;

impl Latency {
    /// Makes a histogram for many threads that record at once, with a shard for each of up to sixteen. In a model there
    /// are two shards.
    pub fn sharded() -> Self {
        let threads = if cfg!(loom) {
            2
        } else {
            std::thread::available_parallelism().map_or(1, usize::from)
        };
        Self::with_shards(threads.min(MAX_SHARDS), FINE)
    }

    /// Makes a histogram that is one of many: with two significant digits and one shard it takes a tenth of the memory.
    pub fn single() -> Self {
        Self::with_shards(1, COARSE)
    }

    fn with_shards(shards: usize, digits: u8) -> Self {
        Self {
            digits,
            shards: (0..shards).map(|_| CachePadded::default()).collect(),
        }
    }

    /// Records one latency, in microseconds.
    pub fn record(&self, latency_us: u64) {
        let shard = thread_number()
            .checked_rem(self.shards.len())
            .and_then(|number| self.shards.get(number));
        if let Some(shard) = shard {
            let latency_us = latency_us.min(LONGEST_US);
            let mut recorded = shard.lock();
            if recorded.is_none() {
                // Fails on more than five digits only.
                let new = Histogram::new(self.digits).ok();
                *recorded = new.map(|histogram| Recorded {
                    histogram,
                    sum_us: 0,
                });
            }
            if let Some(recorded) = recorded.as_mut() {
                // Fails on values out of range only, and the range grows by itself.
                let _ = recorded.histogram.record(latency_us);
                recorded.sum_us = recorded.sum_us.wrapping_add(latency_us);
            }
        }
    }

    /// Summarises what was recorded since the last reset. That takes time in the order of ten microseconds a shard.
    pub fn summary(&self) -> Summary {
        self.merged()
            .map_or_else(Summary::default, |all| summary(&all.histogram))
    }

    /// Summarises what was recorded, and says how many there were below which bounds.
    pub fn distribution(&self) -> (Summary, Distribution) {
        let Some(all) = self.merged() else {
            return (Summary::default(), Distribution::default());
        };
        (summary(&all.histogram), distribution(&all))
    }

    fn merged(&self) -> Option<Recorded> {
        let mut merged: Option<Recorded> = None;
        for shard in &self.shards {
            // Cloned, so that nobody waits for more than a copy.
            let Some(recorded) = shard.lock().clone() else {
                continue;
            };
            match merged.as_mut() {
                None => merged = Some(recorded),
                Some(all) => {
                    // As in `record`.
                    let _ = all.histogram.add(recorded.histogram);
                    all.sum_us = all.sum_us.wrapping_add(recorded.sum_us);
                }
            }
        }
        merged
    }

    /// About how many bytes it takes.
    pub(crate) fn memory(&self) -> usize {
        let taken = |shard: &Shard| {
            shard.lock().as_ref().map_or(0, |recorded| {
                let counts = recorded.histogram.distinct_values();
                counts.saturating_mul(size_of::<u64>())
            })
        };
        self.shards
            .iter()
            .map(|shard| taken(shard).saturating_add(size_of::<Shard>()))
            .fold(0, usize::saturating_add)
    }

    /// Forgets what was recorded, and gives the memory back.
    pub fn reset(&self) {
        for shard in &self.shards {
            *shard.lock() = None;
        }
    }
}

impl Distribution {
    /// Tells below how many microseconds this share of the latencies was that came since another distribution; none if
    /// none came, or if it has been reset since. It is as good as the bounds tell: within them on a logarithmic scale.
    ///
    /// ```
    /// use erlmcp_core::latency::Latency;
    ///
    /// let latency = Latency::single();
    /// latency.record(1_000_000);
    /// let (_, before) = latency.distribution();
    /// (0..100).for_each(|_| latency.record(5));
    /// let (_, now) = latency.distribution();
    /// // Between 4 and 8 µs.
    /// assert_eq!((now.since(&before, 0.5), now.since(&now, 0.5)), (Some(6), None));
    /// ```
    pub fn since(&self, before: &Self, share: f64) -> Option<u64> {
        let count = self.count.checked_sub(before.count).filter(|n| *n > 0)?;
        let rank = share * count as f64;
        let (mut from_us, mut under) = (0.5, 0.0);
        for (place, (now, then)) in self.below.iter().zip(before.below).enumerate() {
            let below = now.checked_sub(then)? as f64;
            let to_us = 2_f64.powi(i32::try_from(place).unwrap_or(i32::MAX));
            if below >= rank {
                let within = (rank - under) / (below - under);
                return Some((from_us * (to_us / from_us).powf(within)).round() as u64);
            }
            (from_us, under) = (to_us, below);
        }
        None
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Self {
            count: 0,
            sum_us: 0,
            below: [0; BOUNDS],
        }
    }
}

fn summary(all: &Histogram<u64>) -> Summary {
    Summary {
        count: all.len(),
        p50_us: all.value_at_quantile(0.50),
        p95_us: all.value_at_quantile(0.95),
        p99_us: all.value_at_quantile(0.99),
        p999_us: all.value_at_quantile(0.999),
        max_us: all.max(),
    }
}

fn distribution(all: &Recorded) -> Distribution {
    let mut below = [0_u64; BOUNDS];
    for row in all.histogram.iter_recorded() {
        // The first bound above the latency.
        let zeros = row.value_iterated_to().leading_zeros();
        let place = u64::BITS.saturating_sub(zeros) as usize;
        if let Some(count) = below.get_mut(place) {
            *count = count.saturating_add(row.count_since_last_iteration());
        }
    }
    let mut sum = 0_u64;
    for count in &mut below {
        sum = sum.saturating_add(*count);
        *count = sum;
    }
    Distribution {
        count: all.histogram.len(),
        sum_us: all.sum_us,
        below,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The value below which a share of the recorded ones lies, computed from all of them.
    fn exact_quantile(sorted: &[u64], quantile: f64) -> u64 {
        let rank = (quantile * sorted.len() as f64).ceil() as usize;
        *sorted.get(rank.clamp(1, sorted.len()) - 1).unwrap()
    }

    fn agrees(measured: u64, exact: u64) -> bool {
        // An HDR histogram answers with the highest value it does not tell from the exact one.
        measured >= exact && (measured - exact) as f64 <= exact as f64 / 1_000.0 + 1.0
    }

    proptest! {
        #[test]
        fn percentiles_agree_with_an_exact_computation(
            mut latencies in prop::collection::vec(
                prop_oneof![0..100_u64, 0..50_000_u64, 0..LONGEST_US], 1..2_000),
        ) {
            let latency = Latency::sharded();
            latencies.iter().for_each(|&us| latency.record(us));
            latencies.sort_unstable();
            let summary = latency.summary();
            prop_assert_eq!(summary.count, latencies.len() as u64);
            for (measured, quantile) in [
                (summary.p50_us, 0.50),
                (summary.p95_us, 0.95),
                (summary.p99_us, 0.99),
                (summary.p999_us, 0.999),
            ] {
                let exact = exact_quantile(&latencies, quantile);
                prop_assert!(agrees(measured, exact), "{quantile}: {measured} for {exact}");
            }
            prop_assert!(agrees(summary.max_us, *latencies.last().unwrap()));
        }
    }

    proptest! {
        #[test]
        fn a_distribution_is_exact(
            latencies in prop::collection::vec(
                prop_oneof![0..100_u64, 0..50_000_u64, 0..LONGEST_US, Just(1 << 20)], 0..500),
        ) {
            for latency in [Latency::sharded(), Latency::single()] {
                latencies.iter().for_each(|&us| latency.record(us));
                let (summary, distribution) = latency.distribution();
                prop_assert_eq!(summary, latency.summary());
                prop_assert_eq!(distribution.count, latencies.len() as u64);
                prop_assert_eq!(distribution.sum_us, latencies.iter().sum::<u64>());
                for (place, below) in distribution.below.into_iter().enumerate() {
                    let exact = latencies.iter().filter(|us| **us < 1 << place).count();
                    prop_assert_eq!(below, exact as u64);
                }
            }
        }
    }

    #[test]
    fn concurrent_recording_loses_nothing() {
        let latency = Latency::sharded();
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let latency = &latency;
                scope.spawn(move || (0..50_000).for_each(|us| latency.record(us + thread)));
            }
        });
        assert_eq!(latency.summary().count, 400_000);
    }

    #[test]
    fn out_of_range_counts_as_the_longest() {
        let latency = Latency::single();
        latency.record(u64::MAX);
        latency.record(0);
        let summary = latency.summary();
        assert_eq!(summary.count, 2);
        assert!(agrees(summary.max_us, LONGEST_US));
        assert_eq!(summary.p50_us, 0);
    }

    #[test]
    fn a_reset_forgets() {
        let latency = Latency::single();
        latency.record(5);
        latency.reset();
        assert_eq!(latency.summary(), Summary::default());
    }
}
