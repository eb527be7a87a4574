//! The types of control messages, in the order of their urgency, and numbers for each.

use crate::sync::{AtomicU64, Ordering};

/// The four types of control messages, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// A breaker opens, closes, or is asked.
    CircuitBreaker,
    /// Is the component well?
    HealthCheck,
    /// A session is to end gracefully.
    DrainSession,
    /// A task is to be given up.
    CancelTask,
}

impl ControlType {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [
        Self::CircuitBreaker,
        Self::HealthCheck,
        Self::DrainSession,
        Self::CancelTask,
    ];
}

/// A number for each type.
#[derive(Debug, Default)]
pub(crate) struct ByType([AtomicU64; 4]);

impl ByType {
    pub(crate) fn of(&self, kind: ControlType) -> &AtomicU64 {
        let Self([breaker, health, drain, cancel]) = self;
        match kind {
            ControlType::CircuitBreaker => breaker,
            ControlType::HealthCheck => health,
            ControlType::DrainSession => drain,
            ControlType::CancelTask => cancel,
        }
    }

    pub(crate) fn read(&self) -> [u64; 4] {
        ControlType::ALL.map(|kind| self.of(kind).load(Ordering::Relaxed))
    }

    pub(crate) fn reset(&self) {
        for kind in ControlType::ALL {
            self.of(kind).store(0, Ordering::Relaxed);
        }
    }
}
