//! Natives of the control plane: the registry of components, which outlives the process that fills it,
//! and what it counts.

use erlmcp_core::control::{
    Component, ComponentId, Components, ControlType, Crowded, Outcome, Place,
};
use once_cell::sync::Lazy;
use rustler::env::{OwnedEnv, SavedTerm};
use rustler::{Atom, Encoder, Env, LocalPid, Resource, ResourceArc, Term};

use crate::atoms;
use crate::reference::{self, Reference};
use crate::term::{self, Answer, Fault};

/// Where a component's messages go.
pub(crate) struct Route {
    pid: LocalPid,
    /// To a handler's process of ours, or else into the component's own.
    to_handler: bool,
    timeout_ms: u64,
    terms: Kept,
}

/// Terms that outlive the process that made them; in one environment, since each takes a kilobyte.
struct Kept {
    env: OwnedEnv,
    alias: SavedTerm,
    registration: SavedTerm,
}

// SAFETY: after `new` nobody writes the environment. `copy` is all there is, and copying a term out of an environment
// only reads it, so that any number of threads may do so at once.
unsafe impl Sync for Kept {}

impl Kept {
    fn new(alias: Term<'_>, registration: Term<'_>) -> Self {
        let env = OwnedEnv::new();
        let (alias, registration) = (env.save(alias), env.save(registration));
        Self {
            env,
            alias,
            registration,
        }
    }

    fn alias<'a>(&self, into: Env<'a>) -> Term<'a> {
        self.copy(&self.alias, into)
    }

    fn registration<'a>(&self, into: Env<'a>) -> Term<'a> {
        self.copy(&self.registration, into)
    }

    fn copy<'a>(&self, saved: &SavedTerm, into: Env<'a>) -> Term<'a> {
        self.env.run(|env| saved.load(env).in_env(into))
    }
}

/// The place of a message among those that wait for a handler. The message holds it, and so does its sender until then:
/// it is given back with the last of the two at the latest.
struct Queued(Place);

#[rustler::resource_impl]
impl Resource for Queued {}

pub(crate) static PLANE: Lazy<Components<Route>> = Lazy::new(Components::new);

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
    PLANE.close();
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
        let Some(Reference::Alias(words)) = reference::read(alias) else {
            return Err(Fault(atoms::bad_alias()));
        };
        let pid = term::process(env, reference::owner(words)).ok_or(Fault(atoms::bad_alias()))?;
        let route = Route {
            pid,
            to_handler: atoms::handler() == kind,
            timeout_ms,
            terms: Kept::new(alias, registration),
        };
        components.put(id, route, |old| old.pid == pid)?;
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

/// `{Way, Pid, Alias, TimeoutMs, Ahead}`, where `Way` is `{handler, Place}` or `{alias, Number}`; `{dead, TimeoutMs}`
/// while the process is being replaced, `queue_full`, `{crowded, Pid, Sent}`, or `not_found`. `Ahead`: whether it goes
/// ahead of ordinary messages.
#[rustler::nif]
fn control_route<'a>(env: Env<'a>, id: Term<'a>, kind: Term<'a>) -> Term<'a> {
    with_plane(env, |components| {
        let (id, kind) = (component_id(id)?, control_type(kind)?);
        components
            .with(id, |component| {
                let way = way(env, component, kind)?;
                let Route {
                    pid,
                    timeout_ms,
                    terms,
                    ..
                } = &component.route;
                let ahead = components.priority();
                Ok((way, *pid, terms.alias(env), *timeout_ms, ahead).encode(env))
            })
            .map(|route: Result<_, Term<'a>>| route.unwrap_or_else(|not_sent| not_sent))
            .ok_or(Fault(atoms::not_found()))
    })
}

/// What goes with the message to where it goes, or why it does not go.
fn way<'a>(
    env: Env<'a>,
    component: &Component<Route>,
    kind: ControlType,
) -> Result<Term<'a>, Term<'a>> {
    let Route {
        pid,
        to_handler,
        timeout_ms,
        ..
    } = component.route;
    if !pid.is_alive(env) {
        Err((atoms::dead(), timeout_ms).encode(env))
    } else if to_handler {
        component
            .take_place(kind)
            .map(|place| (atoms::handler(), ResourceArc::new(Queued(place))).encode(env))
            .ok_or(atoms::queue_full().encode(env))
    } else {
        component
            .send(kind)
            .map(|number| (atoms::alias(), number).encode(env))
            .map_err(|Crowded(sent)| (atoms::crowded(), pid, sent).encode(env))
    }
}

/// When the alias of a component had been sent so many messages of a type, there were this many of all sorts in its
/// process's mailbox. `ok` if there is room, `queue_full`, or `not_found`.
#[rustler::nif]
fn control_at_most<'a>(
    env: Env<'a>,
    id: Term<'a>,
    kind: Term<'a>,
    sent: Term<'a>,
    length: Term<'a>,
) -> Term<'a> {
    with_plane(env, |components| {
        let (id, kind) = (component_id(id)?, control_type(kind)?);
        let (sent, length) = (Crowded(term::number(sent)?), term::number(length)?);
        let room = components.with(id, |component| component.at_most(kind, sent, length));
        match room {
            Some(true) => Ok(atoms::ok()),
            Some(false) => Ok(atoms::queue_full()),
            None => Err(Fault(atoms::not_found())),
        }
    })
}

/// A handler takes out the message that this place belongs to: to start it, this many microseconds after the sending,
/// or with `skipped` to drop it.
#[rustler::nif]
fn control_taken<'a>(env: Env<'a>, id: Term<'a>, place: Term<'a>, delivery: Term<'a>) -> Term<'a> {
    with_plane(env, |components| {
        let id = component_id(id)?;
        let place: ResourceArc<Queued> = place.decode().map_err(|_| Fault(atoms::bad_place()))?;
        let Queued(place) = &*place;
        place.give_back();
        if let Ok(delivery_us) = delivery.decode() {
            components.with(id, |component| {
                components.started(component, place.kind(), delivery_us);
            });
        }
        Ok(atoms::ok())
    })
}

/// An alias component has answered the message of this number: that is when it counts as delivered.
#[rustler::nif]
fn control_delivered<'a>(env: Env<'a>, id: Term<'a>, kind: Term<'a>, number: Term<'a>) -> Term<'a> {
    with_plane(env, |components| {
        let number = term::number(number)?;
        components.delivered(component_id(id)?, control_type(kind)?, number);
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
