//! The table against a plain model: any sequence of operations by one caller gives the same answers.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

mod common;

use std::collections::{BTreeMap, HashSet};

use common::{FIRST_PROCESS, TestHost, Watch};
use erlmcp_core::limits::{Limits, Permit, Verdict};
use erlmcp_core::reason::Reason;
use erlmcp_core::request::{Class, Request};
use erlmcp_core::reserve::Reserve;
use erlmcp_core::roles::Configuration;
use erlmcp_core::{OwnerId, RoleId, Runtime, UNLIMITED};
use proptest::prelude::*;

const DEFAULT_ROLE: RoleId = RoleId(0);

#[derive(Clone, Debug)]
enum Operation {
    Check(RoleId, OwnerId, Class),
    Enqueue(RoleId, OwnerId),
    TryEnqueue(RoleId, OwnerId, Class),
    Dequeue(RoleId, OwnerId),
    Acquire(RoleId, OwnerId, Class),
    GiveBack(usize),
    Forget(RoleId, OwnerId),
    Die(OwnerId),
    SetLimit(RoleId, u64),
    SetReserve(RoleId, Reserve),
    Configure(Vec<(RoleId, u64)>, Vec<(RoleId, Reserve)>, bool),
    SetEnforcing(bool),
    ResetStats(RoleId),
    Clear,
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation as Op;
    let role = || (0..4_u64).prop_map(RoleId);
    let owner = || prop_oneof![0..2_u64, FIRST_PROCESS..FIRST_PROCESS + 4].prop_map(OwnerId);
    let limit = || prop_oneof![6 => 0..6_u64, 1 => Just(UNLIMITED)];
    let class = || prop::sample::select(Class::ALL.to_vec());
    let reserve = || {
        [0..=100_u8, 0..=100, 0..=100].prop_map(|mut percents| {
            percents.sort_unstable();
            let [critical, sheddable_plus, sheddable] = percents;
            Reserve::new(critical, sheddable_plus, sheddable).unwrap()
        })
    };
    prop_oneof![
        6 => (role(), owner()).prop_map(|(r, o)| Op::Enqueue(r, o)),
        6 => (role(), owner(), class()).prop_map(|(r, o, c)| Op::TryEnqueue(r, o, c)),
        6 => (role(), owner()).prop_map(|(r, o)| Op::Dequeue(r, o)),
        3 => (role(), owner(), class()).prop_map(|(r, o, c)| Op::Check(r, o, c)),
        3 => (role(), owner(), class()).prop_map(|(r, o, c)| Op::Acquire(r, o, c)),
        2 => any::<usize>().prop_map(Op::GiveBack),
        1 => (role(), owner()).prop_map(|(r, o)| Op::Forget(r, o)),
        1 => owner().prop_map(Op::Die),
        2 => (role(), limit()).prop_map(|(r, l)| Op::SetLimit(r, l)),
        2 => (role(), reserve()).prop_map(|(r, kept)| Op::SetReserve(r, kept)),
        1 => (
            prop::collection::vec((role(), limit()), 0..3),
            prop::collection::vec((role(), reserve()), 0..3),
            any::<bool>()
        )
            .prop_map(|(limits, reserves, on)| Op::Configure(limits, reserves, on)),
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
    reserves_by_hand: BTreeMap<u64, Reserve>,
    reserves: BTreeMap<u64, Reserve>,
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
            reserves_by_hand: BTreeMap::new(),
            reserves: BTreeMap::new(),
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

    fn reserve(&self, role: u64) -> Reserve {
        let by_hand = self.reserves_by_hand.get(&role);
        let reserve = by_hand.or_else(|| self.reserves.get(&role));
        reserve.copied().unwrap_or_default()
    }

    fn refused(&mut self, role: u64, owner: u64, class: Class) -> Option<Reason> {
        let (depth, limit) = (self.depth(role, owner), self.limit(role));
        if self.dead.contains(&owner) || !self.enforcing() {
            return None;
        }
        let reason = if depth >= limit {
            Reason::Full
        } else if depth >= self.reserve(role).bound(class, limit) {
            Reason::Class
        } else {
            return None;
        };
        self.counters.entry(role).or_default().refused += 1;
        Some(reason)
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

fn of(class: Class) -> Request {
    Request {
        class,
        ..Request::default()
    }
}

fn reason(verdict: &Verdict) -> Option<Reason> {
    match verdict {
        Verdict::Granted => None,
        Verdict::Refused(refusal) => Some(refusal.reason),
    }
}

/// Applies the operation to both and compares what it answers.
fn apply(operation: &Operation, table: &Limits<Watch>, model: &mut Model, host: &TestHost) {
    match *operation {
        Operation::Check(role, owner, class) => {
            let verdict = table.check_with(role, owner, &of(class), host).unwrap();
            assert_eq!(reason(&verdict), model.refused(role.0, owner.0, class));
        }
        Operation::Enqueue(role, owner) => {
            table.enqueue(role, owner, host).unwrap();
            model.enqueue(role.0, owner.0);
        }
        Operation::TryEnqueue(role, owner, class) => {
            let before = model.depth(role.0, owner.0);
            let refused = model.refused(role.0, owner.0, class);
            let verdict = table
                .try_enqueue_with(role, owner, &of(class), host)
                .unwrap();
            assert_eq!(reason(&verdict), refused);
            match verdict {
                Verdict::Granted => model.enqueue(role.0, owner.0),
                Verdict::Refused(refusal) => {
                    assert_eq!(refusal.depth, before);
                    assert!((1..=60_000).contains(&refusal.retry_after_ms));
                }
            }
        }
        Operation::Dequeue(role, owner) => {
            table.dequeue(role, owner, host).unwrap();
            model.dequeue(role.0, owner.0);
        }
        Operation::Acquire(role, owner, class) => {
            let refused = model.refused(role.0, owner.0, class);
            let acquired = table.acquire_with(role, owner, &of(class), host).unwrap();
            let reason = acquired.as_ref().err().map(|refusal| refusal.reason);
            assert_eq!(reason, refused);
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
        Operation::SetReserve(role, reserve) => {
            table
                .roles()
                .set_reserve(role, reserve, host.now())
                .unwrap();
            model.counters.entry(role.0).or_default();
            model.reserves_by_hand.insert(role.0, reserve);
        }
        Operation::Configure(ref limits, ref reserves, enforcing) => {
            // A configuration always has the default role, and a role once.
            let configured: BTreeMap<u64, u64> = std::iter::once((DEFAULT_ROLE.0, 3))
                .chain(limits.iter().map(|&(role, limit)| (role.0, limit)))
                .collect();
            let kept: BTreeMap<u64, Reserve> = reserves
                .iter()
                .map(|&(role, kept)| (role.0, kept))
                .collect();
            let configuration = Configuration {
                limits: configured
                    .iter()
                    .map(|(&r, &l)| (RoleId(r), l.into()))
                    .collect(),
                reserves: kept.iter().map(|(&r, &k)| (RoleId(r), k)).collect(),
                enforcing,
            };
            table.roles().configure(&configuration, host.now()).unwrap();
            for &role in configured.keys().chain(kept.keys()) {
                model.counters.entry(role).or_default();
            }
            model.configured = configured;
            model.reserves = kept;
            model.enforcing_configured = enforcing;
        }
        Operation::SetEnforcing(enforcing) => {
            table.roles().set_enforcing(enforcing);
            model.enforcing_by_hand = Some(enforcing);
        }
        Operation::ResetStats(role) => {
            table.roles().reset_stats(role, 0);
            if let Some(counters) = model.counters.get_mut(&role.0) {
                *counters = Counters::default();
            }
        }
        Operation::Clear => {
            table.clear(host);
            let configuration = Configuration {
                limits: [(DEFAULT_ROLE, 3.into())].into(),
                ..Configuration::default()
            };
            table.roles().configure(&configuration, host.now()).unwrap();
            let dead = std::mem::take(&mut model.dead);
            *model = Model::new();
            model.dead = dead;
        }
    }
}

fn compare(table: &Limits<Watch>, model: &Model, host: &TestHost) {
    for role in 0..4 {
        assert_eq!(table.roles().limit(RoleId(role)), model.limit(role));
        assert_eq!(table.roles().reserve(RoleId(role)), model.reserve(role));
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
