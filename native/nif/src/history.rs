//! Natives of the history: what it was like before anybody looked.

use erlmcp_core::Runtime;
use erlmcp_core::history::{History, Node, Reading, Seen, Span};
use parking_lot::Mutex;
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::host::now;
use crate::overload::one_or_all;
use crate::registry::PLANE;
use crate::table::with_table;
use crate::term::{self, Fault};

const MS_PER_S: u64 = 1_000;
/// A check that is older than so many milliseconds, and than two of its intervals, says nothing of now.
const FRESH_MS: u64 = 15_000;

/// None while it is not kept. It outlives the process that records.
static HISTORY: Mutex<Option<History>> = Mutex::new(None);

/// What it takes, for the metric of the library's memory.
pub(crate) fn memory() -> usize {
    HISTORY.lock().as_ref().map_or(0, History::memory)
}

/// Keeps a history from now on, or goes on; or forgets all of it.
#[rustler::nif(schedule = "DirtyCpu")]
fn history_keep<'a>(env: Env<'a>, keep: Term<'a>) -> Term<'a> {
    let kept = term::switch(keep).map(|keep| {
        let forgotten = if keep {
            HISTORY.lock().get_or_insert_default();
            None
        } else {
            HISTORY.lock().take()
        };
        drop(forgotten);
        atoms::ok()
    });
    term::answer(env, kept)
}

/// Records the second of now, if a history is kept. Returns for how many milliseconds the middle of the next is away.
#[rustler::nif(schedule = "DirtyCpu")]
fn history_record<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_table(env, table, |beam, limits| {
        let now = beam.now();
        if HISTORY.lock().is_some() {
            let interval_ms = beam.table.check_interval_ms.get();
            let fresh_ms = interval_ms.saturating_mul(2).max(FRESH_MS);
            let since_ms = now.system_ms.saturating_sub(fresh_ms);
            let summaries = limits.roles().summary(now);
            let seen: Vec<_> = summaries
                .iter()
                .map(|summary| Seen::of(summary, since_ms))
                .collect();
            let node = Node {
                latency: PLANE.is_open().then(|| PLANE.latency()),
                pressure: limits.pressed(beam).map(|pressed| pressed.strain.number()),
            };
            if let Some(history) = HISTORY.lock().as_mut() {
                history.record(now.monotonic_ms / MS_PER_S, &seen, node);
            }
        }
        let into_ms = now.monotonic_ms.saturating_add(MS_PER_S / 2) % MS_PER_S;
        Ok(MS_PER_S.saturating_sub(into_ms))
    })
}

/// `{ToMs, LeftOut, {RefusedPerS, ControlP99Us, Pressure}, [{Role, Fullest, RefusedPerS, MaxWaitMs}]}`, of steps of 1 s
/// or of 60 s, of one role or, with `{}`, of all; or `off`.
#[rustler::nif(schedule = "DirtyCpu")]
fn history_read<'a>(env: Env<'a>, step_s: Term<'a>, role: Term<'a>) -> Term<'a> {
    let read = || {
        let span = match term::number(step_s)? {
            1 => Span::Seconds,
            60 => Span::Minutes,
            _ => return Err(Fault(atoms::bad_number())),
        };
        let (role, now) = (one_or_all(role)?, now());
        let at_s = now.monotonic_ms / MS_PER_S;
        let reading = HISTORY
            .lock()
            .as_ref()
            .map(|history| history.read(span, role, at_s));
        Ok(reading.map_or_else(
            || atoms::off().encode(env),
            |reading| {
                let step_ms = span.step_s().saturating_mul(MS_PER_S);
                let into_ms = now.monotonic_ms.checked_rem(step_ms).unwrap_or(0);
                told(env, now.system_ms.saturating_sub(into_ms), &reading)
            },
        ))
    };
    term::answer(env, read())
}

fn told<'a>(env: Env<'a>, to_ms: u64, reading: &Reading) -> Term<'a> {
    let node = (
        column(env, &reading.refused_per_s),
        column(env, &reading.control_p99_us),
        column(env, &reading.pressure),
    );
    let roles: Vec<_> = reading
        .roles
        .iter()
        .map(|row| {
            (
                term::role_term(env, row.role),
                column(env, &row.fullest),
                column(env, &row.refused_per_s),
                column(env, &row.max_wait_ms),
            )
        })
        .collect();
    (to_ms, reading.left_out, node, roles).encode(env)
}

/// What is not known is `null`, as JSON has it: nobody has to go through all of it once more.
fn column<'a>(env: Env<'a>, numbers: &[Option<u64>]) -> Term<'a> {
    let null: Atom = atoms::null();
    let term = |number: &Option<u64>| match number {
        Some(number) => number.encode(env),
        None => null.encode(env),
    };
    numbers.iter().map(term).collect::<Vec<_>>().encode(env)
}
