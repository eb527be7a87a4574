//! Entries by hash, of which no step moves many, however many there are.
//!
//! Whoever asks says what it looks for among those of a hash. A table that is nearly empty gives up its room, and so
//! does the [`tree`](crate::tree) of them when it has nothing in it any more.

use std::collections::hash_map::Entry;

use crate::tree::{self, SHARE, Tree};

/// Entries, each under a hash.
#[derive(Debug)]
pub(crate) struct Index<E> {
    tables: Tree<u64, Alike<E>>,
    count: usize,
}

/// Part of an index. Hashes are as good as random, and nobody outside knows them.
pub(crate) type Table<E> = tree::Table<u64, Alike<E>>;

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
            tables: Tree::default(),
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
        match self.tables.table_with_room(hash, |hash| *hash).entry(hash) {
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
        if table.capacity() > SHARE && table.len() < table.capacity() / 8 {
            table.shrink_to(table.len().saturating_mul(2));
        }
        self.count = self.count.saturating_sub(1);
        if self.count == 0 && self.tables.is_split() {
            *self = Self::default();
        }
        Some(removed)
    }

    /// All that it has, in tables of some hundreds at most.
    pub(crate) fn into_tables(self) -> Vec<Table<E>> {
        self.tables.into_tables()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::tree::MOST_IN_TABLE;
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
        let full = index.tables.rooms();
        assert!(full.iter().all(|room| *room <= MOST_IN_TABLE));
        for number in 1..300_000 {
            assert_eq!(
                index.remove(spread(number), |it| *it == number),
                Some(number)
            );
        }
        let left = index.tables.rooms().iter().sum::<usize>();
        assert!(left <= full.len() * SHARE, "{left}");
        assert_eq!(index.remove(spread(0), |it| *it == 0), Some(0));
        assert_eq!(index.tables.rooms(), [0]);
    }
}
