//! A million times one operation on one owner, for counting instructions under callgrind:
//! `scripts/instructions.sh`.
#![allow(missing_docs, clippy::unwrap_used)]

use erlmcp_core::judge::Rules;
use erlmcp_core::limits::Limits;
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
    match std::env::args().nth(1).as_deref() {
        Some("check") => repeat(|| drop(table.check(ROLE, OWNER, &Still))),
        Some("enqueue") => repeat(|| table.enqueue(ROLE, OWNER, &Still).unwrap()),
        Some("try_enqueue") => repeat(|| drop(table.try_enqueue(ROLE, OWNER, &Still))),
        Some("dequeue") => {
            repeat(|| table.enqueue(ROLE, OWNER, &Still).unwrap());
            repeat(|| table.dequeue(ROLE, OWNER, &Still).unwrap());
        }
        _ => {}
    }
}

fn repeat(mut operation: impl FnMut()) {
    for _ in 0..TIMES {
        operation();
    }
}
