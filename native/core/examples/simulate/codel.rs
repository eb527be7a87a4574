//! CoDel: requests are dropped when their turn comes, once none has waited briefly for a while.

use crate::policy::Policy;

/// CoDel as RFC 8289 has it, with a queue of requests in place of packets.
#[derive(Clone, Copy, Debug)]
pub struct Codel {
    target: f64,
    interval: f64,
    most: f64,
    /// Since when every wait has been above the target, plus the interval.
    above_at: Option<f64>,
    dropping: bool,
    next_drop: f64,
    count: f64,
    last_count: f64,
}

impl Codel {
    /// The one with this setpoint and this interval in seconds, in front of a queue of at most `most`.
    pub fn new(target: f64, interval: f64, most: f64) -> Self {
        Self {
            target,
            interval,
            most,
            above_at: None,
            dropping: false,
            next_drop: 0.0,
            count: 0.0,
            last_count: 0.0,
        }
    }

    /// Whether waits have been above the target for an interval.
    fn stands(&mut self, now: f64, waited: f64, behind: usize) -> bool {
        // What the RFC says of the last packet's worth of bytes, of the last request.
        if waited < self.target || behind == 0 {
            self.above_at = None;
            return false;
        }
        now >= *self.above_at.get_or_insert(now + self.interval)
    }

    fn law(&self, from: f64) -> f64 {
        from + self.interval / self.count.sqrt()
    }
}

impl Policy for Codel {
    fn limit(&mut self, _: f64) -> f64 {
        self.most
    }

    fn keeps(&mut self, now: f64, waited: f64, behind: usize) -> bool {
        let stands = self.stands(now, waited, behind);
        if self.dropping {
            if !stands {
                self.dropping = false;
            } else if now >= self.next_drop {
                self.count += 1.0;
                self.next_drop = self.law(self.next_drop);
                return false;
            }
        } else if stands {
            self.dropping = true;
            let delta = self.count - self.last_count;
            let recently = now - self.next_drop < 16.0 * self.interval;
            self.count = if delta > 1.0 && recently { delta } else { 1.0 };
            self.next_drop = self.law(now);
            self.last_count = self.count;
            return false;
        }
        true
    }
}

/// What servers make of it, as folly's `Codel` does: while the shortest wait of an interval was above the target,
/// whoever waited more than twice the target is dropped.
#[derive(Clone, Copy, Debug)]
pub struct ServerCodel {
    target: f64,
    interval: f64,
    most: f64,
    interval_ends: f64,
    shortest: f64,
    overloaded: bool,
}

impl ServerCodel {
    /// The one with this setpoint and this interval in seconds, in front of a queue of at most `most`.
    pub fn new(target: f64, interval: f64, most: f64) -> Self {
        Self {
            target,
            interval,
            most,
            interval_ends: 0.0,
            shortest: 0.0,
            overloaded: false,
        }
    }
}

impl Policy for ServerCodel {
    fn limit(&mut self, _: f64) -> f64 {
        self.most
    }

    fn keeps(&mut self, now: f64, waited: f64, _: usize) -> bool {
        if now > self.interval_ends {
            self.overloaded = self.shortest > self.target;
            self.interval_ends = now + self.interval;
            self.shortest = waited;
            // The first of an interval only opens it.
            return true;
        }
        self.shortest = self.shortest.min(waited);
        !(self.overloaded && waited > 2.0 * self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_dropped_after_an_interval_above_the_target() {
        let mut codel = Codel::new(0.005, 0.1, 1000.0);
        assert!(codel.keeps(0.0, 0.006, 9));
        assert!(codel.keeps(0.099, 0.006, 9));
        assert!(!codel.keeps(0.1, 0.006, 9));
        // The next after a whole interval, then after 1/√2 of it, then after 1/√3.
        assert!(codel.keeps(0.199, 0.006, 9));
        assert!(!codel.keeps(0.2, 0.006, 9));
        assert!(codel.keeps(0.27, 0.006, 9));
        assert!(!codel.keeps(0.271, 0.006, 9));
        assert!(!codel.keeps(0.329, 0.006, 9));
    }

    #[test]
    fn one_short_wait_ends_it_and_an_empty_queue_too() {
        let mut codel = Codel::new(0.005, 0.1, 1000.0);
        codel.keeps(0.0, 0.006, 9);
        assert!(codel.keeps(0.05, 0.004, 9));
        assert!(codel.keeps(0.1, 0.006, 9));
        assert!(codel.keeps(0.15, 0.006, 0));
        assert!(codel.keeps(0.2, 0.006, 9));
        assert!(!codel.keeps(0.301, 0.006, 9));
    }

    #[test]
    fn the_servers_one_drops_those_beyond_twice_the_target_after_an_interval_above_it() {
        let mut codel = ServerCodel::new(0.005, 0.1, 1000.0);
        assert!(codel.keeps(0.01, 0.006, 9));
        assert!(codel.keeps(0.05, 0.02, 9));
        assert!(codel.keeps(0.12, 0.02, 9));
        assert!(!codel.keeps(0.13, 0.02, 9));
        assert!(codel.keeps(0.14, 0.009, 9));
        assert!(codel.keeps(0.15, 0.004, 9));
        // The interval that begins here knows of a short wait.
        assert!(codel.keeps(0.23, 0.02, 9));
        assert!(codel.keeps(0.24, 0.02, 9));
    }
}
