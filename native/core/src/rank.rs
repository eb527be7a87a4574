//! In which order owners are shown.

use std::cmp::Ordering;

/// A rank is what rows are ordered by, the highest first. Rows of one rank are ordered by their utilisation, then by
/// their depth; one of which the rank is not known comes last.
///
/// ```
/// use erlmcp_core::limits::Limits;
/// use erlmcp_core::rank::Rank;
/// use erlmcp_core::{OwnerId, RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (small, large, owner) = (RoleId(1), RoleId(2), OwnerId(7));
/// let table = Limits::new(small, 2, Still.now());
/// table.roles().set_limit(large, 10, Still.now())?;
/// table.enqueue(small, owner, &Still)?;
/// table.enqueue(large, owner, &Still)?;
/// table.enqueue(large, owner, &Still)?;
/// // One of two, and two of ten.
/// let first = |by| table.first(None, by, 1, &Still)[0].role;
/// assert_eq!((first(Rank::Utilization), first(Rank::Depth)), (small, large));
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// By the depth as a share of the limit.
    Utilization,
    /// By the depth.
    Depth,
    /// By how long a newcomer waits.
    Wait,
    /// By how long nobody was taken out.
    Stalled,
}

/// Where a row stands among others: the higher, the nearer to the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// What is ranked by before the utilisation.
    pub(crate) first: Option<u64>,
    pub(crate) depth: u64,
    pub(crate) limit: u64,
}

impl Place {
    /// Of two fractions, without rounding. Where the limit is 0, any depth is full.
    fn by_utilization(&self, other: &Self) -> Ordering {
        if self.limit == other.limit {
            return self.depth.cmp(&other.depth);
        }
        let fraction = |place: &Self| match place.limit {
            0 => (u128::from(place.depth > 0), 1),
            limit => (u128::from(place.depth), u128::from(limit)),
        };
        let ((depth, limit), (others, by)) = (fraction(self), fraction(other));
        depth.saturating_mul(by).cmp(&others.saturating_mul(limit))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.first
            .cmp(&other.first)
            .then_with(|| self.by_utilization(other))
            .then_with(|| self.depth.cmp(&other.depth))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Place {}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(first: Option<u64>, depth: u64, limit: u64) -> Place {
        Place {
            first,
            depth,
            limit,
        }
    }

    #[test]
    fn what_is_ranked_by_comes_before_the_utilisation_and_that_before_the_depth() {
        assert!(place(Some(2), 1, 10) > place(Some(1), 9, 10));
        assert!(place(Some(0), 0, 10) > place(None, 9, 10));
        assert!(place(None, 1, 2) > place(None, 4, 10));
        assert!(place(None, 5, 10) > place(None, 1, 2));
        assert_eq!(place(None, 5, 10), place(None, 5, 10));
    }

    #[test]
    fn where_the_limit_is_0_any_depth_is_full() {
        assert!(place(None, 1, 0) > place(None, 9, 10));
        assert!(place(None, 10, 10) > place(None, 1, 0));
        assert!(place(None, 2, 0) > place(None, 1, 0));
        assert!(place(None, 0, 0) < place(None, 1, u64::MAX));
        assert!(place(None, u64::MAX, u64::MAX) > place(None, 1, 2));
    }

    #[test]
    fn the_order_is_whole() {
        let some = [0, 1, 2, 9, u64::MAX];
        let all: Vec<Place> = some
            .iter()
            .flat_map(|depth| some.iter().map(|limit| place(None, *depth, *limit)))
            .collect();
        for a in &all {
            for b in &all {
                assert_eq!(a.cmp(b), b.cmp(a).reverse(), "{a:?} {b:?}");
                for c in &all {
                    assert!(!(a <= b && b <= c) || a <= c, "{a:?} {b:?} {c:?}");
                }
            }
        }
    }
}
