//! Natives for benchmarks and tests, in a library of their own: nothing of them is in erlmcp_native's.
//!
//! They are registered by the very file that registers the hot natives there.

use std::hint::black_box;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rustler::{Atom, Env, LocalPid, Term};

#[path = "../../nif/src/direct.rs"]
mod direct;

direct::native!("floor", 2, floor);
direct::native!("panics", 1, panics);

/// What cannot be spared in a count: entering a native, decoding an atom and a pid, one addition that all threads
/// agree on. Returns the atom, or else the other term: then it was called for what it cannot count.
fn floor<'a>(_env: Env<'a>, [role, owner]: [Term<'a>; 2]) -> Term<'a> {
    /// On a line of its own.
    #[repr(align(128))]
    struct Word(AtomicU64);
    static COUNT: Word = Word(AtomicU64::new(0));
    if role.is_atom() && owner.decode::<LocalPid>().is_ok() {
        COUNT.0.fetch_add(1, Ordering::SeqCst);
        role
    } else {
        owner
    }
}

/// How long the calling thread has run, in nanoseconds: what a call takes of the processor, waited or not.
#[cfg(unix)]
#[rustler::nif]
fn thread_cpu_ns() -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes to the place that it is given, and to no other.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "every thread has such a clock");
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec)
}

/// Keeps the thread busy for so many nanoseconds, with nothing: what is slow then is somebody else's doing.
#[rustler::nif]
fn spin_ns(ns: u64) -> Atom {
    let start = Instant::now();
    while start.elapsed().as_nanos() < u128::from(ns) {
        std::hint::spin_loop();
    }
    rustler::types::atom::ok()
}

/// How long a load from memory takes that has to wait for the one before, in nanoseconds: along so many records of two
/// lines each, in no order. The least of some walks.
#[rustler::nif(schedule = "DirtyCpu")]
fn memory_latency_ns(records: usize) -> f64 {
    const LOADS: usize = 20_000;
    let mut next: Vec<[usize; 16]> = (0..records).map(|place| [place; 16]).collect();
    // Sattolo's shuffle: one circle through all.
    let mut random = 0x9E37_79B9_7F4A_7C15_usize;
    for last in (1..records).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        next.swap(last, random.checked_rem(last).unwrap_or(0));
    }
    let mut place = 0;
    let walks = (0..50).map(|_| {
        let start = Instant::now();
        for _ in 0..LOADS {
            place = next.get(place).map_or(0, |[next, ..]| *next);
        }
        black_box(place);
        start.elapsed().as_nanos() as f64 / LOADS as f64
    });
    walks.fold(f64::INFINITY, f64::min)
}

/// Panics: with `twice` so that what it panics with panics when it is dropped, with any other term as usual. What a
/// hook would print is not printed.
fn panics<'a>(_env: Env<'a>, [how]: [Term<'a>; 1]) -> Term<'a> {
    struct Twice;
    impl Drop for Twice {
        fn drop(&mut self) {
            resume_unwind(Box::new("dropped"));
        }
    }
    match how.atom_to_string() {
        Ok(how) if how == "twice" => resume_unwind(Box::new(Twice)),
        _ => resume_unwind(Box::new("once")),
    }
}

rustler::init!("erlmcp_native_probe");
