//! Keys of rates as bytes: two keys have the same tag and bytes if they are the same term.
//!
//! What keys are made of is read here, as far as it is short: atoms, integers, floats, binaries, pids of this node, and
//! tuples and lists of them. Of all else Erlang is asked for the external form, which takes as long as the term is
//! large; it does that in slices. A form that is long is kept as its digest (SHA-256), made on a dirty scheduler.

use erlmcp_core::Label;
use rustler::sys::{ErlNifTerm, enif_get_tuple};
use rustler::types::tuple::make_tuple;
use rustler::{Atom, Binary, Encoder, Env, LocalPid, NewBinary, Term, TermType};
use sha2::{Digest, Sha256};

use crate::{atoms, term};

/// Longer keys are digests.
const MOST: usize = 255;

const WORD: u8 = 1;
const INTEGER: u8 = 2;
const FLOAT: u8 = 3;
const BINARY: u8 = 4;
const TUPLE: u8 = 5;
const LIST: u8 = 6;
const EXTERNAL: u8 = 7;
const DIGEST: u8 = 8;

/// A key is not read here.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// Shows the tag and the bytes of a term that is short and simple.
#[inline(always)]
pub(crate) fn read<R>(term: Term<'_>, see: impl FnOnce(u8, &[u8]) -> R) -> Result<R, TooLarge> {
    match term.get_type() {
        TermType::Atom => Ok(see(WORD, &term::immediate_word(term).to_le_bytes())),
        TermType::Pid if term.decode::<LocalPid>().is_ok() => {
            Ok(see(WORD, &term::immediate_word(term).to_le_bytes()))
        }
        TermType::Integer => {
            let integer: i64 = term.decode().map_err(|_| TooLarge)?;
            Ok(see(INTEGER, &integer.to_le_bytes()))
        }
        TermType::Binary => {
            let binary = short_binary(term)?;
            Ok(see(BINARY, &binary))
        }
        TermType::Tuple => made(term, TUPLE, see),
        TermType::List => made(term, LIST, see),
        TermType::Float => made(term, FLOAT, see),
        _ => Err(TooLarge),
    }
}

/// The same of what Erlang has made of a term: its external form, or the digest of that.
pub(crate) fn read_packed<R>(packed: Term<'_>, see: impl FnOnce(u8, &[u8]) -> R) -> Option<R> {
    let binary: Binary<'_> = packed.decode().ok()?;
    match binary.split_first() {
        Some((&tag @ (EXTERNAL | DIGEST), bytes)) if bytes.len() <= MOST => Some(see(tag, bytes)),
        _ => None,
    }
}

/// A bitstring is none.
fn short_binary(term: Term<'_>) -> Result<Binary<'_>, TooLarge> {
    let binary: Result<Binary<'_>, _> = term.decode();
    binary
        .ok()
        .filter(|binary| binary.len() <= MOST)
        .ok_or(TooLarge)
}

/// The bytes begin with the tag.
#[inline(never)]
fn made<R>(term: Term<'_>, tag: u8, see: impl FnOnce(u8, &[u8]) -> R) -> Result<R, TooLarge> {
    let mut key = Bytes {
        bytes: [0; MOST],
        length: 0,
    };
    key.put(term)?;
    Ok(see(tag, key.bytes.get(..key.length).unwrap_or(&[])))
}

/// Terms in a row, each behind its tag.
struct Bytes {
    bytes: [u8; MOST],
    length: usize,
}

impl Bytes {
    fn write(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        let end = self.length.saturating_add(bytes.len());
        let place = self.bytes.get_mut(self.length..end).ok_or(TooLarge)?;
        place.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) -> Result<(), TooLarge> {
        self.write(&[tag])?;
        self.write(bytes)
    }

    fn put(&mut self, term: Term<'_>) -> Result<(), TooLarge> {
        match term.get_type() {
            TermType::Atom => self.word(term),
            TermType::Integer => {
                let integer: i64 = term.decode().map_err(|_| TooLarge)?;
                self.tagged(INTEGER, &integer.to_le_bytes())
            }
            TermType::Binary => {
                let binary = short_binary(term)?;
                let length = u8::try_from(binary.len()).map_err(|_| TooLarge)?;
                self.tagged(BINARY, &[length])?;
                self.write(&binary)
            }
            TermType::Pid if term.decode::<LocalPid>().is_ok() => self.word(term),
            TermType::Tuple => {
                let elements = elements(term);
                let arity = u8::try_from(elements.len()).map_err(|_| TooLarge)?;
                self.tagged(TUPLE, &[arity])?;
                let mut elements = elements.iter();
                // SAFETY: they are terms of the environment that the tuple is of.
                elements.try_for_each(|word| self.put(unsafe { Term::new(term.get_env(), *word) }))
            }
            TermType::List => self.list(term),
            TermType::Float => {
                let float: f64 = term.decode().map_err(|_| TooLarge)?;
                self.tagged(FLOAT, &float.to_bits().to_le_bytes())
            }
            _ => Err(TooLarge),
        }
    }

    fn word(&mut self, term: Term<'_>) -> Result<(), TooLarge> {
        self.tagged(WORD, &term::immediate_word(term).to_le_bytes())
    }

    /// Each element after a tag, and none after the last. Elements take room, and so does the depth to which lists and
    /// tuples are nested.
    fn list(&mut self, term: Term<'_>) -> Result<(), TooLarge> {
        let mut rest = term;
        while let Ok((first, others)) = rest.list_get_cell() {
            self.write(&[LIST])?;
            self.put(first)?;
            rest = others;
        }
        if rest.is_empty_list() {
            self.write(&[0])
        } else {
            Err(TooLarge)
        }
    }
}

/// The elements of a tuple, which rustler would copy, however many there are.
fn elements(tuple: Term<'_>) -> &[ErlNifTerm] {
    let (mut arity, mut elements) = (0, std::ptr::null());
    let env = tuple.get_env().as_c_arg();
    // SAFETY: the term is of the environment. It writes to both places, if it is a tuple.
    let is_tuple = unsafe { enif_get_tuple(env, tuple.as_c_arg(), &mut arity, &mut elements) };
    match usize::try_from(arity) {
        // SAFETY: there are so many words, which stay as and where they are for as long as the tuple does.
        Ok(arity) if is_tuple != 0 && arity > 0 => unsafe {
            std::slice::from_raw_parts(elements, arity)
        },
        _ => &[],
    }
}

/// `{term, Key}`, or `{external, Binary}`, `{digest, Binary}` of one that is not read here, or `share`, which is no key
/// but the bucket of all further ones.
pub(crate) fn write<'a>(env: Env<'a>, key: &Label) -> Term<'a> {
    let bytes = key.bytes();
    let packed = |form: Atom| (form, binary(env, bytes)).encode(env);
    let term = match key.tag() {
        EXTERNAL => return packed(atoms::external()),
        DIGEST => return packed(atoms::digest()),
        WORD | INTEGER => Reader(bytes).simple(env, key.tag()),
        BINARY => Some(binary(env, bytes)),
        // These begin with their tag.
        TUPLE | LIST | FLOAT => Reader(bytes).next(env),
        _ => None,
    };
    term.map_or(atoms::share().encode(env), |term| {
        (atoms::term(), term).encode(env)
    })
}

fn binary<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    let mut binary = NewBinary::new(env, bytes.len());
    binary.as_mut_slice().copy_from_slice(bytes);
    binary.into()
}

/// Reads what `Bytes` has written, and nobody else: a word is that of a term. It is nested no deeper than there are
/// bytes.
struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn eight(&mut self) -> Option<[u8; 8]> {
        self.take(8)?.try_into().ok()
    }

    /// A term behind its tag.
    fn next<'a>(&mut self, env: Env<'a>) -> Option<Term<'a>> {
        let tag = self.byte()?;
        self.tagged(env, tag)
    }

    fn tagged<'a>(&mut self, env: Env<'a>, tag: u8) -> Option<Term<'a>> {
        match tag {
            BINARY => {
                let length = usize::from(self.byte()?);
                Some(binary(env, self.take(length)?))
            }
            TUPLE => {
                let arity = self.byte()?;
                let elements: Option<Vec<_>> = (0..arity).map(|_| self.next(env)).collect();
                Some(make_tuple(env, &elements?))
            }
            LIST => {
                let mut elements = vec![self.next(env)?];
                while self.byte()? == LIST {
                    elements.push(self.next(env)?);
                }
                Some(elements.encode(env))
            }
            _ => self.simple(env, tag),
        }
    }

    fn simple<'a>(&mut self, env: Env<'a>, tag: u8) -> Option<Term<'a>> {
        match tag {
            0 => Some(Term::list_new_empty(env)),
            WORD => Some(term::immediate_term(env, u64::from_le_bytes(self.eight()?))),
            INTEGER => Some(i64::from_le_bytes(self.eight()?).encode(env)),
            FLOAT => Some(f64::from_bits(u64::from_le_bytes(self.eight()?)).encode(env)),
            _ => None,
        }
    }
}

/// What `read_packed` reads of a long external form.
#[rustler::nif(schedule = "DirtyCpu")]
fn rate_digest<'a>(env: Env<'a>, external: Term<'a>) -> Term<'a> {
    let Ok(external) = external.decode::<Binary<'_>>() else {
        return atoms::bad_key().encode(env);
    };
    let digest = Sha256::digest(external.as_slice());
    let mut packed = NewBinary::new(env, digest.len().saturating_add(1));
    if let Some((first, rest)) = packed.split_first_mut() {
        *first = DIGEST;
        rest.copy_from_slice(&digest);
    }
    packed.into()
}
