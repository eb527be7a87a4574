//! Everything that exporters read, at one moment.

use std::sync::atomic::Ordering;

use erlmcp_core::Runtime;
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::control_stats;
use crate::history;
use crate::host::{Beam, ticks_ns};
use crate::rates::{RATES, said};
use crate::registry::PLANE;
use crate::rows::role_row;
use crate::table::{self, Table, with_any_table};
use crate::term;

/// The map `snapshot()`, whatever is started. Each counter is read once.
#[rustler::nif(schedule = "DirtyCpu")]
fn metrics_snapshot<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    table::make_own();
    with_any_table(env, table, |beam| {
        let fields = [
            (atoms::at_ms(), beam.now().system_ms.encode(env)),
            (atoms::services(), services(beam)),
            (atoms::switches(), switches(beam)),
            (atoms::roles(), roles(beam)),
            (atoms::rates(), rates(env)),
            (atoms::control(), control(env)),
            (atoms::self_(), own(beam)),
        ];
        Ok(term::map(env, &fields))
    })
}

fn services<'a>(beam: &Beam<'a, '_, Table>) -> Term<'a> {
    let monitored = beam.table.limits.judge().is_open();
    let started = [
        (atoms::erlmcp_queue_limits(), beam.table.limits.is_open()),
        (atoms::erlmcp_overload_monitor(), monitored),
        (atoms::erlmcp_control_plane(), PLANE.is_open()),
    ];
    flags(beam.env, started)
}

fn switches<'a>(beam: &Beam<'a, '_, Table>) -> Term<'a> {
    let limits = &beam.table.limits;
    let flags_ = [
        (atoms::limits(), limits.roles().enforcing()),
        (atoms::overload(), limits.judge().active()),
        (atoms::priority(), PLANE.priority()),
    ];
    flags(beam.env, flags_)
}

fn flags<'a>(env: Env<'a>, flags: [(Atom, bool); 3]) -> Term<'a> {
    term::map(env, &flags.map(|(name, flag)| (name, flag.encode(env))))
}

fn roles<'a>(beam: &Beam<'a, '_, Table>) -> Term<'a> {
    if !beam.table.limits.is_open() {
        return Term::list_new_empty(beam.env);
    }
    let reported_open = beam.table.reported_open.lock().clone();
    let rows = beam.table.limits.roles().summary(beam.now());
    let row = |row| role_row(beam.env, row, reported_open.contains(&row.stats.role));
    rows.iter().map(row).collect::<Vec<_>>().encode(beam.env)
}

/// `[{Name, rate_info()}]`, in no order.
fn rates(env: Env<'_>) -> Term<'_> {
    let (names, now_ns) = (RATES.names().into_iter(), ticks_ns());
    let row = |name| {
        let info = RATES.info(name, now_ns)?;
        Some((term::atom_term(env, name), said(env, &info)))
    };
    names.filter_map(row).collect::<Vec<_>>().encode(env)
}

fn control(env: Env<'_>) -> Term<'_> {
    if PLANE.is_open() {
        control_stats::row(env, &PLANE)
    } else {
        atoms::undefined().encode(env)
    }
}

fn own<'a>(beam: &Beam<'a, '_, Table>) -> Term<'a> {
    let (env, limits) = (beam.env, &beam.table.limits);
    let memory = limits
        .memory()
        .saturating_add(PLANE.memory())
        .saturating_add(RATES.memory())
        .saturating_add(history::memory());
    let passed_over = limits.roles().watch().passed_over();
    let dropped = beam.table.wakeups_dropped.load(Ordering::Relaxed);
    let fields = [
        (atoms::owners(), limits.owners().encode(env)),
        (atoms::memory_bytes(), memory.encode(env)),
        (
            atoms::alerts_lost(),
            limits.judge().alerts().lost().encode(env),
        ),
        (atoms::wakeups_dropped(), dropped.encode(env)),
        (atoms::mailboxes_passed_over(), passed_over.encode(env)),
    ];
    term::map(env, &fields)
}
