//! What all accounts are judged by: whether to judge at all, and how.

use crate::alerts::Alerts;
use crate::overload::{self, Level, Margin, Marks};
use crate::setting::Setting;
use crate::sync::{AtomicU64, Ordering};

/// The monitor's settings, and where its alerts go.
#[derive(Debug)]
pub struct Judge {
    active: Setting<bool>,
    margin: AtomicU64,
    realert_ms: AtomicU64,
    alerts: Alerts,
}

/// How to judge.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How far below its threshold a level is left.
    pub margin: Margin,
    /// After how long a level that lasts is alerted again, in milliseconds.
    pub realert_ms: u64,
    /// How many alerts are kept.
    pub history: usize,
}

impl Judge {
    /// Judges nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            active: Setting::new(false),
            margin: AtomicU64::new(0),
            realert_ms: AtomicU64::new(u64::MAX),
            alerts: Alerts::new(0),
        }
    }

    /// The alerts so far.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// Whether anything is judged.
    pub fn active(&self) -> bool {
        self.active.get()
    }

    pub(crate) fn switch(&self) -> &Setting<bool> {
        &self.active
    }

    pub(crate) fn set_rules(&self, rules: Rules) {
        let Rules {
            margin,
            realert_ms,
            history,
        } = rules;
        self.margin.store(margin.millionths(), Ordering::Relaxed);
        self.realert_ms.store(realert_ms, Ordering::Relaxed);
        self.alerts.set_capacity(history);
    }

    pub(crate) fn realert_ms(&self) -> u64 {
        self.realert_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn level(&self, depth: u64, limit: u64, held: Level) -> Level {
        overload::level_after(depth, limit, held, self.margin())
    }

    /// The marks of a level, or none while nothing is judged.
    pub(crate) fn marks(&self, held: Level, limit: u64) -> Marks {
        if self.active() {
            Marks::of(held, limit, self.margin())
        } else {
            Marks::NONE
        }
    }

    fn margin(&self) -> Margin {
        Margin::new(self.margin.load(Ordering::Relaxed)).unwrap_or(Margin::ZERO)
    }
}
