//! Places at an account whose depth is counted: how they are taken and given back, and what is measured meanwhile.

use std::cell::Cell;

use crate::account::Account;
use crate::gauge::{Added, Admission, Leave, Release, Vacant};
use crate::marker::LEAST;
use crate::request::Request;
use crate::sync::Ordering;
use crate::tally::{Mine, Seat};
use crate::vocabulary::Runtime;

/// An account has come to another depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) depth: u64,
    mark: Mark,
}

/// What there is to do for whoever has the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Nothing,
    /// The one that came may be marked.
    Set,
    /// The one that was marked has left, and so many before it undone.
    Reached(u64),
}

impl From<u64> for Step {
    fn from(depth: u64) -> Self {
        Self {
            depth,
            mark: Mark::Nothing,
        }
    }
}

impl From<Added> for Step {
    #[inline]
    fn from(Added { depth, unmarked }: Added) -> Self {
        let mark = if unmarked && depth >= LEAST {
            Mark::Set
        } else {
            Mark::Nothing
        };
        Self { depth, mark }
    }
}

impl Admission {
    /// What it has come to.
    #[inline]
    pub(crate) fn step(self) -> Step {
        match self {
            Self::Admitted(added) => added.into(),
            Self::Refused(depth, _) => depth.into(),
        }
    }
}

impl<T> Account<T> {
    /// Counts at the calling thread's `seat`.
    #[inline]
    pub(crate) fn enqueue(&self, seat: Seat) -> Result<Step, Vacant> {
        if let Some(caps) = self.role().caps() {
            return self.enqueue_beyond(caps, seat);
        }
        self.add(seat)
    }

    #[inline(always)]
    pub(crate) fn add(&self, seat: Seat) -> Result<Step, Vacant> {
        let mine = self.role().tally().at(seat);
        let Some(added) = self.gauge.add()? else {
            return self.depth().map(Step::from);
        };
        Ok(self.came(added, mine))
    }

    /// Counts at the calling thread's `seat`.
    #[inline(always)]
    pub(crate) fn try_enqueue(&self, request: &Request, seat: Seat) -> Result<Admission, Vacant> {
        if request.is_plain() {
            let mine = self.role().tally().at(seat);
            let below = Cell::new(0);
            let admission = self.gauge.admit(|| {
                below.set(self.role().plainly_below());
                below.get()
            })?;
            match admission {
                Admission::Admitted(added) => {
                    self.came(added, mine);
                    return Ok(admission);
                }
                Admission::Refused(depth, _) if below.get() > 0 => {
                    return Ok(Admission::Refused(depth, self.reason(depth, request)));
                }
                Admission::Refused(..) => {}
            }
        }
        self.try_enqueue_closely(request, seat)
    }

    #[inline(never)]
    fn try_enqueue_closely(&self, request: &Request, seat: Seat) -> Result<Admission, Vacant> {
        if let Some(caps) = self.role().caps_for(request.bytes) {
            return self.try_enqueue_capped(caps, request, seat);
        }
        let mine = self.role().tally().at(seat);
        let admission = self.gauge.admit(|| self.refuses_at(request))?;
        Ok(self.admitted(admission, request, mine))
    }

    #[inline(always)]
    pub(crate) fn admitted(
        &self,
        admission: Admission,
        request: &Request,
        mine: Mine<'_>,
    ) -> Admission {
        match admission {
            Admission::Admitted(added) => {
                self.came(added, mine);
                admission
            }
            Admission::Refused(depth, _) => Admission::Refused(depth, self.reason(depth, request)),
        }
    }

    #[inline]
    fn came(&self, added: Added, mine: Mine<'_>) -> Step {
        mine.enqueue(added.depth);
        if added.depth == 1 {
            self.note_moved();
        }
        added.into()
    }

    /// Counts at the calling thread's `seat` one that is done.
    #[inline]
    pub(crate) fn dequeue(&self, seat: Seat) -> Result<Step, Vacant> {
        self.leave(Leave::Done, seat)
    }

    /// Counts at the calling thread's `seat`.
    #[inline]
    pub(crate) fn leave(&self, leave: Leave, seat: Seat) -> Result<Step, Vacant> {
        let mine = self.role().tally().at(seat);
        Ok(self.released(self.gauge.release(leave)?, mine))
    }

    #[inline]
    fn released(&self, release: Release, mine: Mine<'_>) -> Step {
        match release {
            Release::Released { depth, reached } => {
                mine.dequeue();
                self.note_moved();
                Step {
                    depth,
                    mark: reached.map_or(Mark::Nothing, Mark::Reached),
                }
            }
            Release::Unmatched => {
                self.role().tally().unmatched_dequeue();
                0.into()
            }
        }
    }

    /// Takes one away that was never to be there, for who has no clock: a mark that this reaches measures nothing.
    #[cold]
    pub(crate) fn leave_unmeasured(&self, seat: Seat) -> Result<Step, Vacant> {
        let left = self.leave(Leave::Undone, seat)?;
        if let Mark::Reached(_) = left.mark {
            self.marker.let_go();
        }
        Ok(left.depth.into())
    }

    /// Somebody was taken out, or has come to wait alone.
    #[inline]
    fn note_moved(&self) {
        let tick = self.role().tick();
        if self.moved.load(Ordering::Relaxed) != tick {
            self.moved.store(tick, Ordering::Relaxed);
        }
    }

    /// Takes a place for a permit, if this is the first use of the account, and the only one so far. Returns the
    /// tenure of the place, too. Counts at the calling thread's `seat`.
    #[inline]
    pub(crate) fn acquire_first(
        &self,
        request: &Request,
        seat: Seat,
    ) -> Result<(u64, Admission), Vacant> {
        // Before the step that finds the first use: it is that of the first use then.
        let tenure = self.tenure();
        if let Some(caps) = self.role().caps_for(request.bytes) {
            let admission = self.acquire_first_capped(caps, request, seat)?;
            return Ok((tenure, admission));
        }
        let mine = self.role().tally().at(seat);
        let admission = self.gauge.admit_first(|| self.refuses_at(request))?;
        Ok((tenure, self.admitted(admission, request, mine)))
    }

    /// Takes one away on behalf of a permit of this tenure, if that is the first, and the only one so far.
    #[inline]
    pub(crate) fn give_back_first(
        &self,
        tenure: u64,
        leave: Leave,
        seat: Seat,
    ) -> Result<Step, Vacant> {
        if self.tenure() != tenure {
            return Err(Vacant);
        }
        // If the tenure is a later one, this is not the first use, and never is again.
        let mine = self.role().tally().at(seat);
        Ok(self.released(self.gauge.release_first(leave)?, mine))
    }

    /// Does what is left to do for who has the clock, which is nothing most of the time. True if the limit is another
    /// now, which is to be judged by.
    #[inline]
    pub(crate) fn measure(&self, step: Step, runtime: &impl Runtime) -> bool {
        match step.mark {
            Mark::Nothing => false,
            Mark::Set => {
                if self.marker.is_due(step.depth, self.role().tick()) {
                    self.set_mark(runtime);
                }
                false
            }
            Mark::Reached(undone) => self.reached_mark(undone, runtime),
        }
    }

    #[cold]
    #[inline(never)]
    fn set_mark(&self, runtime: &impl Runtime) {
        self.marker.arm(&self.gauge, self.now_ns(runtime));
    }

    #[cold]
    #[inline(never)]
    fn reached_mark(&self, undone: u64, runtime: &impl Runtime) -> bool {
        let (now_ns, valid_from_ns) = (self.now_ns(runtime), self.role().valid_from_ns());
        let before = self.limit();
        if let Some(pace) = self.marker.reached(undone, now_ns, valid_from_ns) {
            self.move_limit(pace);
        }
        self.marker.let_go();
        self.limit() != before
    }

    fn now_ns(&self, runtime: &impl Runtime) -> u64 {
        let now_ns = runtime.ticks_ns();
        self.role().passes(now_ns);
        now_ns
    }
}
