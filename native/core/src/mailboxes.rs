//! The mailboxes whose length amounts to an alert level.
//!
//! Nobody says when a message is taken out of one. So somebody has to look, at these and at no others.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::sync::{AtomicBool, Ordering};
use crate::vocabulary::{OwnerId, RoleId};

/// Mailboxes are pairs of a role and an owner whose mailbox was seen at a level, and not yet below.
///
/// ```
/// use erlmcp_core::judge::Rules;
/// use erlmcp_core::limits::Limits;
/// use erlmcp_core::overload::Margin;
/// use erlmcp_core::{Admittance, Entry, OwnerId, RoleId, Runtime, Told};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (role, receiver, sender) = (RoleId(1), OwnerId(7), OwnerId(8));
/// let table = Limits::new(role, 10, Still.now());
/// let rules = Rules { margin: Margin::ZERO, realert_ms: 60_000, history: 10 };
/// table.configure_overload(rules, true, &Still);
/// let Some(Entry::Ask { noted, noted_ns }) = table.admit_unasked(role, receiver, sender, &Still)? else {
///     panic!("nobody has asked yet");
/// };
/// let told = Told { noted, noted_ns, length: 8 };
/// let Admittance::Granted(claim) = table.admit(role, receiver, sender, told, false, &Still) else {
///     panic!("there is room for two more");
/// };
/// table.sent(role, receiver, (claim, sender), 8, &Still);
/// assert!(table.judge().mailboxes().is_any_held());
/// assert_eq!(table.judge().mailboxes().held(), [(role, receiver)]);
/// // Somebody looks, and finds it empty.
/// assert!(!table.looked(role, receiver, 0, &Still));
/// assert!(!table.judge().mailboxes().is_any_held());
/// assert!(table.judge().mailboxes().held().is_empty());
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
#[derive(Debug)]
pub struct Mailboxes {
    any: AtomicBool,
    /// Whether `held` has any. Written under its lock.
    any_held: AtomicBool,
    held: Mutex<HashSet<(RoleId, OwnerId), RandomState>>,
}

impl Mailboxes {
    pub(crate) fn new() -> Self {
        Self {
            any: AtomicBool::new(false),
            any_held: AtomicBool::new(false),
            held: Mutex::new(HashSet::default()),
        }
    }

    /// There is one, of whatever length.
    pub(crate) fn come(&self) {
        self.any.store(true, Ordering::Relaxed);
    }

    /// Whether there ever was one.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    pub(crate) fn hold(&self, role: RoleId, owner: OwnerId) {
        let mut held = self.held.lock();
        held.insert((role, owner));
        self.any_held.store(true, Ordering::Relaxed);
    }

    pub(crate) fn let_go(&self, role: RoleId, owner: OwnerId) {
        let mut held = self.held.lock();
        held.remove(&(role, owner));
        self.any_held.store(!held.is_empty(), Ordering::Relaxed);
    }

    /// Whether there is any that is to be looked at. Takes no lock: whoever was told after one came sees it.
    pub fn is_any_held(&self) -> bool {
        self.any_held.load(Ordering::Relaxed)
    }

    /// Gives those that are to be looked at.
    pub fn held(&self) -> Vec<(RoleId, OwnerId)> {
        self.held.lock().iter().copied().collect()
    }
}
