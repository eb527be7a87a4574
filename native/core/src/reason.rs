//! Why a request is refused.

/// A reason says why a request is refused: of those that hold, the first in this order.
///
/// ```
/// use erlmcp_core::limits::{Limits, Verdict};
/// use erlmcp_core::reason::Reason;
/// use erlmcp_core::{OwnerId, RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let table = Limits::new(RoleId(1), 0, Still.now());
/// let Verdict::Refused(refusal) = table.check(RoleId(1), OwnerId(7), &Still)? else {
///     panic!("a limit of 0 refuses everything");
/// };
/// assert_eq!(refusal.reason, Reason::Full);
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The node has to do with less of this class.
    Node,
    /// The depth of the owner is at the limit.
    Full,
    /// What is left of the limit is reserved for higher classes.
    Class,
    /// It would wait for longer than it makes sense.
    Deadline,
    /// The role has as many as it may, over all its owners.
    Role,
    /// The role has as many bytes as it may, over all its owners.
    Bytes,
}

impl Reason {
    /// All there are, in their order.
    pub const ALL: [Self; 6] = [
        Self::Node,
        Self::Full,
        Self::Class,
        Self::Deadline,
        Self::Role,
        Self::Bytes,
    ];

    /// Gives its place in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }
}
