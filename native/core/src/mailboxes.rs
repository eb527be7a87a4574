//! The mailboxes whose length amounts to an alert level.
//!
//! Nobody says when a message is taken out of one. So somebody has to look, at these and at no others.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::vocabulary::{OwnerId, RoleId};

/// Pairs of a role and an owner whose mailbox was seen at a level, and not yet below. `Limits::looked` takes
/// out what is not.
#[derive(Debug)]
pub struct Mailboxes(Mutex<HashSet<(RoleId, OwnerId), RandomState>>);

impl Mailboxes {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(HashSet::default()))
    }

    pub(crate) fn hold(&self, role: RoleId, owner: OwnerId) {
        self.0.lock().insert((role, owner));
    }

    pub(crate) fn let_go(&self, role: RoleId, owner: OwnerId) {
        self.0.lock().remove(&(role, owner));
    }

    /// Gives those that are to be looked at.
    pub fn held(&self) -> Vec<(RoleId, OwnerId)> {
        self.0.lock().iter().copied().collect()
    }
}
