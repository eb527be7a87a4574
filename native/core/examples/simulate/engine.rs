//! Plays one plan against one policy: events in the order of their time, and nothing of the clock on the wall.

use std::collections::VecDeque;

use erlmcp_core::request::Class;
use erlmcp_core::reserve::Reserve;

use crate::arrivals::Arrivals;
use crate::chance::Chance;
use crate::outcome::{Outcome, Sample, Served};
use crate::policy::{Policy, Request};
use crate::service::{Order, Service};

/// So many clients send. Each does so for a while, and is silent for three times as long.
pub const CLIENTS: usize = 20;
/// Mean length of a client's turn, in seconds.
const TURN: f64 = 0.5;
/// Limit and depth are noted that often, in seconds.
const SAMPLE: f64 = 0.05;

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// When requests come.
    pub arrivals: Arrivals,
    /// What serves them.
    pub service: Service,
    /// Which classes there are, and how much of each.
    pub classes: Vec<Share>,
    /// What of the limit is kept for the higher ones.
    pub reserve: Reserve,
    /// The shortest and the longest deadline, in seconds, if requests have one.
    pub deadlines: Option<(f64, f64)>,
    /// When the last request comes, in seconds.
    pub until: f64,
}

/// One class among the requests.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Which it is.
    pub class: Class,
    /// Its part of all requests.
    pub of_requests: f64,
}

impl Plan {
    /// Requests of one class and without a deadline.
    pub fn new(arrivals: Arrivals, service: Service, until: f64) -> Self {
        let all = Share {
            class: Class::default(),
            of_requests: 1.0,
        };
        Self {
            arrivals,
            service,
            classes: vec![all],
            reserve: Reserve::NONE,
            deadlines: None,
            until,
        }
    }

    /// Plays it, with the luck of `seed`.
    pub fn play(&self, policy: &mut dyn Policy, seed: u64) -> Outcome {
        policy.keep(self.reserve);
        Play::new(self, policy, seed).run()
    }
}

/// Clients that take turns.
struct Clients {
    on: [bool; CLIENTS],
    turn_ends: [f64; CLIENTS],
    chance: Chance,
}

impl Clients {
    fn new(chance: Chance) -> Self {
        Self {
            on: [false; CLIENTS],
            turn_ends: [0.0; CLIENTS],
            chance,
        }
    }

    /// Who sends the request that comes now: one whose turn it is.
    fn sender(&mut self, now: f64) -> usize {
        for client in 0..CLIENTS {
            while self.turn_ends[client] <= now {
                self.on[client] = !self.on[client];
                let mean = if self.on[client] { TURN } else { 3.0 * TURN };
                self.turn_ends[client] += mean * self.chance.exponential();
            }
        }
        let first = self.chance.below(CLIENTS);
        let turn = (first..first + CLIENTS).map(|client| client % CLIENTS);
        turn.clone()
            .find(|client| self.on[*client])
            .unwrap_or(first)
    }
}

/// One that is being served.
#[derive(Clone, Copy)]
struct Serving {
    request: Request,
    begun: f64,
    ends: f64,
}

struct Play<'a> {
    plan: &'a Plan,
    policy: &'a mut dyn Policy,
    coming: Chance,
    serving: Chance,
    kind: Chance,
    clients: Clients,
    waiting: VecDeque<Request>,
    consumers: Vec<Option<Serving>>,
    inside: u64,
    outcome: Outcome,
}

impl<'a> Play<'a> {
    fn new(plan: &'a Plan, policy: &'a mut dyn Policy, seed: u64) -> Self {
        // Each has a source of its own, so that arrivals are the same whatever a policy does.
        let chance = |which: u64| Chance::new(seed.wrapping_mul(8).wrapping_add(which));
        Self {
            plan,
            policy,
            coming: chance(0),
            serving: chance(1),
            kind: chance(2),
            clients: Clients::new(chance(3)),
            waiting: VecDeque::new(),
            consumers: vec![None; plan.service.consumers],
            inside: 0,
            outcome: Outcome::new(plan.classes.len()),
        }
    }

    fn run(mut self) -> Outcome {
        let Plan {
            arrivals,
            service,
            until,
            ..
        } = self.plan;
        let mut next = arrivals.next(0.0, *until, service.capacity, &mut self.coming);
        let mut sample = 0.0;
        loop {
            let done = self.first_done();
            let (now, consumer) = match (next, done) {
                (None, None) => return self.outcome,
                (Some(at), Some((ends, consumer))) if ends <= at => (ends, Some(consumer)),
                (None, Some((ends, consumer))) => (ends, Some(consumer)),
                (Some(at), _) => (at, None),
            };
            while sample <= now {
                let limit = self.policy.limit(sample);
                self.outcome.samples.push(Sample {
                    at: sample,
                    limit,
                    depth: self.inside,
                });
                sample += SAMPLE;
            }
            match consumer {
                Some(consumer) => self.leave(now, consumer),
                None => {
                    self.come(now);
                    next = arrivals.next(now, *until, service.capacity, &mut self.coming);
                }
            }
            self.serve(now);
        }
    }

    fn first_done(&self) -> Option<(f64, usize)> {
        let busy = self.consumers.iter().enumerate();
        busy.filter_map(|(consumer, serving)| serving.map(|serving| (serving.ends, consumer)))
            .min_by(|one, other| one.0.total_cmp(&other.0))
    }

    fn come(&mut self, now: f64) {
        let mut pick = self.kind.uniform();
        let classes = &self.plan.classes;
        let class = classes.iter().position(|share| {
            pick -= share.of_requests;
            pick < 0.0
        });
        let class = class.unwrap_or(classes.len() - 1);
        let deadline = self.plan.deadlines.map_or(f64::INFINITY, |(least, most)| {
            least + (most - least) * self.kind.uniform()
        });
        let client = self.clients.sender(now);
        let request = Request {
            client,
            class,
            arrived: now,
            deadline,
            inside: self.inside + 1,
        };
        self.outcome.sent.push((now, client, class));
        let bound = self
            .plan
            .reserve
            .bound(classes[class].class, self.policy.limit(now) as u64);
        if self.inside >= bound || !self.policy.in_time(self.inside, deadline) {
            return;
        }
        self.inside += 1;
        self.waiting.push_back(request);
        self.policy.entered(now, self.inside);
    }

    fn leave(&mut self, now: f64, consumer: usize) {
        if let Some(Serving { request, begun, .. }) = self.consumers[consumer].take() {
            self.gone(now, &request);
            let ended = now;
            self.outcome.served.push(Served {
                request,
                begun,
                ended,
            });
        }
    }

    fn gone(&mut self, now: f64, request: &Request) {
        self.inside -= 1;
        self.policy.left(now, now - request.arrived, request);
    }

    /// Gives each idle consumer something to do.
    fn serve(&mut self, now: f64) {
        for consumer in 0..self.consumers.len() {
            while self.consumers[consumer].is_none() {
                let next = match self.plan.service.order {
                    Order::Fifo => self.waiting.pop_front(),
                    Order::Lifo => self.waiting.pop_back(),
                };
                let Some(request) = next else { return };
                let behind = self.waiting.len();
                if self.policy.keeps(now, now - request.arrived, behind) {
                    self.consumers[consumer] = Some(Serving {
                        request,
                        begun: now,
                        ends: now + self.plan.service.draw(now, &mut self.serving),
                    });
                } else {
                    self.gone(now, &request);
                    self.outcome.dropped += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::quantile;
    use crate::policy::Fixed;
    use crate::service::Times;

    const ALL: Fixed = Fixed(f64::INFINITY);

    fn play(load: f64, service: Service, until: f64) -> Outcome {
        Plan::new(Arrivals::steady(load), service, until).play(&mut ALL.clone(), 7)
    }

    fn mean_wait(outcome: &Outcome) -> f64 {
        let waits = outcome.served.iter().map(Served::wait);
        waits.sum::<f64>() / outcome.served.len() as f64
    }

    #[test]
    fn the_mean_wait_at_one_exponential_consumer_is_that_of_the_theory() {
        // M/M/1: ρ / (μ - λ).
        let outcome = play(0.8, Service::new(1.0, Times::Exponential), 400_000.0);
        assert!((mean_wait(&outcome) / 4.0 - 1.0).abs() < 0.05);
    }

    #[test]
    fn the_mean_wait_at_one_constant_consumer_is_half_of_that() {
        // M/D/1: ρ / 2(μ - λ).
        let outcome = play(0.8, Service::new(1.0, Times::Constant), 400_000.0);
        assert!((mean_wait(&outcome) / 2.0 - 1.0).abs() < 0.05);
    }

    #[test]
    fn the_mean_wait_at_four_consumers_is_that_of_the_theory() {
        // M/M/4 with ρ = 0.8: Erlang's C is 0.5964, and C / (μ - λ) the wait, in units of the whole capacity.
        let mut service = Service::new(1.0, Times::Exponential);
        service.consumers = 4;
        let outcome = play(0.8, service, 400_000.0);
        assert!((mean_wait(&outcome) / 2.982 - 1.0).abs() < 0.05);
    }

    #[test]
    fn the_mean_depth_is_the_rate_times_the_mean_stay() {
        // Little's law.
        let outcome = play(0.7, Service::new(10.0, Times::Exponential), 20_000.0);
        let stays = outcome
            .served
            .iter()
            .map(|served| served.ended - served.request.arrived);
        let stay = stays.sum::<f64>() / outcome.served.len() as f64;
        let rate = outcome.served.len() as f64 / 20_000.0;
        let depths = outcome.samples.iter().map(|sample| sample.depth as f64);
        let depth = depths.sum::<f64>() / outcome.samples.len() as f64;
        assert!((depth / (rate * stay) - 1.0).abs() < 0.02);
    }

    #[test]
    fn a_full_queue_loses_what_the_theory_says() {
        // M/M/1/5 at ρ = 1: one in six is refused.
        let plan = Plan::new(
            Arrivals::steady(1.0),
            Service::new(1.0, Times::Exponential),
            200_000.0,
        );
        let outcome = plan.play(&mut Fixed(5.0), 7);
        let refused = 1.0 - outcome.served.len() as f64 / outcome.sent.len() as f64;
        assert!((refused * 6.0 - 1.0).abs() < 0.05);
    }

    #[test]
    fn last_come_first_served_has_the_same_mean_and_a_longer_tail() {
        let fifo = Service::new(1.0, Times::Exponential);
        let lifo = Service {
            order: Order::Lifo,
            ..fifo.clone()
        };
        let (fifo, lifo) = (play(0.7, fifo, 300_000.0), play(0.7, lifo, 300_000.0));
        assert!((mean_wait(&lifo) / mean_wait(&fifo) - 1.0).abs() < 0.05);
        let p99 = |outcome: &Outcome| quantile(outcome.waits(|_| true), 0.99);
        assert!(p99(&lifo) > 1.5 * p99(&fifo));
    }

    #[test]
    fn the_same_seed_plays_the_same() {
        let plan = Plan::new(
            Arrivals::steady(1.2),
            Service::new(100.0, Times::Pareto(2.0)),
            20.0,
        );
        let outcome = |seed| plan.play(&mut Fixed(30.0), seed);
        assert_eq!(outcome(1), outcome(1));
        assert_ne!(outcome(1), outcome(2));
    }

    #[test]
    fn what_comes_does_not_depend_on_the_policy() {
        let plan = Plan::new(
            Arrivals::steady(3.0),
            Service::new(100.0, Times::Exponential),
            20.0,
        );
        let sent = |limit| plan.play(&mut Fixed(limit), 1).sent;
        assert_eq!(sent(3.0), sent(30.0));
    }

    #[test]
    fn a_class_uses_its_part_of_the_limit_and_no_more() {
        let mut plan = Plan::new(
            Arrivals::steady(5.0),
            Service::new(100.0, Times::Constant),
            20.0,
        );
        let share = |class, of_requests| Share { class, of_requests };
        plan.classes = vec![share(Class::Critical, 0.1), share(Class::Sheddable, 0.9)];
        plan.reserve = Reserve::new(0, 0, 50).unwrap();
        let outcome = plan.play(&mut Fixed(20.0), 1);
        let inside = outcome
            .served
            .iter()
            .filter(|served| served.request.class == 1);
        assert_eq!(inside.map(|served| served.request.inside).max(), Some(10));
        let served = |class| {
            let served = outcome
                .served
                .iter()
                .filter(|served| served.request.class == class);
            served.count() as f64
                / outcome.sent.iter().filter(|sent| sent.2 == class).count() as f64
        };
        assert!(served(0) > 0.99 && served(1) < 0.2);
    }
}
