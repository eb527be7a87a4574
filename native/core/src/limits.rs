//! The table of roles and owners.
//!
//! An operation on an owner that is known takes no lock: one look-up, one atomic step on its gauge,
//! one on its thread's stripe of the role. The first operation on an owner, `forget` and deaths take
//! the owner's own lock and nothing else; making a role takes the table's.

use crate::account::Account;
use crate::gauge::{Admission, Vacant};
use crate::judge::Judge;
use crate::owner::{End, Owner};
use crate::owners::Owners;
use crate::role::{Role, RoleStats};
use crate::roles::{Roles, TooManyRoles};
use crate::sync::Arc;
use crate::vocabulary::{Dead, Host, Instant, OwnerId, RoleId, Runtime};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is room. Also the answer for the dead, for whom nothing is counted.
    Granted,
    /// There is none. Boxed, so that the usual answer stays small.
    Refused(Box<Refusal>),
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
    pub(crate) owners: Owners<W>,
    judge: Judge,
}

impl<W: Send + Sync + 'static> Limits<W> {
    /// A table whose only role is the default one, with `default_limit`.
    pub fn new(default_role: RoleId, default_limit: u64, now: Instant) -> Self {
        Self {
            roles: Roles::new(default_role, default_limit, now),
            owners: Owners::new(),
            judge: Judge::new(),
        }
    }

    /// The roles, their limits and numbers.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// How owners are judged, and the alerts so far.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Is there room? Counts a refusal, and nothing else.
    pub fn check(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<Verdict, TooManyRoles> {
        let found = self.look(role, owner, |account| {
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
        let attempt = |account: &Account| {
            let admission = account.try_enqueue()?;
            Ok((verdict(account, admission, host), admission.depth()))
        };
        if let Ok(verdict) = self.change(role, owner, host, attempt) {
            return Ok(verdict);
        }
        if let refused @ Verdict::Refused(_) = self.check_unknown(role, owner, host)? {
            return Ok(refused);
        }
        let entered = self.enter(role, owner, host, attempt)?;
        Ok(entered.unwrap_or(Verdict::Granted))
    }

    /// As [`try_enqueue`](Self::try_enqueue), with a permit that gives back just what was taken here,
    /// even if the owner is forgotten and entered again in between. No permit is needed for the dead.
    pub fn acquire(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<Result<Option<Permit>, Box<Refusal>>, TooManyRoles> {
        if let Verdict::Refused(refusal) = self.check(role, owner, host)? {
            return Ok(Err(refusal));
        }
        let entered = self.enter(role, owner, host, |account| {
            let admission = account.try_enqueue()?;
            let verdict = verdict(account, admission, host);
            Ok(((account.tenure(), verdict), admission.depth()))
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
    pub fn give_back(&self, permit: Permit, runtime: &impl Runtime) {
        let Permit {
            role,
            owner,
            tenure,
        } = permit;
        let shard = self.owners.shard(owner).pin();
        if let Some(found) = shard.get(&owner)
            && let Some(depth) = found.dequeue_tenure(role, tenure)
        {
            self.noticed(found, role, owner, depth, runtime);
        }
    }

    /// Adds one, beyond the limit too. Nothing happens for the dead.
    pub fn enqueue(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<(), TooManyRoles> {
        let add = |account: &Account| Ok(((), account.enqueue()?));
        if self.change(role, owner, host, add).is_err() {
            self.enter(role, owner, host, add)?;
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
        let take = |account: &Account| Ok(((), account.dequeue()?));
        if self.change(role, owner, host, take).is_err() && host.is_alive(owner) {
            let role = self.roles.get_or_insert(role, || host.now())?;
            role.tally().unmatched_dequeue();
        }
        Ok(())
    }

    /// The owner's depth in the role; 0 if either is unknown.
    pub fn depth(&self, role: RoleId, owner: OwnerId) -> u64 {
        self.look(role, owner, Account::depth).unwrap_or(0)
    }

    /// The owner's depth over all its roles, if it has any.
    pub fn total_depth(&self, owner: OwnerId) -> Option<u64> {
        self.owners
            .shard(owner)
            .pin()
            .get(&owner)?
            .accounts()
            .filter_map(|account| account.depth().ok())
            .reduce(u64::wrapping_add)
    }

    /// Drops the owner's count in the role. Other owners, and its other roles, are untouched.
    pub fn forget(&self, role: RoleId, owner: OwnerId, host: &impl Host<Watch = W>) {
        let shard = self.owners.shard(owner).pin();
        let Some(found) = shard.get(&owner) else {
            return;
        };
        let end = found.forget(owner, role, &self.judge, host.now());
        if end.ended {
            self.owners.remove(owner, found);
        }
        self.settle(end, host);
    }

    /// The owner is dead: all it held is given up.
    pub fn died(&self, owner: OwnerId, runtime: &impl Runtime) {
        let shard = self.owners.shard(owner).pin();
        if let Some(found) = shard.remove(&owner) {
            let End { news, .. } = found.end(owner, &self.judge, runtime.now());
            if news {
                runtime.wake();
            }
        }
    }

    /// Makes room for more owners, and ends a growth that is under way: both make look-ups long. To be
    /// called about once a second; takes time in proportion to the table when there is something to do.
    pub fn tidy(&self) {
        self.owners.tidy();
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
        self.owners.for_each(|id, owner| {
            self.owners.remove(id, owner);
            self.settle(owner.end(id, &self.judge, host.now()), host);
        });
        self.roles.clear(host.now());
    }

    /// Runs `operation` on an account, which it leaves as it is.
    fn look<R>(
        &self,
        role: RoleId,
        owner: OwnerId,
        operation: impl FnOnce(&Account) -> Result<R, Vacant>,
    ) -> Result<R, Vacant> {
        let shard = self.owners.shard(owner).pin();
        let owner = shard.get(&owner).ok_or(Vacant)?;
        operation(owner.account(role).ok_or(Vacant)?)
    }

    /// Runs `operation` on an account, and judges the depth that it reports.
    fn change<R>(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
        operation: impl FnOnce(&Account) -> Result<(R, u64), Vacant>,
    ) -> Result<R, Vacant> {
        let shard = self.owners.shard(owner).pin();
        let found = shard.get(&owner).ok_or(Vacant)?;
        let account = found.account(role).ok_or(Vacant)?;
        let (result, depth) = operation(account)?;
        if account.crossed(depth) {
            self.noticed(found, role, owner, depth, host);
        }
        Ok(result)
    }

    /// An account has come to this depth: is that news?
    #[cold]
    fn noticed(
        &self,
        found: &Owner<W>,
        role: RoleId,
        owner: OwnerId,
        depth: u64,
        runtime: &impl Runtime,
    ) {
        let news = found.account(role).is_some_and(|account| {
            account.crossed(depth) && found.judge(owner, account, depth, &self.judge, runtime.now())
        });
        if news {
            runtime.wake();
        }
    }

    /// Does what is left to do after an account was closed.
    fn settle(&self, end: End<W>, host: &impl Host<Watch = W>) {
        end.watch.into_iter().for_each(|watch| host.unwatch(watch));
        if end.news {
            host.wake();
        }
    }

    /// The way in for an owner that is not there yet. `None`: it is dead.
    fn enter<R>(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
        operation: impl Fn(&Account) -> Result<(R, u64), Vacant>,
    ) -> Result<Option<R>, TooManyRoles> {
        loop {
            if !host.is_alive(owner) {
                return Ok(None);
            }
            let in_role = self.roles.get_or_insert(role, || host.now())?;
            let shard = self.owners.shard(owner).pin();
            // Not `try_insert_with`: it never helps a growing table along, and the old ones stay in the way.
            let inserted = match shard.get(&owner) {
                Some(known) => Err(known),
                None => {
                    let new = Owner::new(Arc::clone(&in_role));
                    let inserted = shard.try_insert(owner, new);
                    inserted.map_err(|occupied| occupied.current)
                }
            };
            let found = match inserted {
                Err(known) => known,
                Ok(new) => match host.watch(owner) {
                    Err(Dead) => {
                        self.owners.remove(owner, new);
                        self.settle(new.end(owner, &self.judge, host.now()), host);
                        return Ok(None);
                    }
                    Ok(watch) => {
                        let unwanted = watch.and_then(|watch| new.watched_by(watch).err());
                        unwanted.into_iter().for_each(|watch| host.unwatch(watch));
                        new
                    }
                },
            };
            match found.enter(&in_role, &self.judge, &operation) {
                Ok(Ok((result, depth))) => {
                    self.noticed(found, role, owner, depth, host);
                    return Ok(Some(result));
                }
                // An account is not vacant while it is entered, so this is an owner that has ended.
                Ok(Err(Vacant)) | Err(_) => self.owners.remove(owner, found),
            }
        }
    }
}

fn verdict(account: &Account, admission: Admission, host: &impl Runtime) -> Verdict {
    match admission {
        Admission::Admitted(_) => Verdict::Granted,
        Admission::Refused(depth) => Verdict::Refused(refuse(account.role(), depth, host)),
    }
}

#[cold]
fn refuse(role: &Role, depth: u64, host: &impl Runtime) -> Box<Refusal> {
    let now = host.now();
    let announce = role.count_refusal(now);
    Box::new(Refusal {
        retry_after_ms: role.retry_after_ms(depth, now),
        stats: role.stats(),
        depth,
        announce,
    })
}
