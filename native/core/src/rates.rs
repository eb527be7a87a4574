//! Rates by name, and what each key has taken of them.

use crate::address::{Address, Seek};
use crate::bucket::Gone;
use crate::buckets::{Bucket, Buckets, NotDefined, Room};
use crate::gcra::{Rate, Short, Taken};
use crate::rule::Rule;
use crate::share::{Scope, WHOLE};
use crate::sync::{AtomicBool, AtomicU64, Kept, Mutex, Ordering};

pub use crate::rule::{Definition, Overflow};

/// So many names at most.
pub const MAX_RATES: usize = 1024;
/// A key that is refused since there are too many may ask again when some may have been forgotten.
const FORGETTING_NS: u64 = 1_000_000_000;

/// Rates, and a bucket for each key that has taken of one and is not full again.
///
/// Whoever asks after a rate was defined is held to it, and no two that ask at the same time are granted the same.
///
/// ```
/// use erlmcp_core::gcra::{Law, Rate};
/// use erlmcp_core::rates::{Answer, Definition, Overflow, Rates};
/// use erlmcp_core::share::Scope;
///
/// let rates = Rates::new();
/// let law = Law::new(Rate { number: 10, period_ns: 1_000_000_000, burst: 1 })?;
/// let definition = Definition { law, max_keys: 1_000_000, overflow: Overflow::Share, scope: Scope::Node };
/// rates.define(7, definition, true, || 0)?;
/// let key = rates.address(7, 1, b"tenant");
/// assert_eq!(rates.take(&key, 1, 0)?, Answer::Taken { remaining: 0 });
/// let Answer::Refused(refused) = rates.take(&key, 1, 0)? else { panic!() };
/// assert_eq!(refused.short.retry_ns, 100_000_000);
/// assert_eq!(rates.take(&key, 1, 100_000_000)?, Answer::Taken { remaining: 0 });
/// let info = rates.info(7, 100_000_000).ok_or("undefined")?;
/// assert_eq!((info.keys, info.taken, info.refused), (1, 2, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Rates {
    pub(crate) buckets: Buckets,
    pub(crate) open: AtomicBool,
    /// Held while names come and go, and change.
    pub(crate) defining: Mutex<()>,
    pub(crate) turn: AtomicU64,
    /// This node's share of what nodes share, where nothing else is said yet.
    pub(crate) base: AtomicU64,
    pub(crate) most: usize,
}

/// What comes of taking. [`Rates`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was taken.
    Taken {
        /// How much is left.
        remaining: u64,
    },
    /// There is not as much.
    Refused(Refused),
    /// There is never as much.
    CostExceedsBurst(u64),
}

/// What there is, and of what rate. [`Rates`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The rate as it is defined.
    pub rate: Rate,
    /// What there is, and when there is more.
    pub short: Short,
}

impl std::fmt::Display for NotDefined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no such rate")
    }
}

impl std::error::Error for NotDefined {}

/// The rule in force for a key and its arrival time, or just the rule if there is no room for the key.
pub(crate) type Known = Result<(Kept<Rule>, u64), Kept<Rule>>;

/// What there is for a key that has no bucket.
enum Absent {
    /// There is one now.
    Made,
    /// It is to look there.
    Shared(Address),
    Not(Result<Answer, NotDefined>),
}

impl Rates {
    /// Has no names, and is not open.
    #[must_use]
    pub fn new() -> Self {
        Self::with_room(MAX_RATES)
    }

    /// The same with room for so many names.
    #[must_use]
    pub fn with_room(most: usize) -> Self {
        Self {
            most,
            buckets: Buckets::new(),
            open: AtomicBool::new(false),
            defining: Mutex::new(()),
            turn: AtomicU64::new(0),
            base: AtomicU64::new(WHOLE),
        }
    }

    /// Whether it is open; what asks a rate is to look first.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// The address of a key: bytes, behind a tag that is not 0.
    pub fn address(&self, name: u64, tag: u8, key: &[u8]) -> Address {
        self.seek(name, tag, key).address()
    }

    /// The same where nothing is to be copied.
    #[inline(always)]
    pub fn seek<'k>(&self, name: u64, tag: u8, key: &'k [u8]) -> Seek<'k> {
        self.buckets.addresses.seek(name, tag, key)
    }

    /// Takes `cost`, if there is as much.
    ///
    /// # Errors
    ///
    /// If there is no such rate.
    pub fn take(&self, address: &Address, cost: u64, now_ns: u64) -> Result<Answer, NotDefined> {
        let taken = |remaining| Ok(Answer::Taken { remaining });
        self.take_of(address.seek(), cost, now_ns, taken, |answer| answer)
    }

    /// The same of a key that is somebody else's. What was found is told where it is known: an answer would be copied
    /// on its way back.
    ///
    /// ```
    /// use erlmcp_core::NotDefined;
    /// use erlmcp_core::rates::Rates;
    ///
    /// let (rates, key) = (Rates::new(), b"tenant");
    /// let at = rates.seek(7, 1, key);
    /// assert_eq!(at.address(), rates.address(7, 1, key));
    /// assert!(!rates.take_of(at, 1, 0, |_remaining| true, |not| not != Err(NotDefined)));
    /// ```
    #[inline(always)]
    pub fn take_of<R>(
        &self,
        at: Seek<'_>,
        cost: u64,
        now_ns: u64,
        taken: impl Fn(u64) -> R,
        not: impl Fn(Result<Answer, NotDefined>) -> R,
    ) -> R {
        let take = |bucket: &Bucket| {
            let Bucket { word, rule } = bucket;
            match word.take(rule.law(), cost, now_ns)? {
                Ok(Taken { remaining, .. }) => {
                    rule.limit.count_taken(cost);
                    Ok::<_, Gone>(taken(remaining))
                }
                Err(short) => Ok(not(Ok(refuse(rule, cost, short)))),
            }
        };
        self.buckets.with(at, take, || match self.absent(at, cost) {
            Absent::Made => None,
            Absent::Shared(shared) => Some(match self.take(&shared, cost, now_ns) {
                Ok(Answer::Taken { remaining }) => taken(remaining),
                otherwise => not(otherwise),
            }),
            Absent::Not(answer) => Some(not(answer)),
        })
    }

    #[cold]
    fn absent(&self, at: Seek<'_>, cost: u64) -> Absent {
        let address = &at.address();
        Absent::Not(match self.buckets.room(address) {
            Ok(Room::Own(rule)) if cost > rule.law().rate().burst => {
                Ok(refuse(&rule, cost, overfull()))
            }
            Ok(Room::Own(rule)) => {
                self.buckets.make(address, rule);
                return Absent::Made;
            }
            Ok(Room::Shared(shared)) => return Absent::Shared(shared),
            Ok(Room::None(rule)) => Ok(refuse(&rule, cost, overfull())),
            Err(NotDefined) => Err(NotDefined),
        })
    }

    /// What [`take`](Self::take) of 1 would answer now. It changes nothing.
    ///
    /// # Errors
    ///
    /// If there is no such rate.
    pub fn peek(&self, address: &Address, now_ns: u64) -> Result<Answer, NotDefined> {
        let (rule, arrival) = match self.look(address)? {
            Ok(found) => found,
            Err(rule) => return Ok(Answer::Refused(refused(&rule, overfull()))),
        };
        Ok(match rule.law().take(arrival, 1, now_ns) {
            Ok(Taken { remaining, .. }) => Answer::Taken { remaining },
            Err(short) => Answer::Refused(refused(&rule, short)),
        })
    }

    /// What is known of a key.
    pub(crate) fn look(&self, address: &Address) -> Result<Known, NotDefined> {
        let read = |bucket: &Bucket| {
            let arrival = bucket.word.read()?;
            Ok::<_, Gone>(Some((Kept::clone(&bucket.rule), arrival)))
        };
        let at = |address: &Address| self.buckets.with(address.seek(), read, || Some(None));
        if let Some(found) = at(address) {
            return Ok(Ok(found));
        }
        Ok(match self.buckets.room(address)? {
            Room::Own(rule) => Ok((rule, 0)),
            Room::None(rule) => Err(rule),
            Room::Shared(shared) => match at(&shared) {
                Some(found) => Ok(found),
                None => Ok((self.buckets.rule(address.name())?, 0)),
            },
        })
    }

    /// Gives back, at most to full.
    ///
    /// # Errors
    ///
    /// If there is no such rate.
    pub fn give_back(&self, address: &Address, cost: u64) -> Result<(), NotDefined> {
        let back = |bucket: &Bucket| bucket.word.give_back(bucket.rule.law(), cost);
        self.put_right(address, back)
    }

    /// Fills a key's bucket.
    ///
    /// # Errors
    ///
    /// If there is no such rate.
    pub fn reset(&self, address: &Address) -> Result<(), NotDefined> {
        self.put_right(address, |bucket| bucket.word.reset())
    }

    fn put_right(
        &self,
        address: &Address,
        operation: impl Fn(&Bucket) -> Result<(), Gone>,
    ) -> Result<(), NotDefined> {
        let found = |bucket: &Bucket| operation(bucket).map(|()| true);
        if !self.buckets.with(address.seek(), found, || Some(false))
            && let Room::Shared(shared) = self.buckets.room(address)?
        {
            self.buckets.with(shared.seek(), found, || Some(false));
        }
        Ok(())
    }

    /// About how many bytes all of it takes.
    pub fn memory(&self) -> usize {
        self.buckets.memory()
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self::new()
    }
}

#[cold]
pub(crate) fn refuse(rule: &Rule, cost: u64, short: Short) -> Answer {
    let Definition { scope, law, .. } = &rule.definition;
    // A share that is too small for it may grow; of what is above the whole burst no node is to have more for it.
    if *scope == Scope::Cluster && cost <= law.rate().burst {
        rule.limit.count_denied(cost);
    }
    let burst = rule.law().rate().burst;
    if cost > burst {
        return Answer::CostExceedsBurst(burst);
    }
    rule.limit.count_refused();
    Answer::Refused(refused(rule, short))
}

fn refused(rule: &Rule, short: Short) -> Refused {
    Refused {
        rate: *rule.definition.law.rate(),
        short,
    }
}

/// Of a key for which there is no room.
pub(crate) fn overfull() -> Short {
    Short {
        remaining: 0,
        retry_ns: FORGETTING_NS,
        reset_ns: FORGETTING_NS,
    }
}
