//! What an owner is known to take: its pace, how long a newcomer waits, how long ago somebody was taken out.

use crate::account::Account;
use crate::gauge::Kind;
use crate::marker::{Pace, ms_between, tick};
use crate::sync::Ordering;

/// A timing says how long requests wait for an owner.
///
/// ```
/// use erlmcp_core::limits::Limits;
/// use erlmcp_core::timing::Timing;
/// use erlmcp_core::{OwnerId, RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (role, owner) = (RoleId(1), OwnerId(7));
/// let table = Limits::new(role, 10, Still.now());
/// table.enqueue(role, owner, &Still)?;
/// let [row] = table.rows(Some(role), &Still)[..] else { panic!("there is one owner") };
/// // Nobody who waited has left yet, and time stands still here.
/// assert_eq!(row.timing, Timing { stalled_ms: Some(0), ..Timing::default() });
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// So many are done in a second while any wait, if that was measured: an average over the last few measurements.
    pub drain_per_s: Option<f64>,
    /// One that comes now waits for about so many milliseconds, until what is there has drained at that pace.
    pub wait_ms: Option<u64>,
    /// The last one that was measured waited for so many milliseconds.
    pub sojourn_ms: Option<u64>,
    /// For so many milliseconds nobody was taken out, and somebody waited; 0 if nobody waits. It is a tenth of a second
    /// too much at most. There is none of a mailbox.
    pub stalled_ms: Option<u64>,
}

const MS_PER_S: f64 = 1_000.0;

impl<T> Account<T> {
    /// How long requests wait, as of now.
    pub(crate) fn timing(&self, now_ns: u64) -> Timing {
        let (Ok(Kind::Counted), Ok(depth)) = (self.gauge.kind(), self.gauge.depth()) else {
            return Timing::default();
        };
        let pace = self.pace();
        let stalled_ms = if depth == 0 {
            0
        } else {
            ms_between(self.moved.load(Ordering::Relaxed), tick(now_ns))
        };
        Timing {
            drain_per_s: pace.map(|pace| pace.per_ms * MS_PER_S),
            wait_ms: pace.map(|pace| pace.ms_for(depth).ceil() as u64),
            sojourn_ms: pace.map(|pace| pace.sojourn_ms.round() as u64),
            stalled_ms: Some(stalled_ms),
        }
    }

    /// How fast the owner drains, as was measured.
    #[inline]
    pub(crate) fn pace(&self) -> Option<Pace> {
        self.marker.pace()
    }
}
