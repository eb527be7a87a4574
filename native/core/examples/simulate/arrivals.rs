//! When requests come: how many a second at each moment, as a multiple of what the consumers can do.

use crate::chance::Chance;

/// From the end of the one before until `until`, in seconds, the load goes from `from` to `to`, in a straight line.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    until: f64,
    from: f64,
    to: f64,
}

/// Poisson arrivals whose rate changes.
#[derive(Clone, Debug)]
pub struct Arrivals {
    stretches: Vec<Stretch>,
    repeats: bool,
}

impl Arrivals {
    /// The same load all the time.
    pub fn steady(load: f64) -> Self {
        Self::steps(&[(f64::INFINITY, load)])
    }

    /// One load after the other, each until some second.
    pub fn steps(steps: &[(f64, f64)]) -> Self {
        let level = |&(until, load)| Stretch {
            until,
            from: load,
            to: load,
        };
        Self {
            stretches: steps.iter().map(level).collect(),
            repeats: false,
        }
    }

    /// One load after the other, and all over again behind the last.
    pub fn cycle(steps: &[(f64, f64)]) -> Self {
        Self {
            repeats: true,
            ..Self::steps(steps)
        }
    }

    /// From one load to another within some seconds.
    pub fn ramp(from: f64, to: f64, seconds: f64) -> Self {
        let until = seconds;
        Self {
            stretches: vec![Stretch { until, from, to }],
            repeats: false,
        }
    }

    /// The load at a moment; 0 behind the end.
    pub fn load(&self, at: f64) -> f64 {
        let length = self.stretches.last().map_or(0.0, |last| last.until);
        let at = if self.repeats { at % length } else { at };
        let mut begins = 0.0;
        for stretch in &self.stretches {
            if at < stretch.until {
                let part = (at - begins) / (stretch.until - begins);
                return stretch.from + (stretch.to - stretch.from) * part;
            }
            begins = stretch.until;
        }
        0.0
    }

    /// The highest load.
    fn peak(&self) -> f64 {
        self.stretches
            .iter()
            .map(|stretch| stretch.from.max(stretch.to))
            .fold(0.0, f64::max)
    }

    /// The first arrival after `now` and before `end`, with consumers that can do `capacity` a second.
    ///
    /// Arrivals are drawn at the highest rate, and each is kept as often as the rate at its moment asks for.
    pub fn next(&self, now: f64, end: f64, capacity: f64, chance: &mut Chance) -> Option<f64> {
        let peak = self.peak();
        let mut at = now;
        loop {
            at += chance.exponential() / (peak * capacity);
            if at.is_nan() || at >= end {
                return None;
            }
            if chance.uniform() * peak < self.load(at) {
                return Some(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(arrivals: &Arrivals, from: f64, to: f64) -> f64 {
        let mut chance = Chance::new(3);
        let mut at = from;
        let mut count = 0.0;
        while let Some(next) = arrivals.next(at, to, 1000.0, &mut chance) {
            at = next;
            count += 1.0;
        }
        count
    }

    #[test]
    fn as_many_come_as_the_load_says() {
        assert!((count(&Arrivals::steady(1.2), 0.0, 100.0) / 120_000.0 - 1.0).abs() < 0.01);
        assert!(
            (count(&Arrivals::ramp(0.0, 2.0, 100.0), 0.0, 100.0) / 100_000.0 - 1.0).abs() < 0.01
        );
        let cycle = Arrivals::cycle(&[(3.0, 2.0), (5.0, 0.0)]);
        assert!((count(&cycle, 0.0, 100.0) / 120_000.0 - 1.0).abs() < 0.01);
        assert_eq!(count(&cycle, 3.0, 5.0), 0.0);
        assert_eq!(count(&Arrivals::steps(&[(1.0, 1.0)]), 1.0, 100.0), 0.0);
    }
}
