//! The natives that are called for each request: `check`, `try_enqueue`, `enqueue`, `dequeue`. The first argument is a
//! table, or `own` for the library's.
//!
//! An owner of the library's own table that this thread has just used is near: then neither the arguments are decoded
//! nor the owner looked up.

use erlmcp_core::limits::{Limits, Unfit, Verdict};
use erlmcp_core::near::Near;
use erlmcp_core::request::Request;
use erlmcp_core::{OwnerId, RoleId};
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::direct::native;
use crate::host::{Beam, Watch};
use crate::limits::refused;
use crate::request;
use crate::table::{self, Table, with_table};
use crate::term::{self, Fault};

native!("limits_check", 3, check);
native!("limits_check", 4, check_with);
native!("limits_try_enqueue", 3, try_enqueue);
native!("limits_try_enqueue", 4, try_enqueue_with);
native!("limits_enqueue", 3, enqueue);
native!("limits_dequeue", 3, dequeue);
native!("limits_dequeue", 4, dequeue_with);
native!("limits_discard", 3, discard);
native!("limits_discard", 4, discard_with);

/// A table, a role and an owner.
type Arguments<'a> = [Term<'a>; 3];

thread_local! {
    /// Of the library's own table. Natives of this file run on normal schedulers only.
    pub(crate) static NEAR: Near<Watch> = const { Near::new() };
}

fn check<'a>(env: Env<'a>, arguments: Arguments<'a>) -> Term<'a> {
    run(
        env,
        arguments,
        |near, table, role, owner, beam| near.check(table, role, owner, beam),
        |table, role, owner, beam| table.check(role, owner, beam),
    )
}

fn check_with<'a>(env: Env<'a>, [table, role, owner, options]: [Term<'a>; 4]) -> Term<'a> {
    let arguments = [table, role, owner];
    with_request(env, arguments, options, |request| {
        run(
            env,
            arguments,
            |near, table, role, owner, beam| near.check_with(table, role, owner, request, beam),
            |table, role, owner, beam| table.check_with(role, owner, request, beam),
        )
    })
}

fn try_enqueue<'a>(env: Env<'a>, arguments: Arguments<'a>) -> Term<'a> {
    run(
        env,
        arguments,
        |near, table, role, owner, beam| near.try_enqueue(table, role, owner, beam),
        |table, role, owner, beam| table.try_enqueue(role, owner, beam),
    )
}

fn try_enqueue_with<'a>(env: Env<'a>, [table, role, owner, options]: [Term<'a>; 4]) -> Term<'a> {
    let arguments = [table, role, owner];
    with_request(env, arguments, options, |request| {
        run(
            env,
            arguments,
            |near, table, role, owner, beam| {
                near.try_enqueue_with(table, role, owner, request, beam)
            },
            |table, role, owner, beam| table.try_enqueue_with(role, owner, request, beam),
        )
    })
}

fn enqueue<'a>(env: Env<'a>, arguments: Arguments<'a>) -> Term<'a> {
    run(
        env,
        arguments,
        |near, table, role, owner, beam| near.enqueue(table, role, owner, beam).map(granted),
        |table, role, owner, beam| table.enqueue(role, owner, beam).map(granted),
    )
}

fn dequeue<'a>(env: Env<'a>, arguments: Arguments<'a>) -> Term<'a> {
    run(
        env,
        arguments,
        |near, table, role, owner, beam| near.dequeue(table, role, owner, beam).map(granted),
        |table, role, owner, beam| table.dequeue(role, owner, beam).map(granted),
    )
}

/// As `dequeue`, of one that has said how many bytes it has.
fn dequeue_with<'a>(env: Env<'a>, [table, role, owner, bytes]: [Term<'a>; 4]) -> Term<'a> {
    let arguments = [table, role, owner];
    match request::read_bytes(bytes) {
        Ok(bytes) => run(
            env,
            arguments,
            |near, table, role, owner, beam| {
                near.dequeue_with(table, role, owner, bytes, beam)
                    .map(granted)
            },
            |table, role, owner, beam| table.dequeue_with(role, owner, bytes, beam).map(granted),
        ),
        Err(fault) => wrong(env, arguments, fault),
    }
}

/// As `dequeue`, of one that was not done. Seldom called, and so not for who is near.
fn discard<'a>(env: Env<'a>, arguments: Arguments<'a>) -> Term<'a> {
    from_table(env, arguments, |table, role, owner, beam| {
        table.discard(role, owner, beam).map(granted)
    })
}

/// As `discard`, of one that has said how many bytes it has.
fn discard_with<'a>(env: Env<'a>, [table, role, owner, bytes]: [Term<'a>; 4]) -> Term<'a> {
    let arguments = [table, role, owner];
    match request::read_bytes(bytes) {
        Ok(bytes) => from_table(env, arguments, |table, role, owner, beam| {
            table.discard_with(role, owner, bytes, beam).map(granted)
        }),
        Err(fault) => wrong(env, arguments, fault),
    }
}

fn granted((): ()) -> Verdict {
    Verdict::Granted
}

/// Does an operation with what its options say of the request. Of what is wrong the service comes first, and then the
/// role.
#[inline(always)]
pub(crate) fn with_request<'a>(
    env: Env<'a>,
    arguments: Arguments<'a>,
    options: Term<'a>,
    operation: impl FnOnce(&Request) -> Term<'a>,
) -> Term<'a> {
    match request::read(options) {
        Ok(request) => operation(&request),
        Err(fault) => wrong(env, arguments, fault),
    }
}

/// What is wrong in the options, or in what comes before them.
#[cold]
fn wrong<'a>(env: Env<'a>, [table, role, _]: Arguments<'a>, fault: Fault) -> Term<'a> {
    with_table(env, table, |_, limits| {
        limits.is_free(term::role(role)?)?;
        Err::<Atom, Fault>(fault)
    })
}

/// Does an operation on what is near, or else on the table. The answer is `ok`, `{refused, Stats}`, or why there is
/// none.
#[inline(always)]
fn run<'a>(
    env: Env<'a>,
    [table, role, owner]: Arguments<'a>,
    near: impl FnOnce(
        &Near<Watch>,
        &Limits<Watch>,
        RoleId,
        OwnerId,
        &Beam<'a, '_, Table>,
    ) -> Option<Verdict>,
    far: impl FnOnce(&Limits<Watch>, RoleId, OwnerId, &Beam<'a, '_, Table>) -> Result<Verdict, Unfit>,
) -> Term<'a> {
    if let Some(own) = table::own(table) {
        let beam = Beam { env, table: own };
        let (role, owner) = term::unread(role, owner);
        let found = NEAR.try_with(|known| near(known, &own.limits, role, owner, &beam));
        if let Ok(Some(verdict)) = found {
            return answer(&beam, role, owner, verdict);
        }
    }
    from_table(env, [table, role, owner], far)
}

#[inline(never)]
fn from_table<'a>(
    env: Env<'a>,
    [table, role, owner]: Arguments<'a>,
    far: impl FnOnce(&Limits<Watch>, RoleId, OwnerId, &Beam<'a, '_, Table>) -> Result<Verdict, Unfit>,
) -> Term<'a> {
    with_table(env, table, |beam, limits| {
        let (role, owner) = (term::role(role)?, term::owner(owner)?);
        let verdict = far(limits, role, owner, beam)?;
        if table::own(table).is_some() {
            let _ = NEAR.try_with(|near| near.missed(limits, owner));
        }
        Ok(answer(beam, role, owner, verdict))
    })
}

fn answer<'a>(
    beam: &Beam<'a, '_, Table>,
    role: RoleId,
    owner: OwnerId,
    verdict: Verdict,
) -> Term<'a> {
    match verdict {
        Verdict::Granted => atoms::ok().encode(beam.env),
        Verdict::Refused(refusal) => refused(beam, role, owner, &refusal),
    }
}
