//! Rates against an exact model: the same rule in rational numbers, and a bucket for each key that is never forgotten.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::collections::HashMap;

use erlmcp_core::gcra::{Law, Rate, Short};
use erlmcp_core::rates::{Answer, Definition, Overflow, Rates};
use erlmcp_core::share::Scope;
use erlmcp_core::together::{All, Ask};
use proptest::prelude::*;

const NAME: u64 = 7;
const SECOND: u64 = 1_000_000_000;
const KEYS: u8 = 3;

/// What a bucket has used, in cost × period: so that no number of it is ever a fraction. It drains `number` of them a
/// nanosecond.
#[derive(Clone, Copy, Debug, Default)]
struct Exact {
    used: u128,
    at_ns: u64,
}

impl Exact {
    fn at(self, rate: &Rate, now_ns: u64) -> Self {
        let drained = u128::from(now_ns - self.at_ns) * u128::from(rate.number);
        Self {
            used: self.used.saturating_sub(drained),
            at_ns: now_ns,
        }
    }

    /// What is left once it is taken, or in how many nanoseconds it could be.
    fn take(&mut self, rate: &Rate, cost: u64, now_ns: u64) -> Result<u64, u64> {
        *self = self.at(rate, now_ns);
        let period = u128::from(rate.period_ns);
        let (all, price) = (u128::from(rate.burst) * period, u128::from(cost) * period);
        if self.used + price <= all {
            self.used += price;
            Ok(u64::try_from((all - self.used) / period).unwrap())
        } else {
            let more = self.used + price - all;
            Err(u64::try_from(more.div_ceil(u128::from(rate.number))).unwrap())
        }
    }

    /// What whoever is refused is told.
    fn short(mut self, rate: &Rate, cost: u64, now_ns: u64) -> Short {
        let retry_ns = self.take(rate, cost, now_ns).unwrap_err();
        let period = u128::from(rate.period_ns);
        let left = (u128::from(rate.burst) * period - self.used) / period;
        Short {
            remaining: u64::try_from(left).unwrap(),
            retry_ns,
            reset_ns: u64::try_from(self.used.div_ceil(u128::from(rate.number))).unwrap(),
        }
    }

    fn give_back(&mut self, rate: &Rate, cost: u64, now_ns: u64) {
        *self = self.at(rate, now_ns);
        let price = u128::from(cost) * u128::from(rate.period_ns);
        self.used = self.used.saturating_sub(price);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take(u8, u64),
    TakeAll(Vec<(u8, u64)>),
    Peek(u8),
    GiveBack(u8, u64),
    Reset(u8),
    Pass(u64),
    /// Just so long that the next would be granted, or a nanosecond less.
    PassUntil(u8, u64, bool),
    Forget,
}

fn steps(burst: u64) -> impl Strategy<Value = Vec<Step>> {
    let (key, cost) = (0..KEYS, 1..=burst.min(50));
    let pass = prop_oneof![0..1_000_u64, 0..SECOND, 0..100 * SECOND];
    let step = prop_oneof![
        8 => (key.clone(), cost.clone()).prop_map(|(key, cost)| Step::Take(key, cost)),
        2 => prop::collection::vec((key.clone(), cost.clone()), 0..4).prop_map(Step::TakeAll),
        1 => key.clone().prop_map(Step::Peek),
        1 => (key.clone(), cost.clone()).prop_map(|(key, cost)| Step::GiveBack(key, cost)),
        1 => key.clone().prop_map(Step::Reset),
        3 => pass.prop_map(Step::Pass),
        4 => (key, cost, any::<bool>()).prop_map(|(key, cost, less)| Step::PassUntil(key, cost, less)),
        1 => Just(Step::Forget),
    ];
    prop::collection::vec(step, 1..120)
}

/// Rates whose clock is exact: each divides a nanosecond into at most fifteen units.
fn exact_rate() -> impl Strategy<Value = Rate> {
    let number = prop_oneof![
        1..16_u64,
        prop::sample::select(vec![
            20_u64, 60, 100, 500, 600, 1_000, 3_000, 7_000, 1_000_000, 13_000_000, SECOND
        ]),
    ];
    let period = prop::sample::select(vec![SECOND, 60 * SECOND, 3_600 * SECOND]);
    (number, period, prop_oneof![1..5_u64, 1..1_000_u64]).prop_map(|(number, period_ns, burst)| {
        Rate {
            number,
            period_ns,
            burst,
        }
    })
}

/// Any that there may be, with what its burst can be at most.
fn any_rate() -> impl Strategy<Value = Rate> {
    let period = prop::sample::select(vec![SECOND, 60 * SECOND, 3_600 * SECOND]);
    (period, any::<u64>(), 0..64_u32, 1..10_000_u64).prop_map(
        |(period_ns, number, shift, burst)| Rate {
            number: 1 + (number >> shift) % period_ns,
            period_ns,
            burst,
        },
    )
}

fn rates(rate: Rate) -> Rates {
    let rates = Rates::new();
    rates.define(NAME, definition(rate), true, || 0).unwrap();
    rates
}

fn definition(rate: Rate) -> Definition {
    Definition {
        law: Law::new(rate).unwrap(),
        max_keys: 100,
        overflow: Overflow::Share,
        scope: Scope::Node,
    }
}

fn retry_ns(answer: Answer) -> Result<u64, u64> {
    match answer {
        Answer::Taken { remaining } => Ok(remaining),
        Answer::Refused(refused) => Err(refused.short.retry_ns),
        Answer::CostExceedsBurst(_) => unreachable!("no cost is above the burst"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Every answer is that of the model, to the nanosecond.
    #[test]
    fn every_answer_is_exact((rate, steps) in exact_rate().prop_flat_map(|rate| (Just(rate), steps(rate.burst)))) {
        let rates = rates(rate);
        let mut model: HashMap<u8, Exact> = HashMap::new();
        let mut now_ns = 12_345;
        for step in steps {
            match step {
                Step::Take(key, cost) => {
                    let answer = rates.take(&rates.address(NAME, 1, &[key]), cost, now_ns).unwrap();
                    let known = model.entry(key).or_default();
                    let before = *known;
                    prop_assert_eq!(retry_ns(answer), known.take(&rate, cost, now_ns));
                    if let Answer::Refused(refused) = answer {
                        prop_assert_eq!(refused.short, before.short(&rate, cost, now_ns));
                    }
                }
                Step::Peek(key) => {
                    let answer = rates.peek(&rates.address(NAME, 1, &[key]), now_ns).unwrap();
                    let mut copy = model.get(&key).copied().unwrap_or_default();
                    prop_assert_eq!(retry_ns(answer), copy.take(&rate, 1, now_ns));
                }
                Step::TakeAll(wanted) => {
                    let address = |key: u8| rates.address(NAME, 1, &[key]);
                    let asks: Vec<Ask> =
                        wanted.iter().map(|(key, cost)| Ask { address: address(*key), cost: *cost }).collect();
                    // Up to there, and with it.
                    let sum = |place: usize| {
                        let alike = wanted[..=place].iter().filter(|(of, _)| *of == wanted[place].0);
                        alike.map(|(_, cost)| cost).sum::<u64>()
                    };
                    let mut after = model.clone();
                    let expected = wanted.iter().position(|(key, cost)| {
                        after.entry(*key).or_default().take(&rate, *cost, now_ns).is_err()
                    });
                    match (rates.take_all(&asks, || now_ns), expected) {
                        (All::Taken, None) => model = after,
                        (All::Not(place, Answer::Refused(refused)), Some(expected)) => {
                            prop_assert_eq!(place, expected);
                            let known = model.get(&wanted[place].0).copied().unwrap_or_default();
                            prop_assert_eq!(refused.short, known.short(&rate, sum(place), now_ns));
                        }
                        (All::Not(place, Answer::CostExceedsBurst(_)), Some(expected)) => {
                            prop_assert_eq!(place, expected);
                            prop_assert!(sum(place) > rate.burst);
                        }
                        (answer, expected) => prop_assert!(false, "{answer:?} {expected:?}"),
                    }
                }
                Step::GiveBack(key, cost) => {
                    rates.give_back(&rates.address(NAME, 1, &[key]), cost).unwrap();
                    model.entry(key).or_default().give_back(&rate, cost, now_ns);
                }
                Step::Reset(key) => {
                    rates.reset(&rates.address(NAME, 1, &[key])).unwrap();
                    model.insert(key, Exact { used: 0, at_ns: now_ns });
                }
                Step::Pass(ns) => now_ns += ns,
                Step::PassUntil(key, cost, less) => {
                    let mut copy = model.get(&key).copied().unwrap_or_default();
                    if let Err(ns) = copy.take(&rate, cost, now_ns) {
                        now_ns += ns - u64::from(less);
                    }
                }
                Step::Forget => prop_assert_eq!(rates.tidy(0, now_ns), None),
            }
        }
    }

    /// Of any rate at all, in any stretch of time, no more is granted than burst + rate × time, the time a nanosecond
    /// longer; and whoever comes a nanosecond later than the model says is granted.
    #[test]
    fn no_rate_grants_more_or_notably_less(
        rate in any_rate(),
        pauses in prop::collection::vec((0..4_u8, 0..5 * SECOND), 1..200),
    ) {
        prop_assume!(Law::new(rate).is_ok());
        let rates = rates(rate);
        let address = rates.address(NAME, 1, &[1]);
        let mut upper = Exact::default();
        let mut lower = Exact::default();
        let mut now_ns = SECOND;
        for (kind, pause) in pauses {
            let interval = (rate.period_ns / rate.number).max(1);
            now_ns += match kind {
                0 => 0,
                1 => interval,
                2 => pause % (2 * interval),
                _ => pause,
            };
            let granted = retry_ns(rates.take(&address, 1, now_ns).unwrap()).is_ok();
            if granted {
                prop_assert!(upper.take(&rate, 1, now_ns + 1).is_ok(), "more at {now_ns}");
                lower = lower.at(&rate, now_ns);
                lower.used += u128::from(rate.period_ns);
            } else {
                let before = Exact { at_ns: lower.at_ns, ..lower };
                let mut earlier = before.at(&rate, (now_ns - 1).max(before.at_ns));
                prop_assert!(earlier.take(&rate, 1, earlier.at_ns).is_err(), "less at {now_ns}");
            }
        }
    }

    /// What was used of the burst stays so in proportion, rounded up by less than one, however often it is changed.
    #[test]
    fn another_rate_leaves_what_was_used_in_proportion(
        changes in prop::collection::vec((exact_rate(), 0..SECOND), 1..20),
        first in exact_rate(),
        used in 0.0..1.0_f64,
    ) {
        let rates = rates(first);
        let address = rates.address(NAME, 1, &[1]);
        let mut now_ns = 99;
        let cost = ((first.burst as f64 * used) as u64).max(1);
        rates.take(&address, cost, now_ns).unwrap();
        let mut share = cost as f64 / first.burst as f64;
        let mut rate = first;
        for (next, pause) in changes {
            now_ns += pause;
            share = (share - pause as f64 * rate.number as f64 / rate.period_ns as f64 / rate.burst as f64).max(0.0);
            rates.define(NAME, definition(next), true, || now_ns).unwrap();
            rate = next;
            let left = retry_ns(rates.peek(&address, now_ns).unwrap()).map_or(0, |left| left + 1);
            let expected = rate.burst as f64 * (1.0 - share);
            let close = (expected - left as f64).abs() <= 1.0 + expected * 1e-9;
            prop_assert!(close, "{left} for {expected}");
        }
    }
}

/// One key has the only bucket; the others' costs are added up, and none is above the burst.
#[test]
fn keys_that_share_a_bucket_are_never_told_that_a_cost_exceeds_the_burst() {
    let rate = Rate {
        number: 1,
        period_ns: SECOND,
        burst: 2,
    };
    let rates = Rates::new();
    let definition = Definition {
        max_keys: 1,
        ..definition(rate)
    };
    rates.define(NAME, definition, true, || 0).unwrap();
    rates.take(&rates.address(NAME, 1, b"own"), 1, 0).unwrap();
    let ask = |key: &[u8], cost| Ask {
        address: rates.address(NAME, 1, key),
        cost,
    };
    let asks = [ask(b"one", 2), ask(b"other", 2)];
    let told = |all| match all {
        All::Not(place, Answer::Refused(refused)) => Some((place, refused.short)),
        _ => None,
    };
    let short = Short {
        remaining: 0,
        retry_ns: SECOND,
        reset_ns: SECOND,
    };
    assert_eq!(told(rates.take_all(&asks, || 0)), Some((1, short)));
    assert_eq!(
        rates.take_all(&[ask(b"one", 1), ask(b"one", 2)], || 0),
        All::Not(1, Answer::CostExceedsBurst(2))
    );
    assert_eq!(
        rates.take_all(&[ask(b"one", 1), ask(b"other", 1)], || 0),
        All::Taken
    );
}

/// No step has more to do than some thousand keys ask for, however many there are.
#[test]
fn many_keys_are_forgotten_in_steps() {
    let rate = Rate {
        number: 1,
        period_ns: SECOND,
        burst: 1,
    };
    let rates = Rates::new();
    let definition = Definition {
        max_keys: 100_000,
        ..definition(rate)
    };
    rates.define(NAME, definition, true, || 0).unwrap();
    let take = |key: u64| {
        let address = rates.address(NAME, 1, &key.to_le_bytes());
        rates.take(&address, 1, 0).unwrap();
    };
    (0..100_000).for_each(take);
    let keys = || rates.info(NAME, 0).unwrap().keys;
    let (mut from, mut steps, mut before) = (0, 0, keys());
    while let Some(next) = rates.tidy(from, SECOND) {
        assert!((8_192..=2 * 8_192).contains(&(before - keys())));
        (from, steps, before) = (next, steps + 1, keys());
    }
    assert!(steps >= 6 && keys() == 0, "{steps}");
    // Few are looked at in one, and each tenth time.
    (0..10).for_each(take);
    let steps = (0..20).filter_map(|_| rates.tidy(0, SECOND));
    assert_eq!((steps.count(), keys()), (0, 0));
}

#[test]
fn long_keys_are_counted_in_the_memory_that_all_of_it_takes() {
    let rate = Rate {
        number: 1,
        period_ns: SECOND,
        burst: 1,
    };
    let rates = rates(rate);
    let empty = rates.memory();
    let take = |length: usize| {
        for key in 0..100_u64 {
            let key = [key.to_le_bytes().as_slice(), &vec![0; length - 8]].concat();
            rates.take(&rates.address(NAME, 1, &key), 1, 0).unwrap();
        }
        let memory = rates.memory() - empty;
        assert_eq!(rates.tidy(0, SECOND), None);
        memory
    };
    let (short, long) = (take(8), take(255));
    assert!((25_500..30_000).contains(&(long - short)), "{short} {long}");
    rates.undefine(NAME);
    assert_eq!(rates.memory(), empty);
}
