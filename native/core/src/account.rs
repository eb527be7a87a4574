//! What one owner has in one role: a depth, and the alert level it amounts to.

use once_cell::race::OnceBox;

use crate::caps::Bytes;
use crate::gauge::{Gauge, Kind, Vacant};
use crate::marker::Marker;
use crate::overload::Marks;
use crate::role::Role;
use crate::senders::Senders;
use crate::sync::{Arc, AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::vocabulary::RoleId;

/// Depths from here on are told apart by judging only.
pub(crate) const LARGE: u64 = u32::MAX as u64;

/// Both marks as one word, which is read in one step: 32 bits each. A mark that is larger stands at the largest, which
/// is beyond none that it could be mistaken for: a depth of four thousand million is judged whenever it changes.
pub(crate) fn pack(marks: Marks) -> u64 {
    marks.rise_at.min(LARGE) | marks.fall_below.min(LARGE) << LARGE.count_ones()
}

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
    pub(crate) gauge: Gauge,
    pub(crate) marker: Marker,
    /// See [`pack`].
    pub(crate) marks: AtomicU64,
    pub(crate) tenure: AtomicU64,
    annex: OnceBox<Annex<T>>,
    /// The milliseconds' low 32 bits and the next 8, of the last alert: 17 years back, and as many ahead.
    pub(crate) alerted_low: AtomicU32,
    pub(crate) alerted_high: AtomicU8,
    pub(crate) level: AtomicU8,
    /// When somebody was taken out last, or came to wait alone. See [`Role::tick`].
    pub(crate) moved: AtomicU32,
    /// Where a limit stands that follows the pace; 0 if it was never moved.
    pub(crate) moved_to: AtomicU32,
    rest: T,
}

/// What few accounts have.
#[derive(Debug)]
struct Annex<T> {
    senders: OnceBox<Senders>,
    bytes: Bytes,
    next: OnceBox<Account<T>>,
}

impl<T: Default> Account<T> {
    pub(crate) fn vacant(role: Arc<Role>) -> Self {
        let tenure = role.next_tenure();
        Self {
            role,
            gauge: Gauge::vacant(),
            marker: Marker::new(),
            marks: AtomicU64::new(pack(Marks::NONE)),
            tenure: AtomicU64::new(tenure),
            annex: OnceBox::new(),
            alerted_low: AtomicU32::new(0),
            alerted_high: AtomicU8::new(0),
            level: AtomicU8::new(0),
            moved: AtomicU32::new(0),
            moved_to: AtomicU32::new(0),
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
                bytes: Bytes::default(),
                next: OnceBox::new(),
            })
        })
    }

    /// How many bytes what waits here has.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.annex().bytes
    }

    /// The same, if there ever were any.
    pub(crate) fn some_bytes(&self) -> Option<&Bytes> {
        Some(&self.annex.get()?.bytes)
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

    /// Who is, or was in a use before, if there ever was any.
    pub(crate) fn any_senders(&self) -> Option<&Senders> {
        self.annex.get()?.senders.get()
    }

    /// Tells this use of the account from any other use of an account of the role. It changes when the account is
    /// opened again.
    #[inline]
    pub(crate) fn tenure(&self) -> u64 {
        // Pairs with `open`: who finds a later one finds that the first use is over.
        self.tenure.load(Ordering::Acquire)
    }
}
