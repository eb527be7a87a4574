//! Limits and switches, and services that are open.

use loom::thread;

use super::judging::RULES;
use super::table::{ROLE, Table};
use super::{ORDINARY, enter, explore, role};
use crate::control::Components;
use crate::gauge::Admission;
use crate::limit::Limit;
use crate::owner::Owner;
use crate::setting::Setting;
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::tally::Seat;
use crate::vocabulary::RoleId;

#[test]
fn an_admission_that_starts_after_a_limit_was_set_obeys_it() {
    explore(|| {
        let role = role(9);
        let owner = Arc::new(Owner::<()>::new(Arc::clone(&role)));
        enter(&owner, &role, |account| {
            account.enqueue(Seat::mine()).unwrap()
        })
        .unwrap();
        let told = Arc::new(AtomicBool::new(false));
        let setter = {
            let (role, told) = (Arc::clone(&role), Arc::clone(&told));
            thread::spawn(move || {
                role.own_limit.set(Some(Limit::Fixed(2)));
                role.settle();
                // Pairs with the load below: how a caller knows that the setting has returned.
                told.store(true, Ordering::Release);
            })
        };
        let others = {
            let owner = Arc::clone(&owner);
            thread::spawn(move || {
                let _ = owner
                    .account(RoleId(1))
                    .unwrap()
                    .try_enqueue(&ORDINARY, Seat::mine());
            })
        };
        if told.load(Ordering::Acquire) {
            let account = owner.account(RoleId(1)).unwrap();
            if let Ok(Admission::Admitted(added)) = account.try_enqueue(&ORDINARY, Seat::mine()) {
                assert!(added.depth <= 2);
            }
        }
        setter.join().unwrap();
        others.join().unwrap();
    });
}

#[test]
fn what_was_set_by_hand_survives_a_configuration_at_the_same_time() {
    explore(|| {
        let setting = Arc::new(Setting::new(1_u64));
        let changes: [fn(&Setting<u64>); 2] =
            [|setting| setting.configure(2), |setting| setting.set(3)];
        let changers = changes.map(|change| {
            let setting = Arc::clone(&setting);
            thread::spawn(move || change(&setting))
        });
        // Nothing but what somebody gave it.
        assert!((1..=3).contains(&setting.get()));
        for changer in changers {
            changer.join().unwrap();
        }
        assert_eq!(setting.get(), 3);
    });
}

/// One opens a service, and another uses it if it is open.
fn opening<S: Send + Sync + 'static>(
    service: fn() -> S,
    open: fn(&S),
    is_open: fn(&S) -> bool,
    is_configured: fn(&S) -> bool,
) {
    explore(move || {
        let service = Arc::new(service());
        assert!(!is_configured(&service));
        let opener = {
            let service = Arc::clone(&service);
            thread::spawn(move || open(&service))
        };
        // Behind the opener, and not in this thread: see the page on what loom forgets.
        let user = {
            let service = Arc::clone(&service);
            thread::spawn(move || !is_open(&service) || is_configured(&service))
        };
        assert!(user.join().unwrap());
        opener.join().unwrap();
        assert!(is_open(&service) && is_configured(&service));
    });
}

#[test]
fn whoever_finds_a_table_open_finds_it_configured() {
    opening(
        Table::new,
        |table| table.open(),
        |table| table.limits.is_open(),
        |table| table.limits.roles().limit(ROLE) == 5,
    );
}

#[test]
fn whoever_finds_a_monitor_open_finds_it_configured() {
    opening(
        Table::new,
        |table| table.limits.open_overload(RULES, true, &table.world),
        |table| table.limits.judge().is_open(),
        |table| table.limits.judge().active(),
    );
}

#[test]
fn whoever_finds_a_plane_open_finds_it_configured() {
    opening(
        Components::<()>::new,
        |plane| plane.open(false),
        |plane| plane.is_open(),
        |plane| !plane.priority(),
    );
}
