//! How much memory native code holds. The runtime cannot tell: `erlang:memory/0` sees its own only.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
use std::{ffi::c_void, mem};

use rustler::{Encoder, Env, Term};

use crate::atoms;

/// Bytes that the C allocator has handed out in this operating-system process, or `undefined` where the
/// C library does not say. The runtime takes nearly all of its own memory elsewhere.
#[rustler::nif(schedule = "DirtyCpu")]
fn native_memory(env: Env<'_>) -> Term<'_> {
    match allocated() {
        Some(bytes) => bytes.encode(env),
        None => atoms::undefined().encode(env),
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn allocated() -> Option<usize> {
    // glibc has it from 2.33 on. Looked up by its name it is missed by nobody: one symbol that an older glibc has not,
    // and it would not load this library at all.
    // SAFETY: the name ends in a zero byte, and outlives the call.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"mallinfo2".as_ptr()) };
    if found.is_null() {
        return None;
    }
    // SAFETY: that is what glibc declares the function of this name as; and a function is never at null.
    let mallinfo2 =
        unsafe { mem::transmute::<*mut c_void, extern "C" fn() -> libc::mallinfo2>(found) };
    // It locks the allocator's arenas itself.
    let info = mallinfo2();
    info.uordblks.checked_add(info.hblkhd)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn allocated() -> Option<usize> {
    None
}
