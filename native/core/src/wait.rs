//! A limit that is said in milliseconds: how many an owner may have waiting so that none waits longer than that.
//!
//! Pure arithmetic on what was measured: where the limit stands next.

/// The most that a limit rises from one measurement to the next. It falls as far as it has to: whoever is admitted
/// meanwhile waits too long.
const RISE: f64 = 2.0;
/// Nearly nobody should wait longer than that many times the target.
const TOO_LONG: f64 = 1.3;
/// How far beyond their mean the slowest hundredth of a sum of exponential times lies, in standard deviations (2.33),
/// and some more for what is measured, which errs as well.
const SLOWEST: f64 = 2.6;
/// With fewer nobody waits for another, and nothing is measured.
const LEAST: u32 = 2;

/// A wait is a limit that follows how fast an owner drains: nobody should wait longer than the target.
///
/// ```
/// use erlmcp_core::wait::Wait;
///
/// let wait = Wait::new(500, 10, 10_000).expect("these are in their ranges");
/// // Nothing was measured yet.
/// assert_eq!(wait.limit(None), 10_000);
/// // It drains 200 a second: 100 of them in half a second.
/// let all = |limit| limit;
/// let limit = wait.next(None, 0.2, 1, all);
/// assert_eq!(limit, 100);
/// // It drains three times as fast. The limit follows, and not too quickly; but while few wait, it stays.
/// assert_eq!(wait.next(Some(limit), 0.6, 100, all), 200);
/// assert_eq!(wait.next(Some(limit), 0.6, 49, all), 100);
/// // It is slow. Few are at the mercy of chance, so there are fewer than the ten that drain in half a second.
/// assert_eq!(Wait::new(500, 1, 10_000).map(|wait| wait.next(None, 0.02, 1, all)), Some(7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    target_ms: u32,
    min: u32,
    max: u32,
}

impl Wait {
    /// The longest target is so many milliseconds.
    pub const MAX_TARGET_MS: u32 = 1_000_000;
    /// The largest `min` is this.
    pub const MAX_MIN: u32 = (1 << 20) - 1;
    /// The largest `max` is this.
    pub const MAX_MAX: u32 = (1 << 22) - 1;

    /// Makes a limit that follows this target, and stays between these two. There is none of a target or a `min` of 0,
    /// beyond the most that each may be, or with a `min` above `max`.
    pub const fn new(target_ms: u32, min: u32, max: u32) -> Option<Self> {
        let target_fits = 1 <= target_ms && target_ms <= Self::MAX_TARGET_MS;
        let range_fits = 1 <= min && min <= max && min <= Self::MAX_MIN && max <= Self::MAX_MAX;
        if target_fits && range_fits {
            Some(Self {
                target_ms,
                min,
                max,
            })
        } else {
            None
        }
    }

    /// Gives how long somebody should wait at most, in milliseconds.
    pub const fn target_ms(self) -> u32 {
        self.target_ms
    }

    /// Gives the least that the limit may be.
    pub const fn min(self) -> u32 {
        self.min
    }

    /// Gives the most that the limit may be, and what it is before anything was measured.
    pub const fn max(self) -> u32 {
        self.max
    }

    /// Gives the limit in force of what it was moved to last, if it ever was.
    #[inline]
    pub fn limit(self, moved_to: Option<u32>) -> u32 {
        moved_to.map_or(self.max, |limit| self.between(limit))
    }

    /// Gives the limit after a measurement: what it was moved to last, how many drain in a millisecond, how many wait
    /// now, and how many of a limit the lowest class may use.
    ///
    /// While few wait, the limit stays: what few have measured errs most, and several consumers are not all at work.
    /// How many are few is a matter of the smaller of both limits. Of one that is far too large they would be all. Nor
    /// does it rise then, where few is half of what the lowest class may use: it may be the only one that comes, and
    /// never be more than that. Two are never few, since nobody waits when the second, who was marked, has left.
    pub fn next(
        self,
        moved_to: Option<u32>,
        per_ms: f64,
        depth: u64,
        usable: impl FnOnce(u32) -> u32,
    ) -> u32 {
        let wanted = self.between(places(per_ms * f64::from(self.target_ms)));
        let Some(limit) = moved_to.map(|limit| self.between(limit)) else {
            return wanted;
        };
        let few = match usable(limit) {
            _ if wanted <= limit => wanted / 2,
            ..=LEAST => 0,
            usable => usable / 2,
        };
        if depth < few.into() {
            return limit;
        }
        self.between(wanted.min((f64::from(limit) * RISE) as u32))
    }

    /// A limit of 1 keeps all from waiting for another, so nothing is measured any more: it would stay for good.
    fn between(self, limit: u32) -> u32 {
        limit.max(self.min).max(LEAST).min(self.max)
    }
}

/// How many may wait where so many drain within the target: those, or fewer where these are few, and their times as
/// unlike as exponential ones. Then the time that `n` take has a standard deviation of √n, and `n` is such that
/// n + SLOWEST × √n are TOO_LONG times those that drain.
fn places(drained: f64) -> u32 {
    let root = ((SLOWEST * SLOWEST + 4.0 * TOO_LONG * drained).sqrt() - SLOWEST) / 2.0;
    // Too many to be counted become the largest number there is, and nothing becomes 0.
    (root * root).ceil().min(drained) as u32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of a role in which nothing is kept for the higher classes.
    fn all(limit: u32) -> u32 {
        limit
    }

    fn any_wait() -> impl Strategy<Value = Wait> {
        (1..=Wait::MAX_TARGET_MS, 1..=1_000_u32, 0..=100_000_u32)
            .prop_map(|(target_ms, min, more)| Wait::new(target_ms, min, min + more).unwrap())
    }

    #[test]
    fn what_is_out_of_its_range_is_no_wait() {
        for (target_ms, min, max) in [
            (0, 10, 100),
            (Wait::MAX_TARGET_MS + 1, 10, 100),
            (500, 0, 100),
            (500, 101, 100),
            (500, Wait::MAX_MIN + 1, Wait::MAX_MAX),
            (500, 10, Wait::MAX_MAX + 1),
        ] {
            assert_eq!(Wait::new(target_ms, min, max), None);
        }
        assert!(Wait::new(Wait::MAX_TARGET_MS, Wait::MAX_MIN, Wait::MAX_MAX).is_some());
        assert!(Wait::new(1, 1, 1).is_some());
    }

    #[test]
    fn rates_that_are_none_are_taken_as_far_as_the_range_goes() {
        let wait = Wait::new(500, 10, 100).unwrap();
        for (per_ms, limit) in [(0.0, 10), (f64::NAN, 10), (-1.0, 10), (f64::INFINITY, 100)] {
            assert_eq!(wait.next(None, per_ms, 0, all), limit);
        }
    }

    #[test]
    fn a_limit_below_two_measures_nothing_and_is_none() {
        let wait = Wait::new(500, 1, 100).unwrap();
        assert_eq!(wait.next(None, 1e-9, 5, all), 2);
        assert_eq!(Wait::new(500, 1, 1).unwrap().next(None, 9.0, 5, all), 1);
    }

    #[test]
    fn a_limit_that_is_far_too_large_falls_at_once_though_few_of_it_are_in_use() {
        let wait = Wait::new(500, 10, 10_000).unwrap();
        assert_eq!(wait.next(Some(10_000), 1.0, 300, all), 500);
        assert_eq!(wait.next(Some(10_000), 1.0, 249, all), 10_000);
    }

    /// However small the part of it that the lowest class may use, which may be the only one that comes.
    #[test]
    fn a_limit_rises_for_a_class_that_never_fills_half_of_it() {
        let wait = Wait::new(500, 2, 10_000).unwrap();
        for (limit, usable, depth, next) in [
            (100, 100, 50, 200),
            (100, 100, 49, 100),
            (100, 40, 20, 200),
            (100, 40, 19, 100),
            (10, 2, 0, 20),
            (2, 2, 0, 4),
        ] {
            assert_eq!(wait.next(Some(limit), 1.0, depth, |_| usable), next);
        }
        // It falls as if that class were none: it is not to be measured by few.
        assert_eq!(wait.next(Some(1_000), 0.6, 149, |_| 100), 1_000);
        assert_eq!(wait.next(Some(1_000), 0.6, 150, |_| 100), 300);
    }

    #[test]
    fn of_those_that_may_wait_the_slowest_hundredth_waits_little_more_than_the_target() {
        for drained in [2.0, 10.0, 50.0, 500.0, 5_000.0_f64] {
            let places = f64::from(places(drained));
            assert!(places + 2.33 * places.sqrt() <= 1.3 * drained + 1.0);
        }
    }

    proptest! {
        #[test]
        fn a_limit_is_in_its_range_and_moves_by_no_more_than_a_step(
            wait in any_wait(),
            before in proptest::option::of(0..200_000_u32),
            per_ms in 0.0..1_000.0_f64,
            depth in 0..200_000_u64,
        ) {
            let (limit, next) = (wait.limit(before), wait.next(before, per_ms, depth, all));
            prop_assert!(next >= wait.min && next <= wait.max);
            if before.is_some() {
                prop_assert!(f64::from(next) <= f64::from(limit) * RISE);
                let few = u64::from(limit.min(wait.next(None, per_ms, 0, all)) / 2);
                prop_assert!(next == limit || depth >= few || limit == 2);
            }
        }

        #[test]
        fn under_load_a_limit_comes_to_what_drains_within_the_target(
            target_ms in 100..2_000_u32,
            per_s in 20..5_000_u32,
            before in 10..20_000_u32,
        ) {
            let wait = Wait::new(target_ms, 10, 20_000).unwrap();
            let per_ms = f64::from(per_s) / 1_000.0;
            let step = |limit: u32, _| wait.next(Some(limit), per_ms, limit.into(), all);
            let settled = (0..40).fold(before, step);
            let drained = per_ms * f64::from(target_ms);
            let wanted = f64::from(places(drained)).clamp(10.0, 20_000.0);
            prop_assert!(f64::from(settled) == wanted);
            prop_assert!(wanted <= drained.max(10.0) && (drained < 76.0 || wanted > drained - 1.0));
        }
    }
}
