//! Natives of cancellation: for whoever makes a token, asks it, or cancels.

use std::sync::Arc;

use erlmcp_core::cancel::{Fallout, Notice, Token};
use rustler::{Encoder, Env, Term};

use crate::direct::native;
use crate::permits;
use crate::telling::{self, Said};
use crate::term::{self, Answer, Fault};
use crate::tokens::{self, Place, free, look, registry, with_tokens};
use crate::{aliases, atoms, label};

/// A term that may be left out.
fn given<'a, T>(term: Term<'a>, read: impl FnOnce(Term<'a>) -> Answer<T>) -> Answer<Option<T>> {
    if atoms::undefined() == term {
        Ok(None)
    } else {
        read(term).map(Some)
    }
}

native!("cancel_new", 4, new);
native!("cancel_check", 1, check);
native!("cancel_token", 2, cancel_token);
native!("cancel_id", 3, cancel_id);
native!("cancel_done", 1, done);

/// A token; `{tell, Token, Telling}` if it was cancelled before it was made and somebody is to be told; or
/// `already_known`.
fn new<'a>(env: Env<'a>, [id, owner, permit, alias]: [Term<'a>; 4]) -> Term<'a> {
    with_tokens(env, |beam| {
        let id = given(id, |id| label::read(id).ok_or(Fault(atoms::bad_id())))?;
        let owner = term::local_process(owner)?;
        let keep = |permit| permits::keep(permit).ok_or(Fault(atoms::bad_permit()));
        let place = given(permit, keep)?;
        let notify = given(alias, |alias| aliases::target(env, alias))?.flatten();
        let entered = beam.table.tokens.enter(owner, id, notify, place, beam);
        let made = entered.map_err(|_| Fault(atoms::already_known()))?;
        let token = Arc::clone(&made.token);
        let grip = tokens::make(env, made.token).ok_or(Fault(atoms::not_started()))?;
        let notify = made
            .fallout
            .and_then(|fallout| free(fallout, |place| place.give_up(env)));
        Ok(
            match notify.and_then(|notify| telling::make(env, Notice { token, notify })) {
                Some(telling) => (atoms::tell(), grip, telling).encode(env),
                None => grip,
            },
        )
    })
}

fn check<'a>(env: Env<'a>, [token]: [Term<'a>; 1]) -> Term<'a> {
    term::answer(env, look(token).map(|token| token.is_cancelled()))
}

/// As `cancel_token`, for a reason that takes long to read.
#[rustler::nif(schedule = "DirtyCpu")]
fn cancel_token_long<'a>(env: Env<'a>, token: Term<'a>, why: Term<'a>) -> Term<'a> {
    cancel_token(env, [token, why])
}

/// `ok`, or `{tell, Telling}` if somebody is to be told.
fn cancel_token<'a>(env: Env<'a>, [token, why]: [Term<'a>; 2]) -> Term<'a> {
    let cancel = |token: &Arc<Token<Place>>| {
        let why = label::read(why).ok_or(Fault(atoms::bad_reason()))?;
        let fallout = registry().tokens.cancel(token, why);
        Ok(cancelled(
            env,
            fallout.map(|fallout| (Arc::clone(token), fallout)),
        ))
    };
    term::answer(env, look(token).and_then(cancel))
}

/// The same of what an owner has, or will have, under an id.
fn cancel_id<'a>(env: Env<'a>, [owner, id, why]: [Term<'a>; 3]) -> Term<'a> {
    with_tokens(env, |beam| {
        let owner = term::local_process(owner)?;
        let id = label::read(id).ok_or(Fault(atoms::bad_id()))?;
        let why = label::read(why).ok_or(Fault(atoms::bad_reason()))?;
        Ok(cancelled(
            env,
            beam.table.tokens.cancel_id(owner, id, why, beam),
        ))
    })
}

/// As `cancel_new`, for an id that takes long to read.
#[rustler::nif(schedule = "DirtyCpu")]
fn cancel_new_long<'a>(
    env: Env<'a>,
    id: Term<'a>,
    owner: Term<'a>,
    permit: Term<'a>,
    alias: Term<'a>,
) -> Term<'a> {
    new(env, [id, owner, permit, alias])
}

/// As `cancel_id`, for an id or a reason that takes long to read.
#[rustler::nif(schedule = "DirtyCpu")]
fn cancel_id_long<'a>(env: Env<'a>, owner: Term<'a>, id: Term<'a>, why: Term<'a>) -> Term<'a> {
    cancel_id(env, [owner, id, why])
}

fn cancelled<'a>(env: Env<'a>, cancelled: Option<(Arc<Token<Place>>, Fallout<Place>)>) -> Term<'a> {
    let telling = cancelled.and_then(|(token, fallout)| {
        let notify = free(fallout, |place| place.give_up(env))?;
        telling::make(env, Notice { token, notify })
    });
    match telling {
        Some(telling) => (atoms::tell(), telling).encode(env),
        None => atoms::ok().encode(env),
    }
}

fn done<'a>(env: Env<'a>, [token]: [Term<'a>; 1]) -> Term<'a> {
    let done = look(token).map(|token| {
        if let Some(place) = registry().tokens.finish(token) {
            place.free(env);
        }
        atoms::ok()
    });
    term::answer(env, done)
}

/// Why a token was cancelled, `undefined` if it was not; `long` if that takes long to write.
#[rustler::nif]
fn cancel_reason<'a>(env: Env<'a>, token: Term<'a>) -> Term<'a> {
    let reason = look(token).and_then(|token| {
        let said = Said::of(token).without_id().short()?;
        Ok(said.reason(env))
    });
    term::answer(env, reason)
}

/// The same, however long it takes.
#[rustler::nif(schedule = "DirtyCpu")]
fn cancel_reason_long<'a>(env: Env<'a>, token: Term<'a>) -> Term<'a> {
    term::answer(env, look(token).map(|token| Said::of(token).reason(env)))
}

/// So many are swept at once.
const SWEPT: usize = 500;

/// Forgets some cancellations that came early and too long ago. In how many milliseconds there is the next, or `none`.
#[rustler::nif]
fn cancel_sweep(env: Env<'_>) -> Term<'_> {
    with_tokens(env, |beam| {
        Ok(match beam.table.tokens.sweep(SWEPT, beam) {
            Some(ms) => ms.encode(env),
            None => atoms::none().encode(env),
        })
    })
}

/// For how many milliseconds, and how many, cancellations that come early are remembered.
#[rustler::nif(schedule = "DirtyCpu")]
fn cancel_configure<'a>(env: Env<'a>, tombstone_ms: Term<'a>, most: Term<'a>) -> Term<'a> {
    with_tokens(env, |beam| {
        let (tombstone_ms, most) = (term::milliseconds(tombstone_ms)?, term::number(most)?);
        beam.table.tokens.configure(tombstone_ms, most);
        Ok(atoms::ok().encode(env))
    })
}

/// How many there are, and were.
#[rustler::nif]
fn cancel_stats(env: Env<'_>) -> Term<'_> {
    with_tokens(env, |beam| {
        let summary = beam.table.tokens.summary();
        let [asked, early, owner_down] = summary.cancelled.map(|count| count.encode(env));
        let by_way = [
            (atoms::asked(), asked),
            (atoms::early(), early),
            (atoms::owner_down(), owner_down),
        ];
        Ok(term::map(
            env,
            &[
                (atoms::tokens(), summary.tokens.encode(env)),
                (atoms::tombstones(), summary.tombstones.encode(env)),
                (
                    atoms::tombstones_limit(),
                    summary.tombstones_limit.encode(env),
                ),
                (atoms::cancelled(), term::map(env, &by_way)),
                (atoms::displaced(), summary.displaced.encode(env)),
                (atoms::notices(), summary.notices.encode(env)),
                (atoms::notices_dropped(), summary.dropped.encode(env)),
            ],
        ))
    })
}
