//! Rates that all nodes of a cluster have together: how much is asked of them here, and this node's share of each.
//!
//! A share is a law, and a changed share a changed rule, as if the rate were defined anew. But nobody looks all buckets
//! through for it, since it may come once a second: whoever finds a bucket puts it under the new law. That may be after
//! several changes, and is no different then, since buckets of all shares fill in the same time.

use crate::rates::Rates;
use crate::rule::Limit;
use crate::share::{Scope, Share};
use crate::sync::{Kept, Ordering};

/// What is asked of a rate.
///
/// ```
/// use erlmcp_core::gcra::{Law, Rate};
/// use erlmcp_core::rates::{Definition, Overflow, Rates};
/// use erlmcp_core::share::Scope;
///
/// let rates = Rates::new();
/// let law = Law::new(Rate { number: 1, period_ns: 1_000_000_000, burst: 5 })?;
/// let definition = Definition { law, max_keys: 9, overflow: Overflow::Share, scope: Scope::Cluster };
/// rates.define(7, definition, true, || 0)?;
/// let key = rates.address(7, 1, b"tenant");
/// (rates.take(&key, 3, 0)?, rates.take(&key, 4, 0)?);
/// assert_eq!((rates.shared()[0].name, rates.shared()[0].asked), (7, 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Its name.
    pub name: u64,
    /// What was asked for since it was first defined, costs added up, whether it was granted or not, and whether or not
    /// it is more than this share ever has at once. A cost above the burst of the whole is not in it. It wraps.
    pub asked: u64,
    /// This node's share.
    pub share: Share,
}

impl Rates {
    /// The rates that all nodes have together, in no order.
    pub fn shared(&self) -> Vec<Shared> {
        let names = self.buckets.names().pin();
        let of = |(name, limit): (&u64, &Kept<Limit>)| {
            let rule = limit.current()?;
            (rule.definition.scope == Scope::Cluster).then(|| Shared {
                name: *name,
                asked: limit.asked(),
                share: rule.share,
            })
        };
        names.iter().filter_map(of).collect()
    }

    /// Sets this node's shares of such rates, by name, and the share that it has of one that is defined from now on.
    /// Other names are passed over. What each key has used stays in proportion.
    ///
    /// ```
    /// use erlmcp_core::gcra::{Law, Rate};
    /// use erlmcp_core::rates::{Answer, Definition, Overflow, Rates};
    /// use erlmcp_core::share::{Scope, Share, WHOLE};
    ///
    /// let rates = Rates::new();
    /// let law = Law::new(Rate { number: 10, period_ns: 1_000_000_000, burst: 10 })?;
    /// let definition = Definition { law, max_keys: 9, overflow: Overflow::Share, scope: Scope::Cluster };
    /// rates.set_shares(&[], Share::new(WHOLE / 2), || 0);
    /// rates.define(7, definition, true, || 0)?;
    /// let key = rates.address(7, 1, b"tenant");
    /// assert_eq!(rates.take(&key, 1, 0)?, Answer::Taken { remaining: 4 });
    /// rates.set_shares(&[(7, Share::ALL)], Share::ALL, || 0);
    /// assert_eq!(rates.take(&key, 1, 0)?, Answer::Taken { remaining: 7 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_shares(&self, shares: &[(u64, Share)], base: Share, now_ns: impl Fn() -> u64) {
        let _defining = self.defining.lock();
        self.base.store(base.parts(), Ordering::Relaxed);
        let names = self.buckets.names().pin();
        for (name, share) in shares {
            if let Some(limit) = names.get(name) {
                Limit::share(limit, *share, now_ns());
            }
        }
    }

    /// This node's share of a rate that is defined now.
    pub(crate) fn base(&self) -> Share {
        Share::new(self.base.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::defining::{MAX_SHARED, TooManyRates};
    use crate::gcra::{Law, Rate};
    use crate::rates::{Answer, Definition, Overflow};
    use crate::share::WHOLE;
    use crate::together::{All, Ask};

    const SECOND: u64 = 1_000_000_000;
    const NAME: u64 = 7;

    fn definition(number: u64, scope: Scope) -> Definition {
        let rate = Rate {
            number,
            period_ns: SECOND,
            burst: number,
        };
        Definition {
            law: Law::new(rate).unwrap(),
            max_keys: 1_000,
            overflow: Overflow::Share,
            scope,
        }
    }

    fn define(rates: &Rates, name: u64, definition: Definition) -> Result<(), TooManyRates> {
        rates.define(name, definition, true, || 0)
    }

    fn shared(number: u64) -> Rates {
        let rates = Rates::new();
        define(&rates, NAME, definition(number, Scope::Cluster)).unwrap();
        rates
    }

    fn left(rates: &Rates, now_ns: u64) -> u64 {
        match rates.peek(&rates.address(NAME, 1, b"key"), now_ns) {
            Ok(Answer::Taken { remaining }) => remaining + 1,
            Ok(_) => 0,
            Err(_) => unreachable!("it is defined"),
        }
    }

    fn only(rates: &Rates) -> Shared {
        rates.shared().pop().unwrap()
    }

    fn half() -> Share {
        Share::new(WHOLE / 2)
    }

    #[test]
    fn a_share_is_of_those_that_are_shared() {
        let rates = Rates::new();
        define(&rates, NAME, definition(10, Scope::Node)).unwrap();
        rates.set_shares(&[(NAME, half()), (8, half())], half(), || 0);
        assert_eq!((left(&rates, 0), rates.shared()), (10, vec![]));
        define(&rates, NAME, definition(10, Scope::Cluster)).unwrap();
        assert_eq!((left(&rates, 0), only(&rates).share), (5, half()));
        define(&rates, NAME, definition(10, Scope::Node)).unwrap();
        assert_eq!(left(&rates, 0), 10);
    }

    #[test]
    fn a_rate_that_is_changed_keeps_its_share() {
        let rates = shared(10);
        rates.set_shares(&[(NAME, half())], Share::ALL, || 0);
        define(&rates, NAME, definition(20, Scope::Cluster)).unwrap();
        assert_eq!(left(&rates, 0), 10);
    }

    #[test]
    fn what_is_used_stays_used_over_any_number_of_changes() {
        let rates = shared(100);
        let key = rates.address(NAME, 1, b"key");
        assert_eq!(rates.take(&key, 60, 0), Ok(Answer::Taken { remaining: 40 }));
        for parts in [2, 5, 10, 4] {
            rates.set_shares(&[(NAME, Share::new(WHOLE / parts))], Share::ALL, || {
                SECOND / 10
            });
        }
        // After 100 ms half is free, of a quarter of 100.
        assert_eq!(left(&rates, SECOND / 10), 12);
        rates.set_shares(&[(NAME, Share::ALL)], Share::ALL, || SECOND / 10);
        assert_eq!(left(&rates, SECOND / 10), 50);
    }

    #[test]
    fn refusals_say_the_whole_rate_and_count_as_asked_for() {
        let rates = shared(10);
        rates.set_shares(&[(NAME, half())], Share::ALL, || 0);
        let key = rates.address(NAME, 1, b"key");
        assert_eq!(rates.take(&key, 5, 0), Ok(Answer::Taken { remaining: 0 }));
        let Ok(Answer::Refused(refused)) = rates.take(&key, 2, 0) else {
            unreachable!("all is taken")
        };
        assert_eq!((refused.rate.number, refused.rate.period_ns), (10, SECOND));
        assert_eq!(refused.short.retry_ns, 400_000_000);
        assert_eq!(rates.take(&key, 6, 0), Ok(Answer::CostExceedsBurst(5)));
        assert_eq!(only(&rates).asked, 13);
        let info = rates.info(NAME, 0).unwrap();
        assert_eq!((info.definition.law.rate().burst, info.share), (10, half()));
    }

    /// Else a node of which nothing else is asked would never have the share for it.
    #[test]
    fn what_is_more_than_the_share_is_asked_for_and_what_is_more_than_the_whole_is_not() {
        let rates = shared(10);
        rates.set_shares(&[(NAME, half())], Share::ALL, || 0);
        let [new, known] = [b"new", b"old"].map(|key| rates.address(NAME, 1, key));
        let _ = rates.take(&known, 1, 0);
        let ask = |address: &Address, cost| Ask {
            address: address.clone(),
            cost,
        };
        let all = |asks: &[Ask]| rates.take_all(asks, || 0);
        let mut asked = 1;
        for address in [&new, &known] {
            let exceeds = Answer::CostExceedsBurst(5);
            assert_eq!(rates.take(address, 6, 0), Ok(exceeds));
            assert_eq!(all(&[ask(address, 10)]), All::Not(0, exceeds));
            asked += 16;
            assert_eq!(only(&rates).asked, asked);
            assert_eq!(rates.take(address, 11, 0), Ok(exceeds));
            assert_eq!(rates.take(address, u64::MAX, 0), Ok(exceeds));
            let twice = [ask(address, 4), ask(address, 7)];
            assert_eq!(all(&twice), All::Not(1, exceeds));
            assert_eq!(only(&rates).asked, asked);
        }
        let info = rates.info(NAME, 0).unwrap();
        assert_eq!((info.keys, info.taken, info.refused), (1, 1, 0));
    }

    #[test]
    fn no_more_are_shared_than_may_be() {
        let rates = Rates::new();
        let most = MAX_SHARED as u64;
        (0..most).for_each(|name| define(&rates, name, definition(1, Scope::Cluster)).unwrap());
        let one_more = define(&rates, most, definition(1, Scope::Cluster));
        assert_eq!(one_more, Err(TooManyRates));
        define(&rates, most, definition(1, Scope::Node)).unwrap();
        let changed = define(&rates, most, definition(1, Scope::Cluster));
        assert_eq!(changed, Err(TooManyRates));
        assert_eq!(rates.shared().len(), MAX_SHARED);
        define(&rates, 0, definition(2, Scope::Cluster)).unwrap();
        let configured = [(most + 1, definition(1, Scope::Cluster))];
        assert_eq!(rates.configure(&configured, || 0), Err(TooManyRates));
        rates.undefine(0);
        assert_eq!(rates.configure(&configured, || 0), Ok(()));
    }
}
