//! The alert level that the depth of an account amounts to.

use crate::account::{Account, LARGE, pack};
use crate::alerts::Alert;
use crate::gauge::Kind;
use crate::judge::Judge;
use crate::overload::{Level, Marks};
use crate::sync::{Ordering, fence, order_after_change};
use crate::vocabulary::{Instant, OwnerId};

/// So many milliseconds of the time of the last alert are kept.
const ALERTED: u64 = (1 << 40) - 1;

impl<T> Account<T> {
    /// Whether the change to this depth, just made, has to be judged: always if it has crossed a mark, and sometimes
    /// if not.
    #[inline]
    pub(crate) fn crossed(&self, depth: u64) -> bool {
        if cfg!(feature = "without_crossing") {
            return false;
        }
        order_after_change();
        // Sequentially consistent, as the gauge's changes are: pairs with the fence in `judge`.
        let marks = self.marks.load(Ordering::SeqCst);
        depth >= marks & LARGE || depth < marks >> LARGE.count_ones()
    }

    /// Whether it has the marks of its level and these.
    pub(crate) fn has_marks(&self, marks: Marks) -> bool {
        self.marks.load(Ordering::Relaxed) == pack(marks)
    }

    /// The alert level that is held.
    pub(crate) fn level(&self) -> Level {
        Level::from_index(self.level.load(Ordering::Relaxed).into())
    }

    /// Whether the alert of the level that is held is due again.
    pub(crate) fn is_due(&self, judge: &Judge, now: Instant) -> bool {
        let low = self.alerted_low.load(Ordering::Relaxed);
        let high = self.alerted_high.load(Ordering::Relaxed);
        let alerted_ms = u64::from(low) | u64::from(high) << u32::BITS;
        let for_ms = now.monotonic_ms.wrapping_sub(alerted_ms) & ALERTED;
        // Half of all there are lie ahead: it was raised after `now`, by somebody else.
        let is_over = for_ms <= ALERTED / 2 && for_ms >= judge.realert_ms();
        self.level() != Level::Ok && is_over
    }

    /// Holds a level from now on, with the marks that belong to it.
    pub(crate) fn hold(&self, level: Level, judge: &Judge) -> Marks {
        let marks = judge.marks(level, self.scale());
        self.level.store(level.index() as u8, Ordering::Relaxed);
        self.marks.store(pack(marks), Ordering::Relaxed);
        marks
    }

    /// Judges the depth that the caller brought about, and what has become of it meanwhile. True if handlers
    /// have news.
    ///
    /// A rise is judged by the depth that was seen, since it was reached even if it is over by now; all else by
    /// the depth as it is.
    pub(crate) fn judge(&self, owner: OwnerId, seen: u64, judge: &Judge, now: Instant) -> bool {
        let mut news = false;
        let Ok(now_depth) = self.depth() else {
            return false;
        };
        let risen = judge.level(seen, self.scale(), self.level()) > self.level();
        let mut depth = if risen { seen } else { now_depth };
        // Each turn means that others crossed a mark while it moved; what is left after these turns is found
        // by the periodic check.
        for _ in 0..8 {
            let scale = self.scale();
            let held = self.level();
            let level = judge.level(depth, scale, held);
            if level != held {
                let alert = self.alert(owner, level.max(held), depth, scale.limit(), now);
                news |= self.change(level, alert, judge, now);
            }
            let marks = self.hold(level, judge);
            // Pairs with `crossed`: a change that missed these marks is seen below.
            fence(Ordering::SeqCst);
            match self.depth() {
                Ok(now_depth) if marks.crossed(now_depth) => depth = now_depth,
                _ => break,
            }
        }
        news
    }

    /// Raises the alert of the level that is held once more.
    pub(crate) fn alert_again(
        &self,
        owner: OwnerId,
        depth: u64,
        judge: &Judge,
        now: Instant,
    ) -> bool {
        self.raise(
            self.alert(owner, self.level(), depth, self.scale().limit(), now),
            judge,
            now,
        )
    }

    fn raise(&self, alert: Alert, judge: &Judge, now: Instant) -> bool {
        let (low, high) = (now.monotonic_ms, now.monotonic_ms >> u32::BITS);
        self.alerted_low.store(low as u32, Ordering::Relaxed);
        self.alerted_high.store(high as u8, Ordering::Relaxed);
        self.role().count_alert(alert.level);
        judge.alerts().raise(alert)
    }

    /// Forgets the level, and tells nobody.
    pub(crate) fn forget_level(&self, judge: &Judge, now: Instant) {
        if self.depth().is_ok() {
            self.role().shift(self.level(), Level::Ok, now);
            self.hold(Level::Ok, judge);
        }
    }

    /// From the level that is held to another. `alert` is of the worse of the two.
    pub(crate) fn change(&self, level: Level, alert: Alert, judge: &Judge, now: Instant) -> bool {
        let held = self.level();
        self.role().shift(held, level, now);
        if level > held {
            if held == Level::Ok && self.kind() != Ok(Kind::Counted) {
                judge.mailboxes().hold(self.role_id(), alert.owner);
            }
            return self.raise(alert, judge, now);
        }
        let left = Level::ALL.into_iter().rev();
        left.filter(|left| *left > level && *left <= held)
            .fold(false, |news, left| {
                news | judge.alerts().clear(Alert {
                    level: left,
                    ..alert
                })
            })
    }

    pub(crate) fn alert(
        &self,
        owner: OwnerId,
        level: Level,
        depth: u64,
        limit: u64,
        now: Instant,
    ) -> Alert {
        Alert {
            level,
            role: self.role_id(),
            owner,
            depth,
            limit,
            at_ms: now.system_ms,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::role::{Policy, Role};
    use crate::sync::Arc;
    use crate::vocabulary::RoleId;

    const NOW: Instant = Instant {
        monotonic_ms: 0,
        system_ms: 0,
    };

    fn account() -> Account<()> {
        let policy = Arc::new(Policy::new(10));
        Account::vacant(Arc::new(Role::new(RoleId(1), policy, NOW)))
    }

    fn any_depth() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..100_u64,
            LARGE - 5..LARGE + 5,
            any::<u64>().prop_map(|all| all >> 1)
        ]
    }

    proptest! {
        #[test]
        fn no_crossing_is_lost_in_the_word_of_the_marks(
            rise_at in prop_oneof![any_depth(), Just(u64::MAX)],
            fall_below in any_depth(),
            depth in any_depth(),
        ) {
            let account = account();
            let marks = Marks { rise_at, fall_below };
            account.marks.store(pack(marks), Ordering::Relaxed);
            let crossed = account.crossed(depth);
            prop_assert!(crossed || !marks.crossed(depth));
            // And none is seen that is none, of depths that there are.
            prop_assert!(depth >= LARGE || crossed == marks.crossed(depth));
        }

        #[test]
        fn an_alert_is_due_again_when_its_time_is_over(
            alerted_ms in any::<u64>().prop_map(|ms| ms >> 10),
            for_ms in 0..u64::from(u32::MAX),
            realert_ms in 1..u64::from(u32::MAX),
        ) {
            let (account, judge) = (account(), Judge::new());
            judge.set_rules(crate::judge::Rules {
                margin: crate::overload::Margin::ZERO,
                realert_ms,
                history: 1,
            });
            let at = |monotonic_ms| Instant { monotonic_ms, system_ms: 0 };
            account.judge_as(Level::Warning);
            account.raise(account.alert(OwnerId(7), Level::Warning, 9, 10, NOW), &judge, at(alerted_ms));
            prop_assert_eq!(account.is_due(&judge, at(alerted_ms + for_ms)), for_ms >= realert_ms);
            // Whoever looks at all owners took the time before it began.
            prop_assert!(!account.is_due(&judge, at(alerted_ms.saturating_sub(for_ms.max(1)))));
        }
    }

    impl Account<()> {
        fn judge_as(&self, level: Level) {
            self.level.store(level.index() as u8, Ordering::Relaxed);
        }
    }
}
