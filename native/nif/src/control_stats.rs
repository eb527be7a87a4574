//! What the control plane counts and measures, as maps.

use erlmcp_core::control::{ComponentStats, Components, ControlStats, ControlType};
use erlmcp_core::fates::{Fate, Fates};
use erlmcp_core::latency::Distribution;
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::control::type_atom;
use crate::faces;
use crate::fates;
use crate::latency;
use crate::ration;
use crate::registry::{Route, id_term, with_plane};
use crate::term;

#[rustler::nif(schedule = "DirtyCpu")]
fn control_stats<'a>(env: Env<'a>) -> Term<'a> {
    with_plane(env, |components| {
        Ok(faces::control_plane_stats(env, components))
    })
}

/// The plane as all else reads it, with distributions of the latencies.
pub(crate) fn row<'a>(env: Env<'a>, components: &Components<Route>) -> Term<'a> {
    let (stats, rows) = (components.stats(), components.component_stats());
    let mut fields = fields(env, (&stats, components.fates()), &rows, |row| {
        vec![
            (atoms::by_type(), by_type(env, row.by_type)),
            (atoms::rates(), ration::rows(env, row.id)),
            (atoms::latency(), distribution(env, &row.latency.1)),
        ]
    });
    fields.extend([
        (atoms::delivered(), stats.delivered().encode(env)),
        (atoms::latency(), distribution(env, &stats.latency.1)),
        (atoms::delivery(), distribution(env, &stats.delivery.1)),
        (atoms::waits(), by_type(env, stats.waits)),
        (atoms::waits_us(), by_type(env, stats.waits_us)),
    ]);
    term::map(env, &fields)
}

/// All but the number of those delivered, and with `more` in each component's row.
pub(crate) fn fields<'a>(
    env: Env<'a>,
    (stats, fates): (&ControlStats, &Fates),
    rows: &[ComponentStats],
    more: impl Fn(&ComponentStats) -> Vec<(Atom, Term<'a>)>,
) -> Vec<(Atom, Term<'a>)> {
    let queued = rows.iter().fold([0_u64; 4], |mut all, row| {
        for (all, queued) in all.iter_mut().zip(row.queued) {
            *all = all.saturating_add(queued);
        }
        all
    });
    let delivery = &stats.delivery.0;
    let mut fields = vec![
        (atoms::by_type(), by_type(env, stats.by_type)),
        (atoms::queued(), by_type(env, queued)),
        (atoms::slo_violations(), stats.slo_violations.encode(env)),
        (atoms::timeouts(), stats.timeouts.encode(env)),
        (atoms::handler_crashes(), stats.handler_crashes.encode(env)),
        (atoms::delivery_p50_us(), delivery.p50_us.encode(env)),
        (atoms::delivery_p99_us(), delivery.p99_us.encode(env)),
        (atoms::by_component(), by_component(env, rows, more)),
        (atoms::far(), fates::row(env, fates, &Fate::ALL)),
    ];
    fields.extend(latency::fields(env, &stats.latency.0, latency_keys()));
    fields
}

fn by_component<'a>(
    env: Env<'a>,
    rows: &[ComponentStats],
    more: impl Fn(&ComponentStats) -> Vec<(Atom, Term<'a>)>,
) -> Term<'a> {
    let (ids, values): (Vec<_>, Vec<_>) = rows
        .iter()
        .map(|row| {
            let mut fields = more(row);
            fields.extend([
                (atoms::delivered(), row.delivered().encode(env)),
                (atoms::queued(), by_type(env, row.queued)),
            ]);
            fields.extend(latency::fields(env, &row.latency.0, latency_keys()));
            (id_term(env, row.id), term::map(env, &fields))
        })
        .unzip();
    term::map_from(env, &ids, &values)
}

fn latency_keys() -> [Atom; 5] {
    [
        atoms::latency_p50_us(),
        atoms::latency_p95_us(),
        atoms::latency_p99_us(),
        atoms::latency_p999_us(),
        atoms::max_latency_us(),
    ]
}

fn by_type(env: Env<'_>, numbers: [u64; 4]) -> Term<'_> {
    let fields: Vec<_> = ControlType::ALL
        .into_iter()
        .zip(numbers)
        .map(|(kind, number)| (type_atom(kind), number.encode(env)))
        .collect();
    term::map(env, &fields)
}

/// `#{count, sum_us, below := [{Us, Count}]}`.
fn distribution<'a>(env: Env<'a>, distribution: &Distribution) -> Term<'a> {
    let below: Vec<_> = distribution
        .below
        .into_iter()
        .enumerate()
        .map(|(place, count)| (1_u64 << place, count))
        .collect();
    let fields = [
        (atoms::count(), distribution.count.encode(env)),
        (atoms::sum_us(), distribution.sum_us.encode(env)),
        (atoms::below(), below.encode(env)),
    ];
    term::map(env, &fields)
}
