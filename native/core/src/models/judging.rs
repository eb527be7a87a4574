//! Levels, and the marks that go with them.

use loom::thread;

use super::{NOW, OWNER, explore, role};
use crate::account::Account;
use crate::judge::{Judge, Rules};
use crate::overload::{Level, Margin};
use crate::owner::Owner;
use crate::sync::Arc;
use crate::vocabulary::RoleId;

/// Whatever crosses a mark while the marks move is judged by one of those who cross.
#[test]
fn no_crossing_is_missed() {
    explore(|| {
        let judge = Arc::new(Judge::new());
        judge.switch().set(true);
        judge.set_rules(Rules {
            margin: Margin::ZERO,
            realert_ms: u64::MAX,
            history: 10,
        });
        let role = role(1);
        let owner = Arc::new(Owner::<()>::new(Arc::clone(&role)));
        owner.enter(&role, &judge, |_| ()).unwrap();
        let callers: Vec<_> = [Account::enqueue, Account::dequeue]
            .into_iter()
            .map(|operation| {
                let (owner, judge) = (Arc::clone(&owner), Arc::clone(&judge));
                thread::spawn(move || {
                    let account = owner.account(RoleId(1)).unwrap();
                    let depth = operation(account).unwrap();
                    if account.crossed(depth) {
                        owner.judge(OWNER, account, depth, &judge, NOW);
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        let account = owner.account(RoleId(1)).unwrap();
        let full = account.depth() == Ok(1);
        let expected = if full { Level::Overload } else { Level::Ok };
        assert_eq!(account.level(), expected);
        assert_eq!(role.standing(NOW).level, expected);
        assert_eq!(judge.alerts().history().len(), 1);
    });
}
