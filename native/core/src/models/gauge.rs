//! One depth.

use loom::thread;

use super::{explore, explore_to};
use crate::gauge::{Admission, Gauge, Kind, Leave};
use crate::sync::Arc;

#[test]
fn concurrent_admissions_stop_at_the_limit() {
    explore_to(2, || {
        let gauge = Arc::new(Gauge::vacant());
        gauge.occupy(Kind::Counted);
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let gauge = Arc::clone(&gauge);
                thread::spawn(move || matches!(gauge.admit(|| 2), Ok(Admission::Admitted(_))))
            })
            .collect();
        let admitted = callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .filter(|&admitted| admitted)
            .count();
        assert_eq!(admitted, 2);
        assert_eq!(gauge.depth(), Ok(2));
    });
}

#[test]
fn admission_against_release_neither_overshoots_nor_loses_a_place() {
    explore(|| {
        let gauge = Arc::new(Gauge::vacant());
        gauge.occupy(Kind::Counted);
        gauge.add().unwrap();
        let admit = {
            let gauge = Arc::clone(&gauge);
            thread::spawn(move || matches!(gauge.admit(|| 1), Ok(Admission::Admitted(_))))
        };
        let release = {
            let gauge = Arc::clone(&gauge);
            thread::spawn(move || gauge.release(Leave::Done).unwrap())
        };
        release.join().unwrap();
        let admitted = admit.join().unwrap();
        assert_eq!(gauge.depth(), Ok(u64::from(admitted)));
    });
}
