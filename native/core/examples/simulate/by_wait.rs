//! `{wait, W}`, with the meter and the arithmetic of the core.

use erlmcp_core::meter::Meter;
use erlmcp_core::reserve::Reserve;
use erlmcp_core::wait::Wait;

use crate::policy::{Policy, Request};

const NS_PER_S: f64 = 1e9;

/// A limit that follows what the queue's own meter measures.
#[derive(Debug)]
pub struct ByWait {
    meter: Meter,
    wait: Wait,
    moved_to: Option<u32>,
    reserve: Reserve,
}

impl ByWait {
    /// The least that the limit may be, unless somebody says otherwise.
    const LEAST: u32 = 10;

    /// The one with this target in seconds, whose limit never goes beyond `most`.
    pub fn new(target: f64, most: f64) -> Self {
        let wait = Wait::new((target * 1e3) as u32, Self::LEAST, most as u32);
        Self {
            meter: Meter::new(),
            wait: wait.expect("the target and the most are in their ranges"),
            moved_to: None,
            reserve: Reserve::NONE,
        }
    }
}

/// Time begins at a second, as none does at 0.
fn ns(seconds: f64) -> u64 {
    ((seconds + 1.0) * NS_PER_S) as u64
}

impl Policy for ByWait {
    fn keep(&mut self, reserve: Reserve) {
        self.reserve = reserve;
    }

    fn limit(&mut self, _: f64) -> f64 {
        self.wait.limit(self.moved_to).into()
    }

    fn in_time(&mut self, depth: u64, seconds: f64) -> bool {
        let pace = self.meter.pace();
        pace.is_none_or(|pace| depth < pace.done_within((seconds * 1e3) as u64))
    }

    fn entered(&mut self, now: f64, _: u64) {
        self.meter.enqueue(ns(now));
    }

    fn left(&mut self, now: f64, _: f64, _: &Request) {
        if let Some(pace) = self.meter.dequeue(ns(now)) {
            let usable = |limit: u32| self.reserve.least_bound(limit.into()) as u32;
            let depth = self.meter.depth();
            let next = self.wait.next(self.moved_to, pace.per_ms, depth, usable);
            self.moved_to = Some(next);
        }
    }
}
