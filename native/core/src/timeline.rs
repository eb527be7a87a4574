//! How long a role was at each level: in all, in the last minute and in the last hour.
//!
//! Time is added up when the level changes and when somebody looks; nothing runs in between.

use crate::overload::Level;

/// There is one number for each [`Level`](crate::overload::Level), in the order of [`Level::ALL`].
pub type ByLevel = [u64; 4];

/// Sixty buckets of a second, and sixty of a minute.
const BUCKETS: usize = 60;
const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60_000;

/// The history of one role's level.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    level: Level,
    accounted_ms: u64,
    total: ByLevel,
    seconds: Ring,
    minutes: Ring,
}

/// This says how many milliseconds a role was at each level, up to the moment of the question. It is exact.
///
/// ```
/// use erlmcp_core::TimeAtLevel;
/// use erlmcp_core::overload::Level;
///
/// let time = TimeAtLevel { since_start_ms: [900, 80, 15, 5], ..TimeAtLevel::default() };
/// assert_eq!(time.since_start_ms[Level::Overload.index()], 5);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeAtLevel {
    /// How many milliseconds there were since the role exists.
    pub since_start_ms: ByLevel,
    /// How many there were in the last 60 buckets of one second, the one that runs included: in 59 to 60 s.
    pub last_minute_ms: ByLevel,
    /// How many there were in the last 60 buckets of one minute, the one that runs included: in 59 to 60 min.
    pub last_hour_ms: ByLevel,
}

impl Timeline {
    /// How many bytes the two rings take.
    pub(crate) const HEAP: usize = 2 * size_of::<[Bucket; BUCKETS]>();

    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            level: Level::Ok,
            accounted_ms: now_ms,
            total: ByLevel::default(),
            seconds: Ring::new(SECOND_MS),
            minutes: Ring::new(MINUTE_MS),
        }
    }

    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// The level is this one from now on.
    pub(crate) fn change(&mut self, level: Level, now_ms: u64) {
        self.account(now_ms);
        self.level = level;
    }

    pub(crate) fn read(&mut self, now_ms: u64) -> TimeAtLevel {
        self.account(now_ms);
        let now_ms = self.accounted_ms;
        TimeAtLevel {
            since_start_ms: self.total,
            last_minute_ms: self.seconds.sum(now_ms),
            last_hour_ms: self.minutes.sum(now_ms),
        }
    }

    fn account(&mut self, now_ms: u64) {
        // Two threads may bring their times in the wrong order.
        let (from_ms, to_ms) = (self.accounted_ms, now_ms.max(self.accounted_ms));
        add(&mut self.total, self.level, to_ms.saturating_sub(from_ms));
        self.seconds.add(self.level, from_ms, to_ms);
        self.minutes.add(self.level, from_ms, to_ms);
        self.accounted_ms = to_ms;
    }
}

/// Sixty buckets, each good for one stretch of time, found by that stretch's number.
#[derive(Clone, Debug)]
struct Ring {
    width_ms: u64,
    buckets: Box<[Bucket; BUCKETS]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    number: u64,
    ms: ByLevel,
}

impl Ring {
    fn new(width_ms: u64) -> Self {
        Self {
            width_ms,
            buckets: Box::new([Bucket::default(); BUCKETS]),
        }
    }

    fn number(&self, at_ms: u64) -> u64 {
        at_ms.checked_div(self.width_ms).unwrap_or(0)
    }

    fn add(&mut self, level: Level, from_ms: u64, to_ms: u64) {
        // What lies further back than the ring is long would be overwritten below.
        let oldest = self
            .number(to_ms)
            .saturating_add(1)
            .saturating_sub(BUCKETS as u64);
        let mut from_ms = from_ms.max(oldest.saturating_mul(self.width_ms));
        while from_ms < to_ms {
            let number = self.number(from_ms);
            let end_ms = number.saturating_add(1).saturating_mul(self.width_ms);
            let until_ms = end_ms.min(to_ms);
            let place = number as usize % BUCKETS;
            if let Some(bucket) = self.buckets.get_mut(place) {
                if bucket.number != number {
                    *bucket = Bucket {
                        number,
                        ms: ByLevel::default(),
                    };
                }
                add(&mut bucket.ms, level, until_ms.saturating_sub(from_ms));
            }
            from_ms = until_ms;
        }
    }

    fn sum(&self, now_ms: u64) -> ByLevel {
        let newest = self.number(now_ms);
        let mut sum = ByLevel::default();
        for bucket in self.buckets.iter() {
            if newest.saturating_sub(bucket.number) < BUCKETS as u64 {
                for (sum, ms) in sum.iter_mut().zip(bucket.ms) {
                    *sum = sum.saturating_add(ms);
                }
            }
        }
        sum
    }
}

fn add(by_level: &mut ByLevel, level: Level, ms: u64) {
    if let Some(sum) = by_level.get_mut(level.index()) {
        *sum = sum.saturating_add(ms);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn time_goes_to_the_level_that_was_held() {
        let mut timeline = Timeline::new(500);
        timeline.change(Level::Overload, 1_700);
        timeline.change(Level::Ok, 4_000);
        let read = timeline.read(5_000);
        assert_eq!(read.since_start_ms, [2_200, 0, 0, 2_300]);
        assert_eq!(read.last_minute_ms, [2_200, 0, 0, 2_300]);
        assert_eq!(read.last_hour_ms, [2_200, 0, 0, 2_300]);
    }

    #[test]
    fn what_is_too_long_ago_leaves_the_windows_only() {
        let mut timeline = Timeline::new(0);
        timeline.change(Level::Warning, 0);
        timeline.change(Level::Ok, 10_000);
        let day_ms = 86_400_000;
        let read = timeline.read(day_ms);
        assert_eq!(read.since_start_ms, [day_ms - 10_000, 10_000, 0, 0]);
        assert_eq!(read.last_minute_ms, [59_000, 0, 0, 0]);
        assert_eq!(read.last_hour_ms, [59 * 60_000, 0, 0, 0]);
    }

    proptest! {
        /// Against a list of every millisecond.
        #[test]
        fn windows_hold_just_their_stretch_of_time(
            changes in prop::collection::vec((0..4_usize, 0..30_000_u64), 1..40)
        ) {
            let mut timeline = Timeline::new(0);
            let mut by_ms = Vec::new();
            let mut level = Level::Ok;
            for (next, wait_ms) in changes {
                by_ms.extend(std::iter::repeat_n(level, wait_ms as usize));
                level = Level::ALL.into_iter().nth(next).unwrap();
                timeline.change(level, by_ms.len() as u64);
            }
            let now_ms = by_ms.len() as u64;
            let read = timeline.read(now_ms);
            for (width_ms, measured) in [
                (1_000, read.last_minute_ms),
                (60_000, read.last_hour_ms),
                (u64::MAX / 60, read.since_start_ms),
            ] {
                let from_ms = (now_ms / width_ms).saturating_sub(59) * width_ms;
                let mut expected = ByLevel::default();
                for level in by_ms.iter().skip(from_ms as usize) {
                    add(&mut expected, *level, 1);
                }
                prop_assert_eq!(measured, expected);
            }
        }
    }
}
