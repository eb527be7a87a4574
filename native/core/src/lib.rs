//! The half of erlmcp_native that decides. It knows no Erlang: a role and an owner are opaque
//! integers, and what it needs of the runtime around it, it asks a [`Host`].
//!
//! ```text
//! history     what it was like before           footprint   how much memory it all takes
//!   packed      numbers in few bits             survey      looking at every owner
//!                                               rank        in which order they are shown
//! counting    one more for an owner, one less
//! permits     places that somebody holds
//! mailbox     whether one more message may be sent to a process
//!   watching    processes whose mailbox was found long, whoever sends to them
//! guarding    what is found of the node, and what becomes of it
//! reserving   taking a role for the library's own use
//! sharing     this node's shares of rates that several have
//! together    taking of several rates, or of none
//! defining    which rates there are, and for how long keys are known
//! emptiest    who has taken most of a rate
//!   rates       rates by name, and what each key has taken of them
//!     buckets     all keys' buckets, found, made and forgotten
//!       rule        a rate that is defined        address     what a bucket is found by
//!       share       one of several nodes' part of a rate
//!       bucket      one key's, one word           gcra        the arithmetic of rates
//!         spell       since when there are refusals, and how many a second
//! near        the owners that a thread used last
//! limits      the table: owners, and every operation on them
//!   owners      the concurrent table itself
//!   verdict     there is room, or why there is none
//!   owner       an owner's accounts, its end
//!   tenancy     how an account is taken into use, and out of it
//!     levels      the alert level that it amounts to
//!     capped      places where there are caps, and bytes
//!     places      how places are taken and given back
//!     posting     what senders to a mailbox do
//!     bounds      where it refuses            timing      how long requests wait in it
//!     account     what an owner has in a role: a depth
//!     senders     who is just sending to a mailbox
//!   guard       for what the node is pressed
//!   roles       which roles there are, their limits
//!     plain       where it has room, whatever is set
//!     summary     all there is to say of a role
//!     role        what a role counts, and what it allows
//!       caps        what may wait for all its owners together
//!       refusals    how many there were, by class and reason
//!       tally       its totals                  rate        how fast they grow
//!       retry       when to ask again           fill        how full its owners were at a check
//!       standing    its alert level             timeline    since when
//!       watch       whether all mailboxes are watched, and who is held
//!       pressure    how hard pressed the node is, and whom it refuses for that
//!   judge       whether and how to judge        alerts      the last ones, and what handlers have to be told
//!     mailboxes   those that are so long that somebody has to look at them
//!   meter       a depth that measures           marker      how fast it drains
//!   gauge       one depth, one atomic word      overload    the arithmetic of levels
//! control     components, where messages go     latency     histograms
//!   waiting     what waits for one process, and room for more
//!   failures    of what a component's handler failed
//! cancel      tasks that may be cancelled, by owner and id
//!   belongings  what each owner has of them         notices     who has to be told of that
//!   token       one of them
//!   tombstones  cancellations that came too early   index       entries by hash, in small tables
//! aliases     whose priority aliases
//!   roster      a set that knows its newest     tree        a table of which no step moves much
//! fates       what becomes of messages to other nodes
//!   lanes       types of messages, and how a wait ends
//! label       a term in bytes
//! limit       a number, or what a number follows
//!   wait        where a limit stands that is said in milliseconds
//! reserve     what of a limit is kept for the higher classes
//!   request     what a request says of itself
//! reason      why one is refused
//! reserved    a role that is the library's own for a while
//! setting     what configuration gives and a hand may override
//! map         the concurrent map, or a small one in a model
//! queue       the bounded queue, or a small one in a model
//! sync        the standard atomics, or loom's in a model
//! vocabulary  roles, owners, moments, the runtime around
//! ```
//!
//! A file uses files below it only (`tests/arrows.rs`). What must hold whatever the interleaving, and is checked with
//! loom:
//!
//! - nobody is admitted at or above the limit (`gauge`: check and count are one step);
//! - an owner's end leaves nothing in its roles' totals (a count finds the gauge occupied, and is
//!   given up with it, or vacant, and does not happen; none can be opened after the end);
//! - whoever asks after a limit was set, or a rate, is held to it;
//! - of a rate no two are granted the same, and whoever takes of several takes all or nothing (`bucket`, `together`);
//! - no crossing of a threshold is missed, while others cross it back.
#![forbid(unsafe_code)]
#![cfg_attr(loom, allow(dead_code, reason = "the models leave the table out"))]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects
    )
)]

mod account;
mod address;
pub mod alerts;
pub mod aliases;
mod belongings;
mod bounds;
mod bucket;
mod buckets;
pub mod cancel;
mod capped;
mod caps;
pub mod control;
mod counting;
pub mod defining;
pub mod emptiest;
pub mod failures;
pub mod fates;
pub mod fill;
mod footprint;
mod gauge;
pub mod gcra;
mod guard;
mod guarding;
pub mod history;
mod index;
pub mod judge;
mod label;
mod lanes;
pub mod latency;
mod levels;
pub mod limit;
pub mod limits;
mod mailbox;
mod mailboxes;
mod map;
pub mod marker;
pub mod meter;
pub mod near;
mod notices;
pub mod overload;
mod owner;
mod owners;
mod packed;
mod permits;
mod places;
mod plain;
mod posting;
mod pressure;
mod queue;
pub mod rank;
mod rate;
pub mod rates;
pub mod reason;
mod refusals;
pub mod request;
pub mod reserve;
mod reserved;
mod reserving;
mod retry;
mod role;
pub mod roles;
mod roster;
mod rule;
mod senders;
pub mod setting;
pub mod share;
pub mod sharing;
pub mod spell;
mod standing;
mod summary;
pub mod survey;
mod sync;
mod tally;
mod tenancy;
mod timeline;
pub mod timing;
pub mod together;
mod token;
mod tombstones;
mod tree;
mod verdict;
mod vocabulary;
pub mod wait;
mod waiting;
mod watch;
mod watching;

#[cfg(all(test, loom))]
mod models;

pub use address::{Address, Seek};
pub use buckets::NotDefined;
pub use gauge::Kind;
pub use guard::{Finding, Pressed};
pub use label::Label;
pub use mailbox::{Admittance, Entry};
pub use mailboxes::Mailboxes;
pub use pressure::Strain;
pub use refusals::ByReason;
pub use reserving::NotFree;
pub use retry::Outlook;
pub use role::RoleStats;
pub use senders::{Claim, Told};
pub use summary::{Number, RoleSummary};
pub use timeline::{ByLevel, TimeAtLevel};
pub use vocabulary::{Dead, Host, Instant, OwnerId, RoleId, Runtime, UNLIMITED};
pub use watch::{MAX_HELD, Watch};
