//! Looking at every owner: the periodic check, and the rows that people ask for.
//!
//! All of this takes time in proportion to the number of owners, and holds no lock that an operation takes.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use foldhash::fast::RandomState;

use crate::fill::{Bands, Fill};
use crate::gauge::Kind;
use crate::judge::Rules;
use crate::limit::Limit;
use crate::limits::Limits;
use crate::overload::{Level, Marks, Scale};
use crate::owner::Account;
use crate::rank::{Place, Rank};
use crate::sync::{self, fence};
use crate::timing::Timing;
use crate::vocabulary::{OwnerId, RoleId, Runtime};

/// A row is an owner in a role, as it was when it was looked at. A counted depth is exact.
///
/// ```
/// use erlmcp_core::limits::Limits;
/// use erlmcp_core::overload::Level;
/// use erlmcp_core::survey::Row;
/// use erlmcp_core::{Kind, OwnerId, RoleId, Runtime};
/// use still::Still; // as in the example at `Host`
/// # mod still { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/still.rs")); }
///
/// let (role, full, other) = (RoleId(1), OwnerId(7), OwnerId(8));
/// let table = Limits::new(role, 10, Still.now());
/// table.enqueue(role, other, &Still)?;
/// table.enqueue(role, full, &Still)?;
/// table.enqueue(role, full, &Still)?;
/// assert_eq!(table.rows(Some(role), &Still).len(), 2);
/// let [fullest] = table.fullest(None, 1, &Still)[..] else { panic!("one was asked for") };
/// assert_eq!((fullest.owner, fullest.kind, fullest.depth), (Some(full), Kind::Counted, 2));
/// assert_eq!((fullest.limit, fullest.status), (10, Level::Ok));
/// # Ok::<(), erlmcp_core::limits::Unfit>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// The row is of this role.
    pub role: RoleId,
    /// The row is of this owner, or of none for a role without any.
    pub owner: Option<OwnerId>,
    /// This is what the depth is.
    pub kind: Kind,
    /// So many requests wait for the owner; of a mailbox, its length as it was seen last.
    pub depth: u64,
    /// This is the owner's limit, or for a role without any its role's.
    pub limit: u64,
    /// This is what the depth amounts to by itself.
    pub status: Level,
    /// So long requests wait.
    pub timing: Timing,
}

impl<W: Send + Sync + 'static> Limits<W> {
    /// Judges by these rules from now on if `active`, unless that was switched by hand. What is held stays held.
    pub fn configure_overload(&self, rules: Rules, active: bool, runtime: &impl Runtime) {
        self.judge().set_rules(rules);
        self.judge().switch().configure(active);
        self.begin_or_forget(runtime);
    }

    /// Switches judging on or off by hand.
    pub fn switch_overload(&self, active: bool, runtime: &impl Runtime) {
        self.judge().switch().set(active);
        self.begin_or_forget(runtime);
    }

    /// Opens the monitor, judging by these rules if `active`. What was set by hand since it was opened stays; one that
    /// was closed is as new.
    pub fn open_overload(&self, rules: Rules, active: bool, runtime: &impl Runtime) {
        if !self.judge().is_open() {
            // What was switched by somebody who was under way when it was closed.
            self.clear_overload(runtime);
        }
        self.configure_overload(rules, active, runtime);
        self.judge().set_open(true);
    }

    /// Closes the monitor: nothing is judged any more, and all but depths is forgotten.
    pub fn close_overload(&self, runtime: &impl Runtime) {
        self.judge().set_open(false);
        self.clear_overload(runtime);
    }

    fn clear_overload(&self, runtime: &impl Runtime) {
        self.judge().switch().reset(false);
        self.begin_or_forget(runtime);
        self.judge().alerts().reset();
    }

    /// What is not judged holds no level; nobody is told.
    fn begin_or_forget(&self, runtime: &impl Runtime) {
        if self.judge().active() {
            self.check_overload(runtime);
        } else {
            self.forget_levels(runtime);
        }
    }

    /// Forgets all levels without telling anybody. Who is still above a threshold is alerted anew by its next
    /// enqueue, or the next check.
    pub fn forget_levels(&self, runtime: &impl Runtime) {
        // Pairs with the fence in `Owner::enter`: who is not found below has seen that nothing is judged.
        fence(sync::Ordering::SeqCst);
        self.owners
            .for_each(|_, owner| owner.forget_levels(self.judge(), runtime.now()));
        self.guard.forget_levels(runtime.now());
    }

    /// Looks at every owner: finds what a changed limit means, what was missed, and what is to be alerted
    /// again.
    pub fn check_overload(&self, runtime: &impl Runtime) {
        self.ease(runtime);
        let (now, now_ns) = (runtime.now(), runtime.ticks_ns());
        let active = self.judge().active();
        let mut news = false;
        let mut glances = Glances::new();
        self.owners.for_each(|id, owner| {
            let mut review = false;
            for account in owner.accounts() {
                let Ok(depth) = account.depth() else {
                    continue;
                };
                let new = || {
                    let scale = account.role().scale();
                    let marks = Level::ALL.map(|level| self.judge().marks(level, scale));
                    let is_for_all = matches!(account.role().set_to(), Limit::Fixed(_));
                    Glance::new(marks, Bands::of(scale.limit()), is_for_all)
                };
                let Some(glance) = glances.of(account.role_id(), new) else {
                    continue;
                };
                let expected = if glance.is_for_all {
                    glance.fill.add(depth, &glance.bands);
                    glance.expects(account)
                } else {
                    let scale = account.scale();
                    glance.fill.add_own(depth, scale.limit());
                    account.has_marks(self.judge().marks(account.level(), scale))
                };
                let timing = account.timing(now_ns);
                glance.fill.add_waiting(timing.wait_ms, timing.stalled_ms);
                review |= active
                    && (!expected || account.crossed(depth) || account.is_due(self.judge(), now));
            }
            if review {
                news |= owner.review(id, self.judge(), now);
            }
        });
        self.roles().note_check(now, |role| glances.fill(role));
        if news {
            runtime.wake();
        }
    }

    /// Gives a row for every owner of a role, or of all roles; a role without owners has a row without one.
    pub fn rows(&self, of: Option<RoleId>, runtime: &impl Runtime) -> Vec<Row> {
        let mut rows = Vec::new();
        self.for_each_row(of, runtime, |row| rows.push(row));
        for (role, limit) in self.roles().limits() {
            let wanted = of.is_none_or(|of| of == role);
            if wanted
                && self
                    .roles()
                    .stats(role)
                    .is_some_and(|stats| stats.owners == 0)
            {
                rows.push(Row {
                    role,
                    owner: None,
                    kind: Kind::Counted,
                    depth: 0,
                    limit: limit.number(),
                    status: Level::Ok,
                    timing: Timing::default(),
                });
            }
        }
        rows
    }

    /// Gives the rows of the `most` fullest owners of a role, or of all roles, by their utilisation and then by their
    /// depth, the fullest first.
    pub fn fullest(&self, of: Option<RoleId>, most: usize, runtime: &impl Runtime) -> Vec<Row> {
        self.first(of, Rank::Utilization, most, runtime)
    }

    /// Gives the first `most` rows of a role's owners, or of all roles', in this order.
    pub fn first(
        &self,
        of: Option<RoleId>,
        by: Rank,
        most: usize,
        runtime: &impl Runtime,
    ) -> Vec<Row> {
        let now_ns = runtime.ticks_ns();
        let mut heap: BinaryHeap<Reverse<Ranked>> = BinaryHeap::new();
        self.for_each_seen(of, |seen| {
            // Most are not among the first, and of these no more is made than tells so.
            let place = seen.place(by, now_ns);
            let ranked = || Reverse(Ranked(place, seen.row(now_ns)));
            if heap.len() < most {
                heap.push(ranked());
            } else if let Some(mut least) = heap.peek_mut()
                && place > least.0.0
            {
                *least = ranked();
            }
        });
        let sorted = heap.into_sorted_vec().into_iter();
        sorted.map(|Reverse(Ranked(_, row))| row).collect()
    }

    /// Gives all mailboxes that are limited, in whatever role.
    pub fn mailboxes(&self) -> Vec<(RoleId, OwnerId)> {
        let mut all = Vec::new();
        if self.judge().mailboxes().any() {
            self.owners.for_each(|id, owner| {
                let mailboxes = owner
                    .accounts()
                    .filter(|account| account.kind() == Ok(Kind::Mailbox));
                all.extend(mailboxes.map(|account| (account.role_id(), id)));
            });
        }
        all
    }

    fn for_each_row(&self, of: Option<RoleId>, runtime: &impl Runtime, mut see: impl FnMut(Row)) {
        let now_ns = runtime.ticks_ns();
        self.for_each_seen(of, |seen| see(seen.row(now_ns)));
    }

    fn for_each_seen(&self, of: Option<RoleId>, mut see: impl FnMut(&Seen<'_, W>)) {
        self.owners.for_each(|owner, record| {
            for account in record.accounts() {
                let wanted = of.is_none_or(|of| of == account.role_id());
                if wanted && let (Ok(kind), Ok(depth)) = (account.kind(), account.depth()) {
                    see(&Seen {
                        owner,
                        account,
                        kind,
                        depth,
                        scale: account.scale(),
                    });
                }
            }
        });
    }
}

/// What a row is made of.
struct Seen<'a, W> {
    owner: OwnerId,
    account: &'a Account<W>,
    kind: Kind,
    depth: u64,
    scale: Scale,
}

impl<W> Seen<'_, W> {
    fn row(&self, now_ns: u64) -> Row {
        Row {
            role: self.account.role_id(),
            owner: Some(self.owner),
            kind: self.kind,
            depth: self.depth,
            limit: self.scale.limit(),
            status: self.scale.status(self.depth),
            timing: self.account.timing(now_ns),
        }
    }

    fn place(&self, by: Rank, now_ns: u64) -> Place {
        Place {
            first: match by {
                Rank::Utilization => None,
                Rank::Depth => Some(self.depth),
                Rank::Wait => self.account.timing(now_ns).wait_ms,
                Rank::Stalled => self.account.timing(now_ns).stalled_ms,
            },
            depth: self.depth,
            limit: self.scale.limit(),
        }
    }
}

struct Ranked(Place, Row);

impl Ord for Ranked {
    fn cmp(&self, Self(other, _): &Self) -> Ordering {
        let Self(place, _) = self;
        place.cmp(other)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

/// What a check needs to know of a role, so as not to compute it for each of its owners.
#[derive(Clone, Copy, Debug)]
struct Glance {
    marks: [Marks; 4],
    bands: Bands,
    /// Its owners have one limit. If not, each has marks and bands of its own.
    is_for_all: bool,
    fill: Fill,
}

impl Glance {
    fn new(marks: [Marks; 4], bands: Bands, is_for_all: bool) -> Self {
        Self {
            marks,
            bands,
            is_for_all,
            fill: Fill::default(),
        }
    }

    fn expects<W>(&self, account: &Account<W>) -> bool {
        let marks = self.marks.get(account.level().index());
        marks.is_some_and(|marks| account.has_marks(*marks))
    }
}

/// A glance for each role, found without hashing if the role was seen a short while ago.
struct Glances {
    all: Vec<Glance>,
    places: HashMap<RoleId, usize, RandomState>,
    recent: [Option<(RoleId, usize)>; RECENT],
}

const RECENT: usize = 64;

impl Glances {
    fn new() -> Self {
        Self {
            all: Vec::new(),
            places: HashMap::default(),
            recent: [None; RECENT],
        }
    }

    fn of(&mut self, role: RoleId, new: impl FnOnce() -> Glance) -> Option<&mut Glance> {
        // The numbers of roles differ above their lowest bits, which say that they are roles.
        let slot = self.recent.get_mut((role.0 >> 6) as usize % RECENT)?;
        let place = match *slot {
            Some((recent, place)) if recent == role => place,
            _ => {
                let place = *self.places.entry(role).or_insert_with(|| {
                    self.all.push(new());
                    self.all.len().saturating_sub(1)
                });
                *slot = Some((role, place));
                place
            }
        };
        self.all.get_mut(place)
    }

    fn fill(&self, role: RoleId) -> Fill {
        let place = self.places.get(&role);
        place
            .and_then(|place| self.all.get(*place))
            .map_or_else(Fill::default, |glance| glance.fill)
    }
}
