//! The buckets of all rates, in shards as owners are: found, made, renewed under another law, forgotten.
//!
//! A bucket belongs to the rule under which it was last changed, and has a word that is in the units of its law. Where
//! that rule is retired, whoever finds the bucket puts a new one in its place, with what was used of the old one in
//! proportion. It holds the old one meanwhile, and leaves it gone: nobody changes that any more who has found it
//! before, and none is replaced twice.

use crate::address::{Address, Addresses, Seek};
use crate::bucket::{Gone, Word};
use crate::map::{self, Map};
use crate::rule::{Limit, Overflow, Rule};
use crate::sync::{AtomicU64, Kept, Ordering};

/// A model has one, since hashes differ from run to run.
const SHARD_BITS: u32 = if cfg!(loom) { 0 } else { 6 };
const SHARDS: usize = 1 << SHARD_BITS;
/// How much each thread takes out before it is freed.
const BATCH: usize = 32;
/// Where so many have been looked at, others have their turn.
const AT_ONCE: usize = 8_192;

pub(crate) type Shard = Map<Address, Bucket>;

#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) word: Word,
    pub(crate) rule: Kept<Rule>,
}

pub(crate) struct Buckets {
    shards: Box<[Shard; SHARDS]>,
    pub(crate) addresses: Addresses,
    /// How many bytes long keys have elsewhere.
    heap: AtomicU64,
    names: Map<u64, Kept<Limit>>,
}

/// No rate has this name.
///
/// ```
/// use erlmcp_core::NotDefined;
/// use erlmcp_core::rates::Rates;
///
/// let rates = Rates::new();
/// assert_eq!(rates.take(&rates.address(7, 1, b"key"), 1, 0), Err(NotDefined));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotDefined;

/// Where a key that has no bucket of its own may have one.
pub(crate) enum Room {
    /// As new, full.
    Own(Kept<Rule>),
    /// It shares one with others.
    Shared(Address),
    /// It is refused.
    None(Kept<Rule>),
}

impl Buckets {
    pub(crate) fn new() -> Self {
        Self {
            shards: Box::new(map::together(BATCH)),
            addresses: Addresses::default(),
            heap: AtomicU64::new(0),
            names: map::new(),
        }
    }

    pub(crate) fn names(&self) -> &Map<u64, Kept<Limit>> {
        &self.names
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "so many bits are below so many shards"
    )]
    #[inline]
    pub(crate) fn shard(&self, at: Seek<'_>) -> &Shard {
        // The lowest bits; which place of a shard it has is said by others.
        &self.shards[at.spread() as usize & (SHARDS - 1)]
    }

    /// The rule in force of a name.
    pub(crate) fn rule(&self, name: u64) -> Result<Kept<Rule>, NotDefined> {
        let names = self.names.pin();
        let limit = names.get(&name).ok_or(NotDefined)?;
        limit.current().ok_or(NotDefined)
    }

    /// Runs `operation` on the bucket of an address as often as it takes until it finds it; what `absent` says if there
    /// is none, and `None` to look again.
    #[inline(always)]
    pub(crate) fn with<R>(
        &self,
        at: Seek<'_>,
        operation: impl Fn(&Bucket) -> Result<R, Gone>,
        absent: impl Fn() -> Option<R>,
    ) -> R {
        loop {
            let shard = self.shard(at).pin();
            if let Some(bucket) = shard.get(&at.sought()) {
                if bucket.rule.is_retired() {
                    self.renew(&at.address(), bucket);
                } else {
                    match operation(bucket) {
                        Ok(result) => return result,
                        Err(Gone) => self.take_out(&at.address(), bucket),
                    }
                }
            } else if let Some(result) = absent() {
                return result;
            }
        }
    }

    /// Where a key without a bucket of its own may have one.
    pub(crate) fn room(&self, address: &Address) -> Result<Room, NotDefined> {
        let rule = self.rule(address.name())?;
        let definition = &rule.definition;
        if address.is_shared() || rule.limit.keys() < definition.max_keys {
            return Ok(Room::Own(rule));
        }
        Ok(match definition.overflow {
            Overflow::Share => Room::Shared(self.addresses.shared(address.name())),
            Overflow::Refuse => Room::None(rule),
        })
    }

    /// Makes a bucket that is full, if there is none and there is room.
    pub(crate) fn make(&self, address: &Address, rule: Kept<Rule>) {
        let limit = Kept::clone(&rule.limit);
        if !address.is_shared() && !limit.reserve(rule.definition.max_keys) {
            return;
        }
        let word = Word::new(0);
        let shard = self.shard(address.seek()).pin();
        let made = shard.try_insert(address.clone(), Bucket { word, rule });
        if made.is_ok() {
            self.note(address, AtomicU64::fetch_add);
        } else if !address.is_shared() {
            limit.release();
        }
    }

    /// Puts a bucket of a rule that is retired under the one in force, or takes it out if there is none.
    #[cold]
    pub(crate) fn renew(&self, address: &Address, bucket: &Bucket) {
        let Ok(mut hold) = bucket.word.hold() else {
            return self.take_out(address, bucket);
        };
        match bucket.rule.limit.current() {
            Some(rule) => {
                let law = bucket.rule.law();
                let arrival = law.convert(hold.arrival(), rule.law(), rule.since_ns);
                let word = Word::new(arrival);
                let shard = self.shard(address.seek()).pin();
                shard.insert(address.clone(), Bucket { word, rule });
                hold.end();
            }
            None => {
                hold.end();
                drop(hold);
                self.take_out(address, bucket);
            }
        }
    }

    /// Takes out a bucket that is gone, unless there is another in its place.
    #[cold]
    pub(crate) fn take_out(&self, address: &Address, bucket: &Bucket) {
        if !map::remove_this(self.shard(address.seek()), address, bucket) {
            return;
        }
        self.note(address, AtomicU64::fetch_sub);
        if !address.is_shared() {
            bucket.rule.limit.release();
        }
    }

    /// A key has come, or is gone; nothing is written of one that is short.
    fn note(&self, address: &Address, change: impl Fn(&AtomicU64, u64, Ordering) -> u64) {
        let heap = address.heap();
        if heap > 0 {
            change(&self.heap, heap, Ordering::Relaxed);
        }
    }

    /// Shows every bucket, and its address.
    pub(crate) fn for_each(&self, mut see: impl FnMut(&Address, &Bucket)) {
        self.shards
            .iter()
            .for_each(|shard| each_of(shard, &mut see));
    }

    /// Forgets those that are full, and puts others right that nobody has found since their rule was retired: of so
    /// many shards, from this one on, that some thousand are looked at. Returns where to go on.
    pub(crate) fn tidy(&self, from: usize, now_ns: u64) -> Option<usize> {
        let mut looked_at = 0_usize;
        for (number, shard) in self.shards.iter().enumerate().skip(from) {
            if looked_at >= AT_ONCE {
                return Some(number);
            }
            looked_at = looked_at.saturating_add(shard.len());
            each_of(shard, |address, bucket| {
                if bucket.rule.is_retired() {
                    self.renew(address, bucket);
                } else if bucket.word.go_if_full(bucket.rule.law(), now_ns) {
                    self.take_out(address, bucket);
                }
            });
            map::tidy(shard);
        }
        None
    }

    /// About how many bytes all of them take.
    pub(crate) fn memory(&self) -> usize {
        // An allocation has a header, and is a multiple of 16 bytes; a slot of a table has nine.
        const EACH: usize = (size_of::<(Address, Bucket)>() + 8).next_multiple_of(16);
        const SLOT: usize = 9;
        let bytes = |shard: &Shard| {
            let keys = shard.len();
            let slots = keys.saturating_mul(4).div_ceil(3);
            let slots = slots.checked_next_power_of_two().unwrap_or(slots);
            keys.saturating_mul(EACH)
                .saturating_add(slots.saturating_mul(SLOT))
        };
        // What one thread adds and another takes away may be less than nothing for a moment.
        let heap = self.heap.load(Ordering::Relaxed).cast_signed();
        self.shards
            .iter()
            .map(bytes)
            .fold(size_of::<Self>(), usize::saturating_add)
            .saturating_add(usize::try_from(heap).unwrap_or(0))
    }
}

fn each_of(shard: &Shard, mut see: impl FnMut(&Address, &Bucket)) {
    let shard = shard.pin();
    shard
        .iter()
        .for_each(|(address, bucket)| see(address, bucket));
}
