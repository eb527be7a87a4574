//! What becomes of messages to other nodes, counted.

use crate::lanes::Outcome;
use crate::sync::{AtomicU64, Ordering};

/// A fate says what became of a message to another node. [`Fates`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It went, and nobody waited for an answer.
    Sent,
    /// The sender's wait ended so.
    Waited(Outcome),
    /// It was not sent: what goes to that node waits already.
    Busy,
    /// It was not sent, or not answered: there is no connection to that node.
    NodeDown,
    /// It was not sent: nobody there knows of such messages.
    NotSupported,
}

impl Fate {
    /// These are all fates.
    pub const ALL: [Self; 7] = [
        Self::Sent,
        Self::Waited(Outcome::Answered),
        Self::Waited(Outcome::Died),
        Self::Waited(Outcome::TimedOut),
        Self::Busy,
        Self::NodeDown,
        Self::NotSupported,
    ];
}

/// These are numbers of messages, by their fate; each is exact.
///
/// ```
/// use erlmcp_core::fates::{Fate, Fates};
///
/// let fates = Fates::default();
/// fates.count(Fate::Busy);
/// assert_eq!(fates.of(Fate::Busy), 1);
/// fates.reset();
/// assert_eq!(Fate::ALL.map(|fate| fates.of(fate)), [0; 7]);
/// ```
#[derive(Debug, Default)]
pub struct Fates([AtomicU64; 7]);

impl Fates {
    /// Counts a message.
    pub fn count(&self, fate: Fate) {
        self.number(fate).fetch_add(1, Ordering::Relaxed);
    }

    /// Tells how many messages had this fate.
    pub fn of(&self, fate: Fate) -> u64 {
        self.number(fate).load(Ordering::Relaxed)
    }

    /// Zeroes the numbers.
    pub fn reset(&self) {
        for fate in Fate::ALL {
            self.number(fate).store(0, Ordering::Relaxed);
        }
    }

    fn number(&self, fate: Fate) -> &AtomicU64 {
        let Self(
            [
                sent,
                answered,
                died,
                timed_out,
                busy,
                node_down,
                not_supported,
            ],
        ) = self;
        match fate {
            Fate::Sent => sent,
            Fate::Waited(Outcome::Answered) => answered,
            Fate::Waited(Outcome::Died) => died,
            Fate::Waited(Outcome::TimedOut) => timed_out,
            Fate::Busy => busy,
            Fate::NodeDown => node_down,
            Fate::NotSupported => not_supported,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_fate_has_a_number_of_its_own() {
        let fates = Fates::default();
        for (number, fate) in Fate::ALL.into_iter().enumerate() {
            (0..=number).for_each(|_| fates.count(fate));
        }
        let counted = Fate::ALL.map(|fate| fates.of(fate));
        assert_eq!(counted, [1, 2, 3, 4, 5, 6, 7]);
    }
}
