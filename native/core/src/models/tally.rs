//! A role's totals. In a model the first two threads that count have a stripe of their own, and the others share one.

use loom::thread;

use super::explore;
use crate::sync::Arc;
use crate::tally::{Seat, Tally, Totals};

fn count(tally: &Tally, depth: u64) {
    tally.at(Seat::mine()).enqueue(depth);
    tally.at(Seat::mine()).dequeue();
    tally.release(2);
}

#[test]
fn threads_with_and_without_a_stripe_of_their_own_lose_nothing() {
    explore(|| {
        let tally = Arc::new(Tally::new());
        let others = [2, 3, 4].map(|depth| {
            let tally = Arc::clone(&tally);
            thread::spawn(move || count(&tally, depth))
        });
        count(&tally, 5);
        count(&tally, 1);
        let meanwhile = tally.totals();
        assert!((2..=5).contains(&meanwhile.enqueued) && (2..=5).contains(&meanwhile.dequeued));
        for other in others {
            other.join().unwrap();
        }
        let all = Totals {
            enqueued: 5,
            dequeued: 5,
            released: 10,
            ..Totals::default()
        };
        assert_eq!((tally.totals(), tally.max_depth()), (all, 5));
    });
}
