//! A set that knows the newest of its members, and whose every step is short, however many there are.
//!
//! Members are in a [`tree`](crate::tree) of small tables, and chained in the order of their entry, in blocks. So all
//! of it is freed in few pieces, too.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;

use crate::tree::Tree;

const BLOCK: usize = 256;

/// Members, and the order of their entry.
pub(crate) struct Roster<K> {
    hasher: RandomState,
    /// Where in the chain each member is.
    places: Tree<K, usize>,
    chain: Chain<K>,
}

struct Chain<K> {
    /// All but the last are full. The first grows like any vector, for there are many chains of one.
    blocks: Vec<Vec<Link<K>>>,
    newest: Option<usize>,
    free: Option<usize>,
}

struct Link<K> {
    member: K,
    /// The one before it, or the next that is free.
    older: Option<usize>,
    newer: Option<usize>,
}

impl<K: Copy + Eq + Hash> Roster<K> {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::default(),
            places: Tree::default(),
            chain: Chain {
                blocks: Vec::new(),
                newest: None,
                free: None,
            },
        }
    }

    pub(crate) fn contains(&self, member: &K) -> bool {
        let hash = self.hasher.hash_one(member);
        self.places.table(hash).contains_key(member)
    }

    /// The one that was entered last of those that are left.
    pub(crate) fn newest(&self) -> Option<K> {
        let newest = self.chain.link(self.chain.newest?)?;
        Some(newest.member)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chain.newest.is_none()
    }

    /// How many members there is room for: what it takes to free it all goes by that.
    pub(crate) fn room(&self) -> usize {
        self.chain.blocks.len().saturating_mul(BLOCK)
    }

    /// Enters a member; one that is there keeps its place.
    pub(crate) fn insert(&mut self, member: K) {
        let hash_of = |member: &K| self.hasher.hash_one(member);
        let table = self.places.table_with_room(hash_of(&member), hash_of);
        table
            .entry(member)
            .or_insert_with(|| self.chain.append(member));
    }

    /// False if it was not there.
    pub(crate) fn remove(&mut self, member: &K) -> bool {
        let hash = self.hasher.hash_one(member);
        let place = self.places.table_mut(hash).remove(member);
        place.inspect(|place| self.chain.take_out(*place)).is_some()
    }
}

impl<K: Copy> Chain<K> {
    fn link(&self, place: usize) -> Option<&Link<K>> {
        self.blocks.get(place / BLOCK)?.get(place % BLOCK)
    }

    fn link_mut(&mut self, place: Option<usize>) -> Option<&mut Link<K>> {
        let place = place?;
        self.blocks.get_mut(place / BLOCK)?.get_mut(place % BLOCK)
    }

    /// Returns where it is.
    fn append(&mut self, member: K) -> usize {
        let link = Link {
            member,
            older: self.newest,
            newer: None,
        };
        let free = self.free;
        let place = match self.link_mut(free) {
            Some(freed) => {
                let next = freed.older;
                *freed = link;
                self.free = next;
                free
            }
            None => Some(self.push(link)),
        };
        if let Some(before) = self.link_mut(self.newest) {
            before.newer = place;
        }
        self.newest = place;
        place.unwrap_or_default()
    }

    fn push(&mut self, link: Link<K>) -> usize {
        let full = self.blocks.last().is_none_or(|last| last.len() == BLOCK);
        if full {
            let more = if self.blocks.is_empty() { 1 } else { BLOCK };
            self.blocks.push(Vec::with_capacity(more));
        }
        let before = self.blocks.len().saturating_sub(1).saturating_mul(BLOCK);
        let Some(last) = self.blocks.last_mut() else {
            return before;
        };
        last.push(link);
        before.saturating_add(last.len()).saturating_sub(1)
    }

    fn take_out(&mut self, place: usize) {
        let (place, free) = (Some(place), self.free);
        let Some(link) = self.link_mut(place) else {
            return;
        };
        let (older, newer) = (link.older, link.newer);
        link.older = free;
        self.free = place;
        match self.link_mut(newer) {
            Some(link) => link.older = older,
            None => self.newest = older,
        }
        if let Some(link) = self.link_mut(older) {
            link.newer = newer;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::tree::MOST_IN_TABLE;
    use proptest::prelude::*;

    proptest! {
        /// Beside a list of the members in the order of their entry.
        #[test]
        fn it_is_a_set_in_the_order_of_entry(
            steps in prop::collection::vec((0..60_u32, any::<bool>()), 0..400),
        ) {
            let (mut roster, mut list) = (Roster::new(), Vec::new());
            for (member, insert) in steps {
                let known = list.contains(&member);
                if insert {
                    roster.insert(member);
                    if !known {
                        list.push(member);
                    }
                } else {
                    prop_assert_eq!(roster.remove(&member), known);
                    list.retain(|other| *other != member);
                }
                prop_assert_eq!(roster.contains(&member), insert);
                prop_assert_eq!(roster.newest(), list.last().copied());
                prop_assert_eq!(roster.is_empty(), list.is_empty());
            }
        }
    }

    #[test]
    fn however_many_there_are_tables_stay_small_and_few() {
        let mut roster = Roster::new();
        for member in 0..300_000_u32 {
            roster.insert(member);
        }
        let rooms = roster.places.rooms();
        assert!((300..=8_192).contains(&rooms.len()), "{rooms:?}");
        assert!(rooms.iter().all(|room| *room <= MOST_IN_TABLE), "{rooms:?}");
        assert_eq!(roster.newest(), Some(299_999));
        for member in (0..300_000).step_by(2) {
            assert!(roster.remove(&member));
        }
        assert!((0..300_000).all(|member| roster.contains(&member) == (member % 2 == 1)));
        // What was given up makes room.
        let blocks = roster.chain.blocks.len();
        (300_000..400_000).for_each(|member| roster.insert(member));
        assert_eq!(roster.chain.blocks.len(), blocks);
    }

    #[test]
    fn members_that_no_hash_tells_apart_are_told_apart() {
        #[derive(Clone, Copy, PartialEq, Eq)]
        struct Alike(u32);

        impl Hash for Alike {
            fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
        }

        let mut roster = Roster::new();
        (0..2_000).for_each(|member| roster.insert(Alike(member)));
        assert!((0..2_000).all(|member| roster.remove(&Alike(member))));
        assert!(roster.is_empty());
    }
}
