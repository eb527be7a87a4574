//! A watch, or a guard, that takes a role, and gives it back, while others use it.

use loom::thread;

use super::judging::RULES;
use super::table::{ROLE, Table};
use super::{OWNER, explore};
use crate::gauge::Kind;
use crate::guard::Finding;
use crate::limits::Unfit;
use crate::overload::{Level, Steps};
use crate::pressure::Strain;
use crate::reserving::NotFree;
use crate::sync::Arc;
use crate::vocabulary::{OwnerId, Runtime};

fn steps() -> Steps {
    Steps::new([1, 2, 3]).unwrap()
}

/// Either the watch begins and nobody else is in its role, or it does not, since somebody is.
#[test]
fn nobody_is_left_in_a_role_that_the_watch_takes() {
    explore(|| {
        let table = Table::new();
        let other = Arc::clone(&table);
        let counts =
            thread::spawn(move || other.limits.enqueue(ROLE, OWNER, &other.world).map(drop));
        let begun = table.limits.watch(ROLE, steps(), &table.world);
        let counted = counts.join().unwrap();
        let kind = table.limits.kind(ROLE, OWNER);
        match begun {
            Ok(()) => assert_eq!((counted, kind), (Err(Unfit::Reserved), None)),
            Err(not_free) => {
                assert_eq!(not_free, NotFree::InUse);
                // It may have been told that the role is reserved before that was found to be wrong.
                assert_eq!(kind, counted.ok().map(|()| Kind::Counted));
            }
        }
    });
}

/// The same with the role of whoever guards the node.
#[test]
fn nobody_is_left_in_a_role_that_the_guard_takes() {
    explore(|| {
        let table = Table::new();
        let other = Arc::clone(&table);
        let counts =
            thread::spawn(move || other.limits.enqueue(ROLE, OWNER, &other.world).map(drop));
        let begun = table.limits.guard(ROLE, &table.world);
        let counted = counts.join().unwrap();
        let kind = table.limits.kind(ROLE, OWNER);
        match begun {
            Ok(()) => assert_eq!((counted, kind), (Err(Unfit::Reserved), None)),
            Err(not_free) => {
                assert_eq!(not_free, NotFree::InUse);
                assert_eq!(kind, counted.ok().map(|()| Kind::Counted));
            }
        }
    });
}

/// Whoever guards the node says how it is while that ends: the alert is over all the same, at the next check at the
/// latest.
#[test]
fn no_level_is_held_when_nobody_guards_the_node() {
    explore(|| {
        let table = Table::new();
        table.open();
        table.limits.configure_overload(RULES, true, &table.world);
        table.limits.guard(ROLE, &table.world).unwrap();
        let other = Arc::clone(&table);
        let finding = |cause| Finding {
            cause: OwnerId(cause),
            strain: Strain::Pressed,
            amount: 1,
            limit: 1,
        };
        let finds = thread::spawn(move || {
            // What it says holds for no time at all.
            other
                .limits
                .press([finding(7), finding(8)], 0, &other.world);
        });
        table.limits.unguard(&table.world);
        finds.join().unwrap();
        table.limits.check_overload(&table.world);
        let role = table.limits.roles().get(ROLE).unwrap();
        assert_eq!(role.level(), Level::Ok);
        assert!(
            !table
                .limits
                .roles()
                .node_refuses(3, || table.world.now().monotonic_ms)
        );
    });
}

/// Whoever is found long while the watch ends is held no more afterwards.
#[test]
fn nobody_is_held_by_a_watch_that_has_ended() {
    explore(|| {
        let table = Table::new();
        table.open();
        table.limits.configure_overload(RULES, true, &table.world);
        table.limits.watch(ROLE, steps(), &table.world).unwrap();
        let other = Arc::clone(&table);
        let sees = thread::spawn(move || other.limits.seen_long(OWNER, 3, &other.world));
        table.limits.unwatch(&table.world);
        sees.join().unwrap();
        assert_eq!(table.limits.kind(ROLE, OWNER), None);
        assert_eq!(table.limits.enqueue(ROLE, OWNER, &table.world), Ok(()));
    });
}
