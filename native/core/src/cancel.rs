//! Cancellation: tokens by owner and id, and what becomes of them.
//!
//! An id of an owner's is known, or was cancelled before it was known, or neither, and whoever comes to it next finds
//! one of the three. A token's own lock decides what happens to it first. Where both are held, and the lock of
//! tombstones, they are taken in this order: owner, token, tombstones.

use crate::aliases::AliasId;
pub use crate::belongings::Estate;
use crate::belongings::{Item, Owners};
use crate::label::Label;
pub use crate::notices::Notice;
use crate::notices::Notices;
use crate::sync::{Arc, AtomicU64, Kept, Ordering};
use crate::token::ByWay;
pub use crate::token::{Fallout, Reason, Token, Way};
use crate::tombstones::{Line, Tombstone};
use crate::vocabulary::{Dead, Host, OwnerId, Runtime};

/// These are all tokens, and all cancellations that came before theirs. `P` is a place that a task holds.
///
/// ```
/// use erlmcp_core::cancel::{Cancellations, Reason, Way};
/// use erlmcp_core::{Label, OwnerId};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let tokens = Cancellations::new();
/// let (owner, id, why) = (OwnerId(7), Label::new(0, b"id"), Label::new(0, b"why"));
/// let made = tokens.enter(owner, Some(id.clone()), None, Some("place"), &Still)?;
/// assert!(!made.token.is_cancelled());
/// let cancelled = tokens.cancel_id(owner, id.clone(), why.clone(), &Still);
/// let (token, fallout) = cancelled.expect("it is the first");
/// assert_eq!((token.is_cancelled(), fallout.place), (true, Some("place")));
/// made.token.reason(|reason| assert_eq!(reason, Some(&Reason::Said(why))));
/// // It is known until it is done, or its owner is dead.
/// let again = tokens.enter(owner, Some(id), None, Some("another"), &Still);
/// assert_eq!(again.expect_err("it is known").0, Some("another"));
/// assert_eq!(tokens.summary().cancelled.iter().sum::<u64>(), 1);
///
/// let running = tokens.enter(owner, None, None, Some("third"), &Still)?;
/// let mut estate = tokens.died(owner);
/// while !estate.is_settled() {
///     tokens.settle(&mut estate, |_, fallout| assert_eq!(fallout.place, Some("third")));
/// }
/// running.token.reason(|reason| assert_eq!(reason, Some(&Reason::OwnerDown)));
/// assert_eq!(tokens.summary().cancelled[Way::OwnerDown as usize], 1);
/// # Ok::<(), erlmcp_core::cancel::Known<&str>>(())
/// ```
#[derive(Debug)]
pub struct Cancellations<P> {
    owners: Owners<P>,
    tombstones: Line,
    notices: Notices<P>,
    most_tombstones: AtomicU64,
    tombstone_ms: AtomicU64,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    tokens: AtomicU64,
    by_way: ByWay,
    /// Tombstones that had to go before their time.
    displaced: AtomicU64,
}

/// A token that was made; what is left to be done if it was cancelled before that. [`Cancellations`] has an example.
#[derive(Debug)]
pub struct Made<P> {
    /// Not known under its id if the owner is dead.
    pub token: Arc<Token<P>>,
    /// It was cancelled already.
    pub fallout: Option<Fallout<P>>,
}

/// There is a token of this owner's with that id. Its place is handed back.
/// [`Cancellations`] has an example.
#[derive(Debug)]
pub struct Known<P>(pub Option<P>);

/// How many there are, or were. [`Cancellations`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Tokens that are neither done nor let go, and whose owner lives.
    pub tokens: u64,
    /// Cancellations that wait for their token.
    pub tombstones: u64,
    /// So many may.
    pub tombstones_limit: u64,
    /// Tasks that were cancelled, by [`Way`].
    pub cancelled: [u64; Way::ALL.len()],
    /// Cancellations that were forgotten before their time.
    pub displaced: u64,
    /// Notices that nobody has sent yet.
    pub notices: u64,
    /// Notices that were too many.
    pub dropped: u64,
}

/// So long is a cancellation remembered that came early, in milliseconds, unless somebody says otherwise.
pub const TOMBSTONE_MS: u64 = 5_000;
/// So many of them are remembered, unless somebody says otherwise.
pub const TOMBSTONES: u64 = 65_536;
/// One that comes forgets no more than so many, unless it is long: they have as many bytes as it can have.
const AT_ONCE: usize = 1_024;

impl<P: Send + Sync + 'static> Cancellations<P> {
    /// Makes a table that knows none.
    pub fn new() -> Self {
        Self {
            owners: Owners::new(),
            tombstones: Line::default(),
            notices: Notices::default(),
            most_tombstones: AtomicU64::new(TOMBSTONES),
            tombstone_ms: AtomicU64::new(TOMBSTONE_MS),
            counts: Counts::default(),
        }
    }

    /// Says for how long, and how many, cancellations that come early are remembered. What is too much by that goes.
    pub fn configure(&self, tombstone_ms: u64, most_tombstones: u64) {
        self.tombstone_ms.store(tombstone_ms, Ordering::Relaxed);
        self.most_tombstones
            .store(most_tombstones, Ordering::Relaxed);
        self.displace(usize::MAX);
    }

    /// Makes a token. Of an owner that is dead it is cancelled already, and so it is if that id was.
    ///
    /// # Errors
    ///
    /// [`Known`] if the owner has a token with this id.
    pub fn enter(
        &self,
        owner: OwnerId,
        id: Option<Label>,
        notify: Option<AliasId>,
        place: Option<P>,
        host: &impl Host,
    ) -> Result<Made<P>, Known<P>> {
        let hash = match &id {
            Some(id) => self.owners.hash(id),
            None => self.owners.hash_of_none(),
        };
        let token = Arc::new(Token::new(owner, hash, id, notify, place));
        let entered = self.owners.with(owner, host, |belongings| {
            let known = token
                .id()
                .and_then(|id| belongings.index.find(hash, |item| item.has(id)));
            let stone = match known {
                Some(Item::Token(_)) => return Err(()),
                Some(Item::Tombstone(stone)) => Some(Kept::clone(stone)),
                None => None,
            };
            // Before others find it: the tombstone was first.
            let fallout = stone.and_then(|stone| {
                belongings.index.remove(hash, |item| item.is_stone(&stone));
                self.tombstones.take(&stone);
                if !stone.is_fresh(host.now().monotonic_ms, self.tombstone_ms()) {
                    return None;
                }
                self.cancelled(&token, Reason::Said(stone.reason.clone()), Way::Early)
            });
            let item = Item::Token(Arc::clone(&token));
            belongings.index.insert(hash, item);
            self.counts.tokens.fetch_add(1, Ordering::Relaxed);
            Ok(fallout)
        });
        match entered {
            Ok(Ok(fallout)) => Ok(Made { token, fallout }),
            Ok(Err(())) => Err(Known(token.finish())),
            Err(Dead) => {
                let fallout = self.cancelled(&token, Reason::OwnerDown, Way::OwnerDown);
                Ok(Made { token, fallout })
            }
        }
    }

    /// Cancels a task, if it was not before and is not done.
    pub fn cancel(&self, token: &Token<P>, why: Label) -> Option<Fallout<P>> {
        self.cancelled(token, Reason::Said(why), Way::Asked)
    }

    /// Cancels the task that an owner has under an id; if there is none, the next one that it will have, for a while.
    pub fn cancel_id(
        &self,
        owner: OwnerId,
        id: Label,
        why: Label,
        host: &impl Host,
    ) -> Option<(Arc<Token<P>>, Fallout<P>)> {
        let hash = self.owners.hash(&id);
        let found = self.owners.with(owner, host, |belongings| {
            let first = match belongings.index.find(hash, |item| item.has(&id)) {
                Some(Item::Token(token)) => return Ok(Arc::clone(token)),
                Some(Item::Tombstone(stone)) => Some(Kept::clone(stone)),
                None => None,
            };
            Err(first)
        });
        match found {
            Err(Dead) => None,
            Ok(Ok(token)) => {
                let fallout = self.cancel(&token, why)?;
                Some((token, fallout))
            }
            Ok(Err(_)) => self.bury(owner, hash, id, why, host),
        }
    }

    /// Leaves a tombstone, unless there is a token by now.
    fn bury(
        &self,
        owner: OwnerId,
        hash: u64,
        id: Label,
        why: Label,
        host: &impl Host,
    ) -> Option<(Arc<Token<P>>, Fallout<P>)> {
        let (now_ms, for_ms) = (host.now().monotonic_ms, self.tombstone_ms());
        let new = Kept::new(Tombstone::new(owner, hash, id, why, now_ms));
        let found = self.owners.with(owner, host, |belongings| {
            let stone = match belongings.index.find(hash, |item| item.has(&new.id)) {
                Some(Item::Token(token)) => return Ok(Arc::clone(token)),
                Some(Item::Tombstone(stone)) => Some(Kept::clone(stone)),
                None => None,
            };
            // Whoever came first has said why; but it is remembered from now on.
            let stone = match stone {
                Some(stone) => {
                    belongings.index.remove(hash, |item| item.is_stone(&stone));
                    self.tombstones.take(&stone);
                    stone
                        .is_fresh(now_ms, for_ms)
                        .then(|| Kept::new(new.because_of(stone.reason.clone())))
                }
                None => None,
            };
            let stone = stone.unwrap_or_else(|| Kept::clone(&new));
            belongings
                .index
                .insert(hash, Item::Tombstone(Kept::clone(&stone)));
            Err(self.tombstones.put(stone))
        });
        match found {
            Err(Dead) => None,
            Ok(Ok(token)) => {
                let fallout = self.cancel(&token, new.reason.clone())?;
                Some((token, fallout))
            }
            Ok(Err(is_first)) => {
                self.displace(if new.is_long() { usize::MAX } else { AT_ONCE });
                // Somebody has to sweep.
                if is_first {
                    self.notices.wake(|| host.wake());
                }
                None
            }
        }
    }

    /// Forgets a token. Returns its place, to be given back, if it has it still.
    pub fn finish(&self, token: &Token<P>) -> Option<P> {
        let place = token.finish();
        let is_it = |item: &Item<P>| item.is_token(token);
        if self.owners.remove(token.owner, token.hash, is_it) {
            self.counts.tokens.fetch_sub(1, Ordering::Relaxed);
        }
        place
    }

    /// An owner is dead. Returns what it has left, of which nothing is settled.
    pub fn died(&self, owner: OwnerId) -> Estate<P> {
        self.owners.end(owner)
    }

    /// Settles some hundreds of what a dead owner has left: tasks are cancelled, and `see` is shown what that leaves to
    /// be done.
    pub fn settle(&self, estate: &mut Estate<P>, mut see: impl FnMut(Arc<Token<P>>, Fallout<P>)) {
        for item in estate.some() {
            match item {
                Item::Token(token) => {
                    self.counts.tokens.fetch_sub(1, Ordering::Relaxed);
                    let fallout = self.cancelled(&token, Reason::OwnerDown, Way::OwnerDown);
                    if let Some(fallout) = fallout {
                        see(token, fallout);
                    }
                }
                Item::Tombstone(stone) => {
                    self.tombstones.take(&stone);
                }
            }
        }
    }

    /// Forgets up to so many cancellations that came early and too long ago. Returns in how many milliseconds there is
    /// the next, if there is any.
    pub fn sweep(&self, most: usize, runtime: &impl Runtime) -> Option<u64> {
        let now_ms = runtime.now().monotonic_ms;
        let for_ms = self.tombstone_ms();
        let stale = std::iter::from_fn(|| self.tombstones.take_stale(now_ms, for_ms));
        stale.take(most).for_each(|stone| self.forget(&stone));
        self.tombstones.next_stale(now_ms, for_ms)
    }

    /// Has somebody told of a token: by whoever takes notices out, who is woken.
    pub fn notice(&self, notice: Notice<P>, runtime: &impl Runtime) {
        self.notices.put(notice);
        self.notices.wake(|| runtime.wake());
    }

    /// Takes notices out, some hundred at most. There may be more as long as there are any.
    pub fn notices(&self) -> Vec<Notice<P>> {
        self.notices.awake();
        self.notices.take()
    }

    /// Forgets cancellations that came early, and notices.
    pub fn clear(&self) {
        while let Some(stone) = self.tombstones.take_surplus(0) {
            self.forget(&stone);
        }
        self.notices.clear();
    }

    /// Counts everything.
    pub fn summary(&self) -> Summary {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Summary {
            tokens: self.counts.tokens.load(Ordering::Relaxed),
            tombstones: count(self.tombstones.len()),
            tombstones_limit: self.most_tombstones.load(Ordering::Relaxed),
            cancelled: self.counts.by_way.read(),
            displaced: self.counts.displaced.load(Ordering::Relaxed),
            notices: count(self.notices.len()),
            dropped: self.notices.dropped(),
        }
    }

    fn cancelled(&self, token: &Token<P>, reason: Reason, way: Way) -> Option<Fallout<P>> {
        let fallout = token.cancel(reason)?;
        self.counts.by_way.count(way);
        Some(fallout)
    }

    fn tombstone_ms(&self) -> u64 {
        self.tombstone_ms.load(Ordering::Relaxed)
    }

    /// Takes a tombstone, which is in line no more, from its owner.
    fn forget(&self, stone: &Tombstone) {
        let is_it = |item: &Item<P>| item.is_stone(stone);
        self.owners.remove(stone.owner, stone.hash, is_it);
    }

    fn displace(&self, at_once: usize) {
        let most = self.most_tombstones.load(Ordering::Relaxed);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let surplus = std::iter::from_fn(|| self.tombstones.take_surplus(most));
        surplus.take(at_once).for_each(|stone| {
            self.counts.displaced.fetch_add(1, Ordering::Relaxed);
            self.forget(&stone);
        });
    }
}

impl<P: Send + Sync + 'static> Default for Cancellations<P> {
    fn default() -> Self {
        Self::new()
    }
}
