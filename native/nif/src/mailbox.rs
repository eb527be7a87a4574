//! Natives of limits on mailboxes. The first argument is a table, or `own` for the library's. The calling process is
//! who sends, and reads the length of the mailbox between two of these.

use erlmcp_core::limits::{Limits, Refusal, Verdict};
use erlmcp_core::request::Request;
use erlmcp_core::survey::Row;
use erlmcp_core::timing::Timing;
use erlmcp_core::{Admittance, Claim, Entry, Kind, OwnerId, RoleId, Told};
use rustler::{Encoder, Env, LocalPid, Term};

use crate::atoms;
use crate::direct::native;
use crate::faces;
use crate::host::{Beam, Watch};
use crate::hot::{NEAR, with_request};
use crate::limits::refused;
use crate::request;
use crate::table::{self, Table, with_table};
use crate::term::{self, Answer, Fault};

native!("mailbox_enter", 3, enter);
native!("mailbox_enter", 4, enter_with);
native!("mailbox_admit", 6, admit);
native!("mailbox_admit", 7, admit_with);
native!("mailbox_offer", 7, offer);
native!("mailbox_sent", 4, sent_unasked);
native!("mailbox_sent", 5, sent);

/// A place, if a message may be sent at once; `{ask, Note}` if the length of the mailbox has to be asked for; `noproc`
/// if the process is dead.
fn enter<'a>(env: Env<'a>, arguments: [Term<'a>; 3]) -> Term<'a> {
    begin(env, arguments, &Request::default())
}

fn enter_with<'a>(env: Env<'a>, [table, role, owner, options]: [Term<'a>; 4]) -> Term<'a> {
    let arguments = [table, role, owner];
    with_request(env, arguments, options, |request| {
        begin(env, arguments, request)
    })
}

#[inline(always)]
fn begin<'a>(env: Env<'a>, [table, role, owner]: [Term<'a>; 3], request: &Request) -> Term<'a> {
    let sender = term::process_id(env, env.pid());
    let say = |entry| match entry {
        Entry::Granted(Claim(place)) => place.encode(env),
        Entry::Ask { noted, noted_ns } => (atoms::ask(), (noted, noted_ns)).encode(env),
    };
    if let Some(own) = table::own(table) {
        let (role, owner) = term::unread(role, owner);
        let beam = Beam { env, table: own };
        let found = NEAR
            .try_with(|near| near.admit_unasked(&own.limits, role, owner, sender, request, &beam));
        if let Ok(Some(entry)) = found {
            return say(entry);
        }
    }
    with_table(env, table, |beam, limits| {
        let (role, owner) = pair(role, owner)?;
        let entry = limits.admit_unasked_with(role, owner, sender, request, beam)?;
        if table::own(table).is_some() {
            let _ = NEAR.try_with(|near| near.missed(limits, owner));
        }
        Ok(entry.map_or_else(|| atoms::noproc().encode(env), say))
    })
}

/// A place if there is room for a message of the calling process, which has noted that and was told this length;
/// `again` if it should ask once more, unless it asks for the last time, or `{refused, Stats}`.
fn admit<'a>(env: Env<'a>, arguments: [Term<'a>; 6]) -> Term<'a> {
    ask(env, arguments, &Request::default())
}

fn admit_with<'a>(
    env: Env<'a>,
    [table, role, owner, note, length, is_last, options]: [Term<'a>; 7],
) -> Term<'a> {
    with_request(env, [table, role, owner], options, |request| {
        ask(env, [table, role, owner, note, length, is_last], request)
    })
}

#[inline(always)]
fn ask<'a>(
    env: Env<'a>,
    [table, role, owner, note, length, is_last]: [Term<'a>; 6],
    request: &Request,
) -> Term<'a> {
    let sender = term::process_id(env, env.pid());
    let (told, is_last) = (told(note, length), term::switch(is_last));
    let say = |beam: &Beam<'a, '_, Table>, role, owner, admittance| {
        admitted(env, admittance, |refusal: Box<Refusal>| {
            refused(beam, role, owner, &refusal)
        })
    };
    if let (Some(own), Ok(told), Ok(is_last)) = (table::own(table), &told, &is_last) {
        let (role, owner) = term::unread(role, owner);
        let (beam, asks) = (Beam { env, table: own }, (sender, *told));
        let found = NEAR.try_with(|near| {
            near.admit(&own.limits, (role, owner), asks, *is_last, request, &beam)
        });
        if let Ok(Some(admittance)) = found {
            return say(&beam, role, owner, admittance);
        }
    }
    answer(env, table, role, owner, |beam, limits, (role, owner)| {
        let (asks, is_last) = ((sender, told?), is_last?);
        let admittance = limits.admit_with(role, owner, asks, is_last, request, beam);
        Ok(say(beam, role, owner, admittance))
    })
}

/// As `admit`, but it counts no refusal: `full`.
fn offer<'a>(
    env: Env<'a>,
    [table, role, owner, note, length, is_last, options]: [Term<'a>; 7],
) -> Term<'a> {
    let sender = term::process_id(env, env.pid());
    answer(env, table, role, owner, |beam, limits, (role, owner)| {
        let (asks, is_last) = ((sender, told(note, length)?), term::switch(is_last)?);
        let request = request::read(options)?;
        let admittance = limits.offer_message(role, owner, asks, is_last, &request, beam);
        Ok(admitted(env, admittance, |()| atoms::full().encode(env)))
    })
}

fn admitted<'a, R>(
    env: Env<'a>,
    admittance: Admittance<R>,
    refused: impl FnOnce(R) -> Term<'a>,
) -> Term<'a> {
    match admittance {
        Admittance::Granted(Claim(place)) => place.encode(env),
        Admittance::Again => atoms::again().encode(env),
        Admittance::Refused(refusal) => refused(refusal),
    }
}

fn told(note: Term<'_>, length: Term<'_>) -> Answer<Told> {
    let (noted, noted_ns) = note.decode().map_err(|_| Fault(atoms::bad_number()))?;
    Ok(Told {
        noted,
        noted_ns,
        length: term::depth(length)?,
    })
}

/// The message is in the mailbox, whose length its sender did not ask for.
fn sent_unasked<'a>(env: Env<'a>, [table, role, owner, place]: [Term<'a>; 4]) -> Term<'a> {
    let sender = term::process_id(env, env.pid());
    if let (Some(own), Ok(claim)) = (table::own(table), claim(place)) {
        let (role, owner) = term::unread(role, owner);
        let found =
            NEAR.try_with(|near| near.sent_unasked(&own.limits, role, owner, claim, sender));
        if let Ok(Some(())) = found {
            return atoms::ok().encode(env);
        }
    }
    with_table(env, table, |_, limits| {
        let (role, owner) = pair(role, owner)?;
        limits.sent_unasked(role, owner, claim(place)?, sender);
        Ok(atoms::ok())
    })
}

/// The message is in the mailbox, which was so long before.
fn sent<'a>(env: Env<'a>, [table, role, owner, place, length]: [Term<'a>; 5]) -> Term<'a> {
    let sender = term::process_id(env, env.pid());
    if let (Some(own), Ok(claim), Ok(length)) =
        (table::own(table), claim(place), term::depth(length))
    {
        let beam = Beam { env, table: own };
        let (role, owner) = term::unread(role, owner);
        let claim = (claim, sender);
        let found = NEAR.try_with(|near| near.sent(&own.limits, role, owner, claim, length, &beam));
        if let Ok(Some(())) = found {
            return atoms::ok().encode(env);
        }
    }
    with_table(env, table, |beam, limits| {
        let (role, owner) = pair(role, owner)?;
        let claim = (claim(place)?, sender);
        limits.sent(role, owner, claim, term::depth(length)?, beam);
        Ok(atoms::ok())
    })
}

fn claim(term: Term<'_>) -> Answer<Claim> {
    term::number(term).map(Claim)
}

fn pair(role: Term<'_>, owner: Term<'_>) -> Answer<(RoleId, OwnerId)> {
    Ok((term::role(role)?, term::local_process(owner)?))
}

/// Whether a mailbox of this length has room: `ok`, or `{refused, Stats}`.
#[rustler::nif]
fn mailbox_check<'a>(
    env: Env<'a>,
    table: Term<'a>,
    role: Term<'a>,
    owner: Term<'a>,
    length: Term<'a>,
    options: Term<'a>,
) -> Term<'a> {
    answer(env, table, role, owner, |beam, limits, (role, owner)| {
        let request = request::read(options)?;
        let verdict = limits.check_mailbox(role, owner, term::depth(length)?, &request, beam);
        Ok(match verdict {
            Verdict::Granted => atoms::ok().encode(env),
            Verdict::Refused(refusal) => refused(beam, role, owner, &refusal),
        })
    })
}

/// Somebody has looked at a mailbox: `true` if it is to be looked at again.
#[rustler::nif]
fn mailbox_looked<'a>(
    env: Env<'a>,
    table: Term<'a>,
    role: Term<'a>,
    owner: Term<'a>,
    length: Term<'a>,
) -> Term<'a> {
    answer(env, table, role, owner, |beam, limits, (role, owner)| {
        Ok(limits
            .looked(role, owner, term::depth(length)?, beam)
            .encode(env))
    })
}

/// The row of a mailbox that has this length: `erlmcp_overload_monitor:queue_info()`.
#[rustler::nif]
fn mailbox_row<'a>(
    env: Env<'a>,
    table: Term<'a>,
    role: Term<'a>,
    owner: Term<'a>,
    length: Term<'a>,
) -> Term<'a> {
    answer(env, table, role, owner, |beam, limits, (role, owner)| {
        let depth = term::depth(length)?;
        limits.looked(role, owner, depth, beam);
        let scale = limits.roles().scale(role);
        let row = Row {
            role,
            owner: Some(owner),
            kind: Kind::Mailbox,
            depth,
            limit: scale.limit(),
            status: scale.status(depth),
            timing: Timing::default(),
        };
        Ok(faces::queue_info(env, &row))
    })
}

/// Whether a term is a pid of this node: a process of it has a mailbox here, or had one.
#[rustler::nif]
fn is_local_pid(term: Term<'_>) -> bool {
    term::local_process(term).is_ok()
}

/// Whether a term is a pid of this node whose process has not begun to end. It waits for nobody, as
/// `is_process_alive/1` does for a process that has not seen all that was sent to it; so one that has been killed may
/// be alive still.
#[rustler::nif]
fn is_living(env: Env<'_>, term: Term<'_>) -> bool {
    term.decode::<LocalPid>()
        .is_ok_and(|pid| env.is_process_alive(pid))
}

/// Whether there is any mailbox that is to be looked at.
#[rustler::nif]
fn mailbox_any_held<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| {
        Ok(limits.judge().mailboxes().is_any_held())
    })
}

/// `[{Role, Owner}]`: the mailboxes whose length amounts to a level, and which are to be looked at.
#[rustler::nif(schedule = "DirtyCpu")]
fn mailbox_held<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| {
        Ok(pairs(env, limits.judge().mailboxes().held()))
    })
}

/// `[{Role, Owner}]`: all mailboxes that are limited.
#[rustler::nif(schedule = "DirtyCpu")]
fn mailbox_all<'a>(env: Env<'a>, table: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| Ok(pairs(env, limits.mailboxes())))
}

fn pairs(env: Env<'_>, pairs: Vec<(RoleId, OwnerId)>) -> Vec<(Term<'_>, Term<'_>)> {
    let terms = |(role, owner)| (term::role_term(env, role), term::owner_term(env, owner));
    pairs.into_iter().map(terms).collect()
}

fn answer<'a>(
    env: Env<'a>,
    table: Term<'a>,
    role: Term<'a>,
    owner: Term<'a>,
    operation: impl FnOnce(&Beam<'a, '_, Table>, &Limits<Watch>, (RoleId, OwnerId)) -> Answer<Term<'a>>,
) -> Term<'a> {
    with_table(env, table, |beam, limits| {
        operation(beam, limits, pair(role, owner)?)
    })
}
