//! Taking of several buckets at once: all, or nothing.
//!
//! First it looks, and is refused without a trace if one of them has not as much. Else it holds them, in the order of
//! their addresses, so that no two wait for each other; looks again, and changes all or none before it lets go of any.
//! Nobody ever finds one of them changed and another not.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::address::Address;
use crate::bucket::{Gone, Hold};
use crate::buckets::{Bucket, NotDefined, Room};
use crate::rates::{Answer, Rates, overfull, refuse};
use crate::rule::Rule;
use crate::sync::Kept;

/// So much is asked for of one key. [`All`] has an example.
pub struct Ask {
    /// The key.
    pub address: Address,
    /// How much, from 1.
    pub cost: u64,
}

/// What comes of taking of several.
///
/// ```
/// use erlmcp_core::gcra::{Law, Rate};
/// use erlmcp_core::rates::{Answer, Definition, Overflow, Rates};
/// use erlmcp_core::share::Scope;
/// use erlmcp_core::together::{All, Ask};
///
/// let law = Law::new(Rate { number: 1, period_ns: 1_000, burst: 1 })?;
/// let definition = Definition { law, max_keys: 9, overflow: Overflow::Refuse, scope: Scope::Node };
/// let rates = Rates::new();
/// rates.define(7, definition, true, || 0)?;
/// let of = |keys: [&[u8]; 2]| keys.map(|key| Ask { address: rates.address(7, 1, key), cost: 1 });
/// assert_eq!(rates.take_all(&of([b"a", b"b"]), || 0), All::Taken);
/// assert!(matches!(rates.take_all(&of([b"c", b"b"]), || 0), All::Not(1, Answer::Refused(_))));
/// assert_eq!(rates.take(&rates.address(7, 1, b"c"), 1, 0)?, Answer::Taken { remaining: 0 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum All {
    /// All was taken.
    Taken,
    /// Nothing was: this is the first that refuses, counted from 0, and what it says.
    Not(usize, Answer),
    /// Nothing was: this is the first, counted from 0, of a rate that there is not.
    NotDefined(usize),
}

/// Some bucket is not what it was: all is to be looked up anew.
struct Again;

impl Rates {
    /// Takes of all, or of none. What is asked for twice of one key is asked for in sum. Who is refused first is found
    /// out in the order of the list.
    pub fn take_all(&self, asks: &[Ask], now_ns: impl Fn() -> u64) -> All {
        if let Err(not) = self.look_at(asks, now_ns()) {
            return not;
        }
        loop {
            match self.resolved(asks) {
                Ok(addresses) => {
                    if let Ok(all) = self.take_held(asks, &addresses, &now_ns) {
                        return all;
                    }
                }
                Err(not) => return not,
            }
        }
    }

    /// Writes nothing.
    fn look_at(&self, asks: &[Ask], now_ns: u64) -> Result<(), All> {
        // Of a key that is asked for twice what was found first: there may be another rate by then.
        let mut seen: BTreeMap<&Address, (Kept<Rule>, u64, u64)> = BTreeMap::new();
        for (place, Ask { address, cost }) in asks.iter().enumerate() {
            let (rule, arrival, sum) = match seen.entry(address) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let found = self.look(address).map_err(|_| All::NotDefined(place))?;
                    match found {
                        Ok((rule, arrival)) => new.insert((rule, arrival, 0)),
                        Err(rule) => {
                            return Err(All::Not(place, refuse(&rule, *cost, overfull())));
                        }
                    }
                }
            };
            *sum = sum.saturating_add(*cost);
            if let Err(short) = rule.law().take(*arrival, *sum, now_ns) {
                return Err(All::Not(place, refuse(rule, *sum, short)));
            }
        }
        Ok(())
    }

    /// The addresses of the buckets that are asked, which are there now.
    fn resolved(&self, asks: &[Ask]) -> Result<Vec<Address>, All> {
        asks.iter()
            .enumerate()
            .map(
                |(place, Ask { address, cost })| match self.existing(address) {
                    Ok(Room::Own(_)) => Ok(address.clone()),
                    Ok(Room::Shared(shared)) => self
                        .existing(&shared)
                        .map(|_| shared)
                        .map_err(|_| All::NotDefined(place)),
                    Ok(Room::None(rule)) => Err(All::Not(place, refuse(&rule, *cost, overfull()))),
                    Err(NotDefined) => Err(All::NotDefined(place)),
                },
            )
            .collect()
    }

    /// Makes the bucket of an address unless there is one, if there is room.
    fn existing(&self, address: &Address) -> Result<Room, NotDefined> {
        let found = |bucket: &Bucket| {
            // One that is gone is to be taken out by whoever finds it.
            let _ = bucket.word.read()?;
            Ok::<_, Gone>(Ok(Room::Own(Kept::clone(&bucket.rule))))
        };
        self.buckets
            .with(address.seek(), found, || match self.buckets.room(address) {
                Ok(Room::Own(rule)) => {
                    self.buckets.make(address, rule);
                    None
                }
                other => Some(other),
            })
    }

    fn take_held(
        &self,
        asks: &[Ask],
        addresses: &[Address],
        now_ns: impl Fn() -> u64,
    ) -> Result<All, Again> {
        let mut order: Vec<&Address> = addresses.iter().collect();
        order.sort_unstable();
        order.dedup();
        let shards: Vec<_> = order
            .iter()
            .map(|address| self.buckets.shard(address.seek()).pin())
            .collect();
        let mut held: Vec<Held<'_>> = Vec::with_capacity(order.len());
        for (address, shard) in order.iter().zip(&shards) {
            let bucket = shard.get(*address).ok_or(Again)?;
            let hold = bucket.word.hold().map_err(|Gone| Again)?;
            let next = hold.arrival();
            held.push(Held {
                bucket,
                hold,
                next,
                sum: 0,
            });
        }
        if held.iter().any(|held| held.bucket.rule.is_retired()) {
            return Err(Again);
        }
        let now_ns = now_ns();
        for (place, (ask, address)) in asks.iter().zip(addresses).enumerate() {
            let found = order.binary_search(&address).map_err(|_| Again)?;
            let held = held.get_mut(found).ok_or(Again)?;
            let rule = &held.bucket.rule;
            held.sum = held.sum.saturating_add(ask.cost);
            match rule.law().take(held.hold.arrival(), held.sum, now_ns) {
                Ok(taken) => held.next = taken.arrival,
                Err(short) => {
                    // Keys that share a bucket may ask for more together than it ever has, which none of them does.
                    let short = if held.sum > rule.law().rate().burst {
                        overfull()
                    } else {
                        short
                    };
                    let alike = asks.iter().take(place.saturating_add(1));
                    let alike = alike.filter(|other| other.address == ask.address);
                    let sum = alike.map(|ask| ask.cost).fold(0, u64::saturating_add);
                    return Ok(All::Not(place, refuse(rule, sum, short)));
                }
            }
        }
        for Held {
            bucket,
            hold,
            next,
            sum,
        } in &mut held
        {
            hold.set(*next);
            bucket.rule.limit.count_taken(*sum);
        }
        Ok(All::Taken)
    }
}

struct Held<'b> {
    bucket: &'b Bucket,
    hold: Hold<'b>,
    /// The arrival time once all is taken.
    next: u64,
    sum: u64,
}
