//! A meter against a simulated queue that knows who waited, for how long, and how fast those who serve it are.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use erlmcp_core::marker::Pace;
use erlmcp_core::meter::Meter;
use proptest::prelude::*;

const MS: u64 = 1_000_000;

/// How long those who serve take for one, with a mean of so many milliseconds.
#[derive(Clone, Copy, Debug)]
enum Service {
    Constant(u64),
    Exponential(u64),
    /// A Pareto distribution whose tail ends at fifty times the mean.
    HeavyTailed(u64),
}

/// Numbers that look random, the same for the same seed.
struct Chance(u64);

impl Chance {
    /// Between 0 and 1, and neither.
    fn next(&mut self) -> f64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 12) as f64 / (1_u64 << 52) as f64 + f64::EPSILON
    }
}

impl Service {
    fn mean_ms(self) -> f64 {
        match self {
            Self::Constant(ms) | Self::Exponential(ms) | Self::HeavyTailed(ms) => ms as f64,
        }
    }

    fn ns(self, chance: &mut Chance) -> u64 {
        const SHAPE: f64 = 2.5;
        let of_mean = match self {
            Self::Constant(_) => 1.0,
            Self::Exponential(_) => -chance.next().ln(),
            Self::HeavyTailed(_) => {
                let least = (SHAPE - 1.0) / SHAPE;
                (least * chance.next().powf(-1.0 / SHAPE)).min(50.0)
            }
        };
        ((self.mean_ms() * of_mean * MS as f64) as u64).max(1)
    }
}

/// Who is served next.
#[derive(Clone, Copy, Debug)]
enum Order {
    First,
    Last,
}

/// A queue, those who serve it, and a meter that is told what happens.
struct Queue {
    meter: Meter,
    order: Order,
    service: Service,
    chance: Chance,
    now_ns: u64,
    waiting: VecDeque<u64>,
    /// When each that is served will be done, and its number.
    served: BinaryHeap<Reverse<(u64, u64)>>,
    servers: usize,
    arrived: u64,
    paces: Vec<Pace>,
}

impl Queue {
    fn new(order: Order, service: Service, servers: usize, seed: u64) -> Self {
        Self {
            meter: Meter::new(),
            order,
            service,
            chance: Chance(seed),
            now_ns: 1_000 * MS,
            waiting: VecDeque::new(),
            served: BinaryHeap::new(),
            servers,
            arrived: 0,
            paces: Vec::new(),
        }
    }

    fn depth(&self) -> usize {
        self.waiting.len() + self.served.len()
    }

    /// One comes. Returns its number.
    fn arrive(&mut self) -> u64 {
        let number = self.arrived;
        self.arrived += 1;
        self.waiting.push_back(number);
        let depth = self.meter.enqueue(self.now_ns);
        self.serve();
        assert_eq!(depth as usize, self.depth());
        number
    }

    fn serve(&mut self) {
        while self.served.len() < self.servers {
            let next = match self.order {
                Order::First => self.waiting.pop_front(),
                Order::Last => self.waiting.pop_back(),
            };
            let Some(number) = next else { return };
            let done_ns = self.now_ns + self.service.ns(&mut self.chance);
            self.served.push(Reverse((done_ns, number)));
        }
    }

    /// Time goes on until one is done. Returns its number.
    fn complete(&mut self) -> Option<u64> {
        let Reverse((done_ns, number)) = self.served.pop()?;
        self.now_ns = done_ns;
        self.paces.extend(self.meter.dequeue(done_ns));
        self.serve();
        Some(number)
    }

    /// Serves so many while as many as that are always there.
    fn saturate(&mut self, depth: usize, completions: usize) {
        for _ in 0..completions {
            while self.depth() < depth {
                self.arrive();
            }
            self.complete();
        }
    }

    fn drain(&mut self) {
        while self.complete().is_some() {}
    }

    /// How far the rate is from what those who serve can do, as a share of it.
    fn error(&self) -> f64 {
        let can_ms = self.servers as f64 / self.service.mean_ms();
        (self.meter.pace().unwrap().per_ms - can_ms).abs() / can_ms
    }
}

fn any_service() -> impl Strategy<Value = Service> {
    (1_u64..200).prop_flat_map(|ms| {
        prop_oneof![
            Just(Service::Constant(ms)),
            Just(Service::Exponential(ms)),
            Just(Service::HeavyTailed(ms)),
        ]
    })
}

fn any_order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::First), Just(Order::Last)]
}

/// What the next three do.
#[derive(Clone, Copy, Debug)]
enum Step {
    Arrive,
    Complete,
    /// Time goes by in which nobody is served, and nobody waits.
    Idle(u64),
    /// Somebody takes out what is not there.
    Unmatched,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Arrive),
        5 => Just(Step::Complete),
        1 => (1..3_600_000_u64).prop_map(Step::Idle),
        1 => Just(Step::Unmatched),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Of one who serves in order: the meter says what the one that was marked went through, to the last digit that it
    /// keeps.
    #[test]
    fn a_sojourn_is_that_of_the_request_that_was_marked(
        service in any_service(),
        seed in any::<u64>(),
        steps in prop::collection::vec(any_step(), 1..400),
    ) {
        let mut queue = Queue::new(Order::First, service, 1, seed);
        // Who was the first to find others waiting since the last such one was done: number, depth with it, and when.
        // Or the first but those for whom the clock is not read, since the one before was marked just now.
        let mut marked: Option<(u64, u64, u64)> = None;
        let (mut last_depth, mut last_tick) = (0, u64::MAX);
        let (mut done, mut ms, mut marks) = (0.0, 0.0, 0);
        // Whether what was measured by then was old, so that a mark that is faster begins anew.
        let (mut last_sojourn_ms, mut is_doubted) = (0.0_f64, false);
        for step in steps {
            match step {
                Step::Arrive => {
                    let number = queue.arrive();
                    let (depth, tick) = (queue.depth() as u64, queue.now_ns >> 24);
                    let is_due = tick != last_tick || depth / 2 > last_depth;
                    if depth >= 2 && marked.is_none() && is_due {
                        let free_ms = tick.wrapping_sub(last_tick).wrapping_mul(1 << 24) / MS;
                        is_doubted |= marks > 0 && free_ms >= last_sojourn_ms as u64 + 10_000;
                        marked = Some((number, depth, queue.now_ns));
                        (last_depth, last_tick) = (depth, tick);
                    }
                }
                Step::Complete => {
                    let number = queue.complete();
                    if let Some((of, depth, since_ns)) = marked
                        && number == Some(of)
                    {
                        let sojourn_ms = (queue.now_ns - since_ns) as f64 / MS as f64;
                        let is_faster = depth as f64 / sojourn_ms > done / ms;
                        let is_first = marks == 0 || is_doubted && is_faster;
                        let weight = if is_first { 1.0 } else { 0.25 };
                        (last_sojourn_ms, is_doubted) = (sojourn_ms, false);
                        done += weight * (depth as f64 - done);
                        ms += weight * (sojourn_ms - ms);
                        marks += 1;
                        marked = None;
                        let pace = queue.meter.pace().unwrap();
                        prop_assert!((pace.sojourn_ms / sojourn_ms - 1.0).abs() < 1e-5);
                        prop_assert!((pace.per_ms * ms / done - 1.0).abs() < 1e-4);
                    }
                }
                Step::Idle(idle_ms) => {
                    queue.drain();
                    if marked.take().is_some() {
                        // It was measured as above; what it was is not known here any more.
                        (done, ms, marks) = (0.0, 0.0, 0);
                        queue.meter = Meter::new();
                        (last_depth, last_tick) = (0, u64::MAX);
                        queue.paces.clear();
                    }
                    queue.now_ns += idle_ms * MS;
                }
                Step::Unmatched => {
                    if queue.depth() == 0 {
                        let before = queue.meter.pace();
                        prop_assert_eq!(queue.meter.dequeue(queue.now_ns), None);
                        prop_assert_eq!(queue.meter.pace(), before);
                    }
                }
            }
            prop_assert_eq!(queue.paces.len(), marks);
        }
    }

    /// In whatever order, and by however many: the rate is what those who serve can do.
    #[test]
    fn a_rate_is_what_those_who_serve_can_do(
        service in any_service(),
        order in any_order(),
        servers in 1_usize..=16,
        seed in any::<u64>(),
    ) {
        let mut queue = Queue::new(order, service, servers, seed);
        queue.saturate(300, 6_000);
        let most = match service {
            Service::Constant(_) => 0.06,
            Service::Exponential(_) => 0.2,
            Service::HeavyTailed(_) => 0.5,
        };
        prop_assert!(queue.error() < most, "{}", queue.error());
    }

    /// However long nobody waits in between: none of it counts.
    #[test]
    fn idle_time_makes_nobody_slow(
        ms in 1_u64..50,
        burst in 8_usize..200,
        gaps_ms in prop::collection::vec(0..36_000_000_u64, 1..20),
    ) {
        let mut queue = Queue::new(Order::First, Service::Constant(ms), 1, 0);
        for gap_ms in gaps_ms {
            (0..burst).for_each(|_| _ = queue.arrive());
            queue.drain();
            queue.now_ns += gap_ms * MS;
        }
        prop_assert!(queue.error() < 1e-4, "{}", queue.error());
    }

    #[test]
    fn those_who_become_slower_or_quicker_are_found_out(
        before_ms in 2_u64..50,
        after_ms in 2_u64..50,
        servers in 1_usize..=16,
        seed in any::<u64>(),
    ) {
        let mut queue = Queue::new(Order::First, Service::Exponential(before_ms), servers, seed);
        queue.saturate(200, 2_000);
        queue.service = Service::Exponential(after_ms);
        // Twenty marks: what was before counts 0.75 to the power of that, 0.3 %.
        queue.saturate(200, 4_000);
        prop_assert!(queue.error() < 0.25, "{}", queue.error());
    }

    /// They take no time, and are no work that was done.
    #[test]
    fn what_is_taken_out_undone_is_no_drain(
        ms in 1_u64..50,
        rounds in prop::collection::vec(prop::collection::vec(any::<bool>(), 2..100), 1..20),
    ) {
        let (meter, mut now_ns) = (Meter::new(), 1_000 * MS);
        for round in rounds {
            let before = meter.pace();
            now_ns += 100 * MS;
            // The mark is set with the second and counts these two, the next with the third after it, and so on.
            round.iter().for_each(|_| _ = meter.enqueue(now_ns));
            let mut measured = None;
            for undone in &round {
                if *undone {
                    measured = meter.drop_undone(now_ns).or(measured);
                } else {
                    now_ns += ms * MS;
                    measured = meter.dequeue(now_ns).or(measured);
                }
            }
            if round[..2] == [true, true] {
                prop_assert_eq!((measured, meter.pace()), (None, before));
            } else {
                prop_assert!((measured.unwrap().per_ms * ms as f64 - 1.0).abs() < 1e-4);
            }
        }
    }
}

#[test]
fn a_clock_that_stands_still_or_goes_back_measures_nothing() {
    let meter = Meter::new();
    for (came_ns, went_ns) in [(500 * MS, 500 * MS), (600 * MS, 50 * MS), (0, 0)] {
        (0..2).for_each(|_| _ = meter.enqueue(came_ns));
        (0..2).for_each(|_| assert_eq!(meter.dequeue(went_ns), None));
    }
    assert_eq!(meter.pace(), None);
    // One that jumps is believed, and forgotten with the marks that follow.
    (0..2).for_each(|_| _ = meter.enqueue(900 * MS));
    (0..2).for_each(|_| _ = meter.dequeue(u64::MAX));
    let pace = meter.pace().unwrap();
    assert!(pace.per_ms > 0.0 && pace.sojourn_ms.is_finite());
    for at_ms in (1_000..1_400).step_by(2) {
        (0..2).for_each(|_| _ = meter.enqueue(at_ms * 17 * MS));
        (0..2).for_each(|_| _ = meter.dequeue((at_ms * 17 + 2) * MS));
    }
    assert!((meter.pace().unwrap().per_ms - 1.0).abs() < 0.01);
}
