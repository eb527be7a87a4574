//! An owner: its accounts by role, and its end.
//!
//! Accounts are found without a lock and never move. Opening one, closing one and the owner's end
//! happen under the owner's lock, so that after the end nothing can be opened any more.

use crate::account;
use crate::gauge::{Kind, Leave};
use crate::judge::Judge;
use crate::overload::Level;
use crate::places::Step;
use crate::role::Role;
use crate::sync::{Arc, Mutex, Ordering, fence};
use crate::tally::Seat;
use crate::tenancy::OtherKind;
use crate::vocabulary::{Instant, OwnerId, RoleId};

/// The owner has ended, or has to: it died, its last role was forgotten, or the table has forgotten a role of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended;

/// Most owners have a role or two; each may have a thousand.
const SMALL: usize = if cfg!(loom) { 2 } else { 8 };

/// One owner. `W` is the handle of whatever watches for its death.
#[derive(Debug)]
pub(crate) struct Owner<W> {
    first: Account<W>,
}

/// An account of an owner.
pub(crate) type Account<W> = account::Account<Mutex<Life<W>>>;

/// What the owner's lock, in its first account, guards.
#[derive(Debug, Default)]
pub(crate) enum Life<W> {
    #[default]
    Unwatched,
    Watched(W),
    Ended,
}

impl<W> Life<W> {
    fn has_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }

    /// From now on it has ended. Returns the watch, to be called off.
    fn end(&mut self) -> Option<W> {
        match std::mem::replace(self, Self::Ended) {
            Self::Watched(watch) => Some(watch),
            Self::Unwatched | Self::Ended => None,
        }
    }
}

/// What is left to do after an account was closed.
#[derive(Debug)]
pub(crate) struct End<W> {
    /// That was the last: the owner has ended.
    pub(crate) ended: bool,
    /// To be called off.
    pub(crate) watch: Option<W>,
    /// Handlers have news.
    pub(crate) news: bool,
}

impl<W> Owner<W> {
    /// An owner without any open account; its first is going to be in `role`.
    pub(crate) fn new(role: Arc<Role>) -> Self {
        Self {
            first: Account::vacant(role),
        }
    }

    fn life(&self) -> &Mutex<Life<W>> {
        self.first.rest()
    }

    /// Reads what a look at the owner is going to need, for nothing but to have it fetched.
    pub(crate) fn touch(&self) -> u64 {
        self.first.touch()
    }

    /// Whether it has, or had, few roles: going through all of its accounts, and freeing them, takes no time to speak
    /// of.
    pub(crate) fn is_small(&self) -> bool {
        self.accounts().nth(SMALL).is_none()
    }

    /// Whether no account is open. So it is, and stays, when the owner has ended; it may be so for a moment before.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.accounts().all(|account| account.depth().is_err())
    }

    /// The owner's account in a role, open or not.
    #[inline]
    pub(crate) fn account(&self, role: RoleId) -> Option<&Account<W>> {
        self.accounts().find(|account| account.role_id() == role)
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = &Account<W>> {
        std::iter::successors(Some(&self.first), |account| account.next())
    }

    /// Opens the account in `role` if it is not, and runs `operation` on it before anybody can close it. An owner with
    /// an account in a role that is none of the table's any more is one that has to end. Nothing is done to one that is
    /// open for depths of the other kind.
    pub(crate) fn enter<R>(
        &self,
        role: &Arc<Role>,
        kind: Kind,
        judge: &Judge,
        operation: impl FnOnce(&Account<W>) -> R,
    ) -> Result<Result<R, OtherKind>, Ended> {
        let life = self.life().lock();
        if life.has_ended() {
            return Err(Ended);
        }
        let account = self
            .account(role.id())
            .unwrap_or_else(|| self.append(Arc::clone(role)));
        // Pairs with the fences of whoever changes something and goes through all owners: this one is found there, or
        // the change is seen here, a retired role in `Limits::clear`, a switch in `Limits::forget_levels`.
        fence(Ordering::SeqCst);
        if account.role().is_retired() {
            return Err(Ended);
        }
        // As a retired role: whoever reserves it finds this owner, or it is seen here.
        if role.is_guarded() || role.watch().is_of(role.id()) != (kind == Kind::Watched) {
            return Ok(Err(OtherKind));
        }
        Ok(account.open(kind, judge).map(|()| operation(account)))
    }

    /// Whether its account in a role is open.
    pub(crate) fn is_in(&self, role: RoleId) -> bool {
        let _life = self.life().lock();
        self.account(role)
            .is_some_and(|account| account.depth().is_ok())
    }

    fn append(&self, role: Arc<Role>) -> &Account<W> {
        let mut last = &self.first;
        while let Some(next) = last.next() {
            last = next;
        }
        last.next_or_vacant(role)
    }

    /// Takes one away on behalf of a permit of this tenure; of an older tenure it was given up already.
    pub(crate) fn give_back(&self, role: RoleId, tenure: u64, leave: Leave) -> Option<Step> {
        let account = self.account(role)?;
        if let Ok(step) = account.give_back_first(tenure, leave, Seat::mine()) {
            return Some(step);
        }
        let _life = self.life().lock();
        if account.tenure() != tenure {
            return None;
        }
        // Vacant: given up with the rest.
        account.leave(leave, Seat::mine()).ok()
    }

    /// Judges a depth that an account has come to. True if handlers have news.
    pub(crate) fn judge(
        &self,
        id: OwnerId,
        account: &Account<W>,
        seen: u64,
        judge: &Judge,
        now: Instant,
    ) -> bool {
        let _life = self.life().lock();
        judge.active() && account.judge(id, seen, judge, now)
    }

    /// Judges all accounts as they are now, and raises alerts that are due again. True if handlers have news.
    pub(crate) fn review(&self, id: OwnerId, judge: &Judge, now: Instant) -> bool {
        let _life = self.life().lock();
        let mut news = false;
        for account in self.accounts() {
            let Ok(depth) = account.depth() else {
                continue;
            };
            news |= account.judge(id, depth, judge, now);
            if account.is_due(judge, now) {
                news |= account.alert_again(id, depth, judge, now);
            }
        }
        news
    }

    /// Whether a mailbox in this role still has to be looked at, since it amounts to a level. If not, nobody will.
    pub(crate) fn is_watched(&self, id: OwnerId, role: RoleId, judge: &Judge) -> bool {
        // Levels rise under this lock, and say so to the judge before they are held.
        let _life = self.life().lock();
        let held = self.account(role).is_some_and(|account| {
            let kind = account.kind();
            let is_mailbox = kind == Ok(Kind::Mailbox) || kind == Ok(Kind::Watched);
            is_mailbox && account.level() != Level::Ok
        });
        if held {
            judge.mailboxes().hold(role, id);
        } else {
            judge.mailboxes().let_go(role, id);
        }
        held
    }

    /// Forgets the alert levels, and tells nobody.
    pub(crate) fn forget_levels(&self, judge: &Judge, now: Instant) {
        let _life = self.life().lock();
        self.accounts()
            .for_each(|account| account.forget_level(judge, now));
    }

    /// Keeps the handle of the watch. If the owner has ended meanwhile, hands it back to be called off.
    pub(crate) fn watched_by(&self, watch: W) -> Result<(), W> {
        let mut life = self.life().lock();
        if life.has_ended() {
            return Err(watch);
        }
        *life = Life::Watched(watch);
        Ok(())
    }

    /// Gives up everything, for good.
    pub(crate) fn end(&self, id: OwnerId, judge: &Judge, now: Instant) -> End<W> {
        let mut life = self.life().lock();
        let watch = life.end();
        let close = |news, account: &Account<W>| news | account.close(id, judge, now);
        End {
            ended: true,
            watch,
            news: self.accounts().fold(false, close),
        }
    }

    /// Gives up one role; with the last one the owner ends.
    pub(crate) fn forget(&self, id: OwnerId, role: RoleId, judge: &Judge, now: Instant) -> End<W> {
        self.forget_if(id, role, judge, now, |_| true)
    }

    /// Gives up one role, if it is watched and amounts to no level.
    pub(crate) fn leave(&self, id: OwnerId, role: RoleId, judge: &Judge, now: Instant) -> End<W> {
        self.forget_if(id, role, judge, now, |account| {
            account.kind() == Ok(Kind::Watched) && account.level() == Level::Ok
        })
    }

    /// Gives up one role, if it is watched.
    pub(crate) fn dismiss(&self, id: OwnerId, role: RoleId, judge: &Judge, now: Instant) -> End<W> {
        self.forget_if(id, role, judge, now, |account| {
            account.kind() == Ok(Kind::Watched)
        })
    }

    fn forget_if(
        &self,
        id: OwnerId,
        role: RoleId,
        judge: &Judge,
        now: Instant,
        is_to_go: impl FnOnce(&Account<W>) -> bool,
    ) -> End<W> {
        let mut life = self.life().lock();
        let news = self
            .account(role)
            .is_some_and(|account| is_to_go(account) && account.close(id, judge, now));
        let ended = self.holds_nothing();
        End {
            ended,
            watch: if ended { life.end() } else { None },
            news,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// With the count of its keepers and what the allocator adds, that is 128.
    #[test]
    fn an_owner_is_as_small_as_it_can_be() {
        assert!(size_of::<Owner<[u8; 32]>>() <= 112);
    }
}
