//! The bounded queue of this crate: crossbeam's channel, or in a model a small one that promises no more.
//!
//! Neither side waits. What was put in is taken out once, in that order.

#[cfg(loom)]
pub(crate) use self::model::Queue;
#[cfg(not(loom))]
pub(crate) use self::native::Queue;

/// There was no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

#[cfg(not(loom))]
mod native {
    use crossbeam_channel::{Receiver, Sender, bounded};

    use super::Full;

    #[derive(Debug)]
    pub(crate) struct Queue<T> {
        inlet: Sender<T>,
        outlet: Receiver<T>,
    }

    impl<T> Queue<T> {
        pub(crate) fn with_room_for(most: usize) -> Self {
            let (inlet, outlet) = bounded(most);
            Self { inlet, outlet }
        }

        pub(crate) fn put(&self, item: T) -> Result<(), Full> {
            self.inlet.try_send(item).map_err(|_| Full)
        }

        pub(crate) fn take(&self) -> Option<T> {
            self.outlet.try_recv().ok()
        }
    }
}

/// Two counters, as in crossbeam's, but with nothing sequentially consistent: who wants to know that somebody else sees
/// what was put in has to see to it.
#[cfg(loom)]
mod model {
    use std::sync::{Mutex, PoisonError};

    use loom::sync::atomic::{AtomicUsize, Ordering};

    use super::Full;

    #[derive(Debug)]
    pub(crate) struct Queue<T> {
        most: usize,
        taken: AtomicUsize,
        put: AtomicUsize,
        /// All that were ever put in, by number. Only one thread of a model runs at a time, and none is stopped between
        /// a counter and this.
        items: Mutex<Vec<Option<T>>>,
    }

    impl<T> Queue<T> {
        pub(crate) fn with_room_for(most: usize) -> Self {
            Self {
                most,
                taken: AtomicUsize::new(0),
                put: AtomicUsize::new(0),
                items: Mutex::new(Vec::new()),
            }
        }

        pub(crate) fn put(&self, item: T) -> Result<(), Full> {
            let mut put = self.put.load(Ordering::Relaxed);
            loop {
                if put.saturating_sub(self.taken.load(Ordering::Acquire)) >= self.most {
                    return Err(Full);
                }
                match count(&self.put, put) {
                    Ok(()) => break self.items().push(Some(item)),
                    Err(seen) => put = seen,
                }
            }
            Ok(())
        }

        pub(crate) fn take(&self) -> Option<T> {
            let mut taken = self.taken.load(Ordering::Relaxed);
            loop {
                if taken >= self.put.load(Ordering::Acquire) {
                    return None;
                }
                match count(&self.taken, taken) {
                    Ok(()) => return self.items().get_mut(taken)?.take(),
                    Err(seen) => taken = seen,
                }
            }
        }

        fn items(&self) -> std::sync::MutexGuard<'_, Vec<Option<T>>> {
            self.items.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    fn count(counter: &AtomicUsize, from: usize) -> Result<(), usize> {
        counter
            .compare_exchange(from, from + 1, Ordering::AcqRel, Ordering::Relaxed)
            .map(drop)
    }
}
