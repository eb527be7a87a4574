//! Caps of a role: how many may wait for all its owners together, and of how many bytes.
//!
//! How many wait is known already: the tally has it, in a stripe for each thread. What the tally does not know is who
//! is just being admitted. So a place is *granted* first, in one step on one word, which counts all grants there ever
//! were; and *settled* in the tally when the place is taken, or is not to be taken after all. What is in, and what may
//! still come in of what was granted, is never more than the cap: the step fails if another was granted meanwhile, and
//! without one that sum only falls. Leaving a place costs nothing.
//!
//! To add up the stripes for each request would have every core read what the others write. So a thread has a few
//! places granted at once while there are many, keeps them, and takes from those of others when there are no more. So
//! it is only what is just on its way that makes somebody be refused too early.
//!
//! Bytes are counted as they come and go, role by role in one word and owner by owner in another.

use crate::reason::Reason;
use crate::sync::{AtomicU64, Ordering};
use crate::tally::{Seat, Tally};
use crate::vocabulary::UNLIMITED;

/// A thread is granted so many places at once at most.
const MOST: u64 = if cfg!(loom) { 1 } else { 32 };
/// And this share of those that are free.
const SHARE: u64 = if cfg!(loom) { 2 } else { 256 };

/// What there may be, and the grants.
#[derive(Debug)]
pub(crate) struct Caps {
    total: AtomicU64,
    granted: AtomicU64,
    most_bytes: AtomicU64,
    bytes: AtomicU64,
}

/// A place that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// It may be taken, and is to be settled.
    Granted,
    /// It may be taken: there is no cap.
    Uncapped,
}

impl Caps {
    pub(crate) fn new() -> Self {
        Self {
            total: AtomicU64::new(UNLIMITED),
            granted: AtomicU64::new(0),
            most_bytes: AtomicU64::new(UNLIMITED),
            bytes: AtomicU64::new(0),
        }
    }

    /// The most places and the most bytes; [`UNLIMITED`] is no cap.
    pub(crate) fn get(&self) -> (u64, u64) {
        (
            self.total.load(Ordering::Relaxed),
            self.most_bytes.load(Ordering::Relaxed),
        )
    }

    /// An admission that starts after this has returned obeys it.
    pub(crate) fn set(&self, total: u64, most_bytes: u64, tally: &Tally) {
        self.most_bytes.store(most_bytes, Ordering::SeqCst);
        // Pairs with `take`: whoever keeps places meanwhile sees this, or they are found here.
        self.total.store(total, Ordering::SeqCst);
        tally.revoke_all();
    }

    /// So many bytes are in.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether there is room for one more of so many bytes, or why there is none.
    pub(crate) fn refuses(&self, bytes: u64, tally: &Tally) -> Option<Reason> {
        let (total, most_bytes) = self.get();
        if total < UNLIMITED && self.free(total, tally).0 == 0 && !tally.has_lease() {
            Some(Reason::Role)
        } else if bytes > 0 && self.bytes().saturating_add(bytes) > most_bytes {
            Some(Reason::Bytes)
        } else {
            None
        }
    }

    /// How many places are free, and how many were granted until then.
    fn free(&self, total: u64, tally: &Tally) -> (u64, u64) {
        // Before the tally is read: what is granted after that makes the step fail that comes of it.
        let granted = self.granted.load(Ordering::SeqCst);
        (total.saturating_sub(tally.committed(granted)), granted)
    }

    /// How many have to leave until there is a place: at least 1.
    pub(crate) fn beyond(&self, tally: &Tally) -> u64 {
        let (total, _) = self.get();
        let granted = self.granted.load(Ordering::SeqCst);
        let beyond = tally.committed(granted).saturating_sub(total);
        beyond.saturating_add(1)
    }

    /// Asks for a place, for the thread with this seat.
    pub(crate) fn take(&self, tally: &Tally, seat: Seat) -> Option<Grant> {
        let total = self.total.load(Ordering::SeqCst);
        if total >= UNLIMITED {
            return Some(Grant::Uncapped);
        }
        if tally.take_leased(seat) {
            return Some(Grant::Granted);
        }
        loop {
            let (free, granted) = self.free(total, tally);
            if free == 0 {
                return tally.take_any_leased().then_some(Grant::Granted);
            }
            let more = (free / SHARE).min(MOST);
            let all = granted.wrapping_add(more).wrapping_add(1);
            let step =
                self.granted
                    .compare_exchange(granted, all, Ordering::SeqCst, Ordering::SeqCst);
            if step.is_ok() {
                if more > 0 {
                    tally.lease(seat, more);
                    // Pairs with `set`.
                    if self.total.load(Ordering::SeqCst) != total {
                        tally.revoke(seat);
                    }
                }
                return Some(Grant::Granted);
            }
        }
    }

    /// A place is taken whatever the cap.
    pub(crate) fn take_beyond(&self) -> Grant {
        if self.total.load(Ordering::SeqCst) >= UNLIMITED {
            return Grant::Uncapped;
        }
        self.granted.fetch_add(1, Ordering::SeqCst);
        Grant::Granted
    }

    /// Counts so many bytes in, if there is room for them or none is asked for.
    pub(crate) fn add_bytes(&self, bytes: u64, enforcing: bool) -> bool {
        let mut now = self.bytes.load(Ordering::Relaxed);
        loop {
            let Some(all) = now.checked_add(bytes) else {
                return false;
            };
            if enforcing && all > self.most_bytes.load(Ordering::SeqCst) {
                return false;
            }
            match self
                .bytes
                .compare_exchange_weak(now, all, Ordering::SeqCst, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(seen) => now = seen,
            }
        }
    }

    /// Counts so many bytes out, which were counted in.
    pub(crate) fn take_bytes(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
    }
}

/// So many bits of the word of an owner's bytes say how often they were all given up.
const TIMES: u32 = 8;
const BYTES: u64 = u64::MAX >> TIMES;

/// What one owner has of a role's bytes, since they were last all given up.
#[derive(Debug, Default)]
pub(crate) struct Bytes(AtomicU64);

/// Tells a time of an owner's bytes from the next 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn(u64);

impl Turn {
    /// That of an owner that has not given up any.
    pub(crate) const FIRST: Self = Self(0);

    fn of(word: u64) -> Self {
        Self(word & !BYTES)
    }
}

impl Bytes {
    pub(crate) fn turn(&self) -> Turn {
        Turn::of(self.0.load(Ordering::SeqCst))
    }

    /// Adds so many, unless they do not fit.
    pub(crate) fn add(&self, bytes: u64) -> Option<Turn> {
        self.change(|word| {
            let all = (word & BYTES).checked_add(bytes)?;
            (all <= BYTES).then_some(word & !BYTES | all)
        })
        .ok()
        .map(Turn::of)
    }

    /// Takes out as many as there are, at most so many, if they are of this turn. Returns how many.
    pub(crate) fn take(&self, bytes: u64, turn: Option<Turn>) -> u64 {
        let mut taken = 0;
        let _ = self.change(|word| {
            let is_gone = turn.is_some_and(|turn| turn != Turn::of(word));
            taken = if is_gone { 0 } else { bytes.min(word & BYTES) };
            (taken > 0).then(|| word.wrapping_sub(taken))
        });
        taken
    }

    /// Gives up all. Returns how many.
    pub(crate) fn give_up(&self) -> u64 {
        let next = |word: u64| Some((word & !BYTES).wrapping_add(BYTES).wrapping_add(1));
        self.change(next).map_or(0, |word| word & BYTES)
    }

    /// Returns what was there before.
    fn change(&self, mut to: impl FnMut(u64) -> Option<u64>) -> Result<u64, u64> {
        let mut word = self.0.load(Ordering::SeqCst);
        loop {
            let new = to(word).ok_or(word)?;
            match self
                .0
                .compare_exchange_weak(word, new, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(before) => return Ok(before),
                Err(seen) => word = seen,
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn admit(caps: &Caps, tally: &Tally) -> bool {
        let seat = Seat::mine();
        let grant = caps.take(tally, seat);
        if let Some(grant) = grant {
            tally.at(seat).enqueue(1);
            tally.at(seat).settle(grant == Grant::Granted);
        }
        grant.is_some()
    }

    #[test]
    fn exactly_as_many_are_admitted_as_the_cap_says() {
        for total in [0, 1, 2, 300, 6_399, 6_400, 100_000] {
            let (caps, tally) = (Caps::new(), Tally::new());
            // What was there before the cap counts.
            tally.at(Seat::mine()).enqueue(1);
            caps.set(total, UNLIMITED, &tally);
            let admitted = (0..=total).filter(|_| admit(&caps, &tally)).count() as u64;
            assert_eq!(admitted, total.saturating_sub(1));
            assert_eq!(caps.refuses(0, &tally), Some(Reason::Role));
            tally.at(Seat::mine()).dequeue();
            assert_eq!(caps.refuses(0, &tally).is_some(), total == 0);
            assert_eq!(admit(&caps, &tally), total > 0);
        }
    }

    /// Places that were granted and are not needed are others' again.
    #[test]
    fn places_that_a_thread_keeps_are_not_lost() {
        let (caps, tally) = (Caps::new(), Tally::new());
        caps.set(20_000, UNLIMITED, &tally);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert!(admit(&caps, &tally)));
            }
        });
        let admitted = (0..20_000).filter(|_| admit(&caps, &tally)).count();
        assert_eq!(admitted, 20_000 - 8);
        // A lower one holds at once, whatever was granted.
        caps.set(30_000, UNLIMITED, &tally);
        assert!(admit(&caps, &tally));
        caps.set(20_001, UNLIMITED, &tally);
        assert!(!admit(&caps, &tally));
    }

    #[test]
    fn threads_at_once_never_pass_the_cap() {
        for total in [5, 7_000] {
            let (caps, tally, inside) = (Caps::new(), Tally::new(), AtomicU64::new(0));
            caps.set(total, UNLIMITED, &tally);
            let takes = || {
                for turn in 0..20_000 {
                    if admit(&caps, &tally) {
                        let before = inside.fetch_add(1, Ordering::SeqCst);
                        assert!(before < total);
                        if turn % 3 > 0 || total < 10 {
                            inside.fetch_sub(1, Ordering::SeqCst);
                            tally.at(Seat::mine()).dequeue();
                        }
                    }
                }
            };
            // ThreadSanitizer sees a thread's end by its join, and not by that of the scope.
            std::thread::scope(|scope| {
                let threads = [(); 4].map(|()| scope.spawn(takes));
                for thread in threads {
                    thread.join().unwrap();
                }
            });
        }
    }

    proptest! {
        #[test]
        fn bytes_are_given_back_once(
            steps in prop::collection::vec((any::<bool>(), 1..100_u64), 0..50),
            most in 0..1_000_u64,
        ) {
            let (caps, owner, tally) = (Caps::new(), Bytes::default(), Tally::new());
            caps.set(UNLIMITED, most, &tally);
            let mut held = Vec::new();
            for (add, bytes) in steps {
                if add {
                    let fits = caps.bytes() + bytes <= most;
                    prop_assert_eq!(caps.refuses(bytes, &tally).is_none(), fits);
                    prop_assert_eq!(caps.add_bytes(bytes, true), fits);
                    if fits {
                        held.push((bytes, owner.add(bytes).unwrap()));
                    }
                } else if let Some((bytes, turn)) = held.pop() {
                    caps.take_bytes(owner.take(bytes, Some(turn)));
                } else {
                    prop_assert_eq!(owner.take(bytes, None), 0);
                }
                let all: u64 = held.iter().map(|(bytes, _)| bytes).sum();
                prop_assert_eq!(caps.bytes(), all);
            }
            caps.take_bytes(owner.give_up());
            prop_assert_eq!(caps.bytes(), 0);
            // What was given up is nobody's.
            for (bytes, turn) in held {
                prop_assert_eq!(owner.take(bytes, Some(turn)), 0);
            }
        }
    }

    #[test]
    fn more_bytes_than_can_be_counted_are_too_many() {
        let (caps, owner) = (Caps::new(), Bytes::default());
        assert!(owner.add(BYTES).is_some());
        assert_eq!(owner.add(1), None);
        assert_eq!(owner.take(u64::MAX, None), BYTES);
        assert!(caps.add_bytes(u64::MAX - 1, true));
        assert!(!caps.add_bytes(2, false));
        for _ in 0..300 {
            assert_eq!((owner.add(7).is_some(), owner.give_up()), (true, 7));
        }
    }
}
