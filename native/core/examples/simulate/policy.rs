//! What an admission policy may decide, and what it gets to see.

use erlmcp_core::reserve::Reserve;

/// A request, as policies know it.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Which of the clients sent it.
    pub client: usize,
    /// Its class, by its place in the plan.
    pub class: usize,
    /// When it came, in seconds.
    pub arrived: f64,
    /// So many seconds later it is of no use any more.
    pub deadline: f64,
    /// So many were inside once it was admitted, itself included.
    pub inside: u64,
}

/// An admission policy of one queue. Its functions are called in the order of time, with the time in seconds.
pub trait Policy {
    /// So much of its limit is kept for the higher classes. Policies that do not care admit all the same.
    fn keep(&mut self, _reserve: Reserve) {}

    /// Those inside, waiting or being served, have to be fewer than this for another one to be admitted.
    fn limit(&mut self, now: f64) -> f64;

    /// Whether one that comes behind `depth` others is done within `seconds`. Policies that cannot tell hope so.
    fn in_time(&mut self, _depth: u64, _seconds: f64) -> bool {
        true
    }

    /// One was admitted; it makes `depth` inside.
    fn entered(&mut self, _now: f64, _depth: u64) {}

    /// One is about to be served, having waited for so many seconds: whether it is, or dropped. So many wait behind it.
    fn keeps(&mut self, _now: f64, _waited: f64, _behind: usize) -> bool {
        true
    }

    /// One is done, `rtt` seconds after it came.
    fn left(&mut self, _now: f64, _rtt: f64, _request: &Request) {}
}

/// A limit that stays what it is.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub f64);

impl Policy for Fixed {
    fn limit(&mut self, _: f64) -> f64 {
        self.0
    }
}

#[cfg(test)]
pub mod tests {
    use super::Request;

    /// One that made so many inside.
    pub fn request(inside: u64) -> Request {
        Request {
            client: 0,
            class: 0,
            arrived: 0.0,
            deadline: f64::INFINITY,
            inside,
        }
    }
}
