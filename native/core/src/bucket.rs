//! What is kept of one key of a rate: one word, which is changed in one step, or held for a moment by who changes
//! several at once.
//!
//! The word is the theoretical arrival time in the units of the bucket's law. A *held* one is about to be changed, or
//! left as it is: whoever comes meanwhile waits, for it would not know which. Nobody that holds a bucket waits but for
//! another bucket, always in the same order. A bucket that is *gone* never comes back: whoever has found it looks for
//! the key's new one.

use crate::gcra::{Law, Short, Taken};
use crate::sync::{AtomicU64, Ordering, relax};

/// Far above every arrival time.
const HELD: u64 = 1 << 63;
const GONE: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Word(AtomicU64);

/// The bucket is gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// Held by the caller: the arrival time. To be let go of.
#[must_use]
pub(crate) struct Hold<'w> {
    word: &'w Word,
    arrival: u64,
    /// What is left in the word.
    leave: u64,
}

impl Word {
    /// With this arrival time, 0 for a full one.
    pub(crate) fn new(arrival: u64) -> Self {
        Self(AtomicU64::new(arrival.min(HELD.wrapping_sub(1))))
    }

    /// Takes, in one step. What is refused writes nothing.
    #[inline]
    pub(crate) fn take(
        &self,
        law: &Law,
        cost: u64,
        now_ns: u64,
    ) -> Result<Result<Taken, Short>, Gone> {
        self.change(|arrival| {
            let taken = law.take(arrival, cost, now_ns);
            let next = taken.map_or(arrival, |taken| taken.arrival);
            (next, taken)
        })
    }

    /// Gives back, at most to full.
    pub(crate) fn give_back(&self, law: &Law, cost: u64) -> Result<(), Gone> {
        self.change(|arrival| (law.give_back(arrival, cost), ()))
    }

    /// Fills it.
    pub(crate) fn reset(&self) -> Result<(), Gone> {
        self.change(|_| (0, ()))
    }

    /// The arrival time.
    pub(crate) fn read(&self) -> Result<u64, Gone> {
        self.change(|arrival| (arrival, arrival))
    }

    /// Has it gone if it is full, and nobody is about to change it. False if it is not.
    pub(crate) fn go_if_full(&self, law: &Law, now_ns: u64) -> bool {
        let arrival = self.0.load(Ordering::Acquire);
        arrival & HELD == 0
            && law.is_full(arrival, now_ns)
            // Pairs with the load in `free`.
            && self
                .0
                .compare_exchange(arrival, GONE, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    #[cfg(all(test, not(loom)))]
    fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire) == GONE
    }

    /// Holds it.
    pub(crate) fn hold(&self) -> Result<Hold<'_>, Gone> {
        loop {
            let arrival = self.free()?;
            let held = arrival | HELD;
            // Pairs with the load in `free` of whoever holds it next.
            if self
                .0
                .compare_exchange(arrival, held, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                return Ok(Hold {
                    word: self,
                    arrival,
                    leave: arrival,
                });
            }
        }
    }

    #[inline]
    fn change<R>(&self, change: impl Fn(u64) -> (u64, R)) -> Result<R, Gone> {
        loop {
            let arrival = self.free()?;
            let (next, result) = change(arrival);
            let next = next.min(HELD.wrapping_sub(1));
            if next == arrival
                || self
                    .0
                    // Pairs with the load in `free`.
                    .compare_exchange(arrival, next, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            {
                return Ok(result);
            }
        }
    }

    /// The word, once nobody holds it.
    #[inline]
    fn free(&self) -> Result<u64, Gone> {
        let mut turns = 0;
        loop {
            match self.0.load(Ordering::Acquire) {
                GONE => return Err(Gone),
                word if word & HELD == 0 => return Ok(word),
                _ => relax(&mut turns),
            }
        }
    }
}

impl Hold<'_> {
    pub(crate) fn arrival(&self) -> u64 {
        self.arrival
    }

    /// It will have this arrival time once it is let go of.
    pub(crate) fn set(&mut self, arrival: u64) {
        self.arrival = arrival.min(HELD.wrapping_sub(1));
        self.leave = self.arrival;
    }

    /// It will be gone.
    pub(crate) fn end(&mut self) {
        self.leave = GONE;
    }
}

/// A panic leaves it as it was.
impl Drop for Hold<'_> {
    fn drop(&mut self) {
        // Pairs with the load in `free`.
        self.word.0.store(self.leave, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::gcra::Rate;
    use crate::sync::watched::lines_written;

    fn law() -> Law {
        Law::new(Rate {
            number: 1,
            period_ns: 1_000,
            burst: 2,
        })
        .unwrap()
    }

    #[test]
    fn what_is_refused_writes_nothing() {
        let (law, word) = (law(), Word::new(0));
        assert!(word.take(&law, 2, 0).unwrap().is_ok());
        let written = lines_written(|| {
            assert!(word.take(&law, 1, 0).unwrap().is_err());
            assert_eq!(word.read(), Ok(2_000));
        });
        assert!(written.is_empty());
    }

    #[test]
    fn what_is_held_has_what_it_had_or_what_was_set() {
        let word = Word::new(5);
        drop(word.hold().unwrap());
        assert_eq!(word.read(), Ok(5));
        let mut hold = word.hold().unwrap();
        hold.set(7);
        drop(hold);
        assert_eq!(word.read(), Ok(7));
    }

    #[test]
    fn what_is_gone_stays_so() {
        let (law, word) = (law(), Word::new(5));
        assert!(!word.go_if_full(&law, 4));
        let hold = word.hold().unwrap();
        assert!(!word.go_if_full(&law, 5));
        drop(hold);
        assert!(word.go_if_full(&law, 5) && word.is_gone());
        assert_eq!(word.take(&law, 1, 5), Err(Gone));
        assert_eq!((word.reset(), word.read()), (Err(Gone), Err(Gone)));
        assert!(word.hold().is_err());
        let other = Word::new(5);
        other.hold().unwrap().end();
        assert!(other.is_gone());
    }
}
