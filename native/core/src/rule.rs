//! A rate that is defined: its law in force, how many keys it has, and what is counted of it.

use crossbeam_utils::CachePadded;

use crate::gcra::Law;
use crate::rate::Rate;
use crate::share::{Scope, Share};
use crate::spell::{Growth, Spell};
use crate::sync::{AtomicBool, AtomicU64, Kept, Mutex, Ordering};
use crate::tally::{Seat, own_stripes};

const NS_PER_MS: u64 = 1_000_000;

/// What becomes of new keys where there are as many as there may be. [`Rates`](crate::rates::Rates) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// They share one bucket.
    Share,
    /// They are refused.
    Refuse,
}

/// How a rate is defined. [`Rates`](crate::rates::Rates) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// What may be taken.
    pub law: Law,
    /// So many keys have a bucket of their own at most.
    pub max_keys: u64,
    /// What becomes of others.
    pub overflow: Overflow,
    /// Of whom it is.
    pub scope: Scope,
}

/// A definition in force since a moment. Buckets keep that under which they were last changed.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) definition: Definition,
    /// This node's of what is defined.
    pub(crate) share: Share,
    /// The share's.
    law: Law,
    pub(crate) since_ns: u64,
    retired: AtomicBool,
    pub(crate) limit: Kept<Limit>,
}

/// A name that is defined.
#[derive(Debug)]
pub(crate) struct Limit {
    /// None once it is undefined.
    current: Mutex<Option<Kept<Rule>>>,
    /// Whether a hand defined it last, and not the configuration.
    by_hand: AtomicBool,
    /// Keys that have a bucket of their own, or are about to.
    keys: AtomicU64,
    /// One for each of the first threads, and a last one that all others share.
    counts: Box<[CachePadded<Counts>]>,
    taking: Rate,
    refusing: Spell,
}

#[derive(Debug, Default)]
struct Counts {
    taken: AtomicU64,
    refused: AtomicU64,
    /// What was asked for and refused, costs added up but those above its burst, of a rate that nodes share.
    denied: AtomicU64,
}

impl Rule {
    /// The law in force.
    pub(crate) fn law(&self) -> &Law {
        &self.law
    }

    /// Whether another is in force, or none.
    #[inline]
    pub(crate) fn is_retired(&self) -> bool {
        // Pairs with `retire`: who finds it so finds the next one.
        self.retired.load(Ordering::Acquire)
    }

    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }
}

impl Limit {
    pub(crate) fn new(now_ns: u64) -> Kept<Self> {
        let now_ms = now_ns / NS_PER_MS;
        Kept::new(Self {
            current: Mutex::new(None),
            by_hand: AtomicBool::new(false),
            keys: AtomicU64::new(0),
            counts: (0..=own_stripes())
                .map(|_| CachePadded::default())
                .collect(),
            taking: Rate::new(now_ms),
            refusing: Spell::new(now_ms),
        })
    }

    pub(crate) fn current(&self) -> Option<Kept<Rule>> {
        self.current.lock().as_ref().map(Kept::clone)
    }

    /// Puts a share of a definition into force, or none, and returns the one before, which is to be retired.
    pub(crate) fn put(
        this: &Kept<Self>,
        definition: Option<(Definition, Share)>,
        since_ns: u64,
    ) -> Option<Kept<Rule>> {
        let rule = definition.map(|(definition, share)| {
            Kept::new(Rule {
                definition,
                share,
                law: share.of(&definition.law),
                since_ns,
                retired: AtomicBool::new(false),
                limit: Kept::clone(this),
            })
        });
        std::mem::replace(&mut *this.current.lock(), rule)
    }

    /// Puts another share into force, if nodes share it. Whoever defines waits meanwhile.
    pub(crate) fn share(this: &Kept<Self>, share: Share, now_ns: u64) {
        let Some(rule) = this.current() else {
            return;
        };
        if rule.definition.scope == Scope::Cluster && rule.share != share {
            Self::put(this, Some((rule.definition, share)), now_ns);
            rule.retire();
        }
    }

    pub(crate) fn is_by_hand(&self) -> bool {
        self.by_hand.load(Ordering::Relaxed)
    }

    pub(crate) fn set_by_hand(&self, by_hand: bool) {
        self.by_hand.store(by_hand, Ordering::Relaxed);
    }

    /// Room for one more key, to be given back with it. Never more than `most`.
    pub(crate) fn reserve(&self, most: u64) -> bool {
        let mut keys = self.keys.load(Ordering::Relaxed);
        while keys < most {
            let more = keys.saturating_add(1);
            match self
                .keys
                .compare_exchange_weak(keys, more, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(found) => keys = found,
            }
        }
        false
    }

    pub(crate) fn release(&self) {
        self.keys.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn count_taken(&self, cost: u64) {
        self.count(|counts| &counts.taken, cost);
    }

    pub(crate) fn count_refused(&self) {
        self.count(|counts| &counts.refused, 1);
    }

    pub(crate) fn count_denied(&self, cost: u64) {
        self.count(|counts| &counts.denied, cost);
    }

    /// What was asked for, granted or not.
    pub(crate) fn asked(&self) -> u64 {
        let asked = |counts: &CachePadded<Counts>| {
            let taken = counts.taken.load(Ordering::Relaxed);
            taken.wrapping_add(counts.denied.load(Ordering::Relaxed))
        };
        self.counts.iter().map(asked).fold(0, u64::wrapping_add)
    }

    /// What was taken, and how often was refused.
    pub(crate) fn counted(&self) -> (u64, u64) {
        let sum = |counter: fn(&Counts) -> &AtomicU64| {
            self.counts
                .iter()
                .map(|counts| counter(counts).load(Ordering::Relaxed))
                .fold(0, u64::wrapping_add)
        };
        (sum(|counts| &counts.taken), sum(|counts| &counts.refused))
    }

    /// Notes what was counted by now.
    pub(crate) fn sample(&self, now_ns: u64) {
        let ((taken, refused), now_ms) = (self.counted(), now_ns / NS_PER_MS);
        self.taking.sample(now_ms, taken);
        self.refusing.look(now_ms, refused);
    }

    /// How much is taken a second, and how it refuses.
    pub(crate) fn growth(&self, now_ns: u64) -> (f64, Growth) {
        let ((taken, refused), now_ms) = (self.counted(), now_ns / NS_PER_MS);
        let taken_per_s = self.taking.per_ms(now_ms, || taken) * 1_000.0;
        (taken_per_s, self.refusing.growth(now_ms, refused))
    }

    #[inline]
    fn count(&self, counter: impl Fn(&Counts) -> &AtomicU64, by: u64) {
        let Some((shared, own)) = self.counts.split_last() else {
            return;
        };
        match own.get(Seat::mine().number()) {
            // Nobody else writes there.
            Some(counts) => {
                let counter = counter(counts);
                let count = counter.load(Ordering::Relaxed);
                counter.store(count.wrapping_add(by), Ordering::Relaxed);
            }
            None => {
                counter(shared).fetch_add(by, Ordering::Relaxed);
            }
        }
    }
}
