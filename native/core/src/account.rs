//! What one owner has in one role: a depth, and the alert level it amounts to.

use once_cell::race::OnceBox;

use crate::alerts::Alert;
use crate::gauge::{Admission, Gauge, Release, Vacant};
use crate::judge::Judge;
use crate::overload::{Level, Marks};
use crate::role::Role;
use crate::sync::{Arc, AtomicU64, Ordering, fence, order_after_change};
use crate::tally::Seat;
use crate::vocabulary::{Instant, OwnerId, RoleId};

/// An owner's account with a role. Vacant ones stay in the owner's chain, at most one a role.
///
/// Counting takes no lock. Opening, closing and judging are for one thread at a time; the owner's lock sees
/// to it.
#[derive(Debug)]
pub(crate) struct Account {
    // The role's own, here too so that a search touches nothing but the accounts.
    role_id: RoleId,
    role: Arc<Role>,
    gauge: Gauge,
    rise_at: AtomicU64,
    fall_below: AtomicU64,
    tenure: AtomicU64,
    level: AtomicU64,
    alerted_ms: AtomicU64,
    next: OnceBox<Account>,
}

impl Account {
    pub(crate) fn vacant(role: Arc<Role>) -> Self {
        Self {
            role_id: role.id(),
            role,
            gauge: Gauge::vacant(),
            rise_at: AtomicU64::new(Marks::NONE.rise_at),
            fall_below: AtomicU64::new(Marks::NONE.fall_below),
            tenure: AtomicU64::new(0),
            level: AtomicU64::new(0),
            alerted_ms: AtomicU64::new(0),
            next: OnceBox::new(),
        }
    }

    /// A word from either end.
    pub(crate) fn touch(&self) -> u64 {
        self.role_id.0 ^ self.tenure() ^ u64::from(self.next.get().is_some())
    }

    pub(crate) fn role_id(&self) -> RoleId {
        self.role_id
    }

    pub(crate) fn role(&self) -> &Arc<Role> {
        &self.role
    }

    pub(crate) fn next(&self) -> Option<&Self> {
        self.next.get()
    }

    /// The next account, made vacant in `role` if there is none. For one thread at a time.
    pub(crate) fn next_or_vacant(&self, role: Arc<Role>) -> &Self {
        self.next.get_or_init(|| Box::new(Self::vacant(role)))
    }

    pub(crate) fn depth(&self) -> Result<u64, Vacant> {
        self.gauge.depth()
    }

    /// Counts at the calling thread's `seat`. Returns the new depth.
    #[inline]
    pub(crate) fn enqueue(&self, seat: Seat) -> Result<u64, Vacant> {
        let mine = self.role.tally().at(seat);
        let depth = self.gauge.add()?;
        mine.enqueue(depth);
        Ok(depth)
    }

    /// Counts at the calling thread's `seat`.
    #[inline]
    pub(crate) fn try_enqueue(&self, seat: Seat) -> Result<Admission, Vacant> {
        let mine = self.role.tally().at(seat);
        let admission = self.gauge.admit(|| self.role.refuses_at())?;
        if let Admission::Admitted(before) = admission {
            mine.enqueue(before.wrapping_add(1));
        }
        Ok(admission)
    }

    /// Counts at the calling thread's `seat`. Returns the new depth.
    #[inline]
    pub(crate) fn dequeue(&self, seat: Seat) -> Result<u64, Vacant> {
        let mine = self.role.tally().at(seat);
        match self.gauge.release()? {
            Release::Released(depth) => {
                mine.dequeue();
                Ok(depth)
            }
            Release::Unmatched => {
                self.role.tally().unmatched_dequeue();
                Ok(0)
            }
        }
    }

    /// Tells this use of the account from any other use of an account of the role.
    pub(crate) fn tenure(&self) -> u64 {
        self.tenure.load(Ordering::Relaxed)
    }

    /// Whether the change to this depth, just made, has to be judged.
    pub(crate) fn crossed(&self, depth: u64) -> bool {
        if cfg!(feature = "without_crossing") {
            return false;
        }
        order_after_change();
        self.marks().crossed(depth)
    }

    /// The alert level that is held.
    pub(crate) fn level(&self) -> Level {
        Level::from_index(self.level.load(Ordering::Relaxed))
    }

    pub(crate) fn marks(&self) -> Marks {
        Marks {
            // Sequentially consistent, as the gauge's changes are: pairs with the fence in `judge`.
            rise_at: self.rise_at.load(Ordering::SeqCst),
            fall_below: self.fall_below.load(Ordering::SeqCst),
        }
    }

    /// Whether the alert of the level that is held is due again.
    pub(crate) fn is_due(&self, judge: &Judge, now: Instant) -> bool {
        let since_ms = self.alerted_ms.load(Ordering::Relaxed);
        self.level() != Level::Ok && now.monotonic_ms.saturating_sub(since_ms) >= judge.realert_ms()
    }

    pub(crate) fn open(&self, judge: &Judge) {
        if self.depth().is_err() {
            self.hold(Level::Ok, judge);
            self.tenure
                .store(self.role.count_arrival(), Ordering::Relaxed);
            self.gauge.occupy();
        }
    }

    /// True if handlers have news.
    pub(crate) fn close(&self, owner: OwnerId, judge: &Judge, now: Instant) -> bool {
        let Ok(depth) = self.gauge.vacate() else {
            return false;
        };
        self.role.count_departure(depth);
        let alert = self.alert(owner, self.level(), 0, self.role.limit(), now);
        self.change(Level::Ok, alert, judge, now)
    }

    /// Holds a level from now on, with the marks that belong to it.
    pub(crate) fn hold(&self, level: Level, judge: &Judge) -> Marks {
        let marks = judge.marks(level, self.role.limit());
        self.level.store(level.index() as u64, Ordering::Relaxed);
        self.rise_at.store(marks.rise_at, Ordering::Relaxed);
        self.fall_below.store(marks.fall_below, Ordering::Relaxed);
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
        let risen = judge.level(seen, self.role.limit(), self.level()) > self.level();
        let mut depth = if risen { seen } else { now_depth };
        // Each turn means that others crossed a mark while it moved; what is left after these turns is found
        // by the periodic check.
        for _ in 0..8 {
            let limit = self.role.limit();
            let held = self.level();
            let level = judge.level(depth, limit, held);
            if level != held {
                let alert = self.alert(owner, level.max(held), depth, limit, now);
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
            self.alert(owner, self.level(), depth, self.role.limit(), now),
            judge,
            now,
        )
    }

    fn raise(&self, alert: Alert, judge: &Judge, now: Instant) -> bool {
        self.alerted_ms.store(now.monotonic_ms, Ordering::Relaxed);
        self.role.count_alert(alert.level);
        judge.alerts().raise(alert)
    }

    /// Forgets the level, and tells nobody.
    pub(crate) fn forget_level(&self, judge: &Judge, now: Instant) {
        if self.depth().is_ok() {
            self.role.shift(self.level(), Level::Ok, now);
            self.hold(Level::Ok, judge);
        }
    }

    /// From the level that is held to another. `alert` is of the worse of the two.
    fn change(&self, level: Level, alert: Alert, judge: &Judge, now: Instant) -> bool {
        let held = self.level();
        self.role.shift(held, level, now);
        if level > held {
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

    fn alert(&self, owner: OwnerId, level: Level, depth: u64, limit: u64, now: Instant) -> Alert {
        Alert {
            level,
            role: self.role_id,
            owner,
            depth,
            limit,
            at_ms: now.system_ms,
        }
    }
}
