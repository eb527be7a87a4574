//! Natives of the control plane: the registry of components, which outlives the process that fills it,
//! and what it counts.

use std::sync::atomic::{AtomicBool, Ordering};

use erlmcp_core::aliases::AliasId;
use erlmcp_core::control::{Component, ComponentId, Components, ControlType, Outcome};
use once_cell::sync::Lazy;
use parking_lot::Mutex;
use rustler::env::{OwnedEnv, SavedTerm};
use rustler::{Atom, Encoder, Env, LocalPid, Term};

use crate::atoms;
use crate::reference::{self, Reference};
use crate::term::{self, Answer, Fault};

/// Where a component's messages go.
pub(crate) struct Route {
    pid: LocalPid,
    alias: AliasId,
    /// To a handler's process of ours, or else into the component's own.
    to_handler: bool,
    timeout_ms: u64,
    registration: Kept,
}

/// A term that outlives its process.
struct Kept(Mutex<(OwnedEnv, SavedTerm)>);

impl Kept {
    fn new(term: Term<'_>) -> Self {
        let env = OwnedEnv::new();
        let saved = env.save(term);
        Self(Mutex::new((env, saved)))
    }

    fn copy<'a>(&self, into: Env<'a>) -> Term<'a> {
        let kept = self.0.lock();
        let (env, saved) = &*kept;
        env.run(|env| saved.load(env).in_env(into))
    }
}

pub(crate) struct Plane {
    pub(crate) open: AtomicBool,
    pub(crate) components: Components<Route>,
}

pub(crate) static PLANE: Lazy<Plane> = Lazy::new(|| Plane {
    open: AtomicBool::new(false),
    components: Components::new(),
});

pub(crate) fn with_plane<'a, T: Encoder>(
    env: Env<'a>,
    operation: impl FnOnce(&Components<Route>) -> Answer<T>,
) -> Term<'a> {
    let answer = if PLANE.open.load(Ordering::Relaxed) {
        operation(&PLANE.components)
    } else {
        Err(Fault(atoms::not_started()))
    };
    term::answer(env, answer)
}

fn component_id(id: Term<'_>) -> Answer<ComponentId> {
    term::atom_word(id)
        .map(ComponentId)
        .ok_or(Fault(atoms::bad_component()))
}

fn control_type(kind: Term<'_>) -> Answer<ControlType> {
    let kind: Atom = kind.decode().map_err(|_| Fault(atoms::bad_message()))?;
    ControlType::ALL
        .into_iter()
        .find(|candidate| type_atom(*candidate) == kind)
        .ok_or(Fault(atoms::bad_message()))
}

pub(crate) fn type_atom(kind: ControlType) -> Atom {
    match kind {
        ControlType::CircuitBreaker => atoms::circuit_breaker(),
        ControlType::HealthCheck => atoms::health_check(),
        ControlType::DrainSession => atoms::drain_session(),
        ControlType::CancelTask => atoms::cancel_task(),
    }
}

pub(crate) fn id_term(env: Env<'_>, ComponentId(word): ComponentId) -> Term<'_> {
    term::atom_term(env, word)
}

/// Opens the plane. What was registered and counted before a crash stays. Returns a row
/// `{Id, Alias, Registration}` for each component.
#[rustler::nif(schedule = "DirtyCpu")]
fn control_open<'a>(env: Env<'a>, priority: Term<'a>) -> Term<'a> {
    let open = |priority: bool| {
        let plane = &*PLANE;
        if !plane.open.load(Ordering::Relaxed) {
            // What a call counted that was under way when the plane was closed.
            plane.components.clear();
        }
        plane.components.configure(priority);
        plane.open.store(true, Ordering::Relaxed);
        let mut rows = Vec::new();
        plane.components.for_each(|id, component| {
            let Route {
                alias,
                registration,
                ..
            } = &component.route;
            if let Some(alias) = reference::write(env, *alias) {
                rows.push((id_term(env, id), alias, registration.copy(env)));
            }
        });
        rows
    };
    term::answer(env, term::switch(priority).map(open))
}

/// Closes the plane and forgets everything.
#[rustler::nif(schedule = "DirtyCpu")]
fn control_close() -> Atom {
    PLANE.open.store(false, Ordering::Relaxed);
    PLANE.components.clear();
    atoms::ok()
}

/// Registers a component, or replaces its route. `Registration` is kept for whoever opens the plane next.
#[rustler::nif]
fn control_put<'a>(
    env: Env<'a>,
    id: Term<'a>,
    kind: Term<'a>,
    alias: Term<'a>,
    timeout_ms: Term<'a>,
    registration: Term<'a>,
) -> Term<'a> {
    with_plane(env, |components| {
        let id = component_id(id)?;
        let timeout_ms = term::milliseconds(timeout_ms)?;
        let Some(Reference::Alias(alias)) = reference::read(alias) else {
            return Err(Fault(atoms::bad_alias()));
        };
        let pid = term::process(env, reference::owner(alias)).ok_or(Fault(atoms::bad_alias()))?;
        let route = Route {
            pid,
            alias,
            to_handler: atoms::handler() == kind,
            timeout_ms,
            registration: Kept::new(registration),
        };
        components.put(id, route, |old| old.pid == pid);
        Ok(atoms::ok())
    })
}

/// Unregisters a component: `ok`, or `not_found`.
#[rustler::nif]
fn control_remove<'a>(env: Env<'a>, id: Term<'a>) -> Term<'a> {
    with_plane(env, |components| {
        if components.remove(component_id(id)?) {
            Ok(atoms::ok())
        } else {
            Err(Fault(atoms::not_found()))
        }
    })
}

/// `{Kind, Pid, Alias, TimeoutMs, Ahead}`, `dead` while the process is being replaced, `queue_full`, or `not_found`.
/// `Ahead`: whether it goes ahead of ordinary messages. A message to a handler counts as waiting.
#[rustler::nif]
fn control_route<'a>(env: Env<'a>, id: Term<'a>, kind: Term<'a>) -> Term<'a> {
    with_plane(env, |components| {
        let (id, control) = (component_id(id)?, control_type(kind)?);
        let route = components.with(id, |component| {
            let route = &component.route;
            if !route.pid.is_alive(env) {
                return Some(atoms::dead().encode(env));
            }
            let alias = reference::write(env, route.alias)?;
            let to = if route.to_handler {
                if !component.queue(control) {
                    return Some(atoms::queue_full().encode(env));
                }
                atoms::handler()
            } else {
                atoms::alias()
            };
            let ahead = components.priority();
            Some((to, route.pid, alias, route.timeout_ms, ahead).encode(env))
        });
        route.flatten().ok_or(Fault(atoms::not_found()))
    })
}

/// The calling handler takes a message out: to start it, this many microseconds after the sending, or with
/// `skipped` to drop it.
#[rustler::nif]
fn control_taken<'a>(env: Env<'a>, id: Term<'a>, kind: Term<'a>, delivery: Term<'a>) -> Term<'a> {
    with_plane(env, |components| {
        let (id, kind) = (component_id(id)?, control_type(kind)?);
        components.with(id, |component: &Component<Route>| {
            if component.route.pid == env.pid() {
                component.unqueue(kind);
            }
            if let Ok(delivery_us) = delivery.decode() {
                components.started(component, kind, delivery_us);
            }
        });
        Ok(atoms::ok())
    })
}

/// An alias component has answered a message: that is when it counts as delivered.
#[rustler::nif]
fn control_delivered<'a>(env: Env<'a>, id: Term<'a>, kind: Term<'a>) -> Term<'a> {
    with_plane(env, |components| {
        components.delivered(component_id(id)?, control_type(kind)?);
        Ok(atoms::ok())
    })
}

/// A sender's wait has ended with `answered`, `died` or `timeout`.
#[rustler::nif]
fn control_ended<'a>(
    env: Env<'a>,
    id: Term<'a>,
    kind: Term<'a>,
    latency_us: Term<'a>,
    outcome: Term<'a>,
) -> Term<'a> {
    with_plane(env, |components| {
        let (id, kind) = (component_id(id)?, control_type(kind)?);
        let outcome = if atoms::timeout() == outcome {
            Outcome::TimedOut
        } else if atoms::died() == outcome {
            Outcome::Died
        } else {
            Outcome::Answered
        };
        components.ended(id, kind, term::microseconds(latency_us)?, outcome);
        Ok(atoms::ok())
    })
}

/// A handler raised or died.
#[rustler::nif]
fn control_crashed(env: Env<'_>) -> Term<'_> {
    with_plane(env, |components| {
        components.crashed();
        Ok(atoms::ok())
    })
}

/// The ids of the components.
#[rustler::nif(schedule = "DirtyCpu")]
fn control_components<'a>(env: Env<'a>) -> Term<'a> {
    with_plane(env, |components| {
        let mut ids = Vec::new();
        components.for_each(|id, _| ids.push(id_term(env, id)));
        Ok(ids)
    })
}

/// Switches the priority lane by hand.
#[rustler::nif]
fn control_set_priority<'a>(env: Env<'a>, priority: Term<'a>) -> Term<'a> {
    with_plane(env, |components| {
        components.set_priority(term::switch(priority)?);
        Ok(atoms::ok())
    })
}

/// Switches the priority lane as configured, unless that was done by hand.
#[rustler::nif]
fn control_configure<'a>(env: Env<'a>, priority: Term<'a>) -> Term<'a> {
    with_plane(env, |components| {
        components.configure(term::switch(priority)?);
        Ok(atoms::ok())
    })
}

/// Zeroes what is counted and measured.
#[rustler::nif(schedule = "DirtyCpu")]
fn control_reset<'a>(env: Env<'a>) -> Term<'a> {
    with_plane(env, |components| {
        components.reset_stats();
        Ok(atoms::ok())
    })
}
