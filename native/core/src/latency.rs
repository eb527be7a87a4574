//! Latencies in microseconds, as HDR histograms that any thread may record into at any time.

use crossbeam_utils::CachePadded;
use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::sync::thread_number;

/// The longest latency that is told apart, in microseconds; longer ones count as this.
pub const LONGEST_US: u64 = 60_000_000;

/// How many decimal digits of each value are kept.
const FINE: u8 = 3;
const COARSE: u8 = 2;
const MAX_SHARDS: usize = 16;

/// A histogram of latencies from 0 µs to 60 s, to three significant digits, or two.
///
/// It is split over shards by thread, each behind a lock that is practically never contended. A shard
/// takes no memory before its first record, and with three digits 16 KiB while latencies stay below 2 ms, 140 KiB at most.
/// Nothing that was recorded before a summary begins is missing from it.
#[derive(Debug)]
pub struct Latency {
    shards: Box<[Shard]>,
    digits: u8,
}

type Shard = CachePadded<Mutex<Option<Histogram<u64>>>>;

/// What was recorded, in microseconds. Percentiles are 0 while nothing was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many latencies were recorded.
    pub count: u64,
    /// The median.
    pub p50_us: u64,
    /// 95 % were at most this.
    pub p95_us: u64,
    /// 99 % were at most this.
    pub p99_us: u64,
    /// 99.9 % were at most this.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl Latency {
    /// For many threads that record at once: a shard for each of up to sixteen.
    pub fn sharded() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_shards(threads.min(MAX_SHARDS), FINE)
    }

    /// For one of many: two significant digits and one shard take a tenth of the memory.
    pub fn single() -> Self {
        Self::with_shards(1, COARSE)
    }

    fn with_shards(shards: usize, digits: u8) -> Self {
        Self {
            digits,
            shards: (0..shards).map(|_| CachePadded::default()).collect(),
        }
    }

    /// Records one latency.
    pub fn record(&self, latency_us: u64) {
        let shard = thread_number()
            .checked_rem(self.shards.len())
            .and_then(|number| self.shards.get(number));
        if let Some(shard) = shard {
            let mut histogram = shard.lock();
            if histogram.is_none() {
                // Fails on more than five digits only.
                *histogram = Histogram::new(self.digits).ok();
            }
            if let Some(histogram) = histogram.as_mut() {
                // Fails on values out of range only, and the range grows by itself.
                let _ = histogram.record(latency_us.min(LONGEST_US));
            }
        }
    }

    /// What was recorded since the last reset. Takes time in the order of ten microseconds a shard.
    pub fn summary(&self) -> Summary {
        let mut merged: Option<Histogram<u64>> = None;
        for shard in &self.shards {
            // Cloned, so that nobody waits for more than a copy.
            let Some(histogram) = shard.lock().clone() else {
                continue;
            };
            match merged.as_mut() {
                None => merged = Some(histogram),
                // As in `record`.
                Some(all) => drop(all.add(histogram)),
            }
        }
        merged.map_or_else(Summary::default, |all| Summary {
            count: all.len(),
            p50_us: all.value_at_quantile(0.50),
            p95_us: all.value_at_quantile(0.95),
            p99_us: all.value_at_quantile(0.99),
            p999_us: all.value_at_quantile(0.999),
            max_us: all.max(),
        })
    }

    /// Forgets what was recorded, and gives the memory back.
    pub fn reset(&self) {
        for shard in &self.shards {
            *shard.lock() = None;
        }
    }
}

#[cfg(test)]
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
