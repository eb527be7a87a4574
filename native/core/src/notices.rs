//! Tokens whose notice somebody else has to send, since who cancelled them cannot.
//!
//! One wake-up is on its way at a time. It is asked for after a notice was put in, and forgotten before they are taken
//! out, so that none waits unseen.

use std::collections::VecDeque;

use crate::aliases::AliasId;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};
use crate::token::Token;

const BLOCK: usize = if cfg!(loom) { 1 } else { 128 };
/// As many as wait while nobody is there to send them.
const MOST: usize = if cfg!(loom) { 4 } else { 1 << 20 };

/// A token that was cancelled, and who is to be told.
///
/// ```
/// use erlmcp_core::aliases::AliasId;
/// use erlmcp_core::cancel::{Cancellations, Notice};
/// use erlmcp_core::{Label, OwnerId};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (tokens, notify) = (Cancellations::new(), AliasId([1, 0, 0, 7, 0]));
/// let token = tokens.enter(OwnerId(7), None, Some(notify), Some("place"), &Still)?.token;
/// let fallout = tokens.cancel(&token, Label::new(0, b"why")).expect("it is the first");
/// assert_eq!(fallout.notify, Some(notify));
/// tokens.notice(Notice { token, notify }, &Still);
/// assert!(matches!(tokens.notices().as_slice(), [notice] if notice.token.is_cancelled()));
/// # Ok::<(), erlmcp_core::cancel::Known<&str>>(())
/// ```
#[derive(Debug)]
pub struct Notice<P> {
    /// This was cancelled.
    pub token: Arc<Token<P>>,
    /// To be told.
    pub notify: AliasId,
}

impl<P> Clone for Notice<P> {
    fn clone(&self) -> Self {
        Self {
            token: Arc::clone(&self.token),
            notify: self.notify,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Notices<P> {
    /// In blocks: a long vector that is full is copied to a longer one.
    blocks: Mutex<(VecDeque<Vec<Notice<P>>>, usize)>,
    woken: AtomicBool,
    dropped: AtomicU64,
}

impl<P> Default for Notices<P> {
    fn default() -> Self {
        Self {
            blocks: Mutex::new((VecDeque::new(), 0)),
            woken: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        }
    }
}

impl<P> Notices<P> {
    /// Where there are too many it is dropped.
    pub(crate) fn put(&self, notice: Notice<P>) {
        let mut guard = self.blocks.lock();
        let (blocks, count) = &mut *guard;
        if *count >= MOST {
            drop(guard);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        *count = count.saturating_add(1);
        match blocks.back_mut().filter(|block| block.len() < BLOCK) {
            Some(block) => block.push(notice),
            None => blocks.push_back(vec![notice]),
        }
    }

    /// Runs `wake`, unless a wake-up is on its way.
    pub(crate) fn wake(&self, wake: impl FnOnce()) {
        // Pairs with `awake`: who takes notices out afterwards finds what was put in before.
        if !self.woken.swap(true, Ordering::AcqRel) {
            wake();
        }
    }

    /// To be called before they are taken out.
    pub(crate) fn awake(&self) {
        // Pairs with `wake`.
        self.woken.swap(false, Ordering::AcqRel);
    }

    /// Takes some out, a block at most.
    pub(crate) fn take(&self) -> Vec<Notice<P>> {
        let mut guard = self.blocks.lock();
        let (blocks, count) = &mut *guard;
        let block = blocks.pop_front().unwrap_or_default();
        *count = count.saturating_sub(block.len());
        block
    }

    pub(crate) fn clear(&self) {
        let blocks = std::mem::take(&mut *self.blocks.lock());
        drop(blocks);
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.lock().1
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
