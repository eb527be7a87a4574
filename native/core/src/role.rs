//! What a role counts, and what it allows.

use once_cell::race::OnceBox;

use crate::caps::Caps;
use crate::fill::Fill;
use crate::limit::Limit;
use crate::marker::{Pace, tick};
use crate::overload::{Level, Scale};
use crate::pressure::Pressure;
use crate::rate::Rate;
use crate::reason::Reason;
use crate::refusals::{ByReason, Refusals};
use crate::request::{Class, Request};
use crate::reserve::Reserve;
use crate::reserved::Reservation;
use crate::retry::{self, Outlook};
use crate::setting::Setting;
use crate::standing::{RoleStanding, Standing};
use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering};
use crate::tally::{Seat, Tally, Totals};
use crate::timeline::{ByLevel, Timeline};
use crate::vocabulary::{Instant, RoleId, Runtime, UNLIMITED};
use crate::watch::Watch;

const NEVER: u64 = u64::MAX;
/// A refusal after this many milliseconds without one is announced.
const QUIET_MS: u64 = 1_000;

/// What all roles of a table share: the limit of those without one, the switch, which of them is the watch's, and what
/// the node can bear.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) default_limit: Setting<Limit>,
    pub(crate) enforcing: Setting<bool>,
    pub(crate) watch: Watch,
    pub(crate) pressure: Pressure,
    /// The role of whoever guards the node.
    pub(crate) guarded: Reservation,
    // Here and not in the roles, which may be forgotten and made anew while a permit is out.
    tenures: AtomicU64,
    /// About now, see [`Role::tick`].
    tick: AtomicU32,
}

impl Policy {
    pub(crate) fn new(default_limit: u64) -> Self {
        Self {
            default_limit: Setting::new(Limit::Fixed(default_limit)),
            enforcing: Setting::new(true),
            watch: Watch::new(),
            pressure: Pressure::new(),
            guarded: Reservation::none(),
            tenures: AtomicU64::new(0),
            tick: AtomicU32::new(0),
        }
    }

    /// It is now.
    pub(crate) fn passes(&self, now_ns: u64) {
        let tick = tick(now_ns);
        // Of those that come at once, most change nothing.
        if self.tick.load(Ordering::Relaxed) != tick {
            self.tick.store(tick, Ordering::Relaxed);
        }
    }

    /// By what the owners of a role are judged that have this limit.
    pub(crate) fn scale(&self, role: RoleId, limit: u64) -> Scale {
        // Nobody is in the role of whoever guards the node.
        let limit = if self.guarded.is_of(role) {
            UNLIMITED
        } else {
            limit
        };
        self.watch
            .steps_of(role)
            .map_or(Scale::Limit(limit), Scale::Steps)
    }

    /// Whether the node has to do without requests of this class.
    #[inline]
    pub(crate) fn node_refuses(&self, class: Class, runtime: &impl Runtime) -> bool {
        let now_ms = || runtime.now().monotonic_ms;
        self.pressure.refuses(class.below(), now_ms) && self.enforcing.get()
    }

    /// Why a follower of the default of whom nothing is known is refused such a request now, if it is.
    pub(crate) fn refuses(&self, request: &Request) -> Option<Reason> {
        if !self.enforcing.get() {
            None
        } else if self.default_limit.get().number() == 0 {
            Some(Reason::Full)
        } else {
            request.is_over().then_some(Reason::Deadline)
        }
    }
}

/// One role: its limit, its totals and the rhythm of its refusals.
#[derive(Debug)]
pub(crate) struct Role {
    id: RoleId,
    policy: Arc<Policy>,
    /// Without one it follows the default role's.
    pub(crate) own_limit: Setting<Option<Limit>>,
    pub(crate) reserve: Setting<Reserve>,
    /// See `plain`: nothing is known yet.
    pub(crate) plain: AtomicU64,
    owners: AtomicU64,
    last_refusal_system_ms: AtomicU64,
    last_refusal_ms: AtomicU64,
    refusing_since_ms: AtomicU64,
    reported_refusals: AtomicU64,
    drained: Rate,
    refused: Rate,
    refusals: Refusals,
    /// Made when they are first set, or bytes are first counted.
    caps: OnceBox<Caps>,
    baseline: Mutex<Totals>,
    /// Before it is, the baseline is zero, and reading it takes no lock.
    was_reset: AtomicBool,
    tally: Tally,
    standing: Mutex<Standing>,
    alerts: [AtomicU64; 4],
    fill: Mutex<Fill>,
    /// What was marked before measures nothing, see [`reset_stats`](Self::reset_stats).
    valid_from_ns: AtomicU64,
    /// It is no role of its table any more.
    retired: AtomicBool,
}

/// These are the counts of a role, as a reader sees them.
///
/// Each number is exact, but they are read one after the other: while others count, they may be a
/// few operations apart. At rest
/// `enqueued = dequeued - unmatched + released + depth`, as far
/// as they were counted since the last reset.
///
/// ```
/// use erlmcp_core::limits::Limits;
/// use erlmcp_core::{OwnerId, RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let table = Limits::new(RoleId(1), 10, Still.now());
/// table.enqueue(RoleId(1), OwnerId(7), &Still)?;
/// table.dequeue(RoleId(1), OwnerId(7), &Still)?;
/// table.dequeue(RoleId(1), OwnerId(7), &Still)?;
/// let stats = table.roles().stats(RoleId(1)).expect("the first role is always there");
/// assert_eq!((stats.enqueued, stats.dequeued, stats.unmatched), (1, 2, 1));
/// assert_eq!(stats.enqueued, stats.dequeued - stats.unmatched + stats.released + stats.depth);
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleStats {
    /// This is the role that the numbers are of.
    pub role: RoleId,
    /// So many requests wait, over all owners of the role.
    pub depth: u64,
    /// This is the highest depth that one owner reached since the last reset.
    pub max_depth: u64,
    /// So many enqueues were recorded.
    pub enqueued: u64,
    /// So many dequeues were recorded, unmatched ones included.
    pub dequeued: u64,
    /// So many dequeues found a depth of zero, or no owner.
    pub unmatched: u64,
    /// So much depth was given up by owners that died or were forgotten.
    pub released: u64,
    /// So many requests were refused.
    pub refused: u64,
    /// The last refusal was then, in milliseconds of system time.
    pub last_refused_ms: Option<u64>,
    /// So many owners have a depth in this role now, 0 included.
    pub owners: u64,
    /// This limit is in force now, for each owner; [`UNLIMITED`] is none.
    pub limit: u64,
}

impl Role {
    pub(crate) fn new(id: RoleId, policy: Arc<Policy>, now: Instant) -> Self {
        Self {
            id,
            policy,
            own_limit: Setting::new(None),
            reserve: Setting::new(Reserve::NONE),
            plain: AtomicU64::new(0),
            owners: AtomicU64::new(0),
            last_refusal_system_ms: AtomicU64::new(NEVER),
            last_refusal_ms: AtomicU64::new(NEVER),
            refusing_since_ms: AtomicU64::new(NEVER),
            reported_refusals: AtomicU64::new(0),
            drained: Rate::new(now.monotonic_ms),
            refused: Rate::new(now.monotonic_ms),
            refusals: Refusals::new(),
            caps: OnceBox::new(),
            baseline: Mutex::new(Totals::default()),
            was_reset: AtomicBool::new(false),
            tally: Tally::new(),
            standing: Mutex::new(Standing::new(now)),
            alerts: Default::default(),
            fill: Mutex::new(Fill::default()),
            valid_from_ns: AtomicU64::new(0),
            retired: AtomicBool::new(false),
        }
    }

    /// The role has been taken out of its table.
    pub(crate) fn retire(&self) {
        // Pairs with `is_retired`: whoever knows does not find it in the table any more.
        self.retired.store(true, Ordering::Release);
    }

    /// Whether the role has been taken out of its table.
    pub(crate) fn is_retired(&self) -> bool {
        // Pairs with `retire`.
        self.retired.load(Ordering::Acquire)
    }

    /// About how many bytes a role takes besides itself.
    pub(crate) fn heap() -> usize {
        Tally::heap().saturating_add(Timeline::HEAP)
    }

    pub(crate) fn id(&self) -> RoleId {
        self.id
    }

    pub(crate) fn limit(&self) -> u64 {
        self.scale().limit()
    }

    /// By what its owners are judged of whom nothing is known.
    pub(crate) fn scale(&self) -> Scale {
        self.scale_of(self.set_to().number())
    }

    /// By what its owners are judged that have this limit.
    pub(crate) fn scale_of(&self, limit: u64) -> Scale {
        self.policy.scale(self.id, limit)
    }

    /// The limit as it was set, unless the role is the library's own.
    pub(crate) fn shown_limit(&self) -> Limit {
        match self.scale() {
            Scale::Limit(_) if !self.is_guarded() => self.set_to(),
            other => Limit::Fixed(other.limit()),
        }
    }

    /// The limit as it was set.
    #[inline]
    pub(crate) fn set_to(&self) -> Limit {
        let own = self.own_limit.get();
        own.unwrap_or_else(|| self.policy.default_limit.get())
    }

    /// Whether it is the role of whoever guards the node.
    pub(crate) fn is_guarded(&self) -> bool {
        self.policy.guarded.is_of(self.id)
    }

    /// The table's watch, whose role this may be.
    pub(crate) fn watch(&self) -> &Watch {
        &self.policy.watch
    }

    /// The depth at which an owner of this limit is refused now that asks for this class.
    #[inline]
    pub(crate) fn refuses_at(&self, class: Class, limit: u64) -> u64 {
        if self.policy.enforcing.get() {
            // Nobody is admitted to the role of the watch.
            self.reserve.get().bound(class, limit)
        } else {
            u64::MAX
        }
    }

    /// Whether the node has to do without requests of this class.
    #[inline]
    pub(crate) fn node_refuses(&self, class: Class, runtime: &impl Runtime) -> bool {
        self.policy.node_refuses(class, runtime)
    }

    /// Why an owner at this depth and with this limit was refused such a request.
    #[cold]
    pub(crate) fn reason(&self, depth: u64, limit: u64, request: &Request) -> Reason {
        let reserve = self.reserve.get();
        if depth >= limit {
            Reason::Full
        } else if depth >= reserve.bound(request.class, limit) {
            Reason::Class
        } else if request.deadline_ms.is_some() {
            Reason::Deadline
        } else if reserve.percent(request.class) == 0 {
            // The limit has risen since.
            Reason::Full
        } else {
            Reason::Class
        }
    }

    /// Where operations on the role's gauges are counted.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// An owner takes a gauge of this role into use.
    pub(crate) fn count_arrival(&self) {
        self.owners.fetch_add(1, Ordering::Relaxed);
    }

    /// A number for the use of a gauge, which no other use in the table has.
    pub(crate) fn next_tenure(&self) -> u64 {
        self.policy.tenures.fetch_add(1, Ordering::Relaxed)
    }

    /// About now, for whoever has no time to read the clock: when somebody last did, here or a tenth of a second ago.
    #[inline]
    pub(crate) fn tick(&self) -> u32 {
        self.policy.tick.load(Ordering::Relaxed)
    }

    /// It is now.
    pub(crate) fn passes(&self, now_ns: u64) {
        self.policy.passes(now_ns);
    }

    pub(crate) fn valid_from_ns(&self) -> u64 {
        self.valid_from_ns.load(Ordering::Relaxed)
    }

    /// What may wait for all its owners together, if that was ever of interest.
    #[inline]
    pub(crate) fn caps(&self) -> Option<&Caps> {
        self.caps.get()
    }

    /// The same, for what has so many bytes: those are of interest.
    #[inline]
    pub(crate) fn caps_for(&self, bytes: u64) -> Option<&Caps> {
        match self.caps.get() {
            None if bytes > 0 => Some(self.make_caps()),
            made => made,
        }
    }

    #[cold]
    fn make_caps(&self) -> &Caps {
        let caps = self.caps.get_or_init(|| Box::new(Caps::new()));
        self.settle();
        caps
    }

    /// Sets the most places and the most bytes for all its owners together.
    pub(crate) fn set_caps(&self, total: u64, bytes: u64) {
        self.make_caps().set(total, bytes, &self.tally);
    }

    /// Why one more of so many bytes is refused whoever its owner is, if it is.
    pub(crate) fn cap_refuses(&self, bytes: u64) -> Option<Reason> {
        let caps = self.caps()?;
        caps.refuses(bytes, &self.tally)
            .filter(|_| self.is_enforcing())
    }

    pub(crate) fn is_enforcing(&self) -> bool {
        self.policy.enforcing.get()
    }

    /// An owner leaves and gives up `depth`, which is counted, or the length of its mailbox.
    pub(crate) fn count_departure(&self, depth: u64, is_counted: bool) {
        if is_counted {
            self.tally.release(depth);
        } else {
            self.tally.drop_mailbox(depth);
        }
        self.owners.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a refusal. True for the first after a quiet second, which is to be announced.
    pub(crate) fn count_refusal(&self, class: Class, reason: Reason, now: Instant) -> bool {
        let seat = Seat::mine();
        self.tally.refuse(seat);
        self.refusals.count(class, reason, seat);
        // Under a storm most refusals share their millisecond, and write nothing that others read.
        if self.last_refusal_system_ms.load(Ordering::Relaxed) != now.system_ms {
            self.last_refusal_system_ms
                .store(now.system_ms, Ordering::Relaxed);
        }
        let last = self.last_refusal_ms.load(Ordering::Relaxed);
        let announced = last != now.monotonic_ms
            && self
                .last_refusal_ms
                .compare_exchange(last, now.monotonic_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            && (last == NEVER || now.monotonic_ms.saturating_sub(last) >= QUIET_MS);
        if announced {
            self.refusing_since_ms
                .store(now.system_ms, Ordering::Relaxed);
        }
        announced
    }

    /// Refusals since this was last asked. Each is handed out once.
    pub(crate) fn take_unreported_refusals(&self) -> u64 {
        let refused = self.tally.refused();
        refused.saturating_sub(self.reported_refusals.fetch_max(refused, Ordering::Relaxed))
    }

    /// How long an owner at `depth` should wait that is refused from a depth on, before it asks again, in
    /// milliseconds: by its own pace, or else by its role's.
    pub(crate) fn retry_after_ms(
        &self,
        depth: u64,
        refused_at: u64,
        pace: Option<Pace>,
        now: Instant,
    ) -> u64 {
        let excess = depth.saturating_sub(refused_at).saturating_add(1);
        if let Some(pace) = pace {
            return retry::after_ms(excess, 1, pace.per_ms);
        }
        let owners = self.owners.load(Ordering::Relaxed);
        retry::after_ms(excess, owners, self.draining_per_ms(now))
    }

    /// How long it takes until so many have left, of whichever owners.
    pub(crate) fn retry_after_any_ms(&self, excess: u64, now: Instant) -> u64 {
        retry::after_ms(excess, 1, self.draining_per_ms(now))
    }

    fn draining_per_ms(&self, now: Instant) -> f64 {
        let drained = || self.tally.drained();
        self.drained
            .since_it_grows_per_ms(now.monotonic_ms, drained)
    }

    /// How many have to leave until one more may come of all its owners: at least 1.
    pub(crate) fn beyond_cap(&self) -> u64 {
        self.caps().map_or(1, |caps| caps.beyond(&self.tally))
    }

    /// What the next request meets that comes for an owner at `depth`, with this limit, of whom this was measured, and
    /// that says nothing of itself. An owner who would have room is refused while there is none for all together.
    pub(crate) fn outlook(
        &self,
        depth: u64,
        limit: u64,
        pace: Option<Pace>,
        now: Instant,
    ) -> Outlook {
        match self.outlook_of_mailbox(depth, limit, pace, now) {
            Outlook::Room(_) | Outlook::Unlimited if self.cap_refuses(0).is_some() => {
                Outlook::Crowded(self.retry_after_any_ms(self.beyond_cap(), now))
            }
            outlook => outlook,
        }
    }

    /// The same where it is the mailbox that is limited, which caps leave out.
    pub(crate) fn outlook_of_mailbox(
        &self,
        depth: u64,
        limit: u64,
        pace: Option<Pace>,
        now: Instant,
    ) -> Outlook {
        let refused_at = self.reserve.get().bound(Class::default(), limit);
        if !self.policy.enforcing.get() {
            Outlook::Open
        } else if limit == 0 {
            Outlook::Closed
        } else if limit == UNLIMITED {
            Outlook::Unlimited
        } else if depth < refused_at {
            Outlook::Room(refused_at.saturating_sub(depth))
        } else {
            let retry_after_ms = self.retry_after_ms(depth, refused_at, pace, now);
            if self.drained_per_ms(now) > 0.0 {
                Outlook::Full(retry_after_ms)
            } else {
                Outlook::Stuck(retry_after_ms)
            }
        }
    }

    /// Dequeues per millisecond that took something, over the last ten seconds.
    pub(crate) fn drained_per_ms(&self, now: Instant) -> f64 {
        self.drained
            .per_ms(now.monotonic_ms, || self.tally.drained())
    }

    /// Refusals per millisecond, over the last ten seconds.
    pub(crate) fn refused_per_ms(&self, now: Instant) -> f64 {
        self.refused
            .per_ms(now.monotonic_ms, || self.tally.refused())
    }

    /// Notes what was counted by now, for the rates over the last ten seconds.
    pub(crate) fn sample_rates(&self, now: Instant) {
        self.drained.sample(now.monotonic_ms, self.tally.drained());
        self.refused.sample(now.monotonic_ms, self.tally.refused());
    }

    /// An owner changes its alert level.
    pub(crate) fn shift(&self, from: Level, to: Level, now: Instant) {
        if from != to {
            self.standing.lock().shift(from, to, now);
        }
    }

    pub(crate) fn standing(&self, now: Instant) -> RoleStanding {
        self.standing.lock().read(now)
    }

    pub(crate) fn level(&self) -> Level {
        self.standing.lock().level()
    }

    /// An alert of this level was raised.
    pub(crate) fn count_alert(&self, level: Level) {
        if let Some(alerts) = self.alerts.get(level.index()) {
            alerts.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_fill(&self, fill: Fill) {
        *self.fill.lock() = fill;
    }

    /// Alerts raised of each level since the role exists.
    pub(crate) fn alerts(&self) -> ByLevel {
        self.alerts.each_ref().map(|n| n.load(Ordering::Relaxed))
    }

    /// Its refusals since it exists.
    pub(crate) fn refusals(&self) -> ByReason {
        self.refusals.read()
    }

    /// How full its owners were at the last check.
    pub(crate) fn fill(&self) -> Fill {
        *self.fill.lock()
    }

    /// When the last refusals began without a quiet second since, in milliseconds of system time.
    pub(crate) fn refusing_since_ms(&self) -> Option<u64> {
        at(&self.refusing_since_ms)
    }

    pub(crate) fn stats(&self) -> RoleStats {
        self.stats_at(self.limit())
    }

    /// The same for whoever is judged by this limit.
    pub(crate) fn stats_at(&self, limit: u64) -> RoleStats {
        let totals = self.tally.totals();
        let baseline = if self.was_reset.load(Ordering::Relaxed) {
            *self.baseline.lock()
        } else {
            Totals::default()
        };
        RoleStats {
            role: self.id,
            depth: totals.depth(),
            max_depth: self.tally.max_depth(),
            enqueued: totals.enqueued.saturating_sub(baseline.enqueued),
            dequeued: totals.dequeued.saturating_sub(baseline.dequeued),
            unmatched: totals.unmatched.saturating_sub(baseline.unmatched),
            released: totals.released.saturating_sub(baseline.released),
            refused: totals.refused.saturating_sub(baseline.refused),
            last_refused_ms: at(&self.last_refusal_system_ms),
            owners: self.owners.load(Ordering::Relaxed),
            limit,
        }
    }

    /// Zeroes what `stats` counts; depths and owners stay. Who is marked now measures nothing, and what was measured
    /// before stays.
    pub(crate) fn reset_stats(&self, now_ns: u64) {
        self.valid_from_ns.store(now_ns, Ordering::Relaxed);
        let mut baseline = self.baseline.lock();
        *baseline = self.tally.totals();
        self.was_reset.store(true, Ordering::Relaxed);
        self.tally.reset_max_depth();
        for moment in [&self.last_refusal_system_ms, &self.refusing_since_ms] {
            moment.store(NEVER, Ordering::Relaxed);
        }
    }
}

fn at(moment: &AtomicU64) -> Option<u64> {
    Some(moment.load(Ordering::Relaxed)).filter(|at_ms| *at_ms != NEVER)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn at(monotonic_ms: u64) -> Instant {
        Instant {
            monotonic_ms,
            system_ms: 1_000_000 + monotonic_ms,
        }
    }

    fn role(default_limit: u64) -> Role {
        Role::new(RoleId(7), Arc::new(Policy::new(default_limit)), at(0))
    }

    #[test]
    fn a_role_follows_the_default_until_it_has_a_limit() {
        let role = role(5);
        assert_eq!(role.limit(), 5);
        role.policy.default_limit.set(Limit::Fixed(6));
        assert_eq!(role.limit(), 6);
        role.own_limit.set(Some(Limit::Fixed(0)));
        role.policy.default_limit.set(Limit::Fixed(9));
        assert_eq!(role.limit(), 0);
        role.own_limit.set(None);
        assert_eq!(role.limit(), 9);
    }

    #[test]
    fn switched_off_it_refuses_nothing_but_keeps_its_limit() {
        let role = role(5);
        role.policy.enforcing.set(false);
        assert_eq!(role.refuses_at(Class::Sheddable, 5), u64::MAX);
        assert_eq!(role.limit(), 5);
    }

    #[test]
    fn an_outlook_is_what_the_next_request_meets() {
        let role = role(5);
        let outlook = |depth, now| role.outlook(depth, role.limit(), None, now);
        assert_eq!(outlook(3, at(1)), Outlook::Room(2));
        assert_eq!(outlook(5, at(2)), Outlook::Stuck(1_000));
        role.count_arrival();
        for _ in 0..10 {
            role.tally().at(Seat::mine()).enqueue(1);
            role.tally().at(Seat::mine()).dequeue();
        }
        // Ten in a second, and two places are in the way.
        assert_eq!(outlook(6, at(1_000)), Outlook::Full(200));
        assert_eq!(role.retry_after_ms(6, role.limit(), None, at(1_000)), 200);
        role.reserve.set(Reserve::new(40, 40, 40).unwrap());
        assert_eq!(outlook(2, at(1_000)), Outlook::Room(1));
        assert_eq!(outlook(6, at(1_000)), Outlook::Full(400));
        role.own_limit.set(Some(Limit::Fixed(0)));
        assert_eq!(outlook(0, at(1_000)), Outlook::Closed);
        role.own_limit.set(Some(Limit::Fixed(UNLIMITED)));
        assert_eq!(role.limit(), UNLIMITED);
        assert_eq!(outlook(1 << 59, at(1_000)), Outlook::Unlimited);
        role.policy.enforcing.set(false);
        assert_eq!(outlook(9, at(1_000)), Outlook::Open);
    }

    #[test]
    fn a_refusal_is_announced_after_a_quiet_second() {
        let role = role(0);
        let announced: Vec<u64> = [0, 0, 500, 1_499, 2_499, 2_500, 9_000]
            .into_iter()
            .filter(|&now_ms| role.count_refusal(Class::Critical, Reason::Full, at(now_ms)))
            .collect();
        assert_eq!(announced, [0, 2_499, 9_000]);
        assert_eq!(role.take_unreported_refusals(), 7);
        assert_eq!(role.take_unreported_refusals(), 0);
        assert_eq!(role.stats().last_refused_ms, Some(1_009_000));
    }

    #[test]
    fn a_reset_zeroes_the_counters_and_keeps_the_depth() {
        let role = role(5);
        for depth in 1..=3 {
            role.tally().at(Seat::mine()).enqueue(depth);
        }
        role.tally().at(Seat::mine()).dequeue();
        role.tally().unmatched_dequeue();
        role.count_refusal(Class::Critical, Reason::Full, at(3));
        role.reset_stats(0);
        let stats = role.stats();
        assert_eq!(stats.depth, 2);
        assert_eq!((stats.enqueued, stats.dequeued, stats.max_depth), (0, 0, 0));
        assert_eq!((stats.refused, stats.last_refused_ms), (0, None));
        assert_eq!(role.refusals().as_flattened().iter().sum::<u64>(), 1);
        assert_eq!(role.take_unreported_refusals(), 1);
    }
}
