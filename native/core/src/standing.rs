//! The alert level of a role: its owners' worst, and since when.

use crate::overload::Level;
use crate::timeline::{ByLevel, TimeAtLevel, Timeline};
use crate::vocabulary::Instant;

/// The role's alert level, which is its owners' worst.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Owners that hold a level; those at none are not counted here.
    owners_at: ByLevel,
    timeline: Timeline,
}

/// A role's alert level as a reader sees it, exact as of now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoleStanding {
    /// The role's level.
    pub(crate) level: Level,
    /// Owners that hold each level; the rest of the role's owners hold none.
    pub(crate) owners_at: ByLevel,
    /// How long the role was at each level.
    pub(crate) time: TimeAtLevel,
}

impl Standing {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            owners_at: [0; 4],
            timeline: Timeline::new(now.monotonic_ms),
        }
    }

    /// The worst level that an owner holds.
    pub(crate) fn level(&self) -> Level {
        Level::ALL
            .into_iter()
            .rev()
            .find(|level| {
                self.owners_at
                    .get(level.index())
                    .is_some_and(|owners| *owners > 0)
            })
            .unwrap_or_default()
    }

    /// An owner changes its level.
    pub(crate) fn shift(&mut self, from: Level, to: Level, now: Instant) {
        if let Some(left) = self.owners_at.get_mut(from.index()) {
            *left = left.saturating_sub(1);
        }
        if let Some(entered) = self.owners_at.get_mut(to.index()) {
            *entered = entered.saturating_add(u64::from(to != Level::Ok));
        }
        let level = self.level();
        if level != self.timeline.level() {
            self.timeline.change(level, now.monotonic_ms);
        }
    }

    pub(crate) fn read(&mut self, now: Instant) -> RoleStanding {
        RoleStanding {
            level: self.level(),
            owners_at: self.owners_at,
            time: self.timeline.read(now.monotonic_ms),
        }
    }
}
