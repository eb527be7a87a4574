//! Who is just sending a message to an owner's mailbox.
//!
//! How long a mailbox is only the runtime knows, and to ask may take a while. So a sender notes how many messages were
//! sent through here before it asks; and is admitted, in one step, if the length that it was told, and all that were
//! admitted and had not been sent by then, leave room for one more.
//!
//! What is in the mailbox once its message is there was either there when it asked, or was admitted before it was. Of
//! the latter all that were not among those it noted are counted. So nobody passes the limit. And nobody is in the way
//! of others but between being admitted and having sent, which is a matter of nanoseconds: not while it asks, and not
//! when it is refused.
//!
//! For that time a sender has a place, with its number. One that is killed just then is found out by whoever would be
//! refused, or would need more places than there are.
//!
//! What was told to one sender holds for the next ones too, since all that were admitted after it was noted are
//! counted until somebody asks again. It knows nothing of what comes by other ways, though. So it is used for a short
//! time only, and while a large mailbox is half empty at least: then nobody has to ask.

use once_cell::race::OnceBox;

use crate::sync::{AtomicU64, Ordering};
use crate::vocabulary::OwnerId;

/// There are more senders at once only if some were suspended just then, or the machine is large.
const PLACES: usize = if cfg!(loom) { 2 } else { 8 };

const FREE: u64 = 0;
/// Whatever the time, nobody is admitted unasked.
const NO_USE: u64 = 0;
/// Nobody was told a length.
const NEVER: u64 = u64::MAX;
/// Somebody is just telling one.
const TELLING: u64 = u64::MAX - 1;

/// For so long a length that was told is used by others, in nanoseconds.
const LEASE_NS: u64 = 50_000;
/// And of smaller limits never: what came by other ways in that time might fill them.
const LARGE: u64 = if cfg!(loom) { 2 } else { 1_000 };

/// The senders to one mailbox.
#[derive(Debug)]
pub(crate) struct Senders {
    admitted: AtomicU64,
    sent: AtomicU64,
    /// The length that was told last, without what was noted before: with all that were admitted, the most there can
    /// be.
    base: AtomicU64,
    /// When it was asked for; or see [`NEVER`] and [`TELLING`].
    told_ns: AtomicU64,
    block: Block,
}

#[derive(Debug)]
struct Block {
    places: [AtomicU64; PLACES],
    more: OnceBox<Block>,
}

/// A claim is the place of a sender that was admitted. [`Entry`](crate::Entry) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim(pub u64);

/// Told is what a sender was. [`Entry`](crate::Entry) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Before it asked, it was told to note this.
    pub noted: u64,
    /// When it was, by [`Runtime::ticks_ns`](crate::Runtime::ticks_ns); or 0, if that is of no use.
    pub noted_ns: u64,
    /// Then the mailbox was so long.
    pub length: u64,
}

impl Senders {
    pub(crate) fn new() -> Self {
        Self {
            admitted: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            base: AtomicU64::new(0),
            told_ns: AtomicU64::new(NEVER),
            block: Block::new(),
        }
    }

    /// How many messages were sent. To be noted before the length is asked for.
    pub(crate) fn sent(&self) -> u64 {
        // Pairs with `free`: what is counted here is in the mailbox.
        self.sent.load(Ordering::Acquire)
    }

    /// Admits a sender by what another was told of late, if there is much room: the limit is large, less than half of
    /// it is in use, and nobody has to hear of the depth that there may be, all from `mark` on. If not, when it asked:
    /// [`NO_USE`] where nobody ever is, whatever the time, for which it did not ask then.
    pub(crate) fn admit_unasked(
        &self,
        sender: OwnerId,
        now_ns: impl FnOnce() -> u64,
        limit: u64,
        mark: u64,
        is_alive: impl Fn(OwnerId) -> bool,
    ) -> Result<Claim, u64> {
        let half = if limit < LARGE { 0 } else { limit / 2 };
        let below = half.min(mark.saturating_sub(1));
        if below == 0 {
            return Err(NO_USE);
        }
        let now_ns = now_ns();
        // Pairs with `tell`.
        let told_ns = self.told_ns.load(Ordering::Acquire);
        if told_ns >= TELLING || now_ns.saturating_sub(told_ns) > LEASE_NS {
            return Err(now_ns);
        }
        // Pairs with `tell`: those noted are among those admitted.
        let base = self.base.load(Ordering::Acquire);
        let mut admitted = self.admitted.load(Ordering::Relaxed);
        while admitted.wrapping_add(base) < below {
            match self.count_one(admitted) {
                Ok(()) => return Ok(self.claim(sender, is_alive)),
                Err(seen) => admitted = seen,
            }
        }
        Err(now_ns)
    }

    /// From now on others are admitted by what this sender was told, unless another was told later, or is just telling.
    pub(crate) fn tell(&self, told: Told) {
        if told.noted_ns == NO_USE {
            return;
        }
        let before = self.told_ns.load(Ordering::Relaxed);
        if before == TELLING || (before != NEVER && before > told.noted_ns) {
            return;
        }
        // Pairs with the store below: the base of whoever told before is the older one.
        let mine =
            self.told_ns
                .compare_exchange(before, TELLING, Ordering::Acquire, Ordering::Relaxed);
        if mine.is_err() {
            return;
        }
        let base = told.length.wrapping_sub(told.noted);
        // Pairs with `admit_unasked`.
        self.base.store(base, Ordering::Release);
        // Pairs with `admit_unasked`: who sees this sees a length that is no older.
        self.told_ns.store(told.noted_ns, Ordering::Release);
    }

    fn count_one(&self, admitted: u64) -> Result<(), u64> {
        let next = admitted.wrapping_add(1);
        self.admitted
            .compare_exchange_weak(admitted, next, Ordering::Relaxed, Ordering::Relaxed)
            .map(drop)
    }

    /// Admits a sender that was told this, if there is room. If not, the depth that decided:
    /// the length, and what may be missing in it.
    pub(crate) fn admit(
        &self,
        sender: OwnerId,
        Told { noted, length, .. }: Told,
        limit: impl Fn() -> u64,
        is_alive: impl Fn(OwnerId) -> bool,
    ) -> Result<Claim, u64> {
        let mut admitted = self.admitted.load(Ordering::Relaxed);
        loop {
            let depth = length.saturating_add(admitted.saturating_sub(noted));
            if depth >= limit() {
                return Err(depth);
            }
            match self.count_one(admitted) {
                Ok(()) => return Ok(self.claim(sender, is_alive)),
                Err(seen) => admitted = seen,
            }
        }
    }

    /// A place for a sender, which was counted. There are as many as were ever needed by the living at once, so that
    /// nobody passes by more.
    fn claim(&self, sender: OwnerId, is_alive: impl Fn(OwnerId) -> bool) -> Claim {
        let free = || self.block.claim_free(sender);
        free()
            .or_else(|| self.sweep(is_alive).then(free).flatten())
            .unwrap_or_else(|| self.block.claim(sender))
    }

    /// A sender's message is in the mailbox, or never will be. Nothing happens if the place is not its own. Returns
    /// whether it was.
    pub(crate) fn finish(&self, Claim(number): Claim, sender: OwnerId) -> bool {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let place = self.block.all().nth(number);
        place.is_some_and(|place| self.free(place, sender))
    }

    /// Gives back the places of senders that are dead. Returns whether there were any.
    pub(crate) fn sweep(&self, is_alive: impl Fn(OwnerId) -> bool) -> bool {
        self.block.all().fold(false, |any, place| {
            let sender = OwnerId(place.load(Ordering::Relaxed));
            let dead = sender.0 != FREE && !is_alive(sender);
            any | (dead && self.free(place, sender))
        })
    }

    fn free(&self, place: &AtomicU64, sender: OwnerId) -> bool {
        let free = exchange(place, sender.0, FREE);
        if free {
            // Pairs with `sent`.
            self.sent.fetch_add(1, Ordering::Release);
        }
        free
    }
}

impl Block {
    fn new() -> Self {
        Self {
            places: std::array::from_fn(|_| AtomicU64::new(FREE)),
            more: OnceBox::new(),
        }
    }

    /// A place, if there is one.
    #[inline]
    fn claim_free(&self, sender: OwnerId) -> Option<Claim> {
        let mut before = 0_usize;
        let mut block = self;
        loop {
            let mut places = block.places.iter();
            if let Some(index) = places.position(|place| exchange(place, FREE, sender.0)) {
                return Some(Claim(before.wrapping_add(index) as u64));
            }
            before = before.wrapping_add(PLACES);
            block = block.more.get()?;
        }
    }

    /// A place, and more of them if there is none.
    fn claim(&self, sender: OwnerId) -> Claim {
        loop {
            if let Some(claim) = self.claim_free(sender) {
                return claim;
            }
            let last = self.blocks().last().unwrap_or(self);
            last.more.get_or_init(|| Box::new(Self::new()));
        }
    }

    fn blocks(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |block| block.more.get())
    }

    fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        self.blocks().flat_map(|block| &block.places)
    }
}

fn exchange(place: &AtomicU64, from: u64, to: u64) -> bool {
    place
        .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
        .is_ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LIMIT: u64 = 20;

    fn told(senders: &Senders, length: u64) -> Told {
        Told {
            noted: senders.sent(),
            length,
            noted_ns: 1,
        }
    }

    fn admit(senders: &Senders, sender: u64, length: u64) -> Result<Claim, u64> {
        senders.admit(OwnerId(sender), told(senders, length), || LIMIT, |_| true)
    }

    #[test]
    fn as_many_are_admitted_as_there_is_room_for() {
        let senders = Senders::new();
        let claims: Vec<_> = (1..=LIMIT)
            .map(|sender| admit(&senders, sender, 0))
            .collect();
        assert!((0..LIMIT).map(|number| Ok(Claim(number))).eq(claims));
        assert_eq!(admit(&senders, 21, 0), Err(LIMIT));
        assert!(senders.finish(Claim(17), OwnerId(18)));
        // It is there now, and was taken out.
        assert_eq!(admit(&senders, 21, 0), Ok(Claim(17)));
    }

    #[test]
    fn what_was_sent_since_it_was_noted_is_counted() {
        let senders = Senders::new();
        let first = told(&senders, 0);
        for sender in 1..=5 {
            let claim = admit(&senders, sender, 0).unwrap();
            senders.finish(claim, OwnerId(sender));
        }
        let admitted =
            |length| senders.admit(OwnerId(9), Told { length, ..first }, || LIMIT, |_| true);
        assert_eq!(admitted(LIMIT - 5), Err(LIMIT));
        assert!(admitted(LIMIT - 6).is_ok());
    }

    const ROOMY: u64 = 2 * LARGE;

    fn unasked(senders: &Senders, now_ns: u64) -> bool {
        let claim = senders.admit_unasked(OwnerId(9), || now_ns, ROOMY, u64::MAX, |_| true);
        claim.is_ok()
    }

    #[test]
    fn nobody_is_admitted_unasked_before_somebody_has_asked() {
        assert!(!unasked(&Senders::new(), 0));
    }

    #[test]
    fn what_one_was_told_holds_for_others_until_half_of_it_is_in_use() {
        let senders = Senders::new();
        senders.tell(told(&senders, ROOMY / 2 - 10));
        assert_eq!((0..20).filter(|_| unasked(&senders, 0)).count(), 10);
        // Who asks is told what is there by now.
        senders.tell(told(&senders, 0));
        assert!(unasked(&senders, 0));
    }

    #[test]
    fn what_one_was_told_holds_for_a_short_time() {
        let senders = Senders::new();
        senders.tell(told(&senders, 0));
        assert!(unasked(&senders, 1 + LEASE_NS));
        assert!(!unasked(&senders, 2 + LEASE_NS));
    }

    #[test]
    fn a_small_limit_or_a_near_mark_is_asked_about() {
        let senders = Senders::new();
        senders.tell(told(&senders, 0));
        let admitted = |limit, mark| {
            senders
                .admit_unasked(OwnerId(9), || 0, limit, mark, |_| true)
                .is_ok()
        };
        assert!(!admitted(LARGE - 1, u64::MAX));
        assert!(admitted(LARGE, u64::MAX));
        // The second message would be the one that somebody has to hear of.
        assert!(!admitted(LARGE, 2));
        assert!(admitted(LARGE, 3));
    }

    #[test]
    fn the_clock_is_read_where_time_decides() {
        let senders = Senders::new();
        let asked_at = |limit, mark| {
            let mut reads = 0;
            let now_ns = || {
                reads += 1;
                7
            };
            let claim = senders.admit_unasked(OwnerId(9), now_ns, limit, mark, |_| true);
            (claim, reads)
        };
        assert_eq!(asked_at(LARGE - 1, u64::MAX), (Err(NO_USE), 0));
        assert_eq!(asked_at(LARGE, 1), (Err(NO_USE), 0));
        assert_eq!(asked_at(LARGE, u64::MAX), (Err(7), 1));
    }

    #[test]
    fn what_was_asked_for_before_is_told_no_more() {
        let senders = Senders::new();
        let first = told(&senders, 0);
        let second = Told {
            noted_ns: 2,
            ..told(&senders, ROOMY)
        };
        senders.tell(second);
        senders.tell(first);
        assert!(!unasked(&senders, 2));
    }

    #[test]
    fn the_dead_make_room_before_there_are_more_places() {
        let senders = Senders::new();
        let limit = || u64::MAX;
        for sender in 1..=1_000 {
            let is_alive = |OwnerId(other)| other == sender;
            let claim = senders.admit(OwnerId(sender), told(&senders, 0), limit, is_alive);
            assert!(claim.is_ok());
        }
        assert_eq!(senders.block.all().count(), PLACES);
    }

    #[test]
    fn nobody_gives_back_anothers_place() {
        let senders = Senders::new();
        admit(&senders, 1, 0).unwrap();
        assert!(!senders.finish(Claim(0), OwnerId(2)));
        assert!(!senders.finish(Claim(1), OwnerId(1)));
        assert!(!senders.finish(Claim(u64::MAX), OwnerId(1)));
        assert_eq!(admit(&senders, 2, LIMIT - 1), Err(LIMIT));
    }

    #[test]
    fn the_dead_are_swept_out() {
        let senders = Senders::new();
        (1..=10).for_each(|sender| _ = admit(&senders, sender, 0));
        let is_alive = |OwnerId(sender)| sender % 2 == 0;
        assert!(senders.sweep(is_alive));
        assert_eq!(admit(&senders, 12, 15), Err(LIMIT));
        assert!(admit(&senders, 12, 14).is_ok());
        assert!(!senders.sweep(is_alive));
    }
}
