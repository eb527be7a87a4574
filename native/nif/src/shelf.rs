//! Terms of components, kept for longer than the process that registered them lives.
//!
//! They are kept in environments of the runtime, each of which takes two kilobytes with one small term in it. So the
//! terms of several components share one: a shelf. What is on it stays as it is, so that any number of threads may read
//! it. Where something is to come or go, a new shelf is made of what is to be on it, and the components are told: so
//! nothing of a component that is gone is kept for the sake of its neighbours.

use std::sync::Arc;

use erlmcp_core::control::ComponentId;
use rustler::env::OwnedEnv;
use rustler::sys::ErlNifTerm;
use rustler::{Env, Term};

/// So many components share a shelf at most.
pub(crate) const MOST: usize = 16;

/// A component whose registration has more bytes has a shelf of its own: neighbours are copied when one of them comes
/// or goes.
pub(crate) const SMALL: u64 = 512;

/// An environment, and whose terms are in it.
pub(crate) struct Shelf {
    env: OwnedEnv,
    ids: Vec<ComponentId>,
}

// SAFETY: a shelf is shared when it is full (`Draft::done`), and from then on nobody writes its environment. `Kept` is
// all that reads it, by copying terms out, which only reads them: any number of threads may do so at once. Whoever lets
// it go last frees it, which may be any thread.
unsafe impl Send for Shelf {}
// SAFETY: as above.
unsafe impl Sync for Shelf {}

impl Shelf {
    pub(crate) fn ids(&self) -> &[ComponentId] {
        &self.ids
    }
}

/// The terms of one component: its alias, and how it was registered.
pub(crate) struct Kept {
    shelf: Arc<Shelf>,
    alias: ErlNifTerm,
    registration: ErlNifTerm,
}

impl Kept {
    pub(crate) fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    pub(crate) fn alias<'a>(&self, into: Env<'a>) -> Term<'a> {
        self.copy(self.alias, into)
    }

    pub(crate) fn registration<'a>(&self, into: Env<'a>) -> Term<'a> {
        self.copy(self.registration, into)
    }

    fn copy<'a>(&self, term: ErlNifTerm, into: Env<'a>) -> Term<'a> {
        let copy = |env: Env<'_>| {
            // SAFETY: `Draft` made the term in this environment, which is neither cleared nor freed while `self` has
            // the shelf.
            let term = unsafe { Term::new(env, term) };
            term.in_env(into)
        };
        self.shelf.env.run(copy)
    }
}

/// A shelf that is being filled.
pub(crate) struct Draft {
    shelf: Shelf,
    terms: Vec<(ErlNifTerm, ErlNifTerm)>,
}

impl Draft {
    pub(crate) fn new() -> Self {
        Self {
            shelf: Shelf {
                env: OwnedEnv::new(),
                ids: Vec::new(),
            },
            terms: Vec::new(),
        }
    }

    /// Puts a component's terms on it, as copies.
    pub(crate) fn add<'a>(&mut self, id: ComponentId, alias: Term<'a>, registration: Term<'a>) {
        let copies = self.shelf.env.run(|env: Env<'_>| {
            let copy = |term: Term<'a>| term.in_env(env).as_c_arg();
            (copy(alias), copy(registration))
        });
        self.terms.push(copies);
        self.shelf.ids.push(id);
    }

    /// The same from another shelf.
    pub(crate) fn take(&mut self, id: ComponentId, kept: &Kept) {
        kept.shelf.env.run(|env: Env<'_>| {
            // SAFETY: as in `Kept::copy`.
            let [alias, registration] =
                [kept.alias, kept.registration].map(|term| unsafe { Term::new(env, term) });
            self.add(id, alias, registration);
        });
    }

    /// What is on it, in the order in which it came.
    pub(crate) fn done(self) -> Vec<(ComponentId, Kept)> {
        let shelf = Arc::new(self.shelf);
        let ids = shelf.ids.iter().copied();
        ids.zip(self.terms)
            .map(|(id, (alias, registration))| {
                let shelf = Arc::clone(&shelf);
                let kept = Kept {
                    shelf,
                    alias,
                    registration,
                };
                (id, kept)
            })
            .collect()
    }
}
