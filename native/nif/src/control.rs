//! Natives of the control plane: where a message goes, and what is counted.

use erlmcp_core::control::{Component, ControlType, Crowded, Outcome, Place};
use erlmcp_core::failures::Failure;
use erlmcp_core::rates::Refused;
use rustler::{Atom, Binary, Encoder, Env, Resource, ResourceArc, Term};

use crate::atoms;
use crate::direct::native;
use crate::rates::refusal;
use crate::registry::{Route, component_id, id_term, with_plane};
use crate::term::{self, Answer, Fault};

/// The place of a message among those that wait for a handler. The message holds it, and so does its sender until then:
/// it is given back with the last of the two at the latest.
struct Queued(Place);

#[rustler::resource_impl]
impl Resource for Queued {}

pub(crate) fn control_type(kind: Term<'_>) -> Answer<ControlType> {
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

native!("control_route", 2, control_route);
native!("control_reroute", 2, control_reroute);
native!("control_taken", 3, control_taken);
native!("control_ended", 4, control_ended);

/// `{Way, Pid, Alias, TimeoutMs, Ahead}`, where `Way` is `{handler, Place}` or `{alias, Number}`; `{dead, TimeoutMs}`
/// while the process is being replaced, `queue_full`, `{crowded, Pid, Sent}`, `{rate_limited, Map}`, or `not_found`.
/// `Ahead`: whether it goes ahead of ordinary messages.
fn control_route<'a>(env: Env<'a>, [id, kind]: [Term<'a>; 2]) -> Term<'a> {
    route(env, id, kind, |component| {
        let (of, kind) = (component_id(id)?, control_type(kind)?);
        Ok(component.route.rations.take(of, kind))
    })
}

/// The same for a message that was counted in its rate before.
fn control_reroute<'a>(env: Env<'a>, [id, kind]: [Term<'a>; 2]) -> Term<'a> {
    route(env, id, kind, |_| Ok(None))
}

#[inline(always)]
fn route<'a>(
    env: Env<'a>,
    id: Term<'a>,
    kind: Term<'a>,
    take: impl Fn(&Component<Route>) -> Answer<Option<Refused>>,
) -> Term<'a> {
    with_plane(env, |components| {
        let (of, by) = (id, kind);
        let (id, kind) = (component_id(id)?, control_type(kind)?);
        components
            .with(id, |component| {
                if let Ok(Some(refused)) = take(component) {
                    let map = refusal(env, of, by, &refused);
                    return Err((atoms::rate_limited(), map).encode(env));
                }
                let way = way(env, component, kind).inspect_err(|_| {
                    if component.route.pid.is_alive(env) {
                        component.route.rations.give_back(id, kind);
                    }
                })?;
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
fn control_taken<'a>(env: Env<'a>, [id, place, delivery]: [Term<'a>; 3]) -> Term<'a> {
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

/// How long senders wait for a component's answer, in milliseconds, or `not_found`.
#[rustler::nif]
fn control_timeout<'a>(env: Env<'a>, id: Term<'a>) -> Term<'a> {
    with_plane(env, |components| {
        let timeout_ms = components.with(component_id(id)?, |component| component.route.timeout_ms);
        timeout_ms.ok_or(Fault(atoms::not_found()))
    })
}

/// A sender's wait has ended with `answered`, `died` or `timeout`.
fn control_ended<'a>(env: Env<'a>, [id, kind, latency_us, outcome]: [Term<'a>; 4]) -> Term<'a> {
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

/// A component's handler raised or died.
#[rustler::nif]
fn control_crashed<'a>(env: Env<'a>, id: Term<'a>) -> Term<'a> {
    with_plane(env, |components| {
        components.crashed(component_id(id)?);
        Ok(atoms::ok())
    })
}

/// Of what a component's handler failed, system time in milliseconds and words, of which the first 1024 bytes are kept.
#[rustler::nif]
fn control_failed<'a>(env: Env<'a>, id: Term<'a>, at_ms: Term<'a>, why: Term<'a>) -> Term<'a> {
    with_plane(env, |components| {
        let id = component_id(id)?;
        let at_ms: i64 = at_ms.decode().map_err(|_| Fault(atoms::bad_number()))?;
        let why: Binary<'_> = why.decode().map_err(|_| Fault(atoms::bad_message()))?;
        components.failed(id, Failure::new(at_ms, &why));
        Ok(atoms::ok())
    })
}

/// `{Crashes, [{AtMs, Words}]}`, the newest first.
#[rustler::nif(schedule = "DirtyCpu")]
fn control_errors<'a>(env: Env<'a>, id: Term<'a>) -> Term<'a> {
    with_plane(env, |components| {
        let failures = components.failures(component_id(id)?);
        let (crashes, last) = failures.ok_or(Fault(atoms::not_found()))?;
        let row = |one: &Failure| (one.at_ms, one.why().encode(env));
        Ok((crashes, last.iter().map(row).collect::<Vec<_>>()))
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
