//! A queue that measures how fast it drains.

use loom::thread;

use super::{explore, explore_to};
use crate::gauge::{Gauge, Kind, Leave, Release, Vacant};
use crate::marker::{LEAST, Marker, tick};
use crate::sync::{Arc, AtomicU64, Ordering};

/// A clock that goes on by one whenever somebody reads it, and what was measured by it.
struct Queue {
    gauge: Gauge,
    marker: Marker,
    clock: AtomicU64,
    measured: AtomicU64,
}

/// The clock goes on by this, a tick, so that whoever is next may set a mark again.
const STEP_NS: u64 = 1 << 24;
const STEP_MS: f64 = STEP_NS as f64 / 1e6;
/// The clock shows more than passes in any model.
const LONG: u64 = 1_000;

impl Queue {
    /// With so many in it, and no mark.
    fn with(depth: u64) -> Arc<Self> {
        let queue = Self {
            gauge: Gauge::vacant(),
            marker: Marker::new(),
            clock: AtomicU64::new(LONG),
            measured: AtomicU64::new(0),
        };
        queue.gauge.occupy(Kind::Counted);
        (0..depth).for_each(|_| _ = queue.gauge.add().unwrap());
        Arc::new(queue)
    }

    fn now_ns(&self) -> u64 {
        (self.clock.fetch_add(1, Ordering::Relaxed) + 1) * STEP_NS
    }

    fn enqueue(&self) -> Result<u64, Vacant> {
        let added = self.gauge.add()?.unwrap();
        if added.unmarked
            && added.depth >= LEAST
            && self.marker.is_due(
                added.depth,
                tick(self.clock.load(Ordering::Relaxed) * STEP_NS),
            )
        {
            self.marker.arm(&self.gauge, self.now_ns());
        }
        Ok(added.depth)
    }

    fn leave(&self, leave: Leave) -> Result<Release, Vacant> {
        let release = self.gauge.release(leave)?;
        if let Release::Released {
            reached: Some(undone),
            ..
        } = release
        {
            let pace = self.marker.reached(undone, self.now_ns(), 0);
            self.marker.let_go();
            // Of a mark the time and the depth belong together: at least one was done, no more than three wait anywhere
            // here, and none for longer than the clock has gone.
            let pace = pace.expect("something was done");
            let (per_step, steps) = (pace.per_ms * STEP_MS, pace.sojourn_ms / STEP_MS);
            assert!(per_step < 3.1 && (0.9..LONG as f64).contains(&steps));
            self.measured.fetch_add(1, Ordering::Relaxed);
        }
        Ok(release)
    }

    fn come(&self) {
        self.enqueue().unwrap();
    }

    fn go(&self) {
        self.leave(Leave::Done).unwrap();
    }

    /// Nobody is left who has a claim on the mark without one in the gauge, or the other way round: the next of two
    /// marks it again, and is measured.
    fn assert_measures(&self) {
        while self.gauge.depth() != Ok(0) {
            self.leave(Leave::Done).unwrap();
        }
        let before = self.measured.load(Ordering::Relaxed);
        self.now_ns();
        (0..2).for_each(|_| _ = self.enqueue().unwrap());
        assert_eq!(self.gauge.left(), Some(2));
        (0..2).for_each(|_| _ = self.leave(Leave::Done).unwrap());
        assert_eq!(self.measured.load(Ordering::Relaxed), before + 1);
    }
}

#[test]
fn a_mark_is_set_by_one_and_reached_once() {
    explore(|| {
        let queue = Queue::with(1);
        let comes = |queue: &Arc<Queue>| {
            let queue = Arc::clone(queue);
            thread::spawn(move || _ = queue.enqueue().unwrap())
        };
        let (one, other) = (comes(&queue), comes(&queue));
        let leaves = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || _ = queue.leave(Leave::Done).unwrap())
        };
        [one, other, leaves]
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(queue.gauge.depth(), Ok(2));
        queue.assert_measures();
    });
}

#[test]
fn of_those_that_leave_at_once_one_reaches_the_mark() {
    explore_to(2, || {
        let queue = Queue::with(1);
        queue.enqueue().unwrap();
        let leaves = |leave| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.leave(leave).unwrap())
        };
        let both = [leaves(Leave::Done), leaves(Leave::Undone)];
        let comes = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || _ = queue.enqueue().unwrap())
        };
        let reached = both.map(|leaves| match leaves.join().unwrap() {
            Release::Released { reached, .. } => reached,
            Release::Unmatched => panic!("there were two"),
        });
        comes.join().unwrap();
        // Exactly one of the two that it counted left undone, whoever was last.
        assert!(reached == [Some(1), None] || reached == [None, Some(1)]);
        assert_eq!(queue.measured.load(Ordering::Relaxed), 1);
        assert_eq!(queue.gauge.depth(), Ok(1));
        queue.assert_measures();
    });
}

#[test]
fn a_mark_that_is_reached_while_it_is_set_is_measured_whole() {
    explore(|| {
        let queue = Queue::with(1);
        let comes = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || _ = queue.enqueue().unwrap())
        };
        (0..2).for_each(|_| _ = queue.leave(Leave::Done).unwrap());
        comes.join().unwrap();
        queue.assert_measures();
    });
}

#[test]
fn what_one_mark_has_measured_is_there_for_the_next() {
    explore_to(2, || {
        let queue = Queue::with(1);
        queue.enqueue().unwrap();
        queue.clock.fetch_add(LONG / 2, Ordering::Relaxed);
        let others = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                (0..2).for_each(|_| _ = queue.leave(Leave::Done).unwrap());
            })
        };
        for operation in [Queue::come, Queue::come, Queue::go, Queue::go] {
            operation(&queue);
            // Two in half of what is long, and perhaps two more in no time.
            assert!(
                queue
                    .marker
                    .pace()
                    .is_none_or(|pace| pace.per_ms * STEP_MS < 0.1)
            );
        }
        others.join().unwrap();
        queue.assert_measures();
    });
}

#[test]
fn a_mark_against_the_end_of_a_use_leaves_none_for_the_next() {
    explore(|| {
        let queue = Queue::with(1);
        let comes = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || _ = queue.enqueue())
        };
        let leaves = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || _ = queue.leave(Leave::Done))
        };
        if queue.gauge.vacate().unwrap().marked {
            queue.marker.let_go();
        }
        queue.gauge.occupy(Kind::Counted);
        comes.join().unwrap();
        leaves.join().unwrap();
        queue.assert_measures();
    });
}
