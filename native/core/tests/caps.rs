//! Caps over all owners of a role, whichever way a place is taken and given back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects)]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};

use common::{FIRST_PROCESS, TestHost, Watch};
use erlmcp_core::limits::{Limits, Verdict};
use erlmcp_core::near::Near;
use erlmcp_core::reason::Reason;
use erlmcp_core::request::{Class, Request};
use erlmcp_core::reserve::Reserve;
use erlmcp_core::{OwnerId, RoleId, Runtime, Strain, UNLIMITED};

const ROLE: RoleId = RoleId(1);
const A: OwnerId = OwnerId(0);
const B: OwnerId = OwnerId(1);
const PROCESS: OwnerId = OwnerId(FIRST_PROCESS);

fn table(host: &TestHost) -> Limits<Watch> {
    Limits::new(RoleId(0), 1_000, host.now())
}

fn cap(table: &Limits<Watch>, total: u64, bytes: u64, host: &TestHost) {
    table
        .roles()
        .set_caps(ROLE, total, bytes, host.now())
        .unwrap();
}

fn of(bytes: u64) -> Request {
    Request {
        bytes,
        ..Request::default()
    }
}

fn reason(verdict: Verdict) -> Option<Reason> {
    match verdict {
        Verdict::Granted => None,
        Verdict::Refused(refusal) => Some(refusal.reason),
    }
}

fn take(table: &Limits<Watch>, owner: OwnerId, bytes: u64, host: &TestHost) -> Option<Reason> {
    reason(
        table
            .try_enqueue_with(ROLE, owner, &of(bytes), host)
            .unwrap(),
    )
}

fn check(table: &Limits<Watch>, owner: OwnerId, bytes: u64, host: &TestHost) -> Option<Reason> {
    reason(table.check_with(ROLE, owner, &of(bytes), host).unwrap())
}

#[test]
fn the_places_of_all_owners_together_are_counted() {
    let host = TestHost::default();
    let table = table(&host);
    assert_eq!(take(&table, A, 0, &host), None);
    cap(&table, 3, UNLIMITED, &host);
    assert_eq!(table.roles().caps(ROLE), (3, UNLIMITED));
    assert_eq!(
        [A, B, B].map(|owner| take(&table, owner, 0, &host)),
        [None, None, Some(Reason::Role)]
    );
    // An owner that nobody knows, too; and nobody knows it after that.
    assert_eq!(check(&table, PROCESS, 0, &host), Some(Reason::Role));
    assert_eq!(take(&table, PROCESS, 0, &host), Some(Reason::Role));
    assert_eq!(table.owners(), 2);
    table.dequeue(ROLE, A, &host).unwrap();
    assert_eq!(check(&table, B, 0, &host), None);
    assert_eq!(take(&table, PROCESS, 0, &host), None);
    // What is recorded is beyond it, and in the way of others.
    table.enqueue(ROLE, PROCESS, &host).unwrap();
    table.dequeue(ROLE, A, &host).unwrap();
    assert_eq!(take(&table, A, 0, &host), Some(Reason::Role));
    // With an owner goes what it had.
    host.kill(PROCESS);
    table.died(PROCESS, &host);
    assert_eq!(
        [A, A, A].map(|owner| take(&table, owner, 0, &host)),
        [None, None, Some(Reason::Role)]
    );
    table.forget(ROLE, A, &host);
    assert_eq!(
        [B, B, B].map(|owner| take(&table, owner, 0, &host)),
        [None, None, Some(Reason::Role)]
    );
    // A dequeue of nothing makes no room.
    table.dequeue(ROLE, A, &host).unwrap();
    assert_eq!(take(&table, B, 0, &host), Some(Reason::Role));
    table.roles().set_enforcing(false);
    assert_eq!(take(&table, B, 0, &host), None);
    table.roles().set_enforcing(true);
    cap(&table, UNLIMITED, UNLIMITED, &host);
    assert_eq!(take(&table, B, 0, &host), None);
    // Below what is there, nobody is let in before it is.
    cap(&table, 2, UNLIMITED, &host);
    let mut left = 0;
    while take(&table, A, 0, &host).is_some() {
        table.dequeue(ROLE, B, &host).unwrap();
        left += 1;
    }
    assert_eq!((left, table.depth(ROLE, B)), (4, 1));
}

#[test]
fn a_permit_is_a_place_and_has_bytes() {
    let host = TestHost::default();
    let (table, near) = (table(&host), Near::new());
    cap(&table, 2, 100, &host);
    let permit = |bytes| table.acquire_with(ROLE, A, &of(bytes), &host).unwrap();
    let first = permit(60).unwrap().unwrap();
    assert_eq!(permit(41).map(drop).unwrap_err().reason, Reason::Bytes);
    let second = permit(40).unwrap().unwrap();
    assert_eq!(permit(1).map(drop).unwrap_err().reason, Reason::Role);
    assert_eq!(table.roles().bytes(ROLE), 100);
    assert!(table.give_back(&first, &host) && !table.give_back(&first, &host));
    assert_eq!(table.roles().bytes(ROLE), 40);
    (0..4).for_each(|_| near.missed(&table, A));
    let third = near
        .acquire_with(&table, ROLE, A, &of(60), &host)
        .unwrap()
        .unwrap();
    assert_eq!(near.give_back(&table, &second, &host), Some(true));
    assert_eq!(table.roles().bytes(ROLE), 60);
    // It went with its owner, and comes back with nobody.
    table.forget(ROLE, A, &host);
    assert_eq!(table.roles().bytes(ROLE), 0);
    let fourth = permit(70).unwrap().unwrap();
    assert!(!table.give_back(&third, &host));
    assert_eq!(table.roles().bytes(ROLE), 70);
    assert!(table.give_back(&fourth, &host));
    assert_eq!((table.roles().bytes(ROLE), table.depth(ROLE, A)), (0, 0));
}

#[test]
fn bytes_go_with_the_dequeue_or_with_the_owner() {
    let host = TestHost::default();
    let table = table(&host);
    // Counted before there is a cap.
    assert_eq!(take(&table, A, 70, &host), None);
    cap(&table, UNLIMITED, 100, &host);
    assert_eq!(
        [31, 30].map(|bytes| check(&table, B, bytes, &host)),
        [Some(Reason::Bytes), None]
    );
    assert_eq!(
        [31, 30].map(|bytes| take(&table, B, bytes, &host)),
        [Some(Reason::Bytes), None]
    );
    // Those that say nothing are let in.
    assert_eq!(take(&table, B, 0, &host), None);
    table.dequeue_with(ROLE, A, 70, &host).unwrap();
    assert_eq!(table.roles().bytes(ROLE), 30);
    // No more than the owner has, and not those of others.
    table.dequeue_with(ROLE, A, 30, &host).unwrap();
    assert_eq!(table.roles().bytes(ROLE), 30);
    // Missing at the dequeue, they are there until the owner gives up all.
    table.dequeue(ROLE, B, &host).unwrap();
    assert_eq!(table.roles().bytes(ROLE), 30);
    table.forget(ROLE, B, &host);
    assert_eq!(table.roles().bytes(ROLE), 0);
    assert_eq!(take(&table, PROCESS, 100, &host), None);
    host.kill(PROCESS);
    table.died(PROCESS, &host);
    assert_eq!(table.roles().bytes(ROLE), 0);
    // More than can be counted are too many, cap or not.
    cap(&table, UNLIMITED, UNLIMITED, &host);
    assert_eq!(take(&table, A, 1 << 58, &host), Some(Reason::Bytes));
    assert_eq!((table.roles().bytes(ROLE), table.depth(ROLE, A)), (0, 0));
}

#[test]
fn the_owners_own_limit_is_named_first() {
    let host = TestHost::default();
    let table = table(&host);
    cap(&table, 1, 5, &host);
    table.roles().set_limit(ROLE, 2, host.now()).unwrap();
    let reserve = Reserve::new(0, 0, 50).unwrap();
    table
        .roles()
        .set_reserve(ROLE, reserve, host.now())
        .unwrap();
    let of = |class| Request {
        class,
        bytes: 9,
        deadline_ms: None,
    };
    let refused = |class| reason(table.try_enqueue_with(ROLE, A, &of(class), &host).unwrap());
    assert_eq!(refused(Class::Critical), Some(Reason::Bytes));
    assert_eq!(take(&table, A, 0, &host), None);
    assert_eq!(refused(Class::Sheddable), Some(Reason::Class));
    assert_eq!(refused(Class::Critical), Some(Reason::Role));
    table.enqueue(ROLE, A, &host).unwrap();
    assert_eq!(refused(Class::Critical), Some(Reason::Full));
}

#[test]
fn mailboxes_are_left_out() {
    let host = TestHost::default();
    let table = table(&host);
    cap(&table, 1, UNLIMITED, &host);
    table.admit_unasked(ROLE, A, B, &host).unwrap();
    table.looked(ROLE, A, 500, &host);
    assert_eq!(table.roles().stats(ROLE).unwrap().depth, 500);
    assert_eq!(
        [B, B].map(|owner| take(&table, owner, 0, &host)),
        [None, Some(Reason::Role)]
    );
    assert_eq!(
        table.check_mailbox(ROLE, A, 500, &of(9), &host),
        Verdict::Granted
    );
    table.forget(ROLE, A, &host);
    assert_eq!(table.roles().stats(ROLE).unwrap().depth, 1);
    assert_eq!(take(&table, B, 0, &host), Some(Reason::Role));
}

#[test]
fn many_at_once_never_pass_a_cap() {
    for (total, most) in [(7, 40), (9_000, 2_000)] {
        let host = TestHost::default();
        let table = table(&host);
        let (inside, inside_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        table
            .roles()
            .set_limit(ROLE, UNLIMITED, host.now())
            .unwrap();
        cap(&table, total, most, &host);
        // ThreadSanitizer sees a thread's end by its join, and not by that of the scope.
        std::thread::scope(|scope| {
            let threads = [0, 1, 2, 3].map(|thread: u64| {
                let (table, host, inside, inside_bytes) = (&table, &host, &inside, &inside_bytes);
                scope.spawn(move || {
                    for turn in 0..20_000_u64 {
                        let (owner, bytes) = (OwnerId(thread % 3), (turn + thread) % 10);
                        if take(table, owner, bytes, host).is_some() {
                            continue;
                        }
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < total);
                        assert!(inside_bytes.fetch_add(bytes, Ordering::SeqCst) + bytes <= most);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        inside_bytes.fetch_sub(bytes, Ordering::SeqCst);
                        table.dequeue_with(ROLE, owner, bytes, host).unwrap();
                    }
                })
            });
            for thread in threads {
                thread.join().unwrap();
            }
        });
        assert_eq!(table.roles().bytes(ROLE), 0);
        let admitted = (0..=total).filter(|_| take(&table, A, 0, &host).is_none());
        assert_eq!(admitted.count() as u64, total);
    }
}

/// What decided has to give way: not the owner, which has room.
#[test]
fn who_is_refused_for_all_owners_is_told_when_any_of_them_makes_room() {
    let host = TestHost::default();
    let table = table(&host);
    // One leaves every ten milliseconds, of one of a hundred owners.
    for owner in (0..100).cycle().take(1_000).map(OwnerId) {
        table.enqueue(ROLE, owner, &host).unwrap();
    }
    for owner in (0..100).cycle().take(500).map(OwnerId) {
        host.advance(10);
        table.dequeue(ROLE, owner, &host).unwrap();
        table.roles().sample_rates(host.now());
    }
    let retry_after_ms = |bytes| match table.check_with(ROLE, A, &of(bytes), &host).unwrap() {
        Verdict::Refused(refusal) => (refusal.reason, refusal.retry_after_ms),
        Verdict::Granted => panic!("there is no room"),
    };
    cap(&table, 500, UNLIMITED, &host);
    assert_eq!(retry_after_ms(0), (Reason::Role, 10));
    // Nine more have to leave first.
    cap(&table, 491, UNLIMITED, &host);
    assert_eq!(retry_after_ms(0), (Reason::Role, 100));
    cap(&table, UNLIMITED, 5, &host);
    assert_eq!(retry_after_ms(6), (Reason::Bytes, 10));
    // Nobody knows how long the node is pressed.
    table.roles().press(Strain::Dire, u64::MAX);
    assert_eq!(retry_after_ms(0), (Reason::Node, 1_000));
}
