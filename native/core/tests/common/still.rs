use erlmcp_core::{Dead, Host, Instant, OwnerId, Runtime};

/// This is a runtime where nobody dies and no time passes.
pub struct Still;

impl Runtime for Still {
    fn now(&self) -> Instant {
        Instant {
            monotonic_ms: 1,
            system_ms: 1_700_000_000_000,
        }
    }

    fn wake(&self) {}
}

impl Host for Still {
    type Watch = ();

    fn is_alive(&self, _: OwnerId) -> bool {
        true
    }

    fn watch(&self, _: OwnerId) -> Result<Option<()>, Dead> {
        Ok(None)
    }

    fn unwatch(&self, (): ()) {}
}
