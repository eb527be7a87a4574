//! Alerts against a slow, obvious model: any sequence of operations raises and clears the same ones.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

mod common;

use std::collections::BTreeMap;

use common::{FIRST_PROCESS, TestHost, Watch};
use erlmcp_core::alerts::News;
use erlmcp_core::judge::Rules;
use erlmcp_core::limits::Limits;
use erlmcp_core::overload::{Level, Margin, level_after};
use erlmcp_core::{OwnerId, RoleId, Runtime, UNLIMITED};
use proptest::prelude::*;

const DEFAULT_ROLE: RoleId = RoleId(0);
const MARGIN: Margin = Margin::new(100_000).unwrap();
const REALERT_MS: u64 = 1_000;
const HISTORY: usize = 20;

#[derive(Clone, Debug)]
enum Operation {
    Enqueue(RoleId, OwnerId),
    TryEnqueue(RoleId, OwnerId),
    Dequeue(RoleId, OwnerId),
    Forget(RoleId, OwnerId),
    Die(OwnerId),
    SetLimit(RoleId, u64),
    Check,
    Wait(u64),
    ForgetLevels,
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation as Op;
    let role = || (0..2_u64).prop_map(RoleId);
    let owner = || prop_oneof![Just(1_u64), FIRST_PROCESS..FIRST_PROCESS + 3].prop_map(OwnerId);
    prop_oneof![
        12 => (role(), owner()).prop_map(|(r, o)| Op::Enqueue(r, o)),
        6 => (role(), owner()).prop_map(|(r, o)| Op::TryEnqueue(r, o)),
        10 => (role(), owner()).prop_map(|(r, o)| Op::Dequeue(r, o)),
        1 => (role(), owner()).prop_map(|(r, o)| Op::Forget(r, o)),
        1 => owner().prop_map(Op::Die),
        1 => (role(), prop_oneof![12 => 0..12_u64, 1 => Just(UNLIMITED)])
            .prop_map(|(r, l)| Op::SetLimit(r, l)),
        2 => Just(Op::Check),
        2 => (0..1_500_u64).prop_map(Op::Wait),
        1 => Just(Op::ForgetLevels),
    ]
}

#[derive(Clone, Copy, Default)]
struct Held {
    depth: u64,
    level: Level,
    /// Thresholds are those of the limit when it was last judged or opened.
    limit: u64,
    alerted_ms: u64,
}

/// What is raised or cleared: the level, for whom, at which depth.
type Event = (bool, Level, u64, u64, u64);

#[derive(Default)]
struct Model {
    limits: BTreeMap<u64, u64>,
    owners: BTreeMap<(u64, u64), Held>,
    dead: Vec<u64>,
    events: Vec<Event>,
    now_ms: u64,
}

impl Model {
    fn limit(&self, role: u64) -> u64 {
        self.limits.get(&role).copied().unwrap_or(5)
    }

    fn change(&mut self, role: u64, owner: u64, change: impl Fn(u64) -> u64) {
        if self.dead.contains(&owner) {
            return;
        }
        let limit = self.limit(role);
        let fresh = Held {
            limit,
            ..Held::default()
        };
        let held = self.owners.entry((role, owner)).or_insert(fresh);
        held.depth = change(held.depth);
        // A changed limit is noticed when something is judged by it: when the old one says so.
        if level_after(held.depth, held.limit, held.level, MARGIN) != held.level {
            self.judge(role, owner);
        }
    }

    fn judge(&mut self, role: u64, owner: u64) {
        let limit = self.limit(role);
        let now_ms = self.now_ms;
        let held = self.owners.get_mut(&(role, owner)).unwrap();
        held.limit = limit;
        loop {
            let level = level_after(held.depth, limit, held.level, MARGIN);
            if level == held.level {
                return;
            }
            if level > held.level {
                held.alerted_ms = now_ms;
                self.events.push((true, level, role, owner, held.depth));
            } else {
                leave(
                    &mut self.events,
                    held.level,
                    level,
                    (role, owner, held.depth),
                );
            }
            held.level = level;
        }
    }

    fn check(&mut self) {
        let keys: Vec<_> = self.owners.keys().copied().collect();
        for (role, owner) in keys {
            self.judge(role, owner);
            let held = self.owners.get_mut(&(role, owner)).unwrap();
            if held.level != Level::Ok && self.now_ms - held.alerted_ms >= REALERT_MS {
                held.alerted_ms = self.now_ms;
                self.events
                    .push((true, held.level, role, owner, held.depth));
            }
        }
    }

    fn forget(&mut self, role: u64, owner: u64) {
        if let Some(held) = self.owners.remove(&(role, owner)) {
            leave(&mut self.events, held.level, Level::Ok, (role, owner, 0));
        }
    }
}

fn leave(events: &mut Vec<Event>, from: Level, to: Level, (role, owner, depth): (u64, u64, u64)) {
    for level in Level::ALL.into_iter().rev() {
        if level <= from && level > to {
            events.push((false, level, role, owner, depth));
        }
    }
}

fn apply(operation: &Operation, table: &Limits<Watch>, model: &mut Model, host: &TestHost) {
    match *operation {
        Operation::Enqueue(role, owner) => {
            table.enqueue(role, owner, host).unwrap();
            model.change(role.0, owner.0, |depth| depth + 1);
        }
        Operation::TryEnqueue(role, owner) => {
            table.try_enqueue(role, owner, host).unwrap();
            let depth = model
                .owners
                .get(&(role.0, owner.0))
                .map_or(0, |held| held.depth);
            if depth < model.limit(role.0) {
                model.change(role.0, owner.0, |depth| depth + 1);
            } else if model.owners.contains_key(&(role.0, owner.0)) {
                // A refusal does not change the depth, but it is judged.
                model.change(role.0, owner.0, |depth| depth);
            }
        }
        Operation::Dequeue(role, owner) => {
            table.dequeue(role, owner, host).unwrap();
            if model.owners.contains_key(&(role.0, owner.0)) {
                model.change(role.0, owner.0, |depth| depth.saturating_sub(1));
            }
        }
        Operation::Forget(role, owner) => {
            table.forget(role, owner, host);
            model.forget(role.0, owner.0);
        }
        Operation::Die(owner) => {
            if owner.0 >= FIRST_PROCESS {
                host.kill(owner);
                table.died(owner, host);
                (0..2).for_each(|role| model.forget(role, owner.0));
                model.dead.push(owner.0);
            }
        }
        Operation::SetLimit(role, limit) => {
            table.roles().set_limit(role, limit, host.now()).unwrap();
            model.limits.insert(role.0, limit);
            if role == DEFAULT_ROLE {
                model.limits.entry(1).or_insert(limit);
            }
        }
        Operation::Check => {
            table.check_overload(host);
            model.check();
        }
        Operation::Wait(ms) => {
            host.advance(ms);
            model.now_ms += ms;
        }
        Operation::ForgetLevels => {
            table.forget_levels(host);
            for (&(role, _), held) in &mut model.owners {
                held.level = Level::Ok;
                held.limit = model.limits.get(&role).copied().unwrap_or(5);
            }
        }
    }
}

fn news(table: &Limits<Watch>) -> Vec<Event> {
    let mut news = Vec::new();
    loop {
        let (some, lost) = table.judge().alerts().take(100);
        assert_eq!(lost, 0);
        if some.is_empty() {
            break;
        }
        table.judge().alerts().told();
        news.extend(some);
    }
    let event = |news| match news {
        News::Raised(alert) => (true, alert),
        News::Cleared(alert) => (false, alert),
    };
    news.into_iter()
        .map(event)
        .map(|(raised, alert)| {
            (
                raised,
                alert.level,
                alert.role.0,
                alert.owner.0,
                alert.depth,
            )
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn alerts_are_those_of_the_model(operations in prop::collection::vec(operation(), 1..150)) {
        let host = TestHost::default();
        let table = Limits::new(DEFAULT_ROLE, 5, host.now());
        let mut model = Model::default();
        table.roles().set_limit(RoleId(1), 5, host.now()).unwrap();
        model.limits.insert(1, 5);
        table.configure_overload(Rules { margin: MARGIN, realert_ms: REALERT_MS, history: HISTORY }, true, &host);
        let mut raised = Vec::new();
        for operation in &operations {
            host.wakes();
            apply(operation, &table, &mut model, &host);
            let woken = host.wakes();
            let mut told = news(&table);
            let mut expected = std::mem::take(&mut model.events);
            prop_assert_eq!(woken, u64::from(!expected.is_empty()));
            if matches!(operation, Operation::Check | Operation::Die(_)) {
                // Owners and roles are visited in no order.
                told.sort_unstable();
                expected.sort_unstable();
            }
            prop_assert_eq!(&told, &expected);
            raised.extend(told.into_iter().filter(|(raised, ..)| *raised));
            for (&(role, _), held) in &model.owners {
                let summary = table.roles().summary(host.now());
                let row = summary.iter().find(|row| row.stats.role.0 == role).unwrap();
                prop_assert!(row.level >= held.level);
            }
        }
        let kept: Vec<u64> = table.judge().alerts().history().iter().map(|a| a.depth).collect();
        prop_assert_eq!(kept.len(), raised.len().min(HISTORY));
    }
}
