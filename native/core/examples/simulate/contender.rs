//! Who plays: each policy with the numbers that it is played with.

use crate::aimd::Aimd;
use crate::by_wait::ByWait;
use crate::codel::{Codel, ServerCodel};
use crate::gradient2::Gradient2;
use crate::policy::{Fixed, Policy};
use crate::scenario::{MOST, TARGET};

/// A policy, not yet begun.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Contender {
    /// Everybody is admitted.
    None,
    /// A fixed limit.
    Fixed(f64),
    /// `{wait, W}`, with this target in seconds.
    Wait(f64),
    /// AIMD, with the target as its timeout.
    Aimd,
    /// Gradient2, with the numbers that it comes with.
    Gradient2,
    /// CoDel of the RFC: the target is its interval, and a tenth of that its setpoint, as the RFC recommends.
    Codel,
    /// CoDel for servers: drops beyond the target, which is twice its setpoint and its interval.
    ServerCodel,
}

/// No limit at all, and those that others have made.
pub const RIVALS: [Contender; 5] = [
    Contender::None,
    Contender::Aimd,
    Contender::Gradient2,
    Contender::Codel,
    Contender::ServerCodel,
];

impl Contender {
    /// Begins one.
    pub fn begin(self) -> Box<dyn Policy> {
        match self {
            Self::None => Box::new(Fixed(f64::INFINITY)),
            Self::Fixed(limit) => Box::new(Fixed(limit)),
            Self::Wait(target) => Box::new(ByWait::new(target, MOST)),
            Self::Aimd => Box::new(Aimd::new(TARGET, MOST)),
            Self::Gradient2 => Box::new(Gradient2::new(200.0)),
            Self::Codel => Box::new(Codel::new(TARGET / 10.0, TARGET, MOST)),
            Self::ServerCodel => Box::new(ServerCodel::new(TARGET / 2.0, TARGET, MOST)),
        }
    }

    /// What it is called.
    pub fn name(self) -> String {
        match self {
            Self::None => "no limit".to_owned(),
            Self::Fixed(limit) => format!("a fixed {limit}"),
            Self::Wait(target) => format!("{{wait, {}}}", (target * 1e3).round()),
            Self::Aimd => "AIMD".to_owned(),
            Self::Gradient2 => "Gradient2".to_owned(),
            Self::Codel => "CoDel, RFC 8289".to_owned(),
            Self::ServerCodel => "CoDel for servers".to_owned(),
        }
    }
}
