//! Chance that comes out alike whenever it begins with the same seed.

use rand::{RngExt, SeedableRng};
use rand_xorshift::XorShiftRng;

/// A source of random numbers.
#[derive(Debug)]
pub struct Chance(XorShiftRng);

impl Chance {
    /// The one of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(XorShiftRng::seed_from_u64(seed))
    }

    /// Anything from 0 to 1, without the 1.
    pub fn uniform(&mut self) -> f64 {
        self.0.random()
    }

    /// One of `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    /// Exponential, with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    /// Pareto, with mean 1, for a `shape` above 1. At 2 and below it has no variance.
    pub fn pareto(&mut self, shape: f64) -> f64 {
        let least = (shape - 1.0) / shape;
        least * (1.0 - self.uniform()).powf(-1.0 / shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(mut draw: impl FnMut() -> f64) -> f64 {
        (0..200_000).map(|_| draw()).sum::<f64>() / 200_000.0
    }

    #[test]
    fn every_distribution_has_its_mean() {
        let mut chance = Chance::new(1);
        assert!((mean(|| chance.uniform()) - 0.5).abs() < 0.01);
        assert!((mean(|| chance.exponential()) - 1.0).abs() < 0.01);
        assert!((mean(|| chance.pareto(3.0)) - 1.0).abs() < 0.01);
        assert!((mean(|| chance.below(3) as f64) - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_pareto_tail_falls_as_its_shape_says() {
        let mut chance = Chance::new(2);
        let above = mean(|| f64::from(u8::from(chance.pareto(2.0) > 5.0)));
        // (0.5 / 5)² of them.
        assert!((above - 0.01).abs() < 0.001);
    }
}
