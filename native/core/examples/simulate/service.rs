//! What serves the requests: how many consumers, how fast, in what order.

use crate::chance::Chance;

/// How service times are distributed around their mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Times {
    /// All alike.
    Constant,
    /// As exponential ones.
    Exponential,
    /// Heavy-tailed: Pareto, of this shape.
    Pareto(f64),
}

/// Which of those that wait is served next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The one that came first.
    Fifo,
    /// The one that came last.
    Lifo,
}

/// The consumers of one queue.
#[derive(Clone, Debug)]
pub struct Service {
    /// What all of them can do together, a second, at full speed.
    pub capacity: f64,
    /// So many serve at a time.
    pub consumers: usize,
    /// The distribution of service times.
    pub times: Times,
    /// The order.
    pub order: Order,
    /// At which second the speed changes, to what part of the full one; full until the first.
    pub speeds: Vec<(f64, f64)>,
}

impl Service {
    /// One consumer, first come first served.
    pub fn new(capacity: f64, times: Times) -> Self {
        Self {
            capacity,
            consumers: 1,
            times,
            order: Order::Fifo,
            speeds: Vec::new(),
        }
    }

    /// The part of the full speed at a moment.
    pub fn speed(&self, at: f64) -> f64 {
        let begun = self.speeds.iter().take_while(|(from, _)| *from <= at);
        begun.last().map_or(1.0, |(_, speed)| *speed)
    }

    /// How long the service takes that begins now, in seconds.
    pub fn draw(&self, now: f64, chance: &mut Chance) -> f64 {
        let unit = match self.times {
            Times::Constant => 1.0,
            Times::Exponential => chance.exponential(),
            Times::Pareto(shape) => chance.pareto(shape),
        };
        unit * self.consumers as f64 / (self.capacity * self.speed(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_speed_changes_how_long_it_takes() {
        let mut service = Service::new(100.0, Times::Constant);
        service.consumers = 4;
        service.speeds = vec![(10.0, 0.5), (20.0, 1.0)];
        let mut chance = Chance::new(1);
        assert_eq!(service.draw(9.9, &mut chance), 0.04);
        assert_eq!(service.draw(10.0, &mut chance), 0.08);
        assert_eq!(service.draw(20.0, &mut chance), 0.04);
    }
}
