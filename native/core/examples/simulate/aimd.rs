//! Additive increase, multiplicative decrease, as `AIMDLimit` of Netflix's concurrency-limits does it.

use crate::policy::{Policy, Request};

/// The limit rises by one with each request that is done in time while at least half of it is in use, and falls to 0.9
/// of itself with each that took longer than the timeout.
#[derive(Clone, Copy, Debug)]
pub struct Aimd {
    limit: f64,
    timeout: f64,
    most: f64,
}

impl Aimd {
    /// The limit that it begins with.
    const FIRST: f64 = 10.0;
    /// What is left of it after a timeout.
    const BACK_OFF: f64 = 0.9;

    /// The one with this timeout in seconds, whose limit never goes beyond `most`.
    pub fn new(timeout: f64, most: f64) -> Self {
        Self {
            limit: Self::FIRST,
            timeout,
            most,
        }
    }
}

impl Policy for Aimd {
    fn limit(&mut self, _: f64) -> f64 {
        self.limit
    }

    fn left(&mut self, _: f64, rtt: f64, request: &Request) {
        if rtt > self.timeout {
            let less = (self.limit * Self::BACK_OFF).floor().min(self.limit - 1.0);
            self.limit = less.max(1.0);
        } else if request.inside as f64 * 2.0 >= self.limit {
            self.limit = (self.limit + 1.0).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::request;

    #[test]
    fn it_rises_by_one_and_falls_by_a_tenth() {
        let mut aimd = Aimd::new(0.5, 100.0);
        aimd.left(1.0, 0.4, &request(5));
        assert_eq!(aimd.limit(1.0), 11.0);
        aimd.left(1.0, 0.6, &request(5));
        assert_eq!(aimd.limit(1.0), 9.0);
        // Less than half in use: no reason to rise.
        aimd.left(1.0, 0.4, &request(4));
        assert_eq!(aimd.limit(1.0), 9.0);
    }

    #[test]
    fn it_never_falls_below_one_and_never_rises_beyond_its_end() {
        let mut aimd = Aimd::new(0.5, 12.0);
        (0..50).for_each(|_| aimd.left(1.0, 0.6, &request(5)));
        assert_eq!(aimd.limit(1.0), 1.0);
        (0..50).for_each(|_| aimd.left(1.0, 0.1, &request(50)));
        assert_eq!(aimd.limit(1.0), 12.0);
    }
}
