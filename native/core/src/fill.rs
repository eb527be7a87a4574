//! How full a role's owners were at the last check.

use crate::overload::{depth_at, utilization};

/// This is how many bands of utilisation are told apart.
pub const BANDS: usize = 6;

/// The bands begin at these percentages of the limit; the last has no end.
///
/// ```
/// use erlmcp_core::fill::{BANDS, BANDS_FROM};
///
/// assert_eq!(BANDS_FROM[BANDS - 1], 100);
/// ```
pub const BANDS_FROM: [u64; BANDS] = [0, 25, 50, 80, 90, 100];

/// This is how many bands of waiting are told apart.
pub const WAITS: usize = 5;

/// The bands begin at so many milliseconds; the last has no end.
///
/// ```
/// use erlmcp_core::fill::{WAITS, WAITS_FROM_MS};
///
/// assert_eq!(WAITS_FROM_MS[WAITS - 1], 10_000);
/// ```
pub const WAITS_FROM_MS: [u64; WAITS] = [0, 10, 100, 1_000, 10_000];

/// What a check saw of a role's owners.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Fill {
    /// The highest depth of one owner.
    pub(crate) fullest: u64,
    /// Owners in each band of utilisation.
    pub(crate) owners: [u64; BANDS],
    /// Owners in each band of how long one waits that comes now, of those of whom that is known.
    pub(crate) waits: [u64; WAITS],
    /// For the longest that one waits, and that nobody was taken out while somebody waited, in milliseconds.
    pub(crate) longest_wait_ms: u64,
    pub(crate) longest_stall_ms: u64,
    /// Of those with a limit of their own, the highest share of it.
    pub(crate) own_utilization: f64,
}

/// The least depth of each band but the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bands([u64; BANDS - 1]);

impl Bands {
    pub(crate) fn of(limit: u64) -> Self {
        let [_, from @ ..] = BANDS_FROM;
        Self(from.map(|percent| depth_at(percent, limit)))
    }

    fn place(&self, depth: u64) -> usize {
        self.0
            .iter()
            .map(|from| usize::from(depth >= *from))
            .fold(0, usize::wrapping_add)
    }
}

impl Fill {
    pub(crate) fn add(&mut self, depth: u64, bands: &Bands) {
        self.fullest = self.fullest.max(depth);
        if let Some(owners) = self.owners.get_mut(bands.place(depth)) {
            *owners = owners.wrapping_add(1);
        }
    }

    /// An owner with a limit of its own.
    pub(crate) fn add_own(&mut self, depth: u64, limit: u64) {
        self.add(depth, &Bands::of(limit));
        self.own_utilization = self.own_utilization.max(utilization(depth, limit));
    }

    /// An owner for which one waits for so long, and nobody was taken out for so long, as far as that is known.
    pub(crate) fn add_waiting(&mut self, wait_ms: Option<u64>, stalled_ms: Option<u64>) {
        self.longest_stall_ms = self.longest_stall_ms.max(stalled_ms.unwrap_or(0));
        let Some(wait_ms) = wait_ms else {
            return;
        };
        self.longest_wait_ms = self.longest_wait_ms.max(wait_ms);
        let band = WAITS_FROM_MS.iter().rposition(|from| wait_ms >= *from);
        if let Some(owners) = band.and_then(|band| self.waits.get_mut(band)) {
            *owners = owners.wrapping_add(1);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn filled(limit: u64, depths: impl IntoIterator<Item = u64>) -> Fill {
        let mut fill = Fill::default();
        let bands = Bands::of(limit);
        depths.into_iter().for_each(|depth| fill.add(depth, &bands));
        fill
    }

    #[test]
    fn each_owner_is_in_the_band_of_its_utilisation() {
        let fill = filled(10, 0..=12);
        assert_eq!(fill.owners, [3, 2, 3, 1, 1, 3]);
        assert_eq!(fill.fullest, 12);
    }

    #[test]
    fn each_owner_is_in_the_band_of_how_long_one_waits() {
        let mut fill = Fill::default();
        for (wait_ms, stalled_ms) in [(0, 7), (9, 0), (10, 0), (999, 0), (1_000, 0), (1 << 40, 3)] {
            fill.add_waiting(Some(wait_ms), Some(stalled_ms));
        }
        fill.add_waiting(None, None);
        assert_eq!(fill.waits, [2, 1, 1, 1, 1]);
        assert_eq!((fill.longest_wait_ms, fill.longest_stall_ms), (1 << 40, 7));
    }

    #[test]
    fn small_limits_skip_bands() {
        assert_eq!(filled(1, [0, 1, 2]).owners, [1, 0, 0, 0, 0, 2]);
        assert_eq!(filled(0, [0, 0, 1]).owners, [2, 0, 0, 0, 0, 1]);
    }
}
