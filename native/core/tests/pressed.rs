//! While the node is pressed, whoever it has to do without is refused by everything that admits, and told so.
#![allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects)]

mod common;

use common::{TestHost, Watch};
use erlmcp_core::limits::{Limits, Verdict};
use erlmcp_core::near::Near;
use erlmcp_core::reason::Reason;
use erlmcp_core::request::{Class, Request};
use erlmcp_core::reserve::Reserve;
use erlmcp_core::{Admittance, Entry, OwnerId, RoleId, Runtime, Strain, Told};

const ROLE: RoleId = RoleId(1);
const MAIL: RoleId = RoleId(2);
const OWNER: OwnerId = OwnerId(1);
const SENDER: OwnerId = OwnerId(0);

/// Why a request is refused, if it is.
type Way<'w> = dyn Fn(&Request) -> Option<Reason> + 'w;

fn table(host: &TestHost) -> Limits<Watch> {
    Limits::new(RoleId(0), 1_000, host.now())
}

fn of(class: Class) -> Request {
    Request {
        class,
        ..Request::default()
    }
}

fn press(table: &Limits<Watch>, strain: Strain, host: &TestHost) {
    table.roles().press(strain, host.now().monotonic_ms + 2_000);
}

fn reason(verdict: Verdict) -> Option<Reason> {
    match verdict {
        Verdict::Granted => None,
        Verdict::Refused(refusal) => Some(refusal.reason),
    }
}

/// Why each class is refused by each way to be admitted, the lowest class first.
fn refused(table: &Limits<Watch>, near: &Near<Watch>, host: &TestHost) -> Vec<[Option<Reason>; 4]> {
    let ways: [&Way<'_>; 7] = [
        &|request| reason(table.check_with(ROLE, OWNER, request, host).unwrap()),
        &|request| reason(table.try_enqueue_with(ROLE, OWNER, request, host).unwrap()),
        &|request| {
            let acquired = table.acquire_with(ROLE, OWNER, request, host).unwrap();
            acquired.err().map(|refusal| refusal.reason)
        },
        &|request| {
            let verdict = near.check_with(table, ROLE, OWNER, request, host);
            reason(verdict.unwrap())
        },
        &|request| {
            let verdict = near.try_enqueue_with(table, ROLE, OWNER, request, host);
            reason(verdict.unwrap())
        },
        &|request| {
            let acquired = near.acquire_with(table, ROLE, OWNER, request, host);
            acquired.unwrap().err().map(|refusal| refusal.reason)
        },
        &|request| {
            let entry = table.admit_unasked_with(MAIL, OWNER, SENDER, request, host);
            let (noted, noted_ns) = match entry.unwrap().unwrap() {
                Entry::Ask { noted, noted_ns } => (noted, noted_ns),
                Entry::Granted(claim) => {
                    table.sent_unasked(MAIL, OWNER, claim, SENDER);
                    return None;
                }
            };
            let told = Told {
                noted,
                noted_ns,
                length: 0,
            };
            let asks = (SENDER, told);
            match table.admit_with(MAIL, OWNER, asks, false, request, host) {
                Admittance::Refused(refusal) => Some(refusal.reason),
                Admittance::Granted(claim) => {
                    table.sent(MAIL, OWNER, (claim, SENDER), 0, host);
                    None
                }
                Admittance::Again => panic!("nobody is in the way"),
            }
        },
    ];
    let of_class =
        |way: &dyn Fn(&Request) -> Option<Reason>| Class::ALL.map(|class| way(&of(class)));
    ways.into_iter().map(of_class).collect()
}

#[test]
fn whoever_the_node_has_to_do_without_is_refused_whichever_way_it_comes() {
    let host = TestHost::default();
    let (table, near) = (table(&host), Near::new());
    for _ in 0..5 {
        table.enqueue(ROLE, OWNER, &host).unwrap();
        near.missed(&table, OWNER);
    }
    let node = Some(Reason::Node);
    for (strain, expected) in [
        (Strain::Calm, [None; 4]),
        (Strain::Pressed, [node, node, None, None]),
        (Strain::Dire, [node, node, node, None]),
    ] {
        press(&table, strain, &host);
        let seen = refused(&table, &near, &host);
        assert!(
            seen.iter().all(|way| *way == expected),
            "{strain:?} {seen:?}"
        );
    }
    // Switched off, nothing is refused.
    table.roles().set_enforcing(false);
    let seen = refused(&table, &near, &host);
    assert!(seen.iter().all(|way| *way == [None; 4]), "{seen:?}");
}

#[test]
fn an_offer_refuses_the_same_and_counts_no_refusal() {
    let host = TestHost::default();
    let table = table(&host);
    press(&table, Strain::Pressed, &host);
    let unknown = OwnerId(2);
    for (class, expected) in Class::ALL.into_iter().zip([false, false, true, true]) {
        let request = of(class);
        for owner in [OWNER, unknown] {
            let offered = table.offer(ROLE, owner, &request, &host);
            assert_eq!(offered, Ok(expected), "{class:?}");
        }
        let entry = table.admit_unasked_with(MAIL, OWNER, SENDER, &request, &host);
        let Ok(Some(Entry::Ask { noted, noted_ns })) = entry else {
            panic!("a mailbox that is nearly full is asked about");
        };
        let told = Told {
            noted,
            noted_ns,
            length: 999,
        };
        match table.offer_message(MAIL, OWNER, (SENDER, told), true, &request, &host) {
            Admittance::Granted(claim) if expected => {
                table.sent(MAIL, OWNER, (claim, SENDER), 999, &host);
            }
            Admittance::Refused(()) if !expected => {}
            other => panic!("{class:?}: {other:?}"),
        }
    }
    for role in [ROLE, MAIL] {
        assert_eq!(table.roles().stats(role).unwrap().refused, 0);
    }
    assert_eq!(table.depth(ROLE, OWNER), 2);
}

#[test]
fn what_is_kept_for_the_higher_classes_is_not_offered() {
    let host = TestHost::default();
    let table = table(&host);
    table.roles().set_limit(ROLE, 10, host.now()).unwrap();
    let reserve = Reserve::new(0, 0, 50).unwrap();
    table
        .roles()
        .set_reserve(ROLE, reserve, host.now())
        .unwrap();
    let offered = |class| table.offer(ROLE, OWNER, &of(class), &host).unwrap();
    let taken = |class| (0..20).filter(|_| offered(class)).count();
    assert_eq!((taken(Class::Sheddable), taken(Class::Critical)), (5, 5));
    assert_eq!(table.roles().stats(ROLE).unwrap().refused, 0);
}

#[test]
fn an_owner_that_nobody_knows_is_refused_too_and_no_place_is_taken() {
    let host = TestHost::default();
    let table = table(&host);
    press(&table, Strain::Dire, &host);
    let owner = OwnerId(2);
    let verdict = table.check(ROLE, owner, &host).unwrap();
    assert_eq!(reason(verdict), Some(Reason::Node));
    let verdict = table.try_enqueue(ROLE, owner, &host).unwrap();
    assert_eq!(reason(verdict), Some(Reason::Node));
    assert!(table.acquire(ROLE, owner, &host).unwrap().is_err());
    assert_eq!((table.depth(ROLE, owner), table.owners()), (0, 0));
    assert_eq!(table.roles().stats(ROLE).unwrap().refused, 3);
    // It is named before any other reason.
    table.roles().set_limit(ROLE, 0, host.now()).unwrap();
    let verdict = table.try_enqueue(ROLE, owner, &host).unwrap();
    assert_eq!(reason(verdict), Some(Reason::Node));
    let top = table.try_enqueue_with(ROLE, owner, &of(Class::CriticalPlus), &host);
    assert_eq!(reason(top.unwrap()), Some(Reason::Full));
}

/// How long a node is pressed its queues do not tell, however short and fast they are.
#[test]
fn whoever_the_node_refuses_is_not_told_to_come_back_at_once() {
    let host = TestHost::default();
    let table = table(&host);
    table.roles().set_limit(ROLE, 10, host.now()).unwrap();
    let refuse = |class| match table.check_with(ROLE, OWNER, &of(class), &host).unwrap() {
        Verdict::Refused(refusal) => (refusal.reason, refusal.retry_after_ms),
        Verdict::Granted => panic!("{class:?} is let in"),
    };
    for _ in 0..100 {
        table.enqueue(ROLE, OWNER, &host).unwrap();
        table.dequeue(ROLE, OWNER, &host).unwrap();
        host.advance(10);
    }
    press(&table, Strain::Pressed, &host);
    assert_eq!(refuse(Class::Sheddable), (Reason::Node, 1_000));
    (0..10).for_each(|_| table.enqueue(ROLE, OWNER, &host).unwrap());
    assert_eq!(refuse(Class::Critical), (Reason::Full, 10));
    // A queue that takes longer is believed.
    (0..990).for_each(|_| table.enqueue(ROLE, OWNER, &host).unwrap());
    let (reason, retry_after_ms) = refuse(Class::Sheddable);
    assert_eq!(reason, Reason::Node);
    assert!(retry_after_ms > 5_000, "{retry_after_ms}");
}
