//! Places at an account of a role that has caps, and what has bytes.

use crate::account::Account;
use crate::caps::{Caps, Grant, Turn};
use crate::gauge::{Admission, Vacant};
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
        let (mine, tenure) = (tally.at(seat), self.tenure());
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
            Ok(Admission::Admitted(_)) if self.has_kept(caps, request.bytes, tenure, turn) => {
                admission
            }
            Ok(Admission::Admitted(_)) => {
                let left = self.leave_unmeasured(seat)?;
                Ok(Admission::Refused(left.depth, Reason::Bytes))
            }
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

    /// Whether the bytes of a request that was admitted are still counted, or went with its place: if the owner has
    /// given up all of it meanwhile, and was taken into use again, they are counted once more, where there is room. It
    /// may be that the place went then, too. So they may be counted until all is given up again, and are never missing.
    fn has_kept(&self, caps: &Caps, bytes: u64, tenure: u64, turn: Turn) -> bool {
        if bytes == 0 || self.tenure() == tenure || self.bytes().turn() == turn {
            return true;
        }
        let again = self.add_bytes(caps, bytes, true);
        if again.is_some() && self.counted().is_err() {
            // Nobody gives up any more what was given up before.
            self.give_bytes(bytes, again);
        }
        again.is_some()
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::gauge::Kind;
    use crate::judge::Judge;
    use crate::role::{Policy, Role};
    use crate::sync::Arc;
    use crate::vocabulary::{Instant, OwnerId, RoleId, UNLIMITED};

    const NOW: Instant = Instant {
        monotonic_ms: 0,
        system_ms: 0,
    };

    fn open(account: &Account<()>) {
        account.open(Kind::Counted, &Judge::new()).unwrap();
    }

    fn close(account: &Account<()>) {
        account.close(OwnerId(9), &Judge::new(), NOW);
    }

    /// A request of three bytes has counted them, and is about to take a place. It says whether they are counted when
    /// it has one, and how many are in all, when this happened before and that after it.
    fn kept(
        most: u64,
        before: impl FnOnce(&Account<()>),
        after: impl FnOnce(&Account<()>),
    ) -> (bool, u64) {
        let role = Arc::new(Role::new(RoleId(1), Arc::new(Policy::new(9)), NOW));
        role.set_caps(UNLIMITED, most);
        let (account, caps) = (
            Account::vacant(Arc::clone(&role)),
            role.caps_for(3).unwrap(),
        );
        open(&account);
        let (tenure, turn) = (account.tenure(), account.add_bytes(caps, 3, true).unwrap());
        before(&account);
        assert!(account.gauge.admit(|| 9).unwrap().is_admitted());
        after(&account);
        let kept = account.has_kept(caps, 3, tenure, turn);
        (kept, caps.bytes())
    }

    fn anew(account: &Account<()>) {
        close(account);
        open(account);
    }

    #[test]
    fn bytes_are_counted_for_as_long_as_their_place() {
        assert_eq!(kept(3, |_| (), |_| ()), (true, 3));
        // Forgotten, and entered again: the place is of the second use, and so are they.
        assert_eq!(kept(3, anew, |_| ()), (true, 3));
        assert_eq!(kept(3, anew, anew), (true, 3));
        // There is room for others' by then, and none for these.
        let others = |account: &Account<()>| {
            anew(account);
            account.role().caps().unwrap().add_bytes(1, true);
        };
        assert_eq!(kept(3, others, |_| ()), (false, 1));
    }

    #[test]
    fn bytes_of_a_place_that_went_with_its_owner_went_too() {
        assert_eq!(kept(3, |_| (), close), (true, 0));
        assert_eq!(kept(3, anew, close), (true, 0));
    }

    #[test]
    fn a_place_that_is_given_back_at_once_leaves_no_mark_behind() {
        let role = Arc::new(Role::new(RoleId(1), Arc::new(Policy::new(9)), NOW));
        let (account, seat) = (Account::<()>::vacant(role), Seat::mine());
        open(&account);
        (0..2).for_each(|_| _ = account.add(seat).unwrap());
        account.marker.arm(&account.gauge, 1);
        (0..2).for_each(|_| _ = account.leave_unmeasured(seat).unwrap());
        assert!(account.marker.is_due(2, 1) && account.pace().is_none());
    }
}
