//! What the drop-in modules answer: maps with the names that erlmcp gave its numbers. Below them a number has the one
//! name that core gives it; these names stand here and nowhere else.

use erlmcp_core::alerts::Alert;
use erlmcp_core::control::Components;
use erlmcp_core::limits::Refusal;
use erlmcp_core::overload::utilization;
use erlmcp_core::rank::Rank;
use erlmcp_core::survey::Row;
use erlmcp_core::timing::Timing;
use erlmcp_core::{Kind, OwnerId, RoleStats, RoleSummary};
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::control_stats;
use crate::registry::Route;
use crate::request::{class_atom, reason_atom};
use crate::rows::{at_level, by_level, level_atom};
use crate::term::{self, Answer, Fault, Order};

mod named {
    rustler::atoms! {
        as_of,
        kind,
        capacity_exceeded_count,
        current_depth,
        drain_per_s,
        last_capacity_exceeded,
        process,
        sojourn_ms,
        stalled,
        stalled_ms,
        status,
        timestamp,
        total_delivered,
        total_dequeued,
        total_enqueued,
        total_rejected,
        total_released,
        unmatched_dequeues,
        utilization,
        wait,
        wait_ms,
    }
}

/// `erlmcp_queue_limits:role_stats()`.
pub(crate) fn role_stats<'a>(env: Env<'a>, stats: &RoleStats) -> Term<'a> {
    term::map(env, &role_fields(env, stats))
}

/// `erlmcp_queue_limits:refusal()`: the role's, and what it means for this owner.
pub(crate) fn refusal<'a>(env: Env<'a>, owner: OwnerId, refusal: &Refusal) -> Term<'a> {
    static REFUSAL: Order<17> = Order::unknown();
    let [a, b, c, d, e, f, g, h, i, j, k, l] = role_fields(env, &refusal.stats);
    let process = (named::process(), term::owner_term(env, owner));
    let depth = (atoms::depth(), refusal.depth.encode(env));
    let retry_after_ms = (atoms::retry_after_ms(), refusal.retry_after_ms.encode(env));
    let class = (atoms::class(), class_atom(refusal.class).encode(env));
    let reason = (atoms::reason(), reason_atom(refusal.reason).encode(env));
    REFUSAL.map(
        env,
        [
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
            i,
            j,
            k,
            l,
            process,
            depth,
            class,
            reason,
            retry_after_ms,
        ],
    )
}

fn role_fields<'a>(env: Env<'a>, stats: &RoleStats) -> [(Atom, Term<'a>); 12] {
    let refused = stats.refused.encode(env);
    let last_refused = term::optional(env, stats.last_refused_ms);
    [
        (atoms::role(), term::role_term(env, stats.role)),
        (named::current_depth(), stats.depth.encode(env)),
        (atoms::max_depth(), stats.max_depth.encode(env)),
        (named::total_enqueued(), stats.enqueued.encode(env)),
        (named::total_dequeued(), stats.dequeued.encode(env)),
        (named::unmatched_dequeues(), stats.unmatched.encode(env)),
        (named::total_released(), stats.released.encode(env)),
        (named::total_rejected(), refused),
        (named::capacity_exceeded_count(), refused),
        (named::last_capacity_exceeded(), last_refused),
        (atoms::owners(), stats.owners.encode(env)),
        (atoms::limit(), term::limit_term(env, stats.limit)),
    ]
}

/// `erlmcp_overload_monitor:role_summary()`.
pub(crate) fn role_summary<'a>(env: Env<'a>, row: &RoleSummary) -> Term<'a> {
    let fields = [
        (atoms::role(), term::role_term(env, row.stats.role)),
        (atoms::owners(), row.stats.owners.encode(env)),
        (atoms::depth(), row.stats.depth.encode(env)),
        (atoms::limit(), term::limit_term(env, row.stats.limit)),
        (atoms::level(), level_atom(row.level).encode(env)),
        (atoms::owners_by_level(), by_level(env, row.owners_by_level)),
        (atoms::ms_at_level(), at_level(env, row.ms_at_level)),
        (atoms::max_utilization(), row.max_utilization.encode(env)),
        (named::as_of(), term::optional(env, row.as_of_ms)),
    ];
    term::map(env, &fields)
}

/// `erlmcp_overload_monitor:rank()`.
pub(crate) fn rank(by: Term<'_>) -> Answer<Rank> {
    let by: Atom = by.decode().map_err(|_| Fault(atoms::bad_rules()))?;
    let ranks = [
        (named::utilization(), Rank::Utilization),
        (atoms::depth(), Rank::Depth),
        (named::wait(), Rank::Wait),
        (named::stalled(), Rank::Stalled),
    ];
    let found = ranks.into_iter().find(|(name, _)| *name == by);
    found.map(|(_, rank)| rank).ok_or(Fault(atoms::bad_rules()))
}

/// `erlmcp_overload_monitor:queue_info()`.
pub(crate) fn queue_info<'a>(env: Env<'a>, row: &Row) -> Term<'a> {
    let role = term::role_term(env, row.role);
    let process = row.owner.map_or(role, |owner| term::owner_term(env, owner));
    let status = level_atom(row.status);
    let [drain_per_s, wait_ms, sojourn_ms, stalled_ms] = timing(env, row.timing);
    let kind = match row.kind {
        Kind::Counted => atoms::counted(),
        Kind::Mailbox | Kind::Watched => atoms::mailbox(),
    };
    let fields = [
        (atoms::role(), role),
        (named::process(), process),
        (named::kind(), kind.encode(env)),
        (atoms::depth(), row.depth.encode(env)),
        (atoms::limit(), term::limit_term(env, row.limit)),
        (
            named::utilization(),
            utilization(row.depth, row.limit).encode(env),
        ),
        (named::status(), status.encode(env)),
        (named::drain_per_s(), drain_per_s),
        (named::wait_ms(), wait_ms),
        (named::sojourn_ms(), sojourn_ms),
        (named::stalled_ms(), stalled_ms),
    ];
    term::map(env, &fields)
}

/// How fast an owner drains, how long a newcomer waits, how long one has waited, how long nobody was taken out; each
/// `undefined` if it is not known.
pub(crate) fn timing(env: Env<'_>, timing: Timing) -> [Term<'_>; 4] {
    let drain_per_s = timing
        .drain_per_s
        .map_or_else(|| atoms::undefined().encode(env), |per_s| per_s.encode(env));
    [
        drain_per_s,
        term::optional(env, timing.wait_ms),
        term::optional(env, timing.sojourn_ms),
        term::optional(env, timing.stalled_ms),
    ]
}

/// `erlmcp_overload_monitor:alert()`.
pub(crate) fn alert<'a>(env: Env<'a>, alert: &Alert) -> Term<'a> {
    let fields = [
        (atoms::level(), level_atom(alert.level).encode(env)),
        (atoms::role(), term::role_term(env, alert.role)),
        (named::process(), term::owner_term(env, alert.owner)),
        (atoms::depth(), alert.depth.encode(env)),
        (atoms::limit(), term::limit_term(env, alert.limit)),
        (
            named::utilization(),
            utilization(alert.depth, alert.limit).encode(env),
        ),
        (named::timestamp(), alert.at_ms.encode(env)),
    ];
    term::map(env, &fields)
}

/// `erlmcp_control_plane:control_plane_stats()`.
pub(crate) fn control_plane_stats<'a>(env: Env<'a>, components: &Components<Route>) -> Term<'a> {
    let (stats, rows) = (components.stats(), components.component_stats());
    let mut fields =
        control_stats::fields(env, (&stats, components.fates()), &rows, |_| Vec::new());
    fields.push((named::total_delivered(), stats.delivered().encode(env)));
    term::map(env, &fields)
}
