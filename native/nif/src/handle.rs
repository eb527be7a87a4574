//! Aliases as they are sent to, kept with the registry: to make a reference of its numbers takes ten times as long as
//! to copy it.
//!
//! An environment of the runtime's takes two kilobytes with a single alias in it, and hardly more with 32. So 32 that
//! are entered one after the other share one, which goes with the last of them.

use std::sync::Arc;

use parking_lot::Mutex;
use rustler::env::OwnedEnv;
use rustler::sys::ErlNifTerm;
use rustler::{Env, Term};

const MOST: usize = 32;

/// An alias of a process of this node.
#[derive(Clone)]
pub(crate) struct Handle {
    shared: Arc<Shared>,
    alias: ErlNifTerm,
}

struct Shared(OwnedEnv);

// SAFETY: aliases are put into the environment under the lock of `FILLING`. They are copied out of it at the same time,
// which reads what was put in before, and nothing of the environment itself: the runtime promises that a term stays as
// and where it is until its environment is cleared, which nobody does, or freed, which is done by whoever has the last
// handle.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// The environment that the next alias comes to, and how many are in it.
static FILLING: Mutex<Option<(Arc<Shared>, usize)>> = Mutex::new(None);

impl Handle {
    pub(crate) fn new(alias: Term<'_>) -> Self {
        let mut filling = FILLING.lock();
        let room = filling.take_if(|(_, count)| *count < MOST);
        let (shared, count) = room.unwrap_or_else(|| (Arc::new(Shared(OwnedEnv::new())), 0));
        let copy = shared.0.run(|env: Env<'_>| alias.in_env(env).as_c_arg());
        *filling = Some((Arc::clone(&shared), count.saturating_add(1)));
        Self {
            shared,
            alias: copy,
        }
    }

    pub(crate) fn alias<'a>(&self, into: Env<'a>) -> Term<'a> {
        self.look(|alias| alias.in_env(into))
    }

    /// Whether another term is the same alias.
    pub(crate) fn is(&self, other: Term<'_>) -> bool {
        self.look(|alias| alias == other)
    }

    fn look<'a, R>(&self, look: impl FnOnce(Term<'a>) -> R) -> R {
        self.shared.0.run(|env: Env<'a>| {
            // SAFETY: `new` made the term in this environment, which is not freed while `self` has it. Both that call
            // this are done with the term when they return.
            look(unsafe { Term::new(env, self.alias) })
        })
    }
}
