//! Places that a permit stands for. On the table, and on what is near.

use crate::caps::Turn;
use crate::gauge::{Admission, Kind, Leave, Vacant};
use crate::limits::{Limits, Permit, Refusal, Unfit, Verdict};
use crate::near::Near;
use crate::owner::Account;
use crate::request::Request;
use crate::tally::Seat;
use crate::verdict::{granted, refused_by_node};
use crate::vocabulary::{Host, OwnerId, RoleId, Runtime};

impl<W: Send + Sync + 'static> Limits<W> {
    /// Does what [`try_enqueue`](Self::try_enqueue) does and hands out a permit, which gives back just what was taken
    /// here, even if the owner is forgotten and entered again in between. For the dead there is none, since none is
    /// needed.
    ///
    /// # Errors
    ///
    /// [`Unfit`], as [`check`](Self::check); inside, the refusal.
    pub fn acquire(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<Result<Option<Permit>, Box<Refusal>>, Unfit> {
        self.acquire_with(role, owner, &Request::default(), host)
    }

    /// Does what [`acquire`](Self::acquire) does, for a request that says something of itself.
    ///
    /// # Errors
    ///
    /// [`Unfit`], as [`check`](Self::check); inside, the refusal.
    pub fn acquire_with(
        &self,
        role: RoleId,
        owner: OwnerId,
        request: &Request,
        host: &impl Host<Watch = W>,
    ) -> Result<Result<Option<Permit>, Box<Refusal>>, Unfit> {
        let permit = |tenure, turn| Permit::new(role, owner, tenure, (request.bytes, turn));
        let first = self.change(role, owner, host, |account| {
            let (tenure, admission) = take_first(account, request, Seat::mine(), host)?;
            let granted =
                granted(account, admission, request, host).map(|()| permit(tenure, Turn::FIRST));
            Ok((granted, admission.step()))
        });
        if let Ok(granted) = first {
            return Ok(granted.map(Some));
        }
        if let Verdict::Refused(refusal) = self.check_with(role, owner, request, host)? {
            return Ok(Err(refusal));
        }
        let entered = self.enter(role, owner, Kind::Counted, host, |account| {
            // Nobody ends this use of the account meanwhile.
            let admission = account.try_enqueue(request, Seat::mine())?;
            let granted = granted(account, admission, request, host)
                .map(|()| permit(account.tenure(), account.turn()));
            Ok((granted, admission.step()))
        })?;
        Ok(entered.transpose())
    }

    /// Takes away what a permit stands for, the first time that it is given back, unless its owner has given everything
    /// up since. True if it did.
    pub fn give_back(&self, permit: &Permit, runtime: &impl Runtime) -> bool {
        permit.give_back() && self.take_back(permit, Leave::Done, runtime)
    }

    /// Does what [`give_back`](Self::give_back) does with a permit that nobody holds any more. Whether it was done
    /// nobody has said, so that does not count for how fast the owner drains.
    pub fn let_go(&self, permit: &Permit, runtime: &impl Runtime) -> bool {
        permit.give_back() && self.take_back(permit, Leave::Undone, runtime)
    }

    /// Takes away what a permit stands for that has just been given back, if its owner has it still.
    fn take_back(&self, permit: &Permit, leave: Leave, runtime: &impl Runtime) -> bool {
        let Permit { role, owner, .. } = *permit;
        let shard = self.owners.shard(owner).pin();
        let Some(found) = shard.get(&owner) else {
            return false;
        };
        let left = found.give_back(role, permit.tenure, leave);
        if let (Some(step), Some(account)) = (left, found.account(role)) {
            account.give_bytes(permit.bytes, Some(permit.turn));
            self.stepped(found, account, owner, step, runtime);
        }
        left.is_some()
    }
}

impl<W: Send + Sync + 'static> Near<W> {
    /// Does what [`Limits::acquire`] does, if the owner is near and has an account in the role that was never
    /// forgotten.
    #[inline]
    pub fn acquire(
        &self,
        table: &Limits<W>,
        role: RoleId,
        owner: OwnerId,
        runtime: &impl Runtime,
    ) -> Option<Result<Permit, Box<Refusal>>> {
        self.acquire_with(table, role, owner, &Request::default(), runtime)
    }

    /// Does what [`Limits::acquire_with`] does, if the owner is near and has an account in the role that was never
    /// forgotten.
    #[inline]
    pub fn acquire_with(
        &self,
        table: &Limits<W>,
        role: RoleId,
        owner: OwnerId,
        request: &Request,
        runtime: &impl Runtime,
    ) -> Option<Result<Permit, Box<Refusal>>> {
        self.change(table, role, owner, runtime, |account, seat| {
            let (tenure, admission) = take_first(account, request, seat, runtime)?;
            let granted = granted(account, admission, request, runtime);
            let permit =
                granted.map(|()| Permit::new(role, owner, tenure, (request.bytes, Turn::FIRST)));
            Ok((permit, admission.step()))
        })
    }

    /// Does what [`Limits::give_back`] does, if the owner of the permit is near, and the permit is of its account's
    /// first use.
    #[inline]
    pub fn give_back(
        &self,
        table: &Limits<W>,
        permit: &Permit,
        runtime: &impl Runtime,
    ) -> Option<bool> {
        let Permit { role, owner, .. } = *permit;
        self.look(table, role, owner, |found, account, seat| {
            if account.tenure() != permit.tenure {
                return Err(Vacant);
            }
            if !permit.give_back() {
                return Ok(false);
            }
            let Ok(step) = account.give_back_first(permit.tenure, Leave::Done, seat) else {
                return Ok(table.take_back(permit, Leave::Done, runtime));
            };
            account.give_bytes(permit.bytes, Some(permit.turn));
            table.stepped(found, account, owner, step, runtime);
            Ok(true)
        })
    }
}

/// A place of an account's first use, if there is one, and the tenure that it is of.
#[inline(always)]
fn take_first<W>(
    account: &Account<W>,
    request: &Request,
    seat: Seat,
    runtime: &impl Runtime,
) -> Result<(u64, Admission), Vacant> {
    if account.role().node_refuses(request.class, runtime) {
        return Ok((account.tenure(), refused_by_node(account)?));
    }
    account.acquire_first(request, seat)
}
