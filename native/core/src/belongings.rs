//! What each owner has, by id: tokens, and cancellations that came before theirs. All of one's is behind its lock.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::index::{Index, Table};
use crate::label::Label;
use crate::map::{self, Map};
use crate::sync::{Arc, AtomicU64, Kept, Mutex, Ordering};
use crate::token::Token;
use crate::tombstones::Tombstone;
use crate::vocabulary::{Dead, Host, OwnerId};

#[derive(Debug)]
pub(crate) struct Owners<P> {
    owners: Map<OwnerId, Kept<Owner<P>>>,
    hasher: RandomState,
    /// For tokens without an id.
    numbers: AtomicU64,
}

#[derive(Debug)]
struct Owner<P>(Mutex<Belongings<P>>);

#[derive(Debug)]
pub(crate) struct Belongings<P> {
    pub(crate) index: Index<Item<P>>,
    /// Nothing is entered here any more.
    ended: bool,
}

#[derive(Debug)]
pub(crate) enum Item<P> {
    Token(Arc<Token<P>>),
    Tombstone(Kept<Tombstone>),
}

impl<P> Item<P> {
    pub(crate) fn has(&self, id: &Label) -> bool {
        match self {
            Self::Token(token) => token.id() == Some(id),
            Self::Tombstone(stone) => stone.id == *id,
        }
    }

    pub(crate) fn is_token(&self, token: &Token<P>) -> bool {
        matches!(self, Self::Token(other) if std::ptr::eq(&raw const **other, token))
    }

    pub(crate) fn is_stone(&self, stone: &Tombstone) -> bool {
        matches!(self, Self::Tombstone(other) if std::ptr::eq(&raw const **other, stone))
    }
}

/// What a dead owner has left: it may be much, and is settled in pieces.
/// [`Cancellations`](crate::cancel::Cancellations) has an example.
#[derive(Debug)]
#[must_use]
pub struct Estate<P>(Vec<Table<Item<P>>>);

impl<P> Estate<P> {
    /// Tells whether nothing is left of it.
    pub fn is_settled(&self) -> bool {
        self.0.is_empty()
    }

    /// Some hundreds of it, at most.
    pub(crate) fn some(&mut self) -> impl Iterator<Item = Item<P>> + use<P> {
        let table = self.0.pop().into_iter().flatten();
        table.flat_map(|(_, alike)| alike.into_all())
    }
}

impl<P: Send + Sync + 'static> Owners<P> {
    pub(crate) fn new() -> Self {
        Self {
            owners: map::new(),
            hasher: RandomState::new(),
            numbers: AtomicU64::new(0),
        }
    }

    pub(crate) fn hash(&self, id: &Label) -> u64 {
        self.hasher.hash_one(id)
    }

    pub(crate) fn hash_of_none(&self) -> u64 {
        self.hasher
            .hash_one(self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs `operation` on what an owner has, before that can end.
    pub(crate) fn with<R>(
        &self,
        owner: OwnerId,
        host: &impl Host,
        operation: impl FnOnce(&mut Belongings<P>) -> R,
    ) -> Result<R, Dead> {
        let owners = self.owners.pin();
        loop {
            if let Some(record) = owners.get(&owner) {
                let mut belongings = record.0.lock();
                if !belongings.ended {
                    return Ok(operation(&mut belongings));
                }
                drop(belongings);
                map::remove_this(&self.owners, &owner, record);
            }
            let record = Kept::new(Owner::new());
            // Others find it locked until it is known whether anybody tells of the owner's end.
            let mut belongings = record.0.lock();
            if let Ok(new) = owners.try_insert(owner, Kept::clone(&record)) {
                if host.watch(owner).is_ok() {
                    return Ok(operation(&mut belongings));
                }
                belongings.ended = true;
                map::remove_this(&self.owners, &owner, new);
                return Err(Dead);
            }
        }
    }

    /// Takes this one from an owner. False if it was not there.
    pub(crate) fn remove(
        &self,
        owner: OwnerId,
        hash: u64,
        is_it: impl Fn(&Item<P>) -> bool,
    ) -> bool {
        let owners = self.owners.pin();
        let Some(owner) = owners.get(&owner) else {
            return false;
        };
        // Dropped when nobody waits for the lock.
        let removed = owner.0.lock().index.remove(hash, is_it);
        removed.is_some()
    }

    /// An owner is dead, and has nothing any more.
    pub(crate) fn end(&self, owner: OwnerId) -> Estate<P> {
        let owners = self.owners.pin();
        let index = owners.remove(&owner).map(|owner| {
            let mut belongings = owner.0.lock();
            belongings.ended = true;
            std::mem::take(&mut belongings.index)
        });
        Estate(index.map(Index::into_tables).unwrap_or_default())
    }
}

impl<P> Owner<P> {
    fn new() -> Self {
        Self(Mutex::new(Belongings {
            index: Index::default(),
            ended: false,
        }))
    }
}
