//! Refusals.

use loom::thread;

use super::{NOW, explore, role};
use crate::sync::Arc;

#[test]
fn refusals_are_reported_once_each() {
    explore(|| {
        let role = role(0);
        let refuser = {
            let role = Arc::clone(&role);
            thread::spawn(move || {
                role.count_refusal(NOW);
                role.count_refusal(NOW);
            })
        };
        let reported = role.take_unreported_refusals();
        refuser.join().unwrap();
        assert_eq!(reported + role.take_unreported_refusals(), 2);
    });
}
