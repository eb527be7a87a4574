//! Rates: no two are granted the same, whoever changes, holds or forgets a bucket meanwhile.

use loom::thread;

use super::explore_to;
use crate::address::Address;
use crate::gcra::{Law, Rate};
use crate::rates::{Answer, Definition, Overflow, Rates};
use crate::share::{Scope, Share, WHOLE};
use crate::sync::Arc;
use crate::together::{All, Ask};

const NAME: u64 = 1;
/// The time goes only where a model says so.
const NOW_NS: u64 = 1_000;
const SLOW_NS: u64 = 1_000_000;

fn definition(burst: u64, period_ns: u64) -> Definition {
    let rate = Rate {
        number: 1,
        period_ns,
        burst,
    };
    Definition {
        law: Law::new(rate).unwrap(),
        max_keys: 9,
        overflow: Overflow::Refuse,
        scope: Scope::Cluster,
    }
}

fn define(rates: &Rates, burst: u64, period_ns: u64) {
    let defined = rates.define(NAME, definition(burst, period_ns), true, || NOW_NS);
    defined.unwrap();
}

fn rates(burst: u64) -> Arc<Rates> {
    let rates = Arc::new(Rates::new());
    define(&rates, burst, SLOW_NS);
    rates
}

fn address(rates: &Rates, key: u8) -> Address {
    rates.address(NAME, 1, &[key])
}

/// How much is left after it was taken, if it was.
fn remaining(rates: &Rates, key: u8, now_ns: u64) -> Option<u64> {
    match rates.take(&address(rates, key), 1, now_ns) {
        Ok(Answer::Taken { remaining }) => Some(remaining),
        _ => None,
    }
}

fn take(rates: &Rates, key: u8) -> u64 {
    u64::from(remaining(rates, key, NOW_NS).is_some())
}

fn take_all(rates: &Rates, keys: [u8; 2]) -> u64 {
    let asks = keys.map(|key| Ask {
        address: address(rates, key),
        cost: 1,
    });
    u64::from(rates.take_all(&asks, || NOW_NS) == All::Taken)
}

/// What one thread answers, and another.
fn at_once<R: 'static + Send>(
    rates: &Arc<Rates>,
    other: impl FnOnce(&Rates) -> R + Send + 'static,
    operation: impl FnOnce(&Rates) -> R,
) -> (R, R) {
    let others = Arc::clone(rates);
    let other = thread::spawn(move || other(&others));
    let mine = operation(rates);
    (mine, other.join().unwrap())
}

/// The key's bucket is made by one of them.
#[test]
fn of_a_burst_of_one_only_one_of_two_takes_it() {
    explore_to(3, || {
        let rates = rates(1);
        let (mine, theirs) = at_once(&rates, |rates| take(rates, 1), |rates| take(rates, 1));
        assert_eq!(mine + theirs, 1);
        assert_eq!(take(&rates, 1), 0);
    });
}

/// There is room for one key, and both are new.
#[test]
fn of_two_new_keys_no_more_have_a_bucket_than_may() {
    explore_to(3, || {
        let rates = Arc::new(Rates::new());
        let definition = Definition {
            max_keys: 1,
            ..definition(1, SLOW_NS)
        };
        rates.define(NAME, definition, true, || NOW_NS).unwrap();
        let (mine, theirs) = at_once(&rates, |rates| take(rates, 1), |rates| take(rates, 2));
        assert_eq!(mine + theirs, 1);
        assert_eq!(rates.info(NAME, 0).unwrap().keys, 1);
    });
}

#[test]
fn two_that_take_of_the_same_two_do_not_share_them() {
    explore_to(2, || {
        let rates = rates(1);
        let (mine, theirs) = at_once(
            &rates,
            |rates| take_all(rates, [1, 2]),
            |rates| take_all(rates, [2, 1]),
        );
        assert_eq!(mine + theirs, 1);
        assert_eq!(take(&rates, 1) + take(&rates, 2), 0);
    });
}

/// They hold one bucket each, and want another's.
#[test]
fn two_that_overlap_end_and_one_at_least_takes_all() {
    explore_to(2, || {
        let rates = rates(1);
        let (mine, theirs) = at_once(
            &rates,
            |rates| take_all(rates, [1, 2]),
            |rates| take_all(rates, [2, 3]),
        );
        assert_eq!(mine + theirs, 1);
        assert_eq!(take(&rates, 2), 0);
        assert_eq!(take(&rates, 1) + take(&rates, 3), 1);
    });
}

#[test]
fn one_that_is_refused_takes_nothing_from_whoever_comes_meanwhile() {
    explore_to(3, || {
        let rates = rates(1);
        assert_eq!(take(&rates, 2), 1);
        let (mine, theirs) = at_once(
            &rates,
            |rates| take_all(rates, [1, 2]),
            |rates| take(rates, 1),
        );
        assert_eq!((mine, theirs), (1, 0));
    });
}

/// It finds out that it is refused only when it holds what it wants: somebody else has taken the second.
#[test]
fn one_that_is_refused_late_takes_nothing_either() {
    explore_to(2, || {
        let rates = rates(1);
        take_all(&rates, [3, 3]);
        let others = Arc::clone(&rates);
        let other = thread::spawn(move || take_all(&others, [1, 2]));
        let second = take(&rates, 2);
        let first = take(&rates, 1);
        let all = other.join().unwrap();
        // Where the other has all, neither is there; else both are.
        assert_eq!((first, second), (1 - all, 1 - all));
    });
}

#[test]
fn nobody_finds_one_taken_and_the_other_not() {
    explore_to(3, || {
        let rates = rates(2);
        let (seen, all) = at_once(
            &rates,
            |rates| {
                assert_eq!(take_all(rates, [1, 2]), 1);
                [true, true]
            },
            // loom would not try each moment for one that only looks.
            |rates| [1, 2].map(|key| remaining(rates, key, NOW_NS) == Some(0)),
        );
        assert_eq!(all, [true, true]);
        assert!(seen != [true, false]);
    });
}

/// The burst stays, and the window becomes another.
#[test]
fn what_is_taken_while_the_rate_is_changed_stays_taken() {
    explore_to(3, || {
        let rates = rates(1);
        let other = |rates: &Rates| {
            define(rates, 1, 3 * SLOW_NS);
            take(rates, 1)
        };
        let (mine, theirs) = at_once(&rates, other, |rates| take(rates, 1));
        assert_eq!(mine + theirs, 1);
        assert_eq!(take(&rates, 1), 0);
    });
}

/// Whoever has read the old bucket is late.
#[test]
fn what_was_taken_before_stays_in_proportion_while_the_rate_is_changed() {
    explore_to(3, || {
        let rates = rates(2);
        assert_eq!(take(&rates, 1), 1);
        let other = |rates: &Rates| {
            define(rates, 4, SLOW_NS);
            0
        };
        let (mine, _) = at_once(&rates, other, |rates| take(rates, 1));
        assert_eq!(mine, 1);
        let more = (0..5).map(|_| take(&rates, 1)).sum::<u64>();
        // All of two and so of four, or two of four and one more.
        assert!(more == 0 || more == 1, "{more}");
    });
}

/// Nobody looks the buckets through for it.
#[test]
fn what_is_taken_while_the_share_is_changed_stays_taken() {
    explore_to(3, || {
        let rates = rates(2);
        let other = |rates: &Rates| {
            rates.set_shares(&[(NAME, Share::new(WHOLE / 2))], Share::ALL, || NOW_NS);
            take(rates, 1)
        };
        let (theirs, mine) = at_once(&rates, |rates| take(rates, 1), other);
        // One of two leaves half of a share of one.
        assert_eq!(mine + theirs, 1);
        assert_eq!(take(&rates, 1), 0);
        assert!(rates.shared().iter().all(|shared| shared.asked == 3));
    });
}

#[test]
fn all_or_nothing_is_taken_while_the_rate_is_changed() {
    explore_to(2, || {
        let rates = rates(1);
        let other = |rates: &Rates| {
            define(rates, 1, 3 * SLOW_NS);
            0
        };
        let (mine, _) = at_once(&rates, other, |rates| take_all(rates, [1, 2]));
        assert_eq!(mine, 1);
        assert_eq!(take(&rates, 1) + take(&rates, 2), 0);
    });
}

/// It is full when it is forgotten, and so is the new one.
#[test]
fn what_is_taken_while_the_key_is_forgotten_stays_taken() {
    explore_to(3, || {
        let rates = rates(1);
        assert_eq!(take(&rates, 1), 1);
        let later = NOW_NS + SLOW_NS;
        let forget = move |rates: &Rates| {
            assert_eq!(rates.buckets.tidy(0, later), None);
            None
        };
        let (mine, _) = at_once(&rates, forget, |rates| remaining(rates, 1, later));
        assert_eq!(mine, Some(0));
        assert_eq!(remaining(&rates, 1, later), None);
        assert_eq!(rates.info(NAME, NOW_NS).unwrap().keys, 1);
    });
}

#[test]
fn all_is_taken_while_keys_are_forgotten() {
    explore_to(2, || {
        let rates = rates(1);
        let forget = |rates: &Rates| {
            assert_eq!(rates.buckets.tidy(0, NOW_NS), None);
            0
        };
        let (mine, _) = at_once(&rates, forget, |rates| take_all(rates, [1, 2]));
        assert_eq!(mine, 1);
        assert_eq!(take(&rates, 1) + take(&rates, 2), 0);
    });
}

#[test]
fn what_is_undefined_meanwhile_leaves_no_key() {
    explore_to(3, || {
        let rates = rates(1);
        let undefine = |rates: &Rates| {
            assert!(rates.undefine(NAME));
            0
        };
        at_once(&rates, undefine, |rates| take(rates, 1));
        assert_eq!(take(&rates, 1), 0);
        // Whoever was late has left one that nobody finds.
        assert_eq!(rates.buckets.tidy(0, NOW_NS), None);
        rates
            .buckets
            .for_each(|_, _| unreachable!("it is taken out"));
        define(&rates, 1, SLOW_NS);
        assert_eq!(take(&rates, 1), 1);
    });
}
