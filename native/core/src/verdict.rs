//! What is said to who asks for room: there is some, or why there is none.

use crate::bounds::Case;
use crate::caps::Turn;
use crate::gauge::{Admission, Vacant};
use crate::owner::Account;
use crate::reason::Reason;
use crate::request::{Class, Request};
use crate::role::{Role, RoleStats};
use crate::roles::TooManyRoles;
use crate::sync::{AtomicBool, Ordering};
use crate::vocabulary::{OwnerId, RoleId, Runtime};

/// A refusal says why and how an owner was refused.
///
/// ```
/// use erlmcp_core::limits::{Limits, Verdict};
/// use erlmcp_core::{OwnerId, RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let table = Limits::new(RoleId(1), 0, Still.now());
/// let Verdict::Refused(refusal) = table.check(RoleId(1), OwnerId(7), &Still)? else {
///     panic!("a limit of 0 refuses everything");
/// };
/// assert_eq!((refusal.depth, refusal.stats.refused), (0, 1));
/// // Nothing drains: the caller is told to come back in a second.
/// assert_eq!(refusal.retry_after_ms, 1_000);
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// These are the role's counts at the time, this refusal among them.
    pub stats: RoleStats,
    /// This depth of the owner decided.
    pub depth: u64,
    /// The request was of this class.
    pub class: Class,
    /// This is why.
    pub reason: Reason,
    /// The caller should wait so many milliseconds before it asks again: 1 to 60000. It is an estimate.
    pub retry_after_ms: u64,
    /// This tells whether it is the role's first refusal after a quiet second, which somebody may want to hear of.
    pub announce: bool,
}

/// A verdict is the answer to a request for room. [`Limits`] has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is room. This is also the answer for the dead, for whom nothing is counted.
    Granted,
    /// There is none. The reason is boxed, so that the usual answer stays small.
    Refused(Box<Refusal>),
}

/// Unfit is an operation that was not done to an owner, and this is why.
///
/// ```
/// use erlmcp_core::limits::{Limits, Unfit};
/// use erlmcp_core::{OwnerId, RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (role, receiver) = (RoleId(1), OwnerId(7));
/// let table = Limits::new(role, 10, Still.now());
/// table.admit_unasked(role, receiver, OwnerId(8), &Still)?;
/// // From now on its mailbox is what is limited.
/// assert_eq!(table.enqueue(role, receiver, &Still), Err(Unfit::OtherKind));
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The role does not exist, and there is no room for one more.
    TooManyRoles,
    /// The owner's depth in the role is counted, and the operation is of mailboxes; or the other way round. Which of
    /// the two it is was settled when the owner was first used in the role.
    OtherKind,
    /// The role is that of the watch over all mailboxes, or of whoever guards the node, as long as this is on.
    Reserved,
}

impl From<TooManyRoles> for Unfit {
    fn from(TooManyRoles: TooManyRoles) -> Self {
        Self::TooManyRoles
    }
}

/// A permit proves one admission. [`Limits::acquire`] hands it out and [`Limits::give_back`] takes it.
///
/// ```
/// use erlmcp_core::limits::Limits;
/// use erlmcp_core::{OwnerId, RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (role, owner) = (RoleId(1), OwnerId(7));
/// let table = Limits::new(role, 1, Still.now());
/// let permit = table.acquire(role, owner, &Still)?.expect("there is room").expect("nobody is dead");
/// assert!(table.acquire(role, owner, &Still)?.is_err());
/// assert!(table.give_back(&permit, &Still));
/// assert_eq!(table.depth(role, owner), 0);
/// // There is nothing left to give back.
/// assert!(!table.give_back(&permit, &Still));
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
#[derive(Debug)]
pub struct Permit {
    pub(crate) role: RoleId,
    pub(crate) owner: OwnerId,
    pub(crate) tenure: u64,
    pub(crate) bytes: u64,
    pub(crate) turn: Turn,
    given_back: AtomicBool,
}

impl Permit {
    /// This owner's place it is.
    pub fn owner(&self) -> OwnerId {
        self.owner
    }

    pub(crate) fn new(
        role: RoleId,
        owner: OwnerId,
        tenure: u64,
        (bytes, turn): (u64, Turn),
    ) -> Self {
        Self {
            role,
            owner,
            tenure,
            bytes,
            turn,
            given_back: AtomicBool::new(false),
        }
    }

    /// Tells whether it was given back; its place may be gone for other reasons.
    pub fn is_given_back(&self) -> bool {
        self.given_back.load(Ordering::Relaxed)
    }

    /// Whether it was not given back yet. From now on it is: whoever is told so takes the place away.
    pub(crate) fn give_back(&self) -> bool {
        !self.given_back.swap(true, Ordering::Relaxed)
    }
}

/// Whether an account has room for a request.
#[inline(always)]
pub(crate) fn room<W>(
    account: &Account<W>,
    request: &Request,
    host: &impl Runtime,
) -> Result<Verdict, Vacant> {
    let depth = account.counted()?;
    let role = account.role();
    let below = role.plainly_below();
    if request.is_plain() && below > 0 {
        let node = role.node_refuses(request.class, host);
        return Ok(if !node && depth < below {
            Verdict::Granted
        } else {
            no_room(account, depth, request, node, host)
        });
    }
    room_closely(account, depth, request, host)
}

#[inline(never)]
fn room_closely<W>(
    account: &Account<W>,
    depth: u64,
    request: &Request,
    host: &impl Runtime,
) -> Result<Verdict, Vacant> {
    let verdict = has_room(account, depth, request, host);
    if account.role().caps().is_some() && matches!(verdict, Verdict::Granted) {
        return Ok(room_of_role(account, depth, request, host));
    }
    Ok(verdict)
}

/// Whether its role has room, where it has caps.
#[inline(never)]
fn room_of_role<W>(
    account: &Account<W>,
    depth: u64,
    request: &Request,
    host: &impl Runtime,
) -> Verdict {
    match account.role().cap_refuses(request.bytes) {
        Some(reason) => Verdict::Refused(refused(account, depth, reason, request, host)),
        None => Verdict::Granted,
    }
}

/// Whether an account at this depth has room for a request.
#[inline(always)]
pub(crate) fn has_room<W>(
    account: &Account<W>,
    depth: u64,
    request: &Request,
    host: &impl Runtime,
) -> Verdict {
    let node = account.role().node_refuses(request.class, host);
    if !node && depth < account.refuses_at(request) {
        return Verdict::Granted;
    }
    no_room(account, depth, request, node, host)
}

#[cold]
#[inline(never)]
fn no_room<W>(
    account: &Account<W>,
    depth: u64,
    request: &Request,
    node: bool,
    host: &impl Runtime,
) -> Verdict {
    let reason = if node {
        Reason::Node
    } else {
        account.reason(depth, request)
    };
    Verdict::Refused(refused(account, depth, reason, request, host))
}

/// What becomes of a request that the node has to do without.
#[cold]
#[inline(never)]
pub(crate) fn refused_by_node<W>(account: &Account<W>) -> Result<Admission, Vacant> {
    Ok(Admission::Refused(account.counted()?, Reason::Node))
}

#[inline(always)]
pub(crate) fn verdict<W>(
    account: &Account<W>,
    admission: Admission,
    request: &Request,
    host: &impl Runtime,
) -> Verdict {
    match granted(account, admission, request, host) {
        Ok(()) => Verdict::Granted,
        Err(refusal) => Verdict::Refused(refusal),
    }
}

#[inline(always)]
pub(crate) fn granted<W>(
    account: &Account<W>,
    admission: Admission,
    request: &Request,
    host: &impl Runtime,
) -> Result<(), Box<Refusal>> {
    match admission {
        Admission::Admitted(_) => Ok(()),
        Admission::Refused(depth, reason) => Err(refused(account, depth, reason, request, host)),
    }
}

/// In one piece, for what is done for each request to be small.
#[cold]
#[inline(never)]
fn refused<W>(
    account: &Account<W>,
    depth: u64,
    reason: Reason,
    request: &Request,
    host: &impl Runtime,
) -> Box<Refusal> {
    let case = account.case(depth, request, reason);
    refuse(account.role(), &case, host)
}

#[cold]
pub(crate) fn refuse(role: &Role, case: &Case, host: &impl Runtime) -> Box<Refusal> {
    let Case {
        depth,
        limit,
        class,
        reason,
        ..
    } = *case;
    let now = host.now();
    let announce = role.count_refusal(class, reason, now);
    Box::new(Refusal {
        retry_after_ms: role.retry_after(case, now),
        stats: role.stats_at(limit),
        depth,
        class,
        reason,
        announce,
    })
}
