//! What the monitor tells of owners and roles, as maps.

use erlmcp_core::alerts::Alert;
use erlmcp_core::fill::BANDS_FROM;
use erlmcp_core::overload::{Level, status};
use erlmcp_core::survey::Row;
use erlmcp_core::{ByLevel, RoleSummary};
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::term;

pub(crate) fn level_atom(level: Level) -> Atom {
    match level {
        Level::Ok => atoms::ok(),
        Level::Warning => atoms::warning(),
        Level::Critical => atoms::critical(),
        Level::Overload => atoms::overload(),
    }
}

fn utilization(depth: u64, limit: u64) -> f64 {
    match (depth, limit) {
        (0, 0) => 0.0,
        (_, 0) => 1.0,
        (depth, limit) => depth as f64 / limit as f64,
    }
}

pub(crate) fn alert_map<'a>(env: Env<'a>, alert: &Alert) -> Term<'a> {
    let fields = [
        (atoms::level(), level_atom(alert.level).encode(env)),
        (atoms::role(), term::role_term(env, alert.role)),
        (atoms::process(), term::owner_term(env, alert.owner)),
        (atoms::depth(), alert.depth.encode(env)),
        (atoms::limit(), alert.limit.encode(env)),
        (
            atoms::utilization(),
            utilization(alert.depth, alert.limit).encode(env),
        ),
        (atoms::timestamp(), alert.at_ms.encode(env)),
    ];
    term::map(env, &fields)
}

pub(crate) fn row_map<'a>(env: Env<'a>, row: &Row) -> Term<'a> {
    let role = term::role_term(env, row.role);
    let process = row.owner.map_or(role, |owner| term::owner_term(env, owner));
    let fields = [
        (atoms::role(), role),
        (atoms::process(), process),
        (atoms::depth(), row.depth.encode(env)),
        (atoms::limit(), row.limit.encode(env)),
        (
            atoms::utilization(),
            utilization(row.depth, row.limit).encode(env),
        ),
        (
            atoms::status(),
            level_atom(status(row.depth, row.limit)).encode(env),
        ),
    ];
    term::map(env, &fields)
}

/// The map `role_summary()`.
pub(crate) fn summary_map<'a>(env: Env<'a>, row: &RoleSummary) -> Term<'a> {
    let mut fields = standing_fields(env, row);
    fields.extend([
        (atoms::role(), term::role_term(env, row.stats.role)),
        (atoms::owners(), row.stats.owners.encode(env)),
        (atoms::depth(), row.stats.current_depth.encode(env)),
        (atoms::limit(), row.stats.limit.encode(env)),
    ]);
    term::map(env, &fields)
}

/// Everything that is known of a role.
pub(crate) fn role_map<'a>(env: Env<'a>, row: &RoleSummary, breaker_open: bool) -> Term<'a> {
    let [_, alerts @ ..] = level_fields(env, row.alerts);
    let breaker = if breaker_open {
        atoms::open()
    } else {
        atoms::closed()
    };
    let bands = BANDS_FROM.into_iter().zip(row.fill.owners);
    let bands: Vec<_> = bands
        .map(|(percent, owners)| (percent as f64 / 100.0, owners))
        .collect();
    let mut fields = standing_fields(env, row);
    fields.extend(term::role_fields(env, &row.stats));
    fields.extend([
        (atoms::retry_after_ms(), row.retry_after_ms.encode(env)),
        (atoms::drained_per_s(), row.drained_per_s.encode(env)),
        (atoms::refused_per_s(), row.refused_per_s.encode(env)),
        (
            atoms::refusing_since(),
            term::optional(env, row.refusing_since_ms),
        ),
        (atoms::alerts(), term::map(env, &alerts)),
        (atoms::fullest(), row.fill.fullest.encode(env)),
        (atoms::owners_by_utilization(), bands.encode(env)),
        (atoms::breaker(), breaker.encode(env)),
    ]);
    term::map(env, &fields)
}

fn standing_fields<'a>(env: Env<'a>, row: &RoleSummary) -> Vec<(Atom, Term<'a>)> {
    let standing = &row.standing;
    let alerted: u64 = standing.owners_at.iter().sum();
    let mut owners_at = standing.owners_at;
    if let Some(at_none) = owners_at.get_mut(Level::Ok.index()) {
        *at_none = row.stats.owners.saturating_sub(alerted);
    }
    let time = [
        (
            atoms::last_minute(),
            by_level(env, standing.time.last_minute_ms),
        ),
        (
            atoms::last_hour(),
            by_level(env, standing.time.last_hour_ms),
        ),
        (atoms::since_start(), by_level(env, standing.time.total_ms)),
    ];
    let max_utilization = utilization(row.fill.fullest, row.stats.limit);
    vec![
        (atoms::level(), level_atom(standing.level).encode(env)),
        (atoms::owners_by_level(), by_level(env, owners_at)),
        (atoms::ms_at_level(), term::map(env, &time)),
        (atoms::max_utilization(), max_utilization.encode(env)),
        (atoms::as_of(), term::optional(env, row.as_of_ms)),
    ]
}

fn by_level(env: Env<'_>, numbers: ByLevel) -> Term<'_> {
    term::map(env, &level_fields(env, numbers))
}

fn level_fields(env: Env<'_>, numbers: ByLevel) -> [(Atom, Term<'_>); 4] {
    let [ok, warning, critical, overload] = Level::ALL;
    let [at_ok, at_warning, at_critical, at_overload] = numbers;
    [
        (ok, at_ok),
        (warning, at_warning),
        (critical, at_critical),
        (overload, at_overload),
    ]
    .map(|(level, number)| (level_atom(level), number.encode(env)))
}
