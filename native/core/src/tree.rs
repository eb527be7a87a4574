//! A hash table of which no step moves much, however much is in it.
//!
//! One that is full doubles, and whoever enters then moves all that is in it: 14 ms for half a million. So this is a
//! tree of small tables. One that is full is split, and no step moves more than one of them holds.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

/// A table is split before it has more, and would double once more.
pub(crate) const MOST_IN_TABLE: usize = 448;
const FAN_BITS: u32 = 4;
const FAN: usize = 1 << FAN_BITS;
/// About what comes into each when one is split.
pub(crate) const SHARE: usize = MOST_IN_TABLE / FAN;
/// Further down there are no bits of a hash left to tell keys apart.
const DEEPEST: u32 = u64::BITS / FAN_BITS;

/// Of which table a key is its hash tells, which the caller has.
#[derive(Debug)]
pub(crate) enum Tree<K, V> {
    One(Table<K, V>),
    Many(Box<[Tree<K, V>; FAN]>),
}

/// Part of a tree.
pub(crate) type Table<K, V> = HashMap<K, V, RandomState>;

impl<K, V> Default for Tree<K, V> {
    fn default() -> Self {
        Self::One(Table::default())
    }
}

impl<K: Eq + Hash, V> Tree<K, V> {
    pub(crate) fn table(&self, hash: u64) -> &Table<K, V> {
        match self {
            Self::One(table) => table,
            Self::Many(branches) => pick(branches, hash).table(hash >> FAN_BITS),
        }
    }

    pub(crate) fn table_mut(&mut self, hash: u64) -> &mut Table<K, V> {
        match self {
            Self::One(table) => table,
            Self::Many(branches) => pick_mut(branches, hash).table_mut(hash >> FAN_BITS),
        }
    }

    /// The table for a key of this hash, split if it is full.
    pub(crate) fn table_with_room(
        &mut self,
        hash: u64,
        hash_of: impl Fn(&K) -> u64,
    ) -> &mut Table<K, V> {
        self.room_below(hash, 0, &hash_of)
    }

    fn room_below(
        &mut self,
        hash: u64,
        depth: u32,
        hash_of: &impl Fn(&K) -> u64,
    ) -> &mut Table<K, V> {
        let bits = depth.saturating_mul(FAN_BITS);
        if let Self::One(table) = self
            && table.len() >= MOST_IN_TABLE
            && depth < DEEPEST
        {
            let mut tables =
                [(); FAN].map(|()| Table::with_capacity_and_hasher(SHARE, RandomState::default()));
            for (key, value) in table.drain() {
                pick_mut(&mut tables, hash_of(&key) >> bits).insert(key, value);
            }
            *self = Self::Many(Box::new(tables.map(Self::One)));
        }
        match self {
            Self::One(table) => table,
            Self::Many(branches) => {
                pick_mut(branches, hash >> bits).room_below(hash, depth.saturating_add(1), hash_of)
            }
        }
    }

    pub(crate) fn is_split(&self) -> bool {
        matches!(self, Self::Many(_))
    }

    /// All that it has, in tables of some hundreds at most.
    pub(crate) fn into_tables(self) -> Vec<Table<K, V>> {
        let mut tables = Vec::new();
        self.collect(&mut tables);
        tables
    }

    /// How many each of its tables has room for.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn rooms(&self) -> Vec<usize> {
        match self {
            Self::One(table) => vec![table.capacity()],
            Self::Many(branches) => branches.iter().flat_map(Self::rooms).collect(),
        }
    }

    fn collect(self, into: &mut Vec<Table<K, V>>) {
        match self {
            Self::One(table) if table.is_empty() => {}
            Self::One(table) => into.push(table),
            Self::Many(branches) => branches.into_iter().for_each(|branch| branch.collect(into)),
        }
    }
}

#[expect(clippy::indexing_slicing, reason = "four bits are below 16")]
fn pick<T>(branches: &[T; FAN], hash: u64) -> &T {
    &branches[hash as usize & (FAN - 1)]
}

#[expect(clippy::indexing_slicing, reason = "four bits are below 16")]
fn pick_mut<T>(branches: &mut [T; FAN], hash: u64) -> &mut T {
    &mut branches[hash as usize & (FAN - 1)]
}
