//! All there is to say of a role at one moment, each number under its one name.

use crate::caps::Caps;
use crate::fill::{BANDS, WAITS};
use crate::limit::Limit;
use crate::overload::{Level, utilization};
use crate::refusals::ByReason;
use crate::role::{Role, RoleStats};
use crate::timeline::{ByLevel, TimeAtLevel};
use crate::vocabulary::{Instant, UNLIMITED};

const MS_PER_S: f64 = 1_000.0;

/// A summary is all there is to say of a role at one moment. Each of its counters is read once, what leaves before what
/// enters.
///
/// ```
/// use erlmcp_core::limits::Limits;
/// use erlmcp_core::{Number, OwnerId, RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let table = Limits::new(RoleId(1), 10, Still.now());
/// table.enqueue(RoleId(1), OwnerId(7), &Still)?;
/// let summary = table.roles().summary(Still.now());
/// let (_, depth) = summary[0].numbers().find(|(name, _)| *name == "depth").expect("each role has a depth");
/// assert_eq!(depth, Number::Whole(1));
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RoleSummary {
    /// These are its counts and its limit.
    pub stats: RoleStats,
    /// What waits has so many bytes, as far as requests said so; none if there never were any, nor a cap.
    pub bytes: Option<u64>,
    /// Of places and of bytes, so many are in use by all owners together, mailboxes left out, and so many there may be;
    /// [`UNLIMITED`](crate::UNLIMITED) is no cap.
    pub caps: [(u64, u64); 2],
    /// For so many milliseconds somebody should wait at most, if that is how its limit was set.
    pub wait_target_ms: Option<u64>,
    /// These are its refusals by class and reason since the role exists; `reset_stats` leaves them.
    pub refused_by: ByReason,
    /// This is its alert level, the worst of its owners'; exact as of now.
    pub level: Level,
    /// So many owners hold each level; exact as of now.
    pub owners_by_level: ByLevel,
    /// It was so many milliseconds at each level; exact.
    pub ms_at_level: TimeAtLevel,
    /// So many alerts of each level were raised since the role exists; `reset_stats` leaves them.
    pub alerts: ByLevel,
    /// This was the highest depth of one owner at the last check.
    pub fullest: u64,
    /// That depth was this share of the limit.
    pub max_utilization: f64,
    /// So many owners were in each band of utilisation at the last check.
    pub owners_by_utilization: [u64; BANDS],
    /// For so many owners one waited that came at the last check for as long as each band says, of those of whom that
    /// was known.
    pub owners_by_wait: [u64; WAITS],
    /// The longest of these was so many milliseconds; 0 where none is known.
    pub max_wait_ms: u64,
    /// For so many milliseconds nobody had been taken out at the last check for an owner for whom somebody waited: the
    /// longest of all owners. 0 if there was none.
    pub max_stalled_ms: u64,
    /// That check was then, in milliseconds of system time, if there was one.
    pub as_of_ms: Option<u64>,
    /// So many dequeues a second took something, over the last ten seconds.
    pub drained_per_s: f64,
    /// So many requests a second were refused, over the last ten seconds.
    pub refused_per_s: f64,
    /// The last refusals began then, in milliseconds of system time, without a quiet second since.
    pub refusing_since_ms: Option<u64>,
    /// A caller that is refused by an owner just at its limit is told to wait so many milliseconds: 1 to 60000. It is
    /// an estimate.
    pub retry_after_ms: u64,
}

/// This is a number of a role, or some that belong together. [`RoleSummary`] has an example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// It is a count, or milliseconds.
    Whole(u64),
    /// It is a count or milliseconds, if there is any.
    Maybe(Option<u64>),
    /// It is a limit, or [`UNLIMITED`](crate::UNLIMITED).
    Limit(u64),
    /// It is a rate or a ratio.
    Real(f64),
    /// It is a level.
    Level(Level),
    /// There is one for each level.
    ByLevel(ByLevel),
    /// There is one for each level, of which the first says nothing: there are no alerts of it.
    ByAlertLevel(ByLevel),
    /// It is how many milliseconds there were at each level.
    AtLevel(TimeAtLevel),
    /// There is one for each class and reason.
    ByReason(ByReason),
    /// Of places and of bytes it is how many are in use, and the cap, or [`UNLIMITED`](crate::UNLIMITED).
    Caps([(u64, u64); 2]),
    /// There is one for each band of utilisation, see [`BANDS_FROM`](crate::fill::BANDS_FROM).
    ByUtilization([u64; BANDS]),
    /// There is one for each band of waiting, see [`WAITS_FROM_MS`](crate::fill::WAITS_FROM_MS).
    ByWait([u64; WAITS]),
}

impl RoleSummary {
    pub(crate) fn of(role: &Role, as_of_ms: Option<u64>, now: Instant) -> Self {
        let (stats, standing, fill) = (role.stats(), role.standing(now), role.fill());
        let holding = standing.owners_at.into_iter().fold(0, u64::saturating_add);
        let mut owners_by_level = standing.owners_at;
        if let Some(at_none) = owners_by_level.get_mut(Level::Ok.index()) {
            *at_none = stats.owners.saturating_sub(holding);
        }
        let bytes = role.caps().map(Caps::bytes);
        let (most, most_bytes) = role.caps().map_or((UNLIMITED, UNLIMITED), Caps::get);
        Self {
            stats,
            bytes,
            caps: [
                (role.tally().counted(), most),
                (bytes.unwrap_or(0), most_bytes),
            ],
            wait_target_ms: match role.set_to() {
                Limit::Fixed(_) => None,
                Limit::Wait(wait) => Some(wait.target_ms().into()),
            },
            refused_by: role.refusals(),
            level: standing.level,
            owners_by_level,
            ms_at_level: standing.time,
            alerts: role.alerts(),
            fullest: fill.fullest,
            max_utilization: match role.set_to() {
                Limit::Fixed(limit) => utilization(fill.fullest, limit),
                Limit::Wait(_) => fill.own_utilization,
            },
            owners_by_utilization: fill.owners,
            owners_by_wait: fill.waits,
            max_wait_ms: fill.longest_wait_ms,
            max_stalled_ms: fill.longest_stall_ms,
            as_of_ms,
            drained_per_s: role.drained_per_ms(now) * MS_PER_S,
            refused_per_s: role.refused_per_ms(now) * MS_PER_S,
            refusing_since_ms: role.refusing_since_ms(),
            retry_after_ms: role.retry_after_ms(stats.limit, stats.limit, None, now),
        }
    }

    /// Tells in how many milliseconds what waits would drain, at the rate of the last ten seconds and if nothing came;
    /// none while nothing drains. It is an estimate.
    pub fn backlog_ms(&self) -> Option<u64> {
        let seconds = match self.stats.depth {
            0 => 0.0,
            depth => depth as f64 / self.drained_per_s,
        };
        // Too many to be counted become the largest number there is.
        seconds
            .is_finite()
            .then_some((seconds * MS_PER_S).ceil() as u64)
    }

    /// Gives every number of the role with the name that it has from here to the page: the same names in the same order
    /// each time. A name ends in its unit.
    ///
    /// What each means stands in the table of `erlmcp_native_role`, on the Erlang side; a number that is new here is
    /// entered there, and nowhere else.
    pub fn numbers(&self) -> impl ExactSizeIterator<Item = (&'static str, Number)> + use<> {
        use Number::{
            AtLevel, ByAlertLevel, ByLevel, ByReason, ByUtilization, ByWait, Caps, Level, Limit,
            Maybe, Real, Whole,
        };
        let stats = &self.stats;
        [
            ("depth", Whole(stats.depth)),
            ("max_depth", Whole(stats.max_depth)),
            ("limit", Limit(stats.limit)),
            ("owners", Whole(stats.owners)),
            ("enqueued", Whole(stats.enqueued)),
            ("dequeued", Whole(stats.dequeued)),
            ("unmatched", Whole(stats.unmatched)),
            ("released", Whole(stats.released)),
            ("refused", Whole(stats.refused)),
            ("bytes", Maybe(self.bytes)),
            ("caps", Caps(self.caps)),
            ("wait_target_ms", Maybe(self.wait_target_ms)),
            ("refused_by", ByReason(self.refused_by)),
            ("last_refused_ms", Maybe(stats.last_refused_ms)),
            ("refusing_since_ms", Maybe(self.refusing_since_ms)),
            ("refused_per_s", Real(self.refused_per_s)),
            ("drained_per_s", Real(self.drained_per_s)),
            ("retry_after_ms", Whole(self.retry_after_ms)),
            ("level", Level(self.level)),
            ("owners_by_level", ByLevel(self.owners_by_level)),
            ("ms_at_level", AtLevel(self.ms_at_level)),
            ("alerts", ByAlertLevel(self.alerts)),
            ("fullest", Whole(self.fullest)),
            ("max_utilization", Real(self.max_utilization)),
            (
                "owners_by_utilization",
                ByUtilization(self.owners_by_utilization),
            ),
            ("owners_by_wait", ByWait(self.owners_by_wait)),
            ("max_wait_ms", Whole(self.max_wait_ms)),
            ("max_stalled_ms", Whole(self.max_stalled_ms)),
            ("as_of_ms", Maybe(self.as_of_ms)),
            ("backlog_ms", Maybe(self.backlog_ms())),
        ]
        .into_iter()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::role::Policy;
    use crate::sync::Arc;
    use crate::tally::Seat;
    use crate::vocabulary::RoleId;
    use crate::wait::Wait;

    #[test]
    fn caps_are_shown_with_what_is_in_use_of_them() {
        let at = Instant {
            monotonic_ms: 0,
            system_ms: 0,
        };
        let role = Role::new(RoleId(1), Arc::new(Policy::new(10)), at);
        let caps = || RoleSummary::of(&role, None, at).caps;
        role.tally().at(Seat::mine()).enqueue(1);
        // A mailbox is left out, and counts in the depth.
        role.tally().at(Seat::mine()).post(1);
        assert_eq!(RoleSummary::of(&role, None, at).stats.depth, 2);
        assert_eq!(caps(), [(1, UNLIMITED), (0, UNLIMITED)]);
        role.set_caps(20, 1_000);
        assert!(role.caps_for(7).is_some_and(|caps| caps.add_bytes(7, true)));
        assert_eq!(caps(), [(1, 20), (7, 1_000)]);
        role.tally().unmatched_dequeue();
        role.tally().at(Seat::mine()).dequeue();
        assert_eq!(caps(), [(0, 20), (7, 1_000)]);
    }

    #[test]
    fn a_target_is_shown_where_the_limit_was_set_as_one() {
        let at = Instant {
            monotonic_ms: 0,
            system_ms: 0,
        };
        let target_ms = |limit| {
            let role = Role::new(RoleId(1), Arc::new(Policy::new(10)), at);
            role.own_limit.set(Some(limit));
            RoleSummary::of(&role, None, at).wait_target_ms
        };
        assert_eq!(target_ms(Limit::Fixed(500)), None);
        assert_eq!(
            target_ms(Limit::Wait(Wait::new(500, 10, 100).unwrap())),
            Some(500)
        );
    }

    #[test]
    fn a_backlog_is_what_waits_over_what_drains() {
        let at = |monotonic_ms| Instant {
            monotonic_ms,
            system_ms: monotonic_ms,
        };
        let role = Role::new(RoleId(1), Arc::new(Policy::new(10)), at(0));
        let backlog_ms = |now_ms| RoleSummary::of(&role, None, at(now_ms)).backlog_ms();
        assert_eq!(backlog_ms(10), Some(0));
        (1..=5).for_each(|depth| role.tally().at(Seat::mine()).enqueue(depth));
        assert_eq!(backlog_ms(500), None);
        role.tally().at(Seat::mine()).dequeue();
        role.tally().at(Seat::mine()).dequeue();
        // Three wait, and two drained in a second.
        assert_eq!(backlog_ms(1_000), Some(1_500));
    }
}
