//! What handlers have to be told, and who is woken for it.

use loom::thread;

use super::{OWNER, explore, explore_to};
use crate::alerts::{Alert, Alerts, News};
use crate::overload::Level;
use crate::sync::Arc;
use crate::vocabulary::RoleId;

fn alert(depth: u64) -> Alert {
    Alert {
        level: Level::Warning,
        role: RoleId(1),
        owner: OWNER,
        depth,
        limit: 9,
        at_ms: 0,
    }
}

fn depths(news: &[News]) -> impl Iterator<Item = u64> {
    news.iter()
        .map(|(News::Raised(alert) | News::Cleared(alert))| alert.depth)
}

/// The monitor's process tells whatever there is. Returns the depths of what it told, and how many were lost.
fn tell_all(alerts: &Alerts) -> (Vec<u64>, u64) {
    let (mut told, mut lost) = (Vec::new(), 0);
    loop {
        let (news, lost_now) = alerts.take(4);
        lost += lost_now;
        told.extend(depths(&news));
        if news.is_empty() {
            return (told, lost);
        }
        alerts.told();
    }
}

/// The monitor's process tells what there is, and once more if somebody has woken it meanwhile.
#[test]
fn no_news_are_left_while_nobody_is_woken() {
    explore(|| {
        let alerts = Arc::new(Alerts::new(0));
        assert!(alerts.clear(alert(0)));
        let other = {
            let alerts = Arc::clone(&alerts);
            thread::spawn(move || alerts.clear(alert(1)))
        };
        let (mut told, _) = tell_all(&alerts);
        if other.join().unwrap() {
            told.extend(tell_all(&alerts).0);
        }
        assert_eq!(told, [0, 1]);
        // And it is as in the beginning.
        assert!(alerts.clear(alert(2)));
    });
}

#[test]
fn news_are_told_or_counted_as_lost() {
    explore_to(2, || {
        let alerts = Arc::new(Alerts::new(0));
        // As many as there is room for.
        for depth in 0..4 {
            alerts.clear(alert(depth));
        }
        let raiser = {
            let alerts = Arc::clone(&alerts);
            thread::spawn(move || alerts.clear(alert(4)))
        };
        let (mut told, mut lost) = tell_all(&alerts);
        raiser.join().unwrap();
        let (rest, lost_since) = tell_all(&alerts);
        told.extend(rest);
        lost += lost_since;
        assert_eq!(told.len() as u64 + lost, 5);
        assert_eq!(alerts.lost(), lost);
        assert!(told.is_sorted_by(|one, other| one < other));
    });
}

/// The monitor is stopped while there are news.
#[test]
fn after_a_reset_the_next_news_wake_if_nobody_was_woken() {
    explore(|| {
        let alerts = Arc::new(Alerts::new(0));
        alerts.raise(alert(0));
        let raiser = {
            let alerts = Arc::clone(&alerts);
            thread::spawn(move || alerts.raise(alert(1)))
        };
        alerts.reset();
        let woken = raiser.join().unwrap();
        assert!(alerts.raise(alert(2)) != woken);
        let (told, lost) = tell_all(&alerts);
        assert!(lost == 0 && (told == [1, 2] || told == [2]));
    });
}
