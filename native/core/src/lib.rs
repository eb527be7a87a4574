//! The half of erlmcp_native that decides. It knows no Erlang: a role and an owner are opaque
//! integers, and what it needs of the runtime around it, it asks a [`Host`].
//!
//! ```text
//! limits    the table: owners, every operation on them     survey    looking at all of them    footprint their memory
//!   roles     which roles there are, what was set by hand    owners    the concurrent table itself
//!   role      a role's limit and refusals     standing  its alert level     timeline  since when
//!             tally   its totals              rate      how fast they grow    retry   when to ask again
//!             fill    how full at a check     summary   all there is to say
//!   owner     an owner's accounts, its end    account   a depth, the level it amounts to
//!             gauge   one depth, one atomic word
//!   judge     whether and how to judge        overload  the arithmetic of levels
//!             alerts  the last ones, and what handlers have to be told
//! control   components, where messages go     latency   histograms           lanes     types of messages
//! aliases   whose priority aliases
//! sync      the standard atomics, or loom's in a model
//! ```
//!
//! Arrows point downwards. What must hold whatever the interleaving, and is checked with loom:
//!
//! - nobody is admitted at or above the limit ([`gauge`]: check and count are one step);
//! - an owner's end leaves nothing in its roles' totals (a count finds the gauge occupied, and is
//!   given up with it, or vacant, and does not happen; none can be opened after the end);
//! - whoever asks after a limit was set is held to it;
//! - no crossing of a threshold is missed, while others cross it back.
#![forbid(unsafe_code)]
#![cfg_attr(loom, allow(dead_code, reason = "the models leave the table out"))]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects
    )
)]

mod account;
pub mod alerts;
#[cfg(not(loom))]
pub mod aliases;
#[cfg(not(loom))]
pub mod control;
pub mod fill;
#[cfg(not(loom))]
mod footprint;
pub mod gauge;
pub mod judge;
#[cfg(not(loom))]
mod lanes;
#[cfg(not(loom))]
pub mod latency;
#[cfg(not(loom))]
pub mod limits;
pub mod overload;
mod owner;
#[cfg(not(loom))]
mod owners;
mod rate;
mod retry;
mod role;
#[cfg(not(loom))]
pub mod roles;
mod standing;
mod summary;
#[cfg(not(loom))]
pub mod survey;
mod sync;
mod tally;
mod timeline;

#[cfg(all(test, loom))]
mod models;

pub use role::RoleStats;
pub use standing::RoleStanding;
pub use summary::RoleSummary;
pub use timeline::{ByLevel, TimeAtLevel};

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

    /// Has the process that tells handlers look at [`Alerts::take`](alerts::Alerts::take).
    fn wake(&self);
}

/// A runtime whose owners live and die.
pub trait Host: Runtime {
    /// Names a watch so that it can be called off.
    type Watch;

    /// Whether the owner can still hold anything.
    fn is_alive(&self, owner: OwnerId) -> bool;

    /// Has [`Limits::died`](limits::Limits::died) called when the owner dies; `None` for an owner that
    /// cannot die. May be asked about an owner that died after it was last seen alive.
    fn watch(&self, owner: OwnerId) -> Result<Option<Self::Watch>, Dead>;

    /// Calls a watch off. It may have fired already.
    fn unwatch(&self, watch: Self::Watch);
}
