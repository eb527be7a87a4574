//! Tokens, and cancellations that come early.

use loom::thread;

use super::{OWNER, World, explore};
use crate::aliases::AliasId;
use crate::cancel::{Cancellations, Fallout, Notice, Reason, Token};
use crate::label::Label;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::vocabulary::{Instant, Runtime};

#[derive(Default)]
struct Registry {
    tokens: Cancellations<()>,
    world: World,
    /// How many places came back, and how many were told.
    freed: AtomicU64,
    told: AtomicU64,
}

const ALIAS: AliasId = AliasId([1, 0, 0, 9, 0]);

fn id() -> Label {
    Label::new(0, &[1])
}

fn why(number: u64) -> Label {
    Label::new(1, &number.to_le_bytes())
}

impl Registry {
    fn enter(&self) -> Option<Arc<Token<()>>> {
        let made = self
            .tokens
            .enter(OWNER, Some(id()), Some(ALIAS), Some(()), &self.world);
        let made = made.ok()?;
        self.settle(made.fallout);
        Some(made.token)
    }

    fn cancel(&self, number: u64) {
        let cancelled = self.tokens.cancel_id(OWNER, id(), why(number), &self.world);
        self.settle(cancelled.map(|(_, fallout)| fallout));
    }

    fn finish(&self, token: &Token<()>) {
        if self.tokens.finish(token).is_some() {
            self.freed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn die(&self) {
        for _ in 0..self.world.kill() {
            let mut estate = self.tokens.died(OWNER);
            while !estate.is_settled() {
                self.tokens
                    .settle(&mut estate, |_, fallout| self.settle(Some(fallout)));
            }
        }
    }

    fn settle(&self, fallout: Option<Fallout<()>>) {
        if let Some(Fallout { place, notify }) = fallout {
            let count = |some: bool, counter: &AtomicU64| {
                counter.fetch_add(some.into(), Ordering::Relaxed);
            };
            count(place.is_some(), &self.freed);
            count(notify.is_some(), &self.told);
        }
    }

    fn freed(&self) -> u64 {
        self.freed.load(Ordering::Relaxed)
    }

    fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    fn left(&self) -> (u64, u64) {
        let summary = self.tokens.summary();
        (summary.tokens, summary.tombstones)
    }
}

/// Both at once, and then what must hold of what came of them.
fn at_once<A: Send + 'static, B: 'static>(
    prepare: impl Fn(&Registry) + Clone + Send + Sync + 'static,
    one: impl Fn(&Registry) -> A + Clone + Send + Sync + 'static,
    other: impl Fn(&Registry) -> B + Clone + Send + Sync + 'static,
    check: impl Fn(&Registry, A, B) + Clone + Send + Sync + 'static,
) {
    explore(move || {
        let registry = Arc::new(Registry::default());
        prepare(&registry);
        let doing = {
            let (registry, one) = (Arc::clone(&registry), one.clone());
            thread::spawn(move || one(&registry))
        };
        let b = other(&registry);
        let a = doing.join().unwrap();
        check(&registry, a, b);
    });
}

fn nothing(_: &Registry) {}

#[test]
fn a_cancel_against_the_making_of_its_token_cancels_it_once() {
    at_once(
        nothing,
        Registry::enter,
        |it| it.cancel(1),
        |it, token, ()| {
            let token = token.unwrap();
            assert!(token.is_cancelled());
            token.reason(|reason| assert_eq!(reason, Some(&Reason::Said(why(1)))));
            assert_eq!((it.freed(), it.told(), it.left()), (1, 1, (1, 0)));
        },
    );
}

#[test]
fn of_two_with_an_id_one_takes_the_tombstone_up() {
    let made = |it: &Registry| it.enter().map(|token| token.is_cancelled());
    at_once(
        |it| it.cancel(1),
        made,
        made,
        |it, one, other| {
            assert!(one.or(other).unwrap());
            assert!(one.is_none() || other.is_none());
            assert_eq!((it.freed(), it.told(), it.left()), (1, 1, (1, 0)));
        },
    );
}

#[test]
fn a_cancel_against_the_end_frees_the_place_once() {
    explore(|| {
        let registry = Arc::new(Registry::default());
        let token = registry.enter().unwrap();
        let cancelling = {
            let registry = Arc::clone(&registry);
            thread::spawn(move || registry.cancel(1))
        };
        registry.finish(&token);
        cancelling.join().unwrap();
        let (_, tombstones) = registry.left();
        // It came too late for this one, and waits for the next.
        assert_eq!(registry.told(), u64::from(token.is_cancelled()));
        assert!(!token.is_cancelled() || tombstones == 0);
        assert_eq!(registry.freed(), 1);
        assert_eq!(registry.left().0, 0);
    });
}

#[test]
fn of_two_cancels_the_first_says_why() {
    explore(|| {
        let registry = Arc::new(Registry::default());
        let token = registry.enter().unwrap();
        let cancelling = {
            let (registry, token) = (Arc::clone(&registry), Arc::clone(&token));
            thread::spawn(move || registry.tokens.cancel(&token, why(2)).is_some())
        };
        let first = registry.tokens.cancel(&token, why(1)).is_some();
        let second = cancelling.join().unwrap();
        assert!(first != second);
        let said = if first { why(1) } else { why(2) };
        token.reason(|reason| assert_eq!(reason, Some(&Reason::Said(said))));
    });
}

#[test]
fn of_two_early_cancels_the_first_says_why() {
    at_once(
        nothing,
        |it| it.cancel(1),
        |it| it.cancel(2),
        |it, (), ()| {
            assert_eq!(it.left(), (0, 1));
            let token = it.enter().unwrap();
            assert!(token.is_cancelled());
            assert_eq!((it.freed(), it.told(), it.left()), (1, 1, (1, 0)));
        },
    );
}

#[test]
fn death_against_a_cancel_leaves_nothing_and_tells_once() {
    at_once(
        |it| drop(it.enter()),
        |it| it.cancel(1),
        Registry::die,
        |it, (), ()| {
            assert_eq!((it.freed(), it.told(), it.left()), (1, 1, (0, 0)));
        },
    );
}

#[test]
fn death_against_an_early_cancel_leaves_nothing() {
    at_once(
        nothing,
        |it| it.cancel(1),
        Registry::die,
        |it, (), ()| {
            assert_eq!((it.world.watches(), it.left()), (0, (0, 0)));
        },
    );
}

#[test]
fn death_against_the_making_of_a_token_cancels_it() {
    at_once(nothing, Registry::enter, Registry::die, |it, token, ()| {
        let token = token.unwrap();
        token.reason(|reason| assert_eq!(reason, Some(&Reason::OwnerDown)));
        assert_eq!((it.freed(), it.told(), it.left()), (1, 1, (0, 0)));
        // Whoever is done does no harm.
        it.finish(&token);
        assert_eq!((it.freed(), it.left()), (1, (0, 0)));
    });
}

#[test]
fn two_that_are_first_of_an_owner_are_both_there() {
    let unnamed = |it: &Registry| {
        let made = it.tokens.enter(OWNER, None, None, None, &it.world);
        made.unwrap().token
    };
    at_once(nothing, unnamed, unnamed, |it, one, other| {
        assert_eq!((it.world.watches(), it.left()), (1, (2, 0)));
        it.die();
        assert!(one.is_cancelled() && other.is_cancelled());
        assert_eq!(it.left(), (0, 0));
    });
}

/// Ten seconds later.
struct Later;

impl Runtime for Later {
    fn now(&self) -> Instant {
        Instant {
            monotonic_ms: 10_000,
            system_ms: 10_000,
        }
    }

    fn wake(&self) {}
}

#[test]
fn a_tombstone_that_is_swept_against_its_token_is_gone_for_either() {
    at_once(
        |it| it.cancel(1),
        Registry::enter,
        |it| it.tokens.sweep(1, &Later),
        |it, token, next| {
            let cancelled = token.unwrap().is_cancelled();
            assert_eq!(next, None);
            assert_eq!((it.told(), it.left()), (u64::from(cancelled), (1, 0)));
        },
    );
}

#[test]
fn no_notice_waits_unseen() {
    struct Waker<'w>(&'w AtomicU64);

    impl Runtime for Waker<'_> {
        fn now(&self) -> Instant {
            super::NOW
        }

        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Release);
        }
    }

    explore(|| {
        let registry = Arc::new(Registry::default());
        let (token, woken) = (registry.enter().unwrap(), Arc::new(AtomicU64::new(0)));
        let notice = Notice {
            token,
            notify: ALIAS,
        };
        registry.tokens.notice(notice.clone(), &Waker(&woken));
        let putting = {
            let (registry, woken) = (Arc::clone(&registry), Arc::clone(&woken));
            thread::spawn(move || registry.tokens.notice(notice, &Waker(&woken)))
        };
        // Whoever is woken takes out what there is.
        let mut taken = 0;
        while let more @ 1.. = registry.tokens.notices().len() {
            taken += more;
        }
        putting.join().unwrap();
        let woken = woken.load(Ordering::Acquire);
        assert!(
            taken == 2 || woken == 2,
            "{taken} taken, woken {woken} times"
        );
    });
}
