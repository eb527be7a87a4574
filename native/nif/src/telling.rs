//! What is to be sent of a cancellation, and to whom.
//!
//! No native can send through an alias. So whoever cancels gets what it has to send, as a resource that is told when it
//! has. Of a cancellation that nobody asked for, and of one whose sender was killed before it had sent, a process is
//! told that is there for it.

use std::sync::atomic::{AtomicBool, Ordering};

use erlmcp_core::Label;
use erlmcp_core::aliases::AliasId;
use erlmcp_core::cancel::{Notice, Reason, Token};
use rustler::{Encoder, Env, Term};

use crate::direct::native;
use crate::host::Callback;
use crate::resource::{Held, Kind};
use crate::term::{self, Answer, Fault};
use crate::tokens::{Place, registry, with_tokens};
use crate::{atoms, label, reference};

native!("cancel_notice", 1, notice);
native!("cancel_told", 1, told);

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

static TELLINGS: Kind<Telling> = Kind::new();

/// # Safety
///
/// It is to be called while the library is loaded, with that environment.
pub(crate) unsafe fn open(env: Env<'_>) -> bool {
    // SAFETY: as above.
    unsafe { TELLINGS.open(env, c"erlmcp_native_telling") }
}

/// The term that refers to it; none where the library is not loaded.
pub(crate) fn make(env: Env<'_>, notice: Notice<Place>) -> Option<Term<'_>> {
    let told = AtomicBool::new(false);
    TELLINGS.make(env, Telling { notice, told })
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
pub(crate) struct Said<'t> {
    id: Option<&'t Label>,
    reason: Option<Reason>,
}

impl<'t> Said<'t> {
    pub(crate) fn of(token: &'t Token<Place>) -> Self {
        Self {
            id: token.id(),
            reason: token.reason(|reason| reason.cloned()),
        }
    }

    pub(crate) fn without_id(self) -> Self {
        Self { id: None, ..self }
    }

    /// If it does not take long to write.
    pub(crate) fn short(self) -> Answer<Self> {
        let why = match &self.reason {
            Some(Reason::Said(why)) => Some(why),
            _ => None,
        };
        if why.into_iter().chain(self.id).any(Label::is_long) {
            return Err(Fault(atoms::long()));
        }
        Ok(self)
    }

    pub(crate) fn reason<'a>(&self, env: Env<'a>) -> Term<'a> {
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
        let tellings: Vec<_> = notices.filter_map(|notice| make(env, notice)).collect();
        Ok(tellings.encode(env))
    })
}
