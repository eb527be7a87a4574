//! Alerts: the ring of the last ones, and what handlers still have to be told.

use std::collections::VecDeque;

use once_cell::sync::OnceCell;

use crate::overload::Level;
use crate::queue::{Full, Queue};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, fence};
use crate::vocabulary::{OwnerId, RoleId};

/// So many alerts are kept at most.
pub const MAX_HISTORY: usize = 10_000;

/// What handlers may lag behind before news are counted instead of kept. A model has less news.
const OUTBOX: usize = if cfg!(loom) { 4 } else { 16_384 };

/// An alert says that an owner's level was reached, was left, or lasts. [`Alerts`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// This level was reached or left.
    pub level: Level,
    /// It is a level in this role.
    pub role: RoleId,
    /// It is the level of this owner.
    pub owner: OwnerId,
    /// The owner's depth was this at the time.
    pub depth: u64,
    /// The role's limit was this at the time.
    pub limit: u64,
    /// It happened then, in milliseconds of system time.
    pub at_ms: u64,
}

/// News are what handlers are told. [`Alerts`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// A level was reached, or lasts.
    Raised(Alert),
    /// A level was left.
    Cleared(Alert),
}

/// The last alerts are kept here, and the news that handlers have not been told yet.
///
/// The history has each alert once. The news are kept for the process that tells handlers: it is woken once, takes
/// them, and says when they were told, so that none is lost with it.
///
/// ```
/// use erlmcp_core::alerts::{Alert, Alerts, News};
/// use erlmcp_core::overload::Level;
/// use erlmcp_core::{OwnerId, RoleId};
///
/// let (role, owner) = (RoleId(1), OwnerId(7));
/// let alert = Alert { level: Level::Warning, role, owner, depth: 8, limit: 10, at_ms: 1_700_000_000_000 };
/// let alerts = Alerts::new(100);
/// assert!(alerts.raise(alert), "it has to be woken");
/// assert!(!alerts.clear(alert), "that has been done already");
/// let (news, lost) = alerts.take(10);
/// assert_eq!((news, lost), (vec![News::Raised(alert), News::Cleared(alert)], 0));
/// alerts.told();
/// assert_eq!(alerts.history(), [alert]);
/// ```
#[derive(Debug)]
pub struct Alerts {
    history: Mutex<History>,
    /// Made when there are first news: a table that is never judged does without.
    outbox: OnceCell<Queue<News>>,
    /// Taken out and not yet known to have been told.
    in_hand: Mutex<Vec<News>>,
    lost: AtomicU64,
    lost_in_all: AtomicU64,
    woken: AtomicBool,
}

#[derive(Debug)]
struct History {
    newest_last: VecDeque<Alert>,
    capacity: usize,
}

impl Alerts {
    /// Begins without any; the last `capacity` will be kept, at most [`MAX_HISTORY`].
    pub fn new(capacity: usize) -> Self {
        Self {
            history: Mutex::new(History {
                newest_last: VecDeque::new(),
                capacity: capacity.min(MAX_HISTORY),
            }),
            outbox: OnceCell::new(),
            in_hand: Mutex::new(Vec::new()),
            lost: AtomicU64::new(0),
            lost_in_all: AtomicU64::new(0),
            woken: AtomicBool::new(false),
        }
    }

    /// Enters an alert, and has handlers told. Returns whether their process is to be woken.
    pub fn raise(&self, alert: Alert) -> bool {
        self.history.lock().push(alert);
        self.tell(News::Raised(alert))
    }

    /// Has handlers told that a level was left. Returns whether their process is to be woken.
    pub fn clear(&self, alert: Alert) -> bool {
        self.tell(News::Cleared(alert))
    }

    fn tell(&self, news: News) -> bool {
        let outbox = self.outbox.get_or_init(|| Queue::with_room_for(OUTBOX));
        if outbox.put(news) == Err(Full) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.lost_in_all.fetch_add(1, Ordering::Relaxed);
        }
        // Pairs with the fence in `take`: it finds these news there, or they find the flag down here.
        fence(Ordering::SeqCst);
        !self.woken.load(Ordering::Relaxed) && !self.woken.swap(true, Ordering::Relaxed)
    }

    /// Hands out the next news, at most `most` and the same again until [`told`](Self::told) is called, and how many
    /// were lost since the last time. With none left the next news wake.
    pub fn take(&self, most: usize) -> (Vec<News>, u64) {
        let mut in_hand = self.in_hand.lock();
        if in_hand.is_empty() {
            self.fill(&mut in_hand, most);
        }
        if in_hand.is_empty() {
            // Nothing left: what is sent from here on wakes, unless it is taken right below.
            // A swap: loom lets a plain store and the swap in `tell` pass each other.
            self.woken.swap(false, Ordering::Relaxed);
            // Pairs with the fence in `tell`.
            fence(Ordering::SeqCst);
            self.fill(&mut in_hand, most);
            if !in_hand.is_empty() {
                self.woken.store(true, Ordering::Relaxed);
            }
        }
        (in_hand.clone(), self.lost.swap(0, Ordering::Relaxed))
    }

    fn fill(&self, in_hand: &mut Vec<News>, most: usize) {
        if let Some(outbox) = self.outbox.get() {
            in_hand.extend(std::iter::from_fn(|| outbox.take()).take(most));
        }
    }

    /// Tells how many news were lost since the beginning, exactly. A reset leaves this.
    pub fn lost(&self) -> u64 {
        self.lost_in_all.load(Ordering::Relaxed)
    }

    /// Notes that what was taken has been told.
    pub fn told(&self) {
        self.in_hand.lock().clear();
    }

    /// Gives the alerts that are kept, newest first.
    pub fn history(&self) -> Vec<Alert> {
        let history = self.history.lock();
        history.newest_last.iter().rev().copied().collect()
    }

    /// How many are kept now.
    pub(crate) fn kept(&self) -> usize {
        self.history.lock().newest_last.len()
    }

    /// Keeps the last `capacity` from now on, at most [`MAX_HISTORY`].
    pub fn set_capacity(&self, capacity: usize) {
        let mut history = self.history.lock();
        history.capacity = capacity.min(MAX_HISTORY);
        history.trim();
        history.newest_last.shrink_to_fit();
    }

    /// Forgets the history. What handlers have to be told stays.
    pub fn forget_history(&self) {
        self.history.lock().newest_last = VecDeque::new();
    }

    /// Forgets everything.
    pub fn reset(&self) {
        self.forget_history();
        self.in_hand.lock().clear();
        if let Some(outbox) = self.outbox.get() {
            std::iter::from_fn(|| outbox.take()).for_each(drop);
        }
        self.lost.store(0, Ordering::Relaxed);
        self.woken.swap(false, Ordering::Relaxed);
    }
}

impl History {
    fn push(&mut self, alert: Alert) {
        self.newest_last.push_back(alert);
        self.trim();
    }

    fn trim(&mut self) {
        let surplus = self.newest_last.len().saturating_sub(self.capacity);
        self.newest_last.drain(..surplus).for_each(drop);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn alert(depth: u64) -> Alert {
        Alert {
            level: Level::Warning,
            role: RoleId(1),
            owner: OwnerId(2),
            depth,
            limit: 10,
            at_ms: depth,
        }
    }

    #[test]
    fn the_last_ones_are_kept_in_order() {
        let alerts = Alerts::new(3);
        for depth in 1..=5 {
            alerts.raise(alert(depth));
        }
        let depths = |alerts: &Alerts| -> Vec<u64> {
            alerts.history().iter().map(|alert| alert.depth).collect()
        };
        assert_eq!(depths(&alerts), [5, 4, 3]);
        alerts.set_capacity(1);
        assert_eq!(depths(&alerts), [5]);
        alerts.forget_history();
        assert!(alerts.history().is_empty());
    }

    #[test]
    fn one_wake_up_until_the_news_are_taken() {
        let alerts = Alerts::new(10);
        assert!(alerts.raise(alert(1)));
        assert!(!alerts.raise(alert(2)));
        assert!(!alerts.clear(alert(3)));
        let (news, lost) = alerts.take(2);
        assert_eq!((news.len(), lost), (2, 0));
        assert!(!alerts.raise(alert(4)));
        alerts.told();
        assert_eq!(alerts.take(9).0.len(), 2);
        alerts.told();
        assert!(alerts.take(9).0.is_empty());
        assert!(alerts.raise(alert(5)));
    }

    #[test]
    fn news_are_handed_out_until_they_were_told() {
        let alerts = Alerts::new(10);
        alerts.raise(alert(1));
        alerts.raise(alert(2));
        let (first, _) = alerts.take(1);
        assert_eq!(alerts.take(5).0, first);
        alerts.told();
        assert_eq!(alerts.take(5).0, [News::Raised(alert(2))]);
        alerts.told();
        assert!(alerts.take(5).0.is_empty());
    }

    #[test]
    fn news_beyond_the_outbox_are_counted() {
        let alerts = Alerts::new(10);
        for depth in 0..OUTBOX as u64 + 7 {
            alerts.raise(alert(depth));
        }
        assert_eq!(alerts.take(1).1, 7);
        assert_eq!(alerts.take(1).1, 0);
        assert_eq!(alerts.history().len(), 10);
        alerts.reset();
        assert_eq!(alerts.lost(), 7);
    }
}
