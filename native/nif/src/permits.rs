//! Natives of permits: places that their holder gives back by hand, or by letting go of them, at the latest by dying.

use erlmcp_core::limits::{Permit, Refusal};
use erlmcp_core::request::Request;
use erlmcp_core::{OwnerId, RoleId};
use rustler::{Encoder, Env, ResourceArc, Term};

use crate::atoms;
use crate::direct::native;
use crate::host::{Apart, Beam, Callback};
use crate::hot::{NEAR, with_request};
use crate::limits::refused;
use crate::resource::{Held, Keep, Kind};
use crate::table::{self, Table, with_table};
use crate::term::{self, Fault};

native!("limits_acquire", 3, acquire);
native!("limits_acquire", 4, acquire_with);
native!("limits_give_back", 1, give_back);

/// One place.
pub(crate) struct Holding {
    /// `None`: the library's own. That one need not be kept.
    table: Option<ResourceArc<Table>>,
    /// `None`: of the dead, who have none.
    permit: Option<Permit>,
}

impl Held for Holding {
    fn let_go(self, env: Env<'_>) {
        self.give_up(env);
    }
}

static HOLDINGS: Kind<Holding> = Kind::new();

/// The permit that a term is, for longer than the term lives.
pub(crate) fn keep(term: Term<'_>) -> Option<Keep<Holding>> {
    HOLDINGS.keep(term)
}

/// # Safety
///
/// It is to be called while the library is loaded, with that environment.
pub(crate) unsafe fn open(env: Env<'_>) -> bool {
    // SAFETY: as above.
    unsafe { HOLDINGS.open(env, c"erlmcp_native_permit") }
}

impl Holding {
    /// Frees the place of what was done, if it was not freed before.
    pub(crate) fn free(&self, env: Env<'_>) {
        self.give_back(env, |_, _| ());
    }

    /// Frees the place of what nobody says was done, if it was not freed before.
    pub(crate) fn give_up(&self, env: Env<'_>) {
        self.given_up(|resource, permit| {
            resource.limits.let_go(permit, &Callback { env, resource });
        });
    }

    /// The same on a thread that is none of the runtime's.
    pub(crate) fn give_up_apart(&self) {
        self.given_up(|resource, permit| {
            resource.limits.let_go(permit, &Apart(resource));
        });
    }

    fn given_up(&self, give_up: impl FnOnce(&Table, &Permit)) {
        let held = self
            .permit
            .as_ref()
            .filter(|permit| !permit.is_given_back());
        let own = || table::any_own().map(|own| &**own);
        if let (Some(permit), Some(table)) = (held, self.table.as_deref().map_or_else(own, Some)) {
            give_up(table, permit);
        }
    }

    /// True if there was a place to give back. `missed` hears of a table and an owner that were not near.
    #[inline]
    fn give_back(&self, env: Env<'_>, missed: impl FnOnce(&Table, &Permit)) -> bool {
        let own = || table::any_own().map(|own| &**own);
        let (Some(permit), Some(resource)) =
            (&self.permit, self.table.as_deref().map_or_else(own, Some))
        else {
            return false;
        };
        let callback = Callback { env, resource };
        let limits = &resource.limits;
        // A thread keeps the owners of the library's own.
        if self.table.is_none()
            && let Ok(Some(had)) = NEAR.try_with(|near| near.give_back(limits, permit, &callback))
        {
            return had;
        }
        let had = limits.give_back(permit, &callback);
        missed(resource, permit);
        had
    }
}

/// `{ok, Permit}` or `{refused, Stats}`.
fn acquire<'a>(env: Env<'a>, arguments: [Term<'a>; 3]) -> Term<'a> {
    place(env, arguments, &Request::default())
}

fn acquire_with<'a>(env: Env<'a>, [table, role, owner, options]: [Term<'a>; 4]) -> Term<'a> {
    let arguments = [table, role, owner];
    with_request(env, arguments, options, |request| {
        place(env, arguments, request)
    })
}

#[inline(always)]
fn place<'a>(env: Env<'a>, [table, role, owner]: [Term<'a>; 3], request: &Request) -> Term<'a> {
    if let Some(own) = table::own(table) {
        let beam = Beam { env, table: own };
        let (role, owner) = term::unread(role, owner);
        let found =
            NEAR.try_with(|near| near.acquire_with(&own.limits, role, owner, request, &beam));
        if let Ok(Some(acquired)) = found {
            return answer(&beam, role, owner, None, acquired.map(Some));
        }
    }
    with_table(env, table, |beam, limits| {
        let (role, owner) = (term::role(role)?, term::owner(owner)?);
        let acquired = limits.acquire_with(role, owner, request, beam)?;
        let of = if table::own(table).is_some() {
            let _ = NEAR.try_with(|near| near.missed(limits, owner));
            None
        } else {
            Some(beam.table.clone())
        };
        Ok(answer(beam, role, owner, of, acquired))
    })
}

fn answer<'a>(
    beam: &Beam<'a, '_, Table>,
    role: RoleId,
    owner: OwnerId,
    table: Option<ResourceArc<Table>>,
    acquired: Result<Option<Permit>, Box<Refusal>>,
) -> Term<'a> {
    match acquired {
        Ok(permit) => granted(beam.env, Holding { table, permit }),
        Err(refusal) => refused(beam, role, owner, &refusal),
    }
}

fn granted(env: Env<'_>, holding: Holding) -> Term<'_> {
    match HOLDINGS.make(env, holding) {
        Some(permit) => (atoms::ok(), permit).encode(env),
        None => atoms::not_started().encode(env),
    }
}

/// `{ok, Permit}` of nobody: there is no place to give back.
#[rustler::nif(name = "limits_acquire")]
fn acquire_nothing<'a>(env: Env<'a>, table: Term<'a>, role: Term<'a>) -> Term<'a> {
    with_table(env, table, |_, limits| {
        limits.is_free(term::role(role)?)?;
        let holding = Holding {
            table: None,
            permit: None,
        };
        Ok(granted(env, holding))
    })
}

/// `ok`, or `released` if there was no place to give back any more.
fn give_back<'a>(env: Env<'a>, [permit]: [Term<'a>; 1]) -> Term<'a> {
    let answer = match HOLDINGS.look(permit) {
        Some(holding) => {
            let missed = |table: &Table, permit: &Permit| {
                if holding.table.is_none() {
                    let _ = NEAR.try_with(|near| near.missed(&table.limits, permit.owner()));
                }
            };
            Ok(if holding.give_back(env, missed) {
                atoms::ok()
            } else {
                atoms::released()
            })
        }
        None => Err(Fault(atoms::bad_permit())),
    };
    term::answer(env, answer)
}
