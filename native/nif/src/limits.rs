//! Natives of the queue limits, but for the hot ones and permits. The first argument is a table, or `own` for the
//! library's.

use erlmcp_core::limits::Refusal;
use erlmcp_core::{Kind, Outlook, OwnerId, RoleId, Runtime};
use rustler::{Encoder, Env, ResourceArc, Term};

use crate::atoms;
use crate::faces;
use crate::host::Beam;
use crate::hot::with_request;
use crate::table::{self, Table, with_any_table, with_table};
use crate::term::{self, Answer, Fault};

/// `{refused, Stats}`; the listener is told of a refusal that is to be announced.
#[cold]
pub(crate) fn refused<'a>(
    beam: &Beam<'a, '_, Table>,
    role: RoleId,
    owner: OwnerId,
    refusal: &Refusal,
) -> Term<'a> {
    if refusal.announce {
        let listener = *beam.table.listener.lock();
        if let Some(pid) = listener {
            // A listener that has died is replaced by one that asks for what it missed.
            let _ = beam
                .env
                .send(&pid, (atoms::refused(), term::role_term(beam.env, role)));
        }
    }
    let stats = faces::refusal(beam.env, owner, refusal);
    (atoms::refused(), stats).encode(beam.env)
}

/// What a native costs that decodes the same arguments and does nothing: the floor for the others.
#[rustler::nif]
fn limits_nothing<'a>(env: Env<'a>, table: Term<'a>, role: Term<'a>, owner: Term<'a>) -> Term<'a> {
    with_any_table(env, table, |_| {
        term::role(role)?;
        term::owner(owner)?;
        Ok(atoms::ok())
    })
}

/// The depth, or `mailbox` for an owner whose mailbox it is.
#[rustler::nif]
fn limits_depth<'a>(env: Env<'a>, table: Term<'a>, role: Term<'a>, owner: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| {
        let (role, owner) = (term::role(role)?, term::owner(owner)?);
        Ok(match limits.kind(role, owner) {
            Some(Kind::Mailbox | Kind::Watched) => atoms::mailbox().encode(env),
            Some(Kind::Counted) | None => limits.depth(role, owner).encode(env),
        })
    })
}

/// The depth over all roles, with the atom `mailbox` if the owner's mailbox is another.
#[rustler::nif(name = "limits_depth")]
fn limits_total_depth<'a>(env: Env<'a>, table: Term<'a>, owner: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| {
        let depths = limits.total_depth(term::owner(owner)?);
        Ok(match depths.ok_or(Fault(atoms::not_found()))? {
            (counted, false) => counted.encode(env),
            (counted, true) => (counted, atoms::mailbox()).encode(env),
        })
    })
}

/// `ok` or `full`. As `limits_try_enqueue`, but it counts no refusal.
#[rustler::nif]
fn limits_offer<'a>(
    env: Env<'a>,
    table: Term<'a>,
    role: Term<'a>,
    owner: Term<'a>,
    options: Term<'a>,
) -> Term<'a> {
    with_request(env, [table, role, owner], options, |request| {
        with_table(env, table, |beam, limits| {
            let admitted = limits.offer(term::role(role)?, term::owner(owner)?, request, beam)?;
            Ok(if admitted { atoms::ok() } else { atoms::full() })
        })
    })
}

#[rustler::nif]
fn limits_forget<'a>(env: Env<'a>, table: Term<'a>, role: Term<'a>, owner: Term<'a>) -> Term<'a> {
    with_table(env, table, |beam, limits| {
        let (role, owner) = (term::role(role)?, term::owner(owner)?);
        limits.is_free(role)?;
        limits.forget(role, owner, beam);
        Ok(atoms::ok())
    })
}

/// `ok` for a role that owners may be counted in, or limited: what is wrong with another, whoever is asked for.
#[rustler::nif]
fn limits_check_role<'a>(env: Env<'a>, table: Term<'a>, role: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| {
        limits.is_free(term::role(role)?)?;
        Ok(atoms::ok())
    })
}

#[rustler::nif]
fn limits_get_limit<'a>(env: Env<'a>, table: Term<'a>, role: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| {
        let limit = limits.roles().set_to(term::role(role)?);
        Ok(term::set_limit_term(env, limit))
    })
}

#[rustler::nif]
fn limits_set_limit<'a>(
    env: Env<'a>,
    table: Term<'a>,
    role: Term<'a>,
    limit: Term<'a>,
) -> Term<'a> {
    with_table(env, table, |beam, limits| {
        let (role, limit) = (term::role(role)?, term::limit(limit)?);
        limits.is_free(role)?;
        limits.roles().set_limit(role, limit, beam.now())?;
        Ok(atoms::ok())
    })
}

#[rustler::nif]
fn limits_get_reserve<'a>(env: Env<'a>, table: Term<'a>, role: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| {
        let reserve = limits.roles().reserve(term::role(role)?);
        Ok(term::reserve_term(env, reserve))
    })
}

#[rustler::nif]
fn limits_set_reserve<'a>(
    env: Env<'a>,
    table: Term<'a>,
    role: Term<'a>,
    reserve: Term<'a>,
) -> Term<'a> {
    with_table(env, table, |beam, limits| {
        let (role, reserve) = (term::role(role)?, term::reserve(reserve)?);
        limits.is_free(role)?;
        limits.roles().set_reserve(role, reserve, beam.now())?;
        Ok(atoms::ok())
    })
}

/// `{Total, Bytes}`, each `infinity` where there is no cap.
#[rustler::nif]
fn limits_get_caps<'a>(env: Env<'a>, table: Term<'a>, role: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| {
        let (total, bytes) = limits.roles().caps(term::role(role)?);
        Ok((term::limit_term(env, total), term::limit_term(env, bytes)))
    })
}

#[rustler::nif]
fn limits_set_caps<'a>(
    env: Env<'a>,
    table: Term<'a>,
    role: Term<'a>,
    total: Term<'a>,
    bytes: Term<'a>,
) -> Term<'a> {
    with_table(env, table, |beam, limits| {
        let (role, total, bytes) = (term::role(role)?, term::cap(total)?, term::cap(bytes)?);
        limits.is_free(role)?;
        limits.roles().set_caps(role, total, bytes, beam.now())?;
        Ok(atoms::ok())
    })
}

#[rustler::nif]
fn limits_role_stats<'a>(env: Env<'a>, table: Term<'a>, role: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| {
        let stats = limits.roles().stats(term::role(role)?);
        stats
            .map(|stats| faces::role_stats(env, &stats))
            .ok_or(Fault(atoms::not_found()))
    })
}

/// What the next request meets that comes for an owner at this depth: `open`, `unlimited`, `closed`,
/// `{crowded, Ms}`, `{room, Places}`, `{full, Ms}` or `{stuck, Ms}`; `not_found` for a role that does not exist.
#[rustler::nif]
fn limits_outlook<'a>(env: Env<'a>, table: Term<'a>, role: Term<'a>, depth: Term<'a>) -> Term<'a> {
    with_table(env, table, |beam, limits| {
        let (role, depth) = (term::role(role)?, term::depth(depth)?);
        let outlook = limits.roles().outlook(role, depth, beam.now());
        outlook_term(env, outlook)
    })
}

/// The same for this owner, whose pace may be known.
#[rustler::nif(name = "limits_outlook")]
fn limits_outlook_of<'a>(
    env: Env<'a>,
    table: Term<'a>,
    role: Term<'a>,
    owner: Term<'a>,
    depth: Term<'a>,
) -> Term<'a> {
    with_table(env, table, |beam, limits| {
        let (role, owner) = (term::role(role)?, term::owner(owner)?);
        let outlook = limits.outlook(role, owner, term::depth(depth)?, beam.now());
        outlook_term(env, outlook)
    })
}

fn outlook_term(env: Env<'_>, outlook: Option<Outlook>) -> Answer<Term<'_>> {
    Ok(match outlook.ok_or(Fault(atoms::not_found()))? {
        Outlook::Open => atoms::open().encode(env),
        Outlook::Unlimited => atoms::unlimited().encode(env),
        Outlook::Closed => atoms::closed().encode(env),
        Outlook::Crowded(ms) => (atoms::crowded(), ms).encode(env),
        Outlook::Room(places) => (atoms::room(), places).encode(env),
        Outlook::Full(ms) => (atoms::full(), ms).encode(env),
        Outlook::Stuck(ms) => (atoms::stuck(), ms).encode(env),
    })
}

/// `{Limit, DrainPerS, WaitMs, SojournMs, StalledMs}`: the owner's limit, and how long requests wait for it.
#[rustler::nif]
fn limits_owner<'a>(env: Env<'a>, table: Term<'a>, role: Term<'a>, owner: Term<'a>) -> Term<'a> {
    with_table(env, table, |beam, limits| {
        let (role, owner) = (term::role(role)?, term::owner(owner)?);
        let limit = term::limit_term(env, limits.limit(role, owner));
        let [drain_per_s, wait_ms, sojourn_ms, stalled_ms] =
            faces::timing(env, limits.timing(role, owner, beam));
        Ok((limit, drain_per_s, wait_ms, sojourn_ms, stalled_ms))
    })
}

#[rustler::nif]
fn limits_reset_stats<'a>(env: Env<'a>, table: Term<'a>, role: Term<'a>) -> Term<'a> {
    with_table(env, table, |beam, limits| {
        limits
            .roles()
            .reset_stats(term::role(role)?, beam.ticks_ns());
        Ok(atoms::ok())
    })
}

#[rustler::nif]
fn limits_set_enforcing<'a>(env: Env<'a>, table: Term<'a>, enforcing: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| {
        limits.roles().set_enforcing(term::switch(enforcing)?);
        Ok(atoms::ok())
    })
}

/// How many owners are tracked; an estimate while some come and go.
#[rustler::nif]
fn limits_owners<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| Ok(limits.owners()))
}

/// `{Count, Limit, Owners, Depth}` with the refusals that nobody was told of yet, or `not_found` if there are none.
#[rustler::nif]
fn limits_take_refusals<'a>(env: Env<'a>, table: Term<'a>, role: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| {
        let (refusals, stats) = limits
            .roles()
            .take_unreported_refusals(term::role(role)?)
            .ok_or(Fault(atoms::not_found()))?;
        let limit = term::limit_term(env, stats.limit);
        Ok((refusals, limit, stats.owners, stats.depth))
    })
}

#[rustler::nif(schedule = "DirtyCpu")]
fn limits_get_limits<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| {
        let rows = limits.roles().limits().into_iter();
        Ok(term::by_role(
            env,
            rows.map(|(role, limit)| (role, term::set_limit_term(env, limit))),
        ))
    })
}

#[rustler::nif(schedule = "DirtyCpu")]
fn limits_all_stats<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| {
        let rows = limits.roles().all_stats().into_iter();
        Ok(term::by_role(
            env,
            rows.map(|stats| (stats.role, faces::role_stats(env, &stats))),
        ))
    })
}

/// Says what time it is to those who do not look; to be called ten times a second.
#[rustler::nif]
fn limits_tick<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_table(env, table, |beam, limits| {
        limits.tick(beam);
        Ok(atoms::ok())
    })
}

/// Notes how much every role has drained, and keeps the table quick; to be called once a second.
#[rustler::nif(schedule = "DirtyCpu")]
fn limits_sample<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_table(env, table, |beam, limits| {
        limits.roles().sample_rates(beam.now());
        limits.tidy();
        Ok(atoms::ok())
    })
}

#[rustler::nif(schedule = "DirtyCpu")]
fn limits_configure<'a>(
    env: Env<'a>,
    table: Term<'a>,
    limits: Term<'a>,
    reserves: Term<'a>,
    enforcing: Term<'a>,
) -> Term<'a> {
    with_table(env, table, |beam, table| {
        let configuration = term::configuration(limits, reserves, enforcing)?;
        table.roles().configure(&configuration, beam.now())?;
        Ok(atoms::ok())
    })
}

/// A table of its own, open, without a listener. It goes when nothing refers to it any more.
#[rustler::nif(schedule = "DirtyCpu")]
fn limits_new<'a>(env: Env<'a>, limits: Term<'a>) -> Term<'a> {
    let table = ResourceArc::new(Table::closed());
    let (none, on) = (Term::list_new_empty(env), true.encode(env));
    let answer = term::configuration(limits, none, on).and_then(|configuration| {
        let table = &table;
        table.limits.open(&configuration, &Beam { env, table })?;
        Ok(table.encode(env))
    });
    term::answer(env, answer)
}

/// Opens the table for the calling process, which from now on hears of refusals as `{refused, Role}`.
/// What was counted and set before stays. Returns the roles, and whether there was room for those configured.
#[rustler::nif(schedule = "DirtyCpu")]
fn limits_open<'a>(
    env: Env<'a>,
    table: Term<'a>,
    limits: Term<'a>,
    reserves: Term<'a>,
    enforcing: Term<'a>,
) -> Term<'a> {
    table::make_own();
    with_any_table(env, table, |beam| {
        let configuration = term::configuration(limits, reserves, enforcing)?;
        let Table {
            limits, listener, ..
        } = &**beam.table;
        *listener.lock() = Some(env.pid());
        let configured = limits.open(&configuration, beam);
        let roles = limits.roles().ids().into_iter();
        let roles: Vec<_> = roles.map(|role| term::role_term(env, role)).collect();
        Ok((roles, configured.is_ok()))
    })
}

/// Closes the table and forgets all that it counted and what was set.
#[rustler::nif(schedule = "DirtyCpu")]
fn limits_close<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_any_table(env, table, |beam| {
        *beam.table.listener.lock() = None;
        beam.table.limits.close(beam);
        Ok(atoms::ok())
    })
}
