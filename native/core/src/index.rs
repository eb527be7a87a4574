//! Entries by hash, of which no step moves many, however many there are.
//!
//! As in [`roster`](crate::roster): a tree of small tables, each of which is split before it has too many. Whoever asks
//! says what it looks for among those of a hash. A table that is nearly empty gives up its room, and so does the tree
//! when it has nothing in it any more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;

/// A table is split before it has more, and would double once more.
const MOST_IN_TABLE: usize = 448;
/// Less room than this is not given up.
const LEAST_ROOM: usize = 28;
const FAN_BITS: u32 = 4;
const FAN: usize = 1 << FAN_BITS;
/// Further down there are no bits of a hash left to tell entries apart.
const DEEPEST: u32 = u64::BITS / FAN_BITS;

/// Entries, each under a hash.
#[derive(Debug)]
pub(crate) struct Index<E> {
    tables: Tree<E>,
    count: usize,
}

#[derive(Debug)]
enum Tree<E> {
    One(Table<E>),
    Many(Box<[Tree<E>; FAN]>),
}

/// Part of an index. Hashes are as good as random, and nobody outside knows them.
pub(crate) type Table<E> = HashMap<u64, Alike<E>, RandomState>;

/// All that have a hash: hardly ever more than one.
#[derive(Debug)]
pub(crate) struct Alike<E> {
    first: E,
    others: Vec<E>,
}

impl<E> Alike<E> {
    fn iter(&self) -> impl Iterator<Item = &E> {
        std::iter::once(&self.first).chain(&self.others)
    }

    pub(crate) fn into_all(self) -> impl Iterator<Item = E> {
        std::iter::once(self.first).chain(self.others)
    }
}

impl<E> Default for Index<E> {
    fn default() -> Self {
        Self {
            tables: Tree::One(Table::default()),
            count: 0,
        }
    }
}

impl<E> Index<E> {
    #[cfg(test)]
    fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(&E) -> bool) -> Option<&E> {
        let alike = self.tables.table(hash).get(&hash)?;
        alike.iter().find(|entry| is_it(entry))
    }

    pub(crate) fn insert(&mut self, hash: u64, entry: E) {
        self.count = self.count.saturating_add(1);
        match self.tables.table_with_room(hash, 0).entry(hash) {
            Entry::Vacant(vacant) => {
                let others = Vec::new();
                vacant.insert(Alike {
                    first: entry,
                    others,
                });
            }
            Entry::Occupied(mut alike) => alike.get_mut().others.push(entry),
        }
    }

    pub(crate) fn remove(&mut self, hash: u64, is_it: impl Fn(&E) -> bool) -> Option<E> {
        let table = self.tables.table_mut(hash);
        let alike = table.get_mut(&hash)?;
        let removed = if let Some(place) = alike.others.iter().position(&is_it) {
            alike.others.swap_remove(place)
        } else if !is_it(&alike.first) {
            return None;
        } else if let Some(other) = alike.others.pop() {
            std::mem::replace(&mut alike.first, other)
        } else {
            table.remove(&hash)?.first
        };
        if table.capacity() > LEAST_ROOM && table.len() < table.capacity() / 8 {
            table.shrink_to(table.len().saturating_mul(2));
        }
        self.count = self.count.saturating_sub(1);
        if self.count == 0 && matches!(self.tables, Tree::Many(_)) {
            *self = Self::default();
        }
        Some(removed)
    }

    /// All that it has, in tables of some hundreds at most.
    pub(crate) fn into_tables(self) -> Vec<Table<E>> {
        let mut tables = Vec::new();
        self.tables.collect(&mut tables);
        tables
    }
}

impl<E> Tree<E> {
    fn table(&self, hash: u64) -> &Table<E> {
        match self {
            Self::One(table) => table,
            Self::Many(branches) => pick(branches, hash).table(hash >> FAN_BITS),
        }
    }

    fn table_mut(&mut self, hash: u64) -> &mut Table<E> {
        match self {
            Self::One(table) => table,
            Self::Many(branches) => pick_mut(branches, hash).table_mut(hash >> FAN_BITS),
        }
    }

    /// The table for an entry of this hash, split if it is full.
    fn table_with_room(&mut self, hash: u64, depth: u32) -> &mut Table<E> {
        let bits = depth.saturating_mul(FAN_BITS);
        if let Self::One(table) = self
            && table.len() >= MOST_IN_TABLE
            && depth < DEEPEST
        {
            let mut tables = [(); FAN].map(|()| Table::default());
            for (hash, alike) in table.drain() {
                pick_mut(&mut tables, hash >> bits).insert(hash, alike);
            }
            *self = Self::Many(Box::new(tables.map(Self::One)));
        }
        match self {
            Self::One(table) => table,
            Self::Many(branches) => {
                pick_mut(branches, hash >> bits).table_with_room(hash, depth.saturating_add(1))
            }
        }
    }

    fn collect(self, into: &mut Vec<Table<E>>) {
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Beside a list. Few hashes, so that many are alike.
        #[test]
        fn it_is_a_bag_by_hash(
            steps in prop::collection::vec((0..6_u64, 0..40_u32, any::<bool>()), 0..400),
        ) {
            let (mut index, mut list) = (Index::default(), Vec::new());
            for (hash, member, insert) in steps {
                let place = list.iter().position(|known| *known == (hash, member));
                let found = index.find(hash, |entry| *entry == member).copied();
                prop_assert_eq!(found, place.map(|_| member));
                if insert {
                    index.insert(hash, member);
                    list.push((hash, member));
                } else {
                    let removed = index.remove(hash, |entry| *entry == member);
                    prop_assert_eq!(removed, place.map(|place| list.swap_remove(place).1));
                }
                prop_assert_eq!(index.len(), list.len());
            }
            let mut left: Vec<_> = index
                .into_tables()
                .into_iter()
                .flatten()
                .flat_map(|(hash, alike)| alike.into_all().map(move |member| (hash, member)))
                .collect();
            left.sort_unstable();
            list.sort_unstable();
            prop_assert_eq!(left, list);
        }
    }

    fn spread(number: u64) -> u64 {
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
    }

    #[test]
    fn however_many_there_are_tables_stay_small_and_go() {
        let mut index = Index::default();
        (0..300_000).for_each(|number| index.insert(spread(number), number));
        let room = |tree: &Tree<u64>| {
            let mut rooms = Vec::new();
            rooms_of(tree, &mut rooms);
            rooms
        };
        let full = room(&index.tables);
        assert!(full.iter().all(|room| *room <= MOST_IN_TABLE));
        for number in 1..300_000 {
            assert_eq!(
                index.remove(spread(number), |it| *it == number),
                Some(number)
            );
        }
        let left = room(&index.tables).iter().sum::<usize>();
        assert!(left <= full.len() * LEAST_ROOM, "{left}");
        assert_eq!(index.remove(spread(0), |it| *it == 0), Some(0));
        assert!(matches!(&index.tables, Tree::One(table) if table.capacity() == 0));
    }

    fn rooms_of<E>(tree: &Tree<E>, rooms: &mut Vec<usize>) {
        match tree {
            Tree::One(table) => rooms.push(table.capacity()),
            Tree::Many(branches) => branches.iter().for_each(|branch| rooms_of(branch, rooms)),
        }
    }
}
