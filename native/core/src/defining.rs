//! Which rates there are: names that are defined, changed and undefined, by hand and by configuration; and keys that
//! are forgotten.

use crate::buckets::NotDefined;
use crate::rates::{Definition, Rates};
use crate::rule::{Limit, Rule};
use crate::share::{Scope, Share};
use crate::spell::Growth;
use crate::sync::{Kept, Ordering};

/// Where there is room, keys are forgotten every so many times.
const SELDOM: u64 = 10;

/// So many rates are shared with other nodes at most. [`Scope`] says of whom a rate is.
///
/// ```
/// use erlmcp_core::defining::MAX_SHARED;
/// use erlmcp_core::rates::MAX_RATES;
///
/// assert!(MAX_SHARED < MAX_RATES);
/// ```
pub const MAX_SHARED: usize = 64;

/// There are as many names as there may be, or as many that nodes share.
///
/// ```
/// use erlmcp_core::defining::TooManyRates;
/// use erlmcp_core::gcra::{Law, Rate};
/// use erlmcp_core::rates::{Definition, Overflow, Rates};
/// use erlmcp_core::share::Scope;
///
/// let law = Law::new(Rate { number: 1, period_ns: 1_000, burst: 1 })?;
/// let definition = Definition { law, max_keys: 9, overflow: Overflow::Refuse, scope: Scope::Node };
/// let rates = Rates::with_room(1);
/// assert_eq!(rates.define(7, definition, true, || 0), Ok(()));
/// assert_eq!(rates.define(8, definition, true, || 0), Err(TooManyRates));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyRates;

impl std::fmt::Display for TooManyRates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("there are too many rates already")
    }
}

impl std::error::Error for TooManyRates {}

/// What there is to say of a rate. [`Rates`] has an example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Info {
    /// How it is defined.
    pub definition: Definition,
    /// This node's share of it.
    pub share: Share,
    /// How many keys have a bucket of their own.
    pub keys: u64,
    /// What was taken, costs added up.
    pub taken: u64,
    /// How often was refused.
    pub refused: u64,
    /// What was taken a second, over the last ten.
    pub taken_per_s: f64,
    /// How it refuses.
    pub refusals: Growth,
}

impl Rates {
    /// Opens it. What was defined and taken before stays.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// Closes it, and forgets all.
    pub fn close(&self) {
        self.open.store(false, Ordering::Release);
        let _defining = self.defining.lock();
        for name in self.names() {
            self.remove(name);
        }
        self.follow();
    }

    /// Defines a rate, or changes it: what each key has used of it stays so in proportion. It takes as long as all
    /// buckets take to be looked through, if it was defined before.
    ///
    /// # Errors
    ///
    /// If there are too many.
    pub fn define(
        &self,
        name: u64,
        definition: Definition,
        by_hand: bool,
        now_ns: impl FnOnce() -> u64,
    ) -> Result<(), TooManyRates> {
        let _defining = self.defining.lock();
        if self.put(name, definition, by_hand, now_ns)? {
            self.follow();
        }
        Ok(())
    }

    /// Defines what is configured, and undefines what was and is not any more. What a hand has defined stays.
    ///
    /// # Errors
    ///
    /// If there are too many; then nothing is changed.
    pub fn configure(
        &self,
        configured: &[(u64, Definition)],
        now_ns: impl Fn() -> u64,
    ) -> Result<(), TooManyRates> {
        let _defining = self.defining.lock();
        let is_configured = |name| configured.iter().any(|(other, _)| *other == name);
        let (stay, go): (Vec<u64>, Vec<u64>) = self
            .names()
            .into_iter()
            .partition(|name| is_configured(*name) || self.is_by_hand(*name));
        let new = configured.iter().filter(|(name, _)| !stay.contains(name));
        if stay.len().saturating_add(new.count()) > self.most {
            return Err(TooManyRates);
        }
        let set = configured
            .iter()
            .filter(|(name, definition)| !self.is_by_hand(*name) && is_shared(definition));
        let by_hand = self.shared().into_iter();
        let by_hand = by_hand.filter(|shared| self.is_by_hand(shared.name));
        if set.count().saturating_add(by_hand.count()) > MAX_SHARED {
            return Err(TooManyRates);
        }
        let mut has_retired = false;
        for name in go {
            has_retired |= self.remove(name);
        }
        // Those first that are not shared, or no more: they make room.
        let mut ordered: Vec<_> = configured.iter().collect();
        ordered.sort_by_key(|(_, definition)| is_shared(definition));
        for (name, definition) in ordered {
            if !self.is_by_hand(*name) {
                has_retired |= self.put(*name, *definition, false, &now_ns)?;
            }
        }
        if has_retired {
            self.follow();
        }
        Ok(())
    }

    /// Undefines a rate, and forgets all that was taken of it. False if there was none.
    pub fn undefine(&self, name: u64) -> bool {
        let _defining = self.defining.lock();
        let was_defined = self.remove(name);
        if was_defined {
            self.follow();
        }
        was_defined
    }

    /// The names, in no order.
    pub fn names(&self) -> Vec<u64> {
        self.buckets.names().pin().keys().copied().collect()
    }

    /// Looks whether there is such a rate.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn rule_exists(&self, name: u64) -> Result<(), NotDefined> {
        self.buckets.rule(name).map(|_| ())
    }

    /// What there is to say of a rate.
    pub fn info(&self, name: u64, now_ns: u64) -> Option<Info> {
        let rule = self.buckets.rule(name).ok()?;
        let (taken, refused) = rule.limit.counted();
        let (taken_per_s, refusals) = rule.limit.growth(now_ns);
        Some(Info {
            definition: rule.definition,
            share: rule.share,
            keys: rule.limit.keys(),
            taken,
            refused,
            taken_per_s,
            refusals,
        })
    }

    /// Notes what was counted by now, for what there is to say of each rate. To be called once a second.
    pub fn sample(&self, now_ns: u64) {
        let names = self.buckets.names().pin();
        names.values().for_each(|limit| limit.sample(now_ns));
    }

    /// Forgets keys that have all there is, which changes no answer: each time where there are many, and each tenth
    /// otherwise. To be called once a second with 0, from where it may take some milliseconds: it looks at some
    /// thousand keys, and returns where to go on, if there are more.
    pub fn tidy(&self, from: usize, now_ns: u64) -> Option<usize> {
        if from == 0 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            if !turn.is_multiple_of(SELDOM) && !self.is_crowded() {
                return None;
            }
        }
        self.buckets.tidy(from, now_ns)
    }

    fn is_crowded(&self) -> bool {
        let names = self.buckets.names().pin();
        names.values().any(|limit| {
            limit
                .current()
                .is_some_and(|rule| limit.keys() > rule.definition.max_keys.div_ceil(2))
        })
    }

    fn is_by_hand(&self, name: u64) -> bool {
        let names = self.buckets.names().pin();
        names.get(&name).is_some_and(|limit| limit.is_by_hand())
    }

    /// True if another definition is retired: then buckets are to follow.
    fn put(
        &self,
        name: u64,
        definition: Definition,
        by_hand: bool,
        now_ns: impl FnOnce() -> u64,
    ) -> Result<bool, TooManyRates> {
        let names = self.buckets.names().pin();
        let Some(limit) = names.get(&name) else {
            if names.len() >= self.most {
                return Err(TooManyRates);
            }
            self.has_room_for(&definition)?;
            let now_ns = now_ns();
            let limit = Limit::new(now_ns);
            limit.set_by_hand(by_hand);
            Limit::put(&limit, Some((definition, self.first(&definition))), now_ns);
            names.insert(name, limit);
            return Ok(false);
        };
        let before = limit.current();
        let before = before.filter(|rule| is_shared(&rule.definition) == is_shared(&definition));
        if before.is_none() {
            self.has_room_for(&definition)?;
        }
        limit.set_by_hand(by_hand);
        let is_same = |rule: &Kept<Rule>| rule.definition == definition;
        if before.as_ref().is_some_and(is_same) {
            return Ok(false);
        }
        let share = before.map_or_else(|| self.first(&definition), |rule| rule.share);
        retire(Limit::put(limit, Some((definition, share)), now_ns()));
        Ok(true)
    }

    /// The share of one that was not shared before, or is not.
    fn first(&self, definition: &Definition) -> Share {
        if is_shared(definition) {
            self.base()
        } else {
            Share::ALL
        }
    }

    fn has_room_for(&self, definition: &Definition) -> Result<(), TooManyRates> {
        if is_shared(definition) && self.shared().len() >= MAX_SHARED {
            return Err(TooManyRates);
        }
        Ok(())
    }

    /// True if there was one: then its buckets are to go.
    fn remove(&self, name: u64) -> bool {
        let names = self.buckets.names().pin();
        let Some(limit) = names.get(&name) else {
            return false;
        };
        retire(Limit::put(limit, None, 0));
        names.remove(&name);
        true
    }

    /// Has buckets of all rules that are retired follow those that are in force, or go, if there is none.
    fn follow(&self) {
        self.buckets.for_each(|address, bucket| {
            if bucket.rule.is_retired() {
                self.buckets.renew(address, bucket);
            }
        });
    }
}

fn is_shared(definition: &Definition) -> bool {
    definition.scope == Scope::Cluster
}

fn retire(before: Option<Kept<Rule>>) {
    if let Some(before) = before {
        before.retire();
    }
}

/// A limit and its rule keep each other until it is undefined.
impl Drop for Rates {
    fn drop(&mut self) {
        self.close();
    }
}
