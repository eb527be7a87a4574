//! What it was like before anybody looked: a value a second for ten minutes, and a value a minute for a day.

use crate::latency::Distribution;
use crate::packed::{Field, Packed};
use crate::summary::RoleSummary;
use crate::vocabulary::RoleId;

/// So many roles have a row; [`History::record`] says which.
pub const ROWS: usize = 50;
/// So many seconds are kept.
pub const SECONDS: usize = 600;
/// So many minutes are kept.
pub const MINUTES: usize = 1_440;

const PLACES: usize = SECONDS + MINUTES;
/// The row of a role that was quiet for so many seconds may go to another.
const QUIET_S: u64 = 600;
/// Waiting is told in steps of so many milliseconds.
const WAIT_STEP_MS: u64 = 4;

/// To within 3 %, up to 3 × 10^10.
const WIDE: Field = Field {
    bits: 9,
    mantissa: 4,
};
/// To within 25 %, up to 32,768.
const NARROW: Field = Field {
    bits: 5,
    mantissa: 1,
};
/// 0, 1 and 2.
const LEVEL: Field = Field {
    bits: 2,
    mantissa: 2,
};
static OF_ROLE: [Field; 3] = [WIDE, NARROW, NARROW];
static OF_NODE: [Field; 3] = [WIDE, WIDE, LEVEL];

/// A history has the last ten minutes by second, and the last day by minute, of the node and of up to [`ROWS`] roles.
/// What is not known is none: seconds in which nobody recorded, and what came before the first.
///
/// Numbers are rounded, to within 3 % where nothing else is said, and those below 32 are exact. A minute has the
/// highest of its seconds. It takes 250 KB when every row is taken, and never more.
///
/// ```
/// use erlmcp_core::history::{History, Node, Seen, Span};
/// use erlmcp_core::RoleId;
///
/// let mut history = History::default();
/// let seen = |refused| Seen { role: RoleId(1), fullest: Some(7), refused, wait_ms: None, busy: true };
/// history.record(100, &[seen(0)], Node::default());
/// history.record(101, &[seen(5)], Node::default());
/// // Nobody recorded the second after.
/// history.record(103, &[seen(9)], Node::default());
/// let read = history.read(Span::Seconds, None, 103);
/// assert_eq!(read.roles[0].fullest[596..], [Some(7), Some(7), None, Some(7)]);
/// assert_eq!(read.roles[0].refused_per_s[596..], [None, Some(6), None, Some(2)]);
/// assert_eq!(history.read(Span::Minutes, None, 103).roles[0].refused_per_s[1_439], Some(6));
/// ```
#[derive(Debug)]
pub struct History {
    /// The last second that was recorded.
    last_s: Option<u64>,
    /// All refusals by then.
    refused: Option<u64>,
    latency: Option<Distribution>,
    node: Packed<3>,
    rows: Vec<Row>,
    left_out: usize,
}

#[derive(Debug)]
struct Row {
    role: RoleId,
    /// By the last second, if that is known.
    refused: Option<u64>,
    busy_s: u64,
    track: Packed<3>,
}

/// This was seen of a role in one second. [`History`] has an example.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// This is the role.
    pub role: RoleId,
    /// Its fullest owner had this depth, if that is known.
    pub fullest: Option<u64>,
    /// So many requests were refused since the role exists.
    pub refused: u64,
    /// One that came had to wait so many milliseconds at most, if that is known.
    pub wait_ms: Option<u64>,
    /// Something waits in it, or it refuses.
    pub busy: bool,
}

impl Seen {
    /// Reads a role's summary. Of a role that has one owner the depth is that of now, else that of the last check, but
    /// no less than the mean of now, nor more than all of them; and not known if that check was before this millisecond
    /// of system time.
    pub fn of(summary: &RoleSummary, since_ms: u64) -> Self {
        let stats = &summary.stats;
        let checked = summary.as_of_ms.is_some_and(|ms| ms >= since_ms);
        let waits = summary.owners_by_wait.iter().any(|owners| *owners > 0);
        Self {
            role: stats.role,
            fullest: match stats.owners {
                0 | 1 => Some(stats.depth),
                owners => Some(summary.fullest.max(stats.depth.div_ceil(owners)))
                    .map(|fullest| fullest.min(stats.depth))
                    .filter(|_| checked),
            },
            refused: stats.refused,
            wait_ms: Some(summary.max_wait_ms).filter(|_| checked && waits),
            busy: stats.depth > 0 || summary.refused_per_s > 0.0,
        }
    }
}

/// This was seen of the node in one second. [`History`] has an example.
#[derive(Clone, Copy, Debug, Default)]
pub struct Node {
    /// Control messages had taken so long by then, since the plane counts, if it does.
    pub latency: Option<Distribution>,
    /// The node was pressed at this level, from 0 to 2, if it is guarded.
    pub pressure: Option<u64>,
}

/// A span is one of the two that are kept. [`History`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The last ten minutes, second by second.
    Seconds,
    /// The last day, minute by minute.
    Minutes,
}

impl Span {
    /// Gives the seconds from one value to the next.
    pub const fn step_s(self) -> u64 {
        match self {
            Self::Seconds => 1,
            Self::Minutes => 60,
        }
    }

    /// Which step of it a second is in.
    const fn step(self, at_s: u64) -> u64 {
        match self {
            Self::Seconds => at_s,
            Self::Minutes => at_s / 60,
        }
    }

    const fn length(self) -> usize {
        match self {
            Self::Seconds => SECONDS,
            Self::Minutes => MINUTES,
        }
    }

    /// Where a step is kept: those of a span come round again.
    fn place(self, step: u64) -> usize {
        let around = step.checked_rem(self.length() as u64);
        let place = around.and_then(|place| usize::try_from(place).ok());
        match self {
            Self::Seconds => place.unwrap_or(0),
            Self::Minutes => SECONDS.saturating_add(place.unwrap_or(0)),
        }
    }
}

/// These are the values of a span, the oldest first; the last is that of the second, or minute, of now.
/// [`History`] has an example.
#[derive(Clone, Debug)]
pub struct Reading {
    /// So many requests a second were refused by all roles.
    pub refused_per_s: Vec<Option<u64>>,
    /// Of 100 control messages of that second 99 took at most so many microseconds.
    pub control_p99_us: Vec<Option<u64>>,
    /// The node was pressed at this level.
    pub pressure: Vec<Option<u64>>,
    /// These are the roles that have a row, in no order.
    pub roles: Vec<RoleReading>,
    /// So many roles in which something waited, or refused, had no row at the last second.
    pub left_out: usize,
}

/// These are the values of a role. [`History`] has an example.
#[derive(Clone, Debug)]
pub struct RoleReading {
    /// This is the role.
    pub role: RoleId,
    /// Its fullest owner had this depth.
    pub fullest: Vec<Option<u64>>,
    /// So many requests a second were refused, to within 25 %, and at most 32,768.
    pub refused_per_s: Vec<Option<u64>>,
    /// One that came had to wait so many milliseconds at most, to within 25 %, and at most 131,072.
    pub max_wait_ms: Vec<Option<u64>>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            last_s: None,
            refused: None,
            latency: None,
            node: Packed::new(&OF_NODE, PLACES),
            rows: Vec::new(),
            left_out: 0,
        }
    }
}

impl History {
    /// Records a second, in which this was seen of all roles and of the node. Only the first record of a second counts,
    /// and none of one that is past.
    ///
    /// A role gets a row when first something waits in it, or it refuses; if all are taken, the row of the one that
    /// has been quiet for longest, of ten minutes at least. Otherwise it is left out.
    pub fn record(&mut self, at_s: u64, roles: &[Seen], node: Node) {
        let elapsed_s = match self.last_s {
            Some(last_s) if at_s <= last_s => return,
            Some(last_s) => {
                self.forget(last_s, at_s);
                Some(at_s.saturating_sub(last_s))
            }
            None => None,
        };
        let rate = |now: u64, before: Option<u64>| {
            let more = now.checked_sub(before?)?;
            more.checked_add(elapsed_s? / 2)?.checked_div(elapsed_s?)
        };
        let refused = roles
            .iter()
            .map(|seen| seen.refused)
            .fold(0, u64::saturating_add);
        let p99_us = node
            .latency
            .zip(self.latency)
            .and_then(|(now, before)| now.since(&before, 0.99));
        raise(
            &mut self.node,
            at_s,
            [rate(refused, self.refused), p99_us, node.pressure],
        );
        self.left_out = 0;
        for seen in roles {
            let Some(row) = self.row(seen, at_s) else {
                continue;
            };
            let refused = rate(seen.refused, row.refused);
            if seen.busy || refused.is_some_and(|rate| rate > 0) {
                row.busy_s = at_s;
            }
            let wait = seen
                .wait_ms
                .map(|ms| ms.saturating_add(WAIT_STEP_MS / 2) / WAIT_STEP_MS);
            row.refused = Some(seen.refused);
            raise(&mut row.track, at_s, [seen.fullest, refused, wait]);
        }
        (self.last_s, self.refused, self.latency) = (Some(at_s), Some(refused), node.latency);
    }

    /// The places that come round again are of other seconds and minutes.
    fn forget(&mut self, last_s: u64, at_s: u64) {
        for span in [Span::Seconds, Span::Minutes] {
            let (last, at) = (span.step(last_s), span.step(at_s));
            let first = last
                .saturating_add(1)
                .max(at.saturating_sub(span.length() as u64));
            for step in first..=at {
                let place = span.place(step);
                self.node.clear(place);
                self.rows.iter_mut().for_each(|row| row.track.clear(place));
            }
        }
    }

    /// Its row, which it may get now.
    fn row(&mut self, seen: &Seen, at_s: u64) -> Option<&mut Row> {
        let known = self.rows.iter().position(|row| row.role == seen.role);
        let index = match known {
            Some(index) => index,
            None if !seen.busy => return None,
            None if self.rows.len() < ROWS => {
                // Not twice as many as are needed.
                self.rows
                    .reserve_exact(ROWS.saturating_sub(self.rows.len()));
                self.rows.push(Row::new(seen.role, at_s));
                self.rows.len().saturating_sub(1)
            }
            None => {
                let quiet = self
                    .rows
                    .iter()
                    .enumerate()
                    .min_by_key(|(_, row)| row.busy_s);
                let quiet = quiet.filter(|(_, row)| row.busy_s.saturating_add(QUIET_S) < at_s);
                let Some(index) = quiet.map(|(index, _)| index) else {
                    self.left_out = self.left_out.saturating_add(1);
                    return None;
                };
                if let Some(row) = self.rows.get_mut(index) {
                    *row = Row::new(seen.role, at_s);
                }
                index
            }
        };
        self.rows.get_mut(index)
    }

    /// Reads a span up to this second, of all roles or of one.
    pub fn read(&self, span: Span, role: Option<RoleId>, now_s: u64) -> Reading {
        let [refused_per_s, control_p99_us, pressure] = self.columns(&self.node, span, now_s);
        let wanted = self
            .rows
            .iter()
            .filter(|row| role.is_none_or(|role| role == row.role));
        let roles = wanted.map(|row| {
            let [fullest, refused_per_s, waits] = self.columns(&row.track, span, now_s);
            let in_ms = |wait: Option<u64>| wait.map(|steps| steps.saturating_mul(WAIT_STEP_MS));
            RoleReading {
                role: row.role,
                fullest,
                refused_per_s,
                max_wait_ms: waits.into_iter().map(in_ms).collect(),
            }
        });
        Reading {
            refused_per_s,
            control_p99_us,
            pressure,
            roles: roles.collect(),
            left_out: self.left_out,
        }
    }

    fn columns(&self, track: &Packed<3>, span: Span, now_s: u64) -> [Vec<Option<u64>>; 3] {
        let (last, now) = (self.last_s.map(|s| span.step(s)), span.step(now_s));
        let mut columns = [const { Vec::new() }; 3];
        columns
            .iter_mut()
            .for_each(|column| column.reserve_exact(span.length()));
        for back in (0..span.length() as u64).rev() {
            let kept = now.checked_sub(back).filter(|step| {
                last.is_some_and(|last| {
                    *step <= last && last.saturating_sub(*step) < span.length() as u64
                })
            });
            let numbers = kept.map_or([None; 3], |step| track.get(span.place(step)));
            for (column, number) in columns.iter_mut().zip(numbers) {
                column.push(number);
            }
        }
        columns
    }

    /// Tells how many bytes it takes.
    pub fn memory(&self) -> usize {
        let rows = self.rows.capacity().saturating_mul(size_of::<Row>());
        let tracks = self.rows.iter().map(|row| row.track.heap());
        [size_of::<Self>(), self.node.heap(), rows]
            .into_iter()
            .chain(tracks)
            .fold(0, usize::saturating_add)
    }
}

impl Row {
    /// What it refused before it had a row is not known.
    fn new(role: RoleId, at_s: u64) -> Self {
        Self {
            role,
            refused: None,
            busy_s: at_s,
            track: Packed::new(&OF_ROLE, PLACES),
        }
    }
}

fn raise(track: &mut Packed<3>, at_s: u64, numbers: [Option<u64>; 3]) {
    for span in [Span::Seconds, Span::Minutes] {
        track.raise(span.place(span.step(at_s)), numbers);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;
    use crate::latency::Latency;
    use crate::role::{Policy, Role};
    use crate::sync::Arc;
    use crate::vocabulary::Instant;

    fn seen(role: u64, depth: u64, refused: u64) -> Seen {
        Seen {
            role: RoleId(role),
            fullest: Some(depth),
            refused,
            wait_ms: None,
            busy: depth > 0,
        }
    }

    fn roles(history: &History) -> Vec<u64> {
        history.rows.iter().map(|row| row.role.0).collect()
    }

    #[test]
    fn it_takes_no_more_than_256_kib_whatever_there_is() {
        let mut history = History::default();
        let empty = history.memory();
        assert!(empty < 8_192);
        for at_s in 0..3_000 {
            let all: Vec<_> = (0..200)
                .map(|role| seen(role, at_s + 1, at_s * role))
                .collect();
            history.record(at_s, &all, Node::default());
        }
        assert_eq!((history.rows.len(), history.left_out), (ROWS, 150));
        assert!(history.memory() <= 256 * 1_024, "{}", history.memory());
        assert!(history.memory() > 240 * 1_024);
    }

    #[test]
    fn a_row_goes_to_another_role_when_its_own_was_quiet_for_long() {
        let mut history = History::default();
        let most = ROWS as u64;
        history.record(0, &[seen(1_000, 0, 5)], Node::default());
        assert_eq!(roles(&history), []);
        let all: Vec<_> = (0..most).map(|role| seen(role, 1, 0)).collect();
        history.record(1, &all, Node::default());
        // The first of them goes on; the second refuses, and nothing waits in it.
        for at_s in 2..=700 {
            let quiet = (2..most).map(|role| seen(role, 0, 0));
            let mut now: Vec<_> = quiet.collect();
            now.extend([seen(0, 1, 0), seen(1, 0, at_s), seen(1_000, 9, 5)]);
            history.record(at_s, &now, Node::default());
            assert_eq!(roles(&history).contains(&1_000), at_s > 601);
            assert_eq!(history.left_out, usize::from(at_s <= 601));
        }
        let kept = roles(&history);
        assert!(kept.contains(&0) && kept.contains(&1) && kept.len() == ROWS);
        let new = history.read(Span::Minutes, Some(RoleId(1_000)), 700).roles;
        assert_eq!(new[0].fullest[MINUTES - 3..], [None, Some(9), Some(9)]);
    }

    #[test]
    fn the_fullest_of_several_is_known_as_of_a_check() {
        let at = Instant {
            monotonic_ms: 0,
            system_ms: 0,
        };
        let role = Role::new(RoleId(1), Arc::new(Policy::new(10)), at);
        let mut summary = RoleSummary::of(&role, None, at);
        let mut fullest = |owners, depth, as_of_ms| {
            (summary.stats.owners, summary.stats.depth) = (owners, depth);
            (summary.as_of_ms, summary.fullest) = (as_of_ms, 5);
            Seen::of(&summary, 1_000).fullest
        };
        assert_eq!(
            (fullest(0, 0, None), fullest(1, 7, None)),
            (Some(0), Some(7))
        );
        assert_eq!(
            (fullest(2, 7, None), fullest(2, 7, Some(999))),
            (None, None)
        );
        assert_eq!(fullest(2, 7, Some(1_000)), Some(5));
        // It has become more than that since, or less.
        assert_eq!(
            (fullest(2, 13, Some(1_000)), fullest(2, 3, Some(1_000))),
            (Some(7), Some(3))
        );
    }

    #[test]
    fn how_long_one_waits_is_known_if_anybody_was_measured() {
        let at = Instant {
            monotonic_ms: 0,
            system_ms: 0,
        };
        let role = Role::new(RoleId(1), Arc::new(Policy::new(10)), at);
        let mut summary = RoleSummary::of(&role, Some(9), at);
        assert_eq!(Seen::of(&summary, 5).wait_ms, None);
        summary.owners_by_wait[0] = 1;
        assert_eq!(Seen::of(&summary, 5).wait_ms, Some(0));
        assert_eq!(Seen::of(&summary, 10).wait_ms, None);
    }

    #[test]
    fn what_goes_back_or_is_past_is_not_told() {
        let mut history = History::default();
        for (at_s, refused) in [(5, 7), (6, 10), (7, 3), (8, 4), (8, 100), (2, 100)] {
            history.record(at_s, &[seen(1, 1, refused)], Node::default());
        }
        let read = history.read(Span::Seconds, None, 9);
        let expected = [None, Some(3), None, Some(1), None];
        assert_eq!(read.refused_per_s[SECONDS - 5..], expected);
        assert_eq!(read.roles[0].refused_per_s[SECONDS - 5..], expected);
        assert_eq!(
            history.read(Span::Seconds, Some(RoleId(2)), 9).roles.len(),
            0
        );
    }

    #[test]
    fn of_control_messages_those_of_the_second_count() {
        let (mut history, latency) = (History::default(), Latency::single());
        let node = |latency: &Latency, pressure| Node {
            latency: Some(latency.distribution().1),
            pressure,
        };
        latency.record(1_000_000);
        history.record(1, &[], node(&latency, None));
        (0..1_000).for_each(|_| latency.record(3));
        history.record(2, &[], node(&latency, Some(2)));
        history.record(3, &[], node(&latency, Some(0)));
        latency.reset();
        latency.record(3);
        history.record(4, &[], node(&latency, Some(1)));
        let read = history.read(Span::Seconds, None, 4);
        assert_eq!(
            read.control_p99_us[SECONDS - 4..],
            [None, Some(4), None, None]
        );
        assert_eq!(
            read.pressure[SECONDS - 4..],
            [None, Some(2), Some(0), Some(1)]
        );
        let last = history.read(Span::Minutes, None, 4).pressure[MINUTES - 1];
        assert_eq!(last, Some(2));
    }
}
