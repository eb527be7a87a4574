//! The tokens of cancellation, and what becomes of them when their owner dies or nobody refers to them any more.

use std::sync::Arc;

use erlmcp_core::aliases::AliasId;
use erlmcp_core::cancel::{Cancellations, Estate, Fallout, Notice, Token};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use rustler::{Env, LocalPid, Monitor, Resource, ResourceArc, Term};

use crate::atoms;
use crate::host::{Apart, Beam, Callback, Wakes};
use crate::permits::Holding;
use crate::registry::PLANE;
use crate::resource::{Held, Keep, Kind};
use crate::term::{self, Answer, Fault};

pub(crate) type Place = Keep<Holding>;

/// All tokens, as the resource whose monitors hear of owners' deaths.
pub(crate) struct Registry {
    pub(crate) tokens: Cancellations<Place>,
    /// Whoever is told what it has to send.
    pub(crate) notifier: Mutex<Option<LocalPid>>,
    /// What is left of owners that had very much.
    estates: Mutex<Vec<Estate<Place>>>,
}

/// Made at the first use, and kept, so that a restarted process finds what there is.
static REGISTRY: OnceCell<ResourceArc<Registry>> = OnceCell::new();

pub(crate) fn registry() -> &'static ResourceArc<Registry> {
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

static GRIPS: Kind<Grip> = Kind::new();

/// # Safety
///
/// It is to be called while the library is loaded, with that environment.
pub(crate) unsafe fn open(env: Env<'_>) -> bool {
    // SAFETY: as above.
    unsafe { GRIPS.open(env, c"erlmcp_native_token") }
}

/// The term that refers to a token; none where the library is not loaded.
pub(crate) fn make<'a>(env: Env<'a>, token: Arc<Token<Place>>) -> Option<Term<'a>> {
    GRIPS.make(env, Grip(token))
}

pub(crate) fn look(token: Term<'_>) -> Answer<&Arc<Token<Place>>> {
    let grip = GRIPS.look(token);
    grip.map(|Grip(token)| token)
        .ok_or(Fault(atoms::bad_token()))
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
pub(crate) fn free(fallout: Fallout<Place>, free: impl FnOnce(Place)) -> Option<AliasId> {
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
pub(crate) fn with_tokens<'a>(
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
