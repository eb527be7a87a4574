//! Cancellations beside a model that is a list: the same tokens, cancelled for the same reasons, the same tombstones.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use erlmcp_core::cancel::{Cancellations, Reason, Token};
use erlmcp_core::{Dead, Host, Instant, Label, OwnerId, Runtime};
use proptest::prelude::*;

const FOR_MS: u64 = 10;
const MOST: usize = 4;

#[derive(Default)]
struct World {
    now_ms: Cell<u64>,
    dead: RefCell<BTreeSet<u64>>,
}

impl Runtime for World {
    fn now(&self) -> Instant {
        Instant {
            monotonic_ms: self.now_ms.get(),
            system_ms: 0,
        }
    }

    fn wake(&self) {}
}

impl Host for World {
    type Watch = ();

    fn is_alive(&self, OwnerId(owner): OwnerId) -> bool {
        !self.dead.borrow().contains(&owner)
    }

    fn watch(&self, owner: OwnerId) -> Result<Option<()>, Dead> {
        self.is_alive(owner).then_some(Some(())).ok_or(Dead)
    }

    fn unwatch(&self, (): ()) {}
}

#[derive(Clone, Debug)]
enum Step {
    Enter(u64, u64),
    Cancel(u64, u64, u64),
    CancelToken(usize, u64),
    Finish(usize),
    Pass(u64),
    Sweep,
    Die(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (owner, id, why) = (0..3_u64, 0..4_u64, 0..100_u64);
    prop_oneof![
        4 => (owner.clone(), id.clone()).prop_map(|(owner, id)| Step::Enter(owner, id)),
        4 => (owner.clone(), id, why.clone()).prop_map(|(owner, id, why)| Step::Cancel(owner, id, why)),
        1 => (0..20_usize, why).prop_map(|(which, why)| Step::CancelToken(which, why)),
        2 => (0..20_usize).prop_map(Step::Finish),
        2 => (0..6_u64).prop_map(Step::Pass),
        1 => Just(Step::Sweep),
        1 => owner.prop_map(Step::Die),
    ]
}

#[derive(Clone, Debug, PartialEq)]
enum Why {
    Said(u64),
    OwnerDown,
}

struct Known {
    token: Arc<Token<u64>>,
    owner: u64,
    id: u64,
    why: Option<Why>,
    is_there: bool,
}

#[derive(Default)]
struct Model {
    tokens: Vec<Known>,
    /// The oldest first.
    stones: Vec<(u64, u64, Why, u64)>,
    /// Of each token, its place, as often as it came back.
    freed: BTreeMap<u64, u64>,
}

impl Model {
    fn there(&mut self, owner: u64, id: u64) -> Option<&mut Known> {
        let is_it = |known: &&mut Known| known.is_there && (known.owner, known.id) == (owner, id);
        self.tokens.iter_mut().find(is_it)
    }

    fn stone(&self, owner: u64, id: u64) -> Option<usize> {
        let is_it = |stone: &(u64, u64, Why, u64)| (stone.0, stone.1) == (owner, id);
        self.stones.iter().position(is_it)
    }

    fn free(&mut self, place: Option<u64>) {
        if let Some(place) = place {
            *self.freed.entry(place).or_default() += 1;
        }
    }
}

fn id_label(id: u64) -> Label {
    Label::new(0, &id.to_be_bytes())
}

fn check_token(known: &Known) -> Result<(), TestCaseError> {
    prop_assert_eq!(known.token.is_cancelled(), known.why.is_some());
    known.token.reason(|reason| {
        let expected = known.why.as_ref().map(|why| match why {
            Why::Said(why) => Reason::Said(Label::new(0, &why.to_le_bytes())),
            Why::OwnerDown => Reason::OwnerDown,
        });
        prop_assert_eq!(reason, expected.as_ref());
        Ok(())
    })
}

proptest! {
    #[test]
    fn tokens_and_tombstones_are_those_of_a_list(steps in prop::collection::vec(step(), 0..120)) {
        let (tokens, world) = (Cancellations::new(), World::default());
        let mut model = Model::default();
        tokens.configure(FOR_MS, MOST as u64);
        for step in steps {
            let now_ms = world.now_ms.get();
            match step {
                Step::Enter(owner, id) => {
                    let place = model.tokens.len() as u64;
                    let made = tokens.enter(OwnerId(owner), Some(id_label(id)), None, Some(place), &world);
                    let alive = world.is_alive(OwnerId(owner));
                    if model.there(owner, id).is_some() {
                        prop_assert_eq!(made.err().map(|known| known.0), Some(Some(place)));
                        continue;
                    }
                    let made = made.ok().unwrap();
                    let mut why = (!alive).then_some(Why::OwnerDown);
                    if let Some(at) = model.stone(owner, id) {
                        let (_, _, said, at_ms) = model.stones.remove(at);
                        why = (now_ms - at_ms < FOR_MS).then_some(said);
                    }
                    prop_assert_eq!(made.fallout.is_some(), why.is_some());
                    model.free(made.fallout.and_then(|fallout| fallout.place));
                    model.tokens.push(Known { token: made.token, owner, id, why, is_there: alive });
                }
                Step::Cancel(owner, id, why) => {
                    let reason = Label::new(0, &why.to_le_bytes());
                    let found = tokens.cancel_id(OwnerId(owner), id_label(id), reason, &world);
                    model.free(found.and_then(|(_, fallout)| fallout.place));
                    if let Some(known) = model.there(owner, id) {
                        known.why.get_or_insert(Why::Said(why));
                    } else if world.is_alive(OwnerId(owner)) {
                        let mut said = Why::Said(why);
                        if let Some(at) = model.stone(owner, id) {
                            let (_, _, first, at_ms) = model.stones.remove(at);
                            if now_ms - at_ms < FOR_MS {
                                said = first;
                            }
                        }
                        model.stones.push((owner, id, said, now_ms));
                        if model.stones.len() > MOST {
                            model.stones.remove(0);
                        }
                    }
                }
                Step::CancelToken(which, why) => {
                    if let Some(known) = model.tokens.get_mut(which) {
                        let fallout = tokens.cancel(&known.token, Label::new(0, &why.to_le_bytes()));
                        let is_first = known.is_there && known.why.is_none();
                        prop_assert_eq!(fallout.is_some(), is_first);
                        if is_first {
                            known.why = Some(Why::Said(why));
                        }
                        model.free(fallout.and_then(|fallout| fallout.place));
                    }
                }
                Step::Finish(which) => {
                    if let Some(known) = model.tokens.get_mut(which) {
                        known.is_there = false;
                        let place = tokens.finish(&known.token);
                        model.free(place);
                    }
                }
                Step::Pass(ms) => world.now_ms.set(now_ms + ms),
                Step::Sweep => {
                    let next = tokens.sweep(100, &world);
                    model.stones.retain(|stone| now_ms - stone.3 < FOR_MS);
                    let oldest = model.stones.first().map(|stone| stone.3 + FOR_MS - now_ms);
                    prop_assert_eq!(next, oldest);
                }
                Step::Die(owner) => {
                    world.dead.borrow_mut().insert(owner);
                    let mut estate = tokens.died(OwnerId(owner));
                    while !estate.is_settled() {
                        tokens.settle(&mut estate, |_, fallout| model.free(fallout.place));
                    }
                    model.stones.retain(|stone| stone.0 != owner);
                    for known in model.tokens.iter_mut().filter(|known| known.owner == owner) {
                        if std::mem::take(&mut known.is_there) {
                            known.why.get_or_insert(Why::OwnerDown);
                        }
                    }
                }
            }
            let summary = tokens.summary();
            let there = model.tokens.iter().filter(|known| known.is_there).count();
            prop_assert_eq!(summary.tokens, there as u64);
            prop_assert_eq!(summary.tombstones, model.stones.len() as u64);
            model.tokens.iter().try_for_each(check_token)?;
            // A place comes back once, when its task is cancelled or done, and not before.
            for (place, known) in (0..).zip(&model.tokens) {
                let freed = model.freed.get(&place).copied().unwrap_or(0);
                prop_assert_eq!(freed, u64::from(known.why.is_some() || !known.is_there));
            }
        }
    }
}

/// Whoever comes has no more to do than its own size asks for, whatever is there to be forgotten.
#[test]
fn one_that_comes_forgets_no_more_than_so_many_unless_it_is_long() {
    let (tokens, world) = (Cancellations::<()>::new(), World::default());
    tokens.configure(FOR_MS, 200_000);
    let cancel = |number: u64, length: usize| {
        let before = tokens.summary().displaced;
        let reason = Label::new(0, &vec![0; length]);
        assert!(
            tokens
                .cancel_id(OwnerId(1), id_label(number), reason, &world)
                .is_none()
        );
        tokens.summary().displaced - before
    };
    let mut numbers = 0..;
    let mut next = |length| cancel(numbers.next().unwrap(), length);
    assert!((0..100_000).all(|_| next(0) == 0));
    let most = (0..1_500).map(|_| next(65_536)).max();
    assert!((500..=1_024).contains(&most.unwrap()), "{most:?}");
    // In 64 MiB.
    assert!(tokens.summary().tombstones < 1_024);
    assert!((0..100_000).all(|_| next(0) <= 1_024));
    let forgotten: u64 = (0..40).map(|_| next(2 << 20)).sum();
    assert!(forgotten > 100_000, "{forgotten}");
    assert!(tokens.summary().tombstones < 32);
    tokens.configure(FOR_MS, 0);
    assert_eq!(tokens.summary().tombstones, 0);
}
