//! Which roles there are, and their numbers.

use loom::thread;

use super::table::{ROLE, Table};
use super::{NOW, OWNER, enter, explore, role};
use crate::owner::Owner;
use crate::reserve::Reserve;
use crate::role::Role;
use crate::roles::{MAX_ROLES, TooManyRoles};
use crate::sync::Arc;
use crate::tally::Seat;
use crate::vocabulary::RoleId;

fn make(table: &Table, role: RoleId) -> Result<Arc<Role>, TooManyRoles> {
    table.limits.roles().get_or_insert(role, || NOW)
}

#[test]
fn of_two_that_make_the_last_role_one_does() {
    explore(|| {
        let table = Table::new();
        let other = {
            let table = Arc::clone(&table);
            thread::spawn(move || make(&table, RoleId(2)).is_ok())
        };
        let mine = make(&table, ROLE).is_ok();
        assert!(mine != other.join().unwrap());
        assert_eq!(table.limits.roles().ids().len(), MAX_ROLES);
    });
}

#[test]
fn two_that_make_the_same_role_have_the_same() {
    explore(|| {
        let table = Table::new();
        let other = {
            let table = Arc::clone(&table);
            thread::spawn(move || make(&table, ROLE).unwrap())
        };
        let mine = make(&table, ROLE).unwrap();
        assert!(Arc::ptr_eq(&mine, &other.join().unwrap()));
    });
}

/// A role that is made while all are cleared is retired, or is the one that is there.
#[test]
fn making_a_role_while_all_are_cleared_is_before_or_after() {
    explore(|| {
        let table = Table::new();
        let maker = {
            let table = Arc::clone(&table);
            thread::spawn(move || make(&table, ROLE).unwrap())
        };
        table.limits.roles().clear(NOW);
        let made = maker.join().unwrap();
        match table.limits.roles().get(ROLE) {
            Some(there) => assert!(Arc::ptr_eq(&there, &made) && !made.is_retired()),
            None => assert!(made.is_retired()),
        }
    });
}

/// However they interleave, the word of a role agrees with what it is made of when all are done.
#[test]
fn a_role_that_is_made_while_the_default_is_set_knows_it() {
    explore(|| {
        let table = Table::new();
        let maker = {
            let table = Arc::clone(&table);
            thread::spawn(move || make(&table, ROLE).unwrap())
        };
        let roles = table.limits.roles();
        roles.set_limit(RoleId(0), 5, NOW).unwrap();
        assert_eq!(maker.join().unwrap().plainly_below(), 5);
    });
}

#[test]
fn two_settings_of_a_role_at_once_are_both_in_its_word() {
    explore(|| {
        let table = Table::new();
        let role = make(&table, ROLE).unwrap();
        let setter = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.limits.roles().set_limit(ROLE, 8, NOW).unwrap())
        };
        let reserve = Reserve::new(50, 50, 50).unwrap();
        table
            .limits
            .roles()
            .set_reserve(ROLE, reserve, NOW)
            .unwrap();
        setter.join().unwrap();
        assert_eq!(role.plainly_below(), 4);
    });
}

/// What one has set holds when that has returned, though another is just looking at what is set.
#[test]
fn who_has_set_a_limit_finds_it_in_the_word_whatever_others_set() {
    explore(|| {
        let table = Table::new();
        let role = make(&table, ROLE).unwrap();
        let other = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.limits.roles().set_enforcing(true))
        };
        table.limits.roles().set_limit(ROLE, 2, NOW).unwrap();
        assert_eq!(role.plainly_below(), 2);
        other.join().unwrap();
        assert_eq!(role.plainly_below(), 2);
    });
}

/// The default role that is there afterwards is another one, which whoever switches may not have found.
#[test]
fn switching_while_all_is_cleared_is_before_or_after() {
    explore(|| {
        let table = Table::new();
        let switcher = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.limits.roles().set_enforcing(false))
        };
        let roles = table.limits.roles();
        roles.clear(NOW);
        switcher.join().unwrap();
        let word = roles.get(RoleId(0)).unwrap().plainly_below();
        assert_eq!(word == 9, roles.enforcing());
    });
}

#[test]
fn a_reset_takes_no_depth_away_and_what_is_counted_since_is_there() {
    explore(|| {
        let role = role(9);
        let owner = Arc::new(Owner::<()>::new(Arc::clone(&role)));
        enter(&owner, &role, |account| {
            account.enqueue(Seat::mine()).unwrap()
        })
        .unwrap();
        let counter = {
            let owner = Arc::clone(&owner);
            thread::spawn(move || {
                let account = owner.account(RoleId(1)).unwrap();
                account.enqueue(Seat::mine()).unwrap();
                account.dequeue(Seat::mine()).unwrap();
            })
        };
        let reader = {
            let role = Arc::clone(&role);
            thread::spawn(move || role.stats())
        };
        role.reset_stats(0);
        let mine = role.stats();
        assert!(mine.enqueued <= 1 && mine.dequeued <= 1);
        let others = reader.join().unwrap();
        assert!(others.enqueued <= 2 && others.dequeued <= 1);
        counter.join().unwrap();
        let stats = role.stats();
        assert!(stats.enqueued <= 1 && stats.dequeued <= 1);
        assert_eq!((stats.depth, stats.owners), (1, 1));
        enter(&owner, &role, |account| {
            account.enqueue(Seat::mine()).unwrap()
        })
        .unwrap();
        let enqueued = stats.enqueued + 1;
        assert_eq!(
            (role.stats().enqueued, role.stats().max_depth),
            (enqueued, 2)
        );
        owner.end(OWNER, &crate::judge::Judge::new(), NOW);
        assert_eq!((role.stats().released, role.stats().depth), (2, 0));
    });
}
