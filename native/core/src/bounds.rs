//! Where an owner is refused: its own limit, what of it a class may use, and how many drain until a deadline.

use crate::account::Account;
use crate::limit::Limit;
use crate::marker::{LEAST, Pace};
use crate::overload::Scale;
use crate::reason::Reason;
use crate::request::{Class, Request};
use crate::retry;
use crate::role::Role;
use crate::sync::Ordering;
use crate::vocabulary::Instant;
use crate::wait::Wait;

/// Why a request was refused, and by what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// The owner's depth.
    pub(crate) depth: u64,
    /// Its limit.
    pub(crate) limit: u64,
    /// The depth from which on such a request is refused.
    pub(crate) refused_at: u64,
    pub(crate) pace: Option<Pace>,
    pub(crate) class: Class,
    pub(crate) reason: Reason,
}

impl Request {
    /// It makes no sense any more: anybody refuses it.
    pub(crate) fn is_over(&self) -> bool {
        self.deadline_ms == Some(0)
    }
}

impl Role {
    /// Why an owner of whom nothing is known is refused such a request, if it is.
    pub(crate) fn refuses_unknown(&self, request: &Request) -> Option<Reason> {
        let limit = self.limit();
        if self.refuses_unknown_at(limit, request) == 0 {
            Some(self.reason(0, limit, request))
        } else {
            self.cap_refuses(request.bytes)
        }
    }

    /// The depth at which such an owner is refused such a request, with this limit.
    fn refuses_unknown_at(&self, limit: u64, request: &Request) -> u64 {
        match self.refuses_at(request.class, limit) {
            u64::MAX => u64::MAX,
            _ if request.is_over() => 0,
            refuses_at => refuses_at,
        }
    }

    /// How long a caller that is refused so should wait before it asks again, in milliseconds: what decided is what has
    /// to give way. When the node does its queues do not tell.
    pub(crate) fn retry_after(&self, case: &Case, now: Instant) -> u64 {
        match case.reason {
            Reason::Node => self.room_after(case, now).max(retry::NOT_KNOWN_MS),
            Reason::Role => self.retry_after_any_ms(self.beyond_cap(), now),
            Reason::Bytes => self.retry_after_any_ms(1, now),
            Reason::Full | Reason::Class | Reason::Deadline => self.room_after(case, now),
        }
    }

    fn room_after(&self, case: &Case, now: Instant) -> u64 {
        self.retry_after_ms(case.depth, case.refused_at, case.pace, now)
    }

    /// An owner of whom nothing is known is refused such a request.
    #[cold]
    pub(crate) fn case(&self, request: &Request, reason: Reason) -> Case {
        let limit = self.limit();
        Case {
            depth: 0,
            limit,
            refused_at: self.refuses_unknown_at(limit, request),
            pace: None,
            class: request.class,
            reason,
        }
    }
}

impl<T> Account<T> {
    /// The owner's limit.
    #[inline(always)]
    pub(crate) fn limit(&self) -> u64 {
        match self.role().set_to() {
            Limit::Fixed(limit) => limit,
            Limit::Wait(wait) => self.limit_by(wait).into(),
        }
    }

    #[inline(never)]
    fn limit_by(&self, wait: Wait) -> u32 {
        match (self.moved_to(), self.pace()) {
            (None, Some(pace)) => wait.next(None, pace.per_ms, 0, |limit| limit),
            (moved_to, _) => wait.limit(moved_to),
        }
    }

    fn moved_to(&self) -> Option<u32> {
        Some(self.moved_to.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }

    /// Moves a limit that follows the pace, which was just measured. For one thread at a time: who has the claim on the
    /// mark.
    pub(crate) fn move_limit(&self, pace: Pace) {
        if let (Limit::Wait(wait), Ok(depth)) = (self.role().set_to(), self.depth()) {
            let reserve = self.role().reserve.get();
            let usable = |limit: u32| reserve.least_bound(limit.into()) as u32;
            let next = wait.next(self.moved_to(), pace.per_ms, depth, usable);
            self.moved_to.store(next, Ordering::Relaxed);
        }
    }

    /// By what the owner is judged.
    pub(crate) fn scale(&self) -> Scale {
        self.role().scale_of(self.limit())
    }

    /// The depth at which the owner is refused such a request now.
    #[inline(always)]
    pub(crate) fn refuses_at(&self, request: &Request) -> u64 {
        self.refuses_with(self.limit(), request)
    }

    /// The same, with this limit.
    #[inline(always)]
    fn refuses_with(&self, limit: u64, request: &Request) -> u64 {
        let refuses_at = self.role().refuses_at(request.class, limit);
        match request.deadline_ms {
            Some(deadline_ms) if refuses_at < u64::MAX => {
                refuses_at.min(self.drains_within(deadline_ms))
            }
            _ => refuses_at,
        }
    }

    /// As many as are done until then, the one that comes included; any number if that was not measured.
    ///
    /// Where everybody is refused for a pace of long ago, none would ever be measured again: then there is room for as
    /// many as that takes.
    #[inline(never)]
    fn drains_within(&self, deadline_ms: u64) -> u64 {
        match (deadline_ms, self.pace()) {
            (0, _) => 0,
            (_, None) => u64::MAX,
            (_, Some(pace)) => {
                let drains = pace.done_within(deadline_ms);
                let is_old = drains < LEAST && self.marker.is_old(self.role().tick());
                if is_old { LEAST } else { drains }
            }
        }
    }

    /// Why such a request was refused by this depth.
    #[cold]
    pub(crate) fn reason(&self, depth: u64, request: &Request) -> Reason {
        self.role().reason(depth, self.limit(), request)
    }

    /// Such a request was refused at this depth.
    #[cold]
    pub(crate) fn case(&self, depth: u64, request: &Request, reason: Reason) -> Case {
        let limit = self.limit();
        Case {
            depth,
            limit,
            refused_at: self.refuses_with(limit, request),
            pace: self.pace(),
            class: request.class,
            reason,
        }
    }
}
