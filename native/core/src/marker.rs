//! How long requests wait for an owner, measured by those that waited.
//!
//! When a request comes and others wait before it, it is marked: the time is kept, and how many have to leave until it
//! has left itself. When it leaves, that took its *sojourn time*, and since somebody waited all that time, none of it
//! was idle: so many over so much time is the *busy drain rate*. No baseline is kept that could drift, and nothing
//! is guessed from a round trip. The clock is read when a mark is set and when it is reached, and never besides.
//!
//! Who leaves need not be who came first. The rate holds for whatever order; the sojourn time is that of the marked
//! request only where the order is kept.
//!
//! The count is in the word of the [gauge](crate::gauge), and changes in the same step as the depth. The time is a
//! claim on the mark: whoever makes it may mark the gauge, and whoever takes the mark away again, by reaching it or by
//! vacating the gauge, frees it. In between nobody else touches what is here.
//!
//! Two readings of the clock take as long as ten requests. So where few wait, and that shortly, not each that could be
//! is marked: in a [tick] only the first is, and after it one that finds more than twice as many waiting.

use crate::gauge::{Gauge, MARK};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// A mark is set when so many wait, or more: fewer, and it would measure the time that nobody waited.
pub(crate) const LEAST: u64 = 2;
/// What was measured so long ago may not be so any more.
const OLD_MS: u64 = 10_000;
/// How much the newest measurement counts, of all so far.
const WEIGHT: f32 = 0.25;
const NS_PER_MS: f64 = 1_000_000.0;
/// How far beyond their mean the slowest twentieth of a sum of exponential times lies, in standard deviations (1.65),
/// and some more for what is measured, which errs as well.
const SLOW: f64 = 2.2;

/// A pace is how fast a queue drains, as was measured last. [`Meter`](crate::meter::Meter) has an example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// So many are done in a millisecond while any wait: above 0, and smoothed over the last few measurements.
    pub per_ms: f64,
    /// The last one that was marked waited for so many milliseconds.
    pub sojourn_ms: f64,
}

impl Pace {
    /// Tells in how many milliseconds so many drain.
    pub fn ms_for(self, count: u64) -> f64 {
        count as f64 / self.per_ms
    }

    /// Gives how many are done within so many milliseconds: 19 times in 20, if their times are as unlike as exponential
    /// ones, and always if they are alike. One alone is taken to be as quick as most.
    pub fn done_within(self, ms: u64) -> u64 {
        let drained = self.per_ms * ms as f64;
        // The time that n take has a standard deviation of √n: n + SLOW × √n is what drains.
        let root = ((SLOW * SLOW + 4.0 * drained).sqrt() - SLOW) / 2.0;
        (root * root).max(drained.min(1.0)) as u64
    }
}

/// Set in a claim that is nobody's: there is no mark, and nobody is setting one. The low bits are then the tick in
/// which the last was set.
const FREE: u64 = 1 << 63;

/// A tick is so many bits of nanoseconds.
const TICK_BITS: u32 = 24;

/// Gives the tick of a moment: one takes 16.8 milliseconds, and they come round again after two years.
pub(crate) fn tick(now_ns: u64) -> u32 {
    (now_ns >> TICK_BITS) as u32
}

/// Gives the milliseconds from one tick to another, 0 if that is earlier.
pub(crate) fn ms_between(from: u32, to: u32) -> u64 {
    let ticks = to.wrapping_sub(from);
    // Of two that are taken at once by two clocks, either may be the earlier.
    let ticks = if ticks > u32::MAX / 2 { 0 } else { ticks };
    ((u64::from(ticks) << TICK_BITS) as f64 / NS_PER_MS) as u64
}

/// A mark, and what those so far have measured.
#[derive(Debug)]
pub(crate) struct Marker {
    /// When the mark was set, in nanoseconds; or see [`FREE`].
    claim: AtomicU64,
    /// Two numbers that belong together, see [`Smoothed`].
    smoothed: AtomicU64,
    sojourn_ms: AtomicU32,
    /// The depth when the mark was set.
    of: AtomicU32,
}

impl Marker {
    pub(crate) fn new() -> Self {
        Self {
            claim: AtomicU64::new(FREE),
            smoothed: AtomicU64::new(Smoothed::NONE.to_word()),
            sojourn_ms: AtomicU32::new(0),
            of: AtomicU32::new(0),
        }
    }

    /// Whether one that finds this depth is to be marked in this tick. It has found no mark.
    #[inline]
    pub(crate) fn is_due(&self, depth: u64, tick: u32) -> bool {
        let claim = self.claim.load(Ordering::Relaxed);
        let of = u64::from(self.of.load(Ordering::Relaxed));
        claim & FREE != 0 && (claim as u32 != tick || depth / 2 > of)
    }

    /// Whether there is no mark, and none was set for ten seconds.
    pub(crate) fn is_old(&self, tick: u32) -> bool {
        let claim = self.claim.load(Ordering::Relaxed);
        claim & FREE != 0 && ms_between(claim as u32, tick) >= OLD_MS
    }

    /// The last mark was set in one tick, and reached about its sojourn time later. If that was ten seconds before
    /// another, what was measured by then is doubted from now on.
    fn doubt_if_old(&self, set_in: u32, tick: u32) {
        let sojourn_ms = f32::from_bits(self.sojourn_ms.load(Ordering::Relaxed)) as u64;
        if ms_between(set_in, tick) >= sojourn_ms.saturating_add(OLD_MS) {
            let word = self.smoothed.load(Ordering::Relaxed);
            let doubted = Smoothed::from_word(word).doubted().to_word();
            // What was forgotten meanwhile stays so.
            let _ =
                self.smoothed
                    .compare_exchange(word, doubted, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Marks the gauge, which had no mark a moment ago and [`LEAST`] or more, unless somebody else does.
    pub(crate) fn arm(&self, gauge: &Gauge, now_ns: u64) {
        let free = self.claim.load(Ordering::Relaxed);
        // Pairs with `let_go`: what the last mark has measured is here.
        let claimed = free & FREE != 0
            && self
                .claim
                .compare_exchange(free, now_ns & !FREE, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        let of = |depth: u64| {
            self.of
                .store(u32::try_from(depth).unwrap_or(u32::MAX), Ordering::Relaxed);
        };
        if claimed {
            self.doubt_if_old(free as u32, tick(now_ns));
            if gauge.mark(LEAST, of) != Ok(true) {
                self.let_go();
            }
        }
    }

    /// The mark is reached, and so many that it counted left undone. What was marked before `valid_from_ns` measures
    /// nothing; neither do those that all left undone, nor a clock that stands still. The claim is the caller's to
    /// free.
    pub(crate) fn reached(&self, undone: u64, now_ns: u64, valid_from_ns: u64) -> Option<Pace> {
        // The release that took the mark away has acquired them from who set it.
        let since_ns = self.claim.load(Ordering::Relaxed);
        let of = u64::from(self.of.load(Ordering::Relaxed));
        let counted = of.min(MARK);
        let done = counted.saturating_sub(undone);
        let took_ns = now_ns.saturating_sub(since_ns);
        let measured = done > 0 && took_ns > 0 && since_ns >= valid_from_ns;
        if measured {
            let took_ms = took_ns as f64 / NS_PER_MS;
            let smoothed = Smoothed::from_word(self.smoothed.load(Ordering::Relaxed));
            let smoothed = smoothed.with(done as f32, took_ms as f32);
            self.smoothed.store(smoothed.to_word(), Ordering::Relaxed);
            // Of more than a mark counts those in front are measured, and the rest takes as long each.
            let sojourn_ms = took_ms * of as f64 / counted.max(1) as f64;
            self.sojourn_ms
                .store((sojourn_ms as f32).to_bits(), Ordering::Relaxed);
        }
        if measured { self.pace() } else { None }
    }

    /// The gauge has no mark any more: there may be another.
    pub(crate) fn let_go(&self) {
        let set_in = tick(self.claim.load(Ordering::Relaxed));
        // Pairs with `arm`.
        self.claim
            .store(FREE | u64::from(set_in), Ordering::Release);
    }

    /// Forgets what was measured, with the use of the account that it was measured in. Who was just measuring in that
    /// may still say what it was.
    pub(crate) fn forget(&self) {
        self.smoothed
            .store(Smoothed::NONE.to_word(), Ordering::Relaxed);
    }

    /// What was measured so far, if anything was.
    #[inline]
    pub(crate) fn pace(&self) -> Option<Pace> {
        let smoothed = Smoothed::from_word(self.smoothed.load(Ordering::Relaxed));
        let per_ms = smoothed.per_ms()?;
        Some(Pace {
            per_ms,
            sojourn_ms: f32::from_bits(self.sojourn_ms.load(Ordering::Relaxed)).into(),
        })
    }

    /// For how many milliseconds the one that is marked has waited by now: the oldest, or one that came after it.
    pub(crate) fn waiting_ms(&self, gauge: &Gauge, now_ns: u64) -> Option<f64> {
        gauge.left()?;
        let since_ns = self.claim.load(Ordering::Relaxed);
        (since_ns & FREE == 0).then(|| now_ns.saturating_sub(since_ns) as f64 / NS_PER_MS)
    }
}

/// How many were done in how much time, each smoothed by itself: so the rate is that of all the requests of the last
/// few marks, and one mark of few, which errs most, counts as little as it has measured.
///
/// Nor would it count where the last few took very long, and that long ago: of a minute in which the consumer hung,
/// little would be gone after ten of them. So the time of what is doubted is negative, and a mark that measures a
/// faster rate begins anew.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Smoothed {
    done: f32,
    ms: f32,
}

impl Smoothed {
    const NONE: Self = Self { done: 0.0, ms: 0.0 };

    fn doubted(self) -> Self {
        Self {
            ms: -self.ms.abs(),
            ..self
        }
    }

    fn with(self, done: f32, ms: f32) -> Self {
        let now = Self { done, ms };
        let is_faster = now.per_ms() > self.per_ms();
        if self.ms == 0.0 || self.ms < 0.0 && is_faster {
            return now;
        }
        let before_ms = self.ms.abs();
        Self {
            done: self.done + (done - self.done) * WEIGHT,
            ms: before_ms + (ms - before_ms) * WEIGHT,
        }
    }

    fn per_ms(self) -> Option<f64> {
        let ms = f64::from(self.ms.abs());
        (ms > 0.0).then(|| f64::from(self.done) / ms)
    }

    fn to_word(self) -> u64 {
        u64::from(self.done.to_bits()) | u64::from(self.ms.to_bits()) << u32::BITS
    }

    fn from_word(word: u64) -> Self {
        Self {
            done: f32::from_bits(word as u32),
            ms: f32::from_bits((word >> u32::BITS) as u32),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_doubted_and_was_slower_is_given_up_for_one_measurement() {
        let slow = Smoothed::NONE.with(100.0, 60_000.0);
        assert_eq!(slow.with(2.0, 2.0).per_ms(), Some(75.5 / 45_000.5));
        assert_eq!(slow.doubted().per_ms(), slow.per_ms());
        assert_eq!(slow.doubted().doubted(), slow.doubted());
        let quick = slow.doubted().with(2.0, 2.0);
        assert_eq!(quick.per_ms(), Some(1.0));
        // Few consumers that are at work are no slower ones.
        assert_eq!(quick.doubted().with(2.0, 10.0), quick.with(2.0, 10.0));
        // What nobody has measured cannot be doubted.
        assert_eq!(Smoothed::NONE.doubted().per_ms(), None);
    }
}
