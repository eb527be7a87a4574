//! Everybody in every scenario, against the best fixed limit.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::contender::{Contender, RIVALS};
use crate::scenario::{Scenario, Score, TARGET};
use crate::search::{Found, best_fixed};

/// So many lucks each.
const LUCKS: u64 = 3;
/// Other targets that are played, in seconds.
pub const TARGETS: [f64; 12] = [
    0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6,
];
/// As good in goodput is whoever has that part of it, and as good in the wait whose p99 is no more than that many times
/// the other's.
const SAME_GOODPUT: f64 = 0.99;
const SAME_WAIT: f64 = 1.05;

/// How all did in one scenario.
#[derive(Clone, Debug)]
pub struct Row {
    /// The scenario's name.
    pub name: String,
    /// The best fixed limit.
    pub best: Found,
    /// `{wait, W}` with the usual target.
    pub wait: Score,
    /// The rivals, in their order.
    pub rivals: Vec<Score>,
    /// `{wait, W}` with other targets.
    pub targets: Vec<(f64, Score)>,
}

impl Row {
    fn of(scenario: &Scenario) -> Self {
        let score = |contender| scenario.try_out(contender, LUCKS);
        let with = |target: f64| (target, score(Contender::Wait(target)));
        Self {
            name: scenario.name.clone(),
            best: best_fixed(scenario, LUCKS),
            wait: score(Contender::Wait(TARGET)),
            rivals: RIVALS.map(score).to_vec(),
            targets: TARGETS.map(with).to_vec(),
        }
    }

    /// What arrives.
    pub fn pattern(&self) -> &str {
        let (coming, service) = self.name.split_once("; ").unwrap_or((&self.name, ""));
        if service.contains("last first") {
            "last first"
        } else if service.contains("slows") {
            "slows to half"
        } else {
            coming
        }
    }

    /// Goodput, as a part of that of the best fixed limit.
    pub fn of_best(&self, score: Score) -> f64 {
        score.goodput / self.best.score.goodput
    }

    /// Whether the usual target does as well as a rival in both.
    pub fn as_good(&self, rival: Score) -> bool {
        as_good(self.wait, rival)
    }

    /// A target with which it does, if not with the usual one.
    pub fn target_as_good(&self, rival: Score) -> Option<f64> {
        let usual = [(TARGET, self.wait)];
        let mut targets = usual.iter().chain(&self.targets);
        let found = targets.find(|(_, score)| as_good(*score, rival));
        found.map(|(target, _)| *target)
    }
}

fn as_good(wait: Score, rival: Score) -> bool {
    wait.goodput >= SAME_GOODPUT * rival.goodput && wait.p99 <= SAME_WAIT * rival.p99
}

/// All of them, in their order, on as many cores as there are.
pub fn all(scenarios: &[Scenario]) -> Vec<Row> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut rows = Vec::new();
        // Relaxed: all that is shared is the number itself.
        while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
            rows.push(Row::of(scenario));
        }
        rows
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut rows: Vec<Row> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined
            .flat_map(|rows| rows.expect("no worker panics"))
            .collect()
    });
    let place = |row: &Row| {
        scenarios
            .iter()
            .position(|scenario| scenario.name == row.name)
    };
    rows.sort_by_key(place);
    rows
}
