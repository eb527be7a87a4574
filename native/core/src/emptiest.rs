//! Whose buckets are emptiest: who is refused just now, or will be next. Looking changes nothing.

use crate::address::Address;
use crate::buckets::NotDefined;
use crate::gcra::Short;
use crate::rates::Rates;
use crate::sync::Kept;

/// The buckets that most was taken of, and how many are empty.
///
/// ```
/// use erlmcp_core::gcra::{Law, Rate};
/// use erlmcp_core::rates::{Definition, Overflow, Rates};
/// use erlmcp_core::share::Scope;
///
/// let rates = Rates::new();
/// let law = Law::new(Rate { number: 1, period_ns: 1_000, burst: 2 })?;
/// rates.define(7, Definition { law, max_keys: 9, overflow: Overflow::Share, scope: Scope::Node }, true, || 0)?;
/// let (one, other) = (rates.address(7, 1, b"one"), rates.address(7, 1, b"other"));
/// (rates.take(&one, 1, 0)?, rates.take(&other, 2, 0)?);
/// let emptiest = rates.emptiest(7, 1, 0)?;
/// assert_eq!(emptiest.empty, 1);
/// assert_eq!(emptiest.first[0].0, other);
/// assert_eq!((emptiest.first[0].1.remaining, emptiest.first[0].1.retry_ns), (0, 1_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emptiest {
    /// How many buckets have less than one left.
    pub empty: u64,
    /// The emptiest first: what is left, when there is one, and when all.
    pub first: Vec<(Address, Short)>,
}

impl Rates {
    /// Looks at every bucket of every rate for the emptiest of this one, as many as asked for.
    ///
    /// # Errors
    ///
    /// If there is no such rate.
    pub fn emptiest(&self, name: u64, most: usize, now_ns: u64) -> Result<Emptiest, NotDefined> {
        let rule = self.buckets.rule(name)?;
        let mut found = Emptiest::default();
        self.buckets.for_each(|address, bucket| {
            if address.name() != name || !Kept::ptr_eq(&bucket.rule, &rule) {
                return;
            }
            let Ok(arrival) = bucket.word.read() else {
                return;
            };
            let law = rule.law();
            let mut short = law.state(arrival, now_ns);
            match law.take(arrival, 1, now_ns) {
                Ok(_) => short.retry_ns = 0,
                Err(refused) => {
                    short.retry_ns = refused.retry_ns;
                    found.empty = found.empty.saturating_add(1);
                }
            }
            found.put(address, short, most);
        });
        Ok(found)
    }
}

impl Emptiest {
    fn put(&mut self, address: &Address, short: Short, most: usize) {
        let emptier = |(_, other): &(Address, Short)| other.reset_ns >= short.reset_ns;
        let place = self.first.partition_point(emptier);
        if short.reset_ns > 0 && place < most {
            self.first.truncate(most.saturating_sub(1));
            self.first.insert(place, (address.clone(), short));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::gcra::{Law, Rate};
    use crate::rates::{Definition, Overflow};
    use crate::share::Scope;

    fn rates(names: &[u64]) -> Rates {
        let rates = Rates::new();
        for name in names {
            let law = Law::new(Rate {
                number: 1,
                period_ns: 1_000,
                burst: 100,
            });
            let definition = Definition {
                law: law.unwrap(),
                max_keys: 1_000,
                overflow: Overflow::Share,
                scope: Scope::Node,
            };
            rates.define(*name, definition, true, || 0).unwrap();
        }
        rates
    }

    #[test]
    fn the_emptiest_come_first_and_those_of_others_never() {
        let rates = rates(&[1, 2]);
        for (name, key, cost) in [(1, b"a", 3), (1, b"b", 100), (1, b"c", 50), (2, b"d", 100)] {
            rates.take(&rates.address(name, 1, key), cost, 0).unwrap();
        }
        let emptiest = rates.emptiest(1, 2, 0).unwrap();
        let shown = emptiest.first.iter();
        let shown: Vec<_> = shown
            .map(|(address, short)| (address.key().bytes(), short.remaining, short.retry_ns))
            .collect();
        assert_eq!(shown, [(&b"b"[..], 0, 1_000), (b"c", 50, 0)]);
        assert_eq!(emptiest.empty, 1);
        assert_eq!(rates.emptiest(1, 0, 0).unwrap().first, []);
        assert_eq!(rates.emptiest(3, 1, 0), Err(NotDefined));
    }

    #[test]
    fn what_is_full_again_is_left_out() {
        let rates = rates(&[1]);
        rates.take(&rates.address(1, 1, b"a"), 3, 0).unwrap();
        assert_eq!(rates.emptiest(1, 9, 3_000), Ok(Emptiest::default()));
    }
}
