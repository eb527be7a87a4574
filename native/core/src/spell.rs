//! A count that is looked at about once a second: how fast it grows, since when, and when it last did. Whoever counts
//! writes nothing for that.

use crate::rate::Rate;
use crate::sync::Mutex;

/// What stands still for longer has ended.
const PAUSE_MS: u64 = 10_000;

/// How a count has grown. Times are those of the looks that found it so, up to a second late.
///
/// ```
/// use erlmcp_core::gcra::{Law, Rate};
/// use erlmcp_core::rates::{Definition, Overflow, Rates};
/// use erlmcp_core::share::Scope;
///
/// let rates = Rates::new();
/// let law = Law::new(Rate { number: 1, period_ns: 60_000_000_000, burst: 1 })?;
/// rates.define(7, Definition { law, max_keys: 9, overflow: Overflow::Share, scope: Scope::Node }, true, || 0)?;
/// let key = rates.address(7, 1, b"tenant");
/// let ask = |now_ns| rates.take(&key, 1, now_ns);
/// (ask(0)?, ask(0)?, ask(1)?);
/// let Some(info) = rates.info(7, 2_000_000_000) else { panic!() };
/// assert_eq!((info.refused, info.refusals.per_s), (2, 1.0));
/// assert_eq!((info.refusals.since_ms_ago, info.refusals.last_ms_ago), (Some(0), Some(0)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// How much a second, over the last ten.
    pub per_s: f64,
    /// For how many milliseconds it has grown without a pause of ten seconds; none if it does not.
    pub since_ms_ago: Option<u64>,
    /// How many milliseconds ago it last grew; none if it never did.
    pub last_ms_ago: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Spell {
    rate: Rate,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    count: u64,
    since_ms: u64,
    last_ms: Option<u64>,
}

impl Spell {
    /// Of a count that is zero now.
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            rate: Rate::new(now_ms),
            seen: Mutex::default(),
        }
    }

    /// Looks at the count.
    pub(crate) fn look(&self, now_ms: u64, count: u64) {
        self.rate.sample(now_ms, count);
        self.see(now_ms, count);
    }

    /// Looks at the count, and says how it has grown.
    pub(crate) fn growth(&self, now_ms: u64, count: u64) -> Growth {
        let per_s = self.rate.per_ms(now_ms, || count) * 1_000.0;
        let (since_ms, last_ms) = self.see(now_ms, count);
        let ago = |at_ms: u64| now_ms.saturating_sub(at_ms);
        Growth {
            per_s,
            since_ms_ago: last_ms
                .filter(|last| ago(*last) <= PAUSE_MS)
                .map(|_| ago(since_ms)),
            last_ms_ago: last_ms.map(ago),
        }
    }

    fn see(&self, now_ms: u64, count: u64) -> (u64, Option<u64>) {
        let mut seen = self.seen.lock();
        // Another look may have come before with a later count.
        if count > seen.count {
            let is_new = |last_ms| now_ms.saturating_sub(last_ms) > PAUSE_MS;
            if seen.last_ms.is_none_or(is_new) {
                seen.since_ms = now_ms;
            }
            seen.count = count;
            seen.last_ms = seen.last_ms.max(Some(now_ms));
        }
        (seen.since_ms, seen.last_ms)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn times(spell: &Spell, now_ms: u64, count: u64) -> (Option<u64>, Option<u64>) {
        let growth = spell.growth(now_ms, count);
        (growth.since_ms_ago, growth.last_ms_ago)
    }

    #[test]
    fn what_never_grew_has_no_times() {
        assert_eq!(times(&Spell::new(5), 9_000, 0), (None, None));
    }

    #[test]
    fn it_goes_on_over_short_pauses() {
        let spell = Spell::new(0);
        spell.look(1_000, 3);
        spell.look(2_000, 3);
        spell.look(11_000, 4);
        assert_eq!(times(&spell, 20_000, 4), (Some(19_000), Some(9_000)));
    }

    #[test]
    fn it_begins_anew_after_a_long_one() {
        let spell = Spell::new(0);
        spell.look(1_000, 3);
        assert_eq!(times(&spell, 12_000, 3), (None, Some(11_000)));
        spell.look(30_000, 4);
        assert_eq!(times(&spell, 30_500, 4), (Some(500), Some(500)));
    }

    #[test]
    fn a_look_that_comes_late_changes_nothing() {
        let spell = Spell::new(0);
        spell.look(2_000, 3);
        spell.look(1_900, 2);
        assert_eq!(times(&spell, 2_000, 3), (Some(0), Some(0)));
    }

    #[test]
    fn it_is_as_fast_as_in_the_last_ten_seconds() {
        let spell = Spell::new(0);
        (1..=60).for_each(|second| spell.look(second * 1_000, second * 5));
        assert!((spell.growth(60_500, 300).per_s - 5.0).abs() < 0.3);
        (61..=80).for_each(|second| spell.look(second * 1_000, 300));
        assert!(spell.growth(80_500, 300).per_s == 0.0);
    }
}
