//! Which references are priority aliases, and whose.
//!
//! An alias names its process, so all that is known of a process's aliases is kept with the process, and
//! goes with it in one step, however many they are.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use crate::map::{self, Map};
use crate::sync::Mutex;
use crate::vocabulary::{Dead, Host, OwnerId};

/// An alias is an address of a process; these are the numbers by which the host knows it.
///
/// ```
/// use erlmcp_core::aliases::AliasId;
///
/// assert_ne!(AliasId([1, 0, 0, 7, 0]), AliasId([2, 0, 0, 7, 0]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AliasId(pub [u32; 5]);

/// These are the priority aliases of all processes. `W` is the host's handle of a death watch.
///
/// ```
/// use erlmcp_core::OwnerId;
/// use erlmcp_core::aliases::{AliasId, Aliases};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (process, alias) = (OwnerId(7), AliasId([1, 0, 0, 7, 0]));
/// let aliases = Aliases::new();
/// aliases.insert(process, alias, &Still);
/// assert!(aliases.contains(process, alias));
/// assert_eq!(aliases.newest(process), Some(alias));
/// aliases.died(process);
/// assert_eq!(aliases.newest(process), None);
/// ```
pub struct Aliases<W> {
    processes: Map<OwnerId, Process<W>>,
}

struct Process<W> {
    state: Mutex<State<W>>,
}

struct State<W> {
    live: HashSet<AliasId, RandomState>,
    /// Oldest first. May still hold some that were given up.
    order: Vec<AliasId>,
    ended: bool,
    watch: Option<W>,
}

impl<W: Send + Sync + 'static> Aliases<W> {
    /// Makes a registry that knows none.
    pub fn new() -> Self {
        Self {
            processes: map::new(),
        }
    }

    /// Enters an alias of a process; for a dead process nothing happens.
    pub fn insert(&self, owner: OwnerId, alias: AliasId, host: &impl Host<Watch = W>) {
        loop {
            let processes = self.processes.pin();
            // Not `try_insert_with`: see `Limits::enter`.
            let inserted = match processes.get(&owner) {
                Some(known) => Err(known),
                None => {
                    let inserted = processes.try_insert(owner, Process::new());
                    inserted.map_err(|occupied| occupied.current)
                }
            };
            let process = match inserted {
                Err(known) => known,
                Ok(new) => match host.watch(owner) {
                    Err(Dead) => return map::remove_this(&self.processes, owner, new),
                    Ok(watch) => {
                        new.state.lock().watch = watch;
                        new
                    }
                },
            };
            if process.insert(alias) {
                return;
            }
            map::remove_this(&self.processes, owner, process);
        }
    }

    /// Gives an alias up. Returns whether it was known.
    pub fn delete(&self, owner: OwnerId, alias: AliasId, host: &impl Host<Watch = W>) -> bool {
        let processes = self.processes.pin();
        let Some(process) = processes.get(&owner) else {
            return false;
        };
        let mut state = process.state.lock();
        let known = state.live.remove(&alias);
        state.forget_given_up();
        if state.live.is_empty() {
            state.ended = true;
            let watch = state.watch.take();
            drop(state);
            map::remove_this(&self.processes, owner, process);
            watch.into_iter().for_each(|watch| host.unwatch(watch));
        }
        known
    }

    /// Tells whether this is an alias of that process that was entered and not given up.
    pub fn contains(&self, owner: OwnerId, alias: AliasId) -> bool {
        let processes = self.processes.pin();
        processes
            .get(&owner)
            .is_some_and(|process| process.state.lock().live.contains(&alias))
    }

    /// Names the newest alias of a process, if it has any.
    pub fn newest(&self, owner: OwnerId) -> Option<AliasId> {
        let processes = self.processes.pin();
        let process = processes.get(&owner)?;
        process.state.lock().order.last().copied()
    }

    /// Forgets the aliases of a process, since it is dead.
    pub fn died(&self, owner: OwnerId) {
        let processes = self.processes.pin();
        if let Some(process) = processes.remove(&owner) {
            process.state.lock().ended = true;
        }
    }

    /// Tells how many processes have aliases; an estimate while some come and go.
    pub fn processes(&self) -> usize {
        self.processes.len()
    }
}

impl<W: Send + Sync + 'static> Default for Aliases<W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W> Process<W> {
    fn new() -> Self {
        Self {
            state: Mutex::new(State {
                live: HashSet::default(),
                order: Vec::new(),
                ended: false,
                watch: None,
            }),
        }
    }

    /// False if this record has ended.
    fn insert(&self, alias: AliasId) -> bool {
        let mut state = self.state.lock();
        if !state.ended && state.live.insert(alias) {
            state.order.push(alias);
        }
        !state.ended
    }
}

impl<W> State<W> {
    /// Keeps the newest one last, and what was given up at no more than half of the rest.
    fn forget_given_up(&mut self) {
        let Self { live, order, .. } = self;
        while order.pop_if(|newest| !live.contains(newest)).is_some() {}
        if order.len() > live.len().saturating_mul(2) {
            order.retain(|alias| live.contains(alias));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::vocabulary::{Instant, Runtime};

    struct Immortals;

    impl Runtime for Immortals {
        fn now(&self) -> Instant {
            Instant {
                monotonic_ms: 0,
                system_ms: 0,
            }
        }
        fn wake(&self) {}
    }

    impl Host for Immortals {
        type Watch = ();
        fn is_alive(&self, _: OwnerId) -> bool {
            true
        }
        fn watch(&self, _: OwnerId) -> Result<Option<()>, Dead> {
            Ok(Some(()))
        }
        fn unwatch(&self, (): ()) {}
    }

    const OWNER: OwnerId = OwnerId(7);

    fn alias(number: u32) -> AliasId {
        AliasId([number, 0, 0, 7, 0])
    }

    #[test]
    fn the_newest_of_those_left_counts() {
        let aliases = Aliases::new();
        for number in 1..=3 {
            aliases.insert(OWNER, alias(number), &Immortals);
        }
        assert_eq!(aliases.newest(OWNER), Some(alias(3)));
        assert!(aliases.delete(OWNER, alias(2), &Immortals));
        assert_eq!(aliases.newest(OWNER), Some(alias(3)));
        assert!(aliases.delete(OWNER, alias(3), &Immortals));
        assert!(!aliases.delete(OWNER, alias(3), &Immortals));
        assert_eq!(aliases.newest(OWNER), Some(alias(1)));
        assert!(!aliases.contains(OWNER, alias(3)));
        assert!(aliases.delete(OWNER, alias(1), &Immortals));
        assert_eq!((aliases.newest(OWNER), aliases.processes()), (None, 0));
    }

    #[test]
    fn death_takes_them_all() {
        let aliases = Aliases::new();
        aliases.insert(OWNER, alias(1), &Immortals);
        aliases.insert(OWNER, alias(2), &Immortals);
        aliases.died(OWNER);
        assert!(!aliases.contains(OWNER, alias(1)));
        assert_eq!(aliases.processes(), 0);
    }

    #[test]
    fn aliases_that_come_and_go_leave_no_trail() {
        let aliases = Aliases::new();
        aliases.insert(OWNER, alias(0), &Immortals);
        for number in 1..10_000 {
            aliases.insert(OWNER, alias(number), &Immortals);
            assert!(aliases.delete(OWNER, alias(number - 1), &Immortals));
        }
        let processes = aliases.processes.pin();
        let process = processes.get(&OWNER).unwrap();
        assert!(process.state.lock().order.len() <= 4);
    }
}
