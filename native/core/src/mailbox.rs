//! Limits of mailboxes: the queue of a process itself, which needs to know nothing of it.
//!
//! How long a mailbox is only the runtime knows. So whoever sends asks for it, between two of these steps: it notes how
//! many were sent, asks, is admitted or not, sends, and says so. Nobody passes the limit by that, however many send at
//! once (`senders.rs`).

use crate::bounds::Case;
use crate::gauge::{Kind, Vacant};
use crate::limits::{Limits, Refusal, Unfit, Verdict};
use crate::near::Near;
use crate::owner::Account;
use crate::reason::Reason;
use crate::request::Request;
use crate::senders::{Claim, Told};
use crate::tally::Seat;
use crate::verdict::{has_room, refuse};
use crate::vocabulary::{Host, OwnerId, RoleId, Runtime};

/// An entry says what a sender has to do first.
///
/// ```
/// use erlmcp_core::limits::Limits;
/// use erlmcp_core::{Admittance, Entry, OwnerId, RoleId, Runtime, Told};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (role, receiver, sender) = (RoleId(1), OwnerId(7), OwnerId(8));
/// let table = Limits::new(role, 3, Still.now());
/// let Some(Entry::Ask { noted, noted_ns }) = table.admit_unasked(role, receiver, sender, &Still)? else {
///     panic!("nobody has asked yet");
/// };
/// let told = Told { noted, noted_ns, length: 2 };
/// let Admittance::Granted(claim) = table.admit(role, receiver, sender, told, false, &Still) else {
///     panic!("there is room for one more");
/// };
/// // Until its message is there it counts, whatever others are told.
/// let other = OwnerId(9);
/// assert!(matches!(table.admit(role, receiver, other, told, false, &Still), Admittance::Refused(_)));
/// table.sent(role, receiver, (claim, sender), 2, &Still);
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// To send: it is admitted. The place is given back by [`Limits::sent_unasked`].
    Granted(Claim),
    /// To ask for the length of the mailbox, and to be admitted by [`Limits::admit`] with this note.
    Ask {
        /// To be told as [`Told::noted`].
        noted: u64,
        /// To be told as [`Told::noted_ns`].
        noted_ns: u64,
    },
}

impl From<Result<Claim, (u64, u64)>> for Entry {
    fn from(admitted: Result<Claim, (u64, u64)>) -> Self {
        match admitted {
            Ok(claim) => Self::Granted(claim),
            Err((noted, noted_ns)) => Self::Ask { noted, noted_ns },
        }
    }
}

/// An admittance is the answer to a sender that was told the length of the mailbox. [`Entry`] has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admittance<R = Box<Refusal>> {
    /// There is room. The place is given back by [`Limits::sent`].
    Granted(Claim),
    /// Ask for the length once more: what stood in the way is gone.
    Again,
    /// There is none.
    Refused(R),
}

impl<W: Send + Sync + 'static> Limits<W> {
    /// Admits a sender that need not ask for the length of an owner's mailbox, since another has just done so. `None`
    /// if the owner is dead.
    ///
    /// # Errors
    ///
    /// [`Unfit`], as of every operation.
    pub fn admit_unasked(
        &self,
        role: RoleId,
        owner: OwnerId,
        sender: OwnerId,
        host: &impl Host<Watch = W>,
    ) -> Result<Option<Entry>, Unfit> {
        self.admit_unasked_with(role, owner, sender, &Request::default(), host)
    }

    /// Does what [`admit_unasked`](Self::admit_unasked) does, for a message that says something of itself.
    ///
    /// # Errors
    ///
    /// [`Unfit`], as of every operation.
    pub fn admit_unasked_with(
        &self,
        role: RoleId,
        owner: OwnerId,
        sender: OwnerId,
        request: &Request,
        host: &impl Host<Watch = W>,
    ) -> Result<Option<Entry>, Unfit> {
        let admit = |account: &Account<W>| enter(account, sender, request, host);
        match self.look(role, owner, admit) {
            Ok(entry) => Ok(Some(entry)),
            Err(Vacant) => self.enter(role, owner, Kind::Mailbox, host, |account| {
                Ok((admit(account)?, account.depth()?))
            }),
        }
    }

    /// Admits a sender that has been told this, if there is room. If it has asked often enough, it is not to ask once
    /// more: it is admitted or refused.
    pub fn admit(
        &self,
        role: RoleId,
        owner: OwnerId,
        sender: OwnerId,
        told: Told,
        is_last: bool,
        host: &impl Host<Watch = W>,
    ) -> Admittance {
        self.admit_with(
            role,
            owner,
            (sender, told),
            is_last,
            &Request::default(),
            host,
        )
    }

    /// Does what [`admit`](Self::admit) does, for a message that says something of itself.
    pub fn admit_with(
        &self,
        role: RoleId,
        owner: OwnerId,
        asks: (OwnerId, Told),
        is_last: bool,
        request: &Request,
        host: &impl Host<Watch = W>,
    ) -> Admittance {
        let looked = self.look(role, owner, |account| {
            answered(account, asks, is_last, request, host)
        });
        // Forgotten meanwhile, or dead.
        looked.unwrap_or(Admittance::Again)
    }

    /// Does what [`admit_with`](Self::admit_with) does, but counts no refusal: whoever asks for one of several
    /// receivers is refused once, and not by each.
    pub fn offer_message(
        &self,
        role: RoleId,
        owner: OwnerId,
        asks: (OwnerId, Told),
        is_last: bool,
        request: &Request,
        host: &impl Host<Watch = W>,
    ) -> Admittance<()> {
        let looked = self.look(role, owner, |account| {
            Ok(match asked(account, asks, is_last, request, host)? {
                Admittance::Granted(claim) => Admittance::Granted(claim),
                Admittance::Again => Admittance::Again,
                Admittance::Refused(_) => Admittance::Refused(()),
            })
        });
        looked.unwrap_or(Admittance::Again)
    }

    /// The message of a sender that did not ask is in the mailbox.
    pub fn sent_unasked(&self, role: RoleId, owner: OwnerId, claim: Claim, sender: OwnerId) {
        let _ = self.look(role, owner, |account| {
            account.sent_unasked(claim, sender, Seat::mine())
        });
    }

    /// The message of a sender that was admitted is in the mailbox, which had this length before.
    pub fn sent(
        &self,
        role: RoleId,
        owner: OwnerId,
        (claim, sender): (Claim, OwnerId),
        length: u64,
        host: &impl Host<Watch = W>,
    ) {
        let _ = self.change(role, owner, host, |account| {
            Ok(((), account.sent(claim, sender, length, Seat::mine())?))
        });
    }

    /// Tells whether a mailbox of this length has room. Counts a refusal, and nothing else.
    pub fn check_mailbox(
        &self,
        role: RoleId,
        owner: OwnerId,
        length: u64,
        request: &Request,
        runtime: &impl Runtime,
    ) -> Verdict {
        let looked = self.look(role, owner, |account| {
            Ok(has_room(account, length, request, runtime))
        });
        looked.unwrap_or(Verdict::Granted)
    }

    /// Somebody has looked at a mailbox: it has this length. A level that this no longer amounts to is left. Returns
    /// whether the mailbox is to be looked at again.
    pub fn looked(
        &self,
        role: RoleId,
        owner: OwnerId,
        length: u64,
        host: &impl Host<Watch = W>,
    ) -> bool {
        let _ = self.change(role, owner, host, |account| {
            Ok(((), account.looked(length, Seat::mine())?))
        });
        self.is_still_long(role, owner, length, host)
    }

    /// What the owner's depth in a role is, if it has any.
    pub fn kind(&self, role: RoleId, owner: OwnerId) -> Option<Kind> {
        self.look(role, owner, |account| account.kind()).ok()
    }
}

impl<W: Send + Sync + 'static> Near<W> {
    /// Does what [`Limits::admit_unasked_with`] does, if the owner is near and its mailbox known in the role.
    #[inline]
    pub fn admit_unasked(
        &self,
        table: &Limits<W>,
        role: RoleId,
        owner: OwnerId,
        sender: OwnerId,
        request: &Request,
        host: &impl Host<Watch = W>,
    ) -> Option<Entry> {
        self.look(table, role, owner, |_, account, _| {
            enter(account, sender, request, host)
        })
    }

    /// Does what [`Limits::sent_unasked`] does, if the owner is near and its mailbox known in the role.
    #[inline]
    pub fn sent_unasked(
        &self,
        table: &Limits<W>,
        role: RoleId,
        owner: OwnerId,
        claim: Claim,
        sender: OwnerId,
    ) -> Option<()> {
        self.look(table, role, owner, |_, account, seat| {
            account.sent_unasked(claim, sender, seat)
        })
    }

    /// Does what [`Limits::admit_with`] does, if the owner is near and its mailbox known in the role.
    #[inline]
    pub fn admit(
        &self,
        table: &Limits<W>,
        (role, owner): (RoleId, OwnerId),
        asks: (OwnerId, Told),
        is_last: bool,
        request: &Request,
        host: &impl Host<Watch = W>,
    ) -> Option<Admittance> {
        self.look(table, role, owner, |_, account, _| {
            answered(account, asks, is_last, request, host)
        })
    }

    /// Does what [`Limits::sent`] does, if the owner is near and its mailbox known in the role.
    #[inline]
    pub fn sent(
        &self,
        table: &Limits<W>,
        role: RoleId,
        owner: OwnerId,
        (claim, sender): (Claim, OwnerId),
        length: u64,
        host: &impl Host<Watch = W>,
    ) -> Option<()> {
        self.change(table, role, owner, host, |account, seat| {
            Ok(((), account.sent(claim, sender, length, seat)?))
        })
    }
}

/// Whoever the node has to do without is not admitted unasked, and refused when it has asked.
#[inline]
fn enter<W>(
    account: &Account<W>,
    sender: OwnerId,
    request: &Request,
    host: &impl Host<Watch = W>,
) -> Result<Entry, Vacant> {
    if account.role().node_refuses(request.class, host) {
        let noted = account.senders()?.sent();
        return Ok(Entry::Ask { noted, noted_ns: 0 });
    }
    let is_alive = |sender| host.is_alive(sender);
    Ok(account
        .admit_unasked(sender, || host.ticks_ns(), request, is_alive)?
        .into())
}

/// What becomes of a sender that was told this.
#[inline]
fn asked<W>(
    account: &Account<W>,
    (sender, told): (OwnerId, Told),
    is_last: bool,
    request: &Request,
    host: &impl Host<Watch = W>,
) -> Result<Admittance<Case>, Vacant> {
    if account.role().node_refuses(request.class, host) {
        let case = account.case(told.length, request, Reason::Node);
        return Ok(Admittance::Refused(case));
    }
    let is_alive = |sender| host.is_alive(sender);
    Ok(match account.admit(sender, told, request, is_alive)? {
        Ok(claim) => Admittance::Granted(claim),
        Err(_) if asks_again(account, told, is_last, request, host)? => Admittance::Again,
        Err(depth) => {
            let reason = account.reason(depth, request);
            Admittance::Refused(account.case(depth, request, reason))
        }
    })
}

/// The same, and a refusal is counted.
#[inline]
fn answered<W>(
    account: &Account<W>,
    asks: (OwnerId, Told),
    is_last: bool,
    request: &Request,
    host: &impl Host<Watch = W>,
) -> Result<Admittance, Vacant> {
    Ok(match asked(account, asks, is_last, request, host)? {
        Admittance::Granted(claim) => Admittance::Granted(claim),
        Admittance::Again => Admittance::Again,
        Admittance::Refused(case) => Admittance::Refused(refuse(account.role(), &case, host)),
    })
}

/// Not by the length alone: whom it was counted for is dead, or has sent since, so that its message is counted twice.
#[cold]
fn asks_again<W>(
    account: &Account<W>,
    told: Told,
    is_last: bool,
    request: &Request,
    host: &impl Host<Watch = W>,
) -> Result<bool, Vacant> {
    let senders = account.senders()?;
    let is_final = is_last || told.length >= account.refuses_at(request);
    Ok(
        !is_final
            && (senders.sweep(|sender| host.is_alive(sender)) || senders.sent() != told.noted),
    )
}
