//! The table of roles and owners.
//!
//! An operation on an owner that is known takes no lock: one look-up, one atomic step on its gauge,
//! one on its thread's stripe of the role. The first operation on an owner, `forget` and deaths take
//! the owner's own lock and nothing else; making a role takes the table's.

use crate::gauge::{Kind, Vacant};
use crate::guard::Guard;
use crate::judge::Judge;
use crate::owner::{Account, End, Ended, Owner};
use crate::owners::Owners;
use crate::places::Step;
use crate::retry::Outlook;
use crate::roles::{Configuration, Roles, TooManyRoles};
use crate::sync::{Arc, AtomicBool, AtomicU64, Kept, Mutex, Ordering, fence};
use crate::tenancy::OtherKind;
use crate::timing::Timing;
pub use crate::verdict::{Permit, Refusal, Unfit, Verdict};
use crate::vocabulary::{Dead, Host, Instant, OwnerId, RoleId, Runtime};

/// A table has the depths by role and owner, the limits and the totals by role. `W` is the host's handle of a death
/// watch.
///
/// Any number of threads may use it at once. Depths and totals are exact; while others count, a reader may see numbers
/// a few operations apart.
///
/// ```
/// use erlmcp_core::limits::{Limits, Verdict};
/// use erlmcp_core::{OwnerId, RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (role, owner) = (RoleId(1), OwnerId(7));
/// let table = Limits::new(role, 1_000, Still.now());
/// table.roles().set_limit(role, 2, Still.now())?;
/// let admitted = || table.try_enqueue(role, owner, &Still).map(|verdict| verdict == Verdict::Granted);
/// assert_eq!([admitted()?, admitted()?, admitted()?], [true, true, false]);
/// table.dequeue(role, owner, &Still)?;
/// assert!(admitted()?);
/// assert_eq!(table.depth(role, owner), 2);
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
pub struct Limits<W> {
    /// Whether somebody speaks for it.
    open: AtomicBool,
    number: u64,
    era: AtomicU64,
    roles: Roles,
    pub(crate) owners: Owners<W>,
    judge: Judge,
    pub(crate) guard: Guard,
    to_free: Mutex<Vec<Kept<Owner<W>>>>,
}

impl<W: Send + Sync + 'static> Limits<W> {
    /// Makes a table whose only role is the default one, with `default_limit`.
    pub fn new(default_role: RoleId, default_limit: u64, now: Instant) -> Self {
        let number = next_era();
        Self {
            open: AtomicBool::new(false),
            number,
            era: AtomicU64::new(number),
            roles: Roles::new(default_role, default_limit, now),
            owners: Owners::new(),
            judge: Judge::new(),
            guard: Guard::new(),
            to_free: Mutex::new(Vec::new()),
        }
    }

    /// Tells whether the table is open. Operations work on one that is closed as well, and may, if they were under way
    /// when it was closed.
    pub fn is_open(&self) -> bool {
        // Pairs with `open`: who finds it open finds it configured.
        self.open.load(Ordering::Acquire)
    }

    /// Opens the table, configured like this. What was counted and set since it was opened stays;
    /// one that was closed is as new.
    ///
    /// # Errors
    ///
    /// [`TooManyRoles`] if there is no room for all the roles that are mentioned; the table is open nevertheless, and
    /// none of its limits has changed.
    pub fn open(
        &self,
        configuration: &Configuration,
        host: &impl Host<Watch = W>,
    ) -> Result<(), TooManyRoles> {
        if !self.is_open() {
            // What an operation counted that was under way when the table was closed.
            self.clear(host);
        }
        let configured = self.roles.configure(configuration, host.now());
        // Pairs with `is_open`.
        self.open.store(true, Ordering::Release);
        configured
    }

    /// Closes the table, and forgets everything that was counted and set.
    pub fn close(&self, host: &impl Host<Watch = W>) {
        self.open.store(false, Ordering::Relaxed);
        self.clear(host);
    }

    /// Gives the roles, with their limits and numbers.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// Gives the judge: how owners are judged, and the alerts so far.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Tells whether a role is anybody's, and not the watch's, nor that of whoever guards the node.
    ///
    /// # Errors
    ///
    /// [`Unfit::Reserved`]. Whoever counts need not ask: no account is open in such a role that could be counted in.
    pub fn is_free(&self, role: RoleId) -> Result<(), Unfit> {
        if self.roles.is_reserved(role) {
            Err(Unfit::Reserved)
        } else {
            Ok(())
        }
    }

    /// Gives the owner's depth in the role; 0 if either is unknown.
    pub fn depth(&self, role: RoleId, owner: OwnerId) -> u64 {
        self.look(role, owner, |account| account.depth())
            .unwrap_or(0)
    }

    /// Gives the owner's counted depth over all its roles, and whether its mailbox is the depth in one as well, if it
    /// has any.
    pub fn total_depth(&self, owner: OwnerId) -> Option<(u64, bool)> {
        let shard = self.owners.shard(owner).pin();
        let accounts = shard.get(&owner)?.accounts();
        accounts
            .filter_map(|account| account.kind().ok().map(|_| account.counted()))
            .fold(None, |total, counted| {
                let (depth, mailbox) = total.unwrap_or((0_u64, false));
                Some(counted.map_or((depth, true), |counted| {
                    (depth.wrapping_add(counted), mailbox)
                }))
            })
    }

    /// Drops the owner's count in the role. Other owners, and its other roles, are untouched.
    pub fn forget(&self, role: RoleId, owner: OwnerId, host: &impl Host<Watch = W>) {
        self.give_up(role, owner, Owner::forget, host);
    }

    pub(crate) fn give_up(
        &self,
        role: RoleId,
        owner: OwnerId,
        close: impl FnOnce(&Owner<W>, OwnerId, RoleId, &Judge, Instant) -> End<W>,
        host: &impl Host<Watch = W>,
    ) {
        let shard = self.owners.shard(owner).pin();
        let Some(found) = shard.get(&owner) else {
            return;
        };
        let end = close(found, owner, role, &self.judge, host.now());
        if end.ended {
            self.owners.remove(owner, found);
        }
        self.settle(end, host);
    }

    /// Gives up all that an owner held, since it is dead.
    pub fn died(&self, owner: OwnerId, runtime: &impl Runtime) {
        let shard = self.owners.shard(owner).pin();
        if let Some(found) = shard.remove(&owner) {
            let End { news, .. } = found.end(owner, &self.judge, runtime.now());
            if news {
                runtime.wake();
            }
        }
    }

    /// Makes room for more owners, and ends a growth that is under way: both make look-ups long. Whatever a
    /// [`Near`](crate::near::Near) keeps of owners that have ended is let go when it is used next. This is to be called
    /// about once a second, and takes time in proportion to the table when there is something to do.
    pub fn tidy(&self) {
        self.owners.tidy();
        self.turn();
        let to_free = std::mem::take(&mut *self.to_free.lock());
        drop(to_free);
    }

    /// Has a record freed by [`tidy`](Self::tidy), if nobody else keeps it: it has so many accounts that whoever holds
    /// it has no time for that.
    pub(crate) fn free_later(&self, owner: Kept<Owner<W>>) {
        self.to_free.lock().push(owner);
    }

    /// Whatever threads keep of this table they look through before they use it again.
    fn turn(&self) {
        self.era.store(next_era(), Ordering::Relaxed);
    }

    /// No other table has this number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Changes with each turn, and is never that of another table.
    #[inline]
    pub(crate) fn era(&self) -> u64 {
        self.era.load(Ordering::Relaxed)
    }

    /// Tells how many owners are tracked; an estimate while others come and go.
    pub fn owners(&self) -> usize {
        self.owners.len()
    }

    /// Forgets everything that was counted and set, and calls all watches off.
    ///
    /// Operations that are under way may still be counted before or after; one that starts later finds
    /// a table as new, but for the default limit, which `configure` sets.
    pub fn clear(&self, host: &impl Host<Watch = W>) {
        self.roles.clear(host.now());
        // Pairs with the fence in `Owner::enter`.
        fence(Ordering::SeqCst);
        self.owners.for_each(|id, owner| self.end(id, owner, host));
        self.turn();
    }

    fn end(&self, id: OwnerId, owner: &Owner<W>, host: &impl Host<Watch = W>) {
        self.owners.remove(id, owner);
        self.settle(owner.end(id, &self.judge, host.now()), host);
    }

    /// Runs `operation` on an account, which it leaves as it is.
    pub(crate) fn look<R>(
        &self,
        role: RoleId,
        owner: OwnerId,
        operation: impl FnOnce(&Account<W>) -> Result<R, Vacant>,
    ) -> Result<R, Vacant> {
        let shard = self.owners.shard(owner).pin();
        let owner = shard.get(&owner).ok_or(Vacant)?;
        operation(owner.account(role).ok_or(Vacant)?)
    }

    /// Runs `operation` on an account, and judges the depth that it reports.
    pub(crate) fn change<R, S: Into<Step>>(
        &self,
        role: RoleId,
        owner: OwnerId,
        host: &impl Host<Watch = W>,
        operation: impl FnOnce(&Account<W>) -> Result<(R, S), Vacant>,
    ) -> Result<R, Vacant> {
        let shard = self.owners.shard(owner).pin();
        let found = shard.get(&owner).ok_or(Vacant)?;
        let account = found.account(role).ok_or(Vacant)?;
        let (result, step) = operation(account)?;
        self.stepped(found, account, owner, step, host);
        Ok(result)
    }

    /// An account has come to another depth: measures, and judges.
    #[inline]
    pub(crate) fn stepped(
        &self,
        found: &Owner<W>,
        account: &Account<W>,
        owner: OwnerId,
        step: impl Into<Step>,
        runtime: &impl Runtime,
    ) {
        let step = step.into();
        if account.measure(step, runtime) {
            self.limit_moved(found, account, owner, step.depth, runtime);
        } else if account.crossed(step.depth) {
            self.noticed(found, account.role_id(), owner, step.depth, runtime);
        }
    }

    /// The limit of an account has moved: is that news?
    #[cold]
    #[inline(never)]
    fn limit_moved(
        &self,
        found: &Owner<W>,
        account: &Account<W>,
        owner: OwnerId,
        depth: u64,
        runtime: &impl Runtime,
    ) {
        if found.judge(owner, account, depth, &self.judge, runtime.now()) {
            runtime.wake();
        }
    }

    /// Gives the owner's limit in the role.
    pub fn limit(&self, role: RoleId, owner: OwnerId) -> u64 {
        self.look(role, owner, |account| Ok(account.limit()))
            .unwrap_or_else(|Vacant| self.roles.limit(role))
    }

    /// Gives how long requests wait for the owner in the role, as far as it is known.
    pub fn timing(&self, role: RoleId, owner: OwnerId, runtime: &impl Runtime) -> Timing {
        self.look(
            role,
            owner,
            |account| Ok(account.timing(runtime.ticks_ns())),
        )
        .unwrap_or_default()
    }

    /// Says what the next request meets that comes for this owner at this depth and says nothing of itself, if the role
    /// exists.
    pub fn outlook(
        &self,
        role: RoleId,
        owner: OwnerId,
        depth: u64,
        now: Instant,
    ) -> Option<Outlook> {
        let outlook = |account: &Account<W>| {
            let (limit, pace) = (account.limit(), account.pace());
            let role = account.role();
            Ok(match account.kind()? {
                Kind::Counted => role.outlook(depth, limit, pace, now),
                Kind::Mailbox | Kind::Watched => role.outlook_of_mailbox(depth, limit, pace, now),
            })
        };
        self.look(role, owner, outlook)
            .ok()
            .or_else(|| self.roles.outlook(role, depth, now))
    }

    /// Tells those who have no time to read the clock what it is; to be called ten times a second.
    pub fn tick(&self, runtime: &impl Runtime) {
        self.roles.passes(runtime.ticks_ns());
    }

    /// An account has come to this depth: is that news?
    #[cold]
    pub(crate) fn noticed(
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
    pub(crate) fn enter<R, S: Into<Step>>(
        &self,
        role: RoleId,
        owner: OwnerId,
        kind: Kind,
        host: &impl Host<Watch = W>,
        operation: impl Fn(&Account<W>) -> Result<(R, S), Vacant>,
    ) -> Result<Option<R>, Unfit> {
        if kind != Kind::Watched {
            self.is_free(role)?;
        }
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
                    let new = Kept::new(Owner::new(Arc::clone(&in_role)));
                    let inserted = shard.try_insert(owner, new);
                    inserted.map_err(|occupied| occupied.current)
                }
            };
            let found = match inserted {
                Err(known) => known,
                Ok(new) => match host.watch(owner) {
                    Err(Dead) => {
                        self.end(owner, new, host);
                        return Ok(None);
                    }
                    Ok(watch) => {
                        let unwanted = watch.and_then(|watch| new.watched_by(watch).err());
                        unwanted.into_iter().for_each(|watch| host.unwatch(watch));
                        new
                    }
                },
            };
            match found.enter(&in_role, kind, &self.judge, &operation) {
                Ok(Ok(Ok((result, step)))) => {
                    if let Some(account) = found.account(role) {
                        self.stepped(found, account, owner, step, host);
                    }
                    return Ok(Some(result));
                }
                Ok(Err(OtherKind)) => {
                    // One that was made for this has no account.
                    self.give_up(role, owner, Owner::leave, host);
                    self.is_free(role)?;
                    return Err(Unfit::OtherKind);
                }
                // An account is not vacant while it is entered.
                Ok(Ok(Err(Vacant))) | Err(Ended) => self.end(owner, found, host),
            }
        }
    }
}

/// A number that no table has had. It orders nothing, in a model neither.
fn next_era() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
