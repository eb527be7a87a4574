//! The BEAM as the core's host: processes that die, and the runtime's clocks.

use erlmcp_core::{Dead, Host, Instant, OwnerId};
use rustler::sys::{ErlNifTimeUnit, enif_monotonic_time, enif_time_offset};
use rustler::{Env, Monitor, Resource, ResourceArc};

use crate::term;

const US_PER_MS: u64 = 1_000;

/// The runtime, as seen from one native call.
pub(crate) struct Beam<'a, 't, T: Resource> {
    pub(crate) env: Env<'a>,
    /// The resource whose `down` callback hears of deaths.
    pub(crate) table: &'t ResourceArc<T>,
}

impl<T: Resource> Host for Beam<'_, '_, T> {
    type Watch = Monitor;

    fn is_alive(&self, owner: OwnerId) -> bool {
        term::process(self.env, owner).is_none_or(|pid| self.env.is_process_alive(pid))
    }

    fn watch(&self, owner: OwnerId) -> Result<Option<Monitor>, Dead> {
        match term::process(self.env, owner) {
            None => Ok(None),
            Some(pid) => self
                .table
                .monitor(Some(self.env), &pid)
                .map(Some)
                .ok_or(Dead),
        }
    }

    fn unwatch(&self, watch: Monitor) {
        // False if the process has just died; then `down` finds nothing to do.
        let _ = self.table.demonitor(Some(self.env), &watch);
    }

    fn now(&self) -> Instant {
        now()
    }
}

/// The runtime's clocks, so that times agree with what Erlang code reads.
pub(crate) fn now() -> Instant {
    // SAFETY: both only read the runtime's clocks, and may be called on any of its threads, which is
    // where natives and callbacks run.
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
