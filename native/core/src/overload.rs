//! How full is too full: levels, their thresholds, and the way back.
//!
//! Pure arithmetic on a depth, a limit and the level that was held. Integers throughout, so that a level
//! begins at exactly the depth that is 80, 90 or 100 % of the limit or the next above.

use crate::vocabulary::UNLIMITED;

/// A level says how full an owner is. Levels are ordered: a later one is worse.
///
/// ```
/// use erlmcp_core::overload::Level;
///
/// assert!(Level::Overload > Level::Warning);
/// assert_eq!(Level::ALL[Level::Critical.index()], Level::Critical);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The owner is below 80 % of its limit.
    #[default]
    Ok,
    /// The owner has reached 80 % of its limit.
    Warning,
    /// The owner has reached 90 % of its limit.
    Critical,
    /// The owner has reached its limit.
    Overload,
}

impl Level {
    /// These are all levels, the mildest first.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Warning, Self::Critical, Self::Overload];

    const fn percent(self) -> u64 {
        match self {
            Self::Ok => 0,
            Self::Warning => 80,
            Self::Critical => 90,
            Self::Overload => 100,
        }
    }

    /// Gives the level's place among [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    pub(crate) const fn from_index(index: u64) -> Self {
        match index {
            0 => Self::Ok,
            1 => Self::Warning,
            2 => Self::Critical,
            _ => Self::Overload,
        }
    }
}

/// A margin says how far below its threshold a level is left, as a share of the limit in millionths: 0 to 800,000.
///
/// ```
/// use erlmcp_core::overload::Margin;
///
/// let tenth = Margin::new(100_000).expect("it is below 0.8");
/// assert_eq!(tenth.millionths(), 100_000);
/// assert_eq!(Margin::new(800_001), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margin(u64);

impl Margin {
    const WHOLE: u64 = 1_000_000;

    /// With this margin a level is left right below its threshold.
    pub const ZERO: Self = Self(0);

    /// Makes a margin of so many millionths of the limit; there is `None` beyond 0.8.
    pub const fn new(millionths: u64) -> Option<Self> {
        if millionths <= 800_000 {
            Some(Self(millionths))
        } else {
            None
        }
    }

    /// Gives the margin in millionths of the limit.
    pub const fn millionths(self) -> u64 {
        self.0
    }
}

/// Gives the least depth at which a level begins: exact, and at least 1 but for [`Level::Ok`], since nobody is
/// overloaded by nothing.
///
/// ```
/// use erlmcp_core::overload::{Level, threshold};
///
/// // 80 % of 7 is 5.6: the next depth above.
/// assert_eq!(threshold(Level::Warning, 7), 6);
/// assert_eq!(threshold(Level::Overload, 0), 1);
/// ```
pub fn threshold(level: Level, limit: u64) -> u64 {
    Scale::Limit(limit).threshold(level)
}

/// The least depth above 0 that is so many per cent of the limit.
pub(crate) fn depth_at(percent: u64, limit: u64) -> u64 {
    share(limit, percent, 100, Rounding::Up).max(1)
}

/// Steps are the least depths of the three levels, in their order.
///
/// ```
/// use erlmcp_core::overload::{Level, Scale, Steps};
///
/// let steps = Steps::new([1_000, 5_000, 10_000]).expect("they do not fall");
/// assert_eq!(Scale::Steps(steps).status(5_000), Level::Critical);
/// assert_eq!(Steps::new([2, 1, 3]), None);
/// assert_eq!(Steps::new([0, 1, 2]), None);
/// assert_eq!(Steps::new([1, 2, 1 << 32]), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps([u64; 3]);

impl Steps {
    /// Makes steps of depths of which the first is at least 1, the last at most 2^32 - 1, and none is below the one
    /// before.
    pub fn new(depths: [u64; 3]) -> Option<Self> {
        let [least, _, most] = depths;
        let fit = depths.is_sorted() && 1 <= least && most <= u32::MAX.into();
        fit.then_some(Self(depths))
    }

    /// Gives the depths.
    pub const fn depths(self) -> [u64; 3] {
        self.0
    }
}

/// A scale says from which depths on a queue is at which level, and which depth is all of it. [`Steps`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// The levels begin at 80, 90 and 100 % of a limit. The margin is a share of the limit.
    Limit(u64),
    /// The levels begin at these depths, and the last is all. The margin of a level is a share of its own depth.
    Steps(Steps),
}

impl Scale {
    /// Gives the depth that is all of it.
    pub const fn limit(self) -> u64 {
        match self {
            Self::Limit(limit) => limit,
            Self::Steps(Steps([_, _, all])) => all,
        }
    }

    /// Says what a depth amounts to by itself, whatever level was held before.
    pub fn status(self, depth: u64) -> Level {
        Level::ALL
            .into_iter()
            .rev()
            .find(|level| depth >= self.threshold(*level))
            .unwrap_or_default()
    }

    fn threshold(self, level: Level) -> u64 {
        match (self, level) {
            (_, Level::Ok) => 0,
            (Self::Limit(limit), _) => depth_at(level.percent(), limit),
            (Self::Steps(Steps([warning, ..])), Level::Warning) => warning,
            (Self::Steps(Steps([_, critical, _])), Level::Critical) => critical,
            (Self::Steps(Steps([.., overload])), Level::Overload) => overload,
        }
    }

    /// The greatest depth at which a level is left again. Always below its threshold.
    fn leaves_at(self, level: Level, margin: Margin) -> u64 {
        let threshold = self.threshold(level);
        let (all, percent) = match self {
            Self::Limit(limit) => (limit, level.percent()),
            Self::Steps(_) => (threshold, 100),
        };
        let kept = percent
            .saturating_mul(Margin::WHOLE / 100)
            .saturating_sub(margin.millionths());
        let floor = share(all, kept, Margin::WHOLE, Rounding::Down);
        floor.min(threshold.saturating_sub(1))
    }

    pub(crate) fn level_after(self, depth: u64, held: Level, margin: Margin) -> Level {
        let status = self.status(depth);
        if status >= held {
            return status;
        }
        Level::ALL
            .into_iter()
            .rev()
            .find(|level| {
                *level <= held && (*level == Level::Ok || depth > self.leaves_at(*level, margin))
            })
            .unwrap_or_default()
    }
}

/// Says what a depth amounts to by itself, whatever level was held before.
///
/// ```
/// use erlmcp_core::overload::{Level, status};
///
/// assert_eq!(status(8, 10), Level::Warning);
/// assert_eq!(status(1, 1), Level::Overload);
/// ```
pub fn status(depth: u64, limit: u64) -> Level {
    Scale::Limit(limit).status(depth)
}

/// Says how much of the limit a depth is: 1.0 is full, and more is possible. Of a limit of 0 any depth is all, and of
/// none it is nothing.
///
/// ```
/// use erlmcp_core::overload::utilization;
///
/// assert_eq!(utilization(3, 4), 0.75);
/// assert_eq!(utilization(5, 4), 1.25);
/// assert_eq!((utilization(0, 0), utilization(9, 0)), (0.0, 1.0));
/// assert_eq!(utilization(9, erlmcp_core::UNLIMITED), 0.0);
/// ```
pub fn utilization(depth: u64, limit: u64) -> f64 {
    match (depth, limit) {
        (0, 0) => 0.0,
        (_, 0) => 1.0,
        (_, UNLIMITED) => 0.0,
        (depth, limit) => depth as f64 / limit as f64,
    }
}

/// Says which level follows on the one that is held: a worse one at once, a milder one only below the margin.
///
/// ```
/// use erlmcp_core::overload::{Level, Margin, level_after};
///
/// let tenth = Margin::new(100_000).expect("it is below 0.8");
/// assert_eq!(level_after(10, 10, Level::Ok, tenth), Level::Overload);
/// // Overload is left at 90 % of the limit, and critical is entered at 90 %.
/// assert_eq!(level_after(9, 10, Level::Overload, tenth), Level::Critical);
/// // Warning is left at 70 %.
/// assert_eq!(level_after(8, 10, Level::Warning, tenth), Level::Warning);
/// ```
pub fn level_after(depth: u64, limit: u64, held: Level, margin: Margin) -> Level {
    Scale::Limit(limit).level_after(depth, held, margin)
}

/// Between these nothing happens: a depth that reaches `rise_at`, or falls below `fall_below`, has crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// The least depth of the next worse level, or `u64::MAX`.
    pub(crate) rise_at: u64,
    /// One above the greatest depth at which the level is left, or 0.
    pub(crate) fall_below: u64,
}

impl Marks {
    /// Nothing ever crosses.
    pub(crate) const NONE: Self = Self {
        rise_at: u64::MAX,
        fall_below: 0,
    };

    /// The marks of an owner that holds a level.
    pub(crate) fn of(held: Level, scale: Scale, margin: Margin) -> Self {
        let rise_at = Level::ALL
            .into_iter()
            .filter(|level| *level > held)
            .map(|level| scale.threshold(level))
            .min()
            .unwrap_or(u64::MAX);
        let fall_below = if held == Level::Ok {
            0
        } else {
            scale.leaves_at(held, margin).saturating_add(1)
        };
        Self {
            rise_at,
            fall_below,
        }
    }

    /// Whether this depth is on the other side of one of them.
    pub(crate) fn crossed(self, depth: u64) -> bool {
        depth >= self.rise_at || depth < self.fall_below
    }
}

enum Rounding {
    Up,
    Down,
}

/// `limit × parts / whole`.
fn share(limit: u64, parts: u64, whole: u64, rounding: Rounding) -> u64 {
    let product = u128::from(limit).saturating_mul(u128::from(parts));
    let whole = u128::from(whole.max(1));
    let quotient = match rounding {
        Rounding::Up => product.div_ceil(whole),
        Rounding::Down => product.checked_div(whole).unwrap_or(0),
    };
    u64::try_from(quotient).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MARGIN: Margin = Margin(100_000);

    #[test]
    fn levels_begin_at_80_90_and_100_percent() {
        assert!((0..8).all(|depth| status(depth, 10) == Level::Ok));
        let levels = [8, 9, 10, 11].map(|depth| status(depth, 10));
        use Level::{Critical, Overload, Warning};
        assert_eq!(levels, [Warning, Critical, Overload, Overload]);
        // 80 % of 7 is 5.6: the next depth above.
        assert_eq!(threshold(Level::Warning, 7), 6);
        assert_eq!(
            threshold(Level::Warning, (1 << 59) - 1),
            461_168_601_842_738_790
        );
    }

    #[test]
    fn small_limits_skip_the_milder_levels() {
        assert_eq!(status(0, 1), Level::Ok);
        assert_eq!(status(1, 1), Level::Overload);
        assert_eq!(status(0, 0), Level::Ok);
        assert_eq!(status(1, 0), Level::Overload);
    }

    #[test]
    fn a_level_is_left_below_the_margin() {
        use Level::{Critical, Ok, Overload, Warning};
        let down = |depth, held| level_after(depth, 10, held, MARGIN);
        assert_eq!(down(10, Overload), Overload);
        assert_eq!(down(9, Overload), Critical);
        assert_eq!(down(8, Critical), Warning);
        assert_eq!(down(8, Warning), Warning);
        assert_eq!(down(7, Warning), Ok);
        assert_eq!(down(0, Overload), Ok);
        assert_eq!(level_after(0, 1, Overload, MARGIN), Ok);
    }

    #[test]
    fn without_a_margin_a_level_is_left_right_below_its_threshold() {
        let none = Margin(0);
        assert_eq!(level_after(8, 10, Level::Warning, none), Level::Warning);
        assert_eq!(level_after(7, 10, Level::Warning, none), Level::Ok);
    }

    #[test]
    fn without_a_limit_no_level_is_reached_and_each_is_left() {
        for depth in [0, 1, (1 << 59) - 1, 1 << 62] {
            for held in Level::ALL {
                assert_eq!(level_after(depth, UNLIMITED, held, MARGIN), Level::Ok);
            }
            assert_eq!(status(depth, UNLIMITED), Level::Ok);
            assert_eq!(utilization(depth, UNLIMITED), 0.0);
        }
    }

    proptest! {
        /// The contract's own words, in exact fractions.
        #[test]
        fn it_is_what_the_contract_says(
            depth in 0..3_000_u64, limit in prop_oneof![9 => 0..2_000_u64, 1 => Just(UNLIMITED)],
            held in 0..4_usize,
            margin in 0..=800_000_u64,
        ) {
            let held = Level::ALL.into_iter().nth(held).unwrap();
            let reached = |level: Level| depth > 0
                && u128::from(depth) * 100 >= u128::from(limit) * u128::from(level.percent());
            let left = |level: Level| {
                let kept = u128::from(level.percent()) * 10_000 - u128::from(margin);
                // depth <= floor(kept × limit) is depth <= kept × limit for a whole depth.
                u128::from(depth) * 1_000_000 <= kept * u128::from(limit) && !reached(level)
                    || depth < threshold(level, limit) && margin == 0
            };
            let mut expected = held;
            for level in Level::ALL {
                if level > expected && reached(level) {
                    expected = level;
                }
            }
            if expected == held {
                while expected != Level::Ok && left(expected) {
                    let milder = Level::ALL.into_iter().rev().find(|l| *l < expected);
                    expected = milder.unwrap();
                }
            }
            let margin = Margin(margin);
            prop_assert_eq!(level_after(depth, limit, held, margin), expected);
            let marks = Marks::of(held, Scale::Limit(limit), margin);
            prop_assert_eq!(marks.crossed(depth), expected != held);
        }

        #[test]
        fn steps_are_reached_and_left_each_by_its_own_margin(
            depth in 0..3_000_u64,
            mut steps in prop::array::uniform3(1..2_000_u64),
            held in 0..4_usize,
            margin in 0..=800_000_u64,
        ) {
            steps.sort_unstable();
            let held = Level::ALL.into_iter().nth(held).unwrap();
            let scale = Scale::Steps(Steps::new(steps).unwrap());
            let step = |level: Level| level.index().checked_sub(1).map_or(0, |step| *steps.get(step).unwrap());
            let stays = |level: Level| {
                let kept = u128::from(step(level)) * u128::from(1_000_000 - margin);
                depth >= step(level) || u128::from(depth) * 1_000_000 > kept && margin > 0
            };
            let reached = Level::ALL.into_iter().rev().find(|level| depth >= step(*level)).unwrap();
            let kept = Level::ALL.into_iter().rev().find(|level| *level <= held && stays(*level)).unwrap();
            // A whole depth that is more than what is kept, rounded down, is more than what is kept.
            let margin = Margin(margin);
            prop_assert_eq!(scale.level_after(depth, held, margin), reached.max(kept));
            prop_assert_eq!(Marks::of(held, scale, margin).crossed(depth), reached.max(kept) != held);
        }
    }
}
