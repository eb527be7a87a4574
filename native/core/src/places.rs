//! Places at an account whose depth is counted: how they are taken and given back.

use crate::account::Account;
use crate::gauge::{Admission, Leave, Release, Vacant};
use crate::request::Request;
use crate::tally::{Mine, Seat};

impl<T> Account<T> {
    /// Counts at the calling thread's `seat`. Returns the new depth.
    #[inline]
    pub(crate) fn enqueue(&self, seat: Seat) -> Result<u64, Vacant> {
        let mine = self.role().tally().at(seat);
        let Some(added) = self.gauge.add()? else {
            return self.depth();
        };
        mine.enqueue(added.depth);
        Ok(added.depth)
    }

    /// Counts at the calling thread's `seat`.
    #[inline]
    pub(crate) fn try_enqueue(&self, request: &Request, seat: Seat) -> Result<Admission, Vacant> {
        let mine = self.role().tally().at(seat);
        let admission = self.gauge.admit(|| self.role().refuses_at(request.class))?;
        Ok(self.admitted(admission, request, mine))
    }

    #[inline]
    fn admitted(&self, admission: Admission, request: &Request, mine: Mine<'_>) -> Admission {
        match admission {
            Admission::Admitted(added) => {
                mine.enqueue(added.depth);
                admission
            }
            Admission::Refused(depth, _) => {
                Admission::Refused(depth, self.role().reason(depth, request.class))
            }
        }
    }

    /// Counts at the calling thread's `seat`. Returns the new depth.
    #[inline]
    pub(crate) fn dequeue(&self, seat: Seat) -> Result<u64, Vacant> {
        let mine = self.role().tally().at(seat);
        Ok(self.released(self.gauge.release(Leave::Done)?, mine))
    }

    #[inline]
    fn released(&self, release: Release, mine: Mine<'_>) -> u64 {
        match release {
            Release::Released { depth, .. } => {
                mine.dequeue();
                depth
            }
            Release::Unmatched => {
                self.role().tally().unmatched_dequeue();
                0
            }
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
        let mine = self.role().tally().at(seat);
        // Before the step that finds the first use: it is that of the first use then.
        let tenure = self.tenure();
        let admission = self
            .gauge
            .admit_first(|| self.role().refuses_at(request.class))?;
        Ok((tenure, self.admitted(admission, request, mine)))
    }

    /// Takes one away on behalf of a permit of this tenure, if that is the first, and the only one so far. Returns the
    /// new depth.
    #[inline]
    pub(crate) fn give_back_first(&self, tenure: u64, seat: Seat) -> Result<u64, Vacant> {
        if self.tenure() != tenure {
            return Err(Vacant);
        }
        // If the tenure is a later one, this is not the first use, and never is again.
        let mine = self.role().tally().at(seat);
        Ok(self.released(self.gauge.release_first(Leave::Done)?, mine))
    }
}
