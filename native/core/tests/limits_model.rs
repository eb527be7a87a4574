//! The table against a plain model: any sequence of operations by one caller gives the same answers.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

mod common;

use std::collections::{BTreeMap, HashSet};

use common::{FIRST_PROCESS, TestHost, Watch};
use erlmcp_core::limits::{Limits, Permit, Verdict};
use erlmcp_core::roles::ConfiguredLimits;
use erlmcp_core::{OwnerId, RoleId, Runtime, UNLIMITED};
use proptest::prelude::*;

const DEFAULT_ROLE: RoleId = RoleId(0);

#[derive(Clone, Debug)]
enum Operation {
    Check(RoleId, OwnerId),
    Enqueue(RoleId, OwnerId),
    TryEnqueue(RoleId, OwnerId),
    Dequeue(RoleId, OwnerId),
    Acquire(RoleId, OwnerId),
    GiveBack(usize),
    Forget(RoleId, OwnerId),
    Die(OwnerId),
    SetLimit(RoleId, u64),
    Configure(Vec<(RoleId, u64)>, bool),
    SetEnforcing(bool),
    ResetStats(RoleId),
    Clear,
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation as Op;
    let role = || (0..4_u64).prop_map(RoleId);
    let owner = || prop_oneof![0..2_u64, FIRST_PROCESS..FIRST_PROCESS + 4].prop_map(OwnerId);
    let limit = || prop_oneof![6 => 0..6_u64, 1 => Just(UNLIMITED)];
    prop_oneof![
        6 => (role(), owner()).prop_map(|(r, o)| Op::Enqueue(r, o)),
        6 => (role(), owner()).prop_map(|(r, o)| Op::TryEnqueue(r, o)),
        6 => (role(), owner()).prop_map(|(r, o)| Op::Dequeue(r, o)),
        3 => (role(), owner()).prop_map(|(r, o)| Op::Check(r, o)),
        3 => (role(), owner()).prop_map(|(r, o)| Op::Acquire(r, o)),
        2 => any::<usize>().prop_map(Op::GiveBack),
        1 => (role(), owner()).prop_map(|(r, o)| Op::Forget(r, o)),
        1 => owner().prop_map(Op::Die),
        2 => (role(), limit()).prop_map(|(r, l)| Op::SetLimit(r, l)),
        1 => (prop::collection::vec((role(), limit()), 0..3), any::<bool>())
            .prop_map(|(limits, on)| Op::Configure(limits, on)),
        1 => any::<bool>().prop_map(Op::SetEnforcing),
        1 => role().prop_map(Op::ResetStats),
        1 => Just(Op::Clear),
    ]
}

#[derive(Default, Debug, PartialEq, Eq)]
struct Counters {
    max_depth: u64,
    enqueued: u64,
    dequeued: u64,
    unmatched: u64,
    released: u64,
    refused: u64,
}

struct Held {
    role: u64,
    owner: u64,
    permit: Option<Permit>,
    /// Its owner has not given it up.
    there: bool,
}

/// The obvious implementation: maps, and one caller at a time.
struct Model {
    depths: BTreeMap<(u64, u64), u64>,
    counters: BTreeMap<u64, Counters>,
    dead: HashSet<u64>,
    by_hand: BTreeMap<u64, u64>,
    configured: BTreeMap<u64, u64>,
    enforcing_by_hand: Option<bool>,
    enforcing_configured: bool,
    permits: Vec<Held>,
}

impl Model {
    fn new() -> Self {
        Self {
            depths: BTreeMap::new(),
            counters: BTreeMap::from([(DEFAULT_ROLE.0, Counters::default())]),
            dead: HashSet::new(),
            by_hand: BTreeMap::new(),
            configured: BTreeMap::from([(DEFAULT_ROLE.0, 3)]),
            enforcing_by_hand: None,
            enforcing_configured: true,
            permits: Vec::new(),
        }
    }

    fn limit(&self, role: u64) -> u64 {
        let of = |role: u64| {
            self.by_hand
                .get(&role)
                .or_else(|| self.configured.get(&role))
        };
        *of(role).or_else(|| of(DEFAULT_ROLE.0)).unwrap()
    }

    fn enforcing(&self) -> bool {
        self.enforcing_by_hand.unwrap_or(self.enforcing_configured)
    }

    fn depth(&self, role: u64, owner: u64) -> u64 {
        self.depths.get(&(role, owner)).copied().unwrap_or(0)
    }

    fn refused(&mut self, role: u64, owner: u64) -> bool {
        let refused = !self.dead.contains(&owner)
            && self.enforcing()
            && self.depth(role, owner) >= self.limit(role);
        if refused {
            self.counters.entry(role).or_default().refused += 1;
        }
        refused
    }

    fn enqueue(&mut self, role: u64, owner: u64) {
        if self.dead.contains(&owner) {
            return;
        }
        let depth = self.depths.entry((role, owner)).or_default();
        *depth += 1;
        let counters = self.counters.entry(role).or_default();
        counters.enqueued += 1;
        counters.max_depth = counters.max_depth.max(*depth);
    }

    fn dequeue(&mut self, role: u64, owner: u64) {
        if self.dead.contains(&owner) {
            return;
        }
        let counters = self.counters.entry(role).or_default();
        counters.dequeued += 1;
        match self.depths.get_mut(&(role, owner)) {
            Some(depth) if *depth > 0 => *depth -= 1,
            _ => counters.unmatched += 1,
        }
    }

    fn forget(&mut self, role: u64, owner: u64) {
        if let Some(depth) = self.depths.remove(&(role, owner)) {
            self.counters.get_mut(&role).unwrap().released += depth;
        }
        for held in &mut self.permits {
            held.there &= (held.role, held.owner) != (role, owner);
        }
    }

    fn die(&mut self, owner: u64) {
        let roles: Vec<u64> = self.counters.keys().copied().collect();
        roles.into_iter().for_each(|role| self.forget(role, owner));
        self.dead.insert(owner);
    }
}

/// Applies the operation to both and compares what it answers.
fn apply(operation: &Operation, table: &Limits<Watch>, model: &mut Model, host: &TestHost) {
    match *operation {
        Operation::Check(role, owner) => {
            let refused = matches!(table.check(role, owner, host), Ok(Verdict::Refused(_)));
            assert_eq!(refused, model.refused(role.0, owner.0));
        }
        Operation::Enqueue(role, owner) => {
            table.enqueue(role, owner, host).unwrap();
            model.enqueue(role.0, owner.0);
        }
        Operation::TryEnqueue(role, owner) => {
            let before = model.depth(role.0, owner.0);
            let refused = model.refused(role.0, owner.0);
            match table.try_enqueue(role, owner, host).unwrap() {
                Verdict::Granted => assert!(!refused),
                Verdict::Refused(refusal) => {
                    assert!(refused);
                    assert_eq!(refusal.depth, before);
                    assert!((1..=60_000).contains(&refusal.retry_after_ms));
                }
            }
            if !refused {
                model.enqueue(role.0, owner.0);
            }
        }
        Operation::Dequeue(role, owner) => {
            table.dequeue(role, owner, host).unwrap();
            model.dequeue(role.0, owner.0);
        }
        Operation::Acquire(role, owner) => {
            let refused = model.refused(role.0, owner.0);
            let acquired = table.acquire(role, owner, host).unwrap();
            assert_eq!(acquired.is_err(), refused);
            if let Ok(permit) = acquired {
                assert_eq!(permit.is_none(), model.dead.contains(&owner.0));
                model.enqueue(role.0, owner.0);
                model.permits.push(Held {
                    role: role.0,
                    owner: owner.0,
                    permit,
                    there: true,
                });
            }
        }
        Operation::GiveBack(which) => {
            if model.permits.is_empty() {
                return;
            }
            let Held {
                role,
                owner,
                permit,
                there,
            } = model.permits.remove(which % model.permits.len());
            if let Some(permit) = permit {
                assert_eq!(table.give_back(&permit, host), there);
                // That is one too many, and does nothing.
                assert!(!table.give_back(&permit, host));
                if there {
                    model.dequeue(role, owner);
                }
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
                model.die(owner.0);
            }
        }
        Operation::SetLimit(role, limit) => {
            table.roles().set_limit(role, limit, host.now()).unwrap();
            model.counters.entry(role.0).or_default();
            model.by_hand.insert(role.0, limit);
        }
        Operation::Configure(ref limits, enforcing) => {
            // A configuration always has the default role, and a role once.
            let configured: BTreeMap<u64, u64> = std::iter::once((DEFAULT_ROLE.0, 3))
                .chain(limits.iter().map(|&(role, limit)| (role.0, limit)))
                .collect();
            let limits = configured.iter().map(|(&r, &l)| (RoleId(r), l)).collect();
            table
                .roles()
                .configure(&limits, enforcing, host.now())
                .unwrap();
            for &role in configured.keys() {
                model.counters.entry(role).or_default();
            }
            model.configured = configured;
            model.enforcing_configured = enforcing;
        }
        Operation::SetEnforcing(enforcing) => {
            table.roles().set_enforcing(enforcing);
            model.enforcing_by_hand = Some(enforcing);
        }
        Operation::ResetStats(role) => {
            table.roles().reset_stats(role);
            if let Some(counters) = model.counters.get_mut(&role.0) {
                *counters = Counters::default();
            }
        }
        Operation::Clear => {
            table.clear(host);
            let limits = ConfiguredLimits::from([(DEFAULT_ROLE, 3)]);
            table.roles().configure(&limits, true, host.now()).unwrap();
            let dead = std::mem::take(&mut model.dead);
            *model = Model::new();
            model.dead = dead;
        }
    }
}

fn compare(table: &Limits<Watch>, model: &Model, host: &TestHost) {
    for role in 0..4 {
        assert_eq!(table.roles().limit(RoleId(role)), model.limit(role));
        let stats = table.roles().stats(RoleId(role));
        assert_eq!(stats.is_some(), model.counters.contains_key(&role));
        let (Some(stats), Some(counters)) = (stats, model.counters.get(&role)) else {
            continue;
        };
        let of_role = || model.depths.iter().filter(|((r, _), _)| *r == role);
        assert_eq!(stats.depth, of_role().map(|(_, depth)| depth).sum());
        assert_eq!(stats.owners, of_role().count() as u64);
        assert_eq!(
            Counters {
                max_depth: stats.max_depth,
                enqueued: stats.enqueued,
                dequeued: stats.dequeued,
                unmatched: stats.unmatched,
                released: stats.released,
                refused: stats.refused,
            },
            *counters
        );
    }
    let owners: HashSet<u64> = model.depths.keys().map(|&(_, owner)| owner).collect();
    for owner in (0..2).chain(FIRST_PROCESS..FIRST_PROCESS + 4) {
        for role in 0..4 {
            let depth = table.depth(RoleId(role), OwnerId(owner));
            assert_eq!(depth, model.depth(role, owner));
        }
        let total: u64 = (0..4).map(|role| model.depth(role, owner)).sum();
        let expected = owners.contains(&owner).then_some((total, false));
        assert_eq!(table.total_depth(OwnerId(owner)), expected);
    }
    let processes = owners.iter().filter(|&&owner| owner >= FIRST_PROCESS);
    assert_eq!(host.watches(), processes.count());
    assert_eq!(table.owners(), owners.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_table_is_the_model(operations in prop::collection::vec(operation(), 1..120)) {
        let host = TestHost::default();
        let table = Limits::new(DEFAULT_ROLE, 3, host.now());
        let mut model = Model::new();
        for operation in &operations {
            apply(operation, &table, &mut model, &host);
            compare(&table, &model, &host);
        }
    }
}
