//! Whether a caller is refused, and how long it should wait then before it asks again.

/// The advice in milliseconds when nothing drained; and the least while the node refuses, since how long that lasts no
/// queue tells.
pub(crate) const NOT_KNOWN_MS: u64 = 1_000;
/// The longest advice, in milliseconds.
const LONGEST_MS: u64 = 60_000;

/// An outlook is what the next request meets that comes for an owner. [`Roles::outlook`](crate::roles::Roles::outlook)
/// gives it.
///
/// ```
/// use erlmcp_core::limits::Limits;
/// use erlmcp_core::{Outlook, RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let table = Limits::<()>::new(RoleId(1), 10, Still.now());
/// let at = |depth| table.roles().outlook(RoleId(1), depth, Still.now());
/// assert_eq!(at(4), Some(Outlook::Room(6)));
/// // Nothing has ever drained here.
/// assert_eq!(at(10), Some(Outlook::Stuck(1_000)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing is refused, however much waits: refusals are switched off.
    Open,
    /// Nothing is refused, however much waits: the role has no limit.
    Unlimited,
    /// Everything is refused, however little waits: the role's limit is 0.
    Closed,
    /// It is refused whoever its owner is, since all owners of the role together have as many as they may; and told to
    /// come back after so many milliseconds: 1 to 60000. An estimate.
    Crowded(u64),
    /// There is room for so many more.
    Room(u64),
    /// It is refused, and told to come back after so many milliseconds: 1 to 60000. An estimate.
    Full(u64),
    /// It is refused, and told to come back after so many milliseconds, but nothing drained in the last ten seconds:
    /// when there will be room is not known.
    Stuck(u64),
}

/// Milliseconds until `excess` units will have drained from each of `owners` queues that share the role's
/// rate: 1 to 60000, and 1000 when nothing drained. An estimate.
pub(crate) fn after_ms(excess: u64, owners: u64, drained_per_ms: f64) -> u64 {
    if drained_per_ms > 0.0 {
        let wait = (excess as f64 * owners.max(1) as f64 / drained_per_ms).ceil();
        (wait as u64).clamp(1, LONGEST_MS)
    } else {
        NOT_KNOWN_MS
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn nothing_drained_advises_a_second() {
        assert_eq!(after_ms(5, 3, 0.0), 1_000);
    }

    #[test]
    fn the_advice_is_the_excess_over_the_rate() {
        // 3 × 2 / 0.2 = 30.
        assert_eq!(after_ms(3, 2, 0.2), 30);
        // Rounded up: 1 × 1 / 0.3 = 3.33….
        assert_eq!(after_ms(1, 1, 0.3), 4);
    }

    #[test]
    fn the_advice_stays_in_its_range() {
        assert_eq!(after_ms(1, 1, 100_000.0), 1);
        assert_eq!(after_ms(1_000_000, 1_000, 0.001), 60_000);
        assert_eq!(after_ms(u64::MAX, u64::MAX, 0.001), 60_000);
    }
}
