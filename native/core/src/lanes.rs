//! The types of control messages, in the order of their urgency, numbers for each, and how a wait ends.

use crate::sync::{AtomicU64, Ordering};

/// Control messages are of four types, the most urgent first.
///
/// ```
/// use erlmcp_core::control::ControlType;
///
/// assert_eq!(ControlType::ALL[0], ControlType::CircuitBreaker);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// The message opens or closes a breaker, or asks how it stands.
    CircuitBreaker,
    /// The message asks whether the component is well.
    HealthCheck,
    /// The message has a session end gracefully.
    DrainSession,
    /// The message has a task given up.
    CancelTask,
}

impl ControlType {
    /// These are all types, in order.
    pub const ALL: [Self; 4] = [
        Self::CircuitBreaker,
        Self::HealthCheck,
        Self::DrainSession,
        Self::CancelTask,
    ];
}

/// An outcome says how a sender's wait ended. [`Components`](crate::control::Components) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer came.
    Answered,
    /// The handler's process died.
    Died,
    /// The sender gave up.
    TimedOut,
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
