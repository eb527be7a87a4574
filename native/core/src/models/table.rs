//! The table of owners and roles.

use loom::thread;

use super::{NOW, OWNER, World, explore};
use crate::limits::{Limits, Permit};
use crate::roles::Configuration;
use crate::sync::Arc;
use crate::vocabulary::RoleId;

const DEFAULT: RoleId = RoleId(0);
pub(super) const ROLE: RoleId = RoleId(1);

pub(super) struct Table {
    pub(super) limits: Limits<()>,
    pub(super) world: World,
}

impl Table {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            limits: Limits::new(DEFAULT, 9, NOW),
            world: World::default(),
        })
    }

    /// The owner is dead, and whoever watched it hears of it.
    pub(super) fn die(&self) {
        (0..self.world.kill()).for_each(|_| self.limits.died(OWNER, &self.world));
    }

    pub(super) fn open(&self) {
        // One alone: the order of two is another each time, which no model may be.
        let configuration = Configuration {
            limits: [(ROLE, 5.into())].into(),
            ..Configuration::default()
        };
        self.limits.open(&configuration, &self.world).unwrap();
    }

    pub(super) fn enqueue(&self) {
        self.limits.enqueue(ROLE, OWNER, &self.world).unwrap();
    }

    pub(super) fn tracked(&self) -> bool {
        self.limits.owners.shard(OWNER).pin().get(&OWNER).is_some()
    }

    /// What the owner has is what its role has, and it is watched if it is there.
    pub(super) fn assert_agrees(&self) {
        let depth = self.limits.total_depth(OWNER);
        let stats = self.limits.roles().stats(ROLE);
        let (in_role, owners) = stats.map_or((0, 0), |stats| (stats.depth, stats.owners));
        assert_eq!(
            (in_role, owners),
            (
                depth.map_or(0, |(counted, _)| counted),
                u64::from(depth.is_some())
            )
        );
        assert_eq!(self.world.watches(), u64::from(self.tracked()));
        if let Some(stats) = stats {
            assert_eq!(
                stats.enqueued,
                stats.dequeued - stats.unmatched + stats.released + stats.depth
            );
        }
    }
}

/// Runs an operation while another goes on.
pub(super) fn at_once(
    table: &Arc<Table>,
    other: impl FnOnce(&Table) + Send + 'static,
    operation: impl FnOnce(&Table),
) {
    let others = Arc::clone(table);
    let other = thread::spawn(move || other(&others));
    operation(table);
    other.join().unwrap();
}

#[test]
fn entering_against_death_leaves_nothing() {
    explore(|| {
        let table = Table::new();
        at_once(&table, Table::enqueue, Table::die);
        assert!(!table.tracked());
        table.assert_agrees();
    });
}

#[test]
fn entering_against_forgetting_is_before_or_after() {
    explore(|| {
        let table = Table::new();
        table.enqueue();
        at_once(&table, Table::enqueue, |table| {
            table.limits.forget(ROLE, OWNER, &table.world);
        });
        assert!(table.limits.depth(ROLE, OWNER) <= 1);
        table.assert_agrees();
    });
}

#[test]
fn two_that_enter_the_same_owner_are_both_counted() {
    explore(|| {
        let table = Table::new();
        at_once(&table, Table::enqueue, Table::enqueue);
        assert_eq!(table.limits.depth(ROLE, OWNER), 2);
        table.assert_agrees();
    });
}

fn acquire(table: &Table) -> Option<Permit> {
    let admitted = table.limits.acquire(ROLE, OWNER, &table.world).unwrap();
    admitted.unwrap()
}

/// By hand, by two at once: a destructor runs when nobody else can any more.
#[test]
fn a_permit_given_back_twice_is_one_place() {
    explore(|| {
        let table = Table::new();
        table.enqueue();
        let permit = Arc::new(acquire(&table).unwrap());
        let others = Arc::clone(&permit);
        let give_back = |table: &Table, permit: &Permit| {
            table.limits.give_back(permit, &table.world);
        };
        at_once(
            &table,
            move |table| give_back(table, &others),
            |table| give_back(table, &permit),
        );
        assert_eq!(table.limits.depth(ROLE, OWNER), 1);
        table.assert_agrees();
    });
}

/// A permit is acquired and given back, or let go of, by a destructor, while its owner dies.
#[test]
fn a_permit_of_an_owner_that_dies_leaves_nothing() {
    explore(|| {
        let table = Table::new();
        let hold = |table: &Table| {
            if let Some(permit) = acquire(table) {
                table.limits.give_back(&permit, &table.world);
            }
        };
        at_once(&table, hold, Table::die);
        assert!(!table.tracked());
        table.assert_agrees();
    });
}

/// An owner that is there, or is not yet; its role is.
fn while_cleared(known: bool) {
    explore(move || {
        let table = Table::new();
        table.limits.roles().set_limit(ROLE, 5, NOW).unwrap();
        if known {
            table.enqueue();
        }
        at_once(&table, Table::enqueue, |table| {
            table.limits.clear(&table.world);
        });
        assert!(table.limits.depth(ROLE, OWNER) <= 1);
        table.assert_agrees();
    });
}

#[test]
fn entering_while_all_is_cleared_leaves_no_account_in_a_role_that_is_gone() {
    while_cleared(false);
}

#[test]
fn counting_while_all_is_cleared_leaves_no_account_in_a_role_that_is_gone() {
    while_cleared(true);
}

#[test]
fn counting_while_the_table_is_closed_and_opened_leaves_what_agrees() {
    explore(|| {
        let table = Table::new();
        table.open();
        let count = |table: &Table| {
            if table.limits.is_open() {
                // It may be closed by now, but it was configured.
                table.enqueue();
            }
        };
        at_once(&table, count, |table| {
            table.limits.close(&table.world);
            table.open();
        });
        assert_eq!(table.limits.roles().limit(ROLE), 5);
        assert!(table.limits.depth(ROLE, OWNER) <= 1);
        table.assert_agrees();
    });
}
