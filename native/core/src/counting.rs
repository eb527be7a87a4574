//! Counting for an owner: whether there is room, one more, one less. On the table, and on what is near.

use crate::gauge::{Admission, Kind, Leave, Vacant};
use crate::limits::{Limits, Unfit, Verdict};
use crate::near::Near;
use crate::owner::Account;
use crate::places::Step;
use crate::request::Request;
use crate::tally::Seat;
use crate::verdict::{refuse, refused_by_node, room, verdict};
use crate::vocabulary::{Host, OwnerId, RoleId, Runtime};

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
        self.check_with(role, owner, &Request::default(), host)
    }

    /// Does what [`check`](Self::check) does, for a request that says something of itself.
    ///
    /// # Errors
    ///
    /// [`Unfit`], as [`check`](Self::check).
    pub fn check_with(
        &self,
        role: RoleId,
        owner: OwnerId,
        request: &Request,
        host: &impl Host<Watch = W>,
    ) -> Result<Verdict, Unfit> {
        match self.look(role, owner, |account| room(account, request, host)) {
            Ok(verdict) => Ok(verdict),
            Err(Vacant) => self.check_unknown(role, owner, request, host),
        }
    }

    fn check_unknown(
        &self,
        role: RoleId,
        owner: OwnerId,
        request: &Request,
        host: &impl Host<Watch = W>,
    ) -> Result<Verdict, Unfit> {
        self.is_to_be_counted(role, owner)?;
        let known = self.roles().get(role);
        let reason = self.roles().refuses(known.as_deref(), request, host);
        let Some(reason) = reason.filter(|_| host.is_alive(owner)) else {
            return Ok(Verdict::Granted);
        };
        let role = match known {
            Some(known) => known,
            None => self.roles().get_or_insert(role, || host.now())?,
        };
        let case = role.case(request, reason);
        Ok(Verdict::Refused(refuse(&role, &case, host)))
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
        self.try_enqueue_with(role, owner, &Request::default(), host)
    }

    /// Does what [`try_enqueue`](Self::try_enqueue) does, for a request that says something of itself.
    ///
    /// # Errors
    ///
    /// [`Unfit`], as [`check`](Self::check).
    #[inline]
    pub fn try_enqueue_with(
        &self,
        role: RoleId,
        owner: OwnerId,
        request: &Request,
        host: &impl Host<Watch = W>,
    ) -> Result<Verdict, Unfit> {
        // Two closures, of which the first is compiled into this: one for both would be called.
        let taken = self.change(role, owner, host, |account| {
            take_one(account, request, Seat::mine(), host)
        });
        if let Ok(verdict) = taken {
            return Ok(verdict);
        }
        if let refused @ Verdict::Refused(_) = self.check_unknown(role, owner, request, host)? {
            return Ok(refused);
        }
        let entered = self.enter(role, owner, Kind::Counted, host, |account| {
            take_one(account, request, Seat::mine(), host)
        })?;
        Ok(entered.unwrap_or(Verdict::Granted))
    }

    /// Does what [`try_enqueue_with`](Self::try_enqueue_with) does, but counts no refusal: whoever asks for one of
    /// several owners is refused once, and not by each. Tells whether a place was taken, or none is needed, as for the
    /// dead.
    ///
    /// # Errors
    ///
    /// [`Unfit`], as [`check`](Self::check).
    pub fn offer(
        &self,
        role: RoleId,
        owner: OwnerId,
        request: &Request,
        host: &impl Host<Watch = W>,
    ) -> Result<bool, Unfit> {
        let attempt = |account: &Account<W>| {
            let admission = admission(account, request, Seat::mine(), host)?;
            Ok((admission.is_admitted(), admission.step()))
        };
        if let Ok(admitted) = self.change(role, owner, host, attempt) {
            return Ok(admitted);
        }
        self.is_to_be_counted(role, owner)?;
        let known = self.roles().get(role);
        let refused = self.roles().refuses(known.as_deref(), request, host);
        if refused.is_some() {
            return Ok(!host.is_alive(owner));
        }
        let entered = self.enter(role, owner, Kind::Counted, host, attempt)?;
        Ok(entered.unwrap_or(true))
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
        self.leave(role, owner, Leave::Done, 0, host)
    }

    /// Takes one from the owner's depth that was not done: it has expired, or was cancelled. That counts as a dequeue,
    /// but not for how fast the owner drains.
    ///
    /// # Errors
    ///
    /// [`Unfit`], as [`check`](Self::check).
    pub fn discard(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<(), Unfit> {
        self.leave(role, owner, Leave::Undone, 0, host)
    }

    /// Does what [`discard`](Self::discard) does with one that said that it has so many bytes.
    ///
    /// # Errors
    ///
    /// [`Unfit`], as [`check`](Self::check).
    pub fn discard_with(
        &self,
        role: RoleId,
        owner: OwnerId,
        bytes: u64,
        host: &impl Host<Watch = W>,
    ) -> Result<(), Unfit> {
        self.leave(role, owner, Leave::Undone, bytes, host)
    }

    /// Does what [`dequeue`](Self::dequeue) does with one that said that it has so many bytes. No more are given back
    /// than the owner has.
    ///
    /// # Errors
    ///
    /// [`Unfit`], as [`check`](Self::check).
    pub fn dequeue_with(
        &self,
        role: RoleId,
        owner: OwnerId,
        bytes: u64,
        host: &impl Host<Watch = W>,
    ) -> Result<(), Unfit> {
        self.leave(role, owner, Leave::Done, bytes, host)
    }

    fn leave(
        &self,
        role: RoleId,
        owner: OwnerId,
        leave: Leave,
        bytes: u64,
        host: &impl Host<Watch = W>,
    ) -> Result<(), Unfit> {
        let take =
            |account: &Account<W>| Ok(((), leave_with(account, leave, bytes, Seat::mine())?));
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
        self.check_with(table, role, owner, &Request::default(), host)
    }

    /// Does what [`Limits::check_with`] does, if the owner is near and has an account in the role.
    #[inline]
    pub fn check_with(
        &self,
        table: &Limits<W>,
        role: RoleId,
        owner: OwnerId,
        request: &Request,
        host: &impl Host<Watch = W>,
    ) -> Option<Verdict> {
        self.look(table, role, owner, |_, account, _| {
            room(account, request, host)
        })
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
        self.try_enqueue_with(table, role, owner, &Request::default(), host)
    }

    /// Does what [`Limits::try_enqueue_with`] does, if the owner is near and has an account in the role.
    #[inline]
    pub fn try_enqueue_with(
        &self,
        table: &Limits<W>,
        role: RoleId,
        owner: OwnerId,
        request: &Request,
        host: &impl Host<Watch = W>,
    ) -> Option<Verdict> {
        self.change(table, role, owner, host, |account, seat| {
            take_one(account, request, seat, host)
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

    /// Does what [`Limits::dequeue_with`] does, if the owner is near and has an account in the role.
    #[inline]
    pub fn dequeue_with(
        &self,
        table: &Limits<W>,
        role: RoleId,
        owner: OwnerId,
        bytes: u64,
        host: &impl Host<Watch = W>,
    ) -> Option<()> {
        self.change(table, role, owner, host, |account, seat| {
            Ok(((), leave_with(account, Leave::Done, bytes, seat)?))
        })
    }
}

/// A place of an account, if there is one, and the depth that it then has. Always inline: it is most of what is done
/// for a request.
#[inline(always)]
fn take_one<W>(
    account: &Account<W>,
    request: &Request,
    seat: Seat,
    host: &impl Runtime,
) -> Result<(Verdict, Step), Vacant> {
    let admission = admission(account, request, seat, host)?;
    let verdict = verdict(account, admission, request, host);
    Ok((verdict, admission.step()))
}

/// A place of an account, if there is one. A refusal is not counted yet.
#[inline(always)]
fn admission<W>(
    account: &Account<W>,
    request: &Request,
    seat: Seat,
    host: &impl Runtime,
) -> Result<Admission, Vacant> {
    if account.role().node_refuses(request.class, host) {
        return refused_by_node(account);
    }
    account.try_enqueue(request, seat)
}

/// One leaves, with so many bytes.
#[inline]
fn leave_with<W>(
    account: &Account<W>,
    leave: Leave,
    bytes: u64,
    seat: Seat,
) -> Result<Step, Vacant> {
    let step = account.leave(leave, seat)?;
    account.give_bytes(bytes, None);
    Ok(step)
}
