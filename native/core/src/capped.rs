//! Places at an account of a role that has caps, and what has bytes.

use crate::account::Account;
use crate::caps::{Caps, Grant, Turn};
use crate::gauge::{Admission, Leave, Vacant};
use crate::places::Step;
use crate::reason::Reason;
use crate::request::Request;
use crate::tally::Seat;

impl<T> Account<T> {
    /// Adds one, beyond the cap too.
    #[inline(never)]
    pub(crate) fn enqueue_beyond(&self, caps: &Caps, seat: Seat) -> Result<Step, Vacant> {
        let granted = caps.take_beyond() == Grant::Granted;
        let step = self.add(seat);
        self.role().tally().at(seat).settle(granted);
        step
    }

    /// Takes a place if there is one of the owner's, of the role's, and room for the bytes.
    #[inline(never)]
    pub(crate) fn try_enqueue_capped(
        &self,
        caps: &Caps,
        request: &Request,
        seat: Seat,
    ) -> Result<Admission, Vacant> {
        let admit = || self.gauge.admit(|| self.refuses_at(request));
        self.take_capped(caps, request, seat, admit)
    }

    /// The same in the account's first use.
    #[inline(never)]
    pub(crate) fn acquire_first_capped(
        &self,
        caps: &Caps,
        request: &Request,
        seat: Seat,
    ) -> Result<Admission, Vacant> {
        let admit = || self.gauge.admit_first(|| self.refuses_at(request));
        self.take_capped(caps, request, seat, admit)
    }

    /// What is taken of the role comes first, and is given back if there is no place of the owner's: so there are never
    /// too many, not for a moment.
    fn take_capped(
        &self,
        caps: &Caps,
        request: &Request,
        seat: Seat,
        admit: impl Fn() -> Result<Admission, Vacant>,
    ) -> Result<Admission, Vacant> {
        let (tally, enforcing) = (self.role().tally(), self.role().is_enforcing());
        let mine = tally.at(seat);
        let grant = if enforcing {
            caps.take(tally, seat)
        } else {
            Some(Grant::Uncapped)
        };
        let Some(grant) = grant else {
            return self.refused_by_cap(request, Reason::Role);
        };
        let granted = grant == Grant::Granted;
        let Some(turn) = self.add_bytes(caps, request.bytes, enforcing) else {
            mine.settle(granted);
            return self.refused_by_cap(request, Reason::Bytes);
        };
        let admission = admit().map(|admission| self.admitted(admission, request, mine));
        mine.settle(granted);
        match admission {
            Ok(Admission::Admitted(added)) if !self.has_kept(caps, request.bytes, turn) => {
                let _ = self.leave(Leave::Undone, seat);
                Ok(Admission::Refused(added.depth, Reason::Bytes))
            }
            Ok(Admission::Admitted(_)) => admission,
            _ => {
                self.give_bytes(request.bytes, Some(turn));
                admission
            }
        }
    }

    /// A cap is no reason for whoever would be refused without one.
    #[cold]
    fn refused_by_cap(&self, request: &Request, reason: Reason) -> Result<Admission, Vacant> {
        let depth = self.counted()?;
        let reason = if depth < self.refuses_at(request) {
            reason
        } else {
            self.role().reason(depth, self.limit(), request)
        };
        Ok(Admission::Refused(depth, reason))
    }

    /// Counts so many bytes in. None if there is no room for them.
    fn add_bytes(&self, caps: &Caps, bytes: u64, enforcing: bool) -> Option<Turn> {
        if bytes == 0 {
            return Some(Turn::FIRST);
        }
        if !caps.add_bytes(bytes, enforcing) {
            return None;
        }
        let turn = self.bytes().add(bytes);
        if turn.is_none() {
            caps.take_bytes(bytes);
        }
        turn
    }

    /// Whether the bytes of a request that was admitted are still counted: if the owner has given up all of it
    /// meanwhile, and was taken into use again, they are counted once more, where there is room.
    fn has_kept(&self, caps: &Caps, bytes: u64, turn: Turn) -> bool {
        bytes == 0 || self.bytes().turn() == turn || self.add_bytes(caps, bytes, true).is_some()
    }

    /// Counts so many bytes out, of this turn or whichever it is, or as many as there are.
    #[inline]
    pub(crate) fn give_bytes(&self, bytes: u64, turn: Option<Turn>) {
        if bytes > 0
            && let (Some(caps), Some(own)) = (self.role().caps(), self.some_bytes())
        {
            caps.take_bytes(own.take(bytes, turn));
        }
    }

    /// Counts all bytes out.
    pub(crate) fn give_up_bytes(&self) {
        if let (Some(caps), Some(own)) = (self.role().caps(), self.some_bytes()) {
            caps.take_bytes(own.give_up());
        }
    }

    /// The turn that bytes are of which were just counted in, while nobody gives them up.
    pub(crate) fn turn(&self) -> Turn {
        self.some_bytes().map_or(Turn::FIRST, |bytes| bytes.turn())
    }
}
