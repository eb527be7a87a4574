//! What senders do at an account whose depth is that of a mailbox.

use crate::account::{Account, LARGE};
use crate::gauge::Vacant;
use crate::request::Request;
use crate::senders::{Claim, Told};
use crate::sync::Ordering;
use crate::tally::Seat;
use crate::vocabulary::OwnerId;

impl<T> Account<T> {
    /// Admits a sender at once if it need not ask, or else returns what it has to note: how many were sent, and when.
    #[inline]
    pub(crate) fn admit_unasked(
        &self,
        sender: OwnerId,
        now_ns: impl FnOnce() -> u64,
        request: &Request,
        is_alive: impl Fn(OwnerId) -> bool,
    ) -> Result<Result<Claim, (u64, u64)>, Vacant> {
        let senders = self.senders()?;
        let mark = self.marks.load(Ordering::Relaxed) & LARGE;
        let limit = self.refuses_at(request);
        let claim = senders.admit_unasked(sender, now_ns, limit, mark, is_alive);
        Ok(claim.map_err(|noted_ns| (senders.sent(), noted_ns)))
    }

    /// Admits a sender that has noted that and was told this length.
    #[inline]
    pub(crate) fn admit(
        &self,
        sender: OwnerId,
        told: Told,
        request: &Request,
        is_alive: impl Fn(OwnerId) -> bool,
    ) -> Result<Result<Claim, u64>, Vacant> {
        let senders = self.senders()?;
        senders.tell(told);
        Ok(senders.admit(sender, told, || self.refuses_at(request), is_alive))
    }

    /// Gives back the place of a sender, of this use of the account or of one before: the senders are the same.
    fn finish(&self, claim: Claim, sender: OwnerId) -> Result<(), Vacant> {
        let senders = self.any_senders();
        let finished = senders.is_some_and(|senders| senders.finish(claim, sender));
        if finished { Ok(()) } else { Err(Vacant) }
    }

    /// The message of a sender that did not ask is in the mailbox.
    #[inline]
    pub(crate) fn sent_unasked(
        &self,
        claim: Claim,
        sender: OwnerId,
        seat: Seat,
    ) -> Result<(), Vacant> {
        self.finish(claim, sender)?;
        self.gauge.come()?;
        self.role().tally().at(seat).come();
        Ok(())
    }

    /// A sender's message is in the mailbox, which had this length before. Returns the length with it.
    #[inline]
    pub(crate) fn sent(
        &self,
        claim: Claim,
        sender: OwnerId,
        length: u64,
        seat: Seat,
    ) -> Result<u64, Vacant> {
        let with_it = length.wrapping_add(1);
        self.finish(claim, sender)?;
        let seen = self.gauge.see(with_it)?;
        let mine = self.role().tally().at(seat);
        mine.post(with_it);
        mine.moved(seen, length);
        Ok(with_it)
    }

    /// Somebody has looked at the mailbox. Returns its length.
    pub(crate) fn looked(&self, length: u64, seat: Seat) -> Result<u64, Vacant> {
        let seen = self.gauge.see(length)?;
        self.role().tally().at(seat).moved(seen, length);
        Ok(length)
    }
}
