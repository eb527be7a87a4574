//! Natives of the watch over the mailboxes of all processes. The first argument is a table, or `own` for the library's.

use erlmcp_core::overload::Steps;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::overload::with_monitor;
use crate::table::with_any_table;
use crate::term::{self, Answer, Fault};

fn steps(term: Term<'_>) -> Answer<Steps> {
    let (warning, critical, overload) = term.decode().map_err(|_| Fault(atoms::bad_rules()))?;
    Steps::new([warning, critical, overload]).ok_or(Fault(atoms::bad_rules()))
}

/// Begins the watch, under the role `mailbox`, by these lengths, or goes on by them; or ends it: `off`.
#[rustler::nif(schedule = "DirtyCpu")]
fn mailbox_watch<'a>(env: Env<'a>, table: Term<'a>, lengths: Term<'a>) -> Term<'a> {
    with_monitor(env, table, |beam| {
        let limits = &beam.table.limits;
        if atoms::off() == lengths {
            limits.unwatch(beam);
            return Ok(atoms::ok());
        }
        let role = term::atom_role(atoms::mailbox());
        limits.watch(role, steps(lengths)?, beam)?;
        Ok(atoms::ok())
    })
}

/// `{{Warning, Critical, Overload}, Held, PassedOver}`, or `off`.
#[rustler::nif]
fn mailbox_watched<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_monitor(env, table, |beam| {
        let watch = beam.table.limits.roles().watch();
        Ok(match watch.now() {
            None => atoms::off().encode(env),
            Some((_, steps)) => {
                let [warning, critical, overload] = steps.depths();
                let lengths = (warning, critical, overload);
                (lengths, watch.holds(), watch.passed_over()).encode(env)
            }
        })
    })
}

/// A mailbox was seen to have this length.
#[rustler::nif]
fn mailbox_seen<'a>(env: Env<'a>, table: Term<'a>, owner: Term<'a>, length: Term<'a>) -> Term<'a> {
    with_any_table(env, table, |beam| {
        let (owner, length) = (term::local_process(owner)?, term::depth(length)?);
        beam.table.limits.seen_long(owner, length, beam);
        Ok(atoms::ok())
    })
}

/// Whether somebody has to be looked for: that is told once.
#[rustler::nif]
fn mailbox_missed<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_any_table(env, table, |beam| {
        Ok(beam.table.limits.is_somebody_missed())
    })
}
