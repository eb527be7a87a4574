//! The generic cell rate algorithm (ITU-T I.371, ATM Forum TM 4.0): how much of a rate somebody has used is one number,
//! the theoretical arrival time. It is pure arithmetic; who keeps the number, and changes it in one step, is `bucket`.
//!
//! A rate's clock runs in *units*, so many a nanosecond that a request of cost 1 takes a whole number of them: nothing
//! is ever rounded when something is taken. Where the clock cannot run so that both are whole, it runs 14 to 15 units a
//! nanosecond and is behind by less than one of them, which does not add up.

/// The binary places behind the point of a clock's speed.
const PLACES: u32 = 60;
/// The most units a nanosecond.
const FASTEST: u64 = 15;
/// A bucket is full again within so many nanoseconds, nine years, if nothing is taken: so it fits beside the time.
pub(crate) const LONGEST_NS: u128 = 1 << 58;

/// This is the most of a rate: a request a nanosecond.
pub const MAX_PER_NS: u64 = 1;

/// A rate is how many may come in a period, and how many of them at once after a pause. [`Law`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many come in a period: from 1 to one a nanosecond.
    pub number: u64,
    /// The period in nanoseconds, from 1.
    pub period_ns: u64,
    /// How many may come at once, from 1.
    pub burst: u64,
}

/// A law is a rate, worked out.
///
/// ```
/// use erlmcp_core::gcra::{Law, Rate};
///
/// let law = Law::new(Rate { number: 3, period_ns: 1_000_000_000, burst: 2 })?;
/// let first = law.take(0, 1, 0)?;
/// assert_eq!((first.remaining, law.take(first.arrival, 1, 0).is_ok()), (1, true));
/// let second = law.take(first.arrival, 1, 0)?;
/// let Err(refused) = law.take(second.arrival, 1, 0) else { panic!() };
/// assert_eq!(refused.retry_ns, 333_333_334);
/// assert!(law.take(second.arrival, 1, 333_333_334).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Law {
    rate: Rate,
    /// Units that the clock runs in a nanosecond, times 2^PLACES.
    speed: u64,
    /// Units that cost 1 takes.
    one: u64,
    /// Units that all of a full bucket takes.
    window: u64,
}

/// A rate and a burst that do not fit: out of range, or a bucket would be full only after nine years.
///
/// ```
/// use erlmcp_core::gcra::{Law, Rate, Unfit};
///
/// let year_ns = 365 * 86_400 * 1_000_000_000;
/// assert_eq!(Law::new(Rate { number: 1, period_ns: year_ns, burst: 10 }), Err(Unfit));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the rate and the burst do not fit")
    }
}

impl std::error::Error for Unfit {}

/// What was taken. [`Law`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The theoretical arrival time from now on, in the law's units.
    pub arrival: u64,
    /// How much is left.
    pub remaining: u64,
}

/// There is not as much, and nothing was taken. [`Law`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// How much there is.
    pub remaining: u64,
    /// In so many nanoseconds, not one less, there is as much as was asked for, if nothing is taken meanwhile;
    /// `u64::MAX` if that is more than there ever is.
    pub retry_ns: u64,
    /// In so many nanoseconds the bucket is full, if nothing is taken meanwhile.
    pub reset_ns: u64,
}

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "again in {} ns", self.retry_ns)
    }
}

impl std::error::Error for Short {}

impl Law {
    /// Works a rate out.
    ///
    /// # Errors
    ///
    /// If it does not fit.
    pub fn new(rate: Rate) -> Result<Self, Unfit> {
        let Rate {
            number,
            period_ns,
            burst,
        } = rate;
        let fastest = period_ns.checked_mul(MAX_PER_NS).ok_or(Unfit)?;
        if number == 0 || number > fastest || burst == 0 {
            return Err(Unfit);
        }
        let full = u128::from(burst).saturating_mul(u128::from(period_ns));
        if full > LONGEST_NS.saturating_mul(u128::from(number)) {
            return Err(Unfit);
        }
        let (speed, one) = clock(number, period_ns).ok_or(Unfit)?;
        let window = burst.checked_mul(one).ok_or(Unfit)?;
        Ok(Self {
            rate,
            speed,
            one,
            window,
        })
    }

    /// The rate that this was made of.
    #[must_use]
    pub fn rate(&self) -> &Rate {
        &self.rate
    }

    /// What the law's clock shows, in units.
    #[inline]
    #[must_use]
    pub fn clock(&self, now_ns: u64) -> u64 {
        let units = u128::from(now_ns).wrapping_mul(u128::from(self.speed)) >> PLACES;
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// Takes `cost` of a bucket with this theoretical arrival time.
    ///
    /// # Errors
    ///
    /// If there is not as much.
    #[inline]
    pub fn take(&self, arrival: u64, cost: u64, now_ns: u64) -> Result<Taken, Short> {
        let now = self.clock(now_ns);
        let from = arrival.max(now);
        let used = from.saturating_sub(now);
        let room = self.window.saturating_sub(used);
        match cost.checked_mul(self.one) {
            Some(price) if price <= room => Ok(Taken {
                arrival: from.saturating_add(price),
                remaining: self.whole(room.saturating_sub(price)),
            }),
            price => Err(self.short(from, room, price, now_ns)),
        }
    }

    #[cold]
    fn short(&self, from: u64, room: u64, price: Option<u64>, now_ns: u64) -> Short {
        let wait_ns = |until: u64| self.time_ns(until).saturating_sub(now_ns);
        let retry = price.filter(|price| *price <= self.window);
        Short {
            remaining: self.whole(room),
            retry_ns: retry.map_or(u64::MAX, |price| {
                wait_ns(from.saturating_add(price).saturating_sub(self.window))
            }),
            reset_ns: wait_ns(from),
        }
    }

    /// How much is in a bucket, and in how many nanoseconds it is full.
    #[must_use]
    pub fn state(&self, arrival: u64, now_ns: u64) -> Short {
        let now = self.clock(now_ns);
        let from = arrival.max(now);
        let room = self.window.saturating_sub(from.saturating_sub(now));
        self.short(from, room, Some(0), now_ns)
    }

    /// Gives `cost` back, at most to full: the theoretical arrival time from then on.
    #[must_use]
    pub fn give_back(&self, arrival: u64, cost: u64) -> u64 {
        arrival.saturating_sub(cost.saturating_mul(self.one))
    }

    /// Whether a bucket is full: then it is as if there had never been any.
    #[inline]
    #[must_use]
    pub fn is_full(&self, arrival: u64, now_ns: u64) -> bool {
        arrival <= self.clock(now_ns)
    }

    /// What the theoretical arrival time becomes where another law comes into force: what was used of one window is
    /// used of the other in the same proportion, rounded up.
    #[must_use]
    pub fn convert(&self, arrival: u64, next: &Self, now_ns: u64) -> u64 {
        let used = arrival.saturating_sub(self.clock(now_ns)).min(self.window);
        if used == 0 {
            return 0;
        }
        let scaled = u128::from(used)
            .wrapping_mul(u128::from(next.window))
            .div_ceil(u128::from(self.window.max(1)));
        let scaled = u64::try_from(scaled).unwrap_or(u64::MAX);
        next.clock(now_ns).saturating_add(scaled)
    }

    fn whole(&self, units: u64) -> u64 {
        units.checked_div(self.one).unwrap_or(0)
    }

    /// The first nanosecond in which the clock shows so much, or more.
    fn time_ns(&self, units: u64) -> u64 {
        let ns = (u128::from(units) << PLACES).div_ceil(u128::from(self.speed.max(1)));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

/// The speed of the clock, and the units that cost 1 takes.
fn clock(number: u64, period_ns: u64) -> Option<(u64, u64)> {
    let divisor = common_divisor(number, period_ns);
    let (speed, one) = (
        number.checked_div(divisor)?,
        period_ns.checked_div(divisor)?,
    );
    if speed <= FASTEST {
        return Some((speed << PLACES, one));
    }
    let one = u128::from(FASTEST)
        .checked_mul(u128::from(period_ns))?
        .checked_div(u128::from(number))?;
    let speed = one
        .checked_mul(u128::from(number))?
        .checked_mul(1 << PLACES)?
        .checked_div(u128::from(period_ns))?;
    Some((u64::try_from(speed).ok()?, u64::try_from(one).ok()?))
}

fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a.checked_rem(b).unwrap_or(0));
    }
    a
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn law(number: u64, period_ns: u64, burst: u64) -> Law {
        Law::new(Rate {
            number,
            period_ns,
            burst,
        })
        .unwrap()
    }

    #[test]
    fn what_is_out_of_range_does_not_fit() {
        let fits = |number, period_ns, burst| {
            let rate = Rate {
                number,
                period_ns,
                burst,
            };
            Law::new(rate).is_ok()
        };
        assert!(fits(1, SECOND, 1) && fits(SECOND, SECOND, 1));
        assert!(!fits(0, SECOND, 1) && !fits(SECOND + 1, SECOND, 1) && !fits(1, SECOND, 0));
        // Nine years, and more than that.
        assert!(fits(1, SECOND, (1 << 58) / SECOND) && !fits(1, SECOND, (1 << 58) / SECOND + 1));
        assert!(fits(SECOND, SECOND, 1 << 58) && !fits(SECOND, SECOND, u64::MAX));
        assert!(fits(999_999_937, SECOND, 1 << 57));
        assert!(!fits(u64::MAX, u64::MAX, u64::MAX));
    }

    #[test]
    fn the_clock_never_overflows_within_nine_years() {
        for number in [1, 7, 11, 13, 221, 999_999_937, SECOND] {
            let burst = ((1_u128 << 58) * u128::from(number) / u128::from(SECOND)) as u64;
            let law = law(number, SECOND, burst.max(1));
            let full = law.take(0, burst.max(1), 1 << 58).unwrap();
            assert!(full.arrival < 1 << 63, "{number}");
            assert_eq!(full.remaining, 0);
        }
    }

    #[test]
    fn a_burst_goes_at_once_and_then_one_each_interval() {
        let law = law(1000, SECOND, 3);
        let mut arrival = 0;
        for remaining in [2, 1, 0] {
            let taken = law.take(arrival, 1, 5).unwrap();
            assert_eq!(taken.remaining, remaining);
            arrival = taken.arrival;
        }
        let short = law.take(arrival, 1, 5).unwrap_err();
        let expected = Short {
            remaining: 0,
            retry_ns: 1_000_000,
            reset_ns: 3_000_000,
        };
        assert_eq!(short, expected);
        assert!(law.take(arrival, 1, 1_000_004).is_err());
        assert_eq!(law.take(arrival, 1, 1_000_005).unwrap().remaining, 0);
        assert_eq!(law.take(arrival, 3, 5).unwrap_err().retry_ns, 3_000_000);
        assert_eq!(law.take(arrival, 4, 5).unwrap_err().retry_ns, u64::MAX);
        assert_eq!(
            law.take(arrival, u64::MAX, 5).unwrap_err().retry_ns,
            u64::MAX
        );
    }

    #[test]
    fn giving_back_ends_at_full() {
        let law = law(10, SECOND, 5);
        let taken = law.take(0, 2, SECOND).unwrap();
        let back = law.give_back(taken.arrival, 1);
        assert_eq!(law.state(back, SECOND).remaining, 4);
        let back = law.give_back(back, u64::MAX);
        assert_eq!((back, law.state(back, SECOND).remaining), (0, 5));
        assert!(law.is_full(back, SECOND) && !law.is_full(taken.arrival, SECOND));
    }

    #[test]
    fn another_law_leaves_the_proportion() {
        let (slow, quick) = (law(1, 3_600 * SECOND, 10), law(SECOND, SECOND, 1000));
        let now = 12_345_678;
        let used = slow.take(0, 4, now).unwrap().arrival;
        let converted = slow.convert(used, &quick, now);
        assert_eq!(quick.state(converted, now).remaining, 600);
        let back = quick.convert(converted, &slow, now);
        assert_eq!(slow.state(back, now).remaining, 6);
        assert_eq!(slow.convert(0, &quick, now), 0);
        let all = slow.take(0, 10, now).unwrap().arrival;
        assert_eq!(
            quick.state(slow.convert(all, &quick, now), now).remaining,
            0
        );
    }
}
