//! A million times one operation on one owner, for counting instructions under callgrind:
//! `scripts/instructions.sh`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use erlmcp_core::judge::Rules;
use erlmcp_core::limits::Limits;
use erlmcp_core::near::Near;
use erlmcp_core::overload::Margin;
use erlmcp_core::{Dead, Host, Instant, OwnerId, RoleId, Runtime};

const TIMES: u32 = 1_000_000;
const ROLE: RoleId = RoleId(11);
const OWNER: OwnerId = OwnerId(0x503);

struct Still;

impl Runtime for Still {
    fn now(&self) -> Instant {
        Instant {
            monotonic_ms: 0,
            system_ms: 0,
        }
    }
    fn wake(&self) {}
}

impl Host for Still {
    type Watch = [u64; 4];
    fn is_alive(&self, _: OwnerId) -> bool {
        true
    }
    fn watch(&self, _: OwnerId) -> Result<Option<[u64; 4]>, Dead> {
        Ok(Some([0; 4]))
    }
    fn unwatch(&self, _: [u64; 4]) {}
}

fn main() {
    let table = Limits::new(ROLE, 1 << 50, Still.now());
    let rules = Rules {
        margin: Margin::ZERO,
        realert_ms: u64::MAX,
        history: 100,
    };
    table.configure_overload(rules, true, &Still);
    table.enqueue(ROLE, OWNER, &Still).unwrap();
    let near = Near::new();
    (0..4).for_each(|_| near.missed(&table, OWNER));
    let count = || near.enqueue(&table, ROLE, OWNER, &Still).unwrap();
    match std::env::args().nth(1).as_deref() {
        Some("check") => repeat(|| near.check(&table, ROLE, OWNER, &Still).unwrap()),
        Some("enqueue") => repeat(count),
        Some("try_enqueue") => repeat(|| near.try_enqueue(&table, ROLE, OWNER, &Still).unwrap()),
        Some("dequeue") => {
            repeat(count);
            repeat(|| near.dequeue(&table, ROLE, OWNER, &Still).unwrap());
        }
        Some("check_far") => repeat(|| table.check(ROLE, OWNER, &Still).unwrap()),
        Some("enqueue_far") => repeat(|| table.enqueue(ROLE, OWNER, &Still).unwrap()),
        Some("try_enqueue_far") => repeat(|| table.try_enqueue(ROLE, OWNER, &Still).unwrap()),
        Some("dequeue_far") => {
            repeat(count);
            repeat(|| table.dequeue(ROLE, OWNER, &Still).unwrap());
        }
        _ => {}
    }
}

fn repeat<T>(mut operation: impl FnMut() -> T) {
    for _ in 0..TIMES {
        let _ = black_box(operation());
    }
}
