//! What a bucket is found by: the name of its rate, and the key's label. Two addresses are equal if both of that are,
//! and are looked for by a hash with a seed that nobody knows who chooses keys.
//!
//! Whoever looks needs no address of its own: it *seeks*, with the bytes of the key where they are. To copy them takes
//! as long as to hash them, and only who makes a bucket has to.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use crate::label::Label;

/// No key has it for a tag.
const SHARED: u8 = 0;

/// The address of a bucket. [`Rates`](crate::rates::Rates) has an example.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    hash: u64,
    name: u64,
    key: Label,
}

/// An address whose key is somebody else's. [`Rates::take_of`](crate::rates::Rates::take_of) has an example.
#[derive(Clone, Copy, Debug)]
pub struct Seek<'k> {
    hash: u64,
    name: u64,
    tag: u8,
    key: &'k [u8],
}

/// Makes addresses.
#[derive(Debug, Default)]
pub(crate) struct Addresses(RandomState);

impl Addresses {
    /// Of a key's tag, which is not 0, and bytes.
    #[inline(always)]
    pub(crate) fn seek<'k>(&self, name: u64, tag: u8, key: &'k [u8]) -> Seek<'k> {
        let mut hasher = self.0.build_hasher();
        hasher.write_u64(name ^ u64::from(tag).rotate_right(8));
        hasher.write(key);
        Seek {
            hash: if cfg!(loom) { 0 } else { hasher.finish() },
            name,
            tag,
            key,
        }
    }

    /// Of the bucket that keys share which have none of their own.
    pub(crate) fn shared(&self, name: u64) -> Address {
        self.seek(name, SHARED, &[]).address()
    }
}

impl Seek<'_> {
    /// The same with a key of its own.
    #[must_use]
    pub fn address(&self) -> Address {
        Address {
            hash: self.hash,
            name: self.name,
            key: Label::new(self.tag, self.key),
        }
    }

    /// A number that is spread evenly.
    #[inline]
    pub(crate) fn spread(&self) -> u64 {
        self.hash
    }

    /// What a map is asked for.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn sought(&self) -> Self {
        *self
    }

    /// A model's map has keys of their own only.
    #[cfg(loom)]
    pub(crate) fn sought(&self) -> Address {
        self.address()
    }
}

impl papaya::Equivalent<Address> for Seek<'_> {
    #[inline]
    fn equivalent(&self, address: &Address) -> bool {
        let Address { hash, name, key } = address;
        (*hash, *name, key.tag(), key.bytes()) == (self.hash, self.name, self.tag, self.key)
    }
}

/// As that of the address.
impl Hash for Seek<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Address {
    /// The same for who looks.
    #[inline]
    pub fn seek(&self) -> Seek<'_> {
        Seek {
            hash: self.hash,
            name: self.name,
            tag: self.key.tag(),
            key: self.key.bytes(),
        }
    }

    pub(crate) fn name(&self) -> u64 {
        self.name
    }

    /// Whether it is of the bucket that keys share.
    /// The key, of which the tag is 0 for the bucket that further keys share.
    #[must_use]
    pub fn key(&self) -> &Label {
        &self.key
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.key.tag() == SHARED
    }

    /// How many bytes its key has elsewhere.
    pub(crate) fn heap(&self) -> u64 {
        u64::try_from(self.key.heap()).unwrap_or(u64::MAX)
    }
}

/// What it was hashed to when it was made, by its seed.
impl Hash for Address {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use papaya::Equivalent;

    use super::*;

    #[test]
    fn addresses_are_equal_where_name_and_key_are() {
        let addresses = Addresses::default();
        let address = |name, tag, key: &[u8]| addresses.seek(name, tag, key).address();
        let one = address(1, 1, b"a");
        let others = [
            address(2, 1, b"a"),
            address(1, 2, b"a"),
            address(1, 1, b"b"),
        ];
        for other in std::iter::once(address(1, 1, b"a")).chain(others.clone()) {
            assert_eq!(one == other, !others.contains(&other));
            assert_eq!(one.seek().equivalent(&other), one == other);
        }
        assert!(addresses.shared(1).is_shared() && !address(1, 1, &[]).is_shared());
    }

    /// A map finds what was put in by an address when it is sought, and nothing else.
    #[test]
    fn what_is_sought_is_found() {
        let (addresses, map) = (Addresses::default(), crate::map::new());
        for length in [0, 1, 16, 37, 38, 300] {
            let key = vec![7; length];
            let seek = addresses.seek(1, 1, &key);
            assert!(map.pin().get(&seek.sought()).is_none());
            map.pin().insert(seek.address(), length);
            assert_eq!(
                map.pin().get(&seek.address().seek().sought()),
                Some(&length)
            );
            assert_eq!(map.pin().get(&seek.sought()), Some(&length));
        }
    }

    /// Another seed orders the same keys otherwise.
    #[test]
    fn no_two_tables_hash_alike() {
        let (one, other) = (Addresses::default(), Addresses::default());
        let hash = |addresses: &Addresses| addresses.seek(1, 1, b"tenant").spread();
        assert_ne!(hash(&one), hash(&other));
    }
}
