//! The roles of a table: which there are, their limits, and what was set by hand.

use std::collections::{HashMap as StdHashMap, HashSet};

use crate::caps::Caps;
use crate::fill::Fill;
use crate::limit::Limit;
use crate::map::{self, Map};
use crate::overload::{Level, Scale};
use crate::pressure::Strain;
use crate::reason::Reason;
use crate::request::Request;
use crate::reserve::Reserve;
use crate::reserved::Reservation;
use crate::retry::Outlook;
use crate::role::{Policy, Role, RoleStats};
use crate::summary::RoleSummary;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, fence};
use crate::vocabulary::{Instant, RoleId, Runtime, UNLIMITED};
use crate::watch::Watch;

/// A table takes so many roles at most. In a model it is few.
pub const MAX_ROLES: usize = if cfg!(loom) { 2 } else { 1024 };

/// This is why an operation was not carried out: the table has [`MAX_ROLES`] roles and was asked for one more.
///
/// ```
/// use erlmcp_core::limits::Limits;
/// use erlmcp_core::roles::{MAX_ROLES, TooManyRoles};
/// use erlmcp_core::{RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let table = Limits::<()>::new(RoleId(0), 10, Still.now());
/// for role in 1..MAX_ROLES as u64 {
///     table.roles().set_limit(RoleId(role), 5, Still.now())?;
/// }
/// let one_more = table.roles().set_limit(RoleId(MAX_ROLES as u64), 5, Still.now());
/// assert_eq!(one_more, Err(TooManyRoles));
/// # Ok::<(), erlmcp_core::roles::TooManyRoles>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyRoles;

/// A configuration has what is configured of roles, see [`Roles::configure`].
///
/// ```
/// use erlmcp_core::RoleId;
/// use erlmcp_core::roles::Configuration;
///
/// let configuration = Configuration { limits: [(RoleId(1), 20.into())].into(), ..Configuration::default() };
/// assert!(configuration.enforcing && configuration.reserves.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Configuration {
    /// A role that is not mentioned here follows the limit of the default one.
    pub limits: StdHashMap<RoleId, Limit>,
    /// Of a role that is not mentioned here nothing is kept for the higher classes.
    pub reserves: StdHashMap<RoleId, Reserve>,
    /// This tells whether anything is refused.
    pub enforcing: bool,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            limits: StdHashMap::new(),
            reserves: StdHashMap::new(),
            enforcing: true,
        }
    }
}

/// These are all roles of a table: which there are, their limits and what they count.
///
/// A role exists once something was counted for it or its limit was set; the default one is always there. One without a
/// limit of its own follows the default role's.
///
/// ```
/// use erlmcp_core::limits::Limits;
/// use erlmcp_core::roles::Configuration;
/// use erlmcp_core::{RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (default, other) = (RoleId(1), RoleId(2));
/// let table = Limits::<()>::new(default, 1_000, Still.now());
/// let roles = table.roles();
/// roles.set_limit(other, 20, Still.now())?;
/// // What was set by hand wins over configuration.
/// let limits = [(default, 500.into()), (other, 400.into())].into();
/// roles.configure(&Configuration { limits, ..Configuration::default() }, Still.now())?;
/// assert_eq!([default, other, RoleId(3)].map(|role| roles.limit(role)), [500, 20, 500]);
/// # Ok::<(), erlmcp_core::roles::TooManyRoles>(())
/// ```
pub struct Roles {
    default_role: RoleId,
    policy: Arc<Policy>,
    roles: Map<RoleId, Arc<Role>>,
    /// Held while a role is made: one at a time, so that there are never too many.
    making: Mutex<()>,
    /// System time of the last look at all owners, in milliseconds; 0 before the first.
    checked_ms: AtomicU64,
}

impl Roles {
    /// Only the default role, with `default_limit`.
    pub(crate) fn new(default_role: RoleId, default_limit: u64, now: Instant) -> Self {
        let roles = Self {
            default_role,
            policy: Arc::new(Policy::new(default_limit)),
            roles: map::new(),
            making: Mutex::new(()),
            checked_ms: AtomicU64::new(0),
        };
        roles.insert(default_role, now);
        roles
    }

    pub(crate) fn get(&self, role: RoleId) -> Option<Arc<Role>> {
        self.roles.pin().get(&role).map(Arc::clone)
    }

    pub(crate) fn get_or_insert(
        &self,
        role: RoleId,
        now: impl FnOnce() -> Instant,
    ) -> Result<Arc<Role>, TooManyRoles> {
        if let Some(known) = self.get(role) {
            return Ok(known);
        }
        let _one_at_a_time = self.making.lock();
        if self.roles.len() >= MAX_ROLES && !self.roles.pin().contains_key(&role) {
            return Err(TooManyRoles);
        }
        Ok(self.insert(role, now()))
    }

    fn insert(&self, id: RoleId, now: Instant) -> Arc<Role> {
        let new = || Arc::new(Role::new(id, Arc::clone(&self.policy), now));
        let role = Arc::clone(self.roles.pin().get_or_insert_with(id, new));
        // Pairs with the fence in `settle`: what was set for all is seen here, or the role is found there.
        fence(Ordering::SeqCst);
        role.settle();
        role
    }

    /// To be called after anything was set that is for all.
    fn settle(&self) {
        // Pairs with the fence in `insert`.
        fence(Ordering::SeqCst);
        self.roles.pin().values().for_each(|role| role.settle());
    }

    /// Why an owner of whom nothing is known is refused such a request, if it is. The role may not be there yet.
    pub(crate) fn refuses(
        &self,
        role: Option<&Role>,
        request: &Request,
        runtime: &impl Runtime,
    ) -> Option<Reason> {
        if self.policy.node_refuses(request.class, runtime) {
            return Some(Reason::Node);
        }
        match role {
            Some(role) => role.refuses_unknown(request),
            None => self.policy.refuses(request),
        }
    }

    /// Gives the role's limit as it was set; the default role's for an unknown one, and of the watch's role what the
    /// watch has.
    pub fn set_to(&self, role: RoleId) -> Limit {
        self.get(role).map_or_else(
            || self.policy.default_limit.get(),
            |role| role.shown_limit(),
        )
    }

    /// Gives the limit of the role's owners of whom nothing was measured; the default role's for an unknown one.
    pub fn limit(&self, role: RoleId) -> u64 {
        self.scale(role).limit()
    }

    /// Gives what a role's owners are judged by; the default role's limit for an unknown one.
    pub fn scale(&self, role: RoleId) -> Scale {
        let unknown = || {
            self.policy
                .scale(role, self.policy.default_limit.get().number())
        };
        self.get(role).map_or_else(unknown, |role| role.scale())
    }

    /// Gives the watch over the mailboxes of all processes.
    pub fn watch(&self) -> &Watch {
        &self.policy.watch
    }

    /// Whether a role is the library's own, at least for now.
    pub(crate) fn is_reserved(&self, role: RoleId) -> bool {
        self.policy.watch.is_of(role) || self.policy.guarded.is_of(role)
    }

    /// Which role is that of whoever guards the node.
    pub(crate) fn guarded(&self) -> &Reservation {
        &self.policy.guarded
    }

    /// Has the node hold a strain until this millisecond of monotonic time: whoever sets it may die.
    ///
    /// ```
    /// use erlmcp_core::limits::Limits;
    /// use erlmcp_core::{RoleId, Runtime, Strain};
    /// use still::Still; // as in the example at `Host`
    /// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
    ///
    /// let table = Limits::<()>::new(RoleId(0), 10, Still.now());
    /// let now_ms = Still.now().monotonic_ms;
    /// table.roles().press(Strain::Pressed, now_ms + 2_000);
    /// // The classes that can be shed are the third and the fourth.
    /// let refused = [0, 1, 2, 3].map(|class| table.roles().node_refuses(class, || now_ms));
    /// assert_eq!(refused, [false, false, true, true]);
    /// assert_eq!(table.roles().strain(|| now_ms + 2_000), Strain::Calm);
    /// ```
    pub fn press(&self, strain: Strain, until_ms: u64) {
        self.policy.pressure.set(strain, until_ms);
    }

    /// Gives the strain that holds. The time in monotonic milliseconds is asked for only if there is any.
    pub fn strain(&self, now_ms: impl FnOnce() -> u64) -> Strain {
        self.policy.pressure.strain(now_ms)
    }

    /// Tells whether the node refuses requests of a class, of which 0 is the highest and 3 the lowest: one load while
    /// it is calm. The time is asked for only if it does, as far as the strain tells.
    #[inline]
    pub fn node_refuses(&self, class: usize, now_ms: impl FnOnce() -> u64) -> bool {
        self.policy.pressure.refuses(class, now_ms)
    }

    /// Sets a role's limit by hand. An admission that starts after this has returned obeys it.
    ///
    /// # Errors
    ///
    /// [`TooManyRoles`] if the role does not exist and there is no room for it.
    pub fn set_limit(
        &self,
        role: RoleId,
        limit: impl Into<Limit>,
        now: Instant,
    ) -> Result<(), TooManyRoles> {
        let (limit, known) = (limit.into(), self.get_or_insert(role, || now)?);
        if role == self.default_role {
            self.policy.default_limit.set(limit);
            self.settle();
        } else {
            known.own_limit.set(Some(limit));
            known.settle();
        }
        Ok(())
    }

    /// Sets by hand what of a role's limit is kept for the higher classes. An admission that starts after this has
    /// returned obeys it.
    ///
    /// # Errors
    ///
    /// [`TooManyRoles`], as [`set_limit`](Self::set_limit).
    pub fn set_reserve(
        &self,
        role: RoleId,
        reserve: Reserve,
        now: Instant,
    ) -> Result<(), TooManyRoles> {
        let known = self.get_or_insert(role, || now)?;
        known.reserve.set(reserve);
        known.settle();
        Ok(())
    }

    /// Gives what of a role's limit is kept for the higher classes; nothing is of an unknown one's.
    pub fn reserve(&self, role: RoleId) -> Reserve {
        self.get(role)
            .map_or(Reserve::NONE, |role| role.reserve.get())
    }

    /// Sets the most places and the most bytes that all owners of a role may have together, those whose mailbox is
    /// limited left out; [`UNLIMITED`] is no cap. An admission that starts after this has returned obeys it.
    ///
    /// # Errors
    ///
    /// [`TooManyRoles`], as [`set_limit`](Self::set_limit).
    pub fn set_caps(
        &self,
        role: RoleId,
        total: u64,
        bytes: u64,
        now: Instant,
    ) -> Result<(), TooManyRoles> {
        self.get_or_insert(role, || now)?.set_caps(total, bytes);
        Ok(())
    }

    /// Gives the most places and the most bytes of a role; an unknown one has no caps.
    pub fn caps(&self, role: RoleId) -> (u64, u64) {
        let caps = |role: Arc<Role>| role.caps().map(Caps::get);
        let none = (UNLIMITED, UNLIMITED);
        self.get(role).and_then(caps).unwrap_or(none)
    }

    /// Gives how many bytes all owners of a role have together, as far as requests said how many they have.
    pub fn bytes(&self, role: RoleId) -> u64 {
        let bytes = |role: Arc<Role>| role.caps().map(Caps::bytes);
        self.get(role).and_then(bytes).unwrap_or(0)
    }

    /// Applies a configuration, but for what was set by hand.
    ///
    /// # Errors
    ///
    /// [`TooManyRoles`] if there is no room for all that are mentioned; nothing has changed then.
    pub fn configure(
        &self,
        configuration: &Configuration,
        now: Instant,
    ) -> Result<(), TooManyRoles> {
        let Configuration {
            limits,
            reserves,
            enforcing,
        } = configuration;
        let mentioned: HashSet<_> = limits.keys().chain(reserves.keys()).collect();
        let new = mentioned.iter().filter(|role| self.get(***role).is_none());
        if self.roles.len().saturating_add(new.count()) > MAX_ROLES {
            return Err(TooManyRoles);
        }
        for &&role in &mentioned {
            self.get_or_insert(role, || now)?;
        }
        self.policy.enforcing.configure(*enforcing);
        for (id, role) in self.roles.pin().iter() {
            let reserve = reserves.get(id).copied();
            role.reserve.configure(reserve.unwrap_or_default());
            match limits.get(id) {
                Some(limit) if *id == self.default_role => {
                    self.policy.default_limit.configure(*limit)
                }
                limit => role.own_limit.configure(limit.copied()),
            }
        }
        self.settle();
        Ok(())
    }

    /// Switches refusals on or off by hand.
    pub fn set_enforcing(&self, enforcing: bool) {
        self.policy.enforcing.set(enforcing);
        self.settle();
    }

    /// Tells whether anything is refused.
    pub fn enforcing(&self) -> bool {
        self.policy.enforcing.get()
    }

    /// Gives every role's limit as it was set, in no order.
    pub fn limits(&self) -> Vec<(RoleId, Limit)> {
        let roles = self.roles.pin();
        let limits = roles.iter();
        limits.map(|(id, role)| (*id, role.shown_limit())).collect()
    }

    /// Names the roles that exist, in no order.
    pub fn ids(&self) -> Vec<RoleId> {
        self.roles.pin().keys().copied().collect()
    }

    /// Gives the counts of a role, if it exists.
    pub fn stats(&self, role: RoleId) -> Option<RoleStats> {
        self.get(role).map(|role| role.stats())
    }

    /// Gives the counts of every role, in no order.
    pub fn all_stats(&self) -> Vec<RoleStats> {
        self.roles.pin().values().map(|role| role.stats()).collect()
    }

    /// Gives the summary of every role, in no order. Ages and rates are as of `now`.
    pub fn summary(&self, now: Instant) -> Vec<RoleSummary> {
        let roles = self.roles.pin();
        let as_of_ms = Some(self.checked_ms.load(Ordering::Relaxed)).filter(|ms| *ms > 0);
        let summary = |role: &Arc<Role>| RoleSummary::of(role, as_of_ms, now);
        roles.values().map(summary).collect()
    }

    /// Says what the next request meets that comes for an owner at this depth, of whom nothing was measured, and that
    /// says nothing of itself, if the role exists.
    pub fn outlook(&self, role: RoleId, depth: u64, now: Instant) -> Option<Outlook> {
        let role = self.get(role)?;
        Some(role.outlook(depth, role.limit(), None, now))
    }

    /// It is now.
    pub(crate) fn passes(&self, now_ns: u64) {
        self.policy.passes(now_ns);
    }

    /// Gives every role's alert level, in no order.
    pub fn levels(&self) -> Vec<(RoleId, Level)> {
        let roles = self.roles.pin();
        roles.iter().map(|(id, role)| (*id, role.level())).collect()
    }

    /// All owners were looked at, at this time.
    pub(crate) fn note_check(&self, now: Instant, fill: impl Fn(RoleId) -> Fill) {
        self.checked_ms.store(now.system_ms, Ordering::Relaxed);
        for (id, role) in self.roles.pin().iter() {
            role.note_fill(fill(*id));
        }
    }

    /// Zeroes what a role counts; depths, owners and the limit stay, and so does what was measured. A request that is
    /// marked at this moment of [`Runtime::ticks_ns`](crate::Runtime::ticks_ns) measures nothing.
    pub fn reset_stats(&self, role: RoleId, now_ns: u64) {
        if let Some(role) = self.get(role) {
            role.reset_stats(now_ns);
        }
    }

    /// Counts the role's refusals since this was last asked, if there were any; with the role's counts now. Each
    /// refusal is handed out once.
    pub fn take_unreported_refusals(&self, role: RoleId) -> Option<(u64, RoleStats)> {
        let role = self.get(role)?;
        match role.take_unreported_refusals() {
            0 => None,
            refusals => Some((refusals, role.stats())),
        }
    }

    /// Notes for every role what was counted by now. It is to be called about once a second, so that a refusal after a
    /// quiet time knows the rate of the last ten seconds.
    pub fn sample_rates(&self, now: Instant) {
        let roles = self.roles.pin();
        roles.values().for_each(|role| role.sample_rates(now));
    }

    /// Only the default role again, nothing set by hand. The default limit stays. The roles of before are retired.
    pub(crate) fn clear(&self, now: Instant) {
        let _one_at_a_time = self.making.lock();
        let roles = self.roles.pin();
        let before: Vec<_> = roles.values().map(Arc::clone).collect();
        roles.clear();
        before.iter().for_each(|role| role.retire());
        let Policy {
            default_limit,
            enforcing,
            ..
        } = &*self.policy;
        default_limit.reset(default_limit.get());
        enforcing.reset(true);
        self.insert(self.default_role, now);
    }
}
