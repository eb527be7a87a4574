//! The owners that one thread used last, found without a look into the table.
//!
//! A look-up in the table, and what protects it from a record that is freed meanwhile, cost more than all the counting.
//! So a thread keeps a few records itself. It need not be told when one of them ends: in a record that has ended no
//! account is open, and none ever is again (`Owner`). Counting finds that out in the step that counts, as it does in a
//! record that was looked up a moment ago, and goes to the table.

use std::cell::{Cell, RefCell};

use crate::gauge::Vacant;
use crate::limits::Limits;
use crate::owner::{Account, Owner};
use crate::places::Step;
use crate::sync::Kept;
use crate::tally::Seat;
use crate::vocabulary::{OwnerId, RoleId, Runtime};

/// A thread keeps so many owners at most. A model has one place, so that owners come into each other's way.
const PLACES: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = if cfg!(loom) { 0 } else { 6 };
/// So many times in a row an owner is asked for before it is kept: more often than for one request, so that a walk over
/// very many owners does not keep each for nothing.
const OFTEN: u32 = if cfg!(loom) { 2 } else { 4 };

/// What one thread keeps near: the owners of one table that it used last, 64 at most, and of those that have, or had,
/// eight roles at most. Which it keeps depends on their numbers; those of the same place replace each other, when one
/// is asked for four times in a row.
///
/// Its operations are those of [`Limits`], and do nothing where the owner is not near: then [`Limits`] is asked, and
/// [`missed`](Self::missed) told.
///
/// It keeps the record of an owner that has ended as well, for nobody to find. Those are let go when the thread next
/// uses it after [`Limits::tidy`], which is called once a second; a thread that never does keeps 64 at most.
///
/// ```
/// use erlmcp_core::limits::{Limits, Verdict};
/// use erlmcp_core::near::Near;
/// use erlmcp_core::{OwnerId, RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (role, owner) = (RoleId(1), OwnerId(7));
/// let table = Limits::new(role, 10, Still.now());
/// let near = Near::new();
/// for _ in 0..5 {
///     if near.enqueue(&table, role, owner, &Still).is_none() {
///         table.enqueue(role, owner, &Still)?;
///         near.missed(&table, owner);
///     }
/// }
/// assert_eq!(near.check(&table, role, owner, &Still), Some(Verdict::Granted));
/// assert_eq!(table.depth(role, owner), 5);
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
pub struct Near<W> {
    /// As the table's was when this was last looked through.
    era: Cell<u64>,
    table: Cell<u64>,
    seat: Cell<Option<Seat>>,
    places: RefCell<[Place<W>; PLACES]>,
}

struct Place<W> {
    id: OwnerId,
    owner: Option<Kept<Owner<W>>>,
    /// Who was last looked for here, and not found; it is none of the table's, perhaps. How often in a row.
    missed: OwnerId,
    times: u32,
}

impl<W> Place<W> {
    const EMPTY: Self = Self {
        id: OwnerId(0),
        owner: None,
        missed: OwnerId(0),
        times: 0,
    };
}

impl<W: Send + Sync + 'static> Near<W> {
    /// Keeps nobody yet.
    pub const fn new() -> Self {
        Self {
            era: Cell::new(0),
            table: Cell::new(0),
            seat: Cell::new(None),
            places: RefCell::new([Place::EMPTY; PLACES]),
        }
    }

    /// An owner was asked for that was not near: if it is for the fourth time in a row in its place, it is from now on.
    pub fn missed(&self, table: &Limits<W>, owner: OwnerId) {
        if self.era.get() != table.era() {
            self.turn(table);
        }
        let Ok(mut places) = self.places.try_borrow_mut() else {
            return;
        };
        let Some(place) = places.get_mut(place(owner)) else {
            return;
        };
        if place.missed != owner {
            (place.missed, place.times) = (owner, 0);
        }
        place.times = place.times.saturating_add(1);
        if place.times < OFTEN || place.id == owner && place.is_good() {
            return;
        }
        let known = table.owners.shard(owner).pin().get(&owner).cloned();
        place.owner = known.filter(|owner| owner.is_small());
        place.id = owner;
    }

    /// Takes notice of the table's turn: lets go of owners that have ended, or of all if they are of another table.
    #[cold]
    fn turn(&self, table: &Limits<W>) {
        let Ok(mut places) = self.places.try_borrow_mut() else {
            return;
        };
        let same = self.table.replace(table.number()) == table.number();
        for place in places.iter_mut() {
            if !(same && place.is_good()) {
                let Place { owner, .. } = std::mem::replace(place, Place::EMPTY);
                // One that has become large meanwhile is freed elsewhere.
                owner
                    .filter(|owner| !owner.is_small())
                    .into_iter()
                    .for_each(|owner| table.free_later(owner));
            }
        }
        self.seat.set(Some(Seat::mine()));
        self.era.set(table.era());
    }

    /// How many owners are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        let places = self.places.borrow();
        places.iter().filter(|place| place.owner.is_some()).count()
    }

    // Compiled into each operation: to be called costs as much as half of what it does.
    #[inline(always)]
    pub(crate) fn change<R, S: Into<Step>>(
        &self,
        table: &Limits<W>,
        role: RoleId,
        id: OwnerId,
        runtime: &impl Runtime,
        operation: impl FnOnce(&Account<W>, Seat) -> Result<(R, S), Vacant>,
    ) -> Option<R> {
        self.look(table, role, id, |owner, account, seat| {
            let (result, step) = operation(account, seat)?;
            table.stepped(owner, account, id, step, runtime);
            Ok(result)
        })
    }

    /// Runs `operation` on an account that is near.
    #[inline(always)]
    pub(crate) fn look<R>(
        &self,
        table: &Limits<W>,
        role: RoleId,
        owner: OwnerId,
        operation: impl FnOnce(&Owner<W>, &Account<W>, Seat) -> Result<R, Vacant>,
    ) -> Option<R> {
        if self.era.get() != table.era() {
            return None;
        }
        let places = self.places.try_borrow().ok()?;
        let place = places.get(place(owner)).filter(|place| place.id == owner)?;
        let owner = place.owner.as_ref()?;
        operation(owner, owner.account(role)?, self.seat.get()?).ok()
    }
}

impl<W: Send + Sync + 'static> Default for Near<W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W> Place<W> {
    fn is_good(&self) -> bool {
        self.owner
            .as_ref()
            .is_some_and(|owner| owner.is_small() && !owner.holds_nothing())
    }
}

/// Where an owner is, if it is near.
#[inline]
fn place(OwnerId(id): OwnerId) -> usize {
    // As in `Owners::shard`, and other bits than those.
    let spread = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (spread >> 32) as usize & (PLACES - 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::sync::watched::lines_written;
    use crate::verdict::Verdict;
    use crate::vocabulary::immortals::Immortals;

    const ROLE: RoleId = RoleId(1);
    const OWNER: OwnerId = OwnerId(7);

    fn table() -> Limits<()> {
        Limits::new(RoleId(0), 5, Immortals.now())
    }

    fn enqueue(near: &Near<()>, table: &Limits<()>, owner: OwnerId) -> bool {
        let found = near.enqueue(table, ROLE, owner, &Immortals).is_some();
        if !found {
            table.enqueue(ROLE, owner, &Immortals).unwrap();
            near.missed(table, owner);
        }
        found
    }

    #[test]
    fn who_is_used_often_in_a_row_is_near() {
        let (near, table) = (Near::new(), table());
        let found = [(); 6].map(|()| enqueue(&near, &table, OWNER));
        assert_eq!(found, [false, false, false, false, true, true]);
        assert_eq!(table.depth(ROLE, OWNER), 6);
        assert_eq!(near.kept(), 1);
    }

    #[test]
    fn many_that_are_used_for_one_request_drive_nobody_out() {
        let (near, table) = (Near::new(), table());
        (0..5).for_each(|_| _ = enqueue(&near, &table, OWNER));
        for owner in 1_000..10_000 {
            assert_eq!(
                [(); 3].map(|()| enqueue(&near, &table, OwnerId(owner))),
                [false; 3]
            );
        }
        assert_eq!(near.kept(), 1);
        assert!(enqueue(&near, &table, OWNER));
    }

    #[test]
    fn no_more_are_kept_than_there_are_places() {
        let (near, table) = (Near::new(), table());
        for owner in 0..10_000 {
            (0..5).for_each(|_| _ = enqueue(&near, &table, OwnerId(owner)));
        }
        assert_eq!(near.kept(), PLACES);
        assert_eq!(table.owners(), 10_000);
    }

    #[test]
    fn who_has_ended_is_freed_after_the_next_turn() {
        let (near, table) = (Near::new(), table());
        (0..5).for_each(|_| _ = enqueue(&near, &table, OWNER));
        let shard = table.owners.shard(OWNER).pin();
        let record = Kept::clone(shard.get(&OWNER).unwrap());
        drop(shard);
        table.died(OWNER, &Immortals);
        assert!(near.check(&table, ROLE, OWNER, &Immortals).is_none());
        table.tidy();
        // Whatever the thread uses next.
        near.missed(&table, OwnerId(8));
        assert_eq!((near.kept(), Kept::is_unique(&record)), (0, true));
    }

    #[test]
    fn owners_of_many_roles_are_not_kept() {
        let (near, table) = (Near::new(), table());
        let in_roles = |roles: std::ops::Range<u64>| {
            for role in roles {
                table.enqueue(RoleId(role), OWNER, &Immortals).unwrap();
            }
        };
        in_roles(1..9);
        (0..5).for_each(|_| _ = enqueue(&near, &table, OWNER));
        assert_eq!(near.kept(), 1);
        // One that comes to have them is let go with the next turn, and freed by the one after that.
        in_roles(9..10);
        let shard = table.owners.shard(OWNER).pin();
        let record = Kept::clone(shard.get(&OWNER).unwrap());
        drop(shard);
        table.died(OWNER, &Immortals);
        table.tidy();
        let held = Kept::strong_count(&record);
        near.missed(&table, OwnerId(8));
        assert_eq!((near.kept(), Kept::strong_count(&record)), (0, held));
        table.tidy();
        assert_eq!(Kept::strong_count(&record), held.saturating_sub(1));
        in_roles(1..10);
        (0..9).for_each(|_| _ = enqueue(&near, &table, OWNER));
        assert_eq!(near.kept(), 0);
    }

    #[test]
    fn tables_keep_apart() {
        let (near, one, other) = (Near::new(), table(), table());
        (0..5).for_each(|_| _ = enqueue(&near, &one, OWNER));
        assert!(!enqueue(&near, &other, OWNER));
        assert_eq!(other.depth(ROLE, OWNER), 1);
        assert_eq!(one.depth(ROLE, OWNER), 5);
        assert_eq!(near.kept(), 0);
    }

    #[test]
    fn roles_of_one_owner_are_all_near() {
        let (near, table) = (Near::new(), table());
        (0..5).for_each(|_| _ = enqueue(&near, &table, OWNER));
        let second = RoleId(2);
        assert!(near.enqueue(&table, second, OWNER, &Immortals).is_none());
        table.enqueue(second, OWNER, &Immortals).unwrap();
        assert!(near.enqueue(&table, second, OWNER, &Immortals).is_some());
        assert_eq!(table.total_depth(OWNER), Some((7, false)));
    }

    /// What each operation on one owner writes into, once it is near; and that it then is near throughout.
    fn written(table: &Limits<()>, owner: OwnerId, seat: usize) -> BTreeSet<usize> {
        let near = Near::new();
        (0..5).for_each(|_| _ = enqueue(&near, table, owner));
        near.dequeue(table, ROLE, owner, &Immortals).unwrap();
        near.seat.set(Some(Seat::numbered(seat)));
        lines_written(|| {
            for _ in 0..100 {
                let verdict = near.check(table, ROLE, owner, &Immortals);
                assert_eq!(verdict, Some(Verdict::Granted));
                near.enqueue(table, ROLE, owner, &Immortals).unwrap();
                near.dequeue(table, ROLE, owner, &Immortals).unwrap();
                near.dequeue(table, ROLE, owner, &Immortals).unwrap();
                let verdict = near.try_enqueue(table, ROLE, owner, &Immortals);
                assert_eq!(verdict, Some(Verdict::Granted));
            }
        })
    }

    /// It writes its owner's gauge and its own stripe of the role, and nothing of another's; neither does it take a
    /// lock or look into the table, whose words are not seen here: all was near.
    #[test]
    fn who_counts_for_an_owner_of_its_own_writes_no_line_that_another_writes() {
        let table = table();
        let lines: Vec<_> = std::thread::scope(|scope| {
            let count = |seat| {
                let table = &table;
                scope.spawn(move || written(table, OwnerId(seat as u64), seat))
            };
            let threads = [0, 1].map(count);
            threads.map(|thread| thread.join().unwrap()).into()
        });
        for (number, mine) in lines.iter().enumerate() {
            assert_eq!(mine.len(), 2);
            assert!(
                lines
                    .iter()
                    .skip(number + 1)
                    .all(|theirs| mine.is_disjoint(theirs))
            );
        }
    }

    #[test]
    fn refusals_are_those_of_the_table() {
        let (near, table) = (Near::new(), table());
        (0..5).for_each(|_| _ = enqueue(&near, &table, OWNER));
        for answer in [
            near.check(&table, ROLE, OWNER, &Immortals),
            near.try_enqueue(&table, ROLE, OWNER, &Immortals),
        ] {
            let refused = match answer {
                Some(Verdict::Refused(refusal)) => Some((refusal.depth, refusal.stats.limit)),
                _ => None,
            };
            assert_eq!(refused, Some((5, 5)));
        }
        assert_eq!(near.dequeue(&table, ROLE, OWNER, &Immortals), Some(()));
        assert_eq!(
            near.try_enqueue(&table, ROLE, OWNER, &Immortals),
            Some(Verdict::Granted)
        );
        assert_eq!(table.roles().stats(ROLE).unwrap().refused, 2);
    }
}
