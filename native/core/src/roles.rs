//! The roles of a table: which there are, their limits, and what was set by hand.

use std::collections::HashMap as StdHashMap;

use foldhash::fast::RandomState;
use papaya::HashMap;

use crate::fill::Fill;
use crate::overload::Level;
use crate::retry::Outlook;
use crate::role::{Policy, Role, RoleStats};
use crate::summary::RoleSummary;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use crate::vocabulary::{Instant, RoleId};

/// The most roles a table takes.
pub const MAX_ROLES: usize = 1024;

/// The table has [`MAX_ROLES`] roles and was asked for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyRoles;

/// Limits that come from configuration.
pub type ConfiguredLimits = StdHashMap<RoleId, u64>;

/// All roles of a table.
pub struct Roles {
    default_role: RoleId,
    policy: Arc<Policy>,
    roles: HashMap<RoleId, Arc<Role>, RandomState>,
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
            roles: HashMap::with_hasher(RandomState::default()),
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
        Arc::clone(self.roles.pin().get_or_insert_with(id, new))
    }

    /// The depth at which an owner is refused now in a role, known or not.
    pub(crate) fn refuses_at(&self, role: RoleId) -> u64 {
        self.get(role)
            .map_or_else(|| self.policy.refuses_at(), |role| role.refuses_at())
    }

    /// The role's limit; the default role's for an unknown one.
    pub fn limit(&self, role: RoleId) -> u64 {
        self.get(role)
            .map_or_else(|| self.policy.default_limit.get(), |role| role.limit())
    }

    /// Sets a role's limit by hand. An admission that starts after this has returned obeys it.
    pub fn set_limit(&self, role: RoleId, limit: u64, now: Instant) -> Result<(), TooManyRoles> {
        let known = self.get_or_insert(role, || now)?;
        if role == self.default_role {
            self.policy.default_limit.set(limit);
        } else {
            known.own_limit.set(Some(limit));
        }
        Ok(())
    }

    /// Applies limits and the switch as configured, but for what was set by hand. A role that is not
    /// mentioned follows the default. Without room for all the roles nothing changes.
    pub fn configure(
        &self,
        limits: &ConfiguredLimits,
        enforcing: bool,
        now: Instant,
    ) -> Result<(), TooManyRoles> {
        let new = limits.keys().filter(|role| self.get(**role).is_none());
        if self.roles.len().saturating_add(new.count()) > MAX_ROLES {
            return Err(TooManyRoles);
        }
        for &role in limits.keys() {
            self.get_or_insert(role, || now)?;
        }
        self.policy.enforcing.configure(enforcing);
        for (id, role) in self.roles.pin().iter() {
            match limits.get(id) {
                Some(limit) if *id == self.default_role => {
                    self.policy.default_limit.configure(*limit)
                }
                limit => role.own_limit.configure(limit.copied()),
            }
        }
        Ok(())
    }

    /// Switches refusals on or off by hand.
    pub fn set_enforcing(&self, enforcing: bool) {
        self.policy.enforcing.set(enforcing);
    }

    /// Whether anything is refused.
    pub fn enforcing(&self) -> bool {
        self.policy.enforcing.get()
    }

    /// Every role's limit, in no order.
    pub fn limits(&self) -> Vec<(RoleId, u64)> {
        let roles = self.roles.pin();
        roles.iter().map(|(id, role)| (*id, role.limit())).collect()
    }

    /// The roles that exist, in no order.
    pub fn ids(&self) -> Vec<RoleId> {
        self.roles.pin().keys().copied().collect()
    }

    /// One role's numbers.
    pub fn stats(&self, role: RoleId) -> Option<RoleStats> {
        self.get(role).map(|role| role.stats())
    }

    /// Every role's numbers, in no order.
    pub fn all_stats(&self) -> Vec<RoleStats> {
        self.roles.pin().values().map(|role| role.stats()).collect()
    }

    /// Every role's summary, in no order.
    pub fn summary(&self, now: Instant) -> Vec<RoleSummary> {
        let roles = self.roles.pin();
        let as_of_ms = Some(self.checked_ms.load(Ordering::Relaxed)).filter(|ms| *ms > 0);
        let summary = |role: &Arc<Role>| RoleSummary::of(role, as_of_ms, now);
        roles.values().map(summary).collect()
    }

    /// What the next request meets that comes for an owner at this depth, in a role that exists.
    pub fn outlook(&self, role: RoleId, depth: u64, now: Instant) -> Option<Outlook> {
        self.get(role).map(|role| role.outlook(depth, now))
    }

    /// Every role's alert level, in no order.
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

    /// Zeroes a role's counters; depths and owners stay.
    pub fn reset_stats(&self, role: RoleId) {
        if let Some(role) = self.get(role) {
            role.reset_stats();
        }
    }

    /// Refusals of the role since this was last asked, and its numbers. Each refusal is handed out once.
    pub fn take_unreported_refusals(&self, role: RoleId) -> Option<(u64, RoleStats)> {
        let role = self.get(role)?;
        match role.take_unreported_refusals() {
            0 => None,
            refusals => Some((refusals, role.stats())),
        }
    }

    /// Notes for every role what was counted by now. To be called about once a second, so that a refusal
    /// after a quiet time knows the rate of the last ten seconds.
    pub fn sample_rates(&self, now: Instant) {
        let roles = self.roles.pin();
        roles.values().for_each(|role| role.sample_rates(now));
    }

    /// Only the default role again, nothing set by hand. The default limit stays.
    pub(crate) fn clear(&self, now: Instant) {
        let _one_at_a_time = self.making.lock();
        self.roles.pin().clear();
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
