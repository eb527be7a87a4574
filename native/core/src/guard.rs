//! For what the node is pressed: what was found last of each cause, and the alert that it holds.

use crate::alerts::Alert;
use crate::judge::Judge;
use crate::overload::Level;
use crate::pressure::Strain;
use crate::role::Role;
use crate::sync::{Arc, Mutex};
use crate::vocabulary::{Instant, OwnerId};

/// So many causes there are.
pub(crate) const CAUSES: usize = 2;

/// A finding says how much of something a node has in use, and whether it can bear that. [`Pressed`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Of this it is: the owner of the alerts that come of it.
    pub cause: OwnerId,
    /// So hard the node is pressed by it.
    pub strain: Strain,
    /// So much is in use.
    pub amount: u64,
    /// So much there is.
    pub limit: u64,
}

/// Pressed says how hard a node is pressed, by what, and since when.
///
/// ```
/// use erlmcp_core::limits::{Limits, Unfit};
/// use erlmcp_core::overload::Level;
/// use erlmcp_core::{Finding, OwnerId, RoleId, Runtime, Strain};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let role = RoleId(1);
/// let table = Limits::new(RoleId(0), 10, Still.now());
/// assert_eq!(table.guard(role, &Still), Ok(()));
/// let memory = Finding { cause: OwnerId(7), strain: Strain::Pressed, amount: 75, limit: 100 };
/// let queue = Finding { cause: OwnerId(8), strain: Strain::Calm, amount: 1, limit: 8 };
/// table.press([memory, queue], 2_000, &Still);
/// let pressed = table.pressed(&Still).expect("there is a guard");
/// assert_eq!((pressed.strain, pressed.findings), (Strain::Pressed, Some([memory, queue])));
/// assert!(table.roles().node_refuses(3, || Still.now().monotonic_ms));
/// assert_eq!(table.enqueue(role, OwnerId(9), &Still), Err(Unfit::Reserved));
/// table.unguard(&Still);
/// assert_eq!(table.pressed(&Still), None);
/// # Ok::<(), Unfit>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressed {
    /// This holds now: the worst of what was found, unless that is too old.
    pub strain: Strain,
    /// This was found last of each cause.
    pub findings: Option<[Finding; CAUSES]>,
    /// The strain that was found is the same since then, in milliseconds of system time.
    pub since_ms: u64,
}

/// What whoever guards the node has found.
#[derive(Debug)]
pub(crate) struct Guard(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    last: Option<[Finding; CAUSES]>,
    since_ms: u64,
    /// Of which the levels are that are held.
    role: Option<Arc<Role>>,
    held: [Held; CAUSES],
}

/// The alert level of a cause, and when it was alerted last.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    level: Level,
    alerted_ms: u64,
}

impl Guard {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Found::default()))
    }

    /// What was found last, and since when the worst of it is the same.
    pub(crate) fn last(&self) -> (Option<[Finding; CAUSES]>, u64) {
        let found = self.0.lock();
        (found.last, found.since_ms)
    }

    /// This was found. `role` is the guard's own, made if need be. True if handlers have news.
    pub(crate) fn find<E>(
        &self,
        findings: [Finding; CAUSES],
        role: impl FnOnce() -> Result<Arc<Role>, E>,
        judge: &Judge,
        now: Instant,
    ) -> bool {
        let mut found = self.0.lock();
        if found.last.map(worst) != Some(worst(findings)) {
            found.since_ms = now.system_ms;
        }
        found.last = Some(findings);
        if found.role.as_ref().is_none_or(|role| role.is_retired()) {
            // The levels went with the role.
            found.role = role().ok();
            found.held = Default::default();
        }
        let levels = findings.map(|finding| match judge.active() {
            true => finding.strain.level(),
            false => Level::Ok,
        });
        found.hold(levels, judge, now)
    }

    /// Nobody has found anything for too long.
    pub(crate) fn ease(&self, judge: &Judge, now: Instant) -> bool {
        self.0.lock().hold([Level::Ok; CAUSES], judge, now)
    }

    /// Forgets the levels, and tells nobody.
    pub(crate) fn forget_levels(&self, now: Instant) {
        let mut found = self.0.lock();
        let Found { role, held, .. } = &mut *found;
        for held in held {
            role.iter()
                .for_each(|role| role.shift(held.level, Level::Ok, now));
            *held = Held::default();
        }
    }

    /// It is as new, but for the levels.
    pub(crate) fn forget(&self) {
        self.0.lock().last = None;
    }
}

impl Found {
    /// Holds these levels from now on.
    fn hold(&mut self, levels: [Level; CAUSES], judge: &Judge, now: Instant) -> bool {
        let Self {
            last: Some(findings),
            role: Some(role),
            held,
            ..
        } = self
        else {
            return false;
        };
        let mut news = false;
        for ((held, level), finding) in held.iter_mut().zip(levels).zip(findings) {
            news |= held.change(level, finding, role, judge, now);
        }
        news
    }
}

impl Held {
    fn change(
        &mut self,
        level: Level,
        finding: &Finding,
        role: &Role,
        judge: &Judge,
        now: Instant,
    ) -> bool {
        let left = std::mem::replace(&mut self.level, level);
        role.shift(left, level, now);
        let alert = |level| Alert {
            level,
            role: role.id(),
            owner: finding.cause,
            depth: finding.amount,
            limit: finding.limit,
            at_ms: now.system_ms,
        };
        let for_ms = now.monotonic_ms.saturating_sub(self.alerted_ms);
        let is_due = level == left && level != Level::Ok && for_ms >= judge.realert_ms();
        if level > left || is_due {
            self.alerted_ms = now.monotonic_ms;
            role.count_alert(level);
            return judge.alerts().raise(alert(level));
        }
        let reached = [Level::Overload, Level::Critical].into_iter();
        reached
            .filter(|reached| *reached > level && *reached <= left)
            .fold(false, |news, reached| {
                news | judge.alerts().clear(alert(reached))
            })
    }
}

/// The worst strain that was found.
pub(crate) fn worst(findings: [Finding; CAUSES]) -> Strain {
    let strains = findings.into_iter().map(|finding| finding.strain);
    strains.max().unwrap_or_default()
}
