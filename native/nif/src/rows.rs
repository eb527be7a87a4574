//! A role as all else reads it: core's numbers under core's names. Which they are is not known here.

use erlmcp_core::fill::{BANDS_FROM, WAITS_FROM_MS};
use erlmcp_core::overload::Level;
use erlmcp_core::reason::Reason;
use erlmcp_core::request::Class;
use erlmcp_core::{ByLevel, ByReason, Number, RoleSummary, TimeAtLevel};
use once_cell::sync::OnceCell;
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::request::{class_atom, reason_atom};
use crate::term;

/// Everything that is known of a role.
pub(crate) fn role_row<'a>(env: Env<'a>, row: &RoleSummary, breaker_open: bool) -> Term<'a> {
    let breaker = if breaker_open {
        atoms::open()
    } else {
        atoms::closed()
    };
    let mut fields = vec![
        (atoms::role(), term::role_term(env, row.stats.role)),
        (atoms::breaker(), breaker.encode(env)),
    ];
    let values = row.numbers().map(|(_, number)| encode(env, number));
    fields.extend(names(env, row).iter().copied().zip(values));
    term::map(env, &fields)
}

/// The names of a role's numbers as atoms, made when they are first needed: they are the same for each role.
fn names(env: Env<'_>, row: &RoleSummary) -> &'static [Atom] {
    static NAMES: OnceCell<Box<[Atom]>> = OnceCell::new();
    NAMES.get_or_init(|| {
        // Fails on names of more than 255 characters only.
        let atom = |(name, _)| Atom::from_str(env, name).ok();
        row.numbers().filter_map(atom).collect()
    })
}

fn encode(env: Env<'_>, number: Number) -> Term<'_> {
    match number {
        Number::Whole(number) => number.encode(env),
        Number::Limit(limit) => term::limit_term(env, limit),
        Number::Maybe(number) => term::optional(env, number),
        Number::Real(number) => number.encode(env),
        Number::Level(level) => level_atom(level).encode(env),
        Number::ByLevel(numbers) => by_level(env, numbers),
        Number::ByAlertLevel(numbers) => {
            let [_, alerted @ ..] = level_fields(env, numbers);
            term::map(env, &alerted)
        }
        Number::AtLevel(time) => at_level(env, time),
        Number::ByReason(refused) => by_reason(env, refused),
        Number::Caps([places, bytes]) => {
            let cap =
                |name: Atom, (used, most): (u64, u64)| (name, used, term::limit_term(env, most));
            vec![cap(atoms::total(), places), cap(atoms::bytes(), bytes)].encode(env)
        }
        Number::ByUtilization(owners) => {
            let bands = BANDS_FROM.into_iter().zip(owners);
            let band = |(percent, owners)| (percent as f64 / 100.0, owners);
            bands.map(band).collect::<Vec<(f64, u64)>>().encode(env)
        }
        Number::ByWait(owners) => {
            let bands = WAITS_FROM_MS.into_iter().zip(owners);
            bands.collect::<Vec<(u64, u64)>>().encode(env)
        }
    }
}

/// `[{Class, Reason, Count}]`, where there were any; of the usual kind always.
fn by_reason(env: Env<'_>, refused: ByReason) -> Term<'_> {
    let rows = Class::ALL.into_iter().zip(refused);
    let row = |(class, counts): (Class, [u64; Reason::ALL.len()])| {
        let counts = Reason::ALL.into_iter().zip(counts);
        counts.map(move |(reason, count)| (class_atom(class), reason_atom(reason), count))
    };
    let usual = (class_atom(Class::default()), reason_atom(Reason::Full));
    let some = rows
        .flat_map(row)
        .filter(|(class, reason, count)| *count > 0 || (*class, *reason) == usual);
    some.collect::<Vec<_>>().encode(env)
}

pub(crate) fn level_atom(level: Level) -> Atom {
    match level {
        Level::Ok => atoms::ok(),
        Level::Warning => atoms::warning(),
        Level::Critical => atoms::critical(),
        Level::Overload => atoms::overload(),
    }
}

pub(crate) fn at_level(env: Env<'_>, time: TimeAtLevel) -> Term<'_> {
    let windows = [
        (atoms::last_minute(), by_level(env, time.last_minute_ms)),
        (atoms::last_hour(), by_level(env, time.last_hour_ms)),
        (atoms::since_start(), by_level(env, time.since_start_ms)),
    ];
    term::map(env, &windows)
}

pub(crate) fn by_level(env: Env<'_>, numbers: ByLevel) -> Term<'_> {
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
