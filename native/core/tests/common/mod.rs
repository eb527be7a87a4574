//! A host whose owners live and die when a test says so.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex; // which ThreadSanitizer sees into, other than the standard library's

use erlmcp_core::{Dead, Host, Instant, OwnerId, Runtime};

/// Owners at or above this number are processes, which can die; the others are names.
pub const FIRST_PROCESS: u64 = 1_000;

/// A watch, as the runtime makes them: an owner that is forgotten and comes back at once may have two for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Watch(u64);

#[derive(Default)]
pub struct TestHost {
    dead: Mutex<HashSet<u64>>,
    watched: Mutex<HashMap<Watch, u64>>,
    made: AtomicU64,
    now_ms: AtomicU64,
    wakes: AtomicU64,
}

#[allow(dead_code)]
impl TestHost {
    /// Marks the owner dead. The table hears of it when the test calls `died`, as it would later.
    pub fn kill(&self, owner: OwnerId) {
        self.dead.lock().insert(owner.0);
        self.watched.lock().retain(|_, watched| *watched != owner.0);
    }

    pub fn watches(&self) -> usize {
        self.watched.lock().len()
    }

    /// How often the table wanted somebody woken since this was last asked.
    pub fn wakes(&self) -> u64 {
        self.wakes.swap(0, Ordering::Relaxed)
    }

    pub fn advance(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Runtime for TestHost {
    fn now(&self) -> Instant {
        let ms = self.now_ms.load(Ordering::Relaxed);
        Instant {
            monotonic_ms: ms,
            system_ms: ms,
        }
    }

    fn wake(&self) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
    }
}

impl Host for TestHost {
    type Watch = Watch;

    fn is_alive(&self, owner: OwnerId) -> bool {
        !self.dead.lock().contains(&owner.0)
    }

    fn watch(&self, owner: OwnerId) -> Result<Option<Watch>, Dead> {
        // As in the runtime, nobody dies between the look and the watch.
        let dead = self.dead.lock();
        if dead.contains(&owner.0) {
            return Err(Dead);
        }
        if owner.0 < FIRST_PROCESS {
            return Ok(None);
        }
        let watch = Watch(self.made.fetch_add(1, Ordering::Relaxed));
        self.watched.lock().insert(watch, owner.0);
        Ok(Some(watch))
    }

    fn unwatch(&self, watch: Watch) {
        self.watched.lock().remove(&watch);
    }
}
