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
    /// What has come into mailboxes, was taken out of them, and was given up with them.
    posted: AtomicU64,
    taken: AtomicU64,
    dropped: AtomicU64,
    /// So many of the places that were granted are taken, or will not be.
    settled: AtomicU64,
    /// So many that were granted are nobody's yet. The only one here that other threads write.
    leased: AtomicU64,
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
        self.rise(depth);
    }

    #[inline]
    fn rise(self, depth: u64) {
        let max = &self.stripe.max_depth;
        if depth > max.load(Ordering::Relaxed) {
            if self.alone {
                max.store(depth, Ordering::Relaxed);
            } else {
                max.fetch_max(depth, Ordering::Relaxed);
            }
        }
    }

    /// A mailbox has come to `length` by one more.
    #[inline]
    pub(crate) fn post(self, length: u64) {
        self.come();
        self.rise(length);
    }

    /// A mailbox has one more, which is not known to be more than there ever were.
    #[inline]
    pub(crate) fn come(self) {
        self.add(|stripe| &stripe.posted, 1);
    }

    #[inline]
    pub(crate) fn dequeue(self) {
        self.add(|stripe| &stripe.dequeued, 1);
    }

    /// A mailbox that had one length was found to have another: as many have come, or were taken out.
    #[inline]
    pub(crate) fn moved(self, from: u64, to: u64) {
        if to > from {
            self.add(|stripe| &stripe.posted, to.wrapping_sub(from));
        } else {
            self.add(|stripe| &stripe.taken, from.wrapping_sub(to));
        }
    }

    /// A place that was granted is taken, or is not needed; see [`Tally::committed`].
    #[inline]
    pub(crate) fn settle(self, was_granted: bool) {
        if was_granted {
            self.add(|stripe| &stripe.settled, 1);
        }
    }

    #[inline]
    fn add(self, counter: impl Fn(&Stripe) -> &AtomicU64, by: u64) {
        add(counter(self.stripe), by, self.alone);
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
        // In this order: whoever reads in between finds a depth that is too high by one, and not too low.
        self.mine().add(|stripe| &stripe.unmatched, 1);
        self.mine().add(|stripe| &stripe.dequeued, 1);
    }

    /// A mailbox that had so many is given up.
    pub(crate) fn drop_mailbox(&self, length: u64) {
        self.mine().add(|stripe| &stripe.dropped, length);
    }

    /// What is in, mailboxes left out, and what may still come in of so many places that were granted. It may be more
    /// than that, and is never less as long as no more are granted.
    ///
    /// What has left is read before what has come, so that nobody is found to have left that was not found to have
    /// come; and what was settled before that, too, so that nobody is found settled who is not found in.
    pub(crate) fn committed(&self, granted: u64) -> u64 {
        let read = |counter: fn(&Stripe) -> &AtomicU64| {
            self.stripes()
                .map(|stripe| counter(stripe).load(Ordering::Acquire))
                .fold(0, u64::wrapping_add)
        };
        let left = read(|stripe| &stripe.dequeued).wrapping_add(read(|stripe| &stripe.released));
        let unmatched = read(|stripe| &stripe.unmatched);
        let settled = read(|stripe| &stripe.settled);
        let came = read(|stripe| &stripe.enqueued).wrapping_add(unmatched);
        let committed = came
            .wrapping_add(granted)
            .wrapping_sub(left)
            .wrapping_sub(settled);
        // Below zero for a moment if somebody was counting as places began to be granted.
        u64::try_from(committed.cast_signed()).unwrap_or(0)
    }

    /// Keeps so many places that were granted, for the thread with this seat.
    pub(crate) fn lease(&self, seat: Seat, places: u64) {
        let leased = &self.at(seat).stripe.leased;
        leased.fetch_add(places, Ordering::SeqCst);
    }

    /// Takes one of those.
    pub(crate) fn take_leased(&self, seat: Seat) -> bool {
        take_one(&self.at(seat).stripe.leased)
    }

    /// Takes one that any thread has kept.
    pub(crate) fn take_any_leased(&self) -> bool {
        self.stripes().any(|stripe| take_one(&stripe.leased))
    }

    /// Whether any thread has kept one.
    pub(crate) fn has_lease(&self) -> bool {
        self.stripes()
            .any(|stripe| stripe.leased.load(Ordering::SeqCst) > 0)
    }

    /// The places that a thread has kept are not needed.
    pub(crate) fn revoke(&self, seat: Seat) {
        self.revoked(self.at(seat).stripe);
    }

    /// Those that any has kept are not needed.
    pub(crate) fn revoke_all(&self) {
        self.stripes().for_each(|stripe| self.revoked(stripe));
    }

    fn revoked(&self, stripe: &Stripe) {
        let places = stripe.leased.swap(0, Ordering::SeqCst);
        // The shared one is anybody's.
        self.shared.settled.fetch_add(places, Ordering::Release);
    }

    pub(crate) fn release(&self, depth: u64) {
        self.mine().add(|stripe| &stripe.released, depth);
    }

    /// Counts at the calling thread's `seat`.
    pub(crate) fn refuse(&self, seat: Seat) {
        self.at(seat).add(|stripe| &stripe.refused, 1);
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
            sum(dequeued, &stripe.taken);
            sum(released, &stripe.released);
            sum(released, &stripe.dropped);
        }
        for stripe in self.stripes() {
            sum(&mut totals.enqueued, &stripe.enqueued);
            sum(&mut totals.enqueued, &stripe.posted);
            sum(&mut totals.refused, &stripe.refused);
        }
        totals
    }

    /// What is in, mailboxes left out, as of now and as nearly as [`Tally::totals`] knows it.
    pub(crate) fn counted(&self) -> u64 {
        let dequeued = self.sum(|stripe| &stripe.dequeued);
        let (unmatched, released) = (
            self.sum(|stripe| &stripe.unmatched),
            self.sum(|stripe| &stripe.released),
        );
        self.sum(|stripe| &stripe.enqueued)
            .saturating_add(unmatched)
            .saturating_sub(dequeued)
            .saturating_sub(released)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.sum(|stripe| &stripe.refused)
    }

    /// Dequeues that took something.
    pub(crate) fn drained(&self) -> u64 {
        let unmatched = self.sum(|stripe| &stripe.unmatched);
        self.sum(|stripe| &stripe.dequeued)
            .saturating_add(self.sum(|stripe| &stripe.taken))
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

/// Adds to a counter. Alone is who is the only one to write there.
#[inline]
pub(crate) fn add(counter: &AtomicU64, by: u64, alone: bool) {
    // Pairs with `committed`: who finds this finds what this thread counted before.
    if alone {
        let count = counter.load(Ordering::Relaxed);
        counter.store(count.wrapping_add(by), Ordering::Release);
    } else {
        counter.fetch_add(by, Ordering::Release);
    }
}

fn take_one(places: &AtomicU64) -> bool {
    let mut now = places.load(Ordering::SeqCst);
    while let Some(less) = now.checked_sub(1) {
        match places.compare_exchange_weak(now, less, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => return true,
            Err(seen) => now = seen,
        }
    }
    false
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
                    tally.refuse(Seat::mine());
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
