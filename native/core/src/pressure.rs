//! How hard pressed the node is, in one atomic word, and whom it refuses for that.

use crate::overload::Level;
use crate::sync::{AtomicU64, Ordering};

/// A strain says how hard pressed the node is. Strains are ordered: a later one is worse.
///
/// ```
/// use erlmcp_core::Strain;
/// use erlmcp_core::overload::Level;
///
/// assert!(Strain::Dire > Strain::Pressed);
/// assert_eq!(Strain::from_number(1), Some(Strain::Pressed));
/// assert_eq!(Strain::Pressed.level(), Level::Critical);
/// assert_eq!(Strain::from_number(3), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strain {
    /// The node refuses nobody.
    #[default]
    Calm,
    /// It refuses the two classes that can be shed.
    Pressed,
    /// It refuses all but the highest class.
    Dire,
}

impl Strain {
    /// These are all strains, the mildest first.
    pub const ALL: [Self; 3] = [Self::Calm, Self::Pressed, Self::Dire];

    /// Gives the strain's place among [`ALL`](Self::ALL).
    pub const fn number(self) -> u64 {
        self as u64
    }

    /// Gives the strain that has this place.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|strain| strain.number() == number)
    }

    /// Gives the level of the alert that is raised for it.
    pub const fn level(self) -> Level {
        match self {
            Self::Calm => Level::Ok,
            Self::Pressed => Level::Critical,
            Self::Dire => Level::Overload,
        }
    }
}

/// The bits of the strain; those above are the millisecond from which on it does not hold any more.
const STRAIN: u64 = 0b11;
/// The last that fits, long after all that a runtime tells.
const LAST_MS: u64 = u64::MAX >> STRAIN.count_ones();
/// A calm node's word, and none of any other.
const CALM: u64 = 0;

/// The strain that holds, until it is set anew or its time is over: who has set it may be dead.
#[derive(Debug)]
pub(crate) struct Pressure(AtomicU64);

impl Pressure {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(CALM))
    }

    /// Holds a strain until this millisecond of monotonic time.
    pub(crate) fn set(&self, strain: Strain, until_ms: u64) {
        let word = match strain {
            Strain::Calm => CALM,
            strain => until_ms.min(LAST_MS) << STRAIN.count_ones() | strain.number(),
        };
        self.0.store(word, Ordering::Relaxed);
    }

    /// The strain that holds. The time is asked for only if there is any.
    pub(crate) fn strain(&self, now_ms: impl FnOnce() -> u64) -> Strain {
        match self.0.load(Ordering::Relaxed) {
            CALM => Strain::Calm,
            word => self.holding(word, now_ms()),
        }
    }

    /// Whether the node refuses requests of a class, of which 0 is the highest: one load while it is calm. The time is
    /// asked for only if they are refused, as far as the strain tells.
    #[inline]
    pub(crate) fn refuses(&self, class: usize, now_ms: impl FnOnce() -> u64) -> bool {
        match self.0.load(Ordering::Relaxed) {
            CALM => false,
            word => {
                is_refused(strain_of(word), class)
                    && is_refused(self.holding(word, now_ms()), class)
            }
        }
    }

    #[cold]
    fn holding(&self, word: u64, now_ms: u64) -> Strain {
        if now_ms < word >> STRAIN.count_ones() {
            return strain_of(word);
        }
        // So that the next need not ask for the time. One that was set meanwhile stays.
        let _ = self
            .0
            .compare_exchange(word, CALM, Ordering::Relaxed, Ordering::Relaxed);
        Strain::Calm
    }
}

fn strain_of(word: u64) -> Strain {
    Strain::from_number(word & STRAIN).unwrap_or(Strain::Dire)
}

fn is_refused(strain: Strain, class: usize) -> bool {
    match strain {
        Strain::Calm => false,
        Strain::Pressed => class >= 2,
        Strain::Dire => class >= 1,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// The classes that are refused, and how often the time was asked for.
    fn refused(pressure: &Pressure, now_ms: u64) -> (Vec<usize>, usize) {
        let mut asked = 0;
        let classes = (0..4).filter(|class| {
            pressure.refuses(*class, || {
                asked += 1;
                now_ms
            })
        });
        (classes.collect(), asked)
    }

    #[test]
    fn the_lower_the_class_the_sooner_it_is_refused() {
        let pressure = Pressure::new();
        assert_eq!(refused(&pressure, 5), (vec![], 0));
        pressure.set(Strain::Pressed, 10);
        assert_eq!(refused(&pressure, 5), (vec![2, 3], 2));
        pressure.set(Strain::Dire, 10);
        assert_eq!(refused(&pressure, 9), (vec![1, 2, 3], 3));
        assert_eq!(pressure.strain(|| 9), Strain::Dire);
        pressure.set(Strain::Calm, 10);
        assert_eq!(refused(&pressure, 5), (vec![], 0));
    }

    #[test]
    fn a_strain_that_nobody_sets_anew_is_over_when_its_time_is() {
        let pressure = Pressure::new();
        pressure.set(Strain::Dire, 10);
        // The first that is to be refused finds out.
        assert_eq!(refused(&pressure, 10), (vec![], 1));
        assert_eq!(pressure.strain(|| 0), Strain::Calm);
        pressure.set(Strain::Pressed, 20);
        assert_eq!(pressure.strain(|| 19), Strain::Pressed);
        assert_eq!(pressure.strain(|| 20), Strain::Calm);
        assert_eq!(pressure.strain(|| 0), Strain::Calm);
    }

    #[test]
    fn any_time_that_the_runtime_tells_fits() {
        let pressure = Pressure::new();
        let last_ms = u64::MAX / 1_000;
        pressure.set(Strain::Pressed, last_ms);
        assert_eq!(pressure.strain(|| last_ms - 1), Strain::Pressed);
        assert_eq!(pressure.strain(|| last_ms), Strain::Calm);
        // And any that somebody says.
        pressure.set(Strain::Pressed, u64::MAX);
        assert_eq!(pressure.strain(|| last_ms), Strain::Pressed);
    }
}
