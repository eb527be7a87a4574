//! A role that is the library's own for a while, and nobody else's.

use crate::sync::{AtomicU64, Ordering};
use crate::vocabulary::RoleId;

/// No role has this word.
const NONE: u64 = u64::MAX;

/// Which role is reserved, if any is.
#[derive(Debug)]
pub(crate) struct Reservation(AtomicU64);

impl Reservation {
    pub(crate) fn none() -> Self {
        Self(AtomicU64::new(NONE))
    }

    /// Whether it is this role. Whoever opens an account asks after a fence: see `Owner::enter`.
    pub(crate) fn is_of(&self, RoleId(role): RoleId) -> bool {
        role != NONE && self.0.load(Ordering::Relaxed) == role
    }

    pub(crate) fn role(&self) -> Option<RoleId> {
        Some(RoleId(self.0.load(Ordering::Relaxed))).filter(|RoleId(role)| *role != NONE)
    }

    pub(crate) fn reserve(&self, RoleId(role): RoleId) {
        self.0.store(role, Ordering::Relaxed);
    }

    /// The role is anybody's again.
    pub(crate) fn release(&self) {
        self.0.store(NONE, Ordering::Relaxed);
    }
}
