//! What a bucket is found by: the name of its rate, and the key's label. Two addresses are equal if both of that are,
//! and are looked for by a hash with a seed that nobody knows who chooses keys.

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

/// Makes addresses.
#[derive(Debug, Default)]
pub(crate) struct Addresses(RandomState);

impl Addresses {
    /// Of a key's tag, which is not 0, and bytes.
    #[inline(always)]
    pub(crate) fn address(&self, name: u64, tag: u8, key: &[u8]) -> Address {
        let mut hasher = self.0.build_hasher();
        hasher.write_u64(name ^ u64::from(tag).rotate_right(8));
        hasher.write(key);
        Address {
            hash: if cfg!(loom) { 0 } else { hasher.finish() },
            name,
            key: Label::new(tag, key),
        }
    }

    /// Of the bucket that keys share which have none of their own.
    pub(crate) fn shared(&self, name: u64) -> Address {
        self.address(name, SHARED, &[])
    }
}

impl Address {
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

    /// A number that is spread evenly.
    #[inline]
    pub(crate) fn spread(&self) -> u64 {
        self.hash
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
    use super::*;

    #[test]
    fn addresses_are_equal_where_name_and_key_are() {
        let addresses = Addresses::default();
        assert_eq!(addresses.address(1, 1, b"a"), addresses.address(1, 1, b"a"));
        assert_ne!(addresses.address(1, 1, b"a"), addresses.address(2, 1, b"a"));
        assert_ne!(addresses.address(1, 1, b"a"), addresses.address(1, 2, b"a"));
        assert_ne!(addresses.address(1, 1, b"a"), addresses.address(1, 1, b"b"));
        assert!(addresses.shared(1).is_shared() && !addresses.address(1, 1, &[]).is_shared());
    }

    /// Another seed orders the same keys otherwise.
    #[test]
    fn no_two_tables_hash_alike() {
        let (one, other) = (Addresses::default(), Addresses::default());
        let hash = |addresses: &Addresses| addresses.address(1, 1, b"tenant").spread();
        assert_ne!(hash(&one), hash(&other));
    }
}
