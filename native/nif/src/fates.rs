//! Natives of what becomes of messages to other nodes.

use erlmcp_core::control::Outcome;
use erlmcp_core::fates::{Fate, Fates};
use rustler::{Atom, Encoder, Env, Term};

use crate::aliases;
use crate::atoms;
use crate::control::control_type;
use crate::registry::with_plane;
use crate::term::{self, Answer, Fault};

fn fate_atom(fate: Fate) -> Atom {
    match fate {
        Fate::Sent => atoms::sent(),
        Fate::Waited(Outcome::Answered) => atoms::answered(),
        Fate::Waited(Outcome::Died) => atoms::died(),
        Fate::Waited(Outcome::TimedOut) => atoms::timeout(),
        Fate::Busy => atoms::busy(),
        Fate::NodeDown => atoms::nodedown(),
        Fate::NotSupported => atoms::not_supported(),
    }
}

fn fate(term: Term<'_>) -> Answer<Fate> {
    Fate::ALL
        .into_iter()
        .find(|fate| fate_atom(*fate) == term)
        .ok_or(Fault(atoms::bad_fate()))
}

/// `#{Fate => Number}` of these.
pub(crate) fn row<'a>(env: Env<'a>, fates: &Fates, which: &[Fate]) -> Term<'a> {
    let fields: Vec<_> = which
        .iter()
        .map(|fate| (fate_atom(*fate), fates.of(*fate).encode(env)))
        .collect();
    term::map(env, &fields)
}

/// What became of a control message to another node, with what its sender waited in microseconds.
#[rustler::nif]
fn control_ended_far<'a>(
    env: Env<'a>,
    kind: Term<'a>,
    latency_us: Term<'a>,
    how: Term<'a>,
) -> Term<'a> {
    with_plane(env, |components| {
        let latency_us = term::microseconds(latency_us)?;
        components.ended_far(control_type(kind)?, latency_us, fate(how)?);
        Ok(atoms::ok())
    })
}

/// A message to an alias of another node was not sent.
#[rustler::nif]
fn alias_dropped<'a>(env: Env<'a>, why: Term<'a>) -> Term<'a> {
    let answer = fate(why).map(|fate| {
        aliases::fates().count(fate);
        atoms::ok()
    });
    term::answer(env, answer)
}

/// How many were not sent, by why.
#[rustler::nif]
fn alias_drops(env: Env<'_>) -> Term<'_> {
    row(env, aliases::fates(), &[Fate::Busy, Fate::NodeDown])
}
