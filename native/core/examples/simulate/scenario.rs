//! What is played: patterns of arrivals, of service, and which of them go together.

use crate::arrivals::Arrivals;
use crate::contender::Contender;
use crate::engine::Plan;
use crate::outcome::{Outcome, quantile};
use crate::policy::Request;
use crate::service::{Order, Service, Times};

/// The target of `{wait, …}` in all that is played, in seconds.
pub const TARGET: f64 = 0.5;
/// A wait beyond this is too long, in seconds: the promise is 1.3 times the target.
pub const TOO_LONG: f64 = 1.3 * TARGET;
/// The numeric limit of the role, which nobody thought much about.
pub const MOST: f64 = 10_000.0;
/// So long a policy has to find its way, at the beginning and after each change, in seconds.
const SETTLING: f64 = 5.0;
/// How long each is played, in seconds.
const LENGTH: f64 = 60.0;

/// One pattern of arrivals with one of service.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What is played.
    pub plan: Plan,
    /// When something changes for good, in seconds.
    pub changes: Vec<f64>,
}

/// What is said of a policy in a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Score {
    /// Requests a second that were served and did not wait too long, by the time that policies had to settle.
    pub goodput: f64,
    /// 99 in 100 of those served waited no longer, in seconds; of those that came when policies had settled, too.
    pub p99: f64,
    /// Jain's index over what part of its requests each client was served in time.
    pub fairness: f64,
    /// The part of those admitted who were dropped.
    pub dropped: f64,
}

impl Scenario {
    fn new(name: &str, arrivals: Arrivals, service: Service, changes: &[f64]) -> Self {
        Self {
            name: name.to_owned(),
            plan: Plan::new(arrivals, service, LENGTH),
            changes: changes.to_vec(),
        }
    }

    /// Whether policies had the time to settle before this moment.
    pub fn settled(&self, at: f64) -> bool {
        let mut changes = [0.0].iter().chain(&self.changes);
        at < LENGTH && changes.all(|change| !(*change..change + SETTLING).contains(&at))
    }

    fn settled_seconds(&self) -> f64 {
        LENGTH - SETTLING * (1 + self.changes.len()) as f64
    }

    /// Plays it with each of some lucks.
    pub fn play(&self, contender: Contender, lucks: u64) -> Vec<Outcome> {
        let play = |luck| self.plan.play(&mut *contender.begin(), 42 + luck);
        (0..lucks).map(play).collect()
    }

    /// Plays it, and says what is to be said.
    pub fn try_out(&self, contender: Contender, lucks: u64) -> Score {
        let counts = |request: &Request| self.settled(request.arrived);
        let (mut waits, mut good, mut fairness, mut dropped, mut served) = (vec![], 0, 0.0, 0, 0);
        for outcome in self.play(contender, lucks) {
            waits.extend(outcome.waits(counts));
            good += outcome.good(TOO_LONG, counts);
            fairness += outcome.fairness(TOO_LONG) / lucks as f64;
            dropped += outcome.dropped;
            served += outcome.served.len() as u64;
        }
        Score {
            goodput: good as f64 / (self.settled_seconds() * lucks as f64),
            p99: quantile(waits, 0.99),
            fairness,
            dropped: dropped as f64 / (served + dropped).max(1) as f64,
        }
    }
}

/// Names with what they stand for.
type Named<T> = Vec<(&'static str, T)>;

fn arrivals() -> Named<(Arrivals, Vec<f64>)> {
    vec![
        ("under, 0.8", (Arrivals::steady(0.8), vec![])),
        ("over, 1.2", (Arrivals::steady(1.2), vec![])),
        ("flood, 10", (Arrivals::steady(10.0), vec![])),
        (
            "step ×10",
            (
                Arrivals::steps(&[(20.0, 0.5), (40.0, 5.0), (f64::INFINITY, 0.5)]),
                vec![20.0, 40.0],
            ),
        ),
        ("ramp 0–3", (Arrivals::ramp(0.0, 3.0, LENGTH), vec![])),
        (
            "bursts",
            (Arrivals::cycle(&[(4.8, 0.6), (5.0, 10.0)]), vec![]),
        ),
        (
            "idle gaps",
            (Arrivals::cycle(&[(3.0, 1.5), (5.0, 0.0)]), vec![]),
        ),
        (
            "on and off",
            (Arrivals::cycle(&[(0.5, 4.0), (1.0, 0.0)]), vec![]),
        ),
    ]
}

fn times() -> Named<Times> {
    vec![
        ("constant", Times::Constant),
        ("exponential", Times::Exponential),
        ("Pareto", Times::Pareto(2.0)),
    ]
}

/// The one of that name.
pub fn named(name: &str) -> Scenario {
    let mut all = all().into_iter();
    all.find(|scenario| scenario.name == name)
        .expect("one has this name")
}

/// All that is played.
pub fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (coming, (arrivals, changes)) in arrivals() {
        for (kind, times) in times() {
            let name = format!("{coming}; {kind}");
            all.push(Scenario::new(
                &name,
                arrivals.clone(),
                Service::new(1000.0, times),
                &changes,
            ));
        }
        // A tenth as fast: every number is ten times as small, and chance matters more.
        for (kind, times) in &times()[..2] {
            let name = format!("{coming}; {kind}, 100/s");
            all.push(Scenario::new(
                &name,
                arrivals.clone(),
                Service::new(100.0, *times),
                &changes,
            ));
        }
        for consumers in [4, 16] {
            let name = format!("{coming}; exponential, {consumers} consumers");
            let mut service = Service::new(1000.0, Times::Exponential);
            service.consumers = consumers;
            all.push(Scenario::new(&name, arrivals.clone(), service, &changes));
        }
    }
    for (coming, arrivals) in [
        ("over, 1.5", Arrivals::steady(1.5)),
        ("under, 0.8", Arrivals::steady(0.8)),
    ] {
        for (kind, times) in times() {
            for consumers in [1, 16] {
                let name = format!("{coming}; {kind}, {consumers}, slows to half");
                let mut service = Service::new(1000.0, times);
                service.consumers = consumers;
                service.speeds = vec![(20.0, 0.5), (40.0, 1.0)];
                all.push(Scenario::new(
                    &name,
                    arrivals.clone(),
                    service,
                    &[20.0, 40.0],
                ));
            }
        }
    }
    for (kind, times) in &times()[..2] {
        let mut service = Service::new(100.0, *times);
        service.speeds = vec![(20.0, 0.5), (40.0, 1.0)];
        let name = format!("over, 1.5; {kind}, 1, slows to half, 100/s");
        all.push(Scenario::new(
            &name,
            Arrivals::steady(1.5),
            service,
            &[20.0, 40.0],
        ));
    }
    for (coming, (arrivals, changes)) in arrivals() {
        let mut service = Service::new(1000.0, Times::Exponential);
        service.order = Order::Lifo;
        let name = format!("{coming}; exponential, last first");
        all.push(Scenario::new(&name, arrivals, service, &changes));
    }
    all
}
