//! Up to which depth a role has room for whoever says nothing of itself, in one word.
//!
//! That depends on a limit, which may be the default role's, on the switch, on what is reserved, and on whether there
//! are caps: each of them can be set at any time, and is looked at only when one is. Where it does not say enough, as
//! for a limit in milliseconds, it is 0, and whoever asks looks at all of them.

use crate::limit::Limit;
use crate::request::{Class, Request};
use crate::role::{Policy, Role};
use crate::sync::Ordering;

impl Request {
    /// Whether it says nothing of itself.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

impl Role {
    /// An owner of a smaller depth has room for a request that says nothing of itself, if the node can bear it.
    #[inline(always)]
    pub(crate) fn plainly_below(&self) -> u64 {
        self.plain.load(Ordering::Relaxed)
    }

    /// To be called after anything was set on which that depends.
    pub(crate) fn settle(&self) {
        self.policy().settle([self]);
    }
}

impl Policy {
    /// To be called after anything was set on which that depends, and after a role has come that may not know of it.
    ///
    /// One at a time: so the last one knows of all that was set before the others, and either finds a new role here,
    /// or the new role finds what was set.
    pub(crate) fn settle<'a>(&self, roles: impl IntoIterator<Item = &'a Role>) {
        let _one_at_a_time = self.settling.lock();
        for role in roles {
            let below = match role.set_to() {
                _ if role.caps().is_some() => 0,
                Limit::Fixed(limit) => role.refuses_at(Class::default(), limit),
                Limit::Wait(_) if role.is_enforcing() => 0,
                Limit::Wait(_) => u64::MAX,
            };
            role.plain.store(below, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::Limits;
    use crate::reserve::Reserve;
    use crate::vocabulary::{Instant, RoleId, Runtime, UNLIMITED, immortals::Immortals};
    use crate::wait::Wait;

    const DEFAULT: RoleId = RoleId(0);

    #[derive(Clone, Debug)]
    enum Set {
        Limit(RoleId, Limit),
        Reserve(RoleId, u8),
        Caps(RoleId),
        Enforcing(bool),
        Clear,
    }

    fn any_set() -> impl Strategy<Value = Set> {
        let role = || (0..3_u64).prop_map(RoleId);
        let limit = prop_oneof![
            4 => (0..1_000_u64).prop_map(Limit::Fixed),
            1 => Just(Limit::Fixed(UNLIMITED)),
            1 => Just(Limit::Wait(Wait::new(500, 2, 1_000).unwrap())),
        ];
        prop_oneof![
            4 => (role(), limit).prop_map(|(role, limit)| Set::Limit(role, limit)),
            2 => (role(), 0..=100_u8).prop_map(|(role, share)| Set::Reserve(role, share)),
            1 => role().prop_map(Set::Caps),
            2 => any::<bool>().prop_map(Set::Enforcing),
            1 => Just(Set::Clear),
        ]
    }

    fn apply(table: &Limits<()>, set: Set, now: Instant) {
        let roles = table.roles();
        match set {
            Set::Limit(role, limit) => roles.set_limit(role, limit, now).unwrap(),
            Set::Reserve(role, share) => {
                let reserve = Reserve::new(share, share, share).unwrap();
                roles.set_reserve(role, reserve, now).unwrap();
            }
            Set::Caps(role) => roles.set_caps(role, 9, UNLIMITED, now).unwrap(),
            Set::Enforcing(enforcing) => roles.set_enforcing(enforcing),
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
                    prop_assert_eq!(role.plainly_below(), if says_enough { bound } else { 0 });
                }
            }
        }
    }
}
