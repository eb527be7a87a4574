//! How much memory native code holds. The runtime cannot tell: `erlang:memory/0` sees its own only.

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
    // SAFETY: takes no arguments, returns a plain struct, and locks the allocator's arenas itself.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks.checked_add(info.hblkhd)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn allocated() -> Option<usize> {
    None
}
