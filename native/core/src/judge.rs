//! What all accounts are judged by: whether to judge at all, and how.

use crate::alerts::Alerts;
use crate::mailboxes::Mailboxes;
use crate::overload::{Level, Margin, Marks, Scale};
use crate::setting::Setting;
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// A judge knows whether and by which rules the levels of owners are judged, and has the alerts that came of it.
///
/// A table has one, see [`Limits::judge`](crate::limits::Limits::judge). It judges nothing before it is told to:
///
/// ```
/// use erlmcp_core::judge::Rules;
/// use erlmcp_core::limits::Limits;
/// use erlmcp_core::overload::Margin;
/// use erlmcp_core::{OwnerId, RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let table = Limits::new(RoleId(1), 2, Still.now());
/// assert!(!table.judge().active());
/// let rules = Rules { margin: Margin::ZERO, realert_ms: 60_000, history: 10 };
/// table.configure_overload(rules, true, &Still);
/// table.enqueue(RoleId(1), OwnerId(7), &Still)?;
/// table.enqueue(RoleId(1), OwnerId(7), &Still)?;
/// assert_eq!(table.judge().alerts().history().len(), 1);
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
#[derive(Debug)]
pub struct Judge {
    /// Whether somebody speaks for it.
    open: AtomicBool,
    active: Setting<bool>,
    margin: AtomicU64,
    realert_ms: AtomicU64,
    alerts: Alerts,
    mailboxes: Mailboxes,
}

/// Rules say how levels are judged. [`Judge`] has an example.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// This says how far below its threshold a level is left.
    pub margin: Margin,
    /// A level that lasts is alerted again after so many milliseconds.
    pub realert_ms: u64,
    /// So many alerts are kept, at most [`MAX_HISTORY`](crate::alerts::MAX_HISTORY).
    pub history: usize,
}

impl Judge {
    /// Judges nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            open: AtomicBool::new(false),
            active: Setting::new(false),
            margin: AtomicU64::new(0),
            realert_ms: AtomicU64::new(u64::MAX),
            alerts: Alerts::new(0),
            mailboxes: Mailboxes::new(),
        }
    }

    /// Gives the alerts so far.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// Gives the mailboxes that are long.
    pub fn mailboxes(&self) -> &Mailboxes {
        &self.mailboxes
    }

    /// Tells whether somebody has the alerts told.
    pub fn is_open(&self) -> bool {
        // Pairs with `set_open`: who finds it open finds it configured.
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn set_open(&self, open: bool) {
        // Pairs with `is_open`.
        self.open.store(open, Ordering::Release);
    }

    /// Tells whether anything is judged.
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

    pub(crate) fn level(&self, depth: u64, scale: Scale, held: Level) -> Level {
        scale.level_after(depth, held, self.margin())
    }

    /// The marks of a level, or none while nothing is judged.
    pub(crate) fn marks(&self, held: Level, scale: Scale) -> Marks {
        if self.active() {
            Marks::of(held, scale, self.margin())
        } else {
            Marks::NONE
        }
    }

    fn margin(&self) -> Margin {
        Margin::new(self.margin.load(Ordering::Relaxed)).unwrap_or(Margin::ZERO)
    }
}
