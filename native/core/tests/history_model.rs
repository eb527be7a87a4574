//! A history against a map of all that was ever recorded.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use erlmcp_core::RoleId;
use erlmcp_core::history::{History, Node, Seen, Span};
use proptest::prelude::*;

/// By step and its number.
type Oracle = BTreeMap<(u64, u64), [Option<u64>; 3]>;

/// The nearest number that has no more than so many leading binary digits, of two the larger; or the largest.
fn nearest(digits: u32, octaves: u32, number: u64) -> u64 {
    let of = |octave| (0..1_u64 << digits).map(move |leading| leading << octave);
    let all = (0..=octaves).flat_map(of);
    let most = ((1 << digits) - 2) << octaves;
    let all = all.filter(|near| *near <= most);
    all.min_by_key(|near| (near.abs_diff(number), u64::MAX - near))
        .unwrap_or(0)
}

fn wide(number: Option<u64>) -> Option<u64> {
    number.map(|number| nearest(5, 30, number))
}

fn narrow(number: Option<u64>) -> Option<u64> {
    number.map(|number| nearest(2, 14, number))
}

fn told(oracle: &Oracle, step_s: u64, points: u64, now_s: u64, column: usize) -> Vec<Option<u64>> {
    let now = now_s / step_s;
    let steps = (0..points).rev().map(|back| now.checked_sub(back));
    let number = |step: Option<u64>| {
        oracle
            .get(&(step_s, step?))
            .and_then(|numbers| numbers[column])
    };
    steps.map(number).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Whatever is recorded and missed, a reading has what was recorded of its span and nothing else.
    #[test]
    fn a_reading_is_what_was_recorded(
        steps in prop::collection::vec(
            (prop_oneof![8 => 1..3_u64, 2 => 1..130_u64, 1 => 500..100_000_u64], 0..100_000_u64,
             prop::option::of(0..200_000_u64), prop::option::of(0..3_u64)), 1..120),
        later_s in prop_oneof![Just(0_u64), 0..700_u64, 0..90_000_u64],
    ) {
        let (mut history, mut role, mut node) = (History::default(), Oracle::new(), Oracle::new());
        let (mut at_s, mut refused, mut before) = (1_000, 0, None);
        for (elapsed_s, more, wait_ms, pressure) in steps {
            at_s += elapsed_s;
            refused += more;
            let seen = Seen { role: RoleId(1), fullest: Some(more), refused, wait_ms, busy: true };
            history.record(at_s, &[seen], Node { latency: None, pressure });
            let rate = before.map(|before| (refused - before + elapsed_s / 2) / elapsed_s);
            before = Some(refused);
            let wait = narrow(wait_ms.map(|ms| (ms + 2) / 4)).map(|steps| steps * 4);
            for step in [(1, at_s), (60, at_s / 60)] {
                for (oracle, numbers) in [
                    (&mut role, [wide(Some(more)), narrow(rate), wait]),
                    (&mut node, [wide(rate), None, pressure]),
                ] {
                    let kept = oracle.entry(step).or_default();
                    kept.iter_mut().zip(numbers).for_each(|(kept, new)| *kept = (*kept).max(new));
                }
            }
        }
        let now_s = at_s + later_s;
        for (span, step_s, points) in [(Span::Seconds, 1, 600), (Span::Minutes, 60, 1_440)] {
            let read = history.read(span, Some(RoleId(1)), now_s);
            let of = |oracle: &Oracle, column| told(oracle, step_s, points, now_s, column);
            prop_assert_eq!(&read.refused_per_s, &of(&node, 0));
            prop_assert_eq!(&read.control_p99_us, &of(&node, 1));
            prop_assert_eq!(&read.pressure, &of(&node, 2));
            prop_assert_eq!(&read.roles[0].fullest, &of(&role, 0));
            prop_assert_eq!(&read.roles[0].refused_per_s, &of(&role, 1));
            prop_assert_eq!(&read.roles[0].max_wait_ms, &of(&role, 2));
        }
    }
}
