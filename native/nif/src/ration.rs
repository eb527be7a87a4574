//! How often control messages of a type may be sent to a component: a rate of its own for each, of one bucket, which
//! begins anew with the component and not with its process.

use erlmcp_core::control::{ComponentId, ControlType, MAX_COMPONENTS};
use erlmcp_core::gcra::{Law, Rate};
use erlmcp_core::rates::{Answer as Outcome, Definition, Overflow, Rates, Refused};
use erlmcp_core::share::Scope;
use once_cell::sync::Lazy;
use rustler::{Env, Term};

use crate::atoms;
use crate::control::{control_type, type_atom};
use crate::host::ticks_ns;
use crate::rates::{NS_PER_MS, said};
use crate::term::{self, Answer, Fault};

static RATIONS: Lazy<Rates> =
    Lazy::new(|| Rates::with_room(MAX_COMPONENTS.saturating_mul(ControlType::ALL.len())));

/// Of each type, whether there is a rate, and which.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rations([Option<Definition>; ControlType::ALL.len()]);

impl Rations {
    /// A list of `{Type, Number, PeriodNs}`; a burst is one period's worth.
    pub(crate) fn read(rows: Term<'_>) -> Answer<Self> {
        let bad = || Fault(atoms::bad_rate());
        let mut rations = Self::default();
        for row in term::short_list(rows, ControlType::ALL.len()).ok_or_else(bad)? {
            let (kind, number, period_ns) = row.decode().map_err(|_| bad())?;
            let kind = control_type(kind)?;
            let rate = Rate {
                number,
                period_ns,
                burst: number,
            };
            let ration = Some(Definition {
                law: Law::new(rate).map_err(|_| bad())?,
                max_keys: 1,
                overflow: Overflow::Share,
                scope: Scope::Node,
            });
            if let Some(place) = rations.0.get_mut(place(kind)) {
                *place = ration;
            }
        }
        Ok(rations)
    }

    /// They hold for a component from now on; what it has used of those that it had stays in proportion.
    pub(crate) fn apply(&self, id: ComponentId) {
        for (kind, ration) in ControlType::ALL.into_iter().zip(self.0) {
            match ration {
                // There is room for all that components can have.
                Some(ration) => {
                    let _ = RATIONS.define(name(id, kind), ration, true, ticks_ns);
                }
                None => {
                    RATIONS.undefine(name(id, kind));
                }
            }
        }
    }

    /// Takes one, if there is a rate.
    #[inline]
    pub(crate) fn take(&self, id: ComponentId, kind: ControlType) -> Option<Refused> {
        self.0.get(place(kind)).copied().flatten()?;
        let address = RATIONS.address(name(id, kind), 1, &[]);
        match RATIONS.take(&address, 1, ticks_ns()) {
            Ok(Outcome::Refused(refused)) => Some(refused),
            // Whoever unregisters it meanwhile has undefined it.
            _ => None,
        }
    }

    /// Gives back what was taken for a message that was not sent.
    #[cold]
    pub(crate) fn give_back(&self, id: ComponentId, kind: ControlType) {
        let address = RATIONS.address(name(id, kind), 1, &[]);
        let _ = RATIONS.give_back(&address, 1);
    }
}

/// `#{Type => rate_info()}` of the types that have a rate, with `retry_after_ms`: when the next may be sent.
pub(crate) fn rows(env: Env<'_>, id: ComponentId) -> Term<'_> {
    let now_ns = ticks_ns();
    let row = |kind| {
        let info = RATIONS.info(name(id, kind), now_ns)?;
        let address = RATIONS.address(name(id, kind), 1, &[]);
        let retry_ns = match RATIONS.peek(&address, now_ns) {
            Ok(Outcome::Refused(refused)) => refused.short.retry_ns,
            _ => 0,
        };
        let retry_ms = retry_ns.div_ceil(NS_PER_MS);
        let said = said(env, &info).map_put(atoms::retry_after_ms(), retry_ms);
        Some((type_atom(kind), said.ok()?))
    };
    let rows: Vec<_> = ControlType::ALL.into_iter().filter_map(row).collect();
    term::map(env, &rows)
}

/// Notes what was counted by now.
pub(crate) fn sample(now_ns: u64) {
    RATIONS.sample(now_ns);
}

pub(crate) fn close() {
    RATIONS.close();
}

/// There are less than 2^62 atoms.
fn name(ComponentId(word): ComponentId, kind: ControlType) -> u64 {
    word.wrapping_mul(4).wrapping_add(place(kind) as u64)
}

fn place(kind: ControlType) -> usize {
    ControlType::ALL
        .iter()
        .position(|other| *other == kind)
        .unwrap_or(0)
}
