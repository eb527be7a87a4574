//! A role's running totals, counted by many threads at once.

use std::marker::PhantomData;

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering, thread_number, threads};

/// More stripes than this cost a reader more than they spare the writers.
const MAX_OWN_STRIPES: usize = 64;

/// Sums and a maximum since the beginning. They only grow, but for the maximum, which can be reset.
///
/// The first threads that count have a stripe each, which nobody else writes: they need no atomic
/// read-modify-write and never touch a cache line that another core writes. Threads that come later
/// share one. Reading sums the stripes; each sum is exact once those who count have returned.
#[derive(Debug)]
pub(crate) struct Tally {
    own: Box<[CachePadded<Stripe>]>,
    shared: CachePadded<Stripe>,
}

/// One thread's counts. Padded to two cache lines, since processors fetch lines in pairs.
#[derive(Debug, Default)]
struct Stripe {
    enqueued: AtomicU64,
    dequeued: AtomicU64,
    unmatched: AtomicU64,
    released: AtomicU64,
    refused: AtomicU64,
    max_depth: AtomicU64,
}

/// Which of the stripes a thread counts in. To ask the system for it takes as long as to count.
///
/// It stays on its thread, since others may not count there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat(usize, PhantomData<*const ()>);

impl Seat {
    /// The calling thread's.
    pub(crate) fn mine() -> Self {
        Self(thread_number(), PhantomData)
    }

    /// Which of the threads it is, from 0.
    pub(crate) fn number(self) -> usize {
        self.0
    }

    /// One of the first, of which there are fewer than tests have threads.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn numbered(number: usize) -> Self {
        Self(number, PhantomData)
    }
}

/// A stripe, as the thread may use it whose seat it is.
#[derive(Clone, Copy)]
pub(crate) struct Mine<'t> {
    stripe: &'t Stripe,
    alone: bool,
}

impl Mine<'_> {
    /// An owner has reached `depth` by one more.
    #[inline]
    pub(crate) fn enqueue(self, depth: u64) {
        self.add(|stripe| &stripe.enqueued, 1);
        let max = &self.stripe.max_depth;
        if depth > max.load(Ordering::Relaxed) {
            if self.alone {
                max.store(depth, Ordering::Relaxed);
            } else {
                max.fetch_max(depth, Ordering::Relaxed);
            }
        }
    }

    /// An owner has one more, which is not known to be more than there ever were.
    #[inline]
    pub(crate) fn come(self) {
        self.add(|stripe| &stripe.enqueued, 1);
    }

    #[inline]
    pub(crate) fn dequeue(self) {
        self.add(|stripe| &stripe.dequeued, 1);
    }

    /// A mailbox that had one length was found to have another: as many have come, or were taken out.
    #[inline]
    pub(crate) fn moved(self, from: u64, to: u64) {
        if to > from {
            self.add(|stripe| &stripe.enqueued, to.wrapping_sub(from));
        } else {
            self.add(|stripe| &stripe.dequeued, from.wrapping_sub(to));
        }
    }

    #[inline]
    fn add(self, counter: impl Fn(&Stripe) -> &AtomicU64, by: u64) {
        let counter = counter(self.stripe);
        if self.alone {
            let count = counter.load(Ordering::Relaxed);
            counter.store(count.wrapping_add(by), Ordering::Relaxed);
        } else {
            counter.fetch_add(by, Ordering::Relaxed);
        }
    }
}

/// The sums at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) enqueued: u64,
    /// Unmatched ones included.
    pub(crate) dequeued: u64,
    pub(crate) unmatched: u64,
    pub(crate) released: u64,
    pub(crate) refused: u64,
}

impl Totals {
    /// What is in: enqueued and neither dequeued nor released.
    pub(crate) fn depth(self) -> u64 {
        self.enqueued
            .saturating_add(self.unmatched)
            .saturating_sub(self.dequeued)
            .saturating_sub(self.released)
    }
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            own: (0..own_stripes()).map(|_| CachePadded::default()).collect(),
            shared: CachePadded::default(),
        }
    }

    /// How many bytes the stripes take.
    pub(crate) fn heap() -> usize {
        own_stripes().saturating_mul(size_of::<CachePadded<Stripe>>())
    }

    /// Where the thread with this seat counts: in its own stripe, or else in the one that the rest share.
    #[inline]
    pub(crate) fn at(&self, Seat(number, _): Seat) -> Mine<'_> {
        match self.own.get(number) {
            Some(stripe) => Mine {
                stripe,
                alone: true,
            },
            None => Mine {
                stripe: &self.shared,
                alone: false,
            },
        }
    }

    pub(crate) fn unmatched_dequeue(&self) {
        self.mine().add(|stripe| &stripe.dequeued, 1);
        self.mine().add(|stripe| &stripe.unmatched, 1);
    }

    pub(crate) fn release(&self, depth: u64) {
        self.mine().add(|stripe| &stripe.released, depth);
    }

    pub(crate) fn refuse(&self) {
        self.mine().add(|stripe| &stripe.refused, 1);
    }

    pub(crate) fn totals(&self) -> Totals {
        // What leaves is read before what enters, so that a reader in the middle of a storm sees a
        // depth that is a little too high rather than below zero.
        let mut totals = Totals::default();
        for stripe in self.stripes() {
            let Totals {
                unmatched,
                dequeued,
                released,
                ..
            } = &mut totals;
            sum(unmatched, &stripe.unmatched);
            sum(dequeued, &stripe.dequeued);
            sum(released, &stripe.released);
        }
        for stripe in self.stripes() {
            sum(&mut totals.enqueued, &stripe.enqueued);
            sum(&mut totals.refused, &stripe.refused);
        }
        totals
    }

    pub(crate) fn refused(&self) -> u64 {
        self.sum(|stripe| &stripe.refused)
    }

    /// Dequeues that took something.
    pub(crate) fn drained(&self) -> u64 {
        let unmatched = self.sum(|stripe| &stripe.unmatched);
        self.sum(|stripe| &stripe.dequeued)
            .saturating_sub(unmatched)
    }

    /// The highest depth since the last reset.
    pub(crate) fn max_depth(&self) -> u64 {
        self.stripes()
            .map(|stripe| stripe.max_depth.load(Ordering::Relaxed))
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn reset_max_depth(&self) {
        self.stripes()
            .for_each(|stripe| stripe.max_depth.store(0, Ordering::Relaxed));
    }

    fn mine(&self) -> Mine<'_> {
        self.at(Seat::mine())
    }

    /// Those that were ever counted in, and the shared one.
    fn stripes(&self) -> impl Iterator<Item = &Stripe> {
        self.own
            .iter()
            .take(threads())
            .chain(std::iter::once(&self.shared))
            .map(|stripe| &**stripe)
    }

    fn sum(&self, counter: impl Fn(&Stripe) -> &AtomicU64) -> u64 {
        self.stripes()
            .map(|stripe| counter(stripe).load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add)
    }
}

fn sum(total: &mut u64, counter: &AtomicU64) {
    *total = total.wrapping_add(counter.load(Ordering::Relaxed));
}

/// Room for a scheduler a core, and as many dirty ones. In a model two threads have their own, and the rest share.
pub(crate) fn own_stripes() -> usize {
    if cfg!(loom) {
        return 2;
    }
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .saturating_mul(2)
        .min(MAX_OWN_STRIPES)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn threads_with_and_without_a_stripe_of_their_own_lose_nothing() {
        let tally = Tally::new();
        let threads = tally.own.len() as u64 + 4;
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let tally = &tally;
                scope.spawn(move || {
                    for depth in 1..=10_000 {
                        tally.mine().enqueue(depth + thread);
                        tally.mine().dequeue();
                    }
                    tally.unmatched_dequeue();
                    tally.release(3);
                    tally.refuse();
                });
            }
        });
        let expected = Totals {
            enqueued: threads * 10_000,
            dequeued: threads * 10_001,
            unmatched: threads,
            released: threads * 3,
            refused: threads,
        };
        assert_eq!(tally.totals(), expected);
        assert_eq!(tally.drained(), threads * 10_000);
        assert_eq!(tally.max_depth(), 10_000 + threads - 1);
        tally.reset_max_depth();
        assert_eq!(tally.max_depth(), 0);
    }
}
