//! What a role's limit is: a number, or what a number follows.

use crate::setting::Word;
use crate::vocabulary::UNLIMITED;
use crate::wait::Wait;

/// A limit is how much may wait for an owner.
///
/// ```
/// use erlmcp_core::limit::Limit;
/// use erlmcp_core::limits::Limits;
/// use erlmcp_core::wait::Wait;
/// use erlmcp_core::{RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (role, wait) = (RoleId(1), Wait::new(500, 10, 1_000).expect("these are in their ranges"));
/// let table = Limits::<()>::new(role, 20, Still.now());
/// table.roles().set_limit(role, wait, Still.now())?;
/// assert_eq!(table.roles().set_to(role), Limit::Wait(wait));
/// // Who was not measured has the most.
/// assert_eq!(table.roles().limit(role), 1_000);
/// # Ok::<(), erlmcp_core::roles::TooManyRoles>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// It is so many, or [`UNLIMITED`]. Others are less than [`Limit::END`].
    Fixed(u64),
    /// It is so many that nobody waits for longer than that.
    Wait(Wait),
}

impl Limit {
    /// The number of a fixed limit is less.
    pub const END: u64 = 1 << 59;

    /// Gives the limit of an owner of whom nothing was measured.
    #[inline]
    pub const fn number(self) -> u64 {
        match self {
            Self::Fixed(limit) => limit,
            Self::Wait(wait) => wait.max() as u64,
        }
    }
}

impl From<u64> for Limit {
    fn from(limit: u64) -> Self {
        Self::Fixed(limit)
    }
}

impl From<Wait> for Limit {
    fn from(wait: Wait) -> Self {
        Self::Wait(wait)
    }
}

/// Of the highest two bits, those of a wait are 1 and 0. Below them are the target, `min` and `max`.
const WAIT: u64 = 0b10;
const KIND_AT: u32 = 62;
const TARGET_AT: u32 = 42;
const MIN_AT: u32 = 22;

impl Word for Limit {
    fn to_word(self) -> u64 {
        match self {
            Self::Fixed(limit) => limit,
            Self::Wait(wait) => {
                WAIT << KIND_AT
                    | u64::from(wait.target_ms()) << TARGET_AT
                    | u64::from(wait.min()) << MIN_AT
                    | u64::from(wait.max())
            }
        }
    }

    #[inline]
    fn from_word(word: u64) -> Self {
        if word >> KIND_AT != WAIT {
            return Self::Fixed(word);
        }
        let bits = |from: u32, to: u32| {
            let above = u64::MAX << to.wrapping_sub(from);
            ((word >> from) & !above) as u32
        };
        let (target_ms, min, max) = (
            bits(TARGET_AT, KIND_AT),
            bits(MIN_AT, TARGET_AT),
            bits(0, MIN_AT),
        );
        // None that is not one was put there.
        Wait::new(target_ms, min, max).map_or(Self::Fixed(UNLIMITED), Self::Wait)
    }
}

impl Word for Option<Limit> {
    fn to_word(self) -> u64 {
        self.map_or(u64::MAX, Word::to_word)
    }

    #[inline]
    fn from_word(word: u64) -> Self {
        (word != u64::MAX).then(|| Limit::from_word(word))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_limit() -> impl Strategy<Value = Limit> {
        let wait = (
            1..=Wait::MAX_TARGET_MS,
            1..=Wait::MAX_MIN,
            0..=Wait::MAX_MAX,
        );
        prop_oneof![
            (0..Limit::END).prop_map(Limit::Fixed),
            Just(Limit::Fixed(UNLIMITED)),
            wait.prop_filter_map("min is at most max", |(target_ms, min, max)| {
                Wait::new(target_ms, min, max).map(Limit::Wait)
            }),
            Just(Limit::Wait(
                Wait::new(Wait::MAX_TARGET_MS, Wait::MAX_MIN, Wait::MAX_MAX).unwrap()
            )),
        ]
    }

    proptest! {
        #[test]
        fn a_limit_is_a_word_and_none_is_another(limit in any_limit()) {
            prop_assert_eq!(Limit::from_word(limit.to_word()), limit);
            prop_assert_eq!(Option::from_word(Some(limit).to_word()), Some(limit));
            prop_assert_ne!(limit.to_word(), None::<Limit>.to_word());
        }
    }

    #[test]
    fn no_limit_is_none() {
        assert_eq!(Option::<Limit>::from_word(None::<Limit>.to_word()), None);
    }
}
