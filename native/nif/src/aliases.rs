//! Natives of the registry of priority aliases.

use erlmcp_core::aliases::{AliasId, Aliases, Remains};
use erlmcp_core::fates::Fates;
use once_cell::sync::OnceCell;
use rustler::{Atom, Encoder, Env, LocalPid, Monitor, Resource, ResourceArc, Term};

use crate::atoms;
use crate::direct::native;
use crate::handle::Handle;
use crate::host::{Beam, Wakes, Watch};
use crate::recent::{self, Seen};
use crate::reference::{self, Reference};
use crate::term::{self, Answer, Fault};

/// The registry, as the resource whose monitors hear of processes' deaths.
struct Registry {
    aliases: Aliases<Watch, Handle>,
}

/// Made at the first use, and kept: it works without any service.
static REGISTRY: OnceCell<ResourceArc<Registry>> = OnceCell::new();

#[rustler::resource_impl]
impl Resource for Registry {
    const IMPLEMENTS_DOWN: bool = true;

    fn down<'a>(&'a self, env: Env<'a>, pid: LocalPid, _monitor: Monitor) {
        free(self.aliases.died(term::process_id(env, pid)));
    }
}

/// Frees what takes long on a thread of its own, since no scheduler is for that. Where none can be had, what was to be
/// freed there is dropped here.
fn free(remains: Remains) {
    if remains.take_long() {
        let _ = std::thread::Builder::new().spawn(move || drop(remains));
    }
}

impl Wakes for Registry {
    fn whom(&self) -> Option<LocalPid> {
        None
    }
}

fn registry() -> &'static ResourceArc<Registry> {
    REGISTRY.get_or_init(|| {
        ResourceArc::new(Registry {
            aliases: Aliases::new(),
        })
    })
}

/// What became of messages to aliases of other nodes.
pub(crate) fn fates() -> &'static Fates {
    registry().aliases.fates()
}

/// Whether a process that is known to have an alias lives, or whether that does not matter.
trait Lives: Fn(LocalPid) -> bool + Copy {}

impl<F: Fn(LocalPid) -> bool + Copy> Lives for F {}

/// What may be sent to an alias, as far as the registry and the process can tell. If that is all, it is remembered.
fn judge<'a>(env: Env<'a>, alias: Term<'a>, lives: impl Lives) -> Term<'a> {
    let answer = if alias.is_ref() {
        let hash = recent::hash(alias);
        let seen = recent::with(alias, hash, |seen| judge_again(env, seen, lives));
        seen.unwrap_or_else(|| look_up(alias, hash, lives))
    } else {
        Err(Fault(atoms::bad_destination()))
    };
    term::answer(env, answer)
}

/// The same of one that is remembered: it is no other's by now, but it may be gone.
fn judge_again(env: Env<'_>, seen: &mut Seen, lives: impl Lives) -> Answer<Atom> {
    if !lives(seen.process) {
        return Ok(atoms::dead());
    }
    let aliases = &registry().aliases;
    if !aliases.unchanged(seen.mark) {
        match aliases.mark(reference::owner(seen.id), seen.id) {
            Some(mark) => seen.mark = mark,
            None if seen.process.is_alive(env) => return Err(Fault(atoms::bad_destination())),
            None => return Ok(atoms::dead()),
        }
    }
    Ok(atoms::ok())
}

#[inline(never)]
fn look_up(alias: Term<'_>, hash: u64, lives: impl Lives) -> Answer<Atom> {
    if let Some(found) = find(alias, hash, lives) {
        return Ok(found);
    }
    match reference::read(alias) {
        Some(Reference::Alias(id)) => check(alias, hash, id),
        Some(Reference::Foreign) => Ok(atoms::foreign()),
        _ => Err(Fault(atoms::bad_destination())),
    }
}

/// What may be sent to an alias that is its process's newest, as most are: it need not be read.
fn find(alias: Term<'_>, hash: u64, lives: impl Lives) -> Option<Atom> {
    let is_it = |handle: &Handle| handle.is(alias);
    let found = registry().aliases.find(hash, is_it)?;
    let process = term::process(alias.get_env(), found.owner)?;
    if !lives(process) {
        return Some(atoms::dead());
    }
    let (id, mark) = (found.alias, found.mark);
    recent::remember(alias, hash, Seen { id, process, mark });
    Some(atoms::ok())
}

/// The same of any alias of this node.
fn check(alias: Term<'_>, hash: u64, id: AliasId) -> Answer<Atom> {
    let owner = reference::owner(id);
    let env = alias.get_env();
    match term::process(env, owner).filter(|pid| pid.is_alive(env)) {
        None => Ok(atoms::dead()),
        Some(process) => {
            let mark = registry().aliases.mark(owner, id);
            let mark = mark.ok_or(Fault(atoms::bad_destination()))?;
            recent::remember(alias, hash, Seen { id, process, mark });
            Ok(atoms::ok())
        }
    }
}

/// A priority alias of a process of this node, for whoever sends to it later; none where that process is dead.
pub(crate) fn target<'a>(env: Env<'a>, alias: Term<'a>) -> Answer<Option<AliasId>> {
    let Some(Reference::Alias(id)) = reference::read(alias) else {
        return Err(Fault(atoms::bad_alias()));
    };
    let owner = reference::owner(id);
    if registry().aliases.contains(owner, id) {
        return Ok(Some(id));
    }
    match term::process(env, owner).filter(|pid| pid.is_alive(env)) {
        Some(_) => Err(Fault(atoms::bad_alias())),
        None => Ok(None),
    }
}

/// Enters an alias of the calling process.
#[rustler::nif]
fn alias_insert<'a>(env: Env<'a>, alias: Term<'a>) -> Term<'a> {
    let answer = match reference::read(alias) {
        Some(Reference::Alias(id)) => {
            let table = registry();
            let beam = Beam { env, table };
            let handle = (recent::hash(alias), Handle::new(alias));
            table
                .aliases
                .insert(reference::owner(id), id, handle, &beam);
            Ok(atoms::ok())
        }
        _ => Err(Fault(atoms::bad_destination())),
    };
    term::answer(env, answer)
}

/// Gives an alias up; `bad_destination` if it is none, or not of the calling process.
#[rustler::nif]
fn alias_delete<'a>(env: Env<'a>, alias: Term<'a>) -> Term<'a> {
    let caller = term::process_id(env, env.pid());
    let table = registry();
    let beam = Beam { env, table };
    let given_up = match reference::read(alias) {
        Some(Reference::Alias(id)) if reference::owner(id) == caller => {
            table.aliases.delete(caller, id, &beam)
        }
        _ => None,
    };
    let answer = given_up.map(free).map(|()| atoms::ok());
    let answer = answer.ok_or(Fault(atoms::bad_destination()));
    term::answer(env, answer)
}

native!("alias_check", 1, alias_check);
native!("alias_route", 1, alias_route);

/// `ok` for an alias that can be sent to, `dead` where nobody is left to receive, and `foreign` for one of
/// another node.
fn alias_check<'a>(env: Env<'a>, [alias]: [Term<'a>; 1]) -> Term<'a> {
    judge(env, alias, |process| process.is_alive(env))
}

/// The same for whoever sends: `ok` may also be one whose process has just died, since nobody can send in time.
fn alias_route<'a>(env: Env<'a>, [alias]: [Term<'a>; 1]) -> Term<'a> {
    judge(env, alias, |_| true)
}

native!("alias_newest", 1, alias_newest);

/// `{ok, Alias}` with a process's newest, or `dead`.
fn alias_newest<'a>(env: Env<'a>, [pid]: [Term<'a>; 1]) -> Term<'a> {
    let copy = |id, handle: Option<&Handle>| match handle {
        Some(handle) => Some(handle.alias(env)),
        None => reference::write(env, id),
    };
    let newest = |pid: LocalPid| {
        let aliases = &registry().aliases;
        match aliases.newest(term::process_id(env, pid), copy) {
            Some(alias) => alias.map(|alias| (atoms::ok(), alias).encode(env)),
            None if pid.is_alive(env) => None,
            None => Some(atoms::dead().encode(env)),
        }
    };
    let answer = pid
        .decode()
        .ok()
        .and_then(newest)
        .ok_or(Fault(atoms::bad_destination()));
    term::answer(env, answer)
}

/// `{ok, Pid}` with the process that an alias of this node belongs to, alive or not.
#[rustler::nif]
fn alias_process<'a>(env: Env<'a>, alias: Term<'a>) -> Term<'a> {
    let process = match reference::read(alias) {
        Some(Reference::Alias(id)) => term::process(env, reference::owner(id)),
        _ => None,
    };
    let answer = process.map(|pid| (atoms::ok(), pid));
    term::answer(env, answer.ok_or(Fault(atoms::bad_destination())))
}

/// How many processes have aliases; an estimate while some come and go.
#[rustler::nif]
fn alias_processes() -> usize {
    registry().aliases.processes()
}
