//! A host whose owners live and die when a test says so.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use erlmcp_core::{Dead, Host, Instant, OwnerId, Runtime};

/// Owners at or above this number are processes, which can die; the others are names.
pub const FIRST_PROCESS: u64 = 1_000;

#[derive(Default)]
pub struct TestHost {
    dead: Mutex<HashSet<u64>>,
    watched: Mutex<HashSet<u64>>,
    now_ms: AtomicU64,
    wakes: AtomicU64,
}

#[allow(dead_code)]
impl TestHost {
    /// Marks the owner dead. The table hears of it when the test calls `died`, as it would later.
    pub fn kill(&self, owner: OwnerId) {
        self.dead.lock().unwrap().insert(owner.0);
        self.watched.lock().unwrap().remove(&owner.0);
    }

    pub fn watches(&self) -> usize {
        self.watched.lock().unwrap().len()
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
    type Watch = OwnerId;

    fn is_alive(&self, owner: OwnerId) -> bool {
        !self.dead.lock().unwrap().contains(&owner.0)
    }

    fn watch(&self, owner: OwnerId) -> Result<Option<OwnerId>, Dead> {
        if !self.is_alive(owner) {
            return Err(Dead);
        }
        if owner.0 < FIRST_PROCESS {
            return Ok(None);
        }
        assert!(
            self.watched.lock().unwrap().insert(owner.0),
            "watched twice"
        );
        Ok(Some(owner))
    }

    fn unwatch(&self, owner: OwnerId) {
        self.watched.lock().unwrap().remove(&owner.0);
    }
}
