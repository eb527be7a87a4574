//! The concurrent table of owners, in shards.
//!
//! A table that is full doubles, and whoever inserts then allocates and clears the next one: a millisecond at a
//! million owners, on whatever thread that is. So there are many tables of which each stays small. They share
//! what protects readers, so that a look-up costs what it costs in one table.

use crate::map::{self, Map};
use crate::owner::Owner;
use crate::sync::Kept;
use crate::vocabulary::OwnerId;

/// A model has two.
const SHARD_BITS: u32 = if cfg!(loom) { 1 } else { 6 };
const SHARDS: usize = 1 << SHARD_BITS;
/// How much each thread takes out before it is freed: records of owners, and tables that were outgrown.
const BATCH: usize = 8;

/// How many records are touched before they are shown.
const AHEAD: usize = 64;

/// A record is kept by itself, so that threads may go on keeping it that have just used it (`near`).
pub(crate) type Shard<W> = Map<OwnerId, Kept<Owner<W>>>;

pub(crate) struct Owners<W> {
    shards: Box<[Shard<W>; SHARDS]>,
}

impl<W: Send + Sync + 'static> Owners<W> {
    pub(crate) fn new() -> Self {
        Self {
            shards: Box::new(map::together(BATCH)),
        }
    }

    /// The table that an owner is in, if it is in any.
    #[expect(
        clippy::indexing_slicing,
        reason = "so many bits are below so many shards"
    )]
    pub(crate) fn shard(&self, OwnerId(id): OwnerId) -> &Shard<W> {
        // Numbers of owners are handed out in a row; multiplied, their top bits differ.
        let spread = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        &self.shards[(spread >> (u64::BITS - SHARD_BITS)) as usize & (SHARDS - 1)]
    }

    /// How many there are. An estimate while some come and go.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(Map::len).sum()
    }

    /// About how many slots the tables have; `see` is shown how many owners are in each.
    pub(crate) fn slots(&self, mut see: impl FnMut(usize)) -> usize {
        let slots = |length: usize| {
            // A table doubles when it is about three quarters full.
            let wanted = length.saturating_mul(4).div_ceil(3);
            wanted.checked_next_power_of_two().unwrap_or(wanted)
        };
        self.shards
            .iter()
            .map(|shard| {
                see(shard.len());
                slots(shard.len())
            })
            .fold(0, usize::saturating_add)
    }

    /// Shows every owner. Records lie all over memory: they are touched a few dozen ahead, one independent of the
    /// other, so that the processor fetches many at a time instead of waiting for each.
    pub(crate) fn for_each(&self, mut see: impl FnMut(OwnerId, &Owner<W>)) {
        for shard in self.shards.iter() {
            let shard = shard.pin();
            let mut rows = shard.iter();
            let mut ahead = Vec::with_capacity(AHEAD);
            loop {
                ahead.extend(rows.by_ref().take(AHEAD));
                if ahead.is_empty() {
                    break;
                }
                let touched = ahead.iter().map(|(id, owner)| id.0 ^ owner.touch());
                std::hint::black_box(touched.fold(0, |all, word| all ^ word));
                ahead.drain(..).for_each(|(id, owner)| see(*id, owner));
            }
        }
    }

    /// Makes room for more owners, and ends growths that are under way: both make look-ups long.
    pub(crate) fn tidy(&self) {
        self.shards.iter().for_each(map::tidy);
    }

    /// Takes out just this record of an owner, which may have a new one already.
    pub(crate) fn remove(&self, owner: OwnerId, record: &Owner<W>) {
        let _ = self
            .shard(owner)
            .pin()
            .remove_if(&owner, |_, found| std::ptr::eq(&**found, record));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_spread_evenly() {
        let owners = Owners::<()>::new();
        // As pids are numbered: in steps, above a tag.
        let mut used = std::collections::HashMap::new();
        for number in 0..64_000_u64 {
            let shard: *const _ = owners.shard(OwnerId(number << 7 | 3));
            *used.entry(shard).or_insert(0) += 1;
        }
        assert_eq!(used.len(), SHARDS);
        assert!(used.values().all(|owners| (800..1_200).contains(owners)));
    }
}
