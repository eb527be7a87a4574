//! How full is too full: levels, their thresholds, and the way back.
//!
//! Pure arithmetic on a depth, a limit and the level that was held. Integers throughout, so that a level
//! begins at exactly the depth that is 80, 90 or 100 % of the limit or the next above.

/// How full an owner is. Ordered: a later one is worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Below 80 %.
    #[default]
    Ok,
    /// From 80 % of the limit.
    Warning,
    /// From 90 %.
    Critical,
    /// From 100 %.
    Overload,
}

impl Level {
    /// All of them, the mildest first.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Warning, Self::Critical, Self::Overload];

    const fn percent(self) -> u64 {
        match self {
            Self::Ok => 0,
            Self::Warning => 80,
            Self::Critical => 90,
            Self::Overload => 100,
        }
    }

    /// The place among `ALL`.
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

/// How far below a threshold a level is left, as a share of the limit in millionths: 0 to 800,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margin(u64);

impl Margin {
    const WHOLE: u64 = 1_000_000;

    /// None.
    pub const ZERO: Self = Self(0);

    /// A margin of `millionths`; `None` beyond 0.8.
    pub const fn new(millionths: u64) -> Option<Self> {
        if millionths <= 800_000 {
            Some(Self(millionths))
        } else {
            None
        }
    }

    /// In millionths.
    pub const fn millionths(self) -> u64 {
        self.0
    }
}

/// The least depth at which a level begins. At least 1: nobody is overloaded by nothing.
pub fn threshold(level: Level, limit: u64) -> u64 {
    if level == Level::Ok {
        return 0;
    }
    depth_at(level.percent(), limit)
}

/// The least depth above 0 that is so many per cent of the limit.
pub(crate) fn depth_at(percent: u64, limit: u64) -> u64 {
    share(limit, percent, 100, Rounding::Up).max(1)
}

/// The greatest depth at which a level is left again. Always below its threshold.
fn leaves_at(level: Level, limit: u64, margin: Margin) -> u64 {
    let percent = level.percent().saturating_mul(Margin::WHOLE / 100);
    let kept = percent.saturating_sub(margin.millionths());
    let floor = share(limit, kept, Margin::WHOLE, Rounding::Down);
    floor.min(threshold(level, limit).saturating_sub(1))
}

/// What a depth amounts to by itself.
pub fn status(depth: u64, limit: u64) -> Level {
    Level::ALL
        .into_iter()
        .rev()
        .find(|level| depth >= threshold(*level, limit))
        .unwrap_or_default()
}

/// How much of the limit a depth is: 1.0 is full, and more is possible. Of a limit of 0, any depth is all.
pub fn utilization(depth: u64, limit: u64) -> f64 {
    match (depth, limit) {
        (0, 0) => 0.0,
        (_, 0) => 1.0,
        (depth, limit) => depth as f64 / limit as f64,
    }
}

/// The level now, given the one held until now: up at once, down only below the margin.
pub fn level_after(depth: u64, limit: u64, held: Level, margin: Margin) -> Level {
    let status = status(depth, limit);
    if status >= held {
        return status;
    }
    Level::ALL
        .into_iter()
        .rev()
        .find(|level| {
            *level <= held && (*level == Level::Ok || depth > leaves_at(*level, limit, margin))
        })
        .unwrap_or_default()
}

/// Between these nothing happens: a depth that reaches `rise_at`, or falls below `fall_below`, has crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The least depth of the next worse level, or `u64::MAX`.
    pub rise_at: u64,
    /// One above the greatest depth at which the level is left, or 0.
    pub fall_below: u64,
}

impl Marks {
    /// Nothing ever crosses.
    pub const NONE: Self = Self {
        rise_at: u64::MAX,
        fall_below: 0,
    };

    /// The marks of an owner that holds a level.
    pub fn of(held: Level, limit: u64, margin: Margin) -> Self {
        let rise_at = Level::ALL
            .into_iter()
            .filter(|level| *level > held)
            .map(|level| threshold(level, limit))
            .min()
            .unwrap_or(u64::MAX);
        let fall_below = if held == Level::Ok {
            0
        } else {
            leaves_at(held, limit, margin).saturating_add(1)
        };
        Self {
            rise_at,
            fall_below,
        }
    }

    /// Whether this depth is on the other side of one of them.
    pub fn crossed(self, depth: u64) -> bool {
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

#[cfg(test)]
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

    proptest! {
        /// The contract's own words, in exact fractions.
        #[test]
        fn it_is_what_the_contract_says(
            depth in 0..3_000_u64, limit in 0..2_000_u64, held in 0..4_usize,
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
            let marks = Marks::of(held, limit, margin);
            prop_assert_eq!(marks.crossed(depth), expected != held);
        }
    }
}
