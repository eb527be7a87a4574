//! Up to which depth a role has room for whoever says nothing of itself, in one word.
//!
//! That depends on a limit, which may be the default role's, on the switch, on what is reserved, and on whether there
//! are caps: each of them can be set at any time, and is looked at only when one is. Where it does not say enough, as
//! for a limit in milliseconds, it is 0, and whoever asks looks at all of them.

use crate::limit::Limit;
use crate::request::{Class, Request};
use crate::role::Role;
use crate::sync::Ordering;

impl Request {
    /// Whether it says nothing of itself.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// The depth, in the lower half of the word; in the upper one is how often it was settled.
const BELOW: u64 = u32::MAX as u64;

impl Role {
    /// An owner of a smaller depth has room for a request that says nothing of itself, if the node can bear it. No
    /// owner ever has so many that they are not in half a word.
    #[inline(always)]
    pub(crate) fn plainly_below(&self) -> u64 {
        self.plain.load(Ordering::Relaxed) & BELOW
    }

    /// To be called after anything was set on which that depends, and after a role has come that may not know of it.
    ///
    /// Nobody waits for anybody. Of those who settle a role at once each begins again if another was quicker: it
    /// acquires then what that one knew, and releases it with what it knows itself. So the last one knows of all that
    /// was set before any of them has returned.
    pub(crate) fn settle(&self) {
        let mut word = self.plain.load(Ordering::Acquire);
        loop {
            let times = (word & !BELOW).wrapping_add(BELOW + 1);
            let new = times | self.all_below().min(BELOW);
            let settled =
                self.plain
                    .compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Acquire);
            match settled {
                Ok(_) => return,
                Err(seen) => word = seen,
            }
        }
    }

    /// What the word is to say, by all that is set.
    fn all_below(&self) -> u64 {
        match self.set_to() {
            _ if self.caps().is_some() => 0,
            Limit::Fixed(limit) => self.refuses_at(Class::default(), limit),
            Limit::Wait(_) if self.is_enforcing() => 0,
            Limit::Wait(_) => u64::MAX,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::Limits;
    use crate::reserve::Reserve;
    use crate::roles::Configuration;
    use crate::vocabulary::{Instant, OwnerId, RoleId, Runtime, UNLIMITED, immortals::Immortals};
    use crate::wait::Wait;

    const DEFAULT: RoleId = RoleId(0);

    #[derive(Clone, Debug)]
    enum Set {
        Limit(RoleId, Limit),
        Reserve(RoleId, Reserve),
        Caps(RoleId),
        /// Somebody comes who says that it has some.
        Bytes(RoleId),
        Enforcing(bool),
        Configure(Configuration),
        Clear,
    }

    fn any_reserve() -> impl Strategy<Value = Reserve> {
        (0..=100_u8).prop_map(|share| Reserve::new(share, share, share).unwrap())
    }

    fn any_set() -> impl Strategy<Value = Set> {
        let role = || (0..3_u64).prop_map(RoleId);
        let limit = || {
            prop_oneof![
                4 => (0..1_000_u64).prop_map(Limit::Fixed),
                1 => Just(Limit::Fixed(UNLIMITED)),
                1 => Just(Limit::Wait(Wait::new(500, 2, 1_000).unwrap())),
            ]
        };
        let configuration = (
            prop::collection::hash_map(role(), limit(), 0..3),
            prop::collection::hash_map(role(), any_reserve(), 0..3),
            any::<bool>(),
        );
        let configuration = configuration.prop_map(|(limits, reserves, enforcing)| Configuration {
            limits,
            reserves,
            enforcing,
        });
        prop_oneof![
            4 => (role(), limit()).prop_map(|(role, limit)| Set::Limit(role, limit)),
            2 => (role(), any_reserve()).prop_map(|(role, reserve)| Set::Reserve(role, reserve)),
            1 => role().prop_map(Set::Caps),
            1 => role().prop_map(Set::Bytes),
            2 => any::<bool>().prop_map(Set::Enforcing),
            2 => configuration.prop_map(Set::Configure),
            1 => Just(Set::Clear),
        ]
    }

    fn apply(table: &Limits<()>, set: Set, now: Instant) {
        let roles = table.roles();
        match set {
            Set::Limit(role, limit) => roles.set_limit(role, limit, now).unwrap(),
            Set::Reserve(role, reserve) => roles.set_reserve(role, reserve, now).unwrap(),
            Set::Caps(role) => roles.set_caps(role, 9, UNLIMITED, now).unwrap(),
            Set::Bytes(role) => {
                let request = Request {
                    bytes: 1,
                    ..Request::default()
                };
                let asked = table.try_enqueue_with(role, OwnerId(1), &request, &Immortals);
                assert!(asked.is_ok());
            }
            Set::Enforcing(enforcing) => roles.set_enforcing(enforcing),
            Set::Configure(configuration) => roles.configure(&configuration, now).unwrap(),
            Set::Clear => table.clear(&Immortals),
        }
    }

    proptest! {
        /// It says what all that is set says together, or nothing.
        #[test]
        fn the_word_agrees_with_all_that_is_set(sets in prop::collection::vec(any_set(), 0..30)) {
            let (table, now) = (Limits::<()>::new(DEFAULT, 7, Immortals.now()), Immortals.now());
            for set in sets {
                apply(&table, set, now);
                for id in table.roles().ids() {
                    let role = table.roles().get(id).unwrap();
                    let bound = role.refuses_at(Class::default(), role.limit());
                    let says_enough = role.caps().is_none()
                        && (matches!(role.set_to(), Limit::Fixed(_)) || bound == u64::MAX);
                    let below = if says_enough { bound.min(BELOW) } else { 0 };
                    prop_assert_eq!(role.plainly_below(), below);
                }
            }
        }
    }
}
