//! What a request says of itself, as the options of a call, and the words of that and of why it is refused.

use erlmcp_core::reason::Reason;
use erlmcp_core::request::{Class, Request};
use rustler::{Atom, Encoder, Term};

use crate::atoms;
use crate::term::{Answer, Fault};

/// Numbers from here on are no small integers, and refused; as are those below the negative of it.
const END: i64 = 1 << 59;
/// Nothing is so large.
const BYTES_END: u64 = 1 << 48;

/// Options as a map, or the empty list. Anything else is a bad option, and what is wrong in it the Erlang side finds
/// out, which makes a map of a list, too.
pub(crate) fn read(options: Term<'_>) -> Answer<Request> {
    let mut request = Request::default();
    let size = if options.is_empty_list() {
        0
    } else {
        options.map_size().map_err(|_| bad())?
    };
    let mut read = 0;
    if let Some(class) = value(options, atoms::class(), &mut read, size) {
        request.class = read_class(class)?;
    }
    if let Some(bytes) = value(options, atoms::bytes(), &mut read, size) {
        request.bytes = read_bytes(bytes)?;
    }
    if let Some(deadline) = value(options, atoms::deadline_ms(), &mut read, size) {
        request.deadline_ms = Some(read_deadline_ms(deadline)?);
    }
    // Whatever else is there is none of these.
    if read == size {
        Ok(request)
    } else {
        Err(bad())
    }
}

/// What a key has, unless all was read already.
fn value<'a>(options: Term<'a>, key: Atom, read: &mut usize, size: usize) -> Option<Term<'a>> {
    if *read == size {
        return None;
    }
    let found = options.map_get(key.encode(options.get_env())).ok()?;
    *read = read.saturating_add(1);
    Some(found)
}

fn read_class(term: Term<'_>) -> Answer<Class> {
    let mut known = Class::ALL.into_iter();
    known
        .find(|class| class_atom(*class) == term)
        .ok_or_else(bad)
}

pub(crate) fn class_atom(class: Class) -> Atom {
    match class {
        Class::CriticalPlus => atoms::critical_plus(),
        Class::Critical => atoms::critical(),
        Class::SheddablePlus => atoms::sheddable_plus(),
        Class::Sheddable => atoms::sheddable(),
    }
}

pub(crate) fn reason_atom(reason: Reason) -> Atom {
    match reason {
        Reason::Node => atoms::node(),
        Reason::Full => atoms::full(),
        Reason::Class => atoms::class(),
        Reason::Deadline => atoms::deadline(),
        Reason::Role => atoms::role(),
        Reason::Bytes => atoms::bytes(),
    }
}

/// More than none.
pub(crate) fn read_bytes(term: Term<'_>) -> Answer<u64> {
    small(term)?
        .try_into()
        .ok()
        .filter(|bytes| (1..BYTES_END).contains(bytes))
        .ok_or_else(bad)
}

/// One that is over already has no time left.
fn read_deadline_ms(term: Term<'_>) -> Answer<u64> {
    Ok(small(term)?.try_into().unwrap_or(0))
}

fn small(term: Term<'_>) -> Answer<i64> {
    let number: Option<i64> = term.decode().ok();
    number
        .filter(|number| (-END..END).contains(number))
        .ok_or_else(bad)
}

fn bad() -> Fault {
    Fault(atoms::bad_option())
}
