//! Processes whose mailbox was found long, whoever sends to them and whatever they know of it.
//!
//! Who it is that somebody has to tell: the runtime does. Here they are held, as owners in a role that is nobody
//! else's, and judged as all owners are, but for the lengths at which levels begin.

use crate::gauge::Kind;
use crate::limits::{Limits, Unfit};
use crate::overload::{Level, Scale, Steps};
use crate::owner::Owner;
use crate::reserving::NotFree;
use crate::sync::{Ordering, fence};
use crate::tally::Seat;
use crate::vocabulary::{Host, OwnerId, RoleId};

impl<W: Send + Sync + 'static> Limits<W> {
    /// Begins to hold processes whose mailbox is long by these steps, as owners in this role, or goes on by other
    /// steps. Operations of others on the role are [`Unfit::Reserved`] from now on. It takes time in proportion to the
    /// number of owners.
    ///
    /// # Errors
    ///
    /// [`NotFree`]; nothing has changed then.
    pub fn watch(
        &self,
        role: RoleId,
        steps: Steps,
        host: &impl Host<Watch = W>,
    ) -> Result<(), NotFree> {
        let watch = self.roles().watch();
        if watch.now().is_none() {
            self.reserve(watch.reservation(), role, host)?;
        }
        watch.begin(steps);
        self.check_overload(host);
        Ok(())
    }

    /// Ends the watch: whoever is held leaves its level and is forgotten, and the role is anybody's.
    pub fn unwatch(&self, host: &impl Host<Watch = W>) {
        let watch = self.roles().watch();
        let Some((role, _)) = watch.now() else {
            return;
        };
        let dismiss = || {
            let held = watch.held().into_iter();
            held.for_each(|owner| self.give_up(role, owner, Owner::dismiss, host));
        };
        watch.shut();
        dismiss();
        watch.reservation().release();
        // Pairs with the fence in `Owner::enter`: who was taken in and has not been entered is found below, or sees
        // that the role is not reserved any more.
        fence(Ordering::SeqCst);
        dismiss();
        watch.end();
    }

    /// Somebody has seen that a mailbox has this length, or more. If that is long, its process is held, unless too many
    /// are; it is left to [`looked`](Self::looked) to find that it is shorter than it was.
    pub fn seen_long(&self, owner: OwnerId, length: u64, host: &impl Host<Watch = W>) {
        let watch = self.roles().watch();
        let Some((role, steps)) = watch.now() else {
            return;
        };
        if Scale::Steps(steps).status(length) == Level::Ok {
            return;
        }
        if !(self.is_open() && self.judge().active()) {
            watch.miss();
            return;
        }
        if !watch.hold(owner) {
            return;
        }
        let entered = self.enter(role, owner, Kind::Watched, host, |account| {
            watch.keep(owner);
            let longest = length.max(account.depth()?);
            Ok(((), account.looked(longest, Seat::mine())?))
        });
        match entered {
            Ok(Some(())) => _ = self.is_still_long(role, owner, length, host),
            // Dead, or the watch has ended meanwhile.
            Ok(None) | Err(Unfit::Reserved | Unfit::OtherKind | Unfit::TooManyRoles) => {
                watch.let_go(owner);
            }
        }
    }

    /// Whether somebody is long and not held for whom there is room now, and who has to be looked for. It is told once.
    pub fn is_somebody_missed(&self) -> bool {
        self.is_open() && self.judge().active() && self.roles().watch().take_missed()
    }

    /// Whether a mailbox that has just been looked at, and has this length, amounts to a level. If it is watched and
    /// does not, its process is held no more.
    pub(crate) fn is_still_long(
        &self,
        role: RoleId,
        owner: OwnerId,
        length: u64,
        host: &impl Host<Watch = W>,
    ) -> bool {
        let is_watched = || {
            let shard = self.owners.shard(owner).pin();
            let found = shard.get(&owner)?;
            Some(found.is_watched(owner, role, self.judge()))
        };
        let is_long = is_watched().unwrap_or_else(|| {
            self.judge().mailboxes().let_go(role, owner);
            // Entered again just now?
            is_watched().unwrap_or(false)
        });
        if !is_long && let Some(steps) = self.roles().watch().steps_of(role) {
            self.give_up(role, owner, Owner::leave, host);
            // It is long and yet at no level: nothing is judged, or somebody has forgotten it.
            if Scale::Steps(steps).status(length) != Level::Ok && host.is_alive(owner) {
                self.roles().watch().miss();
            }
        }
        is_long
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::alerts::{Alert, News};
    use crate::judge::Rules;
    use crate::limits::Verdict;
    use crate::overload::Margin;
    use crate::vocabulary::{Runtime, immortals::Immortals};
    use crate::watch::MAX_HELD;

    const ROLE: RoleId = RoleId(1);
    const OTHER: RoleId = RoleId(2);
    const OWNER: OwnerId = OwnerId(7);

    fn table() -> Limits<()> {
        let table = Limits::new(RoleId(0), 5, Immortals.now());
        table.open(&Default::default(), &Immortals).unwrap();
        let rules = Rules {
            margin: Margin::new(100_000).unwrap(),
            realert_ms: 60_000,
            history: 10,
        };
        table.configure_overload(rules, true, &Immortals);
        table
    }

    fn watched() -> Limits<()> {
        let table = table();
        table.watch(ROLE, steps([10, 50, 100]), &Immortals).unwrap();
        table
    }

    fn steps(depths: [u64; 3]) -> Steps {
        Steps::new(depths).unwrap()
    }

    fn levels(table: &Limits<()>) -> Vec<(Level, u64, u64)> {
        let history = table.judge().alerts().history();
        let brief = |alert: &Alert| (alert.level, alert.depth, alert.limit);
        history.iter().map(brief).collect()
    }

    #[test]
    fn who_is_long_is_held_as_long_as_it_is() {
        let table = watched();
        table.seen_long(OWNER, 9, &Immortals);
        assert_eq!(table.owners(), 0);
        table.seen_long(OWNER, 10, &Immortals);
        table.seen_long(OWNER, 60, &Immortals);
        // That was told of a moment before.
        table.seen_long(OWNER, 10, &Immortals);
        assert_eq!(
            levels(&table),
            [(Level::Critical, 60, 100), (Level::Warning, 10, 100)]
        );
        let rows = table.rows(Some(ROLE), &Immortals).into_iter();
        let rows = rows.map(|row| (row.kind, row.depth, row.limit, row.status));
        assert_eq!(
            rows.collect::<Vec<_>>(),
            [(Kind::Watched, 60, 100, Level::Critical)]
        );
        assert_eq!(table.judge().mailboxes().held(), [(ROLE, OWNER)]);
        // A tenth below 50, and then a tenth below 10.
        assert!(table.looked(ROLE, OWNER, 46, &Immortals));
        assert!(table.looked(ROLE, OWNER, 10, &Immortals));
        assert!(!table.looked(ROLE, OWNER, 9, &Immortals));
        assert_eq!((table.owners(), table.roles().watch().holds()), (0, 0));
        let (news, _) = table.judge().alerts().take(10);
        let cleared = news.iter().filter(|news| matches!(news, News::Cleared(_)));
        assert_eq!(cleared.count(), 2);
        assert!(table.judge().mailboxes().held().is_empty());
    }

    #[test]
    fn nobody_else_is_in_its_role() {
        let table = watched();
        table.seen_long(OWNER, 10, &Immortals);
        for owner in [OWNER, OwnerId(8)] {
            assert_eq!(table.enqueue(ROLE, owner, &Immortals), Err(Unfit::Reserved));
            assert_eq!(table.dequeue(ROLE, owner, &Immortals), Err(Unfit::Reserved));
            assert_eq!(table.check(ROLE, owner, &Immortals), Err(Unfit::Reserved));
            assert_eq!(
                table.try_enqueue(ROLE, owner, &Immortals),
                Err(Unfit::Reserved)
            );
            let admitted = table.admit_unasked(ROLE, owner, OwnerId(9), &Immortals);
            assert_eq!(admitted, Err(Unfit::Reserved));
            assert!(table.acquire(ROLE, owner, &Immortals).is_err());
            assert_eq!(table.enqueue(OTHER, owner, &Immortals), Ok(()));
        }
        assert_eq!(table.roles().limit(ROLE), 100);
        table.unwatch(&Immortals);
        assert_eq!(table.roles().limit(ROLE), 5);
        assert_eq!(table.kind(ROLE, OWNER), None);
        assert_eq!(
            table.try_enqueue(ROLE, OWNER, &Immortals),
            Ok(Verdict::Granted)
        );
        assert_eq!(table.depth(OTHER, OWNER), 1);
    }

    #[test]
    fn a_role_that_has_owners_is_not_taken() {
        let table = table();
        table.enqueue(ROLE, OWNER, &Immortals).unwrap();
        let watch = || table.watch(ROLE, steps([1, 2, 3]), &Immortals);
        assert_eq!(watch(), Err(NotFree::InUse));
        assert_eq!(table.enqueue(ROLE, OWNER, &Immortals), Ok(()));
        table.forget(ROLE, OWNER, &Immortals);
        assert_eq!(watch(), Ok(()));
    }

    #[test]
    fn only_so_many_are_held() {
        let table = watched();
        let all = MAX_HELD as u64 + 20;
        (1..=all).for_each(|owner| table.seen_long(OwnerId(owner), 10, &Immortals));
        let watch = table.roles().watch();
        assert_eq!((watch.holds(), watch.passed_over()), (MAX_HELD, 20));
        assert_eq!(table.owners(), MAX_HELD);
        assert!(!table.is_somebody_missed());
        table.died(OwnerId(1), &Immortals);
        assert_eq!(watch.holds(), MAX_HELD - 1);
        assert!(table.is_somebody_missed());
    }

    #[test]
    fn other_steps_hold_for_those_that_are_held() {
        let table = watched();
        table.seen_long(OWNER, 30, &Immortals);
        table.watch(ROLE, steps([10, 20, 30]), &Immortals).unwrap();
        assert_eq!(levels(&table).first(), Some(&(Level::Overload, 30, 30)));
        table.watch(ROLE, steps([40, 50, 60]), &Immortals).unwrap();
        assert!(!table.looked(ROLE, OWNER, 30, &Immortals));
        assert_eq!(table.owners(), 0);
    }

    #[test]
    fn who_is_not_judged_is_missed() {
        let table = watched();
        table.seen_long(OWNER, 10, &Immortals);
        table.switch_overload(false, &Immortals);
        assert!(!table.looked(ROLE, OWNER, 10, &Immortals));
        assert_eq!(table.owners(), 0);
        table.seen_long(OWNER, 10, &Immortals);
        assert_eq!((table.owners(), table.is_somebody_missed()), (0, false));
        table.switch_overload(true, &Immortals);
        assert!(table.is_somebody_missed());
    }

    #[test]
    fn a_table_that_is_forgotten_has_its_watch_all_the_same() {
        let table = watched();
        table.seen_long(OWNER, 10, &Immortals);
        table.clear(&Immortals);
        assert_eq!((table.owners(), table.roles().watch().holds()), (0, 0));
        assert!(!table.looked(ROLE, OWNER, 10, &Immortals));
        assert!(table.is_somebody_missed());
        table.seen_long(OWNER, 10, &Immortals);
        assert_eq!(table.enqueue(ROLE, OWNER, &Immortals), Err(Unfit::Reserved));
        assert_eq!(table.kind(ROLE, OWNER), Some(Kind::Watched));
    }
}
