//! An owner: its accounts by role, and its end.
//!
//! Accounts are found without a lock and never move. Opening one, closing one and the owner's end
//! happen under the owner's lock, so that after the end nothing can be opened any more.

use once_cell::race::OnceBox;

use crate::RoleId;
use crate::gauge::{Admission, Gauge, Release, Vacant};
use crate::role::Role;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};

/// The owner has ended: it died, or its last role was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended;

/// What one owner has in one role. Vacant accounts stay in the chain, at most one a role.
#[derive(Debug)]
pub(crate) struct Account {
    // The role's own, here too so that a search touches nothing but the accounts.
    role_id: RoleId,
    role: Arc<Role>,
    gauge: Gauge,
    tenure: AtomicU64,
    next: OnceBox<Account>,
}

impl Account {
    fn vacant(role: Arc<Role>) -> Self {
        Self {
            role_id: role.id(),
            role,
            gauge: Gauge::vacant(),
            tenure: AtomicU64::new(0),
            next: OnceBox::new(),
        }
    }

    pub(crate) fn role(&self) -> &Arc<Role> {
        &self.role
    }

    pub(crate) fn depth(&self) -> Result<u64, Vacant> {
        self.gauge.depth()
    }

    pub(crate) fn enqueue(&self) -> Result<(), Vacant> {
        self.role.tally().enqueue(self.gauge.add()?);
        Ok(())
    }

    pub(crate) fn try_enqueue(&self) -> Result<Admission, Vacant> {
        let admission = self.gauge.admit(|| self.role.refuses_at())?;
        if let Admission::Admitted(before) = admission {
            self.role.tally().enqueue(before.wrapping_add(1));
        }
        Ok(admission)
    }

    pub(crate) fn dequeue(&self) -> Result<(), Vacant> {
        match self.gauge.release()? {
            Release::Released => self.role.tally().dequeue(),
            Release::Unmatched => self.role.tally().unmatched_dequeue(),
        }
        Ok(())
    }

    /// Tells this use of the account from any other use of an account of the role.
    pub(crate) fn tenure(&self) -> u64 {
        self.tenure.load(Ordering::Relaxed)
    }

    fn open(&self) {
        if self.depth().is_err() {
            self.tenure
                .store(self.role.count_arrival(), Ordering::Relaxed);
            self.gauge.occupy();
        }
    }

    fn close(&self) {
        if let Ok(depth) = self.gauge.vacate() {
            self.role.count_departure(depth);
        }
    }
}

/// One owner. `W` is the handle of whatever watches for its death.
#[derive(Debug)]
pub(crate) struct Owner<W> {
    first: Account,
    life: Mutex<Life<W>>,
}

#[derive(Debug)]
struct Life<W> {
    ended: bool,
    watch: Option<W>,
}

/// What `forget` left behind.
#[derive(Debug)]
pub(crate) enum Forgotten<W> {
    /// The owner goes on in other roles.
    Remains,
    /// That was its last role: it has ended, and its watch is to be called off.
    Ended(Option<W>),
}

impl<W> Owner<W> {
    /// An owner without any open account; its first is going to be in `role`.
    pub(crate) fn new(role: Arc<Role>) -> Self {
        Self {
            first: Account::vacant(role),
            life: Mutex::new(Life {
                ended: false,
                watch: None,
            }),
        }
    }

    /// The owner's account in a role, open or not.
    pub(crate) fn account(&self, role: RoleId) -> Option<&Account> {
        self.accounts().find(|account| account.role_id == role)
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = &Account> {
        std::iter::successors(Some(&self.first), |account| account.next.get())
    }

    /// Opens the account in `role` if it is not, and runs `operation` on it before anybody can close it.
    pub(crate) fn enter<R>(
        &self,
        role: &Arc<Role>,
        operation: impl FnOnce(&Account) -> R,
    ) -> Result<R, Ended> {
        let life = self.life.lock();
        if life.ended {
            return Err(Ended);
        }
        let account = self
            .account(role.id())
            .unwrap_or_else(|| self.append(Arc::clone(role)));
        account.open();
        Ok(operation(account))
    }

    fn append(&self, role: Arc<Role>) -> &Account {
        let mut last = &self.first;
        while let Some(next) = last.next.get() {
            last = next;
        }
        last.next.get_or_init(|| Box::new(Account::vacant(role)))
    }

    /// Takes one away on behalf of a permit of this tenure; of an older tenure it was given up already.
    pub(crate) fn dequeue_tenure(&self, role: RoleId, tenure: u64) {
        let _life = self.life.lock();
        if let Some(account) = self.account(role)
            && account.tenure() == tenure
        {
            // Vacant: given up with the rest.
            let _ = account.dequeue();
        }
    }

    /// Keeps the handle of the watch. If the owner has ended meanwhile, hands it back to be called off.
    pub(crate) fn watched_by(&self, watch: W) -> Result<(), W> {
        let mut life = self.life.lock();
        if life.ended {
            return Err(watch);
        }
        life.watch = Some(watch);
        Ok(())
    }

    /// Gives up everything, for good. Returns the watch, if there is one left to call off.
    pub(crate) fn end(&self) -> Option<W> {
        let mut life = self.life.lock();
        life.ended = true;
        self.accounts().for_each(Account::close);
        life.watch.take()
    }

    /// Gives up one role; with the last one the owner ends.
    pub(crate) fn forget(&self, role: RoleId) -> Forgotten<W> {
        let mut life = self.life.lock();
        if let Some(account) = self.account(role) {
            account.close();
        }
        if self.accounts().any(|account| account.depth().is_ok()) {
            Forgotten::Remains
        } else {
            life.ended = true;
            Forgotten::Ended(life.watch.take())
        }
    }
}
