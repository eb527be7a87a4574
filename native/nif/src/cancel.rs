//! Natives of cancellation: tokens, and whom to tell of them.
//!
//! No native can send through an alias. So whoever cancels gets what it has to send, as a resource that is told when it
//! has. Of a cancellation that nobody asked for, and of one whose sender was killed before it had sent, a process is
//! told that is there for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use erlmcp_core::Label;
use erlmcp_core::aliases::AliasId;
use erlmcp_core::cancel::{Cancellations, Estate, Fallout, Notice, Reason, Token};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use rustler::{Encoder, Env, LocalPid, Monitor, Resource, ResourceArc, Term};

use crate::direct::native;
use crate::host::{Apart, Beam, Callback, Wakes};
use crate::permits::{self, Holding};
use crate::registry::PLANE;
use crate::resource::{Held, Keep, Kind};
use crate::term::{self, Answer, Fault};
use crate::{aliases, atoms, label, reference};

type Place = Keep<Holding>;

/// All tokens, as the resource whose monitors hear of owners' deaths.
struct Registry {
    tokens: Cancellations<Place>,
    /// Whoever is told what it has to send.
    notifier: Mutex<Option<LocalPid>>,
    /// What is left of owners that had very much.
    estates: Mutex<Vec<Estate<Place>>>,
}

/// Made at the first use, and kept, so that a restarted process finds what there is.
static REGISTRY: OnceCell<ResourceArc<Registry>> = OnceCell::new();

fn registry() -> &'static ResourceArc<Registry> {
    REGISTRY.get_or_init(|| {
        ResourceArc::new(Registry {
            tokens: Cancellations::new(),
            notifier: Mutex::new(None),
            estates: Mutex::new(Vec::new()),
        })
    })
}

/// A token that terms refer to. There is one of each.
struct Grip(Arc<Token<Place>>);

impl Held for Grip {
    /// Nobody asks any more.
    fn let_go(self, env: Env<'_>) {
        if let Some(place) = registry().tokens.finish(&self.0) {
            place.give_up(env);
        }
    }
}

/// What somebody has to send, and whether it has.
struct Telling {
    notice: Notice<Place>,
    told: AtomicBool,
}

impl Held for Telling {
    fn let_go(self, env: Env<'_>) {
        if !self.told.into_inner() {
            let resource = &**registry();
            resource
                .tokens
                .notice(self.notice, &Callback { env, resource });
        }
    }
}

static GRIPS: Kind<Grip> = Kind::new();
static TELLINGS: Kind<Telling> = Kind::new();

/// # Safety
///
/// It is to be called while the library is loaded, with that environment.
pub(crate) unsafe fn open(env: Env<'_>) -> bool {
    // SAFETY: as above.
    unsafe {
        GRIPS.open(env, c"erlmcp_native_token") && TELLINGS.open(env, c"erlmcp_native_telling")
    }
}

#[rustler::resource_impl]
impl Resource for Registry {
    const IMPLEMENTS_DOWN: bool = true;

    fn down<'a>(&'a self, env: Env<'a>, pid: LocalPid, _monitor: Monitor) {
        let mut estate = self.tokens.died(term::process_id(env, pid));
        let callback = Callback {
            env,
            resource: self,
        };
        let settle = |estate: &mut Estate<Place>| {
            self.tokens.settle(estate, |token, fallout| {
                let notify = free(fallout, |place| place.give_up(env));
                self.tell(token, notify, &callback);
            });
        };
        settle(&mut estate);
        if !estate.is_settled() {
            self.estates.lock().push(estate);
            // No scheduler is for what takes long. Where no thread can be had it is done here, in this thread's way.
            let spawned = std::thread::Builder::new().spawn(|| registry().settle_apart());
            if spawned.is_err() {
                self.settle_all(settle);
            }
        }
    }
}

impl Wakes for Registry {
    fn whom(&self) -> Option<LocalPid> {
        *self.notifier.lock()
    }
}

/// Gives a place back. Returns who is to be told.
fn free(fallout: Fallout<Place>, free: impl FnOnce(Place)) -> Option<AliasId> {
    fallout.place.map(free);
    fallout.notify
}

impl Registry {
    fn tell(
        &self,
        token: Arc<Token<Place>>,
        notify: Option<AliasId>,
        runtime: &impl erlmcp_core::Runtime,
    ) {
        if let Some(notify) = notify
            && PLANE.is_open()
        {
            self.tokens.notice(Notice { token, notify }, runtime);
        }
    }

    /// On a thread that is none of the runtime's.
    fn settle_apart(&self) {
        self.settle_all(|estate| {
            self.tokens.settle(estate, |token, fallout| {
                let notify = free(fallout, |place| place.give_up_apart());
                self.tell(token, notify, &Apart(self));
            });
        });
    }

    fn settle_all(&self, settle: impl Fn(&mut Estate<Place>)) {
        let mut estates = std::mem::take(&mut *self.estates.lock());
        for estate in &mut estates {
            while !estate.is_settled() {
                settle(estate);
            }
        }
    }
}

/// Forgets what nobody can be told any more, and what came early. Tokens are still good for whoever has them.
pub(crate) fn close() {
    if let Some(registry) = REGISTRY.get() {
        *registry.notifier.lock() = None;
        registry.tokens.clear();
    }
}

/// Runs `operation` if the control plane is started.
fn with_tokens<'a>(
    env: Env<'a>,
    operation: impl FnOnce(&Beam<'a, '_, Registry>) -> Answer<Term<'a>>,
) -> Term<'a> {
    let answer = if PLANE.is_open() {
        operation(&Beam {
            env,
            table: registry(),
        })
    } else {
        Err(Fault(atoms::not_started()))
    };
    term::answer(env, answer)
}

/// A term that may be left out.
fn given<'a, T>(term: Term<'a>, read: impl FnOnce(Term<'a>) -> Answer<T>) -> Answer<Option<T>> {
    if atoms::undefined() == term {
        Ok(None)
    } else {
        read(term).map(Some)
    }
}

native!("cancel_new", 4, new);
native!("cancel_check", 1, check);
native!("cancel_token", 2, cancel_token);
native!("cancel_id", 3, cancel_id);
native!("cancel_done", 1, done);
native!("cancel_notice", 1, notice);
native!("cancel_told", 1, told);

/// A token; `{tell, Token, Telling}` if it was cancelled before it was made and somebody is to be told; or
/// `already_known`.
fn new<'a>(env: Env<'a>, [id, owner, permit, alias]: [Term<'a>; 4]) -> Term<'a> {
    with_tokens(env, |beam| {
        let id = given(id, |id| label::read(id).ok_or(Fault(atoms::bad_id())))?;
        let owner = term::local_process(owner)?;
        let keep = |permit| permits::keep(permit).ok_or(Fault(atoms::bad_permit()));
        let place = given(permit, keep)?;
        let notify = given(alias, |alias| aliases::target(env, alias))?.flatten();
        let entered = beam.table.tokens.enter(owner, id, notify, place, beam);
        let made = entered.map_err(|_| Fault(atoms::already_known()))?;
        let token = Arc::clone(&made.token);
        let grip = GRIPS.make(env, Grip(made.token));
        let grip = grip.ok_or(Fault(atoms::not_started()))?;
        let notify = made
            .fallout
            .and_then(|fallout| free(fallout, |place| place.give_up(env)));
        Ok(
            match notify.and_then(|notify| telling(env, Notice { token, notify })) {
                Some(telling) => (atoms::tell(), grip, telling).encode(env),
                None => grip,
            },
        )
    })
}

fn telling(env: Env<'_>, notice: Notice<Place>) -> Option<Term<'_>> {
    let told = AtomicBool::new(false);
    TELLINGS.make(env, Telling { notice, told })
}

fn look(token: Term<'_>) -> Answer<&Arc<Token<Place>>> {
    let grip = GRIPS.look(token);
    grip.map(|Grip(token)| token)
        .ok_or(Fault(atoms::bad_token()))
}

fn check<'a>(env: Env<'a>, [token]: [Term<'a>; 1]) -> Term<'a> {
    term::answer(env, look(token).map(|token| token.is_cancelled()))
}

/// As `cancel_token`, for a reason that takes long to read.
#[rustler::nif(schedule = "DirtyCpu")]
fn cancel_token_long<'a>(env: Env<'a>, token: Term<'a>, why: Term<'a>) -> Term<'a> {
    cancel_token(env, [token, why])
}

/// `ok`, or `{tell, Telling}` if somebody is to be told.
fn cancel_token<'a>(env: Env<'a>, [token, why]: [Term<'a>; 2]) -> Term<'a> {
    let cancel = |token: &Arc<Token<Place>>| {
        let why = label::read(why).ok_or(Fault(atoms::bad_reason()))?;
        let fallout = registry().tokens.cancel(token, why);
        Ok(cancelled(
            env,
            fallout.map(|fallout| (Arc::clone(token), fallout)),
        ))
    };
    term::answer(env, look(token).and_then(cancel))
}

/// The same of what an owner has, or will have, under an id.
fn cancel_id<'a>(env: Env<'a>, [owner, id, why]: [Term<'a>; 3]) -> Term<'a> {
    with_tokens(env, |beam| {
        let owner = term::local_process(owner)?;
        let id = label::read(id).ok_or(Fault(atoms::bad_id()))?;
        let why = label::read(why).ok_or(Fault(atoms::bad_reason()))?;
        Ok(cancelled(
            env,
            beam.table.tokens.cancel_id(owner, id, why, beam),
        ))
    })
}

/// As `cancel_new`, for an id that takes long to read.
#[rustler::nif(schedule = "DirtyCpu")]
fn cancel_new_long<'a>(
    env: Env<'a>,
    id: Term<'a>,
    owner: Term<'a>,
    permit: Term<'a>,
    alias: Term<'a>,
) -> Term<'a> {
    new(env, [id, owner, permit, alias])
}

/// As `cancel_id`, for an id or a reason that takes long to read.
#[rustler::nif(schedule = "DirtyCpu")]
fn cancel_id_long<'a>(env: Env<'a>, owner: Term<'a>, id: Term<'a>, why: Term<'a>) -> Term<'a> {
    cancel_id(env, [owner, id, why])
}

fn cancelled<'a>(env: Env<'a>, cancelled: Option<(Arc<Token<Place>>, Fallout<Place>)>) -> Term<'a> {
    let telling = cancelled.and_then(|(token, fallout)| {
        let notify = free(fallout, |place| place.give_up(env))?;
        telling(env, Notice { token, notify })
    });
    match telling {
        Some(telling) => (atoms::tell(), telling).encode(env),
        None => atoms::ok().encode(env),
    }
}

fn done<'a>(env: Env<'a>, [token]: [Term<'a>; 1]) -> Term<'a> {
    let done = look(token).map(|token| {
        if let Some(place) = registry().tokens.finish(token) {
            place.free(env);
        }
        atoms::ok()
    });
    term::answer(env, done)
}

/// Why a token was cancelled, `undefined` if it was not; `long` if that takes long to write.
#[rustler::nif]
fn cancel_reason<'a>(env: Env<'a>, token: Term<'a>) -> Term<'a> {
    let reason = look(token).and_then(|token| {
        let said = Said {
            id: None,
            ..Said::of(token)
        };
        Ok(said.short()?.reason(env))
    });
    term::answer(env, reason)
}

/// The same, however long it takes.
#[rustler::nif(schedule = "DirtyCpu")]
fn cancel_reason_long<'a>(env: Env<'a>, token: Term<'a>) -> Term<'a> {
    term::answer(env, look(token).map(|token| Said::of(token).reason(env)))
}

/// `{Alias, Id, Reason}`: what is to be sent, and where; `long` if that takes long to write.
fn notice<'a>(env: Env<'a>, [telling]: [Term<'a>; 1]) -> Term<'a> {
    let notice = look_at(telling);
    let written = notice.and_then(|notice| {
        let said = Said::of(&notice.token).short()?;
        Ok(said.notice(env, notice.notify))
    });
    term::answer(env, written)
}

/// The same, however long it takes.
#[rustler::nif(schedule = "DirtyCpu")]
fn cancel_notice_long<'a>(env: Env<'a>, telling: Term<'a>) -> Term<'a> {
    let notice = look_at(telling);
    let written = notice.map(|notice| Said::of(&notice.token).notice(env, notice.notify));
    term::answer(env, written)
}

fn look_at(telling: Term<'_>) -> Answer<&Notice<Place>> {
    let telling = TELLINGS.look(telling).ok_or(Fault(atoms::bad_telling()))?;
    Ok(&telling.notice)
}

/// What is said of a token. Nobody waits for whoever writes it.
struct Said<'t> {
    id: Option<&'t Label>,
    reason: Option<Reason>,
}

impl<'t> Said<'t> {
    fn of(token: &'t Token<Place>) -> Self {
        Self {
            id: token.id(),
            reason: token.reason(|reason| reason.cloned()),
        }
    }

    fn short(self) -> Answer<Self> {
        let why = match &self.reason {
            Some(Reason::Said(why)) => Some(why),
            _ => None,
        };
        if why.into_iter().chain(self.id).any(Label::is_long) {
            return Err(Fault(atoms::long()));
        }
        Ok(self)
    }

    fn reason<'a>(&self, env: Env<'a>) -> Term<'a> {
        match &self.reason {
            Some(Reason::Said(why)) => label::write(env, why),
            Some(Reason::OwnerDown) => atoms::owner_down().encode(env),
            None => atoms::undefined().encode(env),
        }
    }

    fn notice<'a>(&self, env: Env<'a>, notify: AliasId) -> Term<'a> {
        let undefined = || atoms::undefined().encode(env);
        let alias = reference::write(env, notify).unwrap_or_else(undefined);
        let id = self.id.map_or_else(undefined, |id| label::write(env, id));
        (alias, id, self.reason(env)).encode(env)
    }
}

/// It was sent.
fn told<'a>(env: Env<'a>, [telling]: [Term<'a>; 1]) -> Term<'a> {
    let told = TELLINGS.look(telling).map(|telling| {
        telling.told.store(true, Ordering::Relaxed);
        atoms::ok()
    });
    term::answer(env, told.ok_or(Fault(atoms::bad_telling())))
}

/// The caller is told `news` from now on.
#[rustler::nif]
fn cancel_attach(env: Env<'_>) -> Term<'_> {
    with_tokens(env, |beam| {
        *beam.table.notifier.lock() = Some(env.pid());
        Ok(atoms::ok().encode(env))
    })
}

/// What is to be sent, some hundred at most; `[]` if there is nothing.
#[rustler::nif]
fn cancel_news(env: Env<'_>) -> Term<'_> {
    with_tokens(env, |beam| {
        let notices = beam.table.tokens.notices().into_iter();
        let tellings: Vec<_> = notices.filter_map(|notice| telling(env, notice)).collect();
        Ok(tellings.encode(env))
    })
}

/// So many are swept at once.
const SWEPT: usize = 500;

/// Forgets some cancellations that came early and too long ago. In how many milliseconds there is the next, or `none`.
#[rustler::nif]
fn cancel_sweep(env: Env<'_>) -> Term<'_> {
    with_tokens(env, |beam| {
        Ok(match beam.table.tokens.sweep(SWEPT, beam) {
            Some(ms) => ms.encode(env),
            None => atoms::none().encode(env),
        })
    })
}

/// For how many milliseconds, and how many, cancellations that come early are remembered.
#[rustler::nif(schedule = "DirtyCpu")]
fn cancel_configure<'a>(env: Env<'a>, tombstone_ms: Term<'a>, most: Term<'a>) -> Term<'a> {
    with_tokens(env, |beam| {
        let (tombstone_ms, most) = (term::milliseconds(tombstone_ms)?, term::number(most)?);
        beam.table.tokens.configure(tombstone_ms, most);
        Ok(atoms::ok().encode(env))
    })
}

/// How many there are, and were.
#[rustler::nif]
fn cancel_stats(env: Env<'_>) -> Term<'_> {
    with_tokens(env, |beam| {
        let summary = beam.table.tokens.summary();
        let [asked, early, owner_down] = summary.cancelled.map(|count| count.encode(env));
        let by_way = [
            (atoms::asked(), asked),
            (atoms::early(), early),
            (atoms::owner_down(), owner_down),
        ];
        Ok(term::map(
            env,
            &[
                (atoms::tokens(), summary.tokens.encode(env)),
                (atoms::tombstones(), summary.tombstones.encode(env)),
                (
                    atoms::tombstones_limit(),
                    summary.tombstones_limit.encode(env),
                ),
                (atoms::cancelled(), term::map(env, &by_way)),
                (atoms::displaced(), summary.displaced.encode(env)),
                (atoms::notices(), summary.notices.encode(env)),
                (atoms::notices_dropped(), summary.dropped.encode(env)),
            ],
        ))
    })
}
