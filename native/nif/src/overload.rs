//! Natives of the overload monitor. They work on a table whether it is open or not.

use erlmcp_core::alerts::{MAX_HISTORY, News};
use erlmcp_core::judge::Rules;
use erlmcp_core::overload::{Level, Margin};
use erlmcp_core::survey::Row;
use erlmcp_core::{Kind, RoleId, Runtime};
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::faces;
use crate::host::Beam;
use crate::rows::level_atom;
use crate::table::{self, DEFAULT_INTERVAL_MS, Table, with_any_table};
use crate::term::{self, Answer, Fault};

const MOST_NEWS: usize = 100;

/// Millionths of the limit, milliseconds, how many alerts are kept.
fn rules(term: Term<'_>) -> Answer<Rules> {
    let (margin, realert_ms, history): (u64, u64, usize) =
        term.decode().map_err(|_| Fault(atoms::bad_rules()))?;
    Ok(Rules {
        margin: Margin::new(margin).ok_or(Fault(atoms::bad_rules()))?,
        realert_ms,
        history: Some(history)
            .filter(|history| *history <= MAX_HISTORY)
            .ok_or(Fault(atoms::bad_rules()))?,
    })
}

/// Rules, whether to judge by them, and milliseconds between checks: all from configuration.
type Configured = (Rules, bool, u64);

fn configured<'a>(rules_: Term<'a>, on: Term<'a>, interval_ms: Term<'a>) -> Answer<Configured> {
    let interval_ms = term::interval_ms(interval_ms)?;
    Ok((rules(rules_)?, term::switch(on)?, interval_ms))
}

/// Forgets what only these natives know.
fn clear(table: &Table) {
    table.check_interval_ms.reset(DEFAULT_INTERVAL_MS);
    table.reported_open.lock().clear();
}

/// Attaches the calling process, which from now on gets `news` when handlers have to be told something, and
/// judges by these rules. What is held and what was set by hand before a crash stays. Returns the check interval
/// that holds, in milliseconds.
#[rustler::nif(schedule = "DirtyCpu")]
fn overload_open<'a>(
    env: Env<'a>,
    table: Term<'a>,
    rules: Term<'a>,
    on: Term<'a>,
    interval_ms: Term<'a>,
) -> Term<'a> {
    table::make_own();
    with_any_table(env, table, |beam| {
        let (rules, on, interval_ms) = configured(rules, on, interval_ms)?;
        let table = &**beam.table;
        if !table.limits.judge().is_open() {
            clear(table);
        }
        table.check_interval_ms.configure(interval_ms);
        *table.monitor.lock() = Some(env.pid());
        table.limits.open_overload(rules, on, beam);
        Ok(table.check_interval_ms.get())
    })
}

/// Judges nothing any more, and forgets everything but depths.
#[rustler::nif(schedule = "DirtyCpu")]
fn overload_close<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_any_table(env, table, |beam| {
        *beam.table.monitor.lock() = None;
        beam.table.limits.unwatch(beam);
        beam.table.limits.unguard(beam);
        beam.table.limits.close_overload(beam);
        clear(beam.table);
        Ok(atoms::ok())
    })
}

/// Judges by these rules from now on; what was set by hand stays. Returns the check interval that holds.
#[rustler::nif(schedule = "DirtyCpu")]
fn overload_configure<'a>(
    env: Env<'a>,
    table: Term<'a>,
    rules: Term<'a>,
    on: Term<'a>,
    interval_ms: Term<'a>,
) -> Term<'a> {
    with_monitor(env, table, |beam| {
        let (rules, on, interval_ms) = configured(rules, on, interval_ms)?;
        beam.table.check_interval_ms.configure(interval_ms);
        beam.table.limits.configure_overload(rules, on, beam);
        Ok(beam.table.check_interval_ms.get())
    })
}

/// Switches judging on or off by hand.
#[rustler::nif(schedule = "DirtyCpu")]
fn overload_set_enabled<'a>(env: Env<'a>, table: Term<'a>, enabled: Term<'a>) -> Term<'a> {
    with_monitor(env, table, |beam| {
        let enabled = term::switch(enabled)?;
        beam.table.limits.switch_overload(enabled, beam);
        if !enabled {
            // What was opened is to be closed.
            beam.wake();
        }
        Ok(atoms::ok())
    })
}

/// Sets the check interval by hand, for the next process too.
#[rustler::nif]
fn overload_set_interval<'a>(env: Env<'a>, table: Term<'a>, interval_ms: Term<'a>) -> Term<'a> {
    with_monitor(env, table, |beam| {
        let interval_ms = term::interval_ms(interval_ms)?;
        beam.table.check_interval_ms.set(interval_ms);
        Ok(atoms::ok())
    })
}

/// Looks at every owner.
#[rustler::nif(schedule = "DirtyCpu")]
fn overload_check<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_monitor(env, table, |beam| {
        beam.table.limits.check_overload(beam);
        Ok(atoms::ok())
    })
}

/// Forgets the history and every owner's level.
#[rustler::nif(schedule = "DirtyCpu")]
fn overload_reset<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_monitor(env, table, |beam| {
        beam.table.limits.judge().alerts().forget_history();
        beam.table.limits.forget_levels(beam);
        // What was opened may have to be closed.
        beam.wake();
        Ok(atoms::ok())
    })
}

/// The alerts that are kept, newest first.
#[rustler::nif(schedule = "DirtyCpu")]
fn overload_history<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_open_table(env, table, |beam| {
        let history = beam.table.limits.judge().alerts().history();
        Ok(history
            .iter()
            .map(|alert| faces::alert(env, alert))
            .collect())
    })
}

/// `{[{raised | cleared, Alert}], Lost}`: at most so many, no more than a hundred, and the same again until
/// `overload_told/1`. Few enough for a normal scheduler, so that handlers hear of a crossing at once.
#[rustler::nif]
fn overload_news<'a>(env: Env<'a>, table: Term<'a>, most: Term<'a>) -> Term<'a> {
    with_monitor(env, table, |beam| {
        let most: usize = most.decode().map_err(|_| Fault(atoms::bad_rules()))?;
        let most = most.min(MOST_NEWS);
        let (news, lost) = beam.table.limits.judge().alerts().take(most);
        let row = |news: &News| match news {
            News::Raised(alert) => (atoms::raised(), faces::alert(env, alert)),
            News::Cleared(alert) => (atoms::cleared(), faces::alert(env, alert)),
        };
        Ok((news.iter().map(row).collect::<Vec<_>>(), lost))
    })
}

/// What was taken has been told.
#[rustler::nif]
fn overload_told<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_monitor(env, table, |beam| {
        beam.table.limits.judge().alerts().told();
        Ok(atoms::ok())
    })
}

/// `[{Role, Level}]`: the roles' alert levels.
#[rustler::nif(schedule = "DirtyCpu")]
fn overload_levels<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_monitor(env, table, |beam| {
        let levels = beam.table.limits.roles().levels().into_iter();
        let row = |(role, level)| (term::role_term(env, role), level_atom(level));
        Ok(levels.map(row).collect::<Vec<_>>())
    })
}

/// Whether anything is judged.
#[rustler::nif]
fn overload_is_enabled<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_monitor(env, table, |beam| Ok(beam.table.limits.judge().active()))
}

/// Notes for the next process whether a role's breaker was reported open.
#[rustler::nif]
fn overload_set_reported<'a>(
    env: Env<'a>,
    table: Term<'a>,
    role: Term<'a>,
    open: Term<'a>,
) -> Term<'a> {
    with_monitor(env, table, |beam| {
        let (role, open) = (term::role(role)?, term::switch(open)?);
        let mut reported = beam.table.reported_open.lock();
        let _ = if open {
            reported.insert(role)
        } else {
            reported.remove(&role)
        };
        Ok(atoms::ok())
    })
}

/// The roles whose breaker was reported open, those included that are gone.
#[rustler::nif(schedule = "DirtyCpu")]
fn overload_reported<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_monitor(env, table, |beam| {
        let reported = beam.table.reported_open.lock().clone();
        let roles = reported.into_iter().map(|role| term::role_term(env, role));
        Ok(roles.collect::<Vec<_>>())
    })
}

/// The rows of a role's owners, or of all with `{}`; only those at critical or overload if asked for.
#[rustler::nif(schedule = "DirtyCpu")]
fn overload_rows<'a>(env: Env<'a>, table: Term<'a>, role: Term<'a>, crowded: Term<'a>) -> Term<'a> {
    with_open_table(env, table, |beam| {
        let of = one_or_all(role)?;
        let crowded = term::switch(crowded)?;
        let rows = beam.table.limits.rows(of, beam).into_iter();
        // How long a mailbox is, the caller is going to ask.
        let is_crowded = |row: &Row| row.kind != Kind::Counted || row.status >= Level::Critical;
        let wanted = |row: &Row| !crowded || is_crowded(row);
        Ok(rows
            .filter(wanted)
            .map(|row| faces::queue_info(env, &row))
            .collect())
    })
}

/// The rows of the first owners of a role, or with `{}` of all roles, by this rank.
#[rustler::nif(schedule = "DirtyCpu")]
fn overload_first<'a>(
    env: Env<'a>,
    table: Term<'a>,
    role: Term<'a>,
    by: Term<'a>,
    most: Term<'a>,
) -> Term<'a> {
    with_open_table(env, table, |beam| {
        let (of, by) = (one_or_all(role)?, faces::rank(by)?);
        let most: usize = most.decode().map_err(|_| Fault(atoms::bad_rules()))?;
        let rows = beam.table.limits.first(of, by, most, beam);
        Ok(rows.iter().map(|row| faces::queue_info(env, row)).collect())
    })
}

/// A map a role.
#[rustler::nif(schedule = "DirtyCpu")]
fn overload_summary<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_open_table(env, table, |beam| {
        let rows = beam.table.limits.roles().summary(beam.now());
        Ok(rows
            .iter()
            .map(|row| faces::role_summary(env, row))
            .collect())
    })
}

/// Runs `operation` if the monitor is started.
pub(crate) fn with_monitor<'a, T: Encoder>(
    env: Env<'a>,
    table: Term<'a>,
    operation: impl FnOnce(&Beam<'a, '_, Table>) -> Answer<T>,
) -> Term<'a> {
    with_any_table(env, table, |beam| {
        if beam.table.limits.judge().is_open() {
            operation(beam)
        } else {
            Err(Fault(atoms::not_started()))
        }
    })
}

/// As `with_monitor`, for rows: there are none while queue limits are not started.
fn with_open_table<'a>(
    env: Env<'a>,
    table: Term<'a>,
    operation: impl FnOnce(&Beam<'a, '_, Table>) -> Answer<Vec<Term<'a>>>,
) -> Term<'a> {
    with_monitor(env, table, |beam| {
        if beam.table.limits.is_open() {
            operation(beam)
        } else {
            Ok(Vec::new())
        }
    })
}

/// A role, or with `{}` none in particular.
pub(crate) fn one_or_all(role: Term<'_>) -> Answer<Option<RoleId>> {
    if role.is_tuple() {
        Ok(None)
    } else {
        term::role(role).map(Some)
    }
}
