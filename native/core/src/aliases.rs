//! Which references are priority aliases, and whose.
//!
//! An alias names its process, so all that is known of a process's aliases is kept with the process, and
//! goes with it in one step, however many they are.

use crate::fates::Fates;
use crate::map::{self, Map};
use crate::roster::Roster;
use crate::sync::{AtomicU64, Mutex, Ordering};
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

/// These are the priority aliases of all processes. `W` is the host's handle of a death watch, and `T` the form in
/// which the host has an alias at hand: kept of each process's newest, as long as that is the one entered last.
///
/// ```
/// use erlmcp_core::OwnerId;
/// use erlmcp_core::aliases::{AliasId, Aliases};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (process, alias) = (OwnerId(7), AliasId([1, 0, 0, 7, 0]));
/// let aliases = Aliases::new();
/// aliases.insert(process, alias, (5, "as the host has it"), &Still);
/// assert!(aliases.contains(process, alias));
/// let newest = aliases.newest(process, |id, form| (id, form.copied()));
/// assert_eq!(newest, Some((alias, Some("as the host has it"))));
/// let found = aliases.find(5, |form| *form == "as the host has it").expect("it is the newest");
/// assert_eq!((found.owner, found.alias), (process, alias));
/// aliases.died(process);
/// assert_eq!(aliases.newest(process, |id, _| id), None);
/// ```
pub struct Aliases<W, T> {
    processes: Map<OwnerId, Process<W, T>>,
    /// Whose process has at hand what has this hash. Of several, one.
    owners: Map<u64, OwnerId>,
    /// How many times an alias, or all of a process, was taken out.
    removals: AtomicU64,
    /// What was not sent to aliases of other nodes.
    fates: Fates,
}

/// A mark says that an alias was there, for whoever remembers that. As long as [`Aliases::unchanged`] says so, it is.
///
/// ```
/// use erlmcp_core::OwnerId;
/// use erlmcp_core::aliases::{AliasId, Aliases};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (process, alias) = (OwnerId(7), AliasId([1, 0, 0, 7, 0]));
/// let aliases = Aliases::new();
/// aliases.insert(process, alias, (0, ()), &Still);
/// let mark = aliases.mark(process, alias).expect("it was just entered");
/// assert!(aliases.unchanged(mark));
/// aliases.delete(process, alias, &Still);
/// assert!(!aliases.unchanged(mark));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

/// This is what a process has left that has no aliases any more, or is dead: nobody finds it, but it has to be freed.
///
/// ```
/// use erlmcp_core::OwnerId;
/// use erlmcp_core::aliases::{AliasId, Aliases};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let process = OwnerId(7);
/// let aliases = Aliases::new();
/// (0..100_000).for_each(|number| aliases.insert(process, AliasId([number, 0, 0, 7, 0]), (0, ()), &Still));
/// let remains = aliases.died(process);
/// assert!(remains.take_long());
/// std::thread::spawn(move || drop(remains));
/// ```
pub struct Remains(Option<Roster<AliasId>>);

/// So many aliases are freed in a fraction of a millisecond.
const SOON_FREED: usize = 16_384;

impl Remains {
    /// Tells whether to free them takes long.
    pub fn take_long(&self) -> bool {
        self.0.as_ref().is_some_and(|live| live.room() > SOON_FREED)
    }
}

struct Process<W, T> {
    state: Mutex<State<W, T>>,
}

struct State<W, T> {
    live: Roster<AliasId>,
    /// The one that was entered last, if it is there still.
    at_hand: Option<AtHand<T>>,
    ended: bool,
    watch: Option<W>,
}

struct AtHand<T> {
    alias: AliasId,
    hash: u64,
    form: T,
}

/// An alias that was found by its hash. [`Aliases`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// It is an alias of this process.
    pub owner: OwnerId,
    /// It is this one.
    pub alias: AliasId,
    /// It is there, and as long as this says so it still is.
    pub mark: Mark,
}

impl<W: Send + Sync + 'static, T: Clone + Send + Sync + 'static> Aliases<W, T> {
    /// Makes a registry that knows none.
    pub fn new() -> Self {
        Self {
            processes: map::new(),
            owners: map::new(),
            removals: AtomicU64::new(0),
            fates: Fates::default(),
        }
    }

    /// Enters an alias of a process, with a hash and the form in which it is to be at hand; for a dead process nothing
    /// happens.
    pub fn insert(
        &self,
        owner: OwnerId,
        alias: AliasId,
        (hash, form): (u64, T),
        host: &impl Host<Watch = W>,
    ) {
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
                    Err(Dead) => {
                        map::remove_this(&self.processes, &owner, new);
                        return;
                    }
                    Ok(watch) => {
                        new.state.lock().watch = watch;
                        new
                    }
                },
            };
            if self.enter(owner, process, alias, hash, &form) {
                return;
            }
            map::remove_this(&self.processes, &owner, process);
        }
    }

    /// Gives an alias up. Returns what is left to be freed, or nothing if it was not known.
    pub fn delete(
        &self,
        owner: OwnerId,
        alias: AliasId,
        host: &impl Host<Watch = W>,
    ) -> Option<Remains> {
        let processes = self.processes.pin();
        let process = processes.get(&owner)?;
        let mut state = process.state.lock();
        let known = state.live.remove(&alias);
        if known {
            self.count_removal();
        }
        let at_hand = state.at_hand.take_if(|at_hand| at_hand.alias == alias);
        self.put_away(owner, at_hand);
        if !state.live.is_empty() {
            return known.then_some(Remains(None));
        }
        let remains = state.end();
        let watch = state.watch.take();
        drop(state);
        map::remove_this(&self.processes, &owner, process);
        watch.into_iter().for_each(|watch| host.unwatch(watch));
        known.then_some(remains)
    }

    /// Tells whether this is an alias of that process that was entered and not given up.
    pub fn contains(&self, owner: OwnerId, alias: AliasId) -> bool {
        let processes = self.processes.pin();
        processes
            .get(&owner)
            .is_some_and(|process| process.state.lock().live.contains(&alias))
    }

    /// Marks that this is an alias of that process that was entered and not given up, if it is.
    pub fn mark(&self, owner: OwnerId, alias: AliasId) -> Option<Mark> {
        // Before the look, so that whatever is taken out after it changes the number. Pairs with `count_removal`.
        let mark = Mark(self.removals.load(Ordering::Acquire));
        self.contains(owner, alias).then_some(mark)
    }

    /// Tells whether what was marked is there still. If not, nothing is said: another alias may have gone.
    pub fn unchanged(&self, mark: Mark) -> bool {
        // Pairs with `count_removal`.
        self.removals.load(Ordering::Acquire) == mark.0
    }

    /// To be called after something was taken out, before anybody is told.
    fn count_removal(&self) {
        // Pairs with `mark` and `unchanged`: who knows of the removal finds another number than before.
        self.removals.fetch_add(1, Ordering::Release);
    }

    /// Looks at the newest alias of a process, and at its form if that is at hand; for a process without any nothing
    /// happens.
    pub fn newest<R>(
        &self,
        owner: OwnerId,
        look: impl FnOnce(AliasId, Option<&T>) -> R,
    ) -> Option<R> {
        let processes = self.processes.pin();
        let process = processes.get(&owner)?;
        let state = process.state.lock();
        let newest = state.live.newest()?;
        let at_hand = state.at_hand.as_ref();
        let form = at_hand.filter(|at_hand| at_hand.alias == newest);
        Some(look(newest, form.map(|at_hand| &at_hand.form)))
    }

    /// Finds the newest alias of a process by its hash, if it is at hand and `is_it` says so. Nothing is said of one
    /// that is not found.
    pub fn find(&self, hash: u64, is_it: impl FnOnce(&T) -> bool) -> Option<Found> {
        // As in `mark`.
        let mark = Mark(self.removals.load(Ordering::Acquire));
        let owner = *self.owners.pin().get(&hash)?;
        let processes = self.processes.pin();
        let state = processes.get(&owner)?.state.lock();
        let at_hand = state.at_hand.as_ref()?;
        (at_hand.hash == hash && is_it(&at_hand.form)).then_some(Found {
            owner,
            alias: at_hand.alias,
            mark,
        })
    }

    /// False if this record has ended.
    fn enter(
        &self,
        owner: OwnerId,
        process: &Process<W, T>,
        alias: AliasId,
        hash: u64,
        form: &T,
    ) -> bool {
        let mut state = process.state.lock();
        if state.ended {
            return false;
        }
        state.live.insert(alias);
        if state.live.newest() == Some(alias) {
            let form = form.clone();
            let before = state.at_hand.replace(AtHand { alias, hash, form });
            self.put_away(owner, before);
            // Under the lock, as is whatever takes it out again.
            self.owners.pin().insert(hash, owner);
        }
        true
    }

    /// What is at hand no more is not found by its hash either.
    fn put_away(&self, owner: OwnerId, at_hand: Option<AtHand<T>>) {
        if let Some(AtHand { hash, .. }) = at_hand {
            let _ = self
                .owners
                .pin()
                .remove_if(&hash, |_, other| *other == owner);
        }
    }

    /// Forgets the aliases of a process, since it is dead. Returns what is left to be freed.
    pub fn died(&self, owner: OwnerId) -> Remains {
        let processes = self.processes.pin();
        processes.remove(&owner).map_or(Remains(None), |process| {
            let mut state = process.state.lock();
            self.put_away(owner, state.at_hand.take());
            self.count_removal();
            state.end()
        })
    }

    /// Gives the numbers of messages to aliases of other nodes.
    pub fn fates(&self) -> &Fates {
        &self.fates
    }

    /// Tells how many processes have aliases; an estimate while some come and go.
    pub fn processes(&self) -> usize {
        self.processes.len()
    }
}

impl<W: Send + Sync + 'static, T: Clone + Send + Sync + 'static> Default for Aliases<W, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W, T> Process<W, T> {
    fn new() -> Self {
        Self {
            state: Mutex::new(State {
                live: Roster::new(),
                at_hand: None,
                ended: false,
                watch: None,
            }),
        }
    }
}

impl<W, T> State<W, T> {
    /// Nothing is entered here any more.
    fn end(&mut self) -> Remains {
        self.ended = true;
        Remains(Some(std::mem::replace(&mut self.live, Roster::new())))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::vocabulary::immortals::Immortals;

    const OWNER: OwnerId = OwnerId(7);

    fn alias(number: u32) -> AliasId {
        AliasId([number, 0, 0, 7, 0])
    }

    fn newest(aliases: &Aliases<(), u32>) -> Option<(AliasId, Option<u32>)> {
        aliases.newest(OWNER, |id, form| (id, form.copied()))
    }

    #[test]
    fn the_newest_of_those_left_counts() {
        let aliases = Aliases::new();
        for number in 1..=3 {
            aliases.insert(
                OWNER,
                alias(number),
                (u64::from(number), number),
                &Immortals,
            );
        }
        assert_eq!(newest(&aliases), Some((alias(3), Some(3))));
        assert!(aliases.delete(OWNER, alias(2), &Immortals).is_some());
        assert_eq!(newest(&aliases), Some((alias(3), Some(3))));
        assert!(aliases.delete(OWNER, alias(3), &Immortals).is_some());
        assert!(aliases.delete(OWNER, alias(3), &Immortals).is_none());
        assert_eq!(newest(&aliases), Some((alias(1), None)));
        // Made known once more, it stays where it was, and is at hand again.
        aliases.insert(OWNER, alias(1), (4, 4), &Immortals);
        assert_eq!(newest(&aliases), Some((alias(1), Some(4))));
        assert!(!aliases.contains(OWNER, alias(3)));
        assert!(aliases.delete(OWNER, alias(1), &Immortals).is_some());
        assert_eq!((newest(&aliases), aliases.processes()), (None, 0));
    }

    #[test]
    fn a_mark_holds_until_something_is_taken_out() {
        let aliases = Aliases::new();
        assert_eq!(aliases.mark(OWNER, alias(1)), None);
        aliases.insert(OWNER, alias(1), (1, 1), &Immortals);
        let mark = aliases.mark(OWNER, alias(1)).unwrap();
        aliases.insert(OWNER, alias(2), (2, 2), &Immortals);
        aliases.delete(OWNER, alias(3), &Immortals);
        assert!(aliases.unchanged(mark));
        aliases.delete(OWNER, alias(2), &Immortals);
        assert!(!aliases.unchanged(mark));
        let mark = aliases.mark(OWNER, alias(1)).unwrap();
        assert!(aliases.unchanged(mark));
        aliases.died(OWNER);
        assert!(!aliases.unchanged(mark));
        assert_eq!(aliases.mark(OWNER, alias(1)), None);
    }

    #[test]
    fn what_is_at_hand_is_found_by_its_hash() {
        let aliases = Aliases::new();
        let other = OwnerId(8);
        let found = |hash, form| {
            let found = aliases.find(hash, |at_hand| *at_hand == form);
            found.map(|found| (found.owner, found.alias, aliases.unchanged(found.mark)))
        };
        aliases.insert(OWNER, alias(1), (5, "first"), &Immortals);
        assert_eq!(found(5, "first"), Some((OWNER, alias(1), true)));
        assert_eq!(found(5, "second"), None);
        aliases.insert(OWNER, alias(2), (6, "second"), &Immortals);
        assert_eq!(found(5, "first"), None);
        // One of the same hash comes before it, and goes.
        aliases.insert(other, alias(3), (6, "third"), &Immortals);
        assert_eq!(found(6, "third"), Some((other, alias(3), true)));
        assert_eq!(found(6, "second"), None);
        aliases.delete(OWNER, alias(2), &Immortals);
        assert_eq!(found(6, "third"), Some((other, alias(3), true)));
        aliases.died(other);
        assert_eq!(found(6, "third"), None);
        assert_eq!(aliases.owners.len(), 0);
    }

    #[test]
    fn death_takes_them_all() {
        let aliases = Aliases::new();
        aliases.insert(OWNER, alias(1), (1, 1), &Immortals);
        aliases.insert(OWNER, alias(2), (2, 2), &Immortals);
        aliases.died(OWNER);
        assert!(!aliases.contains(OWNER, alias(1)));
        assert_eq!(aliases.processes(), 0);
    }
}
