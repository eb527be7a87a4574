//! How full a role's owners were at the last check.

use crate::overload::depth_at;

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

/// What a check saw of a role's owners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fill {
    /// The highest depth of one owner.
    pub(crate) fullest: u64,
    /// Owners in each band of utilisation.
    pub(crate) owners: [u64; BANDS],
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
    fn small_limits_skip_bands() {
        assert_eq!(filled(1, [0, 1, 2]).owners, [1, 0, 0, 0, 0, 2]);
        assert_eq!(filled(0, [0, 0, 1]).owners, [2, 0, 0, 0, 0, 1]);
    }
}
