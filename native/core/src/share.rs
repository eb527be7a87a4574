//! The share that one of several nodes has of a rate that all of them have together: pure arithmetic on its law.

use crate::gcra::{LONGEST_NS, Law, Rate};

/// So many parts are the whole.
pub const WHOLE: u64 = 1_000_000_000;

/// Of whom a rate is. [`Rates::set_shares`](crate::rates::Rates::set_shares) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This node alone.
    Node,
    /// All nodes together, of which each has a share.
    Cluster,
}

/// A share of a rate, from one part to the whole.
///
/// ```
/// use erlmcp_core::gcra::{Law, Rate};
/// use erlmcp_core::share::{Share, WHOLE};
///
/// let law = Law::new(Rate { number: 10, period_ns: 1_000_000_000, burst: 10 })?;
/// let quarter = Share::new(WHOLE / 4).of(&law);
/// assert_eq!((quarter.rate().burst, quarter.take(0, 2, 0)?.remaining), (2, 0));
/// // One each 400 ms, where all nodes together have one each 100 ms.
/// assert_eq!(quarter.take(quarter.take(0, 2, 0)?.arrival, 1, 0).map_err(|short| short.retry_ns), Err(400_000_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// All of it.
    pub const ALL: Self = Self(WHOLE);

    /// So many parts of [`WHOLE`], at least one and at most all.
    #[must_use]
    pub fn new(parts: u64) -> Self {
        Self(parts.clamp(1, WHOLE))
    }

    /// How many parts of [`WHOLE`] it is.
    #[must_use]
    pub fn parts(self) -> u64 {
        self.0
    }

    /// The law of this share of a rate: the same number in a longer period, and as much less at once, rounded down, but
    /// one. An empty bucket is full again after the same time, but where that one is more than the share; and within
    /// nine years in any case, so that a share of next to nothing is a little more.
    #[must_use]
    pub fn of(self, law: &Law) -> Law {
        let Rate {
            number,
            period_ns,
            burst,
        } = *law.rate();
        let (parts, whole) = (u128::from(self.0), u128::from(WHOLE));
        let burst = u128::from(burst).wrapping_mul(parts).checked_div(whole);
        let burst = burst.and_then(|burst| u64::try_from(burst).ok());
        let burst = burst.unwrap_or(1).max(1);
        let longest_ns = LONGEST_NS
            .saturating_mul(u128::from(number))
            .checked_div(u128::from(burst));
        let stretched_ns = u128::from(period_ns).wrapping_mul(whole).checked_div(parts);
        let period_ns = stretched_ns.zip(longest_ns).map(|(a, b)| a.min(b));
        let rate = period_ns
            .and_then(|period_ns| u64::try_from(period_ns).ok())
            .map(|period_ns| Rate {
                number,
                period_ns,
                burst,
            });
        // It is less than what fits already.
        rate.and_then(|rate| Law::new(rate).ok()).unwrap_or(*law)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn law(number: u64, period_ns: u64, burst: u64) -> Law {
        let rate = Rate {
            number,
            period_ns,
            burst,
        };
        Law::new(rate).unwrap()
    }

    /// How much is taken of a bucket in so many nanoseconds, one asking each time as soon as it may.
    fn taken(law: &Law, for_ns: u64) -> u64 {
        let (mut arrival, mut now_ns, mut taken) = (0, 0, 0);
        while now_ns <= for_ns {
            match law.take(arrival, 1, now_ns) {
                Ok(next) => (arrival, taken) = (next.arrival, taken + 1),
                Err(short) => now_ns += short.retry_ns,
            }
        }
        taken
    }

    #[test]
    fn all_of_it_is_the_law_itself() {
        for law in [
            law(1, 3_600 * SECOND, 79_000),
            law(SECOND, SECOND, 1 << 58),
            law(7, SECOND, 3),
        ] {
            assert_eq!(Share::ALL.of(&law), law);
        }
    }

    #[test]
    fn shares_together_grant_as_much_as_the_whole() {
        let whole = law(1_000, SECOND, 100);
        for shares in [[500, 300, 200], [998, 1, 1], [334, 333, 333]] {
            let shares = shares.map(|thousandths| Share::new(thousandths * WHOLE / 1_000));
            let bursts: u64 = shares
                .iter()
                .map(|share| share.of(&whole).rate().burst)
                .sum();
            assert!((97..=102).contains(&bursts), "{bursts}");
            let all: u64 = shares
                .iter()
                .map(|share| taken(&share.of(&whole), 10 * SECOND))
                .sum();
            assert!((10_090..=10_103).contains(&all), "{all}");
        }
    }

    #[test]
    fn a_share_below_one_takes_longer_for_it() {
        let hundredth = Share::new(WHOLE / 100).of(&law(10, 3_600 * SECOND, 10));
        assert_eq!(hundredth.rate().burst, 1);
        let after = hundredth.take(0, 1, 0).unwrap().arrival;
        let short = hundredth.take(after, 1, 0).unwrap_err();
        assert_eq!(short.retry_ns, 36_000 * SECOND);
    }

    #[test]
    fn the_least_share_fits_whatever_the_rate() {
        for law in [
            law(1, 3_600 * SECOND, 79_000),
            law(1, SECOND, 1),
            law(SECOND, SECOND, 1 << 58),
        ] {
            let least = Share::new(0).of(&law);
            assert!(least.rate().period_ns > law.rate().period_ns);
            assert!(least.take(0, 1, 1 << 58).is_ok());
        }
        assert_eq!(
            (Share::new(0).parts(), Share::new(u64::MAX)),
            (1, Share::ALL)
        );
    }

    /// What was used of one share is used of the other in proportion, and is back after as long.
    #[test]
    fn another_share_leaves_the_proportion() {
        let whole = law(100, SECOND, 100);
        let [half, fifth] = [2, 5].map(|n| Share::new(WHOLE / n).of(&whole));
        let used = half.take(0, 25, SECOND).unwrap().arrival;
        let converted = half.convert(used, &fifth, SECOND);
        let (before, after) = (half.state(used, SECOND), fifth.state(converted, SECOND));
        assert_eq!((before.remaining, after.remaining), (25, 10));
        assert_eq!((before.reset_ns, after.reset_ns), (SECOND / 2, SECOND / 2));
    }
}
