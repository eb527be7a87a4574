//! The table that natives work on: a resource of its own, or the library's.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use erlmcp_core::RoleId;
use erlmcp_core::limits::Limits;
use erlmcp_core::setting::Setting;
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use rustler::{Encoder, Env, LocalPid, Monitor, Resource, ResourceArc, Term};

use crate::atoms;
use crate::host::{Beam, Callback, Wakes, Watch, now};
use crate::term::{self, Answer, Fault};

/// Until somebody says otherwise.
pub(crate) const DEFAULT_INTERVAL_MS: u64 = 5_000;

/// A table of limits, and the processes that speak for it.
pub(crate) struct Table {
    pub(crate) limits: Limits<Watch>,
    /// Hears of refusals.
    pub(crate) listener: Mutex<Option<LocalPid>>,
    /// Hears that handlers have news.
    pub(crate) monitor: Mutex<Option<LocalPid>>,
    /// The roles whose breaker was reported open; they may be gone.
    pub(crate) reported_open: Mutex<BTreeSet<RoleId>>,
    /// How often the monitor's process is to look at all owners, in milliseconds.
    pub(crate) check_interval_ms: Setting<u64>,
    /// How often the monitor's process was dead when it had to be woken.
    pub(crate) wakeups_dropped: AtomicU64,
}

/// The table that calls with `own` use, made when it is first opened. It lives as long as the library,
/// so that a restarted process finds its counts.
///
/// It cannot be made while the library is loaded: the runtime completes a resource type after `load` has
/// returned, and what is allocated before cannot be monitored.
static OWN: OnceCell<ResourceArc<Table>> = OnceCell::new();

impl Table {
    pub(crate) fn closed() -> Self {
        let default_role = term::atom_role(atoms::default());
        Self {
            limits: Limits::new(default_role, 0, now()),
            listener: Mutex::new(None),
            monitor: Mutex::new(None),
            reported_open: Mutex::new(BTreeSet::new()),
            check_interval_ms: Setting::new(DEFAULT_INTERVAL_MS),
            wakeups_dropped: AtomicU64::new(0),
        }
    }
}

#[rustler::resource_impl]
impl Resource for Table {
    const IMPLEMENTS_DOWN: bool = true;

    fn down<'a>(&'a self, env: Env<'a>, pid: LocalPid, _monitor: Monitor) {
        let callback = Callback {
            env,
            resource: self,
        };
        self.limits.died(term::process_id(env, pid), &callback);
    }
}

impl Wakes for Table {
    fn whom(&self) -> Option<LocalPid> {
        *self.monitor.lock()
    }

    fn dropped(&self) {
        self.wakeups_dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// The library's own table, made now if need be.
pub(crate) fn make_own() {
    OWN.get_or_init(|| ResourceArc::new(Table::closed()));
}

/// The library's own table, open or not, if it was ever opened.
#[inline]
pub(crate) fn any_own() -> Option<&'static ResourceArc<Table>> {
    OWN.get()
}

/// The library's own table, if it is the one that the term names, and open.
#[inline]
pub(crate) fn own(table: Term<'_>) -> Option<&'static ResourceArc<Table>> {
    let own = OWN.get().filter(|_| atoms::own() == table)?;
    own.limits.is_open().then_some(own)
}

/// Runs `operation` on the table that the term names, open or not.
pub(crate) fn with_any_table<'a, T: Encoder>(
    env: Env<'a>,
    table: Term<'a>,
    operation: impl FnOnce(&Beam<'a, '_, Table>) -> Answer<T>,
) -> Term<'a> {
    let run = |table: &ResourceArc<Table>| operation(&Beam { env, table });
    let answer = if atoms::own() == table {
        OWN.get().ok_or(Fault(atoms::not_started())).and_then(run)
    } else {
        match table.decode() {
            Ok(table) => run(&table),
            Err(_) => Err(Fault(atoms::bad_table())),
        }
    };
    term::answer(env, answer)
}

/// Runs `operation` on the table that the term names, if it is open.
pub(crate) fn with_table<'a, T: Encoder>(
    env: Env<'a>,
    table: Term<'a>,
    operation: impl FnOnce(&Beam<'a, '_, Table>, &Limits<Watch>) -> Answer<T>,
) -> Term<'a> {
    with_any_table(env, table, |beam| {
        if beam.table.limits.is_open() {
            operation(beam, &beam.table.limits)
        } else {
            Err(Fault(atoms::not_started()))
        }
    })
}
