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
//! refused.

use once_cell::race::OnceBox;

use crate::sync::{AtomicU64, Ordering};
use crate::vocabulary::OwnerId;

/// There are more senders at once only if some were suspended just then, or the machine is large.
const PLACES: usize = if cfg!(loom) { 2 } else { 8 };

const FREE: u64 = 0;

/// The senders to one mailbox.
#[derive(Debug)]
pub(crate) struct Senders {
    admitted: AtomicU64,
    sent: AtomicU64,
    block: Block,
}

#[derive(Debug)]
struct Block {
    places: [AtomicU64; PLACES],
    more: OnceBox<Block>,
}

/// A claim is the place of a sender that was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim(pub u64);

impl Senders {
    pub(crate) fn new() -> Self {
        Self {
            admitted: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            block: Block::new(),
        }
    }

    /// How many messages were sent. To be noted before the length is asked for.
    pub(crate) fn sent(&self) -> u64 {
        // Pairs with `free`: what is counted here is in the mailbox.
        self.sent.load(Ordering::Acquire)
    }

    /// Admits a sender that noted so many and was told this length, if there is room. If not, the depth that decided:
    /// the length, and what may be missing in it.
    pub(crate) fn admit(
        &self,
        sender: OwnerId,
        noted: u64,
        length: u64,
        limit: impl Fn() -> u64,
    ) -> Result<Claim, u64> {
        let mut admitted = self.admitted.load(Ordering::Relaxed);
        loop {
            let depth = length.saturating_add(admitted.saturating_sub(noted));
            if depth >= limit() {
                return Err(depth);
            }
            let exchanged = self.admitted.compare_exchange_weak(
                admitted,
                admitted.wrapping_add(1),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match exchanged {
                Ok(_) => return Ok(self.block.claim(sender)),
                Err(seen) => admitted = seen,
            }
        }
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

    fn claim(&self, sender: OwnerId) -> Claim {
        let mut before = 0_usize;
        let mut block = self;
        loop {
            let mut places = block.places.iter();
            if let Some(index) = places.position(|place| exchange(place, FREE, sender.0)) {
                return Claim(before.wrapping_add(index) as u64);
            }
            before = before.wrapping_add(PLACES);
            block = block.more.get_or_init(|| Box::new(Self::new()));
        }
    }

    fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        std::iter::successors(Some(self), |block| block.more.get()).flat_map(|block| &block.places)
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

    fn admit(senders: &Senders, sender: u64, length: u64) -> Result<Claim, u64> {
        senders.admit(OwnerId(sender), senders.sent(), length, || LIMIT)
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
        let noted = senders.sent();
        for sender in 1..=5 {
            let claim = admit(&senders, sender, 0).unwrap();
            senders.finish(claim, OwnerId(sender));
        }
        let admitted = |length| senders.admit(OwnerId(9), noted, length, || LIMIT);
        assert_eq!(admitted(LIMIT - 5), Err(LIMIT));
        assert!(admitted(LIMIT - 6).is_ok());
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
