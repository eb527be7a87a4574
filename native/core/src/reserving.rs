//! Taking a role for the library's own use: only one that nobody is in.

use crate::limits::Limits;
use crate::reserved::Reservation;
use crate::sync::{Ordering, fence};
use crate::vocabulary::{Host, RoleId};

/// This is why a role was not taken for the library's own use. [`Watch`](crate::Watch) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFree {
    /// The role has owners, and so is somebody's.
    InUse,
    /// The role does not exist, and there is no room for one more.
    TooManyRoles,
}

impl<W: Send + Sync + 'static> Limits<W> {
    /// Makes a role nobody else's. It takes time in proportion to the number of owners.
    pub(crate) fn reserve(
        &self,
        reservation: &Reservation,
        role: RoleId,
        host: &impl Host<Watch = W>,
    ) -> Result<(), NotFree> {
        let made = self.roles().get_or_insert(role, || host.now());
        made.map_err(|_| NotFree::TooManyRoles)?;
        reservation.reserve(role);
        // Pairs with the fence in `Owner::enter`: who is not found below has seen that the role is reserved.
        fence(Ordering::SeqCst);
        let mut is_used = false;
        self.owners
            .for_each(|_, owner| is_used = is_used || owner.is_in(role));
        if is_used {
            reservation.release();
            return Err(NotFree::InUse);
        }
        Ok(())
    }
}
