//! All there is to say about a role at one moment.

use crate::fill::Fill;
use crate::role::{Role, RoleStats};
use crate::standing::RoleStanding;
use crate::timeline::ByLevel;
use crate::vocabulary::Instant;

const MS_PER_S: f64 = 1_000.0;

/// A role in a summary. Each of its counters is read once, what leaves before what enters.
#[derive(Clone, Copy, Debug)]
pub struct RoleSummary {
    /// Its counts and its limit.
    pub stats: RoleStats,
    /// Its alert level, its owners' levels, and how long it held each.
    pub standing: RoleStanding,
    /// Alerts raised of each level, since the role exists; `reset_stats` leaves them.
    pub alerts: ByLevel,
    /// How full its owners were at the last check.
    pub fill: Fill,
    /// System time of that check, in milliseconds.
    pub as_of_ms: Option<u64>,
    /// Dequeues a second that took something, over the last ten seconds.
    pub drained_per_s: f64,
    /// Refusals a second, over the last ten seconds.
    pub refused_per_s: f64,
    /// When the last refusals began without a quiet second since, in milliseconds of system time.
    pub refusing_since_ms: Option<u64>,
    /// What a caller would be told that is refused by an owner just at its limit, in milliseconds.
    pub retry_after_ms: u64,
}

impl RoleSummary {
    pub(crate) fn of(role: &Role, as_of_ms: Option<u64>, now: Instant) -> Self {
        let stats = role.stats();
        Self {
            stats,
            standing: role.standing(now),
            alerts: role.alerts(),
            fill: role.fill(),
            as_of_ms,
            drained_per_s: role.drained_per_ms(now) * MS_PER_S,
            refused_per_s: role.refused_per_ms(now) * MS_PER_S,
            refusing_since_ms: role.refusing_since_ms(),
            retry_after_ms: role.retry_after_ms(stats.limit, now),
        }
    }
}
