//! `Gradient2Limit` of Netflix's concurrency-limits, behind its `WindowedLimit`, with the numbers they come with.

use crate::policy::{Policy, Request};

/// The limit follows the ratio of a long mean of round trips to that of the last second.
#[derive(Clone, Debug)]
pub struct Gradient2 {
    limit: f64,
    most: f64,
    long: Slow,
    window: Window,
    window_ends: f64,
}

/// Those done within a second.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    count: f64,
    sum: f64,
    least: f64,
    inside: f64,
}

/// An exponential mean over [`Slow::LENGTH`] values, which is an ordinary one over its first ten.
#[derive(Clone, Copy, Debug, Default)]
struct Slow {
    value: f64,
    sum: f64,
    count: f64,
}

impl Slow {
    const LENGTH: f64 = 600.0;
    const WARM_UP: f64 = 10.0;

    fn add(&mut self, value: f64) {
        if self.count < Self::WARM_UP {
            self.count += 1.0;
            self.sum += value;
            self.value = self.sum / self.count;
        } else {
            self.value += (value - self.value) * 2.0 / (Self::LENGTH + 1.0);
        }
    }
}

impl Gradient2 {
    /// It begins with this limit, and never goes below it.
    const LEAST: f64 = 20.0;
    /// The weight of a new limit.
    const SMOOTHING: f64 = 0.2;
    /// So many more than the gradient asks for may queue.
    const QUEUE: f64 = 4.0;
    /// Length of a window, in seconds.
    const WINDOW: f64 = 1.0;
    /// A window with fewer round trips says nothing.
    const ENOUGH: f64 = 10.0;

    /// The one whose limit never goes beyond `most`; 200 unless somebody says otherwise.
    pub fn new(most: f64) -> Self {
        Self {
            limit: Self::LEAST,
            most,
            long: Slow::default(),
            window: Window::default(),
            window_ends: 0.0,
        }
    }

    fn update(&mut self, short: f64, inside: f64) {
        self.long.add(short);
        let long = self.long.value;
        if long / short > 2.0 {
            self.long.value *= 0.9;
        }
        if inside < self.limit / 2.0 {
            return;
        }
        let gradient = (long / short).clamp(0.5, 1.0);
        let new = self.limit * gradient + Self::QUEUE;
        let smooth = self.limit * (1.0 - Self::SMOOTHING) + new * Self::SMOOTHING;
        self.limit = smooth.clamp(Self::LEAST, self.most);
    }
}

impl Policy for Gradient2 {
    fn limit(&mut self, _: f64) -> f64 {
        self.limit.floor()
    }

    fn left(&mut self, now: f64, rtt: f64, request: &Request) {
        let window = &mut self.window;
        window.least = if window.count > 0.0 {
            window.least.min(rtt)
        } else {
            rtt
        };
        window.count += 1.0;
        window.sum += rtt;
        window.inside = window.inside.max(request.inside as f64);
        if now > self.window_ends {
            let Window {
                count, sum, inside, ..
            } = std::mem::take(window);
            self.window_ends = now + Self::WINDOW;
            if count >= Self::ENOUGH {
                self.update(sum / count, inside);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::request;

    /// A second in which so many were inside, and each took so long.
    fn second(policy: &mut Gradient2, at: f64, rtt: f64, inside: u64) -> f64 {
        (0..20).for_each(|part| policy.left(at + f64::from(part) * 0.05, rtt, &request(inside)));
        policy.limit
    }

    #[test]
    fn it_grows_by_a_fifth_of_its_queue_while_nothing_takes_longer() {
        let mut policy = Gradient2::new(200.0);
        policy.window_ends = 1.0;
        second(&mut policy, 0.5, 0.1, 20);
        assert!((policy.limit - 20.8).abs() < 1e-9);
        assert!((second(&mut policy, 1.6, 0.1, 20) - 21.6).abs() < 1e-9);
    }

    #[test]
    fn it_shrinks_when_round_trips_grow_and_never_below_its_least() {
        let mut policy = Gradient2::new(200.0);
        policy.limit = 100.0;
        policy.update(0.1, 100.0);
        let before = policy.limit;
        // Ten of an ordinary mean: (0.1 + 0.3) / 2 over 0.3 is a gradient of 2/3.
        policy.update(0.3, 100.0);
        let expected = before * 0.8 + (before * 2.0 / 3.0 + 4.0) * 0.2;
        assert!((policy.limit - expected).abs() < 1e-9);
        (0..200).for_each(|time| policy.update(0.3 * 1.1_f64.powi(time), 1000.0));
        assert_eq!(policy.limit, 20.0);
    }

    #[test]
    fn it_does_not_grow_while_less_than_half_is_in_use() {
        let mut policy = Gradient2::new(200.0);
        policy.update(0.1, 9.0);
        assert_eq!(policy.limit, 20.0);
        policy.update(0.1, 10.0);
        assert!(policy.limit > 20.0);
    }
}
