//! What waits for a component.

use loom::thread;

use super::explore;
use crate::lanes::ControlType;
use crate::sync::Arc;
use crate::waiting::{MAX_QUEUED, Waiting};

/// A handler takes a message out while its sender is killed, and others come.
#[test]
fn a_place_is_given_back_once_and_no_more_are_taken_than_there_are() {
    explore(|| {
        let waiting = Arc::new(Waiting::default());
        let kind = ControlType::CancelTask;
        let place = Arc::new(Waiting::take_place(&waiting, kind).unwrap());
        let handler = {
            let place = Arc::clone(&place);
            thread::spawn(move || place.give_back())
        };
        let other = {
            let waiting = Arc::clone(&waiting);
            thread::spawn(move || Waiting::take_place(&waiting, kind))
        };
        let mine = Waiting::take_place(&waiting, kind);
        // Nobody does that twice, but anybody can call a native.
        place.give_back();
        drop(place);
        let others = other.join().unwrap();
        // Two of three at least: whoever is refused finds the other two there.
        assert!(mine.is_some() || others.is_some());
        let held = u64::from(mine.is_some()) + u64::from(others.is_some());
        handler.join().unwrap();
        assert!(held <= MAX_QUEUED);
        assert_eq!(waiting.taken(), [0, 0, 0, held]);
        drop((mine, others));
        assert_eq!(waiting.taken(), [0; 4]);
    });
}

/// What has been sent to an alias and not been answered counts as waiting, whoever looks at its mailbox meanwhile.
#[test]
fn a_look_at_a_mailbox_forgets_nothing_that_is_sent_meanwhile() {
    explore(|| {
        let waiting = Arc::new(Waiting::default());
        let kind = ControlType::CancelTask;
        let first = waiting.send(kind).unwrap();
        let looker = {
            let waiting = Arc::clone(&waiting);
            // The mailbox was empty when one had been sent.
            thread::spawn(move || waiting.at_most(kind, first, 0))
        };
        let other = {
            let waiting = Arc::clone(&waiting);
            thread::spawn(move || waiting.send(kind).is_ok())
        };
        let mine = waiting.send(kind).is_ok();
        let waits = u64::from(mine) + u64::from(other.join().unwrap());
        looker.join().unwrap();
        // The first is gone, and of the others each that was taken in is still there.
        let room = (0..).take_while(|_| waiting.send(kind).is_ok()).count() as u64;
        assert_eq!(waits + room, MAX_QUEUED);
    });
}
