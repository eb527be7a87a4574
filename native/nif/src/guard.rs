//! Natives of whoever guards the node. The first argument is a table, or `own` for the library's.

use erlmcp_core::{Finding, Strain};
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::overload::with_monitor;
use crate::table::with_any_table;
use crate::term::{self, Answer, Fault};

/// `{Strain, Amount, Limit}`.
type Found = (u64, u64, u64);

fn finding(cause: Atom, term: Term<'_>) -> Answer<Finding> {
    let (strain, amount, limit): Found = term.decode().map_err(|_| Fault(atoms::bad_number()))?;
    Ok(Finding {
        cause: term::atom_owner(cause),
        strain: Strain::from_number(strain).ok_or(Fault(atoms::bad_number()))?,
        amount,
        limit,
    })
}

fn found(finding: Finding) -> Found {
    (finding.strain.number(), finding.amount, finding.limit)
}

/// Begins to guard the node, under the role `node`, or goes on; or ends it.
#[rustler::nif(schedule = "DirtyCpu")]
fn node_guard<'a>(env: Env<'a>, table: Term<'a>, on: Term<'a>) -> Term<'a> {
    with_monitor(env, table, |beam| {
        let limits = &beam.table.limits;
        if term::switch(on)? {
            limits.guard(term::atom_role(atoms::node()), beam)?;
        } else {
            limits.unguard(beam);
        }
        Ok(atoms::ok())
    })
}

/// That was found of memory and of the run queue, and holds for so many milliseconds.
#[rustler::nif]
fn node_press<'a>(
    env: Env<'a>,
    table: Term<'a>,
    memory: Term<'a>,
    run_queue: Term<'a>,
    for_ms: Term<'a>,
) -> Term<'a> {
    with_any_table(env, table, |beam| {
        let findings = [
            finding(atoms::memory(), memory)?,
            finding(atoms::run_queue(), run_queue)?,
        ];
        let for_ms = term::milliseconds(for_ms)?;
        beam.table.limits.press(findings, for_ms, beam);
        Ok(atoms::ok())
    })
}

/// `{Strain, SinceMs, {Memory, RunQueue}}`, with `undefined` for the last before anything was found; or `off`.
#[rustler::nif]
fn node_pressure<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_any_table(env, table, |beam| {
        let Some(pressed) = beam.table.limits.pressed(beam) else {
            return Ok(atoms::off().encode(env));
        };
        let findings = match pressed.findings {
            None => atoms::undefined().encode(env),
            Some([memory, run_queue]) => (found(memory), found(run_queue)).encode(env),
        };
        Ok((pressed.strain.number(), pressed.since_ms, findings).encode(env))
    })
}
