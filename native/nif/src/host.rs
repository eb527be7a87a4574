//! The BEAM as the core's host: processes that die, and the runtime's clocks.

use erlmcp_core::{Dead, Host, Instant, OwnerId, Runtime};
use rustler::env::OwnedEnv;
use rustler::sys::{ErlNifTimeUnit, enif_monotonic_time, enif_time_offset};
use rustler::{Env, LocalPid, Monitor, Resource, ResourceArc};

use crate::{atoms, term};

/// Who is to be woken when handlers have news.
pub(crate) trait Wakes {
    fn whom(&self) -> Option<LocalPid>;

    /// The one to be woken is dead.
    fn dropped(&self) {}
}

/// The runtime, as seen from a callback, which knows its resource but cannot watch anybody.
pub(crate) struct Callback<'a, 't, T> {
    pub(crate) env: Env<'a>,
    pub(crate) resource: &'t T,
}

impl<T: Wakes> Runtime for Callback<'_, '_, T> {
    fn now(&self) -> Instant {
        now()
    }

    fn ticks_ns(&self) -> u64 {
        ticks_ns()
    }

    fn wake(&self) {
        if let Some(pid) = self.resource.whom() {
            // One that has died is replaced by one that asks for what it missed.
            if self.env.send(&pid, atoms::news()).is_err() {
                self.resource.dropped();
            }
        }
    }
}

/// The runtime, as seen from a thread that is none of its own, where it may be sent to but not from an environment of a
/// call.
pub(crate) struct Apart<'t, T>(pub(crate) &'t T);

impl<T: Wakes> Runtime for Apart<'_, T> {
    fn now(&self) -> Instant {
        now()
    }

    fn ticks_ns(&self) -> u64 {
        ticks_ns()
    }

    fn wake(&self) {
        if let Some(pid) = self.0.whom() {
            let sent = OwnedEnv::new().send_and_clear(&pid, |_| atoms::news());
            if sent.is_err() {
                self.0.dropped();
            }
        }
    }
}

const US_PER_MS: u64 = 1_000;

/// The runtime, as seen from one native call.
pub(crate) struct Beam<'a, 't, T: Resource> {
    pub(crate) env: Env<'a>,
    /// The resource whose `down` callback hears of deaths.
    pub(crate) table: &'t ResourceArc<T>,
}

impl<T: Resource + Wakes> Runtime for Beam<'_, '_, T> {
    fn now(&self) -> Instant {
        now()
    }

    fn ticks_ns(&self) -> u64 {
        ticks_ns()
    }

    fn wake(&self) {
        let (env, resource) = (self.env, &**self.table);
        Callback { env, resource }.wake();
    }
}

/// A monitor as the core keeps it, with each owner: it fits anywhere, so that no byte beside it is lost.
#[derive(Clone, Copy)]
#[repr(C, packed)]
pub(crate) struct Watch(Monitor);

impl<T: Resource + Wakes> Host for Beam<'_, '_, T> {
    type Watch = Watch;

    fn is_alive(&self, owner: OwnerId) -> bool {
        term::process(self.env, owner).is_none_or(|pid| self.env.is_process_alive(pid))
    }

    fn watch(&self, owner: OwnerId) -> Result<Option<Watch>, Dead> {
        match term::process(self.env, owner) {
            None => Ok(None),
            Some(pid) => self
                .table
                .monitor(Some(self.env), &pid)
                .map(|monitor| Some(Watch(monitor)))
                .ok_or(Dead),
        }
    }

    fn unwatch(&self, Watch(monitor): Watch) {
        // False if the process has just died; then `down` finds nothing to do.
        let _ = self.table.demonitor(Some(self.env), &monitor);
    }
}

/// Nanoseconds on the system's monotonic clock. It tells them in a fraction of the time that the runtime's takes;
/// nobody compares the two.
#[cfg(unix)]
#[inline]
pub(crate) fn ticks_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes to the place that it is given, and to no other. Every system has this clock, so it does not
    // fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let (seconds, ns) = (time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned());
    seconds.wrapping_mul(1_000_000_000).wrapping_add(ns)
}

/// Nanoseconds since the library first asked.
#[cfg(not(unix))]
pub(crate) fn ticks_ns() -> u64 {
    use once_cell::sync::Lazy;
    static START: Lazy<std::time::Instant> = Lazy::new(std::time::Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The runtime's clocks, so that times agree with what Erlang code reads.
pub(crate) fn now() -> Instant {
    // SAFETY: both only read the runtime's clocks, and may be called on any thread once the
    // runtime runs.
    let (monotonic_us, offset_us) = unsafe {
        (
            enif_monotonic_time(ErlNifTimeUnit::ERL_NIF_USEC),
            enif_time_offset(ErlNifTimeUnit::ERL_NIF_USEC),
        )
    };
    // Rounded down after the addition, as Erlang does.
    let system_us = u64::try_from(monotonic_us.saturating_add(offset_us)).unwrap_or(0);
    Instant {
        // Erlang's monotonic time begins far below zero; the order is what matters.
        monotonic_ms: monotonic_us.abs_diff(i64::MIN) / US_PER_MS,
        system_ms: system_us / US_PER_MS,
    }
}
