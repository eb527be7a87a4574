//! What one owner has in one role: a depth, and the alert level it amounts to.

use once_cell::race::OnceBox;

use crate::alerts::Alert;
use crate::gauge::{Admission, Gauge, Kind, Leave, Release, Vacant};
use crate::judge::Judge;
use crate::overload::{Level, Marks};
use crate::request::{Class, Request};
use crate::role::Role;
use crate::senders::{Claim, Senders, Told};
use crate::sync::{Arc, AtomicU8, AtomicU32, AtomicU64, Ordering, fence, order_after_change};
use crate::tally::{Mine, Seat};
use crate::vocabulary::{Instant, OwnerId, RoleId};

/// Depths from here on are told apart by judging only.
const LARGE: u64 = u32::MAX as u64;
/// So many milliseconds of the time of the last alert are kept.
const ALERTED: u64 = (1 << 40) - 1;

/// Both marks as one word, which is read in one step: 32 bits each. A mark that is larger stands at the largest, which
/// is beyond none that it could be mistaken for: a depth of four thousand million is judged whenever it changes.
fn pack(marks: Marks) -> u64 {
    marks.rise_at.min(LARGE) | marks.fall_below.min(LARGE) << LARGE.count_ones()
}

/// The account is open, and its depth is of the other kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OtherKind;

/// An owner's account with a role. Vacant ones stay in the owner's chain, at most one a role.
///
/// Counting takes no lock. Opening, closing and judging are for one thread at a time; the owner's lock sees
/// to it.
///
/// There are as many as owners, and more: it is as small as it can be. `T` is what the owner keeps with the first of
/// its accounts, here so that it fills the gap at the end; the others have one that nobody uses.
#[derive(Debug)]
pub(crate) struct Account<T> {
    role: Arc<Role>,
    gauge: Gauge,
    /// See [`pack`].
    marks: AtomicU64,
    tenure: AtomicU64,
    annex: OnceBox<Annex<T>>,
    /// The milliseconds' low 32 bits and the next 8, of the last alert: 17 years back, and as many ahead.
    alerted_low: AtomicU32,
    alerted_high: AtomicU8,
    level: AtomicU8,
    rest: T,
}

/// What few accounts have.
#[derive(Debug)]
struct Annex<T> {
    senders: OnceBox<Senders>,
    next: OnceBox<Account<T>>,
}

impl<T: Default> Account<T> {
    pub(crate) fn vacant(role: Arc<Role>) -> Self {
        let tenure = role.next_tenure();
        Self {
            role,
            gauge: Gauge::vacant(),
            marks: AtomicU64::new(pack(Marks::NONE)),
            tenure: AtomicU64::new(tenure),
            annex: OnceBox::new(),
            alerted_low: AtomicU32::new(0),
            alerted_high: AtomicU8::new(0),
            level: AtomicU8::new(0),
            rest: T::default(),
        }
    }

    /// The next account, made vacant in `role` if there is none. For one thread at a time.
    pub(crate) fn next_or_vacant(&self, role: Arc<Role>) -> &Self {
        self.annex()
            .next
            .get_or_init(|| Box::new(Self::vacant(role)))
    }
}

impl<T> Account<T> {
    /// What the owner keeps with it.
    pub(crate) fn rest(&self) -> &T {
        &self.rest
    }

    /// Words of it, from either end.
    pub(crate) fn touch(&self) -> u64 {
        self.tenure() ^ u64::from(self.level.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn role_id(&self) -> RoleId {
        self.role.id()
    }

    pub(crate) fn role(&self) -> &Arc<Role> {
        &self.role
    }

    pub(crate) fn next(&self) -> Option<&Self> {
        self.annex.get()?.next.get()
    }

    fn annex(&self) -> &Annex<T> {
        self.annex.get_or_init(|| {
            Box::new(Annex {
                senders: OnceBox::new(),
                next: OnceBox::new(),
            })
        })
    }

    pub(crate) fn depth(&self) -> Result<u64, Vacant> {
        self.gauge.depth()
    }

    /// The depth, if it is a counted one.
    pub(crate) fn counted(&self) -> Result<u64, Vacant> {
        self.gauge.counted()
    }

    pub(crate) fn kind(&self) -> Result<Kind, Vacant> {
        self.gauge.kind()
    }

    /// Admits a sender at once if it need not ask, or else returns what it has to note.
    #[inline]
    pub(crate) fn admit_unasked(
        &self,
        sender: OwnerId,
        now_ns: u64,
        class: Class,
    ) -> Result<Result<Claim, u64>, Vacant> {
        let senders = self.senders()?;
        let mark = self.marks.load(Ordering::Relaxed) & LARGE;
        let limit = self.role.refuses_at(class);
        let claim = senders.admit_unasked(sender, now_ns, limit, mark);
        Ok(claim.ok_or_else(|| senders.sent()))
    }

    /// Admits a sender that has noted that and was told this length.
    #[inline]
    pub(crate) fn admit(
        &self,
        sender: OwnerId,
        told: Told,
        class: Class,
    ) -> Result<Result<Claim, u64>, Vacant> {
        let senders = self.senders()?;
        senders.tell(told);
        Ok(senders.admit(sender, told, || self.role.refuses_at(class)))
    }

    /// The message of a sender that did not ask is in the mailbox.
    #[inline]
    pub(crate) fn sent_unasked(
        &self,
        claim: Claim,
        sender: OwnerId,
        seat: Seat,
    ) -> Result<(), Vacant> {
        if !self.senders()?.finish(claim, sender) {
            return Err(Vacant);
        }
        self.gauge.come()?;
        self.role.tally().at(seat).come();
        Ok(())
    }

    /// A sender's message is in the mailbox, which had this length before. Returns the length with it.
    #[inline]
    pub(crate) fn sent(
        &self,
        claim: Claim,
        sender: OwnerId,
        length: u64,
        seat: Seat,
    ) -> Result<u64, Vacant> {
        let with_it = length.wrapping_add(1);
        if !self.senders()?.finish(claim, sender) {
            return Err(Vacant);
        }
        let seen = self.gauge.see(with_it)?;
        let mine = self.role.tally().at(seat);
        mine.enqueue(with_it);
        mine.moved(seen, length);
        Ok(with_it)
    }

    /// Somebody has looked at the mailbox. Returns its length.
    pub(crate) fn looked(&self, length: u64, seat: Seat) -> Result<u64, Vacant> {
        let seen = self.gauge.see(length)?;
        self.role.tally().at(seat).moved(seen, length);
        Ok(length)
    }

    /// Who is just sending to the mailbox.
    #[inline]
    pub(crate) fn senders(&self) -> Result<&Senders, Vacant> {
        match self.gauge.kind()? {
            Kind::Counted | Kind::Watched => Err(Vacant),
            Kind::Mailbox => Ok(self
                .annex()
                .senders
                .get_or_init(|| Box::new(Senders::new()))),
        }
    }

    /// Counts at the calling thread's `seat`. Returns the new depth.
    #[inline]
    pub(crate) fn enqueue(&self, seat: Seat) -> Result<u64, Vacant> {
        let mine = self.role.tally().at(seat);
        let Some(added) = self.gauge.add()? else {
            return self.depth();
        };
        mine.enqueue(added.depth);
        Ok(added.depth)
    }

    /// Counts at the calling thread's `seat`.
    #[inline]
    pub(crate) fn try_enqueue(&self, request: &Request, seat: Seat) -> Result<Admission, Vacant> {
        let mine = self.role.tally().at(seat);
        let admission = self.gauge.admit(|| self.role.refuses_at(request.class))?;
        Ok(self.admitted(admission, request, mine))
    }

    #[inline]
    fn admitted(&self, admission: Admission, request: &Request, mine: Mine<'_>) -> Admission {
        match admission {
            Admission::Admitted(added) => {
                mine.enqueue(added.depth);
                admission
            }
            Admission::Refused(depth, _) => {
                Admission::Refused(depth, self.role.reason(depth, request.class))
            }
        }
    }

    /// Counts at the calling thread's `seat`. Returns the new depth.
    #[inline]
    pub(crate) fn dequeue(&self, seat: Seat) -> Result<u64, Vacant> {
        let mine = self.role.tally().at(seat);
        Ok(self.released(self.gauge.release(Leave::Done)?, mine))
    }

    #[inline]
    fn released(&self, release: Release, mine: Mine<'_>) -> u64 {
        match release {
            Release::Released { depth, .. } => {
                mine.dequeue();
                depth
            }
            Release::Unmatched => {
                self.role.tally().unmatched_dequeue();
                0
            }
        }
    }

    /// Takes a place for a permit, if this is the first use of the account, and the only one so far. Returns the
    /// tenure of the place, too. Counts at the calling thread's `seat`.
    #[inline]
    pub(crate) fn acquire_first(
        &self,
        request: &Request,
        seat: Seat,
    ) -> Result<(u64, Admission), Vacant> {
        let mine = self.role.tally().at(seat);
        // Before the step that finds the first use: it is that of the first use then.
        let tenure = self.tenure();
        let admission = self
            .gauge
            .admit_first(|| self.role.refuses_at(request.class))?;
        Ok((tenure, self.admitted(admission, request, mine)))
    }

    /// Takes one away on behalf of a permit of this tenure, if that is the first, and the only one so far. Returns the
    /// new depth.
    #[inline]
    pub(crate) fn give_back_first(&self, tenure: u64, seat: Seat) -> Result<u64, Vacant> {
        if self.tenure() != tenure {
            return Err(Vacant);
        }
        // If the tenure is a later one, this is not the first use, and never is again.
        let mine = self.role.tally().at(seat);
        Ok(self.released(self.gauge.release_first(Leave::Done)?, mine))
    }

    /// Tells this use of the account from any other use of an account of the role. It changes when the account is
    /// opened again.
    #[inline]
    pub(crate) fn tenure(&self) -> u64 {
        // Pairs with `open`: who finds a later one finds that the first use is over.
        self.tenure.load(Ordering::Acquire)
    }

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

    /// Opens the account for depths of this kind, if it is not open.
    pub(crate) fn open(&self, kind: Kind, judge: &Judge) -> Result<(), OtherKind> {
        match self.gauge.kind() {
            Ok(open) if open == kind => Ok(()),
            Ok(_) => Err(OtherKind),
            Err(Vacant) => {
                self.hold(Level::Ok, judge);
                if self.gauge.was_used() {
                    // Pairs with `tenure`.
                    self.tenure
                        .store(self.role.next_tenure(), Ordering::Release);
                }
                self.role.count_arrival();
                if kind == Kind::Mailbox {
                    judge.mailboxes().come();
                }
                self.gauge.occupy(kind);
                Ok(())
            }
        }
    }

    /// True if handlers have news.
    pub(crate) fn close(&self, owner: OwnerId, judge: &Judge, now: Instant) -> bool {
        let kind = self.gauge.kind();
        let Ok(given_up) = self.gauge.vacate() else {
            return false;
        };
        self.role.count_departure(given_up.depth);
        if kind == Ok(Kind::Watched) {
            self.role.watch().let_go(owner);
        }
        let alert = self.alert(owner, self.level(), 0, self.role.limit(), now);
        self.change(Level::Ok, alert, judge, now)
    }

    /// Holds a level from now on, with the marks that belong to it.
    pub(crate) fn hold(&self, level: Level, judge: &Judge) -> Marks {
        let marks = judge.marks(level, self.role.scale());
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
        let risen = judge.level(seen, self.role.scale(), self.level()) > self.level();
        let mut depth = if risen { seen } else { now_depth };
        // Each turn means that others crossed a mark while it moved; what is left after these turns is found
        // by the periodic check.
        for _ in 0..8 {
            let scale = self.role.scale();
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
            self.alert(owner, self.level(), depth, self.role.limit(), now),
            judge,
            now,
        )
    }

    fn raise(&self, alert: Alert, judge: &Judge, now: Instant) -> bool {
        let (low, high) = (now.monotonic_ms, now.monotonic_ms >> u32::BITS);
        self.alerted_low.store(low as u32, Ordering::Relaxed);
        self.alerted_high.store(high as u8, Ordering::Relaxed);
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

    fn alert(&self, owner: OwnerId, level: Level, depth: u64, limit: u64, now: Instant) -> Alert {
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
    use crate::role::Policy;

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
