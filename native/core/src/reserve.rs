//! What of a limit is kept for the higher classes.

use crate::request::Class;
use crate::setting::Word;
use crate::vocabulary::UNLIMITED;

/// A reserve says of each class which part of a limit it may not use, in percent. The top class may use all of it.
///
/// ```
/// use erlmcp_core::request::Class;
/// use erlmcp_core::reserve::Reserve;
///
/// let reserve = Reserve::new(0, 20, 50).expect("it rises downwards");
/// assert_eq!(reserve.bound(Class::Critical, 1_000), 1_000);
/// assert_eq!(reserve.bound(Class::Sheddable, 1_000), 500);
/// // Rounded down: no class passes its share.
/// assert_eq!(reserve.bound(Class::SheddablePlus, 9), 7);
/// assert_eq!(Reserve::new(0, 50, 20), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserve {
    /// As [`Word`] has it: a byte a class, at its index.
    percents: u64,
}

const ALL: u8 = 100;

impl Reserve {
    /// Every class may use all of it.
    pub const NONE: Self = Self { percents: 0 };

    /// Makes a reserve of what each class may not use, in percent; none if that is over 100, or less for a class than
    /// for one above it.
    pub fn new(critical: u8, sheddable_plus: u8, sheddable: u8) -> Option<Self> {
        let rises = critical <= sheddable_plus && sheddable_plus <= sheddable;
        (rises && sheddable <= ALL).then(|| Self {
            percents: u64::from_le_bytes([sheddable, sheddable_plus, critical, 0, 0, 0, 0, 0]),
        })
    }

    /// Gives the percentage that a class may not use.
    #[inline]
    pub fn percent(self, class: Class) -> u8 {
        let bytes = self.percents.to_le_bytes();
        bytes.get(class.index()).copied().unwrap_or(0)
    }

    /// Gives the depth from which a class is refused, of a limit. Of none nothing is reserved.
    #[inline]
    pub fn bound(self, class: Class, limit: u64) -> u64 {
        let percent = self.percent(class);
        if percent == 0 || limit >= UNLIMITED {
            return limit;
        }
        let share = u64::from(ALL.saturating_sub(percent));
        // The product of both may be too large.
        let (hundreds, rest) = (limit / 100, limit % 100);
        hundreds
            .saturating_mul(share)
            .saturating_add(rest.saturating_mul(share) / 100)
    }
}

impl Reserve {
    /// Gives how many of a limit the lowest class may use that may use any.
    pub fn least_bound(self, limit: u64) -> u64 {
        let bounds = Class::ALL.map(|class| self.bound(class, limit));
        bounds.into_iter().find(|bound| *bound > 0).unwrap_or(0)
    }
}

impl Word for Reserve {
    fn to_word(self) -> u64 {
        self.percents
    }

    fn from_word(percents: u64) -> Self {
        Self { percents }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bound_is_the_share_that_is_left_rounded_down(
            percents in [0..=100_u8, 0..=100, 0..=100],
            limit in prop_oneof![0..300_u64, any::<u64>()],
        ) {
            let mut rising = percents;
            rising.sort_unstable();
            let [critical, sheddable_plus, sheddable] = percents;
            let reserve = Reserve::new(critical, sheddable_plus, sheddable);
            prop_assert_eq!(reserve.is_some(), percents == rising);
            let [critical, sheddable_plus, sheddable] = rising;
            let reserve = Reserve::new(critical, sheddable_plus, sheddable).unwrap();
            let expected = [sheddable, sheddable_plus, critical, 0];
            let bounds = Class::ALL.map(|class| reserve.bound(class, limit));
            prop_assert!(bounds.is_sorted());
            for (class, percent) in Class::ALL.into_iter().zip(expected) {
                prop_assert_eq!(reserve.percent(class), percent);
                let exact = u128::from(limit) * u128::from(100 - percent) / 100;
                let unlimited = limit >= UNLIMITED;
                let expected = if unlimited { u128::from(limit) } else { exact };
                prop_assert_eq!(u128::from(reserve.bound(class, limit)), expected);
            }
            prop_assert_eq!(Reserve::from_word(reserve.to_word()), reserve);
        }
    }

    #[test]
    fn the_least_that_may_be_used_is_that_of_the_lowest_class_that_may_use_any() {
        let reserve = Reserve::new(0, 50, 90).unwrap();
        let least = [100, 9, 1, 0].map(|limit| reserve.least_bound(limit));
        assert_eq!(least, [10, 4, 1, 0]);
    }

    #[test]
    fn more_than_all_cannot_be_kept() {
        assert_eq!(Reserve::new(0, 0, 101), None);
        assert!(Reserve::new(100, 100, 100).is_some());
        assert_eq!(Reserve::NONE.bound(Class::Sheddable, 7), 7);
    }
}
