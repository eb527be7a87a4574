//! The aliases that one thread has checked of late. To read a reference is to write its external format, which costs
//! ten times as much as to find it here.
//!
//! What is remembered is a copy of the reference, in an environment of the thread's own, and what it was read as. A
//! reference that is identical to the copy is the same alias, whatever has become of it.

use std::cell::RefCell;
use std::mem::ManuallyDrop;

use erlmcp_core::aliases::{AliasId, Mark};
use rustler::sys::ErlNifTerm;
use rustler::{Env, LocalPid, OwnedEnv, Term};

const PLACES: usize = 64;
/// So many copies are made before all are forgotten and freed.
const MOST_COPIES: usize = 1024;

/// An alias of this node.
pub(crate) struct Seen {
    pub(crate) id: AliasId,
    pub(crate) process: LocalPid,
    /// It was in the registry then.
    pub(crate) mark: Mark,
}

struct Recent {
    /// Made with the first copy. Schedulers end with the runtime, which frees no environments then.
    env: Option<ManuallyDrop<OwnedEnv>>,
    copies: usize,
    places: [Place; PLACES],
}

struct Place {
    known: Option<(ErlNifTerm, Seen)>,
    /// The hash of the last one that was to be remembered here, and was not.
    passed_over: u64,
}

impl Place {
    const EMPTY: Self = Self {
        known: None,
        passed_over: 0,
    };
}

thread_local! {
    /// Of this thread, which is a scheduler's.
    static RECENT: RefCell<Recent> = const {
        RefCell::new(Recent {
            env: None,
            copies: 0,
            places: [Place::EMPTY; PLACES],
        })
    };
}

/// Runs `operation` on what is remembered of an alias.
pub(crate) fn with<R>(
    alias: Term<'_>,
    hash: u64,
    operation: impl FnOnce(&mut Seen) -> R,
) -> Option<R> {
    RECENT.with(|recent| {
        let mut recent = recent.try_borrow_mut().ok()?;
        let place = recent.places.get_mut(place(hash))?;
        let (copy, seen) = place.known.as_mut()?;
        // SAFETY: the copy is a term of the thread's environment, which is not cleared while there are copies of it
        // here. It is used to compare it with another, which takes terms of any environments, and not kept.
        let copy = unsafe { Term::new(alias.get_env(), *copy) };
        (copy == alias).then(|| operation(seen))
    })
}

/// Remembers an alias, if it was to be remembered just before: one that is asked for once drives nobody out.
pub(crate) fn remember(alias: Term<'_>, hash: u64, seen: Seen) {
    RECENT.with(|recent| {
        let Ok(mut recent) = recent.try_borrow_mut() else {
            return;
        };
        let passed_over = match recent.places.get_mut(place(hash)) {
            Some(place) => std::mem::replace(&mut place.passed_over, hash),
            None => return,
        };
        if passed_over == hash {
            let copy = recent.copy(alias);
            if let Some(place) = recent.places.get_mut(place(hash)) {
                place.known = Some((copy, seen));
            }
        }
    });
}

impl Recent {
    fn copy(&mut self, alias: Term<'_>) -> ErlNifTerm {
        if self.copies >= MOST_COPIES {
            self.places = [Place::EMPTY; PLACES];
            self.env.as_mut().into_iter().for_each(|env| env.clear());
            self.copies = 0;
        }
        self.copies = self.copies.saturating_add(1);
        let env = self
            .env
            .get_or_insert_with(|| ManuallyDrop::new(OwnedEnv::new()));
        env.run(|env: Env<'_>| alias.in_env(env).as_c_arg())
    }
}

/// By which an alias is remembered, and found in the registry. Only of a reference: a large term takes long.
pub(crate) fn hash(alias: Term<'_>) -> u64 {
    alias.hash_internal(0)
}

fn place(hash: u64) -> usize {
    hash as usize % PLACES
}
