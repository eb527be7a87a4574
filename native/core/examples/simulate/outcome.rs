//! What came of a play, and what is to be said of it.

use crate::engine::CLIENTS;
use crate::policy::Request;

/// A request that was served.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    /// The request.
    pub request: Request,
    /// When its service began, in seconds.
    pub begun: f64,
    /// When it was done, in seconds.
    pub ended: f64,
}

impl Served {
    /// How long it waited, in seconds.
    pub fn wait(&self) -> f64 {
        self.begun - self.request.arrived
    }
}

/// How things stood at some moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The moment, in seconds.
    pub at: f64,
    /// The limit in force.
    pub limit: f64,
    /// So many were inside.
    pub depth: u64,
}

/// All that a play left.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of each request when it came, from which client, of which class.
    pub sent: Vec<(f64, usize, usize)>,
    /// Those that were served, in the order in which they were done.
    pub served: Vec<Served>,
    /// So many were admitted, and dropped in place of being served.
    pub dropped: u64,
    /// How things stood, at even distances.
    pub samples: Vec<Sample>,
    classes: usize,
}

impl PartialEq for Outcome {
    fn eq(&self, other: &Self) -> bool {
        let stays = |outcome: &Self| -> Vec<(f64, f64)> {
            let served = outcome.served.iter();
            served.map(|served| (served.begun, served.ended)).collect()
        };
        self.sent == other.sent && self.dropped == other.dropped && stays(self) == stays(other)
    }
}

/// Jain's index: 1 if all have the same, 1/n if one of n has it all.
pub fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    if squares > 0.0 {
        sum * sum / (shares.len() as f64 * squares)
    } else {
        1.0
    }
}

impl Outcome {
    /// Nothing yet.
    pub fn new(classes: usize) -> Self {
        Self {
            sent: Vec::new(),
            served: Vec::new(),
            dropped: 0,
            samples: Vec::new(),
            classes,
        }
    }

    /// What those waited who were served and for whom `counts` holds, in seconds.
    pub fn waits(&self, counts: impl Fn(&Request) -> bool) -> Vec<f64> {
        let counted = self.served.iter().filter(|served| counts(&served.request));
        counted.map(Served::wait).collect()
    }

    /// What 99 in 100 waited at most, of those who came in each second.
    pub fn p99_by_second(&self) -> Vec<(f64, f64)> {
        let last = self.served.iter().map(|served| served.request.arrived);
        let mut seconds = vec![Vec::new(); last.fold(0.0, f64::max) as usize + 1];
        for served in &self.served {
            seconds[served.request.arrived as usize].push(served.wait());
        }
        let points = seconds.into_iter().enumerate();
        let points = points.filter(|(_, waits)| !waits.is_empty());
        points
            .map(|(second, waits)| (second as f64 + 0.5, quantile(waits, 0.99)))
            .collect()
    }

    /// So many of those for whom `counts` holds were served without having waited longer than that, in seconds.
    pub fn good(&self, longest: f64, counts: impl Fn(&Request) -> bool) -> usize {
        let counted = self.served.iter().filter(|served| counts(&served.request));
        counted.filter(|served| served.wait() <= longest).count()
    }

    /// Jain's index over what part of its requests each client was served in time.
    pub fn fairness(&self, longest: f64) -> f64 {
        let mut sent = [0.0; CLIENTS];
        let mut good = [0.0; CLIENTS];
        for (_, client, _) in &self.sent {
            sent[*client] += 1.0;
        }
        for served in &self.served {
            if served.wait() <= longest {
                good[served.request.client] += 1.0;
            }
        }
        let shares = sent.iter().zip(good).filter(|(sent, _)| **sent > 0.0);
        jain(&shares.map(|(sent, good)| good / sent).collect::<Vec<_>>())
    }

    /// The part of each class that was served.
    pub fn by_class(&self) -> Vec<f64> {
        let of = |class| {
            let sent = self.sent.iter().filter(|sent| sent.2 == class).count();
            let served = self.served.iter();
            let served = served
                .filter(|served| served.request.class == class)
                .count();
            served as f64 / sent.max(1) as f64
        };
        (0..self.classes).map(of).collect()
    }

    /// The part of those served who were done after their deadline.
    pub fn late(&self) -> f64 {
        let late = self.served.iter().filter(|served| {
            let Request {
                arrived, deadline, ..
            } = served.request;
            served.ended > arrived + deadline
        });
        late.count() as f64 / self.served.len().max(1) as f64
    }
}

/// The value below which that part of them lies; 0 of none.
pub fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * part) as usize;
    values
        .get(at.min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jains_index_is_one_over_the_number_of_those_who_have_it_all() {
        assert_eq!(jain(&[3.0; 5]), 1.0);
        assert_eq!(jain(&[0.0, 0.0, 7.0, 0.0]), 0.25);
        assert_eq!(jain(&[]), 1.0);
    }

    #[test]
    fn a_quantile_is_the_value_at_its_place() {
        let hundred = (0..100).map(f64::from).rev().collect::<Vec<_>>();
        assert_eq!(quantile(hundred.clone(), 0.99), 99.0);
        assert_eq!(quantile(hundred, 0.5), 50.0);
        assert_eq!(quantile(Vec::new(), 0.5), 0.0);
    }
}
