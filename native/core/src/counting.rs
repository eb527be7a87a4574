//! Counting for an owner: whether there is room, one more, one less. On the table, and on what is near.

use crate::gauge::{Kind, Vacant};
use crate::limits::{Limits, Unfit, Verdict};
use crate::near::Near;
use crate::owner::Account;
use crate::tally::Seat;
use crate::verdict::{refuse, room, verdict};
use crate::vocabulary::{Host, OwnerId, RoleId};

impl<W: Send + Sync + 'static> Limits<W> {
    /// Tells whether there is room. Counts a refusal, and nothing else.
    ///
    /// # Errors
    ///
    /// As every operation that may have to make a role: [`Unfit::TooManyRoles`] if there is no room for one more. As
    /// every operation that counts: [`Unfit::OtherKind`] for an owner whose mailbox is what is limited.
    pub fn check(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<Verdict, Unfit> {
        match self.look(role, owner, |account| room(account, host)) {
            Ok(verdict) => Ok(verdict),
            Err(Vacant) => self.check_unknown(role, owner, host),
        }
    }

    fn check_unknown(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<Verdict, Unfit> {
        self.is_to_be_counted(role, owner)?;
        if self.roles().refuses_at(role) > 0 || !host.is_alive(owner) {
            return Ok(Verdict::Granted);
        }
        let role = self.roles().get_or_insert(role, || host.now())?;
        Ok(Verdict::Refused(refuse(&role, 0, host)))
    }

    /// Tells whether there is room, and takes it if there is, in one atomic step: no owner passes its limit through
    /// this, whatever the number of callers.
    ///
    /// # Errors
    ///
    /// [`Unfit`], as [`check`](Self::check).
    pub fn try_enqueue(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<Verdict, Unfit> {
        let attempt = |account: &Account<W>| {
            let admission = account.try_enqueue(Seat::mine())?;
            Ok((verdict(account, admission, host), admission.depth()))
        };
        if let Ok(verdict) = self.change(role, owner, host, attempt) {
            return Ok(verdict);
        }
        if let refused @ Verdict::Refused(_) = self.check_unknown(role, owner, host)? {
            return Ok(refused);
        }
        let entered = self.enter(role, owner, Kind::Counted, host, attempt)?;
        Ok(entered.unwrap_or(Verdict::Granted))
    }

    /// Adds one to the owner's depth, beyond the limit too. Nothing happens for the dead.
    ///
    /// # Errors
    ///
    /// [`Unfit`], as [`check`](Self::check).
    pub fn enqueue(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<(), Unfit> {
        let add = |account: &Account<W>| Ok(((), account.enqueue(Seat::mine())?));
        if self.change(role, owner, host, add).is_err() {
            self.enter(role, owner, Kind::Counted, host, add)?;
        }
        Ok(())
    }

    /// Takes one from the owner's depth. With nothing there to take, that is counted instead, unless the owner is dead.
    ///
    /// # Errors
    ///
    /// [`Unfit`], as [`check`](Self::check).
    pub fn dequeue(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<(), Unfit> {
        let take = |account: &Account<W>| Ok(((), account.dequeue(Seat::mine())?));
        if self.change(role, owner, host, take).is_ok() {
            return Ok(());
        }
        self.is_to_be_counted(role, owner)?;
        if host.is_alive(owner) {
            let role = self.roles().get_or_insert(role, || host.now())?;
            role.tally().unmatched_dequeue();
        }
        Ok(())
    }

    fn is_to_be_counted(&self, role: RoleId, owner: OwnerId) -> Result<(), Unfit> {
        self.is_free(role)?;
        match self.kind(role, owner) {
            Some(Kind::Mailbox | Kind::Watched) => Err(Unfit::OtherKind),
            Some(Kind::Counted) | None => Ok(()),
        }
    }
}

impl<W: Send + Sync + 'static> Near<W> {
    /// Does what [`Limits::check`] does, if the owner is near and has an account in the role.
    #[inline]
    pub fn check(
        &self,
        table: &Limits<W>,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Option<Verdict> {
        self.look(table, role, owner, |_, account, _| room(account, host))
    }

    /// Does what [`Limits::try_enqueue`] does, if the owner is near and has an account in the role.
    #[inline]
    pub fn try_enqueue(
        &self,
        table: &Limits<W>,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Option<Verdict> {
        self.change(table, role, owner, host, |account, seat| {
            let admission = account.try_enqueue(seat)?;
            Ok((verdict(account, admission, host), admission.depth()))
        })
    }

    /// Does what [`Limits::enqueue`] does, if the owner is near and has an account in the role.
    #[inline]
    pub fn enqueue(
        &self,
        table: &Limits<W>,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Option<()> {
        self.change(table, role, owner, host, |account, seat| {
            Ok(((), account.enqueue(seat)?))
        })
    }

    /// Does what [`Limits::dequeue`] does, if the owner is near and has an account in the role.
    #[inline]
    pub fn dequeue(
        &self,
        table: &Limits<W>,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Option<()> {
        self.change(table, role, owner, host, |account, seat| {
            Ok(((), account.dequeue(seat)?))
        })
    }
}
