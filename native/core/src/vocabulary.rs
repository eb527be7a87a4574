//! The words that everything here is said in: who is counted, when, and what the runtime around has to offer.
//!
//! The ground floor: it knows no other file of this crate.

/// A role is a kind of work with a limit of its own; this is the number by which the host knows it.
///
/// ```
/// use erlmcp_core::RoleId;
///
/// assert!(RoleId(1) < RoleId(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleId(pub u64);

/// An owner is whom requests wait for; this is the number by which the host knows it.
///
/// The host must not use a number again while its owner is tracked.
///
/// ```
/// use erlmcp_core::OwnerId;
///
/// assert_ne!(OwnerId(1), OwnerId(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerId(pub u64);

/// A limit of so many is none: nothing is refused, no depth is much of it, and no alert level is reached.
///
/// It is above every depth that there can be, and not `u64::MAX`, which in [`Setting`](crate::setting::Setting) stands
/// for a role without a limit of its own.
///
/// ```
/// use erlmcp_core::limits::{Limits, Verdict};
/// use erlmcp_core::{OwnerId, RoleId, Runtime, UNLIMITED};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let table = Limits::new(RoleId(1), UNLIMITED, Still.now());
/// assert_eq!(table.try_enqueue(RoleId(1), OwnerId(7), &Still)?, Verdict::Granted);
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
pub const UNLIMITED: u64 = u64::MAX - 1;

/// An instant is a moment, read on two clocks: one to measure with, one to tell people.
///
/// ```
/// use erlmcp_core::Instant;
///
/// let noon = Instant { monotonic_ms: 5_000, system_ms: 1_700_000_000_000 };
/// let later = Instant { monotonic_ms: 5_250, ..noon };
/// assert_eq!(later.monotonic_ms - noon.monotonic_ms, 250);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant {
    /// How many milliseconds a clock shows that never goes back; its zero means nothing.
    pub monotonic_ms: u64,
    /// How many milliseconds of system time have passed since 1970; this clock may be set.
    pub system_ms: u64,
}

/// This is why an owner is not watched: it is dead and will never be alive again.
///
/// ```
/// use erlmcp_core::Dead;
///
/// let watched: Result<(), Dead> = Err(Dead);
/// assert!(watched.is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dead;

/// A runtime is what surrounds a table: it has clocks and processes. See [`Host`] for an example.
pub trait Runtime {
    /// Tells the time, on both clocks.
    fn now(&self) -> Instant;

    /// Tells the time in nanoseconds, on a clock that never goes back; its zero means nothing. It is asked seldom, but
    /// on the way of a request. Without one of its own, it is that of [`now`](Self::now), as far as this counts.
    fn ticks_ns(&self) -> u64 {
        self.now().monotonic_ms.wrapping_mul(1_000_000)
    }

    /// Has the process that tells handlers look at [`Alerts::take`](crate::alerts::Alerts::take).
    fn wake(&self);
}

/// A host is a runtime whose owners live and die.
///
/// One that is good enough for examples, and is used in those of this crate:
///
/// ```
#[doc = include_str!("../tests/common/still.rs")]
///
/// assert!(Still.is_alive(OwnerId(7)));
/// ```
pub trait Host: Runtime {
    /// This names a watch, so that it can be called off.
    type Watch;

    /// Tells whether the owner can still hold anything.
    fn is_alive(&self, owner: OwnerId) -> bool;

    /// Has [`Limits::died`](crate::limits::Limits::died) called when the owner dies; `None` for an owner that
    /// cannot die. May be asked about an owner that died after it was last seen alive.
    fn watch(&self, owner: OwnerId) -> Result<Option<Self::Watch>, Dead>;

    /// Calls a watch off. It may have fired already.
    fn unwatch(&self, watch: Self::Watch);
}

/// A host for unit tests: nobody dies, and it is always the same moment.
#[cfg(all(test, not(loom)))]
pub(crate) mod immortals {
    use super::{Dead, Host, Instant, OwnerId, Runtime};

    pub(crate) struct Immortals;

    impl Runtime for Immortals {
        fn now(&self) -> Instant {
            Instant {
                monotonic_ms: 0,
                system_ms: 0,
            }
        }
        fn wake(&self) {}
    }

    impl Host for Immortals {
        type Watch = ();
        fn is_alive(&self, _: OwnerId) -> bool {
            true
        }
        fn watch(&self, _: OwnerId) -> Result<Option<()>, Dead> {
            Ok(Some(()))
        }
        fn unwatch(&self, (): ()) {}
    }
}
