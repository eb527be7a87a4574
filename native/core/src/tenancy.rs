//! How an account is taken into use, and out of it.

use crate::account::Account;
use crate::gauge::{Kind, Vacant};
use crate::judge::Judge;
use crate::overload::Level;
use crate::sync::Ordering;
use crate::vocabulary::{Instant, OwnerId};

/// The account is open, and its depth is of the other kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OtherKind;

impl<T> Account<T> {
    /// Opens the account for depths of this kind, if it is not open.
    pub(crate) fn open(&self, kind: Kind, judge: &Judge) -> Result<(), OtherKind> {
        match self.gauge.kind() {
            Ok(open) if open == kind => Ok(()),
            Ok(_) => Err(OtherKind),
            Err(Vacant) => {
                self.hold(Level::Ok, judge);
                self.marker.forget();
                self.moved_to.store(0, Ordering::Relaxed);
                if self.gauge.was_used() {
                    // Pairs with `tenure`.
                    self.tenure
                        .store(self.role().next_tenure(), Ordering::Release);
                }
                self.role().count_arrival();
                if kind == Kind::Mailbox {
                    judge.mailboxes().come();
                }
                self.gauge.occupy(kind);
                Ok(())
            }
        }
    }

    /// True if handlers have news.
    pub(crate) fn close(&self, owner: OwnerId, judge: &Judge, now: Instant) -> bool {
        let kind = self.gauge.kind();
        let Ok(given_up) = self.gauge.vacate() else {
            return false;
        };
        if given_up.marked {
            self.marker.let_go();
        }
        self.role()
            .count_departure(given_up.depth, kind == Ok(Kind::Counted));
        self.give_up_bytes();
        if kind == Ok(Kind::Watched) {
            self.role().watch().let_go(owner);
        }
        let alert = self.alert(owner, self.level(), 0, self.scale().limit(), now);
        self.change(Level::Ok, alert, judge, now)
    }
}
