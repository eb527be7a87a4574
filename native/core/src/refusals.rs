//! A role's refusals by class and reason.

use crossbeam_utils::CachePadded;
use once_cell::race::OnceBox;

use crate::reason::Reason;
use crate::request::Class;
use crate::sync::{AtomicU64, Ordering};
use crate::tally::{Seat, add, own_stripes};

/// These are numbers of refusals, by the index of their class and then of their reason.
pub type ByReason = [[u64; Reason::ALL.len()]; Class::ALL.len()];

type Counts = [[AtomicU64; Reason::ALL.len()]; Class::ALL.len()];

/// Counts that only grow. A role that never refused has none, and takes no room for them; in one that does each thread
/// counts in a stripe of its own, as in the tally.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// The last is for the threads that have none.
    stripes: OnceBox<Box<[CachePadded<Counts>]>>,
}

impl Refusals {
    pub(crate) fn new() -> Self {
        let refusals = Self::default();
        if cfg!(loom) {
            // A model does not see that whoever finds the box comes after whoever made it.
            refusals.stripes();
        }
        refusals
    }

    fn stripes(&self) -> &[CachePadded<Counts>] {
        self.stripes.get_or_init(|| {
            let all = own_stripes().saturating_add(1);
            Box::new((0..all).map(|_| CachePadded::default()).collect())
        })
    }

    /// Counts at the calling thread's `seat`.
    pub(crate) fn count(&self, class: Class, reason: Reason, seat: Seat) {
        let Some((shared, own)) = self.stripes().split_last() else {
            return;
        };
        let mine = own.get(seat.number());
        let of_class = mine.unwrap_or(shared).get(class.index());
        if let Some(counter) = of_class.and_then(|counts| counts.get(reason.index())) {
            add(counter, 1, mine.is_some());
        }
    }

    /// All there were.
    pub(crate) fn read(&self) -> ByReason {
        let mut all = ByReason::default();
        for counts in self.stripes.get().into_iter().flatten() {
            let pairs = all.iter_mut().flatten().zip(counts.iter().flatten());
            pairs.for_each(|(sum, n)| *sum = sum.wrapping_add(n.load(Ordering::Relaxed)));
        }
        all
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_under_its_class_and_reason_whoever_counts() {
        let refusals = Refusals::new();
        assert_eq!(refusals.read(), ByReason::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for (class, reason, times) in [
                        (Class::Sheddable, Reason::Class, 300),
                        (Class::Critical, Reason::Full, 200),
                        (Class::CriticalPlus, Reason::Bytes, 100),
                    ] {
                        for _ in 0..times {
                            refusals.count(class, reason, Seat::mine());
                        }
                    }
                });
            }
        });
        let [node, full, class, deadline, role, bytes] = [0; 6];
        let none = [node, full, class, deadline, role, bytes];
        let expected = [
            [node, full, 1_200, deadline, role, bytes],
            none,
            [node, 800, class, deadline, role, bytes],
            [node, full, class, deadline, role, 400],
        ];
        assert_eq!(refusals.read(), expected);
        let shared = Refusals::new();
        shared.count(Class::Critical, Reason::Full, Seat::numbered(usize::MAX));
        let expected = [none, none, [node, 1, class, deadline, role, bytes], none];
        assert_eq!(shared.read(), expected);
    }
}
