//! The table under threads: what must hold while many callers use it at once.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use common::{FIRST_PROCESS, TestHost, Watch};
use erlmcp_core::limits::{Limits, Unfit, Verdict};
use erlmcp_core::roles::MAX_ROLES;
use erlmcp_core::{OwnerId, RoleId, Runtime};

const ROLE: RoleId = RoleId(0);

fn table(limit: u64, host: &TestHost) -> Limits<Watch> {
    Limits::new(ROLE, limit, host.now())
}

#[test]
fn many_callers_never_pass_the_limit_of_one_owner() {
    let host = TestHost::default();
    let table = table(50, &host);
    let owner = OwnerId(FIRST_PROCESS);
    let inside = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    if table.try_enqueue(ROLE, owner, &host) == Ok(Verdict::Granted) {
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < 50);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        table.dequeue(ROLE, owner, &host).unwrap();
                    }
                }
            });
        }
    });
    let stats = table.roles().stats(ROLE).unwrap();
    assert!(stats.max_depth <= 50);
    assert_eq!(stats.enqueued, stats.dequeued);
    assert_eq!((stats.depth, stats.unmatched), (0, 0));
}

#[test]
fn whoever_has_set_a_limit_is_held_to_it_whatever_others_set() {
    let host = TestHost::default();
    let (table, done) = (table(9, &host), AtomicBool::new(false));
    thread::scope(|scope| {
        for turn in [0, 1] {
            let (table, host, done) = (&table, &host, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    table.roles().set_limit(ROLE, turn, host.now()).unwrap();
                    table.roles().set_enforcing(true);
                }
            });
        }
        let setters = [1, 2].map(|own| {
            let (table, host) = (&table, &host);
            scope.spawn(move || {
                let (role, owner) = (RoleId(own), OwnerId(FIRST_PROCESS + own));
                let admitted = || table.try_enqueue(role, owner, host) == Ok(Verdict::Granted);
                (0..20_000).map(|turn| turn % 5).all(|limit| {
                    table.roles().set_limit(role, limit, host.now()).unwrap();
                    let taken = (0..=5).filter(|_| admitted()).count() as u64;
                    (0..taken).for_each(|_| table.dequeue(role, owner, host).unwrap());
                    taken == limit
                })
            })
        });
        let held = setters.map(|setter| setter.join().unwrap());
        done.store(true, Ordering::Relaxed);
        assert_eq!(held, [true, true]);
    });
}

#[test]
fn counting_loses_nothing() {
    let host = TestHost::default();
    let table = table(1, &host);
    thread::scope(|scope| {
        for worker in 0..8 {
            let (table, host) = (&table, &host);
            scope.spawn(move || {
                for turn in 0..50_000_u64 {
                    let own = OwnerId(FIRST_PROCESS + worker);
                    table.enqueue(ROLE, own, host).unwrap();
                    table.enqueue(ROLE, OwnerId(turn % 7), host).unwrap();
                }
            });
        }
    });
    let stats = table.roles().stats(ROLE).unwrap();
    assert_eq!(stats.enqueued, 800_000);
    assert_eq!(stats.depth, 800_000);
    assert_eq!(stats.owners, 15);
    assert_eq!(table.depth(ROLE, OwnerId(FIRST_PROCESS)), 50_000);
}

#[test]
fn owners_that_die_while_they_are_used_leave_nothing() {
    let host = TestHost::default();
    let table = table(1_000, &host);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (table, host, done) = (&table, &host, &done);
            scope.spawn(move || {
                let mut turn = worker;
                while !done.load(Ordering::Relaxed) {
                    turn += 1;
                    let owner = OwnerId(FIRST_PROCESS + turn % 50);
                    let role = RoleId(turn % 3);
                    table.enqueue(role, owner, host).unwrap();
                    let _ = table.try_enqueue(role, owner, host);
                    table.dequeue(role, owner, host).unwrap();
                    if turn % 11 == 0 {
                        table.forget(role, owner, host);
                    }
                }
            });
        }
        for owner in (0..50).map(|n| OwnerId(FIRST_PROCESS + n)) {
            for _ in 0..1_000 {
                std::hint::spin_loop();
            }
            host.kill(owner);
            table.died(owner, &host);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(table.owners(), 0);
    assert_eq!(host.watches(), 0);
    for stats in table.roles().all_stats() {
        assert_eq!((stats.owners, stats.depth), (0, 0), "{stats:?}");
        assert_eq!(
            stats.enqueued,
            stats.dequeued - stats.unmatched + stats.released
        );
    }
}

#[test]
fn the_last_role_is_the_1024th_whoever_races_for_it() {
    let host = TestHost::default();
    let table = table(1, &host);
    let refused = AtomicU64::new(0);
    thread::scope(|scope| {
        for worker in 0..4_u64 {
            let (table, host, refused) = (&table, &host, &refused);
            scope.spawn(move || {
                for role in 0..300 {
                    let role = RoleId(1 + worker * 300 + role);
                    if table.enqueue(role, OwnerId(1), host) == Err(Unfit::TooManyRoles) {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(table.roles().ids().len(), MAX_ROLES);
    assert_eq!(
        refused.load(Ordering::Relaxed),
        1 + 1_200 - MAX_ROLES as u64
    );
    assert_eq!(
        table.total_depth(OwnerId(1)),
        Some((MAX_ROLES as u64 - 1, false))
    );
}

#[test]
fn a_table_cleared_while_it_is_used_stays_usable() {
    let host = TestHost::default();
    let table = table(10, &host);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for owner in 0..20 {
                    table.enqueue(RoleId(1), OwnerId(owner), &host).unwrap();
                }
            }
        });
        (0..200).for_each(|_| table.clear(&host));
        done.store(true, Ordering::Relaxed);
    });
    // What was counted since is in the role that the table has, all of it and no more.
    let depths = (0..20).map(|owner| table.depth(RoleId(1), OwnerId(owner)));
    let in_role = table.roles().stats(RoleId(1)).map(|stats| stats.depth);
    assert_eq!(in_role.unwrap_or(0), depths.sum::<u64>());
    table.clear(&host);
    assert_eq!((table.owners(), table.roles().ids()), (0, vec![ROLE]));
    assert_eq!(table.roles().limit(ROLE), 10);
}

#[test]
fn a_refusal_tells_how_fast_the_role_drains() {
    let host = TestHost::default();
    let table = table(100, &host);
    for owner in [OwnerId(1), OwnerId(2)] {
        (0..100).for_each(|_| table.enqueue(ROLE, owner, &host).unwrap());
    }
    let advice = || match table.check(ROLE, OwnerId(1), &host).unwrap() {
        Verdict::Refused(refusal) => refusal.retry_after_ms,
        Verdict::Granted => 0,
    };
    assert_eq!(advice(), 1_000);
    for _ in 0..100 {
        host.advance(10);
        table.enqueue(ROLE, OwnerId(2), &host).unwrap();
        table.dequeue(ROLE, OwnerId(2), &host).unwrap();
    }
    // 100 in a second for two owners: one place each takes 20 ms.
    assert_eq!(advice(), 20);
}

/// The first that is done after a quiet time is no sign of a slow consumer.
#[test]
fn the_advice_after_a_trickle_is_of_the_rate_since() {
    let host = TestHost::default();
    let table = table(40, &host);
    let second = |done: u64| {
        (0..done).for_each(|_| table.enqueue(ROLE, OwnerId(1), &host).unwrap());
        (0..done).for_each(|_| table.dequeue(ROLE, OwnerId(1), &host).unwrap());
        table.roles().sample_rates(host.now());
        host.advance(1_000);
    };
    (0..20).for_each(|_| second(0));
    second(1);
    (0..40).for_each(|_| table.enqueue(ROLE, OwnerId(1), &host).unwrap());
    let verdict = table.check(ROLE, OwnerId(1), &host).unwrap();
    // One in the last two seconds at most, and not one in ten.
    assert!(
        matches!(&verdict, Verdict::Refused(refusal) if refusal.retry_after_ms <= 2_000),
        "{verdict:?}"
    );
}
