//! Refusals: announced, and reported once.

use loom::thread;

use super::{NOW, explore, role};
use crate::reason::Reason;
use crate::request::Class;
use crate::role::Role;
use crate::sync::{Arc, Mutex};
use crate::vocabulary::Instant;

fn refuse(role: &Role, now: Instant) -> bool {
    role.count_refusal(Class::Critical, Reason::Full, now)
}

#[test]
fn refusals_are_reported_once_each() {
    explore(|| {
        let role = role(0);
        let refuser = {
            let role = Arc::clone(&role);
            thread::spawn(move || {
                refuse(&role, NOW);
                refuse(&role, NOW);
            })
        };
        let reported = role.take_unreported_refusals();
        refuser.join().unwrap();
        assert_eq!(reported + role.take_unreported_refusals(), 2);
    });
}

/// The first ever, and the first after a quiet second.
#[test]
fn of_two_refusals_at_once_one_is_announced() {
    explore(|| {
        let role = role(0);
        for monotonic_ms in [0, 1_000] {
            let now = Instant {
                monotonic_ms,
                ..NOW
            };
            let other = {
                let role = Arc::clone(&role);
                thread::spawn(move || refuse(&role, now))
            };
            let mine = refuse(&role, now);
            assert!(mine != other.join().unwrap());
        }
    });
}

/// The process that hears of refusals is another from now on. What `refused` and `limits_open` do in the native library
/// is done here as it is done there: both take the listener's lock.
#[test]
fn an_announced_refusal_is_found_by_the_process_before_or_after() {
    #[derive(Clone, Copy, PartialEq)]
    enum Listener {
        Old,
        New,
    }
    explore(|| {
        let role = role(0);
        let listener = Arc::new(Mutex::new(Listener::Old));
        let refuser = {
            let (role, listener) = (Arc::clone(&role), Arc::clone(&listener));
            thread::spawn(move || {
                assert!(refuse(&role, NOW));
                *listener.lock()
            })
        };
        *listener.lock() = Listener::New;
        let mut reported = role.take_unreported_refusals();
        if refuser.join().unwrap() == Listener::New {
            reported += role.take_unreported_refusals();
        }
        assert_eq!(reported, 1);
    });
}
