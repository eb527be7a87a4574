//! The registry of aliases.

use loom::thread;

use super::{OWNER, World, explore};
use crate::aliases::{AliasId, Aliases};
use crate::sync::Arc;
use crate::vocabulary::Host;

#[derive(Default)]
struct Registry {
    aliases: Aliases<(), ()>,
    world: World,
}

const OLD: AliasId = AliasId([1, 0, 0, 9, 0]);
const NEW: AliasId = AliasId([2, 0, 0, 9, 0]);

fn hash(AliasId([number, ..]): AliasId) -> u64 {
    number.into()
}

impl Registry {
    fn insert(&self, alias: AliasId) {
        self.aliases
            .insert(OWNER, alias, (hash(alias), ()), &self.world);
    }
}

/// Enters a new alias while something else goes on.
fn entering_against(other: impl FnOnce(&Registry) + Clone + Send + Sync + 'static) {
    explore(move || {
        let registry = Arc::new(Registry::default());
        registry.insert(OLD);
        let entering = {
            let registry = Arc::clone(&registry);
            thread::spawn(move || registry.insert(NEW))
        };
        (other.clone())(&registry);
        entering.join().unwrap();
        // One process that lives is known and watched once, one that is dead is neither.
        let alive = registry.world.is_alive(OWNER);
        assert_eq!(registry.aliases.contains(OWNER, NEW), alive);
        assert_eq!(registry.aliases.processes(), usize::from(alive));
        assert_eq!(registry.world.watches(), u64::from(alive));
    });
}

#[test]
fn an_alias_entered_against_death_is_not_left() {
    entering_against(|registry| {
        for _ in 0..registry.world.kill() {
            drop(registry.aliases.died(OWNER));
        }
    });
}

#[test]
fn an_alias_entered_while_the_last_is_given_up_is_there() {
    entering_against(|registry| {
        assert!(
            registry
                .aliases
                .delete(OWNER, OLD, &registry.world)
                .is_some()
        );
        assert!(!registry.aliases.contains(OWNER, OLD));
    });
}

#[test]
fn two_aliases_entered_at_once_are_both_there() {
    entering_against(|registry| registry.insert(OLD));
}

/// Whatever was marked meanwhile is there, or the mark has changed.
fn marking_against(other: impl FnOnce(&Registry) + Clone + Send + Sync + 'static) {
    explore(move || {
        let registry = Arc::new(Registry::default());
        registry.insert(OLD);
        let marking = {
            let registry = Arc::clone(&registry);
            thread::spawn(move || registry.aliases.mark(OWNER, OLD))
        };
        (other.clone())(&registry);
        let mark = marking.join().unwrap();
        let unchanged = mark.is_some_and(|mark| registry.aliases.unchanged(mark));
        assert!(!unchanged || registry.aliases.contains(OWNER, OLD));
    });
}

#[test]
fn a_mark_does_not_outlive_an_alias_that_is_given_up() {
    marking_against(|registry| {
        drop(registry.aliases.delete(OWNER, OLD, &registry.world));
    });
}

#[test]
fn a_mark_does_not_outlive_the_process() {
    marking_against(|registry| drop(registry.aliases.died(OWNER)));
}

/// Whatever is found by its hash meanwhile is there, or its mark has changed, and what is gone is not found afterwards.
fn finding_against(other: impl FnOnce(&Registry) + Clone + Send + Sync + 'static) {
    explore(move || {
        let registry = Arc::new(Registry::default());
        registry.insert(OLD);
        let finding = {
            let registry = Arc::clone(&registry);
            thread::spawn(move || registry.aliases.find(hash(OLD), |()| true))
        };
        (other.clone())(&registry);
        let found = finding.join().unwrap();
        let unchanged = found.is_some_and(|found| registry.aliases.unchanged(found.mark));
        assert!(!unchanged || registry.aliases.contains(OWNER, OLD));
        assert!(registry.aliases.find(hash(OLD), |()| true).is_none());
    });
}

#[test]
fn what_is_found_by_its_hash_is_there_against_a_delete() {
    finding_against(|registry| {
        drop(registry.aliases.delete(OWNER, OLD, &registry.world));
    });
}

#[test]
fn what_is_found_by_its_hash_is_there_against_death() {
    finding_against(|registry| drop(registry.aliases.died(OWNER)));
}

#[test]
fn what_is_found_by_its_hash_is_there_against_a_newer_one() {
    finding_against(|registry| registry.insert(NEW));
}
