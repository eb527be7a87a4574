//! What a thread keeps near, while others end what it keeps.

use super::table::{ROLE, Table, at_once};
use super::{OWNER, explore};
use crate::near::Near;
use crate::sync::Arc;
use crate::vocabulary::RoleId;

const OTHER: RoleId = RoleId(0);

/// As a native does it.
fn enqueue(near: &Near<()>, table: &Table) {
    let Table { limits, world } = table;
    if near.enqueue(limits, ROLE, OWNER, world).is_none() {
        limits.enqueue(ROLE, OWNER, world).unwrap();
        near.missed(limits, OWNER);
    }
}

/// A table with an owner at depth 2, which is near.
fn known() -> (Arc<Table>, Near<()>) {
    let (table, near) = (Table::new(), Near::new());
    table.open();
    enqueue(&near, &table);
    enqueue(&near, &table);
    assert!(
        near.check(&table.limits, ROLE, OWNER, &table.world)
            .is_some()
    );
    (table, near)
}

/// Counts twice on an owner that is near, while something else goes on.
fn counting_while(
    other: impl FnOnce(&Table) + Clone + Send + Sync + 'static,
    then: impl Fn(&Table) + Send + Sync + 'static,
) {
    explore(move || {
        let (table, near) = known();
        at_once(&table, other.clone(), |table| {
            enqueue(&near, table);
            enqueue(&near, table);
        });
        then(&table);
        table.assert_agrees();
        // What is near is what the table has, once what has ended was found out.
        enqueue(&near, &table);
        table.assert_agrees();
    });
}

#[test]
fn counting_on_what_is_near_against_death_leaves_nothing() {
    counting_while(Table::die, |table| assert!(!table.tracked()));
}

#[test]
fn counting_on_what_is_near_against_forgetting_is_before_or_after() {
    counting_while(
        |table| table.limits.forget(ROLE, OWNER, &table.world),
        |table| assert!(table.limits.depth(ROLE, OWNER) <= 2),
    );
}

#[test]
fn counting_on_what_is_near_against_another_record_under_the_same_number() {
    counting_while(
        |table| {
            // The last role: the owner has ended, and is entered anew.
            table.limits.forget(ROLE, OWNER, &table.world);
            table.enqueue();
        },
        // That one, and those of the other thread that came after the end.
        |table| assert!((1..=3).contains(&table.limits.depth(ROLE, OWNER))),
    );
}

#[test]
fn counting_on_what_is_near_while_the_table_is_closed_and_opened_leaves_what_agrees() {
    counting_while(
        |table| {
            table.limits.close(&table.world);
            table.open();
        },
        |table| assert!(table.limits.depth(ROLE, OWNER) <= 2),
    );
}

#[test]
fn what_others_keep_near_is_let_go_by_who_uses_it_next() {
    explore(|| {
        let (table, near) = known();
        at_once(&table, Table::die, |table| {
            table.limits.tidy();
            enqueue(&near, table);
        });
        table.limits.tidy();
        near.missed(&table.limits, OWNER);
        assert_eq!(near.kept(), 0);
    });
}

/// A permit that is taken and given back where its owner is near, while something else goes on, of which `left` stay.
fn holding_while(
    other: impl FnOnce(&Table) + Clone + Send + Sync + 'static,
    left: impl Fn(u64) -> bool + Send + Sync + 'static,
) {
    explore(move || {
        let (table, near) = known();
        let Table { limits, world } = &*table;
        at_once(&table, other.clone(), |_| {
            if let Some(Ok(permit)) = near.acquire(limits, ROLE, OWNER, world) {
                let given_back = near.give_back(limits, &permit, world);
                let _ = given_back.unwrap_or_else(|| limits.give_back(&permit, world));
                assert!(!limits.give_back(&permit, world));
            }
        });
        assert!(left(limits.depth(ROLE, OWNER)));
        table.assert_agrees();
    });
}

#[test]
fn a_permit_on_what_is_near_against_death_leaves_nothing() {
    holding_while(Table::die, |depth| depth == 0);
}

#[test]
fn a_permit_on_what_is_near_against_another_record_takes_nothing_of_it() {
    holding_while(
        |table| {
            table.limits.forget(ROLE, OWNER, &table.world);
            table.enqueue();
        },
        |depth| depth == 1,
    );
}

#[test]
fn a_permit_on_what_is_near_against_another_use_takes_nothing_of_it() {
    holding_while(
        |table| {
            // A second role keeps the owner.
            table.limits.enqueue(OTHER, OWNER, &table.world).unwrap();
            table.limits.forget(ROLE, OWNER, &table.world);
            table.enqueue();
            table.limits.forget(OTHER, OWNER, &table.world);
        },
        |depth| depth == 1,
    );
}
