//! loom models: every interleaving of a few threads, for what the crate promises of all of them.

use loom::thread;

use crate::account::Account;
use crate::gauge::{Admission, Gauge};
use crate::judge::{Judge, Rules};
use crate::lanes::ControlType;
use crate::overload::{Level, Margin};
use crate::owner::{End, Ended, Owner};
use crate::role::{Policy, Role};
use crate::setting::Setting;
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::vocabulary::{Instant, OwnerId, RoleId};
use crate::waiting::{MAX_QUEUED, Waiting};

const NOW: Instant = Instant {
    monotonic_ms: 0,
    system_ms: 0,
};

/// At most three preemptions an execution: more find nothing new in models this small, but take hours.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn role(limit: u64) -> Arc<Role> {
    Arc::new(Role::new(RoleId(1), Arc::new(Policy::new(limit)), NOW))
}

const OWNER: OwnerId = OwnerId(9);

/// Enters where nothing is judged.
fn enter<R>(
    owner: &Owner<()>,
    role: &Arc<Role>,
    operation: impl FnOnce(&Account) -> R,
) -> Result<R, Ended> {
    owner.enter(role, &Judge::new(), operation)
}

fn end<W>(owner: &Owner<W>) -> End<W> {
    owner.end(OWNER, &Judge::new(), NOW)
}

fn admitted(owner: &Owner<()>, role: &Arc<Role>) -> Result<bool, Ended> {
    enter(owner, role, |account| {
        matches!(account.try_enqueue(), Ok(Admission::Admitted(_)))
    })
}

/// Nothing is left in the role, and all that was counted in is counted out.
fn assert_settled(role: &Role) {
    let stats = role.stats();
    assert_eq!(stats.depth, 0);
    assert_eq!(stats.owners, 0);
    assert_eq!(
        stats.enqueued,
        stats.dequeued - stats.unmatched + stats.released
    );
}

#[test]
fn concurrent_admissions_stop_at_the_limit() {
    explore(|| {
        let gauge = Arc::new(Gauge::vacant());
        gauge.occupy();
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
        gauge.occupy();
        gauge.add().unwrap();
        let admit = {
            let gauge = Arc::clone(&gauge);
            thread::spawn(move || matches!(gauge.admit(|| 1), Ok(Admission::Admitted(_))))
        };
        let release = {
            let gauge = Arc::clone(&gauge);
            thread::spawn(move || gauge.release().unwrap())
        };
        release.join().unwrap();
        let admitted = admit.join().unwrap();
        assert_eq!(gauge.depth(), Ok(u64::from(admitted)));
    });
}

#[test]
fn admission_against_death_leaves_nothing_in_the_role() {
    explore(|| {
        let role = role(1);
        let owner = Arc::new(Owner::<()>::new(Arc::clone(&role)));
        enter(&owner, &role, |_| ()).unwrap();
        let caller = {
            let owner = Arc::clone(&owner);
            thread::spawn(move || {
                let account = owner.account(RoleId(1)).unwrap();
                let _ = account.try_enqueue();
                let _ = account.dequeue();
                let _ = account.enqueue();
            })
        };
        end(&owner);
        caller.join().unwrap();
        assert_settled(&role);
        assert_eq!(admitted(&owner, &role), Err(Ended));
    });
}

#[test]
fn making_a_gauge_against_death_leaves_nothing_in_the_role() {
    explore(|| {
        let first = role(1);
        let second = Arc::new(Role::new(RoleId(2), Arc::new(Policy::new(1)), NOW));
        let owner = Arc::new(Owner::<()>::new(Arc::clone(&first)));
        let callers: Vec<_> = [&first, &second]
            .into_iter()
            .map(|role| {
                let owner = Arc::clone(&owner);
                let role = Arc::clone(role);
                thread::spawn(move || admitted(&owner, &role))
            })
            .collect();
        end(&owner);
        for caller in callers {
            let _ = caller.join().unwrap();
        }
        assert_settled(&first);
        assert_settled(&second);
    });
}

#[test]
fn a_watch_set_up_against_death_is_called_off_once() {
    explore(|| {
        let owner = Arc::new(Owner::new(role(1)));
        let watcher = {
            let owner = Arc::clone(&owner);
            thread::spawn(move || owner.watched_by("watch").is_err())
        };
        let taken_at_the_end = end(&owner).watch.is_some();
        let handed_back = watcher.join().unwrap();
        assert!(taken_at_the_end != handed_back);
    });
}

#[test]
fn a_permit_of_a_forgotten_tenure_takes_nothing() {
    explore(|| {
        let role = role(5);
        let other = Arc::new(Role::new(RoleId(2), Arc::new(Policy::new(1)), NOW));
        let owner = Arc::new(Owner::<()>::new(Arc::clone(&role)));
        // A second role keeps the owner from ending when the first is forgotten.
        enter(&owner, &other, |_| ()).unwrap();
        let tenure = enter(&owner, &role, |account| {
            account.enqueue().unwrap();
            account.tenure()
        })
        .unwrap();
        let holder = {
            let owner = Arc::clone(&owner);
            thread::spawn(move || owner.dequeue_tenure(RoleId(1), tenure))
        };
        owner.forget(OWNER, RoleId(1), &Judge::new(), NOW);
        enter(&owner, &role, |account| account.enqueue().unwrap()).unwrap();
        holder.join().unwrap();
        assert_eq!(owner.account(RoleId(1)).unwrap().depth(), Ok(1));
    });
}

#[test]
fn an_admission_that_starts_after_a_limit_was_set_obeys_it() {
    explore(|| {
        let role = role(9);
        let owner = Arc::new(Owner::<()>::new(Arc::clone(&role)));
        enter(&owner, &role, |account| account.enqueue().unwrap()).unwrap();
        let told = Arc::new(AtomicBool::new(false));
        let setter = {
            let (role, told) = (Arc::clone(&role), Arc::clone(&told));
            thread::spawn(move || {
                role.own_limit.set(Some(2));
                // Pairs with the load below: how a caller knows that the setting has returned.
                told.store(true, Ordering::Release);
            })
        };
        let others = {
            let owner = Arc::clone(&owner);
            thread::spawn(move || {
                let _ = owner.account(RoleId(1)).unwrap().try_enqueue();
            })
        };
        if told.load(Ordering::Acquire) {
            let account = owner.account(RoleId(1)).unwrap();
            if let Ok(Admission::Admitted(before)) = account.try_enqueue() {
                assert!(before < 2);
            }
        }
        setter.join().unwrap();
        others.join().unwrap();
    });
}

#[test]
fn what_was_set_by_hand_survives_a_configuration_at_the_same_time() {
    explore(|| {
        let setting = Arc::new(Setting::new(1_u64));
        let changes: [fn(&Setting<u64>); 2] =
            [|setting| setting.configure(2), |setting| setting.set(3)];
        let changers = changes.map(|change| {
            let setting = Arc::clone(&setting);
            thread::spawn(move || change(&setting))
        });
        // Nothing but what somebody gave it.
        assert!((1..=3).contains(&setting.get()));
        for changer in changers {
            changer.join().unwrap();
        }
        assert_eq!(setting.get(), 3);
    });
}

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
