//! One token: whether its task was cancelled, why, and what that sets free. All of it happens once.

use crate::aliases::AliasId;
use crate::label::Label;
use crate::sync::{AtomicU8, AtomicU64, Mutex, Ordering};
use crate::vocabulary::OwnerId;

const RUNNING: u8 = 0;
const CANCELLED: u8 = 1;

/// This is what a task asks whether anybody still waits for it. `P` is a place that the task holds until it is done or
/// cancelled. [`Cancellations`](crate::cancel::Cancellations) makes it and has an example.
#[derive(Debug)]
pub struct Token<P> {
    /// Written once, under the lock, after the reason.
    state: AtomicU8,
    pub(crate) owner: OwnerId,
    pub(crate) hash: u64,
    id: Option<Label>,
    rest: Mutex<Rest<P>>,
}

#[derive(Debug)]
struct Rest<P> {
    is_done: bool,
    reason: Option<Reason>,
    notify: Option<AliasId>,
    place: Option<P>,
}

/// This is why a task was cancelled. [`Cancellations`](crate::cancel::Cancellations) has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its owner is dead.
    OwnerDown,
    /// Somebody has said so, and why.
    Said(Label),
}

/// In which way tasks are cancelled. [`Cancellations`](crate::cancel::Cancellations) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Somebody asked for it.
    Asked,
    /// Somebody had asked for it before there was a token.
    Early,
    /// The owner died.
    OwnerDown,
}

/// This is what a cancellation leaves to be done, the first that there is of a token.
/// [`Cancellations`](crate::cancel::Cancellations) has an example.
#[derive(Debug)]
#[must_use]
pub struct Fallout<P> {
    /// To be given back.
    pub place: Option<P>,
    /// To be told.
    pub notify: Option<AliasId>,
}

impl<P> Token<P> {
    pub(crate) fn new(
        owner: OwnerId,
        hash: u64,
        id: Option<Label>,
        notify: Option<AliasId>,
        place: Option<P>,
    ) -> Self {
        Self {
            state: AtomicU8::new(RUNNING),
            owner,
            hash,
            id,
            rest: Mutex::new(Rest {
                is_done: false,
                reason: None,
                notify,
                place,
            }),
        }
    }

    /// Tells whether it was cancelled.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        // Pairs with `cancel`.
        self.state.load(Ordering::Acquire) == CANCELLED
    }

    /// Returns the id that it was made with.
    pub fn id(&self) -> Option<&Label> {
        self.id.as_ref()
    }

    /// Shows why it was cancelled, if it was.
    pub fn reason<R>(&self, see: impl FnOnce(Option<&Reason>) -> R) -> R {
        see(self.rest.lock().reason.as_ref())
    }

    /// Nothing is left to be done if it was cancelled before, or is done.
    pub(crate) fn cancel(&self, reason: Reason) -> Option<Fallout<P>> {
        let mut rest = self.rest.lock();
        if rest.is_done || rest.reason.is_some() {
            return None;
        }
        rest.reason = Some(reason);
        // Pairs with `is_cancelled`.
        self.state.store(CANCELLED, Ordering::Release);
        Some(Fallout {
            place: rest.place.take(),
            notify: rest.notify.take(),
        })
    }

    /// Nothing happens to it any more. Returns its place, if it has it still.
    pub(crate) fn finish(&self) -> Option<P> {
        let mut rest = self.rest.lock();
        rest.is_done = true;
        rest.notify = None;
        rest.place.take()
    }
}

/// How many tasks were cancelled, by way.
#[derive(Debug, Default)]
pub(crate) struct ByWay([AtomicU64; Way::ALL.len()]);

impl Way {
    /// All that there are.
    pub const ALL: [Self; 3] = [Self::Asked, Self::Early, Self::OwnerDown];
}

impl ByWay {
    pub(crate) fn count(&self, way: Way) {
        if let Some(counter) = self.0.get(way as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> [u64; Way::ALL.len()] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.0.each_ref().map(read)
    }
}
