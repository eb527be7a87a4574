//! How many senders may wait at priority high. A process that is high goes before all ordinary ones each time that it
//! wakes: one that sends in a loop would keep the others of its scheduler from ever running.

use std::cell::Cell;

use rustler::{Encoder, Env, Term};

use crate::direct::native;

/// So many a millisecond on each scheduler: they take about an eighth of it.
const MOST: u32 = 64;
const WINDOW_NS: i64 = 1_000_000;

/// In which millisecond, and how many so far.
type Spent = (i64, u32);

thread_local! {
    /// Of this thread, which is a scheduler's.
    static SPENT: Cell<Spent> = const { Cell::new((0, 0)) };
}

native!("control_haste", 1, control_haste);

/// Whether a sender who began at this time, in nanoseconds, may wait at priority high.
fn control_haste<'a>(env: Env<'a>, [now_ns]: [Term<'a>; 1]) -> Term<'a> {
    let may = |now_ns| {
        SPENT.with(|spent| {
            spent.set(spend(spent.get(), now_ns));
            spent.get().1 <= MOST
        })
    };
    now_ns.decode().is_ok_and(may).encode(env)
}

/// One more.
fn spend((window, spent): Spent, now_ns: i64) -> Spent {
    let now = now_ns.div_euclid(WINDOW_NS);
    if now == window {
        (window, spent.saturating_add(1))
    } else {
        (now, 1)
    }
}
