//! Of what a component's handler failed: how often, and the last few times in words.

use std::collections::VecDeque;

use crate::sync::{AtomicU64, Mutex, Ordering};

/// So many are kept, the newest.
pub const MAX_FAILURES: usize = 5;
/// So many bytes of the words are kept.
pub const MAX_FAILURE_BYTES: usize = 1024;

/// A failure is one time that a handler raised or died.
///
/// ```
/// use erlmcp_core::control::{ComponentId, Components};
/// use erlmcp_core::failures::Failure;
///
/// let (id, components) = (ComponentId(1), Components::new());
/// components.put(id, "where its messages go", |_| false)?;
/// components.crashed(id);
/// components.failed(id, Failure::new(1_700_000_000_000, b"badmatch"));
/// let (crashes, last) = components.failures(id).unwrap_or_default();
/// assert_eq!(crashes, 1);
/// assert_eq!(last[0].why(), "badmatch");
/// # Ok::<(), erlmcp_core::control::TooManyComponents>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// It was then, system time in milliseconds.
    pub at_ms: i64,
    why: Box<str>,
}

impl Failure {
    /// Makes one of its first [`MAX_FAILURE_BYTES`]; what is not UTF-8 in them is replaced.
    pub fn new(at_ms: i64, why: &[u8]) -> Self {
        let kept = why.get(..MAX_FAILURE_BYTES).unwrap_or(why);
        // A sign that was cut in two would end up as one that was none.
        let whole = match std::str::from_utf8(kept) {
            Err(error) if kept.len() < why.len() && error.error_len().is_none() => {
                kept.get(..error.valid_up_to()).unwrap_or(kept)
            }
            _ => kept,
        };
        let why = String::from_utf8_lossy(whole).into_owned();
        Self {
            at_ms,
            why: why.into_boxed_str(),
        }
    }

    /// Says of what it failed, in at most three times [`MAX_FAILURE_BYTES`].
    pub fn why(&self) -> &str {
        &self.why
    }
}

/// The failures of one component.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    crashes: AtomicU64,
    last: Mutex<VecDeque<Failure>>,
}

impl Failures {
    pub(crate) fn count(&self) {
        self.crashes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn keep(&self, failure: Failure) {
        let mut last = self.last.lock();
        last.truncate(MAX_FAILURES.saturating_sub(1));
        last.push_front(failure);
    }

    /// How many there were, and the last, the newest first.
    pub(crate) fn read(&self) -> (u64, Vec<Failure>) {
        let last = self.last.lock().iter().cloned().collect();
        (self.crashes.load(Ordering::Relaxed), last)
    }

    pub(crate) fn reset(&self) {
        self.crashes.store(0, Ordering::Relaxed);
        *self.last.lock() = VecDeque::new();
    }

    /// How many bytes they take beside the record itself.
    pub(crate) fn memory(&self) -> usize {
        let one = |failure: &Failure| size_of::<Failure>().saturating_add(failure.why.len());
        let last = self.last.lock();
        last.iter().map(one).fold(0, usize::saturating_add)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_newest_few_are_kept() {
        let failures = Failures::default();
        for n in 0..9_u8 {
            failures.count();
            failures.keep(Failure::new(i64::from(n), &[b'0' + n]));
        }
        let (crashes, last) = failures.read();
        assert_eq!(crashes, 9);
        let said: Vec<_> = last.iter().map(|one| (one.at_ms, one.why())).collect();
        assert_eq!(said, [(8, "8"), (7, "7"), (6, "6"), (5, "5"), (4, "4")]);
        assert_eq!(failures.memory(), 5 * (size_of::<Failure>() + 1));
        failures.reset();
        assert_eq!(failures.read(), (0, Vec::new()));
    }

    #[test]
    fn words_are_cut_between_signs() {
        let long = "ä".repeat(MAX_FAILURE_BYTES);
        assert_eq!(
            Failure::new(0, long.as_bytes()).why(),
            &long[..MAX_FAILURE_BYTES]
        );
        let shifted = format!("x{long}");
        assert_eq!(
            Failure::new(0, shifted.as_bytes()).why(),
            &shifted[..MAX_FAILURE_BYTES - 1]
        );
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        assert_eq!(Failure::new(0, b"a\xffb").why(), "a\u{fffd}b");
        assert_eq!(Failure::new(0, b"a\xc3").why(), "a\u{fffd}");
        let none = [0xff; 2 * MAX_FAILURE_BYTES];
        assert_eq!(
            Failure::new(0, &none).why().chars().count(),
            MAX_FAILURE_BYTES
        );
    }
}
