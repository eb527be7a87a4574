//! What a request for room says of itself: how much it matters, how large it is, until when it makes sense.

/// A class says how much a request matters: when there is too much to do, the lowest goes first.
///
/// ```
/// use erlmcp_core::request::Class;
///
/// assert_eq!(Class::default(), Class::Critical);
/// assert!(Class::CriticalPlus > Class::Sheddable);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It may be tried again later, or never.
    Sheddable,
    /// It may be refused in part.
    SheddablePlus,
    /// Users see it when it is refused. So is every request that says nothing.
    #[default]
    Critical,
    /// It is refused last.
    CriticalPlus,
}

impl Class {
    /// All there are, the lowest first.
    pub const ALL: [Self; 4] = [
        Self::Sheddable,
        Self::SheddablePlus,
        Self::Critical,
        Self::CriticalPlus,
    ];

    /// Gives its place in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Tells how many classes are above it.
    pub const fn below(self) -> usize {
        Self::CriticalPlus.index().saturating_sub(self.index())
    }
}

/// A request is for one place.
///
/// ```
/// use erlmcp_core::limits::{Limits, Verdict};
/// use erlmcp_core::request::{Class, Request};
/// use erlmcp_core::reserve::Reserve;
/// use erlmcp_core::{OwnerId, RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (role, owner) = (RoleId(1), OwnerId(7));
/// let table = Limits::new(role, 2, Still.now());
/// let reserve = Reserve::new(0, 50, 50).expect("it rises downwards");
/// table.roles().set_reserve(role, reserve, Still.now())?;
/// let sheddable = Request { class: Class::Sheddable, ..Request::default() };
/// let admitted = |request| {
///     let verdict = table.try_enqueue_with(role, owner, &request, &Still)?;
///     Ok::<_, erlmcp_core::limits::Unfit>(verdict == Verdict::Granted)
/// };
/// assert_eq!([admitted(sheddable)?, admitted(sheddable)?], [true, false]);
/// assert!(admitted(Request::default())?);
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// So much it matters.
    pub class: Class,
    /// So large it is; 0 says nothing of that.
    pub bytes: u64,
    /// After so many milliseconds it makes no sense any more.
    pub deadline_ms: Option<u64>,
}
