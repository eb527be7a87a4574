//! The native library of erlmcp_native: decodes, calls the core once, encodes.
//!
//! `atoms`, `term`, `reference` and `external` know how things look in Erlang, `faces` how the drop-in modules call
//! what they tell and `rows` how all else does. `host` is the runtime as the core sees it, and each further module
//! has the natives of one concern; what `direct` registers is called for each request, and all else is registered by
//! rustler. `shelf` has what `registry` keeps. Natives return a reason as an atom where they cannot do what they were
//! asked; the Erlang side makes the error of it.

mod aliases;
mod atoms;
mod cancel;
mod control;
mod control_stats;
mod direct;
mod external;
mod faces;
mod fates;
mod guard;
mod handle;
mod haste;
mod history;
mod host;
mod hot;
mod key;
mod label;
mod latency;
mod limits;
mod mailbox;
mod memory;
mod metrics;
mod overload;
mod permits;
mod rates;
mod ration;
mod recent;
mod reference;
mod registry;
mod request;
mod resource;
mod rows;
mod shelf;
mod table;
mod telling;
mod term;
mod tokens;
mod watch;

use std::hint::black_box;

use rustler::{Env, Term};

/// The version, third of its words. The Erlang side looks for them in the file of a library that it cannot load.
const VERSION_MARK: &str = concat!("erlmcp_native library ", env!("CARGO_PKG_VERSION"), " ");

/// Refuses an Erlang side of another version.
fn load<'a>(env: Env<'a>, info: Term<'a>) -> bool {
    let wanted: Result<String, _> = info.decode();
    // Taken apart at run time, so that the words are in the file as they stand.
    let own = black_box(VERSION_MARK).split(' ').nth(2);
    let is_wanted = wanted.is_ok_and(|version| own == Some(version.as_str()));
    // SAFETY: this is called while the library is loaded, with that environment.
    is_wanted && unsafe { permits::open(env) && tokens::open(env) && telling::open(env) }
}

rustler::init!("erlmcp_native", load = load);
