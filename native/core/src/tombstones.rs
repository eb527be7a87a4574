//! Cancellations that came before what they cancel, in the order of their age.
//!
//! Nothing has a timer: the oldest go when there are too many, when they take too much, and when somebody sweeps.

use crate::label::Label;
use crate::sync::{Kept, Mutex};
use crate::vocabulary::OwnerId;

/// All together have no more bytes than this, whatever their number.
const MOST_BYTES: usize = 64 << 20;

/// One cancellation whose token has not been made yet.
#[derive(Debug)]
pub(crate) struct Tombstone {
    pub(crate) owner: OwnerId,
    pub(crate) hash: u64,
    pub(crate) id: Label,
    pub(crate) reason: Label,
    pub(crate) at_ms: u64,
    /// Where it is in the line.
    place: Mutex<Option<usize>>,
}

impl Tombstone {
    pub(crate) fn new(owner: OwnerId, hash: u64, id: Label, reason: Label, at_ms: u64) -> Self {
        Self {
            owner,
            hash,
            id,
            reason,
            at_ms,
            place: Mutex::new(None),
        }
    }

    /// The same for another reason.
    pub(crate) fn because_of(&self, reason: Label) -> Self {
        Self::new(self.owner, self.hash, self.id.clone(), reason, self.at_ms)
    }

    pub(crate) fn is_fresh(&self, now_ms: u64, for_ms: u64) -> bool {
        now_ms.saturating_sub(self.at_ms) < for_ms
    }

    /// Whoever leaves it is where it may take long.
    pub(crate) fn is_long(&self) -> bool {
        self.id.is_long() || self.reason.is_long()
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            .saturating_add(self.id.heap())
            .saturating_add(self.reason.heap())
    }
}

/// All of them, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Line(Mutex<Chain>);

#[derive(Debug, Default)]
struct Chain {
    links: Vec<Link>,
    oldest: Option<usize>,
    newest: Option<usize>,
    free: Option<usize>,
    count: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Link {
    stone: Option<Kept<Tombstone>>,
    older: Option<usize>,
    /// The next one, or the next that is free.
    newer: Option<usize>,
}

impl Line {
    pub(crate) fn len(&self) -> usize {
        self.0.lock().count
    }

    /// Puts one at the end. True if it is the only one now.
    pub(crate) fn put(&self, stone: Kept<Tombstone>) -> bool {
        let mut chain = self.0.lock();
        chain.append(stone);
        chain.count == 1
    }

    /// Takes this one out, if nobody else has.
    pub(crate) fn take(&self, stone: &Tombstone) -> bool {
        let mut chain = self.0.lock();
        let place = stone.place.lock().take();
        place.is_some_and(|place| chain.take_out(place).is_some())
    }

    /// Takes the oldest out, if there are more than so many, or more bytes than there may be.
    pub(crate) fn take_surplus(&self, most: usize) -> Option<Kept<Tombstone>> {
        self.take_oldest(|chain, _| chain.count > most || chain.bytes > MOST_BYTES)
    }

    /// Takes the oldest out, if it has been there for so long.
    pub(crate) fn take_stale(&self, now_ms: u64, for_ms: u64) -> Option<Kept<Tombstone>> {
        self.take_oldest(|_, stone| !stone.is_fresh(now_ms, for_ms))
    }

    /// In how many milliseconds the oldest will have been there for so long.
    pub(crate) fn next_stale(&self, now_ms: u64, for_ms: u64) -> Option<u64> {
        let chain = self.0.lock();
        let oldest = chain.stone(chain.oldest)?;
        Some(oldest.at_ms.saturating_add(for_ms).saturating_sub(now_ms))
    }

    fn take_oldest(
        &self,
        is_to_go: impl Fn(&Chain, &Tombstone) -> bool,
    ) -> Option<Kept<Tombstone>> {
        let mut chain = self.0.lock();
        let place = chain.oldest?;
        if !is_to_go(&chain, chain.stone(Some(place))?) {
            return None;
        }
        let stone = chain.take_out(place)?;
        *stone.place.lock() = None;
        Some(stone)
    }
}

impl Chain {
    fn stone(&self, place: Option<usize>) -> Option<&Tombstone> {
        self.links.get(place?)?.stone.as_deref()
    }

    fn link_mut(&mut self, place: Option<usize>) -> Option<&mut Link> {
        self.links.get_mut(place?)
    }

    fn append(&mut self, stone: Kept<Tombstone>) {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(stone.bytes());
        let place = self.free.unwrap_or(self.links.len());
        *stone.place.lock() = Some(place);
        let link = Link {
            stone: Some(stone),
            older: self.newest,
            newer: None,
        };
        match self.links.get_mut(place) {
            Some(freed) => self.free = std::mem::replace(freed, link).newer,
            None => self.links.push(link),
        }
        match self.newest {
            Some(before) => {
                if let Some(before) = self.link_mut(Some(before)) {
                    before.newer = Some(place);
                }
            }
            None => self.oldest = Some(place),
        }
        self.newest = Some(place);
    }

    fn take_out(&mut self, place: usize) -> Option<Kept<Tombstone>> {
        let free = self.free;
        let link = self.links.get_mut(place)?;
        let stone = link.stone.take()?;
        let (older, newer) = (link.older, link.newer);
        link.newer = free;
        self.free = Some(place);
        match self.link_mut(newer) {
            Some(link) => link.older = older,
            None => self.newest = older,
        }
        match self.link_mut(older) {
            Some(link) => link.newer = newer,
            None => self.oldest = newer,
        }
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(stone.bytes());
        if self.count == 0 {
            *self = Self::default();
        }
        Some(stone)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stone(number: u64, at_ms: u64) -> Kept<Tombstone> {
        let label = || Label::new(0, &number.to_le_bytes());
        Kept::new(Tombstone::new(OwnerId(1), number, label(), label(), at_ms))
    }

    proptest! {
        /// Beside a list from the oldest on.
        #[test]
        fn it_is_a_line(
            steps in prop::collection::vec((0..4_u8, 0..30_usize, 0..3_u64), 0..300),
        ) {
            const FOR_MS: u64 = 10;
            let (line, mut list, mut now_ms) = (Line::default(), Vec::new(), 0);
            for (number, (step, which, passed)) in (0..).zip(steps) {
                now_ms += passed;
                match step {
                    0 | 1 => {
                        let new = stone(number, now_ms);
                        list.push(Kept::clone(&new));
                        prop_assert_eq!(line.put(new), list.len() == 1);
                    }
                    2 if which < list.len() => {
                        let gone = list.remove(which);
                        prop_assert!(line.take(&gone));
                        prop_assert!(!line.take(&gone));
                    }
                    2 => {
                        let is_surplus = list.len() > which;
                        let taken = line.take_surplus(which).map(|stone| stone.hash);
                        prop_assert_eq!(taken, is_surplus.then(|| list.remove(0).hash));
                    }
                    _ => {
                        let is_stale = list.first().is_some_and(|old| now_ms - old.at_ms >= FOR_MS);
                        let taken = line.take_stale(now_ms, FOR_MS).map(|stone| stone.hash);
                        prop_assert_eq!(taken, is_stale.then(|| list.remove(0).hash));
                    }
                }
                prop_assert_eq!(line.len(), list.len());
                let next = list.first().map(|old| (old.at_ms + FOR_MS).saturating_sub(now_ms));
                prop_assert_eq!(line.next_stale(now_ms, FOR_MS), next);
                let bytes = list.iter().map(|stone| stone.bytes()).sum::<usize>();
                prop_assert_eq!(line.0.lock().bytes, bytes);
            }
        }
    }

    #[test]
    fn the_largest_push_out_the_oldest() {
        let line = Line::default();
        let long = |number| {
            let id = Label::new(0, &vec![0; MOST_BYTES / 2]);
            let reason = Label::new(0, &[]);
            Kept::new(Tombstone::new(OwnerId(1), number, id, reason, 0))
        };
        line.put(stone(0, 0));
        line.put(long(1));
        assert!(line.take_surplus(10).is_none());
        line.put(long(2));
        let gone = std::iter::from_fn(|| line.take_surplus(10));
        assert_eq!(gone.map(|stone| stone.hash).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(line.len(), 1);
    }
}
