//! Natives registered by hand, for calls that every nanosecond of counts: what rustler's attribute makes of a function
//! puts the arguments into a `Vec` first, which costs as much as all that a hot native does.
//!
//! A [`Term`] has its environment beside it, in pieces of several sizes; to move one through memory takes the processor
//! longer than to make it anew. The hottest get [`Arguments`] and return a [`Word`].
//!
//! rustler collects its natives in an inventory, of a type that it hides from its documentation. [`native!`] puts a
//! native into it as the attribute does. Should a new version of rustler change that type, this file does not compile
//! any more: the attribute is the way back.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustler::codegen_runtime::NifReturned;
use rustler::sys::{ErlNifEnv, ErlNifTerm};
use rustler::{Env, Term, types};

/// The arguments of a native.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a, const ARITY: usize> {
    pub(crate) env: Env<'a>,
    pub(crate) words: [Word<'a>; ARITY],
}

/// A term of the environment of a native, without that.
#[derive(Clone, Copy)]
pub(crate) struct Word<'a>(ErlNifTerm, PhantomData<Env<'a>>);

impl<'a> From<Term<'a>> for Word<'a> {
    #[inline(always)]
    fn from(term: Term<'a>) -> Self {
        Self(term.as_c_arg(), PhantomData)
    }
}

impl<'a> Word<'a> {
    #[inline(always)]
    pub(crate) fn term(self, env: Env<'a>) -> Term<'a> {
        // SAFETY: it was made of a term, or argument, of an environment with this lifetime, and no two have the same.
        unsafe { Term::new(env, self.0) }
    }
}

impl<'a, const ARITY: usize> Arguments<'a, ARITY> {
    #[inline(always)]
    pub(crate) fn terms(&self) -> [Term<'a>; ARITY] {
        self.words.map(|word| word.term(self.env))
    }
}

/// Registers a function of an [`Env`] and an array of terms as the native `name` of so many arguments, or one of
/// [`Arguments`] that returns a [`Word`]. It is for normal schedulers.
macro_rules! native {
    ($name:literal, $arity:literal, $function:path) => {
        $crate::direct::native!(
            $name,
            $arity,
            words | given | { $crate::direct::Word::from($function(given.env, given.terms())) }
        );
    };
    ($name:literal, $arity:literal, words $function:expr) => {
        rustler::codegen_runtime::inventory::submit!(rustler::Nif {
            name: concat!($name, "\0")
                .as_ptr()
                .cast::<rustler::codegen_runtime::c_char>(),
            arity: $arity,
            flags: 0,
            raw_func: {
                unsafe extern "C" fn raw(
                    env: *mut rustler::sys::ErlNifEnv,
                    _argc: rustler::codegen_runtime::c_int,
                    arguments: *const rustler::sys::ErlNifTerm,
                ) -> rustler::sys::ErlNifTerm {
                    // SAFETY: only the runtime calls this, with a native's environment and as many terms of it as the
                    // arity above says.
                    unsafe { $crate::direct::call::<$arity>(env, arguments, $function) }
                }
                raw
            },
        });
    };
}

pub(crate) use native;

/// Runs a native. A panic ends here, as the error that rustler makes of it.
///
/// # Safety
///
/// `env` is the environment that the runtime calls a native with, and `arguments` points at `ARITY` terms of it.
#[inline(always)]
pub(crate) unsafe fn call<const ARITY: usize>(
    env: *mut ErlNifEnv,
    arguments: *const ErlNifTerm,
    function: impl for<'a> FnOnce(Arguments<'a, ARITY>) -> Word<'a>,
) -> ErlNifTerm {
    let lifetime = ();
    // SAFETY: the environment is valid until this returns. `lifetime` is this call's own, so nothing that is made with
    // it can be used later, and no other `Env` has the same.
    let env = unsafe { Env::new(&lifetime, env) };
    // SAFETY: there are so many, says the caller. A term is a word: reading it moves nothing.
    let words = unsafe { arguments.cast::<[ErlNifTerm; ARITY]>().read() };
    let words = words.map(|word| Word(word, PhantomData));
    // What a panic may leave half done is nothing but the library's own memory, which is shared by threads anyway and
    // whole after each step.
    match catch_unwind(AssertUnwindSafe(|| function(Arguments { env, words }).0)) {
        Ok(answer) => answer,
        Err(payload) => raise(env, payload),
    }
}

#[cold]
fn raise(env: Env<'_>, payload: Box<dyn std::any::Any + Send>) -> ErlNifTerm {
    // Dropped, it might panic once more.
    let _ = ManuallyDrop::new(payload);
    let raised = NifReturned::Raise(types::atom::nif_panicked().as_c_arg());
    // SAFETY: the atom is a term of every environment, and this is the native's own, which returns what comes of it.
    unsafe { raised.apply(env) }
}
