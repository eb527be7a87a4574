//! One owner's depth in one role: a single atomic word.
//!
//! A counted depth is what enqueues and dequeues make of it. That of a mailbox, limited or watched, is its length as
//! somebody saw it last, and no operation that counts changes it.
//!
//! Every operation is one atomic step on that word, and the word also says whether the gauge is in
//! use. So a count either lands before the owner's death, and is given back with the rest, or finds
//! the gauge vacant and does not exist: there is no moment in between for a count to leak into.
//!
//! A gauge that counts may be marked (`marker`): then the same word says how many have to leave until whoever was the
//! last when it was marked has left, and how many of those that left did so undone. So a mark goes exactly with the
//! depth, whoever leaves at the same time, and costs nothing but arithmetic on a word that is there anyway.

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
const DEPTH: u64 = (1 << 32) - 1;

/// A depth that is counted stops here: those who are just adding, each at most one, do not make it larger than `DEPTH`.
const MOST: u64 = DEPTH - (1 << 20);

/// A mark counts at most so many.
pub(crate) const MARK: u64 = (1 << 14) - 1;

/// One of those that have to leave until the mark is reached. None while there is no mark.
const LEFT: u64 = DEPTH + 1;

/// One of those that left undone.
const UNDONE: u64 = LEFT << 14;

/// The bits of the mark.
const MARKED: u64 = MARK * (LEFT | UNDONE);

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

/// One more was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Added {
    /// The new depth.
    pub(crate) depth: u64,
    /// There is no mark.
    pub(crate) unmarked: bool,
}

impl Added {
    #[inline]
    fn to(word: u64) -> Self {
        Self {
            depth: (word & DEPTH).wrapping_add(1),
            unmarked: word & MARKED == 0,
        }
    }
}

/// What became of a request for admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// There was room; the depth is now one more.
    Admitted(Added),
    /// The depth, which is this, stood at the limit or above it, or there is another reason; nothing was changed.
    Refused(u64, Reason),
}

impl Admission {
    pub(crate) fn is_admitted(self) -> bool {
        matches!(self, Self::Admitted(_))
    }
}

/// What a gauge that is vacated gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) depth: u64,
    /// There was a mark, which nobody is ever going to reach.
    pub(crate) marked: bool,
}

/// How somebody leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    Done,
    /// Taken out undone: expired, or cancelled.
    Undone,
}

/// What became of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// The depth is now this, one less.
    Released {
        depth: u64,
        /// The mark is reached, and gone. So many of those that it counted left undone.
        reached: Option<u64>,
    },
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
            match self.replace(word, word & !DEPTH | length(seen).min(DEPTH)) {
                Ok(()) => return Ok(seen),
                Err(changed) => word = changed,
            }
        }
    }

    /// Adds one, whatever the limit; none if the depth is four thousand million, from where on nothing is counted.
    #[inline(always)]
    pub(crate) fn add(&self) -> Result<Option<Added>, Vacant> {
        if self.counted()? >= MOST {
            return Ok(None);
        }
        // On a gauge that is vacated meanwhile this leaves rubbish in the low bits, which `occupy` overwrites; on one
        // that has become a mailbox's, `see`.
        let word = self.0.fetch_add(1, Ordering::SeqCst);
        counted(word).map(|_| Some(Added::to(word)))
    }

    /// Adds one if the depth is below what `limit` says at the time, in one step.
    ///
    /// `limit` is asked again whenever another caller came in between.
    #[inline(always)]
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
            if depth >= limit().min(MOST) {
                return Ok(Admission::Refused(depth, Reason::Full));
            }
            match self.replace(word, word.wrapping_add(1)) {
                Ok(()) => return Ok(Admission::Admitted(Added::to(word))),
                Err(seen) => word = seen,
            }
        }
    }

    /// Takes one away, but never goes below zero.
    #[inline(always)]
    pub(crate) fn release(&self, leave: Leave) -> Result<Release, Vacant> {
        self.release_while(leave, counted)
    }

    /// Does what [`release`](Self::release) does in the gauge's first use.
    pub(crate) fn release_first(&self, leave: Leave) -> Result<Release, Vacant> {
        self.release_while(leave, first)
    }

    #[inline(always)]
    fn release_while(
        &self,
        leave: Leave,
        read: impl Fn(u64) -> Result<u64, Vacant>,
    ) -> Result<Release, Vacant> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let Some(depth) = read(word)?.checked_sub(1) else {
                return Ok(Release::Unmatched);
            };
            let mut new = word.wrapping_sub(1);
            let mut reached = None;
            if word & MARKED != 0 {
                new = new.wrapping_sub(LEFT);
                if leave == Leave::Undone {
                    new = new.wrapping_add(UNDONE);
                }
                if new & (MARK * LEFT) == 0 {
                    reached = Some((new / UNDONE) & MARK);
                    new &= !MARKED;
                }
            }
            match self.replace(word, new) {
                Ok(()) => return Ok(Release::Released { depth, reached }),
                Err(seen) => word = seen,
            }
        }
    }

    /// Marks whoever is the last of `least` or more: when it has left, the release that took it says so. For one at a
    /// time, and none while there is a mark.
    ///
    /// `of` is told, before that can be, of which depth it is the mark. Of one that is larger than [`MARK`], the mark
    /// counts so many, those in front.
    pub(crate) fn mark(&self, least: u64, of: impl Fn(u64)) -> Result<bool, Vacant> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let depth = counted(word)?;
            if depth < least || word & MARKED != 0 {
                return Ok(false);
            }
            let left = depth.min(MARK);
            of(depth);
            match self.replace(word, word | left.wrapping_mul(LEFT)) {
                Ok(()) => return Ok(true),
                Err(seen) => word = seen,
            }
        }
    }

    /// How many have to leave until the mark is reached, if there is one.
    pub(crate) fn left(&self) -> Option<u64> {
        let word = self.0.load(Ordering::Relaxed);
        let left = (word / LEFT) & MARK;
        (counted(word).is_ok() && left > 0).then_some(left)
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
        // A swap: loom lets a plain store and the exchange of an `add` that finds the gauge vacant pass each other. It
        // pairs with the step of whoever is counted from now on: that finds the tenure of this use.
        self.0.swap(empty, Ordering::Release);
    }

    /// Takes the gauge out of use. Returns what it gives up.
    pub(crate) fn vacate(&self) -> Result<GivenUp, Vacant> {
        // Acquires, as does the release that reaches a mark: whoever marked it is to be taken over from.
        let word = self.0.swap(VACANT | REUSED, Ordering::Acquire);
        occupied(word).map(|depth| GivenUp {
            depth,
            marked: counted(word).is_ok() && word & MARKED != 0,
        })
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
    if word < REUSED {
        Ok(word & DEPTH)
    } else {
        Err(Vacant)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn admitted(to: u64) -> Result<Admission, Vacant> {
        added(to).map(|added| Admission::Admitted(added.unwrap()))
    }

    fn added(depth: u64) -> Result<Option<Added>, Vacant> {
        Ok(Some(Added {
            depth,
            unmarked: true,
        }))
    }

    fn released(depth: u64) -> Result<Release, Vacant> {
        Ok(Release::Released {
            depth,
            reached: None,
        })
    }

    fn given_up(depth: u64) -> Result<GivenUp, Vacant> {
        Ok(GivenUp {
            depth,
            marked: false,
        })
    }

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
        assert_eq!(gauge.release(Leave::Done), Err(Vacant));
        assert_eq!(gauge.depth(), Err(Vacant));
        assert_eq!(gauge.vacate(), Err(Vacant));
        gauge.occupy(Kind::Counted);
        assert_eq!(gauge.depth(), Ok(0));
    }

    #[test]
    fn admission_stops_at_the_limit() {
        let gauge = occupied_gauge();
        assert_eq!(gauge.admit(|| 2), admitted(1));
        assert_eq!(gauge.admit(|| 2), admitted(2));
        assert_eq!(gauge.admit(|| 2), Ok(Admission::Refused(2, Reason::Full)));
        assert_eq!(gauge.admit(|| 0), Ok(Admission::Refused(2, Reason::Full)));
        assert_eq!(gauge.depth(), Ok(2));
    }

    #[test]
    fn adding_ignores_the_limit_and_releasing_stops_at_zero() {
        let gauge = occupied_gauge();
        assert_eq!(gauge.add(), added(1));
        assert_eq!(gauge.add(), added(2));
        assert_eq!(gauge.release(Leave::Done), released(1));
        assert_eq!(gauge.release(Leave::Done), released(0));
        assert_eq!(gauge.release(Leave::Done), Ok(Release::Unmatched));
        assert_eq!(gauge.depth(), Ok(0));
    }

    #[test]
    fn vacating_gives_the_depth_up_once() {
        let gauge = occupied_gauge();
        gauge.add().unwrap();
        gauge.add().unwrap();
        assert_eq!(gauge.vacate(), given_up(2));
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
        assert_eq!(gauge.admit_first(|| 1), admitted(1));
        assert_eq!(
            gauge.admit_first(|| 1),
            Ok(Admission::Refused(1, Reason::Full))
        );
        assert_eq!(gauge.release_first(Leave::Done), released(0));
        assert_eq!(gauge.release_first(Leave::Done), Ok(Release::Unmatched));
        assert_eq!((gauge.vacate(), gauge.was_used()), (given_up(0), true));
        gauge.occupy(Kind::Counted);
        assert_eq!(gauge.admit(|| 9), admitted(1));
        assert_eq!(gauge.admit_first(|| 9), Err(Vacant));
        assert_eq!(gauge.release_first(Leave::Done), Err(Vacant));
        assert_eq!((gauge.add(), gauge.depth()), (added(2), Ok(2)));
        assert_eq!(gauge.release(Leave::Done), released(1));
        gauge.vacate().unwrap();
        gauge.occupy(Kind::Mailbox);
        assert_eq!((gauge.see(3), gauge.depth()), (Ok(0), Ok(3)));
        assert_eq!((gauge.vacate(), gauge.was_used()), (given_up(3), true));
    }

    #[test]
    fn a_mailbox_is_seen_and_not_counted() {
        let gauge = Gauge::vacant();
        assert_eq!(gauge.see(3), Err(Vacant));
        for kind in [Kind::Mailbox, Kind::Watched] {
            gauge.occupy(kind);
            assert_eq!((gauge.kind(), gauge.see(3)), (Ok(kind), Ok(0)));
            assert_eq!((gauge.depth(), gauge.counted()), (Ok(3), Err(Vacant)));
            assert_eq!(
                (gauge.add(), gauge.release(Leave::Done)),
                (Err(Vacant), Err(Vacant))
            );
            assert_eq!(gauge.admit(|| 10), Err(Vacant));
            assert_eq!((gauge.see(u64::MAX), gauge.kind()), (Ok(3), Ok(kind)));
            assert_eq!((gauge.see(1), gauge.depth()), (Ok(DEPTH), Ok(1)));
            assert_eq!(gauge.vacate(), given_up(1));
        }
        gauge.occupy(Kind::Counted);
        assert_eq!(
            (gauge.kind(), gauge.see(1)),
            (Ok(Kind::Counted), Err(Vacant))
        );
    }

    #[test]
    fn a_mark_is_reached_by_the_one_that_was_the_last() {
        let gauge = occupied_gauge();
        let mark = |least| gauge.mark(least, |_| ());
        assert_eq!(mark(2), Ok(false));
        (0..3).for_each(|_| _ = gauge.add().unwrap());
        assert_eq!(
            (mark(4), mark(2), mark(2)),
            (Ok(false), Ok(true), Ok(false))
        );
        // Who comes behind it makes no difference.
        let marked = Added {
            depth: 4,
            unmarked: false,
        };
        assert_eq!(gauge.add(), Ok(Some(marked)));
        assert_eq!((gauge.left(), gauge.depth()), (Some(3), Ok(4)));
        assert_eq!(gauge.release(Leave::Done), released(3));
        assert_eq!(gauge.release(Leave::Undone), released(2));
        let reached = Release::Released {
            depth: 1,
            reached: Some(1),
        };
        assert_eq!(gauge.release(Leave::Done), Ok(reached));
        assert_eq!((gauge.left(), gauge.depth()), (None, Ok(1)));
        assert_eq!(gauge.release(Leave::Undone), released(0));
    }

    #[test]
    fn a_mark_goes_with_the_use_it_was_made_in() {
        let gauge = occupied_gauge();
        (0..2).for_each(|_| _ = gauge.add().unwrap());
        assert_eq!(gauge.mark(2, |_| ()), Ok(true));
        let marked = GivenUp {
            depth: 2,
            marked: true,
        };
        assert_eq!(gauge.vacate(), Ok(marked));
        assert_eq!((gauge.mark(0, |_| ()), gauge.left()), (Err(Vacant), None));
        gauge.occupy(Kind::Counted);
        assert_eq!((gauge.depth(), gauge.left()), (Ok(0), None));
        gauge.vacate().unwrap();
        gauge.occupy(Kind::Mailbox);
        assert_eq!(gauge.mark(0, |_| ()), Err(Vacant));
    }

    #[test]
    fn of_very_many_those_in_front_are_counted_and_nothing_beyond_the_most() {
        let gauge = Gauge(AtomicU64::new(MARK + 2));
        assert_eq!(gauge.mark(2, |of| assert_eq!(of, MARK + 2)), Ok(true));
        assert_eq!((gauge.left(), gauge.depth()), (Some(MARK), Ok(MARK + 2)));
        (1..MARK).for_each(|_| _ = gauge.release(Leave::Undone).unwrap());
        let reached = Release::Released {
            depth: 2,
            reached: Some(MARK),
        };
        assert_eq!(gauge.release(Leave::Undone), Ok(reached));
        let gauge = Gauge(AtomicU64::new(MOST - 1));
        assert_eq!(gauge.add(), added(MOST));
        assert_eq!(gauge.add(), Ok(None));
        assert_eq!(
            gauge.admit(|| u64::MAX),
            Ok(Admission::Refused(MOST, Reason::Full))
        );
        assert_eq!(gauge.depth(), Ok(MOST));
        assert_eq!(gauge.release(Leave::Done), released(MOST - 1));
    }
}
