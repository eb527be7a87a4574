//! References as no runtime would send them: whatever the bytes, reading them does not panic, and only what stands
//! there letter for letter is taken for an alias of this node.

#![allow(clippy::indexing_slicing, clippy::expect_used)]

#[path = "../src/external.rs"]
mod external;

use erlmcp_core::OwnerId;
use erlmcp_core::aliases::AliasId;
use external::{Node, Reference};
use proptest::collection::vec;
use proptest::prelude::*;

const NODE: &[u8] = b"\x77\x0dnonode@nohost";
const CREATION: [u8; 4] = [0, 0, 0, 7];

fn pid(name: &[u8], creation: [u8; 4]) -> Vec<u8> {
    let words = [0, 0, 0, 10, 0, 0, 0, 0];
    [&[131, 88], name, &words, &creation].concat()
}

fn reference(name: &[u8], creation: [u8; 4], words: &[u32]) -> Vec<u8> {
    let count = u16::try_from(words.len()).unwrap_or(u16::MAX);
    let words: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    [
        &[131, 90],
        &count.to_be_bytes()[..],
        name,
        &creation,
        &words,
    ]
    .concat()
}

/// What is done to the bytes of a term.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Append(Vec<u8>),
    Remove(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 1..=255_u8).prop_map(|(at, mask)| Mutation::Flip(at, mask)),
        index().prop_map(Mutation::Cut),
        (index(), vec(any::<u8>(), 1..30)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        vec(any::<u8>(), 1..30).prop_map(Mutation::Append),
        index().prop_map(Mutation::Remove),
        (index(), index()).prop_map(|(one, other)| Mutation::Swap(one, other)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: Mutation) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match mutation {
        Mutation::Flip(at, mask) => bytes[at.index(length)] ^= mask,
        Mutation::Cut(at) => bytes.truncate(at.index(length)),
        Mutation::Insert(at, more) => {
            bytes.splice(at.index(length)..at.index(length), more);
        }
        Mutation::Append(more) => bytes.extend(more),
        Mutation::Remove(at) => {
            bytes.remove(at.index(length));
        }
        Mutation::Swap(one, other) => bytes.swap(one.index(length), other.index(length)),
    }
}

/// A reference of this node or another, with as many words as there may be.
fn any_reference() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![Just(NODE.to_vec()), vec(any::<u8>(), 0..300)];
    let creation = prop_oneof![Just(CREATION), any::<[u8; 4]>()];
    (name, creation, vec(any::<u32>(), 0..8))
        .prop_map(|(name, creation, words)| reference(&name, creation, &words))
}

fn read(bytes: &[u8]) -> Option<Reference> {
    let own = pid(NODE, CREATION);
    external::read(bytes, Node::of_pid(&own).expect("a pid"))
}

/// Whatever is taken for an alias of this node is written as it was read.
fn is_exact(bytes: &[u8]) -> bool {
    let own = pid(NODE, CREATION);
    let own = Node::of_pid(&own).expect("a pid");
    match external::read(bytes, own) {
        Some(Reference::Alias(alias)) => external::write(alias, own) == bytes,
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert!(is_exact(&bytes));
        let _ = Node::of_pid(&bytes);
    }

    #[test]
    fn mutated_references(mut bytes in any_reference(), mutations in vec(mutation(), 0..4)) {
        mutations.into_iter().for_each(|mutation| mutate(&mut bytes, mutation));
        prop_assert!(is_exact(&bytes));
    }

    #[test]
    fn mutated_pids(
        mutations in vec(mutation(), 0..4),
        words in any::<[u32; 5]>(),
    ) {
        let mut bytes = pid(NODE, CREATION);
        mutations.into_iter().for_each(|mutation| mutate(&mut bytes, mutation));
        if let Some(node) = Node::of_pid(&bytes) {
            let alias = AliasId(words);
            let written = external::write(alias, node);
            prop_assert_eq!(external::read(&written, node), Some(Reference::Alias(alias)));
        }
    }

    #[test]
    fn references_of_others(
        name in vec(any::<u8>(), 0..300),
        creation in any::<[u8; 4]>(),
        words in any::<[u32; 5]>(),
    ) {
        let here = name == NODE && creation == CREATION;
        let wanted = if here { Reference::Alias(AliasId(words)) } else { Reference::Foreign };
        prop_assert_eq!(read(&reference(&name, creation, &words)), Some(wanted));
    }

    #[test]
    fn references_of_this_node(words in vec(any::<u32>(), 0..8)) {
        let wanted = match <[u32; 5]>::try_from(words.as_slice()) {
            Ok(id) => Reference::Alias(AliasId(id)),
            Err(_) => Reference::Plain,
        };
        prop_assert_eq!(read(&reference(NODE, CREATION, &words)), Some(wanted));
    }
}

#[test]
fn the_owner_is_the_last_two_words() {
    let owner = external::owner(AliasId([1, 2, 3, 0x0504_0302, 0x0908_0706]));
    assert_eq!(owner, OwnerId(0x0908_0706_0504_0302));
}
