//! The words that everything here is said in: who is counted, when, and what the runtime around has to offer.
//!
//! The ground floor: it knows no other file of this crate.

/// A role, as the host numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleId(pub u64);

/// An owner, as the host numbers them. A number is not used again while its owner is tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerId(pub u64);

/// A moment, on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant {
    /// Milliseconds on a clock that never goes back; its zero means nothing.
    pub monotonic_ms: u64,
    /// Milliseconds of system time.
    pub system_ms: u64,
}

/// The owner is dead and will never be alive again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dead;

/// The runtime around a table.
pub trait Runtime {
    /// The time.
    fn now(&self) -> Instant;

    /// Has the process that tells handlers look at [`Alerts::take`](crate::alerts::Alerts::take).
    fn wake(&self);
}

/// A runtime whose owners live and die.
pub trait Host: Runtime {
    /// Names a watch so that it can be called off.
    type Watch;

    /// Whether the owner can still hold anything.
    fn is_alive(&self, owner: OwnerId) -> bool;

    /// Has [`Limits::died`](crate::limits::Limits::died) called when the owner dies; `None` for an owner that
    /// cannot die. May be asked about an owner that died after it was last seen alive.
    fn watch(&self, owner: OwnerId) -> Result<Option<Self::Watch>, Dead>;

    /// Calls a watch off. It may have fired already.
    fn unwatch(&self, watch: Self::Watch);
}
