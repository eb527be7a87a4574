//! Levels, and the marks that go with them.

use loom::thread;

use super::table::{ROLE, Table, at_once};
use super::{NOW, OWNER, explore, role};
use crate::alerts::News;
use crate::gauge::Kind;
use crate::judge::{Judge, Rules};
use crate::overload::{Level, Margin};
use crate::owner::{Account, Owner};
use crate::sync::Arc;
use crate::tally::Seat;
use crate::vocabulary::RoleId;

pub(super) const RULES: Rules = Rules {
    margin: Margin::ZERO,
    realert_ms: u64::MAX,
    history: 10,
};

/// Whatever crosses a mark while the marks move is judged by one of those who cross.
#[test]
fn no_crossing_is_missed() {
    explore(|| {
        let judge = Arc::new(Judge::new());
        judge.switch().set(true);
        judge.set_rules(RULES);
        let role = role(1);
        let owner = Arc::new(Owner::<()>::new(Arc::clone(&role)));
        owner
            .enter(&role, Kind::Counted, &judge, |_| ())
            .unwrap()
            .unwrap();
        let callers: Vec<_> = [Account::<()>::enqueue, Account::dequeue]
            .into_iter()
            .map(|operation| {
                let (owner, judge) = (Arc::clone(&owner), Arc::clone(&judge));
                thread::spawn(move || {
                    let account = owner.account(RoleId(1)).unwrap();
                    let depth = operation(account, Seat::mine()).unwrap().depth;
                    if account.crossed(depth) {
                        owner.judge(OWNER, account, depth, &judge, NOW);
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        let account = owner.account(RoleId(1)).unwrap();
        let full = account.depth() == Ok(1);
        let expected = if full { Level::Overload } else { Level::Ok };
        assert_eq!(account.level(), expected);
        assert_eq!(role.standing(NOW).level, expected);
        assert_eq!(judge.alerts().history().len(), 1);
    });
}

/// A table that knows the owner, at depth zero, or does not.
fn table(known: bool, limit: u64, judging: bool) -> Arc<Table> {
    let table = Table::new();
    table.limits.roles().set_limit(ROLE, limit, NOW).unwrap();
    if known {
        table.enqueue();
        table.limits.dequeue(ROLE, OWNER, &table.world).unwrap();
    }
    table
        .limits
        .configure_overload(RULES, judging, &table.world);
    table
}

impl Table {
    /// The level that the owner holds is that of its depth, its role's is the same, and so is what handlers were told.
    fn assert_judged(&self) {
        let shard = self.limits.owners.shard(OWNER).pin();
        let account = shard.get(&OWNER).and_then(|owner| owner.account(ROLE));
        let depth = account.map_or(0, |account| account.depth().unwrap_or(0));
        let full = depth >= self.limits.roles().limit(ROLE) && self.limits.judge().active();
        let expected = if full { Level::Overload } else { Level::Ok };
        assert_eq!(account.map_or(Level::Ok, Account::level), expected);
        let role = self.limits.roles().get(ROLE);
        let standing = role.map(|role| role.standing(NOW));
        let mut owners_at = [0; 4];
        owners_at[Level::Overload.index()] = u64::from(full);
        assert_eq!(standing.map_or([0; 4], |s| s.owners_at), owners_at);
    }

    /// Whoever heard of a level has heard of its end, unless it lasts.
    fn assert_told(&self) {
        let (news, lost) = self.limits.judge().alerts().take(10);
        assert_eq!(lost, 0);
        let last = news
            .iter()
            .rfind(|(News::Raised(alert) | News::Cleared(alert))| alert.level == Level::Overload);
        let lasts = self.limits.depth(ROLE, OWNER) >= self.limits.roles().limit(ROLE);
        assert_eq!(matches!(last, Some(News::Raised(_))), lasts);
    }
}

/// Runs an operation while the owner reaches its limit, and has the levels looked at.
fn reaching_the_limit_against(known: bool, operation: fn(&Table)) {
    explore(move || {
        let table = table(known, 1, true);
        at_once(&table, Table::enqueue, operation);
        table.assert_judged();
        table.assert_told();
    });
}

#[test]
fn judging_against_death_leaves_no_level() {
    reaching_the_limit_against(true, Table::die);
    reaching_the_limit_against(false, Table::die);
}

#[test]
fn judging_against_forgetting_leaves_no_level_without_a_depth() {
    let forget: fn(&Table) = |table| table.limits.forget(ROLE, OWNER, &table.world);
    reaching_the_limit_against(true, forget);
    reaching_the_limit_against(false, forget);
}

#[test]
fn judging_while_all_is_cleared_leaves_no_level_without_a_depth() {
    let clear: fn(&Table) = |table| table.limits.clear(&table.world);
    reaching_the_limit_against(true, clear);
}

/// The limit is lowered to the depth that is reached meanwhile, and then all are looked at.
#[test]
fn a_check_after_a_limit_was_changed_misses_nobody() {
    explore(|| {
        let table = table(true, 2, true);
        at_once(&table, Table::enqueue, |table| {
            table.limits.roles().set_limit(ROLE, 1, NOW).unwrap();
            table.limits.check_overload(&table.world);
        });
        table.assert_judged();
        table.assert_told();
    });
}

#[test]
fn a_known_owner_that_reaches_its_limit_while_judging_begins_is_judged() {
    explore(|| {
        let table = table(true, 1, false);
        at_once(&table, Table::enqueue, |table| {
            table.limits.switch_overload(true, &table.world);
        });
        table.assert_judged();
        table.assert_told();
    });
}

/// One that enters meanwhile is found by the next check at the latest.
#[test]
fn an_owner_that_enters_while_judging_begins_is_judged() {
    explore(|| {
        let table = table(false, 1, false);
        at_once(&table, Table::enqueue, |table| {
            table.limits.switch_overload(true, &table.world);
        });
        table.limits.check_overload(&table.world);
        table.assert_judged();
        table.assert_told();
    });
}

/// An owner that is known, or enters meanwhile.
fn while_judging_ends(known: bool) {
    explore(move || {
        let table = table(known, 1, true);
        at_once(&table, Table::enqueue, |table| {
            table.limits.close_overload(&table.world);
        });
        table.assert_judged();
    });
}

#[test]
fn no_level_is_held_by_an_owner_when_judging_has_ended() {
    while_judging_ends(true);
}

#[test]
fn no_level_is_held_by_an_owner_that_enters_while_judging_ends() {
    while_judging_ends(false);
}

/// Somebody switches judging on who has found the monitor open, or the next one after it.
#[test]
fn a_monitor_that_was_closed_and_opened_judges_as_configured() {
    explore(|| {
        let table = table(true, 1, false);
        table.limits.open_overload(RULES, false, &table.world);
        let switch = |table: &Table| {
            if table.limits.judge().is_open() {
                table.limits.switch_overload(true, &table.world);
            }
        };
        at_once(&table, switch, |table| {
            table.limits.close_overload(&table.world);
        });
        table.limits.open_overload(RULES, false, &table.world);
        assert!(!table.limits.judge().active());
        table.enqueue();
        table.assert_judged();
    });
}
