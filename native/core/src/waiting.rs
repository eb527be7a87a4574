//! The messages that wait for one process, by type, and no more of them than there is room for.
//!
//! A handler takes nothing but messages, and says so of each: they are counted exactly, by a [`Place`] that travels
//! with each. The process of an alias says nothing. What it was sent counts as waiting until there is a reason to
//! think otherwise.

use crate::lanes::{ByType, ControlType};
use crate::sync::{Arc, AtomicBool, Ordering};

/// So many messages of one type wait for one process at most. In a model it is few, and goes up to them.
pub const MAX_QUEUED: u64 = if cfg!(loom) { 2 } else { 65_536 };

/// What waits for one process.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Places that are taken, of a handler.
    places: ByType,
    /// How many an alias was sent. Only grows.
    sent: ByType,
    /// How many of those are known not to wait any more: the first so many, since they come in the order in which they
    /// were sent. Only grows.
    gone: ByType,
}

/// This is the place that a message takes among those that wait for a handler.
///
/// It goes with the message, and is given back once: when the handler takes the message out, or when nobody holds the
/// message any more, which happens at the latest with the sender that was killed before it sent.
/// [`Components`](crate::control::Components) has an example.
#[derive(Debug)]
pub struct Place {
    waiting: Arc<Waiting>,
    kind: ControlType,
    given_back: AtomicBool,
}

/// An alias was sent so many messages of a type of which too many may still wait.
///
/// ```
/// use erlmcp_core::control::{ComponentId, Components, ControlType, Crowded, MAX_QUEUED};
///
/// let (id, kind) = (ComponentId(1), ControlType::CancelTask);
/// let components = Components::new();
/// components.put(id, "its own process", |_| false)?;
/// components.with(id, |component| {
///     assert!((1..=MAX_QUEUED).all(|number| component.send(kind) == Ok(number)));
///     let crowded = Crowded(MAX_QUEUED);
///     assert_eq!(component.send(kind), Err(crowded));
///     // Its mailbox is as long as that, or has been emptied.
///     assert!(!component.at_most(kind, crowded, MAX_QUEUED));
///     assert!(component.at_most(kind, crowded, 0));
/// });
/// # Ok::<(), erlmcp_core::control::TooManyComponents>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded(pub u64);

impl Waiting {
    /// Takes a place for a message to a handler, unless [`MAX_QUEUED`] of its type are taken. By type, so that no flood
    /// of one keeps a more urgent one out.
    pub(crate) fn take_place(this: &Arc<Self>, kind: ControlType) -> Option<Place> {
        let places = this.places.of(kind);
        // Whoever is refused seldom writes: a word that many write is slow for all.
        if places.load(Ordering::Relaxed) >= MAX_QUEUED {
            return None;
        }
        if places.fetch_add(1, Ordering::Relaxed) >= MAX_QUEUED {
            places.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Place {
            waiting: Arc::clone(this),
            kind,
            given_back: AtomicBool::new(false),
        })
    }

    /// How many places are taken, by type.
    pub(crate) fn taken(&self) -> [u64; 4] {
        self.places.read()
    }

    /// Counts a message to an alias, and numbers it, from 1.
    pub(crate) fn send(&self, kind: ControlType) -> Result<u64, Crowded> {
        let sent = self.sent.of(kind);
        let so_far = sent.load(Ordering::Relaxed);
        if !self.has_room(kind, so_far) {
            return Err(Crowded(so_far));
        }
        Ok(sent.fetch_add(1, Ordering::Relaxed).wrapping_add(1))
    }

    /// The message of this number was answered, and so none before it waits.
    pub(crate) fn answered(&self, kind: ControlType, number: u64) {
        // A number that comes from the alias before this one may be beyond all that was sent here.
        let sent = self.sent.of(kind).load(Ordering::Relaxed);
        self.gone
            .of(kind)
            .fetch_max(number.min(sent), Ordering::Relaxed);
    }

    /// When this many had been sent, the whole mailbox was so long: of those sent by then no more wait. True if there
    /// is room now.
    pub(crate) fn at_most(&self, kind: ControlType, sent: u64, length: u64) -> bool {
        self.answered(kind, sent.saturating_sub(length));
        self.has_room(kind, sent)
    }

    fn has_room(&self, kind: ControlType, sent: u64) -> bool {
        let gone = self.gone.of(kind).load(Ordering::Relaxed);
        sent.saturating_sub(gone) < MAX_QUEUED
    }
}

impl Place {
    /// Returns the type of the message.
    pub fn kind(&self) -> ControlType {
        self.kind
    }

    /// Gives the place back, the first time that it is asked to.
    pub fn give_back(&self) {
        if !self.given_back.swap(true, Ordering::Relaxed) {
            self.waiting
                .places
                .of(self.kind)
                .fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const CANCEL: ControlType = ControlType::CancelTask;

    #[test]
    fn a_place_is_given_back_once_by_hand_or_with_the_message() {
        let waiting = Arc::new(Waiting::default());
        let (first, second) = (
            Waiting::take_place(&waiting, CANCEL).unwrap(),
            Waiting::take_place(&waiting, CANCEL).unwrap(),
        );
        assert_eq!(waiting.taken(), [0, 0, 0, 2]);
        first.give_back();
        first.give_back();
        drop(first);
        assert_eq!(waiting.taken(), [0, 0, 0, 1]);
        drop(second);
        assert_eq!(waiting.taken(), [0; 4]);
    }

    #[test]
    fn a_flood_of_one_type_keeps_no_other_out() {
        let waiting = Arc::new(Waiting::default());
        let places: Vec<_> = (0..MAX_QUEUED)
            .map(|_| Waiting::take_place(&waiting, CANCEL).unwrap())
            .collect();
        assert!(Waiting::take_place(&waiting, CANCEL).is_none());
        assert!(Waiting::take_place(&waiting, ControlType::CircuitBreaker).is_some());
        drop(places);
        assert!(Waiting::take_place(&waiting, CANCEL).is_some());
    }

    fn crowded() -> Waiting {
        let waiting = Waiting::default();
        for number in 1..=MAX_QUEUED {
            assert_eq!(waiting.send(CANCEL), Ok(number));
        }
        assert_eq!(waiting.send(CANCEL), Err(Crowded(MAX_QUEUED)));
        waiting
    }

    #[test]
    fn an_answer_says_that_nothing_before_it_waits() {
        let waiting = crowded();
        assert!(waiting.send(ControlType::CircuitBreaker).is_ok());
        waiting.answered(CANCEL, 10);
        waiting.answered(CANCEL, 3);
        let room = std::iter::repeat_with(|| waiting.send(CANCEL)).take_while(Result::is_ok);
        assert_eq!(room.count(), 10);
    }

    #[test]
    fn no_more_wait_than_there_are_in_the_mailbox() {
        let waiting = crowded();
        assert!(!waiting.at_most(CANCEL, MAX_QUEUED, MAX_QUEUED));
        assert!(!waiting.at_most(CANCEL, MAX_QUEUED, 1_000_000));
        assert!(waiting.at_most(CANCEL, MAX_QUEUED, 100));
        let room = std::iter::repeat_with(|| waiting.send(CANCEL)).take_while(Result::is_ok);
        assert_eq!(room.count() as u64, MAX_QUEUED - 100);
    }

    #[test]
    fn a_number_of_the_alias_before_opens_no_room_for_what_is_still_to_come() {
        let waiting = Waiting::default();
        waiting.answered(CANCEL, 1_000_000);
        let room = std::iter::repeat_with(|| waiting.send(CANCEL)).take_while(Result::is_ok);
        assert_eq!(room.count() as u64, MAX_QUEUED);
    }
}
