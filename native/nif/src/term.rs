//! How the core's types look in Erlang, in both directions. Nothing else knows.

use std::collections::HashMap;

use erlmcp_core::control::TooManyComponents;
use erlmcp_core::limit::Limit;
use erlmcp_core::limits::Unfit;
use erlmcp_core::request::Class;
use erlmcp_core::reserve::Reserve;
use erlmcp_core::roles::{Configuration, TooManyRoles};
use erlmcp_core::wait::Wait;
use erlmcp_core::{NotFree, OwnerId, RoleId, UNLIMITED};
use once_cell::sync::OnceCell;
use rustler::sys::{ErlNifTerm, enif_make_map_from_arrays};
use rustler::{Atom, Encoder, Env, LocalPid, Term};

use crate::atoms;

/// Why a native did not do what it was asked, as the atom that the Erlang side turns into an error.
pub(crate) struct Fault(pub(crate) Atom);

impl From<TooManyComponents> for Fault {
    fn from(TooManyComponents: TooManyComponents) -> Self {
        Self(atoms::too_many_components())
    }
}

impl From<TooManyRoles> for Fault {
    fn from(TooManyRoles: TooManyRoles) -> Self {
        Self(atoms::too_many_roles())
    }
}

impl From<Unfit> for Fault {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::TooManyRoles => TooManyRoles.into(),
            Unfit::OtherKind => Self(atoms::wrong_kind()),
            Unfit::Reserved => Self(atoms::role_reserved()),
        }
    }
}

impl From<NotFree> for Fault {
    fn from(not_free: NotFree) -> Self {
        match not_free {
            NotFree::InUse => Self(atoms::role_in_use()),
            NotFree::TooManyRoles => TooManyRoles.into(),
        }
    }
}

/// What a native returns: its answer, or the atom that says why there is none.
pub(crate) type Answer<T> = Result<T, Fault>;

pub(crate) fn answer<'a, T: Encoder>(env: Env<'a>, answer: Answer<T>) -> Term<'a> {
    match answer {
        Ok(value) => value.encode(env),
        Err(Fault(why)) => why.encode(env),
    }
}

pub(crate) fn role(term: Term<'_>) -> Answer<RoleId> {
    atom_word(term).map(RoleId).ok_or(Fault(atoms::bad_role()))
}

/// The word that an atom is.
pub(crate) fn atom_word(term: Term<'_>) -> Option<u64> {
    term.is_atom().then(|| word(term.as_c_arg()))
}

/// The word that an atom or a pid of this node is.
pub(crate) fn immediate_word(term: Term<'_>) -> u64 {
    word(term.as_c_arg())
}

/// The atom or pid that `immediate_word` gave the word of.
pub(crate) fn immediate_term(env: Env<'_>, word: u64) -> Term<'_> {
    immediate(env, word)
}

/// The atom that `atom_word` gave the word of.
pub(crate) fn atom_term(env: Env<'_>, word: u64) -> Term<'_> {
    immediate(env, word)
}

/// A latency in microseconds.
pub(crate) fn microseconds(term: Term<'_>) -> Answer<u64> {
    term.decode().map_err(|_| Fault(atoms::bad_latency()))
}

/// How many there are of something.
pub(crate) fn number(term: Term<'_>) -> Answer<u64> {
    term.decode().map_err(|_| Fault(atoms::bad_number()))
}

/// A timeout in milliseconds.
pub(crate) fn milliseconds(term: Term<'_>) -> Answer<u64> {
    term.decode().map_err(|_| Fault(atoms::bad_timeout()))
}

/// Milliseconds between two times that something is done.
pub(crate) fn interval_ms(term: Term<'_>) -> Answer<u64> {
    milliseconds(term).and_then(|ms| {
        Some(ms)
            .filter(|ms| *ms > 0)
            .ok_or(Fault(atoms::bad_timeout()))
    })
}

pub(crate) fn own_pid(env: Env<'_>) -> Term<'_> {
    env.pid().encode(env)
}

pub(crate) fn atom_role(atom: Atom) -> RoleId {
    RoleId(word(atom.as_c_arg()))
}

pub(crate) fn atom_owner(atom: Atom) -> OwnerId {
    OwnerId(word(atom.as_c_arg()))
}

pub(crate) fn owner(term: Term<'_>) -> Answer<OwnerId> {
    if term.decode::<LocalPid>().is_ok() || term.is_atom() {
        Ok(OwnerId(word(term.as_c_arg())))
    } else {
        Err(Fault(atoms::bad_owner()))
    }
}

/// An owner that has a mailbox.
pub(crate) fn local_process(term: Term<'_>) -> Answer<OwnerId> {
    if term.decode::<LocalPid>().is_ok() {
        Ok(OwnerId(word(term.as_c_arg())))
    } else {
        Err(Fault(atoms::bad_process()))
    }
}

/// A role and an owner to compare with known ones. A term that is neither has the word of none: the words of atoms and
/// local pids are theirs alone. So what is equal to a known one is one; all else must not be used.
#[inline]
pub(crate) fn unread(role: Term<'_>, owner: Term<'_>) -> (RoleId, OwnerId) {
    (
        RoleId(word(role.as_c_arg())),
        OwnerId(word(owner.as_c_arg())),
    )
}

/// A small integer, `infinity`, or `{wait, TargetMs, Min, Max}`.
pub(crate) fn limit(term: Term<'_>) -> Answer<Limit> {
    if atoms::infinity() == term {
        return Ok(UNLIMITED.into());
    }
    let number: Option<u64> = term.decode().ok();
    let wait = || {
        let (kind, target_ms, min, max): (Atom, u32, u32, u32) = term.decode().ok()?;
        let wait = Wait::new(target_ms, min, max).filter(|_| kind == atoms::wait())?;
        Some(wait.into())
    };
    number
        .filter(|limit| *limit < Limit::END)
        .map(Limit::from)
        .or_else(wait)
        .ok_or(Fault(atoms::bad_limit()))
}

/// A small integer, or `infinity`.
pub(crate) fn cap(term: Term<'_>) -> Answer<u64> {
    match limit(term)? {
        Limit::Fixed(number) => Ok(number),
        Limit::Wait(_) => Err(Fault(atoms::bad_limit())),
    }
}

/// As [`limit`] reads it.
pub(crate) fn set_limit_term(env: Env<'_>, limit: Limit) -> Term<'_> {
    match limit {
        Limit::Fixed(limit) => limit_term(env, limit),
        Limit::Wait(wait) => (atoms::wait(), wait.target_ms(), wait.min(), wait.max()).encode(env),
    }
}

pub(crate) fn limit_term(env: Env<'_>, limit: u64) -> Term<'_> {
    match limit {
        UNLIMITED => atoms::infinity().encode(env),
        limit => limit.encode(env),
    }
}

pub(crate) fn depth(term: Term<'_>) -> Answer<u64> {
    term.decode().map_err(|_| Fault(atoms::bad_number()))
}

/// What is configured: limits as a list of `{Role, Limit}`, what is kept for the higher classes as one of
/// `{Role, Reserve}`, and the switch.
pub(crate) fn configuration(
    limits: Term<'_>,
    reserves: Term<'_>,
    enforcing: Term<'_>,
) -> Answer<Configuration> {
    Ok(Configuration {
        limits: roles_with(limits, limit)?,
        reserves: roles_with(reserves, reserve)?,
        enforcing: switch(enforcing)?,
    })
}

/// A list of `{Role, Value}`.
fn roles_with<V>(
    term: Term<'_>,
    read: impl Fn(Term<'_>) -> Answer<V>,
) -> Answer<HashMap<RoleId, V>> {
    let pairs = proper_list(term).ok_or(Fault(atoms::bad_limits()))?;
    pairs
        .into_iter()
        .map(|pair| {
            let (of, value): (Term<'_>, Term<'_>) =
                pair.decode().map_err(|_| Fault(atoms::bad_limits()))?;
            Ok((role(of)?, read(value)?))
        })
        .collect()
}

/// The percentages that `critical`, `sheddable_plus` and `sheddable` may not use, each no less than the one before.
pub(crate) fn reserve(term: Term<'_>) -> Answer<Reserve> {
    let percents: Result<(u8, u8, u8), _> = term.decode();
    percents
        .ok()
        .and_then(|(critical, sheddable_plus, sheddable)| {
            Reserve::new(critical, sheddable_plus, sheddable)
        })
        .ok_or(Fault(atoms::bad_reserve()))
}

pub(crate) fn reserve_term(env: Env<'_>, reserve: Reserve) -> Term<'_> {
    let [critical, sheddable_plus, sheddable] =
        [Class::Critical, Class::SheddablePlus, Class::Sheddable]
            .map(|class| reserve.percent(class));
    (critical, sheddable_plus, sheddable).encode(env)
}

/// The elements of a proper list. Everything that reads lists does so by this: rustler's iterator, which decodes a
/// `Vec` too, panics at the end of an improper one.
pub(crate) fn proper_list(term: Term<'_>) -> Option<Vec<Term<'_>>> {
    short_list(term, usize::MAX)
}

/// Those of a proper list that has so many at most.
pub(crate) fn short_list(term: Term<'_>, most: usize) -> Option<Vec<Term<'_>>> {
    let mut elements = Vec::new();
    let mut rest = term;
    while let Ok((first, others)) = rest.list_get_cell() {
        if elements.len() == most {
            return None;
        }
        elements.push(first);
        rest = others;
    }
    rest.is_empty_list().then_some(elements)
}

pub(crate) fn switch(term: Term<'_>) -> Answer<bool> {
    term.decode().map_err(|_| Fault(atoms::bad_switch()))
}

/// The process that an owner is, or `None` if it is a name.
pub(crate) fn process(env: Env<'_>, owner: OwnerId) -> Option<LocalPid> {
    owner_term(env, owner).decode().ok()
}

pub(crate) fn process_id(env: Env<'_>, pid: LocalPid) -> OwnerId {
    OwnerId(word(pid.encode(env).as_c_arg()))
}

pub(crate) fn role_term(env: Env<'_>, RoleId(word): RoleId) -> Term<'_> {
    immediate(env, word)
}

pub(crate) fn owner_term(env: Env<'_>, OwnerId(word): OwnerId) -> Term<'_> {
    immediate(env, word)
}

fn word(term: ErlNifTerm) -> u64 {
    // SAFETY: `ErlNifTerm` is a transparent wrapper of an unsigned word, here of 64 bits.
    unsafe { std::mem::transmute(term) }
}

fn immediate(env: Env<'_>, word: u64) -> Term<'_> {
    // SAFETY: the transmutation as in `word`. Roles, owners and words of keys are made in this module alone, from
    // atoms and local pids, or are equal to such (`unread`). Both are immediate terms: the word is the whole term,
    // valid in every environment.
    unsafe { Term::new(env, std::mem::transmute::<u64, ErlNifTerm>(word)) }
}

/// A number, or `undefined`.
pub(crate) fn optional(env: Env<'_>, number: Option<u64>) -> Term<'_> {
    match number {
        Some(number) => number.encode(env),
        None => atoms::undefined().encode(env),
    }
}

/// In which order a runtime keeps the keys of a map that is made often. Given in that order they are not sorted, which
/// takes longer than all the rest. Any other order is as right, and slower.
pub(crate) struct Order<const N: usize>(OnceCell<[usize; N]>);

impl<const N: usize> Order<N> {
    /// To be found with the first map.
    pub(crate) const fn unknown() -> Self {
        Self(OnceCell::new())
    }

    /// A map with these fields, whose keys are all different, and the same in the same places each time.
    pub(crate) fn map<'a>(&self, env: Env<'a>, fields: [(Atom, Term<'a>); N]) -> Term<'a> {
        let order = self.0.get_or_init(|| {
            let mut order = std::array::from_fn(|place| place);
            // Atoms of a small map are ordered by their words.
            order.sort_by_key(|&place| fields.get(place).map(|(key, _)| word(key.as_c_arg())));
            order
        });
        let nothing = word(atoms::undefined().as_c_arg());
        let (mut keys, mut values) = ([nothing; N], [nothing; N]);
        for ((key, value), place) in keys.iter_mut().zip(&mut values).zip(order) {
            if let Some((name, field)) = fields.get(*place) {
                (*key, *value) = (word(name.as_c_arg()), word(field.as_c_arg()));
            }
        }
        let mut map = atoms::undefined().as_c_arg();
        // SAFETY: both arrays have `N` words, which are terms: atoms, and what is said to be of this environment. The
        // transmutation is that of `word`. Of keys that are not all different the answer is 0, and nothing is written.
        unsafe {
            let (keys, values) = (keys.as_ptr().cast(), values.as_ptr().cast());
            let _ = enif_make_map_from_arrays(env.as_c_arg(), keys, values, N, &mut map);
            Term::new(env, map)
        }
    }
}

pub(crate) fn map<'a>(env: Env<'a>, fields: &[(Atom, Term<'a>)]) -> Term<'a> {
    let (keys, values): (Vec<_>, Vec<_>) = fields
        .iter()
        .map(|&(key, value)| (key.encode(env), value))
        .unzip();
    map_from(env, &keys, &values)
}

/// A map with these keys, all different, and these values.
pub(crate) fn map_from<'a>(env: Env<'a>, keys: &[Term<'a>], values: &[Term<'a>]) -> Term<'a> {
    // Fails on duplicate keys only.
    Term::map_from_term_arrays(env, keys, values).unwrap_or_else(|_| Term::map_new(env))
}

/// A map with a role a key.
pub(crate) fn by_role<'a>(
    env: Env<'a>,
    rows: impl Iterator<Item = (RoleId, Term<'a>)>,
) -> Term<'a> {
    let (keys, values): (Vec<_>, Vec<_>) = rows
        .map(|(role, value)| (role_term(env, role), value))
        .unzip();
    map_from(env, &keys, &values)
}
