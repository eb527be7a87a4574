//! Caps: never more are in than there may be, and none is lost.

use loom::thread;

use super::{explore, explore_to};
use crate::caps::{Bytes, Caps, Grant};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::tally::{Seat, Tally};
use crate::vocabulary::UNLIMITED;

struct World {
    caps: Caps,
    tally: Tally,
    inside: AtomicU64,
    total: u64,
}

impl World {
    fn new(total: u64) -> Arc<Self> {
        let world = Self {
            caps: Caps::new(),
            tally: Tally::new(),
            inside: AtomicU64::new(0),
            total,
        };
        world.caps.set(total, UNLIMITED, &world.tally);
        Arc::new(world)
    }

    /// The gauge is a word that is changed in one step, as it is in an account.
    fn admit(&self) -> bool {
        let seat = Seat::mine();
        let Some(grant) = self.caps.take(&self.tally, seat) else {
            return false;
        };
        assert!(self.inside.fetch_add(1, Ordering::SeqCst) < self.total);
        self.tally.at(seat).enqueue(1);
        self.tally.at(seat).settle(grant == Grant::Granted);
        true
    }

    /// Whoever takes it out need not be who has put it in.
    fn leave(&self) -> bool {
        let now = self.inside.load(Ordering::SeqCst);
        let left = now > 0
            && self
                .inside
                .compare_exchange(now, now - 1, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok();
        if left {
            self.tally.at(Seat::mine()).dequeue();
        }
        left
    }
}

/// That one place is free again as soon as it is told to be.
#[test]
fn of_one_place_only_one_has_it_at_a_time() {
    explore(|| {
        let world = World::new(1);
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.admit();
                world.leave();
            })
        };
        world.admit();
        world.leave();
        other.join().unwrap();
        while world.leave() {}
        assert!(world.admit());
        assert!(!world.admit());
    });
}

/// With places that threads keep: one is kept for each that is taken while two are free.
#[test]
fn of_three_places_no_more_are_taken_and_all_can_be() {
    explore_to(2, || {
        let world = World::new(3);
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || u64::from(world.admit()) + u64::from(world.admit()))
        };
        let mine = u64::from(world.admit()) + u64::from(world.admit());
        let admitted = mine + other.join().unwrap();
        assert!(admitted <= 3);
        let more = (admitted..3).all(|_| world.admit());
        assert!(more && !world.admit());
    });
}

/// Whatever a thread keeps meanwhile.
#[test]
fn whoever_comes_after_a_lower_cap_was_set_is_held_to_it() {
    explore_to(2, || {
        let world = World::new(4);
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || u64::from(world.admit()))
        };
        world.caps.set(1, UNLIMITED, &world.tally);
        let mine = u64::from(world.admit());
        let theirs = other.join().unwrap();
        // The other may have come before, and then be beyond it.
        assert!(mine + theirs <= 2);
        assert!(mine + theirs > 0 && !world.admit());
    });
}

/// An owner gives up all its bytes while one more request comes, and is not taken in.
#[test]
fn bytes_are_given_back_once_whoever_gives_them_back() {
    explore(|| {
        let world = Arc::new((Caps::new(), Bytes::default()));
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let (caps, owner) = &*world;
                assert!(caps.add_bytes(5, true));
                let turn = owner.add(5).unwrap();
                caps.take_bytes(owner.take(5, Some(turn)));
            })
        };
        let (caps, owner) = &*world;
        assert!(caps.add_bytes(3, true));
        owner.add(3).unwrap();
        caps.take_bytes(owner.give_up());
        other.join().unwrap();
        assert_eq!((caps.bytes(), owner.take(9, None)), (0, 0));
    });
}
