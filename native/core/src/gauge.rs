//! One owner's depth in one role: a single atomic word.
//!
//! A counted depth is what enqueues and dequeues make of it. That of a mailbox, limited or watched, is its length as
//! somebody saw it last, and no operation that counts changes it.
//!
//! Every operation is one atomic step on that word, and the word also says whether the gauge is in
//! use. So a count either lands before the owner's death, and is given back with the rest, or finds
//! the gauge vacant and does not exist: there is no moment in between for a count to leak into.

use crate::reason::Reason;
use crate::sync::{AtomicU64, Ordering};

/// Set while nobody's depth is kept here. A depth would need centuries of counting to reach it.
const VACANT: u64 = 1 << 63;

/// Set while the depth is the length of the owner's mailbox. Without `VACANT`, all that is below is counted.
const MAILBOX: u64 = 1 << 62;

/// Set since the end of the first use, for good. So whoever finds none of the three, and changes the word in that step,
/// does so in the first use: a place of that use is still there to be taken or given back.
const REUSED: u64 = 1 << 61;

/// Set beside `MAILBOX` while the mailbox is watched, and nobody is admitted to it.
const WATCHED: u64 = 1 << 60;

/// What kind of depth it is.
const KIND: u64 = MAILBOX | WATCHED;

/// The bits of the depth.
const DEPTH: u64 = WATCHED - 1;

/// A kind is what a depth is. [`Row`](crate::survey::Row) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is what enqueues and dequeues make of it.
    Counted,
    /// It is the length of the owner's mailbox, as it was seen last, and senders are admitted by it.
    Mailbox,
    /// It is that too, of a process that is watched whoever sends to it.
    Watched,
}

/// The gauge is not in use: its owner is gone, was forgotten, or has not been entered yet. Or it is of the other kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vacant;

/// What became of a request for admission. Both carry the depth that decided, before the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// There was room; the depth is now one more.
    Admitted(u64),
    /// The depth stood at the limit or above it, or there is another reason; nothing was changed.
    Refused(u64, Reason),
}

impl Admission {
    /// The depth afterwards.
    pub(crate) fn depth(self) -> u64 {
        match self {
            Self::Admitted(before) => before.wrapping_add(1),
            Self::Refused(depth, _) => depth,
        }
    }
}

/// What became of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// The depth is now this, one less.
    Released(u64),
    /// The depth was zero and stays so.
    Unmatched,
}

/// The depth of one owner in one role.
///
/// All operations are exact under any interleaving, since a single atomic word has one order of changes
/// that everybody agrees on. It guards no other memory. Changes are sequentially consistent for the one
/// thing that is done with two words: a change that finds old marks is seen by whoever set new ones (see
/// `Account::judge`).
#[derive(Debug)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    /// A gauge nobody uses yet.
    pub(crate) fn vacant() -> Self {
        Self(AtomicU64::new(VACANT))
    }

    /// The depth at this moment, of either kind.
    pub(crate) fn depth(&self) -> Result<u64, Vacant> {
        occupied(self.0.load(Ordering::Relaxed))
    }

    /// The depth at this moment, if it is counted.
    pub(crate) fn counted(&self) -> Result<u64, Vacant> {
        counted(self.0.load(Ordering::Relaxed))
    }

    /// What it is used for, if it is.
    pub(crate) fn kind(&self) -> Result<Kind, Vacant> {
        let word = self.0.load(Ordering::Relaxed);
        occupied(word).map(|_| match word & KIND {
            MAILBOX => Kind::Mailbox,
            KIND => Kind::Watched,
            _ => Kind::Counted,
        })
    }

    /// Keeps the length that a mailbox has. Returns the one that was kept.
    pub(crate) fn see(&self, length: u64) -> Result<u64, Vacant> {
        self.mailbox(|_| length)
    }

    /// One more is in a mailbox than it was seen to have.
    pub(crate) fn come(&self) -> Result<(), Vacant> {
        self.mailbox(|seen| seen.wrapping_add(1)).map(drop)
    }

    /// Keeps another length. Returns the one that was kept.
    fn mailbox(&self, length: impl Fn(u64) -> u64) -> Result<u64, Vacant> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & (VACANT | MAILBOX) != MAILBOX {
                return Err(Vacant);
            }
            let seen = word & DEPTH;
            match self.replace(word, word & !DEPTH | length(seen) & DEPTH) {
                Ok(()) => return Ok(seen),
                Err(changed) => word = changed,
            }
        }
    }

    /// Adds one, whatever the limit. Returns the new depth.
    pub(crate) fn add(&self) -> Result<u64, Vacant> {
        self.counted()?;
        // On a gauge that is vacated meanwhile this leaves rubbish in the low bits, which `occupy` overwrites; on one
        // that has become a mailbox's, `see`.
        counted(self.0.fetch_add(1, Ordering::SeqCst)).map(|depth| depth.wrapping_add(1))
    }

    /// Adds one if the depth is below what `limit` says at the time, in one step.
    ///
    /// `limit` is asked again whenever another caller came in between.
    pub(crate) fn admit(&self, limit: impl Fn() -> u64) -> Result<Admission, Vacant> {
        self.admit_while(counted, limit)
    }

    /// Does what [`admit`](Self::admit) does in the gauge's first use.
    pub(crate) fn admit_first(&self, limit: impl Fn() -> u64) -> Result<Admission, Vacant> {
        self.admit_while(first, limit)
    }

    #[inline(always)]
    fn admit_while(
        &self,
        read: impl Fn(u64) -> Result<u64, Vacant>,
        limit: impl Fn() -> u64,
    ) -> Result<Admission, Vacant> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let depth = read(word)?;
            if depth >= limit() {
                return Ok(Admission::Refused(depth, Reason::Full));
            }
            match self.replace(word, word.wrapping_add(1)) {
                Ok(()) => return Ok(Admission::Admitted(depth)),
                Err(seen) => word = seen,
            }
        }
    }

    /// Takes one away, but never goes below zero.
    pub(crate) fn release(&self) -> Result<Release, Vacant> {
        self.release_while(counted)
    }

    /// Does what [`release`](Self::release) does in the gauge's first use.
    pub(crate) fn release_first(&self) -> Result<Release, Vacant> {
        self.release_while(first)
    }

    #[inline(always)]
    fn release_while(&self, read: impl Fn(u64) -> Result<u64, Vacant>) -> Result<Release, Vacant> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let Some(less) = read(word)?.checked_sub(1) else {
                return Ok(Release::Unmatched);
            };
            match self.replace(word, word.wrapping_sub(1)) {
                Ok(()) => return Ok(Release::Released(less)),
                Err(seen) => word = seen,
            }
        }
    }

    /// Whether it was in use, and no more is.
    pub(crate) fn was_used(&self) -> bool {
        self.0.load(Ordering::Relaxed) & REUSED != 0
    }

    /// Takes the gauge into use at depth zero.
    ///
    /// Only one thread at a time may call this or [`vacate`](Self::vacate); the owner's lock sees to it.
    pub(crate) fn occupy(&self, kind: Kind) {
        let empty = match kind {
            Kind::Counted => 0,
            Kind::Mailbox => MAILBOX,
            Kind::Watched => MAILBOX | WATCHED,
        };
        let empty = empty | self.0.load(Ordering::Relaxed) & REUSED;
        // A swap: loom lets a plain store and the exchange of an `add` that finds the gauge vacant pass each other.
        self.0.swap(empty, Ordering::Relaxed);
    }

    /// Takes the gauge out of use. Returns the depth that it gives up.
    pub(crate) fn vacate(&self) -> Result<u64, Vacant> {
        occupied(self.0.swap(VACANT | REUSED, Ordering::Relaxed))
    }

    fn replace(&self, current: u64, new: u64) -> Result<(), u64> {
        self.0
            .compare_exchange_weak(current, new, Ordering::SeqCst, Ordering::Relaxed)
            .map(drop)
    }
}

fn occupied(word: u64) -> Result<u64, Vacant> {
    if word & VACANT == 0 {
        Ok(word & DEPTH)
    } else {
        Err(Vacant)
    }
}

fn counted(word: u64) -> Result<u64, Vacant> {
    if word < MAILBOX {
        Ok(word & DEPTH)
    } else {
        Err(Vacant)
    }
}

fn first(word: u64) -> Result<u64, Vacant> {
    if word < REUSED { Ok(word) } else { Err(Vacant) }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn occupied_gauge() -> Gauge {
        let gauge = Gauge::vacant();
        gauge.occupy(Kind::Counted);
        gauge
    }

    #[test]
    fn a_vacant_gauge_counts_nothing() {
        let gauge = Gauge::vacant();
        assert_eq!(gauge.add(), Err(Vacant));
        assert_eq!(gauge.admit(|| 10), Err(Vacant));
        assert_eq!(gauge.release(), Err(Vacant));
        assert_eq!(gauge.depth(), Err(Vacant));
        assert_eq!(gauge.vacate(), Err(Vacant));
        gauge.occupy(Kind::Counted);
        assert_eq!(gauge.depth(), Ok(0));
    }

    #[test]
    fn admission_stops_at_the_limit() {
        let gauge = occupied_gauge();
        assert_eq!(gauge.admit(|| 2), Ok(Admission::Admitted(0)));
        assert_eq!(gauge.admit(|| 2), Ok(Admission::Admitted(1)));
        assert_eq!(gauge.admit(|| 2), Ok(Admission::Refused(2, Reason::Full)));
        assert_eq!(gauge.admit(|| 0), Ok(Admission::Refused(2, Reason::Full)));
        assert_eq!(gauge.depth(), Ok(2));
    }

    #[test]
    fn adding_ignores_the_limit_and_releasing_stops_at_zero() {
        let gauge = occupied_gauge();
        assert_eq!(gauge.add(), Ok(1));
        assert_eq!(gauge.add(), Ok(2));
        assert_eq!(gauge.release(), Ok(Release::Released(1)));
        assert_eq!(gauge.release(), Ok(Release::Released(0)));
        assert_eq!(gauge.release(), Ok(Release::Unmatched));
        assert_eq!(gauge.depth(), Ok(0));
    }

    #[test]
    fn vacating_gives_the_depth_up_once() {
        let gauge = occupied_gauge();
        gauge.add().unwrap();
        gauge.add().unwrap();
        assert_eq!(gauge.vacate(), Ok(2));
        assert_eq!(gauge.vacate(), Err(Vacant));
        gauge.add().unwrap_err();
        gauge.occupy(Kind::Counted);
        assert_eq!(gauge.depth(), Ok(0));
    }

    #[test]
    fn only_the_first_use_is_the_first() {
        let gauge = Gauge::vacant();
        assert_eq!(gauge.admit_first(|| 2), Err(Vacant));
        assert!(!gauge.was_used());
        gauge.occupy(Kind::Counted);
        assert_eq!(gauge.admit_first(|| 1), Ok(Admission::Admitted(0)));
        assert_eq!(
            gauge.admit_first(|| 1),
            Ok(Admission::Refused(1, Reason::Full))
        );
        assert_eq!(gauge.release_first(), Ok(Release::Released(0)));
        assert_eq!(gauge.release_first(), Ok(Release::Unmatched));
        assert_eq!((gauge.vacate(), gauge.was_used()), (Ok(0), true));
        gauge.occupy(Kind::Counted);
        assert_eq!(gauge.admit(|| 9), Ok(Admission::Admitted(0)));
        assert_eq!(gauge.admit_first(|| 9), Err(Vacant));
        assert_eq!(gauge.release_first(), Err(Vacant));
        assert_eq!((gauge.add(), gauge.depth()), (Ok(2), Ok(2)));
        assert_eq!(gauge.release(), Ok(Release::Released(1)));
        gauge.vacate().unwrap();
        gauge.occupy(Kind::Mailbox);
        assert_eq!((gauge.see(3), gauge.depth()), (Ok(0), Ok(3)));
        assert_eq!((gauge.vacate(), gauge.was_used()), (Ok(3), true));
    }

    #[test]
    fn a_mailbox_is_seen_and_not_counted() {
        let gauge = Gauge::vacant();
        assert_eq!(gauge.see(3), Err(Vacant));
        for kind in [Kind::Mailbox, Kind::Watched] {
            gauge.occupy(kind);
            assert_eq!((gauge.kind(), gauge.see(3)), (Ok(kind), Ok(0)));
            assert_eq!((gauge.depth(), gauge.counted()), (Ok(3), Err(Vacant)));
            assert_eq!((gauge.add(), gauge.release()), (Err(Vacant), Err(Vacant)));
            assert_eq!(gauge.admit(|| 10), Err(Vacant));
            assert_eq!((gauge.see(u64::MAX), gauge.kind()), (Ok(3), Ok(kind)));
            assert_eq!((gauge.see(1), gauge.depth()), (Ok(WATCHED - 1), Ok(1)));
            assert_eq!(gauge.vacate(), Ok(1));
        }
        gauge.occupy(Kind::Counted);
        assert_eq!(
            (gauge.kind(), gauge.see(1)),
            (Ok(Kind::Counted), Err(Vacant))
        );
    }
}
