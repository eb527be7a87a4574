//! How much memory a table takes.
//!
//! The allocator could be asked, but locks itself for milliseconds to answer. So records are counted, times their
//! size, with what is known of the tables that they are in.

use crate::alerts::Alert;
use crate::limits::Limits;
use crate::owner::{Account, Owner};
use crate::role::Role;
use crate::vocabulary::OwnerId;

/// What the allocator adds to a record: its own word, and rounding up to two.
const ALLOCATION: usize = 16;
/// How many keep a record.
const COUNT: usize = size_of::<usize>();
/// A slot of a table: a pointer, and a byte to tell without following it.
const SLOT: usize = size_of::<usize>() + 1;

impl<W: Send + Sync + 'static> Limits<W> {
    /// Estimates how many bytes owners, roles and alerts take. What was freed and not given back to the operating
    /// system is not in it.
    pub fn memory(&self) -> usize {
        let (mut owners, mut accounts, mut roles) = (0_usize, 0_usize, 0_usize);
        for stats in self.roles().all_stats() {
            accounts = accounts.saturating_add(usize::try_from(stats.owners).unwrap_or(usize::MAX));
            roles = roles.saturating_add(1);
        }
        let slots = self
            .owners
            .slots(|length| owners = owners.saturating_add(length));
        let record = size_of::<(OwnerId, usize)>()
            .saturating_add(COUNT.saturating_add(size_of::<Owner<W>>()))
            .saturating_add(ALLOCATION.saturating_mul(2));
        let further = accounts.saturating_sub(owners);
        [
            slots.saturating_mul(SLOT),
            owners.saturating_mul(record),
            further.saturating_mul(size_of::<Account<W>>().saturating_add(ALLOCATION)),
            roles.saturating_mul(size_of::<Role>().saturating_add(Role::heap())),
            self.judge()
                .alerts()
                .kept()
                .saturating_mul(size_of::<Alert>()),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}
