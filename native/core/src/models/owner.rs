//! An owner: its accounts, its end, its watch, and permits.

use loom::thread;

use super::{NOW, ORDINARY, OWNER, admitted, assert_settled, end, enter, explore, role};
use crate::gauge::{Admission, Leave};
use crate::judge::Judge;
use crate::owner::{Ended, Owner};
use crate::request::Request;
use crate::role::{Policy, Role};
use crate::sync::Arc;
use crate::tally::Seat;
use crate::vocabulary::{RoleId, UNLIMITED};

#[test]
fn admission_against_death_leaves_nothing_in_the_role() {
    explore(|| {
        let role = role(1);
        let owner = Arc::new(Owner::<()>::new(Arc::clone(&role)));
        enter(&owner, &role, |_| ()).unwrap();
        let caller = {
            let owner = Arc::clone(&owner);
            thread::spawn(move || {
                let account = owner.account(RoleId(1)).unwrap();
                let _ = account.try_enqueue(&ORDINARY, Seat::mine());
                let _ = account.dequeue(Seat::mine());
                let _ = account.enqueue(Seat::mine());
            })
        };
        end(&owner);
        caller.join().unwrap();
        assert_settled(&role);
        assert_eq!(admitted(&owner, &role), Err(Ended));
    });
}

/// A request with bytes, of an owner that dies or is forgotten while it is let in, and may be entered again.
#[test]
fn bytes_go_with_the_place_that_they_were_counted_for() {
    for is_forgotten in [false, true] {
        explore(move || {
            let role = role(5);
            role.set_caps(UNLIMITED, 5);
            let owner = Arc::new(Owner::<()>::new(Arc::clone(&role)));
            enter(&owner, &role, |account| _ = account.bytes()).unwrap();
            // A second account keeps the owner from ending when the first is forgotten.
            let other = Arc::new(Role::new(RoleId(2), Arc::new(Policy::new(1)), NOW));
            enter(&owner, &other, |_| ()).unwrap();
            let caller = {
                let owner = Arc::clone(&owner);
                thread::spawn(move || {
                    let request = Request {
                        bytes: 5,
                        ..ORDINARY
                    };
                    let account = owner.account(RoleId(1)).unwrap();
                    _ = account.try_enqueue(&request, Seat::mine());
                })
            };
            let bytes = || role.caps().unwrap().bytes();
            if is_forgotten {
                owner.forget(OWNER, RoleId(1), &Judge::new(), NOW);
                enter(&owner, &role, |_| ()).unwrap();
                caller.join().unwrap();
                // They may be counted for longer than the place, and never for less.
                assert!(bytes() >= role.stats().depth * 5);
            } else {
                end(&owner);
                caller.join().unwrap();
            }
            end(&owner);
            assert_settled(&role);
            assert_eq!(bytes(), 0);
        });
    }
}

#[test]
fn making_a_gauge_against_death_leaves_nothing_in_the_role() {
    explore(|| {
        let first = role(1);
        let second = Arc::new(Role::new(RoleId(2), Arc::new(Policy::new(1)), NOW));
        let owner = Arc::new(Owner::<()>::new(Arc::clone(&first)));
        let callers: Vec<_> = [&first, &second]
            .into_iter()
            .map(|role| {
                let owner = Arc::clone(&owner);
                let role = Arc::clone(role);
                thread::spawn(move || admitted(&owner, &role))
            })
            .collect();
        end(&owner);
        for caller in callers {
            let _ = caller.join().unwrap();
        }
        assert_settled(&first);
        assert_settled(&second);
    });
}

#[test]
fn a_watch_set_up_against_death_is_called_off_once() {
    explore(|| {
        let owner = Arc::new(Owner::new(role(1)));
        let watcher = {
            let owner = Arc::clone(&owner);
            thread::spawn(move || owner.watched_by("watch").is_err())
        };
        let taken_at_the_end = end(&owner).watch.is_some();
        let handed_back = watcher.join().unwrap();
        assert!(taken_at_the_end != handed_back);
    });
}

#[test]
fn a_permit_of_a_forgotten_tenure_takes_nothing() {
    explore(|| {
        let role = role(5);
        let other = Arc::new(Role::new(RoleId(2), Arc::new(Policy::new(1)), NOW));
        let owner = Arc::new(Owner::<()>::new(Arc::clone(&role)));
        // A second role keeps the owner from ending when the first is forgotten.
        enter(&owner, &other, |_| ()).unwrap();
        let tenure = enter(&owner, &role, |account| {
            account.enqueue(Seat::mine()).unwrap();
            account.tenure()
        })
        .unwrap();
        let holder = {
            let owner = Arc::clone(&owner);
            thread::spawn(move || owner.give_back(RoleId(1), tenure, Leave::Done))
        };
        owner.forget(OWNER, RoleId(1), &Judge::new(), NOW);
        enter(&owner, &role, |account| {
            account.enqueue(Seat::mine()).unwrap()
        })
        .unwrap();
        holder.join().unwrap();
        assert_eq!(owner.account(RoleId(1)).unwrap().depth(), Ok(1));
    });
}

/// Whichever use it is taken in.
#[test]
fn a_permit_taken_against_forgetting_takes_back_its_own_place() {
    explore(|| {
        let role = role(5);
        let other = Arc::new(Role::new(RoleId(2), Arc::new(Policy::new(1)), NOW));
        let owner = Arc::new(Owner::<()>::new(Arc::clone(&role)));
        enter(&owner, &other, |_| ()).unwrap();
        enter(&owner, &role, |_| ()).unwrap();
        let holder = {
            let owner = Arc::clone(&owner);
            thread::spawn(move || {
                let account = owner.account(RoleId(1)).unwrap();
                let taken = account.acquire_first(&ORDINARY, Seat::mine());
                if let Ok((tenure, Admission::Admitted(_))) = taken {
                    let _ = owner.give_back(RoleId(1), tenure, Leave::Done);
                }
            })
        };
        for _ in 0..2 {
            owner.forget(OWNER, RoleId(1), &Judge::new(), NOW);
            enter(&owner, &role, |account| {
                account.enqueue(Seat::mine()).unwrap()
            })
            .unwrap();
        }
        holder.join().unwrap();
        assert_eq!(owner.account(RoleId(1)).unwrap().depth(), Ok(1));
        end(&owner);
        assert_settled(&role);
    });
}

/// Two that give back at once, of which one's place was forgotten, and the other's is of a later use.
#[test]
fn permits_of_two_uses_take_back_one_place_each() {
    explore(|| {
        let role = role(5);
        let other = Arc::new(Role::new(RoleId(2), Arc::new(Policy::new(1)), NOW));
        let owner = Arc::new(Owner::<()>::new(Arc::clone(&role)));
        enter(&owner, &other, |_| ()).unwrap();
        let take = || {
            enter(&owner, &role, |account| {
                account.enqueue(Seat::mine()).unwrap();
                account.tenure()
            })
            .unwrap()
        };
        let first = take();
        owner.forget(OWNER, RoleId(1), &Judge::new(), NOW);
        let (second, _) = (take(), take());
        let holder = {
            let owner = Arc::clone(&owner);
            thread::spawn(move || owner.give_back(RoleId(1), first, Leave::Done))
        };
        let left = owner.give_back(RoleId(1), second, Leave::Done);
        assert_eq!(left.map(|step| step.depth), Some(1));
        assert_eq!(holder.join().unwrap(), None);
        assert_eq!(owner.account(RoleId(1)).unwrap().depth(), Ok(1));
    });
}
