//! The fixed limit that somebody would set who knew all that will come.

use crate::contender::Contender;
use crate::scenario::{Scenario, Score, TARGET};

/// Each limit that is tried is that many times the one before: all of them, then those around the best.
const COARSE: f64 = 1.4;
const FINE: f64 = 1.04;

/// A limit, and how it did.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The limit.
    pub limit: f64,
    /// How it did.
    pub score: Score,
}

/// The limit that serves the most of those with which 99 in 100 wait no longer than the target; of all, if there are
/// none such.
pub fn best_fixed(scenario: &Scenario, lucks: u64) -> Found {
    let coarse = best(scenario, lucks, series(2.0, 2000.0, COARSE)).limit;
    best(
        scenario,
        lucks,
        series(coarse / COARSE, coarse * COARSE, FINE),
    )
}

fn series(from: f64, to: f64, by: f64) -> Vec<f64> {
    let mut limits: Vec<f64> = std::iter::successors(Some(from), |limit| Some(limit * by))
        .take_while(|limit| *limit <= to)
        .map(|limit| limit.round().max(1.0))
        .collect();
    limits.dedup();
    limits
}

fn best(scenario: &Scenario, lucks: u64, limits: Vec<f64>) -> Found {
    let tried = limits.into_iter().map(|limit| Found {
        limit,
        score: scenario.try_out(Contender::Fixed(limit), lucks),
    });
    let rank = |found: &Found| (found.score.p99 <= TARGET, found.score.goodput);
    let better = |one: Found, other: Found| {
        if rank(&other) > rank(&one) {
            other
        } else {
            one
        }
    };
    tried.reduce(better).expect("some limit is tried")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::named;

    #[test]
    fn with_constant_service_the_best_limit_is_as_much_as_is_done_within_the_target() {
        let Found { limit, score } = best_fixed(&named("on and off; constant, 100/s"), 1);
        assert!((49.0..=51.0).contains(&limit));
        assert!(score.p99 <= TARGET);
    }
}
