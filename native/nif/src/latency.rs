//! Natives of latency histograms, as resources.

use erlmcp_core::latency::{Latency, Summary};
use rustler::{Atom, Encoder, Env, Resource, ResourceArc, Term};

use crate::atoms;
use crate::term::{self, Answer, Fault};

struct Histogram(Latency);

#[rustler::resource_impl]
impl Resource for Histogram {}

fn with<'a, T: Encoder>(
    env: Env<'a>,
    histogram: Term<'a>,
    operation: impl FnOnce(&Latency) -> Answer<T>,
) -> Term<'a> {
    let answer = match histogram.decode::<ResourceArc<Histogram>>() {
        Ok(histogram) => operation(&histogram.0),
        Err(_) => Err(Fault(atoms::bad_histogram())),
    };
    term::answer(env, answer)
}

/// The five numbers, under the keys given for them.
pub(crate) fn fields<'a>(
    env: Env<'a>,
    summary: &Summary,
    keys: [Atom; 5],
) -> [(Atom, Term<'a>); 5] {
    let [p50, p95, p99, p999, max] = keys;
    [
        (p50, summary.p50_us),
        (p95, summary.p95_us),
        (p99, summary.p99_us),
        (p999, summary.p999_us),
        (max, summary.max_us),
    ]
    .map(|(key, value)| (key, value.encode(env)))
}

/// A histogram that many threads may record into at once. It goes when nothing refers to it any more.
#[rustler::nif]
fn latency_new<'a>(env: Env<'a>) -> Term<'a> {
    ResourceArc::new(Histogram(Latency::sharded())).encode(env)
}

/// Records a latency in microseconds; longer than a minute counts as a minute.
#[rustler::nif]
fn latency_record<'a>(env: Env<'a>, histogram: Term<'a>, latency_us: Term<'a>) -> Term<'a> {
    with(env, histogram, |latency| {
        latency.record(term::microseconds(latency_us)?);
        Ok(atoms::ok())
    })
}

/// Percentiles of what was recorded since the last reset.
#[rustler::nif(schedule = "DirtyCpu")]
fn latency_summary<'a>(env: Env<'a>, histogram: Term<'a>) -> Term<'a> {
    with(env, histogram, |latency| {
        let summary = latency.summary();
        let keys = [
            atoms::p50_us(),
            atoms::p95_us(),
            atoms::p99_us(),
            atoms::p999_us(),
            atoms::max_us(),
        ];
        let mut all = vec![(atoms::count(), summary.count.encode(env))];
        all.extend(fields(env, &summary, keys));
        Ok(term::map(env, &all))
    })
}

/// Forgets what was recorded.
#[rustler::nif(schedule = "DirtyCpu")]
fn latency_reset<'a>(env: Env<'a>, histogram: Term<'a>) -> Term<'a> {
    with(env, histogram, |latency| {
        latency.reset();
        Ok(atoms::ok())
    })
}
