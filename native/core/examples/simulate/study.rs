//! Plays beside the comparison: hours, deadlines, classes, and owners that are not alike.

use erlmcp_core::request::Class;
use erlmcp_core::reserve::Reserve;

use crate::arrivals::Arrivals;
use crate::contender::Contender;
use crate::engine::{Plan, Share};
use crate::outcome::{Outcome, jain, quantile};
use crate::scenario::{TARGET, TOO_LONG};
use crate::service::{Service, Times};

/// The limit and the wait in each part of an hour at 1.2 times what can be done.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The mean limit.
    pub limit: f64,
    /// 99 in 100 waited no longer, in seconds.
    pub p99: f64,
    /// So many a second were served and did not wait too long.
    pub goodput: f64,
}

/// Six parts of an hour. The first leaves its first five seconds out.
pub fn hour(capacity: f64, times: Times) -> Vec<Part> {
    let plan = Plan::new(Arrivals::steady(1.2), Service::new(capacity, times), 3600.0);
    let outcome = plan.play(&mut *Contender::Wait(TARGET).begin(), 1);
    let part = |index: u32| {
        let (from, to) = (f64::from(index) * 600.0, f64::from(index + 1) * 600.0);
        let from = from.max(5.0);
        let within = |at: f64| (from..to).contains(&at);
        let samples = outcome.samples.iter().filter(|sample| within(sample.at));
        let limits: Vec<f64> = samples.map(|sample| sample.limit).collect();
        Part {
            limit: limits.iter().sum::<f64>() / limits.len() as f64,
            p99: quantile(outcome.waits(|request| within(request.arrived)), 0.99),
            goodput: outcome.good(TOO_LONG, |request| within(request.arrived)) as f64 / (to - from),
        }
    };
    (0..6).map(part).collect()
}

/// The part of those admitted who were done after their deadline, with arrivals of `load` and deadlines between these.
pub fn late(capacity: f64, times: Times, load: f64, deadlines: (f64, f64)) -> f64 {
    let mut plan = Plan::new(Arrivals::steady(load), Service::new(capacity, times), 60.0);
    plan.deadlines = Some(deadlines);
    // A limit that is hardly ever reached: it is the deadline that refuses.
    let play = |seed| plan.play(&mut *Contender::Wait(5.0).begin(), seed).late();
    (0..5).map(play).sum::<f64>() / 5.0
}

/// What each of two classes got.
#[derive(Clone, Copy, Debug)]
pub struct Classes {
    /// The part of the critical requests that was served.
    pub critical: f64,
    /// 99 in 100 of them were done within that, in seconds.
    pub critical_p99: f64,
    /// So many sheddable ones a second were served, as a part of what can be done.
    pub sheddable: f64,
    /// What was done in all, as a part of what can be.
    pub all: f64,
}

fn stays(outcome: &Outcome) -> Vec<f64> {
    let settled = outcome
        .served
        .iter()
        .filter(|served| served.request.arrived > 5.0);
    let critical = settled.filter(|served| served.request.class == 0);
    critical
        .map(|served| served.ended - served.request.arrived)
        .collect()
}

/// Ten times as many as can be served, critical ones half of what can be, with a reserve of so many percent that
/// sheddable ones may not use; without any of those, if `calm`.
pub fn classes(contender: Contender, times: Times, reserve: u8, calm: bool) -> Classes {
    const LENGTH: f64 = 120.0;
    let capacity = 1000.0;
    let load = if calm { 0.5 } else { 10.0 };
    let mut plan = Plan::new(
        Arrivals::steady(load),
        Service::new(capacity, times),
        LENGTH,
    );
    let critical = 0.5 / load;
    let share = |class, of_requests| Share { class, of_requests };
    plan.classes = vec![
        share(Class::Critical, critical),
        share(Class::Sheddable, 1.0 - critical),
    ];
    plan.reserve = Reserve::new(0, 0, reserve).expect("it is a percentage");
    let outcome = plan.play(&mut *contender.begin(), 3);
    let of = |class| {
        let served = outcome
            .served
            .iter()
            .filter(|served| served.request.class == class);
        served.count() as f64 / (capacity * LENGTH)
    };
    Classes {
        critical: outcome.by_class()[0],
        critical_p99: quantile(stays(&outcome), 0.99),
        sheddable: of(1),
        all: of(0) + of(1),
    }
}

/// What three owners get that serve 50, 200 and 1000 a second, each with 1.5 times that to do.
#[derive(Clone, Copy, Debug)]
pub struct Owners {
    /// Requests a second that were served and did not wait too long, of what can be done.
    pub goodput: f64,
    /// For each owner, what 99 in 100 waited at most, in seconds.
    pub p99: [f64; 3],
    /// Jain's index over what part of its own can each owner did in time.
    pub fairness: f64,
}

/// All three with one policy.
pub fn owners(contender: Contender) -> Owners {
    const CAPACITIES: [f64; 3] = [50.0, 200.0, 1000.0];
    let settled = |at: f64| (5.0..60.0).contains(&at);
    let play = |capacity: f64| {
        let service = Service::new(capacity, Times::Exponential);
        let plan = Plan::new(Arrivals::steady(1.5), service, 60.0);
        let outcome = plan.play(&mut *contender.begin(), 9);
        let good = outcome.good(TOO_LONG, |request| settled(request.arrived));
        let waits = outcome.waits(|request| settled(request.arrived));
        (good as f64 / 55.0 / capacity, quantile(waits, 0.99))
    };
    let each = CAPACITIES.map(play);
    let all = each
        .iter()
        .zip(CAPACITIES)
        .map(|((part, _), capacity)| part * capacity);
    Owners {
        goodput: all.sum::<f64>() / CAPACITIES.iter().sum::<f64>(),
        p99: each.map(|(_, p99)| p99),
        fairness: jain(&each.map(|(part, _)| part)),
    }
}
