//! The table of roles and owners.
//!
//! An operation on an owner that is known takes no lock: one look-up, one atomic step on its gauge,
//! one on its thread's stripe of the role. The first operation on an owner, `forget` and deaths take
//! the owner's own lock and nothing else; making a role takes the table's.

use foldhash::fast::RandomState;
use papaya::HashMap;

use crate::gauge::{Admission, Vacant};
use crate::owner::{Account, Forgotten, Owner};
use crate::role::{Role, RoleStats};
use crate::roles::{Roles, TooManyRoles};
use crate::sync::Arc;
use crate::{Dead, Host, Instant, OwnerId, RoleId};

/// Why and how an owner was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The role at the time, this refusal counted.
    pub stats: RoleStats,
    /// The owner's depth that decided.
    pub depth: u64,
    /// How long to wait before asking again: 1 to 60000 milliseconds. An estimate.
    pub retry_after_ms: u64,
    /// This is the role's first refusal after a quiet second, which somebody may want to hear of.
    pub announce: bool,
}

/// The answer to a request for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is room. Also the answer for the dead, for whom nothing is counted.
    Granted,
    /// There is none.
    Refused(Refusal),
}

/// Proof of one admission, to be given back by [`Limits::give_back`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    role: RoleId,
    owner: OwnerId,
    tenure: u64,
}

/// Depths by role and owner, limits by role, totals. `W` is the host's handle of a death watch.
pub struct Limits<W> {
    roles: Roles,
    owners: HashMap<OwnerId, Owner<W>, RandomState>,
}

impl<W: Send + Sync> Limits<W> {
    /// A table whose only role is the default one, with `default_limit`.
    pub fn new(default_role: RoleId, default_limit: u64, now: Instant) -> Self {
        Self {
            roles: Roles::new(default_role, default_limit, now),
            owners: HashMap::with_hasher(RandomState::default()),
        }
    }

    /// The roles, their limits and numbers.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// Is there room? Counts a refusal, and nothing else.
    pub fn check(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<Verdict, TooManyRoles> {
        let found = self.with_account(role, owner, |account| {
            let depth = account.depth()?;
            let granted = depth < account.role().refuses_at();
            Ok(if granted {
                Verdict::Granted
            } else {
                Verdict::Refused(refuse(account.role(), depth, host))
            })
        });
        match found {
            Ok(verdict) => Ok(verdict),
            Err(Vacant) => self.check_unknown(role, owner, host),
        }
    }

    fn check_unknown(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<Verdict, TooManyRoles> {
        if self.roles.refuses_at(role) > 0 || !host.is_alive(owner) {
            return Ok(Verdict::Granted);
        }
        let role = self.roles.get_or_insert(role, || host.now())?;
        Ok(Verdict::Refused(refuse(&role, 0, host)))
    }

    /// Is there room? If so it is taken, in the same step.
    pub fn try_enqueue(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<Verdict, TooManyRoles> {
        let found = self.with_account(role, owner, |account| {
            Ok(verdict(account, account.try_enqueue()?, host))
        });
        if let Ok(verdict) = found {
            return Ok(verdict);
        }
        if let refused @ Verdict::Refused(_) = self.check_unknown(role, owner, host)? {
            return Ok(refused);
        }
        let entered = self.enter(role, owner, host, |account| {
            let admission = account.try_enqueue()?;
            Ok(verdict(account, admission, host))
        })?;
        Ok(entered.unwrap_or(Verdict::Granted))
    }

    /// As [`try_enqueue`](Self::try_enqueue), with a permit that gives back just what was taken here,
    /// even if the owner is forgotten and entered again in between. No permit is needed for the dead.
    pub fn acquire(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<Result<Option<Permit>, Refusal>, TooManyRoles> {
        if let Verdict::Refused(refusal) = self.check(role, owner, host)? {
            return Ok(Err(refusal));
        }
        let entered = self.enter(role, owner, host, |account| {
            let admission = account.try_enqueue()?;
            Ok((account.tenure(), verdict(account, admission, host)))
        })?;
        Ok(match entered {
            None => Ok(None),
            Some((_, Verdict::Refused(refusal))) => Err(refusal),
            Some((tenure, Verdict::Granted)) => Ok(Some(Permit {
                role,
                owner,
                tenure,
            })),
        })
    }

    /// Takes one away for the permit, unless its owner has given everything up since.
    pub fn give_back(&self, permit: Permit) {
        let guard = self.owners.guard();
        if let Some(owner) = self.owners.get(&permit.owner, &guard) {
            owner.dequeue_tenure(permit.role, permit.tenure);
        }
    }

    /// Adds one, beyond the limit too. Nothing happens for the dead.
    pub fn enqueue(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<(), TooManyRoles> {
        if self.with_account(role, owner, Account::enqueue).is_err() {
            self.enter(role, owner, host, Account::enqueue)?;
        }
        Ok(())
    }

    /// Takes one away. With nothing there to take, that is counted instead, unless the owner is dead.
    pub fn dequeue(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<(), TooManyRoles> {
        if self.with_account(role, owner, Account::dequeue).is_err() && host.is_alive(owner) {
            let role = self.roles.get_or_insert(role, || host.now())?;
            role.tally().unmatched_dequeue();
        }
        Ok(())
    }

    /// The owner's depth in the role; 0 if either is unknown.
    pub fn depth(&self, role: RoleId, owner: OwnerId) -> u64 {
        self.with_account(role, owner, Account::depth).unwrap_or(0)
    }

    /// The owner's depth over all its roles, if it has any.
    pub fn total_depth(&self, owner: OwnerId) -> Option<u64> {
        let guard = self.owners.guard();
        self.owners
            .get(&owner, &guard)?
            .accounts()
            .filter_map(|account| account.depth().ok())
            .reduce(u64::wrapping_add)
    }

    /// Drops the owner's count in the role. Other owners, and its other roles, are untouched.
    pub fn forget(&self, role: RoleId, owner: OwnerId, host: &impl Host<Watch = W>) {
        let guard = self.owners.guard();
        let Some(found) = self.owners.get(&owner, &guard) else {
            return;
        };
        if let Forgotten::Ended(watch) = found.forget(role) {
            self.remove(owner, found);
            watch.into_iter().for_each(|watch| host.unwatch(watch));
        }
    }

    /// The owner is dead: all it held is given up.
    pub fn died(&self, owner: OwnerId) {
        let guard = self.owners.guard();
        if let Some(found) = self.owners.remove(&owner, &guard) {
            found.end();
        }
    }

    /// Makes room for more owners, and ends a growth that is under way: both make look-ups long. To be
    /// called about once a second; takes time in proportion to the table when there is something to do.
    pub fn tidy(&self) {
        let owners = self.owners.pin();
        owners.reserve(0);
        // Making an iterator is what completes a growth.
        let _ = owners.iter();
    }

    /// How many owners are tracked. An estimate while others come and go.
    pub fn owners(&self) -> usize {
        self.owners.len()
    }

    /// Forgets everything that was counted and set, and calls all watches off.
    ///
    /// Operations that are under way may still be counted before or after; one that starts later finds
    /// a table as new, but for the default limit, which `configure` sets.
    pub fn clear(&self, host: &impl Host<Watch = W>) {
        let owners = self.owners.pin();
        for (id, _) in owners.iter() {
            if let Some(watch) = owners.remove(id).and_then(Owner::end) {
                host.unwatch(watch);
            }
        }
        self.roles.clear(host.now());
    }

    fn with_account<R>(
        &self,
        role: RoleId,
        owner: OwnerId,
        operation: impl FnOnce(&Account) -> Result<R, Vacant>,
    ) -> Result<R, Vacant> {
        let guard = self.owners.guard();
        let owner = self.owners.get(&owner, &guard).ok_or(Vacant)?;
        operation(owner.account(role).ok_or(Vacant)?)
    }

    /// The way in for an owner that is not there yet. `None`: it is dead.
    fn enter<R>(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
        operation: impl Fn(&Account) -> Result<R, Vacant>,
    ) -> Result<Option<R>, TooManyRoles> {
        loop {
            if !host.is_alive(owner) {
                return Ok(None);
            }
            let role = self.roles.get_or_insert(role, || host.now())?;
            let guard = self.owners.guard();
            // Not `try_insert_with`: it never helps a growing table along, and the old ones stay in the way.
            let inserted = match self.owners.get(&owner, &guard) {
                Some(known) => Err(known),
                None => {
                    let new = Owner::new(Arc::clone(&role));
                    let inserted = self.owners.try_insert(owner, new, &guard);
                    inserted.map_err(|occupied| occupied.current)
                }
            };
            let found = match inserted {
                Err(known) => known,
                Ok(new) => match host.watch(owner) {
                    Err(Dead) => {
                        self.remove(owner, new);
                        new.end();
                        return Ok(None);
                    }
                    Ok(watch) => {
                        let unwanted = watch.and_then(|watch| new.watched_by(watch).err());
                        unwanted.into_iter().for_each(|watch| host.unwatch(watch));
                        new
                    }
                },
            };
            match found.enter(&role, &operation) {
                Ok(Ok(result)) => return Ok(Some(result)),
                // An account is not vacant while it is entered, so this is an owner that has ended.
                Ok(Err(Vacant)) | Err(_) => self.remove(owner, found),
            }
        }
    }

    /// Takes out just this record of an owner, which may have a new one already.
    fn remove(&self, owner: OwnerId, record: &Owner<W>) {
        let _ = self
            .owners
            .pin()
            .remove_if(&owner, |_, found| std::ptr::eq(found, record));
    }
}

fn verdict<W>(account: &Account, admission: Admission, host: &impl Host<Watch = W>) -> Verdict {
    match admission {
        Admission::Admitted(_) => Verdict::Granted,
        Admission::Refused(depth) => Verdict::Refused(refuse(account.role(), depth, host)),
    }
}

fn refuse<W>(role: &Role, depth: u64, host: &impl Host<Watch = W>) -> Refusal {
    let now = host.now();
    let announce = role.count_refusal(now);
    Refusal {
        retry_after_ms: role.retry_after_ms(depth, now),
        stats: role.stats(),
        depth,
        announce,
    }
}
