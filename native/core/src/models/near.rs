//! What a thread keeps near, while others end what it keeps.

use super::table::{ROLE, Table, at_once};
use super::{OWNER, explore};
use crate::near::Near;
use crate::sync::Arc;

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
