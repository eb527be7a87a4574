//! A histogram of two shards.

use loom::thread;

use super::explore;
use crate::latency::Latency;
use crate::sync::{Arc, AtomicBool, Ordering};

#[test]
fn what_is_recorded_after_a_reset_is_there_and_the_sum_is_of_what_is_counted() {
    explore(|| {
        let latency = Arc::new(Latency::sharded());
        let told = Arc::new(AtomicBool::new(false));
        // In either shard.
        latency.record(1);
        let other = Arc::clone(&latency);
        thread::spawn(move || other.record(1)).join().unwrap();
        let recorder = {
            let (latency, told) = (Arc::clone(&latency), Arc::clone(&told));
            thread::spawn(move || {
                // Pairs with the store below.
                let since = u64::from(told.load(Ordering::Acquire));
                latency.record(1);
                latency.record(1);
                2 * since
            })
        };
        let reader = {
            let latency = Arc::clone(&latency);
            thread::spawn(move || latency.distribution().1)
        };
        latency.reset();
        told.store(true, Ordering::Release);
        let meanwhile = reader.join().unwrap();
        assert_eq!(meanwhile.count, meanwhile.sum_us);
        assert!(meanwhile.count <= 4);
        let since = recorder.join().unwrap();
        let (summary, distribution) = latency.distribution();
        assert!((since..=2).contains(&summary.count));
        assert_eq!(distribution.count, distribution.sum_us);
    });
}
