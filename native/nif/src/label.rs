//! Terms that are kept for whoever reads them later, in no environment: one takes two kilobytes with a number in it.
//!
//! Atoms, small integers and binaries are written here; all else is in the external format when it comes, as a tuple
//! with a binary, and goes as such. The Erlang side sees to it that equal terms come alike.

use erlmcp_core::Label;
use rustler::{Binary, Encoder, Env, NewBinary, Term};

use crate::atoms;
use crate::term::{atom_term, atom_word};

const ATOM: u8 = 0;
const INTEGER: u8 = 1;
const BINARY: u8 = 2;
const EXTERNAL: u8 = 3;

pub(crate) fn read(term: Term<'_>) -> Option<Label> {
    if let Some(word) = atom_word(term) {
        return Some(Label::new(ATOM, &word.to_le_bytes()));
    }
    if let Ok(number) = term.decode::<i64>() {
        return Some(Label::new(INTEGER, &number.to_le_bytes()));
    }
    if let Ok(binary) = term.decode::<Binary<'_>>() {
        return Some(Label::new(BINARY, &binary));
    }
    let (external,): (Binary<'_>,) = term.decode().ok()?;
    Some(Label::new(EXTERNAL, &external))
}

pub(crate) fn write<'a>(env: Env<'a>, label: &Label) -> Term<'a> {
    let bytes = label.bytes();
    match (label.tag(), bytes.try_into()) {
        (ATOM, Ok(word)) => atom_term(env, u64::from_le_bytes(word)),
        (INTEGER, Ok(number)) => i64::from_le_bytes(number).encode(env),
        (BINARY, _) => binary(env, bytes),
        (EXTERNAL, _) => (binary(env, bytes),).encode(env),
        // Nobody writes others.
        _ => atoms::undefined().encode(env),
    }
}

fn binary<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    let mut binary = NewBinary::new(env, bytes.len());
    binary.as_mut_slice().copy_from_slice(bytes);
    binary.into()
}
