//! What is found of the node by whoever guards it, and what becomes of it: a strain, by which requests are refused, and
//! alerts, in a role that is nobody else's.

use crate::guard::{CAUSES, Finding, Pressed, worst};
use crate::limits::Limits;
use crate::pressure::Strain;
use crate::reserving::NotFree;
use crate::vocabulary::{Host, RoleId, Runtime};

impl<W: Send + Sync + 'static> Limits<W> {
    /// Has the node guarded, with alerts in this role. Operations of others on the role are
    /// [`Unfit::Reserved`](crate::limits::Unfit::Reserved) from now on. If it is guarded already, what was found stays.
    ///
    /// # Errors
    ///
    /// [`NotFree`]; nothing has changed then.
    pub fn guard(&self, role: RoleId, host: &impl Host<Watch = W>) -> Result<(), NotFree> {
        let reservation = self.roles().guarded();
        if reservation.role().is_none() {
            self.reserve(reservation, role, host)?;
            self.ease(host);
            self.guard.forget();
        }
        Ok(())
    }

    /// Ends that: the node refuses nobody, its alerts are over, and the role is anybody's.
    pub fn unguard(&self, runtime: &impl Runtime) {
        self.roles().guarded().release();
        self.roles().press(Strain::Calm, 0);
        self.ease(runtime);
    }

    /// This was found of the node, and holds for so many milliseconds, unless it is found anew. While nobody guards it,
    /// nothing happens.
    pub fn press(&self, findings: [Finding; CAUSES], for_ms: u64, runtime: &impl Runtime) {
        let Some(role) = self.roles().guarded().role() else {
            return;
        };
        let now = runtime.now();
        let until_ms = now.monotonic_ms.saturating_add(for_ms);
        self.roles().press(worst(findings), until_ms);
        let role = || self.roles().get_or_insert(role, || now);
        if self.guard.find(findings, role, self.judge(), now) {
            runtime.wake();
        }
    }

    /// Tells what was found of the node last, while it is guarded.
    pub fn pressed(&self, runtime: &impl Runtime) -> Option<Pressed> {
        self.roles().guarded().role()?;
        let (findings, since_ms) = self.guard.last();
        Some(Pressed {
            strain: self.roles().strain(|| runtime.now().monotonic_ms),
            findings,
            since_ms,
        })
    }

    /// What the node is strained by no more, since nobody says so, is over.
    pub(crate) fn ease(&self, runtime: &impl Runtime) {
        let now = runtime.now();
        let is_calm = self.roles().strain(|| now.monotonic_ms) == Strain::Calm;
        if is_calm && self.guard.ease(self.judge(), now) {
            runtime.wake();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::alerts::{Alert, News};
    use crate::judge::Rules;
    use crate::limits::{Unfit, Verdict};
    use crate::overload::{Level, Margin};
    use crate::roles::Configuration;
    use crate::vocabulary::{Dead, Instant, OwnerId};

    #[derive(Default)]
    struct Clock {
        now_ms: Cell<u64>,
        woken: Cell<u64>,
    }

    impl Runtime for Clock {
        fn now(&self) -> Instant {
            let monotonic_ms = self.now_ms.get();
            let system_ms = monotonic_ms + 1_000_000;
            Instant {
                monotonic_ms,
                system_ms,
            }
        }
        fn wake(&self) {
            self.woken.set(self.woken.get() + 1);
        }
    }

    impl Host for Clock {
        type Watch = ();
        fn is_alive(&self, _: OwnerId) -> bool {
            true
        }
        fn watch(&self, _: OwnerId) -> Result<Option<()>, Dead> {
            Ok(None)
        }
        fn unwatch(&self, (): ()) {}
    }

    const ROLE: RoleId = RoleId(1);
    const OWNER: OwnerId = OwnerId(9);
    const LEASE_MS: u64 = 2_000;
    const REALERT_MS: u64 = 60_000;

    fn table(clock: &Clock) -> Limits<()> {
        let table = Limits::new(RoleId(0), 5, clock.now());
        table.open(&Configuration::default(), clock).unwrap();
        let rules = Rules {
            margin: Margin::ZERO,
            realert_ms: REALERT_MS,
            history: 10,
        };
        table.configure_overload(rules, true, clock);
        table
    }

    fn guarded(clock: &Clock) -> Limits<()> {
        let table = table(clock);
        table.guard(ROLE, clock).unwrap();
        table
    }

    fn found(memory: Strain, queue: Strain) -> [Finding; CAUSES] {
        [(7, memory, 75), (8, queue, 9)].map(|(cause, strain, amount)| Finding {
            cause: OwnerId(cause),
            strain,
            amount,
            limit: 100,
        })
    }

    fn level(table: &Limits<()>) -> Level {
        table.roles().get(ROLE).unwrap().level()
    }

    fn raised(table: &Limits<()>) -> Vec<(u64, Level, u64)> {
        let history = table.judge().alerts().history();
        let brief = |alert: &Alert| (alert.owner.0, alert.level, alert.depth);
        history.iter().map(brief).collect()
    }

    fn cleared(table: &Limits<()>) -> Vec<(u64, Level)> {
        let (news, _) = table.judge().alerts().take(20);
        table.judge().alerts().told();
        let brief = |news: &News| match news {
            News::Cleared(alert) => Some((alert.owner.0, alert.level)),
            News::Raised(_) => None,
        };
        news.iter().filter_map(brief).collect()
    }

    #[test]
    fn what_presses_the_node_is_an_alert_that_names_it_until_it_is_over() {
        use Strain::{Calm, Dire, Pressed};
        let clock = Clock::default();
        let table = guarded(&clock);
        let press = |memory, queue| table.press(found(memory, queue), LEASE_MS, &clock);
        press(Calm, Calm);
        assert_eq!((raised(&table).len(), clock.woken.get()), (0, 0));
        press(Pressed, Calm);
        press(Pressed, Calm);
        press(Dire, Pressed);
        let all = [
            (8, Level::Critical, 9),
            (7, Level::Overload, 75),
            (7, Level::Critical, 75),
        ];
        assert_eq!((raised(&table), clock.woken.get()), (all.to_vec(), 1));
        assert_eq!(level(&table), Level::Overload);
        assert_eq!(cleared(&table), []);
        press(Calm, Pressed);
        let left = [(7, Level::Overload), (7, Level::Critical)];
        assert_eq!(cleared(&table), left);
        assert_eq!(level(&table), Level::Critical);
        press(Calm, Calm);
        assert_eq!(cleared(&table), [(8, Level::Critical)]);
        assert_eq!(level(&table), Level::Ok);
        let stats = table.roles().stats(ROLE).unwrap();
        assert_eq!((stats.depth, stats.owners), (0, 0));
    }

    #[test]
    fn the_worst_strain_holds_and_it_is_known_since_when() {
        use Strain::{Calm, Dire, Pressed};
        let clock = Clock::default();
        let table = guarded(&clock);
        assert_eq!(table.pressed(&clock).unwrap().findings, None);
        let press = |at_ms, memory, queue| {
            clock.now_ms.set(at_ms);
            table.press(found(memory, queue), LEASE_MS, &clock);
            let now = table.pressed(&clock).unwrap();
            (now.strain, now.since_ms - 1_000_000)
        };
        assert_eq!(press(10, Calm, Pressed), (Pressed, 10));
        assert_eq!(press(20, Pressed, Calm), (Pressed, 10));
        assert_eq!(press(30, Pressed, Dire), (Dire, 30));
        assert_eq!(press(40, Calm, Calm), (Calm, 40));
    }

    #[test]
    fn what_lasts_is_alerted_again() {
        let clock = Clock::default();
        let table = guarded(&clock);
        for at_ms in [0, REALERT_MS - 1, REALERT_MS, 2 * REALERT_MS - 1] {
            clock.now_ms.set(at_ms);
            table.press(found(Strain::Pressed, Strain::Calm), LEASE_MS, &clock);
        }
        assert_eq!(raised(&table), [(7, Level::Critical, 75); 2]);
    }

    #[test]
    fn whoever_dies_refuses_nobody_for_long() {
        let clock = Clock::default();
        let table = guarded(&clock);
        table.press(found(Strain::Dire, Strain::Calm), LEASE_MS, &clock);
        clock.now_ms.set(LEASE_MS - 1);
        table.check_overload(&clock);
        assert_eq!(level(&table), Level::Overload);
        clock.now_ms.set(LEASE_MS);
        assert_eq!(table.pressed(&clock).unwrap().strain, Strain::Calm);
        table.check_overload(&clock);
        assert_eq!(level(&table), Level::Ok);
        assert_eq!(
            cleared(&table),
            [(7, Level::Overload), (7, Level::Critical)]
        );
        // Whoever comes next finds it all, and the alert is a new one.
        table.press(found(Strain::Dire, Strain::Calm), LEASE_MS, &clock);
        assert_eq!(raised(&table).len(), 2);
    }

    #[test]
    fn nobody_else_is_in_its_role_and_it_has_no_limit() {
        let clock = Clock::default();
        let table = table(&clock);
        table.enqueue(ROLE, OWNER, &clock).unwrap();
        assert_eq!(table.guard(ROLE, &clock), Err(NotFree::InUse));
        table.forget(ROLE, OWNER, &clock);
        assert_eq!(table.guard(ROLE, &clock), Ok(()));
        assert_eq!(table.enqueue(ROLE, OWNER, &clock), Err(Unfit::Reserved));
        assert_eq!(table.dequeue(ROLE, OWNER, &clock), Err(Unfit::Reserved));
        assert_eq!(table.check(ROLE, OWNER, &clock), Err(Unfit::Reserved));
        assert_eq!(table.try_enqueue(ROLE, OWNER, &clock), Err(Unfit::Reserved));
        assert!(table.acquire(ROLE, OWNER, &clock).is_err());
        assert_eq!(table.roles().limit(ROLE), crate::UNLIMITED);
        table.unguard(&clock);
        assert_eq!(table.roles().limit(ROLE), 5);
        assert_eq!(table.try_enqueue(ROLE, OWNER, &clock), Ok(Verdict::Granted));
    }

    #[test]
    fn without_a_guard_nobody_is_refused() {
        let clock = Clock::default();
        let table = guarded(&clock);
        table.press(found(Strain::Dire, Strain::Dire), LEASE_MS, &clock);
        table.unguard(&clock);
        assert!(!table.roles().node_refuses(3, || 0));
        assert_eq!(cleared(&table).len(), 4);
        assert_eq!((level(&table), table.pressed(&clock)), (Level::Ok, None));
        // One that has not heard of it.
        table.press(found(Strain::Dire, Strain::Dire), LEASE_MS, &clock);
        assert!(!table.roles().node_refuses(3, || 0));
        // The next finds nothing of the one before.
        table.guard(ROLE, &clock).unwrap();
        assert_eq!(table.pressed(&clock).unwrap().findings, None);
    }

    #[test]
    fn what_is_not_judged_is_refused_and_no_alert() {
        let clock = Clock::default();
        let table = guarded(&clock);
        table.press(found(Strain::Pressed, Strain::Calm), LEASE_MS, &clock);
        table.switch_overload(false, &clock);
        assert_eq!((level(&table), cleared(&table)), (Level::Ok, vec![]));
        table.press(found(Strain::Pressed, Strain::Calm), LEASE_MS, &clock);
        assert_eq!((level(&table), raised(&table).len()), (Level::Ok, 1));
        assert!(table.roles().node_refuses(2, || 0));
        table.switch_overload(true, &clock);
        table.press(found(Strain::Pressed, Strain::Calm), LEASE_MS, &clock);
        assert_eq!((level(&table), raised(&table).len()), (Level::Critical, 2));
    }

    #[test]
    fn a_table_that_is_forgotten_has_its_guard_all_the_same() {
        let clock = Clock::default();
        let table = guarded(&clock);
        table.press(found(Strain::Pressed, Strain::Calm), LEASE_MS, &clock);
        table.clear(&clock);
        assert_eq!(table.enqueue(ROLE, OWNER, &clock), Err(Unfit::Reserved));
        table.press(found(Strain::Pressed, Strain::Calm), LEASE_MS, &clock);
        assert_eq!(level(&table), Level::Critical);
        table.press(found(Strain::Calm, Strain::Calm), LEASE_MS, &clock);
        assert_eq!(level(&table), Level::Ok);
    }
}
