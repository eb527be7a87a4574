//! Components: their registration, beside those who send.

use loom::thread;

use super::explore;
use crate::control::{ComponentId, Components, ControlType, MAX_COMPONENTS, Place};
use crate::sync::Arc;

const ID: ComponentId = ComponentId(1);
const KIND: ControlType = ControlType::CancelTask;

/// A component's route is the number of a process.
type Plane = Components<u64>;

fn put(plane: &Plane, process: u64) {
    let same_process = |known: &u64| *known == process;
    plane.put(ID, process, same_process).unwrap();
}

/// To which process, and the place there.
fn send(plane: &Plane) -> Option<(u64, Place)> {
    let route = plane.with(ID, |component| {
        (component.route, component.take_place(KIND))
    });
    route.and_then(|(process, place)| place.map(|place| (process, place)))
}

fn waiting(plane: &Plane) -> u64 {
    plane
        .component_stats()
        .iter()
        .map(|row| row.queued[3])
        .sum()
}

/// One sends while the component is changed. What waits for the process that is there then is what was sent to it, and
/// nothing when that is gone too.
fn sending_while(change: fn(&Plane), process: Option<u64>) {
    explore(move || {
        let plane = Arc::new(Plane::new());
        put(&plane, 1);
        let first = send(&plane);
        let sender = {
            let plane = Arc::clone(&plane);
            thread::spawn(move || send(&plane))
        };
        change(&plane);
        let sent = [first, sender.join().unwrap()];
        let there = sent.iter().flatten().filter(|sent| Some(sent.0) == process);
        assert_eq!(waiting(&plane), there.count() as u64);
        drop(sent);
        assert_eq!(waiting(&plane), 0);
    });
}

#[test]
fn a_component_put_again_keeps_what_waits_for_its_process() {
    sending_while(|plane| put(plane, 1), Some(1));
}

#[test]
fn a_component_of_a_new_process_has_what_was_sent_to_that_and_no_more() {
    sending_while(|plane| put(plane, 2), Some(2));
}

#[test]
fn sending_to_a_component_that_is_removed_leaves_nothing() {
    sending_while(|plane| assert!(plane.remove(ID)), None);
}

#[test]
fn a_component_that_is_removed_and_put_again_begins_at_nothing() {
    explore(|| {
        let plane = Arc::new(Plane::new());
        put(&plane, 1);
        let sender = {
            let plane = Arc::clone(&plane);
            thread::spawn(move || {
                let before = send(&plane);
                // To the new one, if it is there by now, or the old one.
                (before, send(&plane))
            })
        };
        assert!(plane.remove(ID));
        put(&plane, 2);
        let (before, after) = sender.join().unwrap();
        let sent = [before, after];
        let there = sent.iter().flatten().filter(|sent| sent.0 == 2);
        assert_eq!(waiting(&plane), there.count() as u64);
        drop(sent);
        assert_eq!(waiting(&plane), 0);
    });
}

#[test]
fn of_two_components_with_room_for_one_one_is_put() {
    explore(|| {
        let plane = Arc::new(Plane::new());
        put(&plane, 1);
        let new = |plane: &Plane, id| plane.put(ComponentId(id), 1, |_| false).is_ok();
        let other = {
            let plane = Arc::clone(&plane);
            thread::spawn(move || new(&plane, 2))
        };
        let mine = new(&plane, 3);
        assert!(mine != other.join().unwrap());
        assert_eq!(plane.component_stats().len(), MAX_COMPONENTS);
    });
}
