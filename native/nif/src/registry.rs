//! Natives of the registry of components, which outlives the process that fills it.

use std::sync::Arc;

use erlmcp_core::control::{Component, ComponentId, Components, TooManyComponents};
use once_cell::sync::Lazy;
use parking_lot::{Mutex, MutexGuard};
use rustler::{Atom, Encoder, Env, LocalPid, Term};

use crate::atoms;
use crate::ration::{self, Rations};
use crate::reference::{self, Reference};
use crate::shelf::{Draft, Kept, MOST, SMALL, Shelf};
use crate::term::{self, Answer, Fault};

/// Where a component's messages go.
pub(crate) struct Route {
    pub(crate) pid: LocalPid,
    /// To a handler's process of ours, or else into the component's own.
    pub(crate) to_handler: bool,
    pub(crate) timeout_ms: u64,
    /// How often each type may be sent.
    pub(crate) rations: Rations,
    pub(crate) terms: Kept,
}

pub(crate) static PLANE: Lazy<Components<Route>> = Lazy::new(Components::new);

/// The shelf that the next component comes on, as long as there is room. Locked while components come and go: one at a
/// time, so that whoever makes a shelf anew knows who is on it.
static OPEN: Mutex<Option<Arc<Shelf>>> = Mutex::new(None);

pub(crate) fn with_plane<'a, T: Encoder>(
    env: Env<'a>,
    operation: impl FnOnce(&Components<Route>) -> Answer<T>,
) -> Term<'a> {
    let answer = if PLANE.is_open() {
        operation(&PLANE)
    } else {
        Err(Fault(atoms::not_started()))
    };
    term::answer(env, answer)
}

pub(crate) fn component_id(id: Term<'_>) -> Answer<ComponentId> {
    term::atom_word(id)
        .map(ComponentId)
        .ok_or(Fault(atoms::bad_component()))
}

pub(crate) fn id_term(env: Env<'_>, ComponentId(word): ComponentId) -> Term<'_> {
    term::atom_term(env, word)
}

/// Opens the plane. What was registered and counted before a crash stays. Returns a row
/// `{Id, Alias, Registration}` for each component.
#[rustler::nif(schedule = "DirtyCpu")]
fn control_open<'a>(env: Env<'a>, priority: Term<'a>) -> Term<'a> {
    let open = |priority: bool| {
        OPEN.lock().take_if(|_| !PLANE.is_open());
        PLANE.open(priority);
        let mut rows = Vec::new();
        PLANE.for_each(|id, component| {
            let terms = &component.route.terms;
            rows.push((id_term(env, id), terms.alias(env), terms.registration(env)));
        });
        rows
    };
    term::answer(env, term::switch(priority).map(open))
}

/// Closes the plane and forgets everything.
#[rustler::nif(schedule = "DirtyCpu")]
fn control_close() -> Atom {
    let mut open = OPEN.lock();
    PLANE.close();
    ration::close();
    *open = None;
    crate::tokens::close();
    atoms::ok()
}

/// Registers a component, or replaces its route. `Registration` is kept for whoever opens the plane next; it has about
/// so many bytes. `Sending` is `{TimeoutMs, [{Type, Number, PeriodNs}]}`: how long who sends waits, and how often
/// that may be.
#[rustler::nif]
fn control_put<'a>(
    env: Env<'a>,
    id: Term<'a>,
    kind: Term<'a>,
    alias: Term<'a>,
    sending: Term<'a>,
    registration: Term<'a>,
    bytes: Term<'a>,
) -> Term<'a> {
    with_plane(env, |components| {
        let id = component_id(id)?;
        let (timeout_ms, rations) = sending.decode().map_err(|_| Fault(atoms::bad_timeout()))?;
        let rations = Rations::read(rations)?;
        let timeout_ms = term::milliseconds(timeout_ms)?;
        let small = term::number(bytes)? <= SMALL;
        let Some(Reference::Alias(words)) = reference::read(alias) else {
            return Err(Fault(atoms::bad_alias()));
        };
        let pid = term::process(env, reference::owner(words)).ok_or(Fault(atoms::bad_alias()))?;
        let shelves = Shelves::lock(components);
        shelves.put(id, alias, registration, small, |terms| Route {
            pid,
            to_handler: atoms::handler() == kind,
            timeout_ms,
            rations,
            terms,
        })?;
        rations.apply(id);
        Ok(atoms::ok())
    })
}

/// Unregisters a component: `ok`, or `not_found`.
#[rustler::nif]
fn control_remove<'a>(env: Env<'a>, id: Term<'a>) -> Term<'a> {
    with_plane(env, |components| {
        let id = component_id(id)?;
        if Shelves::lock(components).remove(id) {
            Rations::default().apply(id);
            Ok(atoms::ok())
        } else {
            Err(Fault(atoms::not_found()))
        }
    })
}

/// Components that come and go.
struct Shelves<'c> {
    components: &'c Components<Route>,
    open: MutexGuard<'static, Option<Arc<Shelf>>>,
}

impl<'c> Shelves<'c> {
    fn lock(components: &'c Components<Route>) -> Self {
        Self {
            components,
            open: OPEN.lock(),
        }
    }

    fn put<'a>(
        mut self,
        id: ComponentId,
        alias: Term<'a>,
        registration: Term<'a>,
        small: bool,
        route: impl FnOnce(Kept) -> Route,
    ) -> Result<(), TooManyComponents> {
        let (before, neighbours) = self.at(id);
        let mut draft = Draft::new();
        draft.add(id, alias, registration);
        if small {
            let open = self.open.as_ref().map_or(&[][..], |open| open.ids());
            let company = if neighbours.is_empty() {
                open
            } else {
                &neighbours
            };
            self.take(&mut draft, company.iter().filter(|other| **other != id));
        }
        let mut made = draft.done().into_iter();
        let Some((_, terms)) = made.next() else {
            return Ok(());
        };
        let shelf = Arc::clone(terms.shelf());
        let route = route(terms);
        let pid = route.pid;
        self.components.put(id, route, |old| old.pid == pid)?;
        self.place(made);
        self.leave(before.as_ref());
        if small {
            self.offer(shelf);
        } else {
            self.settle(&neighbours);
        }
        Ok(())
    }

    /// False if it was not there.
    fn remove(mut self, id: ComponentId) -> bool {
        let (before, neighbours) = self.at(id);
        let known = self.components.remove(id);
        self.leave(before.as_ref());
        self.settle(&neighbours);
        known
    }

    /// Where a component is, and who else.
    fn at(&self, id: ComponentId) -> (Option<Arc<Shelf>>, Vec<ComponentId>) {
        let shelf = |component: &Component<Route>| Arc::clone(component.route.terms.shelf());
        let shelf = self.components.with(id, shelf);
        let ids = shelf.iter().flat_map(|shelf| shelf.ids());
        let neighbours = ids.copied().filter(|other| *other != id).collect();
        (shelf, neighbours)
    }

    /// Moves those that are left on a shelf, to the open one if that has room for all of them.
    fn settle(&mut self, ids: &[ComponentId]) {
        if ids.is_empty() {
            return;
        }
        let open = self.open.as_ref().map_or(&[][..], |open| open.ids());
        let room = MOST.saturating_sub(open.len());
        let company = if ids.len() <= room { open } else { &[] };
        let mut draft = Draft::new();
        self.take(&mut draft, ids.iter().chain(company));
        let made = draft.done();
        if let Some((_, terms)) = made.first() {
            self.offer(Arc::clone(terms.shelf()));
        }
        self.place(made.into_iter());
    }

    fn take<'i>(&self, draft: &mut Draft, ids: impl Iterator<Item = &'i ComponentId>) {
        for id in ids {
            let take = |component: &Component<Route>| draft.take(*id, &component.route.terms);
            self.components.with(*id, take);
        }
    }

    /// Tells components where their terms are now.
    fn place(&self, made: impl Iterator<Item = (ComponentId, Kept)>) {
        for (id, terms) in made {
            let moved = |component: &Component<Route>| {
                let Route {
                    pid,
                    to_handler,
                    timeout_ms,
                    rations,
                    ..
                } = component.route;
                Route {
                    pid,
                    to_handler,
                    timeout_ms,
                    rations,
                    terms,
                }
            };
            if let Some(route) = self.components.with(id, moved) {
                // It is there, and so there is room for it.
                let _ = self.components.put(id, route, |_| true);
            }
        }
    }

    /// Nobody comes on this shelf any more.
    fn leave(&mut self, shelf: Option<&Arc<Shelf>>) {
        let is_left = |open: &mut Arc<Shelf>| shelf.is_some_and(|shelf| Arc::ptr_eq(shelf, open));
        self.open.take_if(is_left);
    }

    /// Makes a shelf the open one if it has room, and if there is none or it has taken in the one that was.
    fn offer(&mut self, shelf: Arc<Shelf>) {
        let replaced = |open: &mut Arc<Shelf>| {
            let first = open.ids().first();
            first.is_none_or(|first| shelf.ids().contains(first))
        };
        self.open.take_if(replaced);
        if self.open.is_none() && shelf.ids().len() < MOST {
            *self.open = Some(shelf);
        }
    }
}
