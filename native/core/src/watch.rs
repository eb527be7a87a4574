//! The watch over the mailboxes of all processes: whether it is on, from which lengths on, and who is held.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use crate::overload::Steps;
use crate::reserved::Reservation;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::vocabulary::{OwnerId, RoleId};

/// So many processes are held at a time.
pub const MAX_HELD: usize = if cfg!(loom) { 1 } else { 100 };

/// A watch has the role that is its own while it is on, and the processes whose mailbox was found long: at most
/// [`MAX_HELD`] of them, so that it costs the same whatever happens.
///
/// A table has one, see [`Roles::watch`](crate::roles::Roles::watch).
///
/// ```
/// use erlmcp_core::limits::{Limits, Unfit};
/// use erlmcp_core::overload::Steps;
/// use erlmcp_core::{OwnerId, RoleId, Runtime, NotFree};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (role, used, owner) = (RoleId(1), RoleId(2), OwnerId(7));
/// let table = Limits::new(RoleId(0), 10, Still.now());
/// table.enqueue(used, owner, &Still)?;
/// let steps = Steps::new([1_000, 5_000, 10_000]).expect("they do not fall");
/// assert_eq!(table.watch(used, steps, &Still), Err(NotFree::InUse));
/// assert_eq!(table.watch(role, steps, &Still), Ok(()));
/// assert_eq!(table.roles().watch().now(), Some((role, steps)));
/// assert_eq!(table.enqueue(role, owner, &Still), Err(Unfit::Reserved));
/// table.unwatch(&Still);
/// table.enqueue(role, owner, &Still)?;
/// # Ok::<(), Unfit>(())
/// ```
#[derive(Debug)]
pub struct Watch {
    role: Reservation,
    steps: Mutex<Option<Steps>>,
    held: Mutex<Held>,
    passed_over: AtomicU64,
    missed: AtomicBool,
}

#[derive(Debug, Default)]
struct Held {
    owners: HashSet<OwnerId, RandomState>,
    /// Whether more are taken in.
    open: bool,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            role: Reservation::none(),
            steps: Mutex::new(None),
            held: Mutex::new(Held::default()),
            passed_over: AtomicU64::new(0),
            missed: AtomicBool::new(false),
        }
    }

    /// Gives the role that is its own and the lengths from which on a mailbox is long, while it is on.
    pub fn now(&self) -> Option<(RoleId, Steps)> {
        let role = self.role.role()?;
        self.steps_of(role).map(|steps| (role, steps))
    }

    /// Tells how many processes are held.
    pub fn holds(&self) -> usize {
        self.held.lock().owners.len()
    }

    /// Tells how often a process was found long and not held, since so many were, since the watch began.
    pub fn passed_over(&self) -> u64 {
        self.passed_over.load(Ordering::Relaxed)
    }

    /// Whether this role is its own.
    pub(crate) fn is_of(&self, role: RoleId) -> bool {
        self.role.is_of(role)
    }

    pub(crate) fn steps_of(&self, role: RoleId) -> Option<Steps> {
        if self.is_of(role) {
            *self.steps.lock()
        } else {
            None
        }
    }

    /// Which role is its own. Nobody is held before `begin`, whoever is in the role.
    pub(crate) fn reservation(&self) -> &Reservation {
        &self.role
    }

    pub(crate) fn begin(&self, steps: Steps) {
        *self.steps.lock() = Some(steps);
        self.held.lock().open = true;
    }

    /// Nobody is taken in any more.
    pub(crate) fn shut(&self) {
        self.held.lock().open = false;
    }

    /// It is as new, once nobody is held any more.
    pub(crate) fn end(&self) {
        *self.steps.lock() = None;
        self.held.lock().owners.clear();
        self.passed_over.store(0, Ordering::Relaxed);
        self.missed.store(false, Ordering::Relaxed);
    }

    /// Takes an owner in, if there is room, or it is held already. If not, it is counted.
    pub(crate) fn hold(&self, owner: OwnerId) -> bool {
        let mut held = self.held.lock();
        if held.owners.contains(&owner) {
            return true;
        }
        if !held.open {
            return false;
        }
        if held.owners.len() >= MAX_HELD {
            self.passed_over.fetch_add(1, Ordering::Relaxed);
            self.miss();
            return false;
        }
        held.owners.insert(owner)
    }

    /// An owner that was let go just now is held all the same.
    pub(crate) fn keep(&self, owner: OwnerId) {
        self.held.lock().owners.insert(owner);
    }

    pub(crate) fn let_go(&self, owner: OwnerId) {
        self.held.lock().owners.remove(&owner);
    }

    pub(crate) fn held(&self) -> Vec<OwnerId> {
        self.held.lock().owners.iter().copied().collect()
    }

    /// Somebody is long and not held.
    pub(crate) fn miss(&self) {
        self.missed.store(true, Ordering::Relaxed);
    }

    /// Whether somebody was missed since this was last asked for whom there is room now.
    pub(crate) fn take_missed(&self) -> bool {
        self.holds() < MAX_HELD && self.missed.swap(false, Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const ROLE: RoleId = RoleId(3);

    fn watch() -> Watch {
        let watch = Watch::new();
        watch.reservation().reserve(ROLE);
        watch.begin(Steps::new([1, 2, 3]).unwrap());
        watch
    }

    #[test]
    fn a_role_is_its_own_from_one_call_to_the_other() {
        let watch = Watch::new();
        assert!(!watch.is_of(ROLE) && watch.now().is_none());
        watch.reservation().reserve(ROLE);
        assert!(watch.is_of(ROLE) && !watch.is_of(RoleId(4)));
        assert!(!watch.hold(OwnerId(1)) && watch.now().is_none());
        watch.begin(Steps::new([1, 2, 3]).unwrap());
        assert_eq!(watch.now().map(|(role, _)| role), Some(ROLE));
        watch.reservation().release();
        assert!(!watch.is_of(ROLE) && watch.now().is_none());
    }

    #[test]
    fn who_is_one_too_many_is_counted_and_missed_once_there_is_room() {
        let watch = watch();
        assert!((0..MAX_HELD as u64).all(|owner| watch.hold(OwnerId(owner))));
        assert!(watch.hold(OwnerId(0)), "it is held already");
        assert!(!watch.hold(OwnerId(1_000)) && !watch.hold(OwnerId(1_000)));
        assert_eq!((watch.holds(), watch.passed_over()), (MAX_HELD, 2));
        assert!(!watch.take_missed());
        watch.let_go(OwnerId(5));
        assert!(watch.take_missed() && !watch.take_missed());
        assert!(watch.hold(OwnerId(1_000)));
    }

    #[test]
    fn nobody_is_taken_in_while_it_ends() {
        let watch = watch();
        watch.hold(OwnerId(1));
        watch.shut();
        assert!(watch.hold(OwnerId(1)) && !watch.hold(OwnerId(2)));
        watch.end();
        assert_eq!((watch.holds(), watch.passed_over()), (0, 0));
    }
}
