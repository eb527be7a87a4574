//! The atomics and the lock that the algorithms use: the standard ones, or loom's in a model.
//!
//! Nothing else in this crate chooses between the two.

#[cfg(loom)]
pub(crate) use self::model::{Mutex, order_after_change, relax, thread_number, threads};
#[cfg(not(loom))]
pub(crate) use self::native::{Mutex, order_after_change, relax, thread_number, threads};
#[cfg(all(test, not(loom)))]
pub(crate) use self::watched::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc, Arc as Kept,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence},
};
#[cfg(not(any(loom, test)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc,
    atomic::{Ordering, fence},
};
/// An `Arc` without a count of weak ones, for what there are very many of.
#[cfg(not(loom))]
pub(crate) use triomphe::Arc as Kept;

#[cfg(not(loom))]
mod native {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[cfg(not(test))]
    pub(crate) use parking_lot::Mutex;

    /// parking_lot's, but taking it counts as a write.
    #[cfg(test)]
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

    #[cfg(test)]
    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(parking_lot::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> parking_lot::MutexGuard<'_, T> {
            super::watched::note(self);
            self.0.lock()
        }
    }

    /// Between a sequentially consistent change and such a load there is nothing to do.
    pub(crate) fn order_after_change() {}

    /// Lets somebody else get on who is waited for: a few instructions first, and then the whole processor, in case
    /// they have none.
    pub(crate) fn relax(turns: &mut u32) {
        const SPINS: u32 = 64;
        *turns = turns.saturating_add(1);
        if *turns < SPINS {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }

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

/// The standard atomics in a test, which can ask where a thread has written.
#[cfg(all(test, not(loom)))]
pub(crate) mod watched {
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::sync::atomic::{self, Ordering};

    /// Bytes that a processor fetches at least, and that only one core at a time may write into.
    const LINE: usize = 64;

    thread_local! {
        static WRITTEN: RefCell<Option<BTreeSet<usize>>> = const { RefCell::new(None) };
    }

    /// The lines that `operation` writes into through atomics.
    pub(crate) fn lines_written(operation: impl FnOnce()) -> BTreeSet<usize> {
        WRITTEN.set(Some(BTreeSet::new()));
        operation();
        WRITTEN.take().unwrap()
    }

    pub(super) fn note<T>(word: &T) {
        let line = std::ptr::from_ref(word).addr() / LINE;
        WRITTEN.with_borrow_mut(|written| written.as_mut().map(|lines| lines.insert(line)));
    }

    macro_rules! atomic {
        ($name:ident, $word:ty, [$($change:ident),*]) => {
            #[derive(Debug, Default)]
            pub(crate) struct $name(atomic::$name);

            #[allow(dead_code, reason = "some words are changed in few ways")]
            impl $name {
                pub(crate) const fn new(word: $word) -> Self {
                    Self(atomic::$name::new(word))
                }

                pub(crate) fn load(&self, ordering: Ordering) -> $word {
                    self.0.load(ordering)
                }

                pub(crate) fn store(&self, word: $word, ordering: Ordering) {
                    note(self);
                    self.0.store(word, ordering);
                }

                pub(crate) fn compare_exchange(
                    &self,
                    current: $word,
                    new: $word,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$word, $word> {
                    note(self);
                    self.0.compare_exchange(current, new, success, failure)
                }

                pub(crate) fn compare_exchange_weak(
                    &self,
                    current: $word,
                    new: $word,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$word, $word> {
                    note(self);
                    self.0.compare_exchange_weak(current, new, success, failure)
                }

                $(pub(crate) fn $change(&self, word: $word, ordering: Ordering) -> $word {
                    note(self);
                    self.0.$change(word, ordering)
                })*
            }
        };
    }

    atomic!(AtomicBool, bool, [swap]);
    atomic!(AtomicU8, u8, [swap]);
    atomic!(AtomicU32, u32, [swap]);
    atomic!(AtomicU64, u64, [swap, fetch_add, fetch_sub, fetch_max]);
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

    /// Nobody gets on but by this.
    pub(crate) fn relax(_: &mut u32) {
        loom::thread::yield_now();
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
