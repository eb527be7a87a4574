//! loom models: every interleaving of a few threads, for what the crate promises of all of them.

mod alerts;
mod aliases;
mod cancel;
mod caps;
mod components;
mod gauge;
mod judging;
mod latency;
mod meter;
mod near;
mod owner;
mod rates;
mod refusals;
mod roles;
mod senders;
mod settings;
mod table;
mod tally;
mod waiting;
mod watching;

use crate::gauge::{Admission, Kind};
use crate::judge::Judge;
use crate::owner::{Account, End, Ended, Owner};
use crate::request::{Class, Request};
use crate::role::{Policy, Role};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use crate::tally::Seat;
use crate::vocabulary::{Dead, Host, Instant, OwnerId, RoleId, Runtime};

const NOW: Instant = Instant {
    monotonic_ms: 0,
    system_ms: 0,
};

/// One that says nothing of itself.
const ORDINARY: Request = Request {
    class: Class::Critical,
    bytes: 0,
    deadline_ms: None,
};

/// At most three preemptions an execution, unless `LOOM_MAX_PREEMPTIONS` says otherwise.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    explore_to(3, model);
}

fn explore_to(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    // Steps in one execution: closing and opening a table has many, and so has taking of several buckets.
    builder.max_branches = builder.max_branches.max(10_000);
    builder.check(model);
}

fn role(limit: u64) -> Arc<Role> {
    let role = Role::new(RoleId(1), Arc::new(Policy::new(limit)), NOW);
    // As in a table: otherwise nobody is admitted by its word.
    role.settle();
    Arc::new(role)
}

const OWNER: OwnerId = OwnerId(9);

/// Enters where nothing is judged.
fn enter<R>(
    owner: &Owner<()>,
    role: &Arc<Role>,
    operation: impl FnOnce(&Account<()>) -> R,
) -> Result<R, Ended> {
    let entered = owner.enter(role, Kind::Counted, &Judge::new(), operation)?;
    Ok(entered.expect("no other kind is used"))
}

fn end<W>(owner: &Owner<W>) -> End<W> {
    owner.end(OWNER, &Judge::new(), NOW)
}

fn admitted(owner: &Owner<()>, role: &Arc<Role>) -> Result<bool, Ended> {
    enter(owner, role, |account| {
        matches!(
            account.try_enqueue(&ORDINARY, Seat::mine()),
            Ok(Admission::Admitted(_))
        )
    })
}

/// Nothing is left in the role, and all that was counted in is counted out.
fn assert_settled(role: &Role) {
    let stats = role.stats();
    assert_eq!(stats.depth, 0);
    assert_eq!(stats.owners, 0);
    assert_eq!(
        stats.enqueued,
        stats.dequeued - stats.unmatched + stats.released
    );
}

/// A runtime around one process, which may die.
#[derive(Default)]
struct World {
    exiting: AtomicBool,
    life: Mutex<Life>,
}

#[derive(Default)]
struct Life {
    dead: bool,
    /// Watches that have neither fired nor been called off.
    watches: u64,
}

impl World {
    /// The process dies. Returns how many watches fire.
    fn kill(&self) -> u64 {
        // Pairs with `is_alive`.
        self.exiting.store(true, Ordering::Release);
        let mut life = self.life.lock();
        life.dead = true;
        std::mem::take(&mut life.watches)
    }

    fn watches(&self) -> u64 {
        self.life.lock().watches
    }
}

impl Runtime for World {
    fn now(&self) -> Instant {
        NOW
    }

    fn wake(&self) {}
}

impl Host for World {
    type Watch = ();

    fn is_alive(&self, _: OwnerId) -> bool {
        // Pairs with `kill`.
        !self.exiting.load(Ordering::Acquire)
    }

    fn watch(&self, _: OwnerId) -> Result<Option<()>, Dead> {
        let mut life = self.life.lock();
        if life.dead {
            return Err(Dead);
        }
        life.watches += 1;
        Ok(Some(()))
    }

    fn unwatch(&self, (): ()) {
        let mut life = self.life.lock();
        // One that has fired is harmless to call off.
        life.watches = life.watches.saturating_sub(1);
    }
}
