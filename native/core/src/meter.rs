//! A depth that measures how fast it drains.

use crate::gauge::{Added, Admission, Gauge, Kind, Leave, Release, Vacant};
use crate::marker::{LEAST, Marker, Pace, tick};

/// A meter is the depth of one queue, and measures how long requests wait in it. [`Limits`](crate::limits::Limits) has
/// one for each owner in each role; this is one by itself, for whoever simulates a queue.
///
/// ```
/// use erlmcp_core::meter::Meter;
///
/// let (meter, ms) = (Meter::new(), 1_000_000);
/// // Three come at once, and one is done every 10 milliseconds.
/// for _ in 0..3 {
///     meter.enqueue(1_000 * ms);
/// }
/// for at_ms in [1_010, 1_020, 1_030] {
///     meter.dequeue(at_ms * ms);
/// }
/// // The second was the first that others waited before: it was marked, and 2 were done in its 20 milliseconds.
/// let pace = meter.pace().expect("one that was marked has left");
/// assert!((pace.per_ms - 0.1).abs() < 1e-6);
/// assert!((pace.sojourn_ms - 20.0).abs() < 1e-6);
/// assert_eq!(meter.depth(), 0);
/// // Ten drain in 100 milliseconds, more or less: that five are done within them is nearly certain.
/// assert_eq!(pace.done_within(100), 5);
/// assert_eq!((pace.done_within(9), pace.done_within(10)), (0, 1));
/// ```
#[derive(Debug)]
pub struct Meter {
    gauge: Gauge,
    marker: Marker,
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

impl Meter {
    /// Makes a meter of nothing.
    pub fn new() -> Self {
        let gauge = Gauge::vacant();
        gauge.occupy(Kind::Counted);
        Self {
            gauge,
            marker: Marker::new(),
        }
    }

    /// Counts one that comes. Gives the depth with it.
    pub fn enqueue(&self, now_ns: u64) -> u64 {
        match self.gauge.add() {
            Ok(Some(added)) => self.came(added, now_ns),
            Ok(None) | Err(Vacant) => self.depth(),
        }
    }

    /// Counts one that comes if the depth is below the limit. Tells whether it was.
    pub fn try_enqueue(&self, limit: u64, now_ns: u64) -> bool {
        match self.gauge.admit(|| limit) {
            Ok(Admission::Admitted(added)) => {
                self.came(added, now_ns);
                true
            }
            Ok(Admission::Refused(..)) | Err(Vacant) => false,
        }
    }

    fn came(&self, added: Added, now_ns: u64) -> u64 {
        if added.unmarked && added.depth >= LEAST && self.marker.is_due(added.depth, tick(now_ns)) {
            self.marker.arm(&self.gauge, now_ns);
        }
        added.depth
    }

    /// Takes one away that is done. Gives the pace if that has measured it anew.
    pub fn dequeue(&self, now_ns: u64) -> Option<Pace> {
        self.leave(Leave::Done, now_ns)
    }

    /// Takes one away that was not done. Gives the pace if that has measured it anew.
    pub fn drop_undone(&self, now_ns: u64) -> Option<Pace> {
        self.leave(Leave::Undone, now_ns)
    }

    fn leave(&self, leave: Leave, now_ns: u64) -> Option<Pace> {
        match self.gauge.release(leave) {
            Ok(Release::Released {
                reached: Some(undone),
                ..
            }) => {
                let pace = self.marker.reached(undone, now_ns, 0);
                self.marker.let_go();
                pace
            }
            _ => None,
        }
    }

    /// Gives the depth.
    pub fn depth(&self) -> u64 {
        self.gauge.depth().unwrap_or(0)
    }

    /// Gives the pace, if it was measured.
    pub fn pace(&self) -> Option<Pace> {
        self.marker.pace()
    }

    /// Tells for how many milliseconds the one that is marked has waited by now, if any is: the oldest, or one that
    /// came after it.
    pub fn waiting_ms(&self, now_ns: u64) -> Option<f64> {
        self.marker.waiting_ms(&self.gauge, now_ns)
    }
}
