//! Components of the control plane: where their messages go, what waits for them, how long it takes.

use crate::failures::{Failure, Failures};
use crate::fates::{Fate, Fates};
use crate::lanes::ByType;
pub use crate::lanes::{ControlType, Outcome};
use crate::latency::{Distribution, LONGEST_US, Latency, Summary};
use crate::map::{self, Map};
use crate::setting::Setting;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};
use crate::waiting::Waiting;
pub use crate::waiting::{Crowded, MAX_QUEUED, Place};

/// A health check that takes longer than so many microseconds breaks the service level objective.
pub const HEALTH_CHECK_SLO_US: u64 = 100_000;

/// There are so many components at most. In a model it is few.
pub const MAX_COMPONENTS: usize = if cfg!(loom) { 2 } else { 1024 };

/// There are [`MAX_COMPONENTS`], and this would be one more.
///
/// ```
/// use erlmcp_core::control::{ComponentId, Components, MAX_COMPONENTS, TooManyComponents};
///
/// let components = Components::new();
/// let put = |id| components.put(ComponentId(id), "where its messages go", |_| false);
/// assert!((0..MAX_COMPONENTS as u64).all(|id| put(id).is_ok()));
/// assert_eq!(put(u64::MAX), Err(TooManyComponents));
/// assert_eq!(put(0), Ok(()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyComponents;

/// A component is somebody who gets control messages; this is the number by which the host knows it.
///
/// ```
/// use erlmcp_core::control::ComponentId;
///
/// assert_ne!(ComponentId(1), ComponentId(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ComponentId(pub u64);

/// This is one component. `R` is the host's: where its messages go. [`Components`] has an example.
#[derive(Debug)]
pub struct Component<R> {
    /// Its messages go there.
    pub route: R,
    waiting: Arc<Waiting>,
    record: Arc<Record>,
}

#[derive(Debug)]
struct Record {
    delivered: ByType,
    latency: Latency,
    failures: Failures,
}

/// These are one component's numbers. All are exact, but for percentiles of two significant digits. [`Components`]
/// has an example.
#[derive(Clone, Copy, Debug)]
pub struct ComponentStats {
    /// The numbers are of this component.
    pub id: ComponentId,
    /// The handlers of so many messages were started, by type; see [`delivered`](Self::delivered) for all of them.
    pub by_type: [u64; 4],
    /// So many messages wait for its handler, by type. What waits in an alias's process is not counted here.
    pub queued: [u64; 4],
    /// So long senders waited.
    pub latency: (Summary, Distribution),
}

/// These are numbers over all components, those included that are gone. All are exact, but for percentiles of three
/// significant digits. [`Components`] has an example.
#[derive(Clone, Copy, Debug)]
pub struct ControlStats {
    /// The handlers of so many messages were started, by type; see [`delivered`](Self::delivered) for all of them.
    pub by_type: [u64; 4],
    /// So long senders waited.
    pub latency: (Summary, Distribution),
    /// So many of their waits have ended, by type.
    pub waits: [u64; 4],
    /// These are the sums of the waits in microseconds, by type; one above a minute counts as a minute.
    pub waits_us: [u64; 4],
    /// So long it took from the sending to the start of the handler.
    pub delivery: (Summary, Distribution),
    /// So many health checks took longer than [`HEALTH_CHECK_SLO_US`], or were never answered.
    pub slo_violations: u64,
    /// So many senders gave up.
    pub timeouts: u64,
    /// So many handlers raised or died.
    pub handler_crashes: u64,
}

impl ComponentStats {
    /// Tells of how many messages the handler was started.
    pub fn delivered(&self) -> u64 {
        all(self.by_type)
    }
}

impl ControlStats {
    /// Tells of how many messages the handler was started.
    pub fn delivered(&self) -> u64 {
        all(self.by_type)
    }
}

fn all(by_type: [u64; 4]) -> u64 {
    by_type.into_iter().fold(0, u64::saturating_add)
}

/// These are all components, and what they count.
///
/// ```
/// use erlmcp_core::control::{ComponentId, Components, ControlType, Outcome};
///
/// let (id, kind) = (ComponentId(1), ControlType::HealthCheck);
/// let components = Components::new();
/// components.put(id, "where its messages go", |_| false)?;
/// // A sender sends, the handler starts 40 µs later, and the sender has its answer after 90.
/// let place = components.with(id, |component| component.take_place(kind)).flatten();
/// assert_eq!(components.component_stats()[0].queued, [0, 1, 0, 0]);
/// components.with(id, |component| components.started(component, kind, 40));
/// drop(place);
/// assert_eq!(components.component_stats()[0].queued, [0; 4]);
/// components.ended(id, kind, 90, Outcome::Answered);
/// let stats = components.stats();
/// assert_eq!((stats.delivered(), stats.slo_violations), (1, 0));
/// assert_eq!((stats.latency.0.max_us, stats.delivery.0.max_us), (90, 40));
/// # Ok::<(), erlmcp_core::control::TooManyComponents>(())
/// ```
#[derive(Debug)]
pub struct Components<R> {
    /// Whether somebody speaks for them.
    open: AtomicBool,
    components: Map<ComponentId, Component<R>>,
    /// Held while one is put: one at a time, so that there are never too many.
    putting: Mutex<()>,
    priority: Setting<bool>,
    delivered: ByType,
    latency: Latency,
    waits: ByType,
    waits_us: ByType,
    delivery: Latency,
    slo_violations: AtomicU64,
    timeouts: AtomicU64,
    handler_crashes: AtomicU64,
    fates: Fates,
}

impl<R: Send + Sync + 'static> Components<R> {
    /// Begins without any, with the priority lane in use.
    pub fn new() -> Self {
        Self {
            open: AtomicBool::new(false),
            components: map::new(),
            putting: Mutex::new(()),
            priority: Setting::new(true),
            delivered: ByType::default(),
            latency: Latency::sharded(),
            waits: ByType::default(),
            waits_us: ByType::default(),
            delivery: Latency::sharded(),
            slo_violations: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            handler_crashes: AtomicU64::new(0),
            fates: Fates::default(),
        }
    }

    /// Tells whether the plane is open. All of this works on one that is closed as well, and may, for whoever was under
    /// way when it was closed.
    pub fn is_open(&self) -> bool {
        // Pairs with `open`: who finds it open finds it configured.
        self.open.load(Ordering::Acquire)
    }

    /// Opens the plane, with the priority lane as configured. What was registered, counted and set since it was opened
    /// stays; one that was closed is as new.
    pub fn open(&self, priority: bool) {
        if !self.is_open() {
            // What a call counted that was under way when the plane was closed.
            self.clear();
        }
        self.configure(priority);
        // Pairs with `is_open`.
        self.open.store(true, Ordering::Release);
    }

    /// Closes the plane, and forgets everything.
    pub fn close(&self) {
        self.open.store(false, Ordering::Relaxed);
        self.clear();
    }

    /// Registers a component, or replaces its route; its numbers stay. What waits stays counted if
    /// `same_process` says that it goes to the process that had it before.
    pub fn put(
        &self,
        id: ComponentId,
        route: R,
        same_process: impl Fn(&R) -> bool,
    ) -> Result<(), TooManyComponents> {
        let _one_at_a_time = self.putting.lock();
        let components = self.components.pin();
        let known = components.get(&id);
        if known.is_none() && components.len() >= MAX_COMPONENTS {
            return Err(TooManyComponents);
        }
        let waiting = known
            .filter(|known| same_process(&known.route))
            .map_or_else(Arc::default, |known| Arc::clone(&known.waiting));
        let record = known.map_or_else(
            || {
                Arc::new(Record {
                    delivered: ByType::default(),
                    latency: Latency::single(),
                    failures: Failures::default(),
                })
            },
            |known| Arc::clone(&known.record),
        );
        components.insert(
            id,
            Component {
                route,
                waiting,
                record,
            },
        );
        Ok(())
    }

    /// Unregisters a component. Returns whether it was there.
    pub fn remove(&self, id: ComponentId) -> bool {
        self.components.pin().remove(&id).is_some()
    }

    /// Runs `operation` on a component, if it is there.
    pub fn with<T>(
        &self,
        id: ComponentId,
        operation: impl FnOnce(&Component<R>) -> T,
    ) -> Option<T> {
        self.components.pin().get(&id).map(operation)
    }

    /// Runs `operation` on every component.
    pub fn for_each(&self, mut operation: impl FnMut(ComponentId, &Component<R>)) {
        for (id, component) in self.components.pin().iter() {
            operation(*id, component);
        }
    }

    /// Counts a message whose handler starts now, so many microseconds after the sending.
    pub fn started(&self, component: &Component<R>, kind: ControlType, delivery_us: u64) {
        self.count(component, kind);
        self.delivery.record(delivery_us);
    }

    /// Counts a message to an alias as delivered whose start nobody could see: it was answered. The component may be
    /// gone.
    pub fn delivered(&self, id: ComponentId, kind: ControlType, number: u64) {
        self.with(id, |component| {
            component.waiting.answered(kind, number);
            self.count(component, kind);
        });
    }

    fn count(&self, component: &Component<R>, kind: ControlType) {
        self.delivered.of(kind).fetch_add(1, Ordering::Relaxed);
        component
            .record
            .delivered
            .of(kind)
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a sender's wait, which has ended after so many microseconds. The component may be gone.
    pub fn ended(&self, id: ComponentId, kind: ControlType, latency_us: u64, outcome: Outcome) {
        self.with(id, |component| component.record.latency.record(latency_us));
        self.waited(kind, latency_us, outcome);
    }

    /// Counts what became of a message to another node, with the microseconds of its sender's wait, if it waited.
    pub fn ended_far(&self, kind: ControlType, latency_us: u64, fate: Fate) {
        self.fates.count(fate);
        match fate {
            Fate::Waited(outcome) => self.waited(kind, latency_us, outcome),
            Fate::Busy | Fate::NodeDown | Fate::NotSupported
                if kind == ControlType::HealthCheck =>
            {
                self.slo_violations.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn waited(&self, kind: ControlType, latency_us: u64, outcome: Outcome) {
        self.latency.record(latency_us);
        let waited_us = latency_us.min(LONGEST_US);
        self.waits_us
            .of(kind)
            .fetch_add(waited_us, Ordering::Relaxed);
        self.waits.of(kind).fetch_add(1, Ordering::Relaxed);
        if outcome == Outcome::TimedOut {
            self.timeouts.fetch_add(1, Ordering::Relaxed);
        }
        let late = outcome != Outcome::Answered || latency_us > HEALTH_CHECK_SLO_US;
        if kind == ControlType::HealthCheck && late {
            self.slo_violations.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives the numbers of messages to other nodes.
    pub fn fates(&self) -> &Fates {
        &self.fates
    }

    /// Counts a handler that raised or died. The component may be gone.
    pub fn crashed(&self, id: ComponentId) {
        self.handler_crashes.fetch_add(1, Ordering::Relaxed);
        self.with(id, |component| component.record.failures.count());
    }

    /// Keeps of what a component's handler failed that was counted. The component may be gone.
    pub fn failed(&self, id: ComponentId, failure: Failure) {
        self.with(id, |component| component.record.failures.keep(failure));
    }

    /// Tells how often a component's handler raised or died, and of what the last few times, the newest first.
    pub fn failures(&self, id: ComponentId) -> Option<(u64, Vec<Failure>)> {
        self.with(id, |component| component.record.failures.read())
    }

    /// Tells whether messages use the priority lane.
    pub fn priority(&self) -> bool {
        self.priority.get()
    }

    /// Switches the priority lane by hand.
    pub fn set_priority(&self, priority: bool) {
        self.priority.set(priority);
    }

    /// Switches the priority lane as configured, unless it was switched by hand.
    pub fn configure(&self, priority: bool) {
        self.priority.configure(priority);
    }

    /// Gives the numbers over all components.
    pub fn stats(&self) -> ControlStats {
        ControlStats {
            by_type: self.delivered.read(),
            latency: self.latency.distribution(),
            waits: self.waits.read(),
            waits_us: self.waits_us.read(),
            delivery: self.delivery.distribution(),
            slo_violations: self.slo_violations.load(Ordering::Relaxed),
            timeouts: self.timeouts.load(Ordering::Relaxed),
            handler_crashes: self.handler_crashes.load(Ordering::Relaxed),
        }
    }

    /// Gives how long senders waited, of all components; what [`stats`](Self::stats) has of it.
    pub fn latency(&self) -> Distribution {
        self.latency.distribution().1
    }

    /// Gives the numbers of each component, in no order.
    pub fn component_stats(&self) -> Vec<ComponentStats> {
        let components = self.components.pin();
        let row = |(id, component): (&ComponentId, &Component<R>)| ComponentStats {
            id: *id,
            by_type: component.record.delivered.read(),
            queued: component.waiting.taken(),
            latency: component.record.latency.distribution(),
        };
        components.iter().map(row).collect()
    }

    /// Estimates how many bytes the components and their numbers take.
    pub fn memory(&self) -> usize {
        let components = self.components.pin();
        let one = |component: &Component<R>| {
            let fixed = size_of::<Component<R>>()
                .saturating_add(size_of::<Record>())
                .saturating_add(size_of::<Waiting>());
            let kept = component.record.failures.memory();
            let measured = component.record.latency.memory();
            measured.saturating_add(kept).saturating_add(fixed)
        };
        components
            .values()
            .map(one)
            .chain([self.latency.memory(), self.delivery.memory()])
            .fold(0, usize::saturating_add)
    }

    /// Zeroes what is counted and measured; components and what waits stay.
    pub fn reset_stats(&self) {
        self.delivered.reset();
        self.latency.reset();
        self.waits.reset();
        self.waits_us.reset();
        self.delivery.reset();
        for counter in [&self.slo_violations, &self.timeouts, &self.handler_crashes] {
            counter.store(0, Ordering::Relaxed);
        }
        self.fates.reset();
        for component in self.components.pin().values() {
            component.record.delivered.reset();
            component.record.latency.reset();
            component.record.failures.reset();
        }
    }

    /// Forgets everything, what was set by hand too.
    pub fn clear(&self) {
        self.components.pin().clear();
        self.reset_stats();
        self.priority.reset(true);
    }
}

impl<R: Send + Sync + 'static> Default for Components<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> Component<R> {
    /// Takes a place for a message to the handler, unless [`MAX_QUEUED`] of its type wait there.
    pub fn take_place(&self, kind: ControlType) -> Option<Place> {
        Waiting::take_place(&self.waiting, kind)
    }

    /// Counts a message to an alias, and numbers it, unless [`MAX_QUEUED`] of its type may wait there.
    pub fn send(&self, kind: ControlType) -> Result<u64, Crowded> {
        self.waiting.send(kind)
    }

    /// Takes into account that an alias's process had so many messages of all sorts when the alias had been sent as
    /// many as `Crowded` says. Returns whether there is room for another.
    pub fn at_most(&self, kind: ControlType, Crowded(sent): Crowded, length: u64) -> bool {
        self.waiting.at_most(kind, sent, length)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const ID: ComponentId = ComponentId(3);
    const HEALTH: ControlType = ControlType::HealthCheck;

    fn queued(components: &Components<u32>) -> [u64; 4] {
        components.component_stats().first().unwrap().queued
    }

    #[test]
    fn a_slow_or_unanswered_health_check_breaks_the_slo_and_nothing_else_does() {
        let components = Components::<u32>::new();
        components.ended(ID, HEALTH, 100_000, Outcome::Answered);
        assert_eq!(components.stats().slo_violations, 0);
        components.ended(ID, HEALTH, 100_001, Outcome::Answered);
        components.ended(ID, HEALTH, 50, Outcome::TimedOut);
        components.ended(ID, HEALTH, 50, Outcome::Died);
        components.ended(ID, ControlType::CancelTask, 900_000, Outcome::TimedOut);
        let stats = components.stats();
        assert_eq!((stats.slo_violations, stats.timeouts), (3, 2));
        assert_eq!(stats.latency.0.count, 5);
    }

    #[test]
    fn what_does_not_come_to_another_node_breaks_the_slo_and_is_no_wait() {
        let components = Components::<u32>::new();
        components.ended_far(HEALTH, 7, Fate::Waited(Outcome::Answered));
        components.ended_far(HEALTH, 0, Fate::Busy);
        components.ended_far(HEALTH, 0, Fate::Sent);
        components.ended_far(ControlType::CancelTask, 0, Fate::NodeDown);
        let stats = components.stats();
        assert_eq!((stats.slo_violations, stats.latency.0.count), (1, 1));
        assert_eq!((stats.waits, stats.waits_us), ([0, 1, 0, 0], [0, 7, 0, 0]));
        let fates = components.fates();
        assert_eq!(Fate::ALL.map(|fate| fates.of(fate)), [1, 1, 0, 0, 1, 1, 0]);
        components.reset_stats();
        assert_eq!(components.fates().of(Fate::Busy), 0);
    }

    #[test]
    fn waits_are_summed_by_type() {
        let components = Components::<u32>::new();
        components.ended(ID, HEALTH, 3, Outcome::Answered);
        components.ended(ID, HEALTH, 4, Outcome::TimedOut);
        components.ended(ID, ControlType::CancelTask, u64::MAX, Outcome::Died);
        let stats = components.stats();
        assert_eq!(stats.waits, [0, 2, 0, 1]);
        assert_eq!(stats.waits_us, [0, 7, 0, LONGEST_US]);
        components.reset_stats();
        let stats = components.stats();
        assert_eq!((stats.waits, stats.waits_us), ([0; 4], [0; 4]));
    }

    #[test]
    fn what_waits_stays_with_the_process_and_the_numbers_with_the_component() {
        let components = Components::new();
        components.put(ID, 1, |_| false).unwrap();
        let place = components.with(ID, |component| {
            let [run, waits] = [(); 2].map(|()| component.take_place(HEALTH).unwrap());
            run.give_back();
            components.started(component, run.kind(), 9);
            waits
        });
        components.put(ID, 1, |&old| old == 1).unwrap();
        assert_eq!(queued(&components), [0, 1, 0, 0]);
        components.put(ID, 2, |&old| old == 2).unwrap();
        assert_eq!(queued(&components), [0; 4]);
        drop(place);
        assert_eq!(queued(&components), [0; 4]);
        let stats = components.component_stats();
        assert_eq!(stats.first().unwrap().by_type, [0, 1, 0, 0]);
        assert_eq!(components.stats().by_type, [0, 1, 0, 0]);
        assert_eq!(components.stats().delivered(), 1);
        assert!(components.remove(ID));
        assert!(!components.remove(ID));
    }

    #[test]
    fn there_is_an_end_to_components_but_those_there_are_can_be_replaced() {
        let components = Components::new();
        for id in 0..MAX_COMPONENTS as u64 {
            components.put(ComponentId(id), 1, |_| false).unwrap();
        }
        let more = ComponentId(MAX_COMPONENTS as u64);
        assert_eq!(components.put(more, 1, |_| false), Err(TooManyComponents));
        assert_eq!(components.put(ComponentId(0), 2, |_| false), Ok(()));
        assert!(components.remove(ComponentId(0)));
        assert_eq!(components.put(more, 1, |_| false), Ok(()));
    }

    #[test]
    fn what_was_switched_by_hand_is_not_configured_until_all_is_cleared() {
        let components = Components::<u32>::new();
        components.configure(false);
        assert!(!components.priority());
        components.set_priority(true);
        components.configure(false);
        assert!(components.priority());
        components.clear();
        components.configure(false);
        assert!(!components.priority());
    }
}
