//! The first owners by a rank are those that a sort of all rows puts first, without the rest being made.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

#[path = "common/still.rs"]
mod still;

use std::cmp::Ordering;

use erlmcp_core::limits::Limits;
use erlmcp_core::rank::Rank;
use erlmcp_core::survey::Row;
use erlmcp_core::{OwnerId, RoleId, Runtime};
use proptest::prelude::*;
use proptest::sample::select;
use still::Still;

const ROLES: [RoleId; 3] = [RoleId(1), RoleId(2), RoleId(3)];

/// Time stands still, so nobody has a pace, and nobody stood still for longer than another.
fn standing(by: Rank, row: &Row) -> Option<u64> {
    match by {
        Rank::Utilization => None,
        Rank::Depth => Some(row.depth),
        Rank::Wait => row.timing.wait_ms,
        Rank::Stalled => row.timing.stalled_ms,
    }
}

fn share(row: &Row) -> f64 {
    match row.limit {
        0 => f64::from(u8::from(row.depth > 0)),
        limit => row.depth as f64 / limit as f64,
    }
}

fn order(by: Rank, a: &Row, b: &Row) -> Ordering {
    standing(by, b)
        .cmp(&standing(by, a))
        .then(share(b).total_cmp(&share(a)))
        .then(b.depth.cmp(&a.depth))
}

proptest! {
    #[test]
    fn the_first_are_those_that_a_sort_puts_first(
        limits in proptest::array::uniform3(prop_oneof![Just(0_u64), 1_u64..20, Just(1_000_000)]),
        enqueued in proptest::collection::vec((select(&ROLES), 1_u64..40), 0..300),
        most in 0_usize..50,
        of in proptest::option::of(select(&ROLES)),
        by in prop_oneof![Just(Rank::Utilization), Just(Rank::Depth), Just(Rank::Wait), Just(Rank::Stalled)],
    ) {
        let table = Limits::new(RoleId(9), 10, Still.now());
        for (role, limit) in ROLES.iter().zip(limits) {
            table.roles().set_limit(*role, limit, Still.now()).unwrap();
        }
        for (role, owner) in enqueued {
            table.enqueue(role, OwnerId(owner), &Still).unwrap();
        }
        let mut rows = table.rows(of, &Still);
        rows.retain(|row| row.owner.is_some());
        rows.sort_by(|a, b| order(by, a, b));
        let first = table.first(of, by, most, &Still);
        prop_assert_eq!(first.len(), rows.len().min(most));
        // Rows that stand alike may be in any order, and any of them be left out at the end.
        for (one, other) in first.iter().zip(&rows) {
            prop_assert_eq!(order(by, one, other), Ordering::Equal);
        }
        for row in &first {
            prop_assert!(rows.contains(row));
        }
        let mut who: Vec<_> = first.iter().map(|row| (row.role, row.owner)).collect();
        who.sort_by_key(|(role, owner)| (role.0, owner.map(|owner| owner.0)));
        who.dedup();
        prop_assert_eq!(who.len(), first.len());
    }
}
