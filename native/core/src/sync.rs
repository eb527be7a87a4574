//! The atomics and the lock that the algorithms use: the standard ones, or loom's in a model.
//!
//! Nothing else in this crate chooses between the two.

#[cfg(loom)]
pub(crate) use self::model::{Mutex, order_after_change, thread_number, threads};
#[cfg(not(loom))]
pub(crate) use self::native::{Mutex, order_after_change, thread_number, threads};
#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc, Arc as Kept,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence},
};
/// An `Arc` without a count of weak ones, for what there are very many of.
#[cfg(not(loom))]
pub(crate) use triomphe::Arc as Kept;

#[cfg(not(loom))]
mod native {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    pub(crate) use parking_lot::Mutex;

    /// Between a sequentially consistent change and such a load there is nothing to do.
    pub(crate) fn order_after_change() {}

    /// The next thread's number.
    static NEXT: AtomicUsize = AtomicUsize::new(0);

    /// How many threads have a number. Whoever knows of what one of them did knows of its number.
    pub(crate) fn threads() -> usize {
        NEXT.load(Ordering::Relaxed)
    }

    /// A number that no other thread of the process ever gets, counted from zero.
    pub(crate) fn thread_number() -> usize {
        const UNSET: usize = usize::MAX;
        thread_local! {
            static NUMBER: Cell<usize> = const { Cell::new(UNSET) };
        }
        NUMBER.with(|mine| {
            if mine.get() == UNSET {
                mine.set(NEXT.fetch_add(1, Ordering::Relaxed));
            }
            mine.get()
        })
    }
}

#[cfg(loom)]
mod model {
    use std::sync::PoisonError;

    /// loom's lock with parking_lot's interface.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// loom does not know the one order of sequentially consistent operations, only that of fences.
    pub(crate) fn order_after_change() {
        loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
    }

    /// As many as there may be.
    pub(crate) fn threads() -> usize {
        usize::MAX
    }

    loom::lazy_static! {
        static ref NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    }
    loom::thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// A number that no other thread of the execution gets, counted from zero.
    pub(crate) fn thread_number() -> usize {
        NUMBER.with(|mine| *mine)
    }
}
