//! The plots of the documentation.

use crate::contender::{Contender, RIVALS};
use crate::outcome::Outcome;
use crate::plot::{Axis, Mark, Plot, Scale, Series};
use crate::scenario::{Scenario, TARGET, named};
use crate::service::Times;
use crate::study;
use crate::tables::RESERVES;

const SECONDS: Axis = Axis {
    title: "seconds",
    range: (0.0, 60.0),
    scale: Scale::Linear,
};
const WAITS: Axis = Axis {
    title: "p99 of the wait, ms",
    range: (1.0, 100_000.0),
    scale: Scale::Log,
};

/// All of them, by the names of their files.
pub fn all() -> Vec<(&'static str, Plot)> {
    vec![
        (
            "step",
            waits(
                "Ten times the arrivals from 20 to 40 s",
                "step ×10; exponential",
            ),
        ),
        (
            "slows",
            waits("The consumer slows to half from 20 to 40 s", SLOWS),
        ),
        ("limit", limit()),
        ("frontier", frontier()),
        ("classes", classes()),
    ]
}

const SLOWS: &str = "over, 1.5; exponential, 1, slows to half";

fn first(scenario: &Scenario, contender: Contender) -> Outcome {
    scenario.play(contender, 1).remove(0)
}

/// What was waited second by second, with each policy.
fn waits(title: &str, name: &str) -> Plot {
    let scenario = named(name);
    let contenders = [Contender::Wait(TARGET), Contender::Fixed(500.0)];
    let series = contenders.into_iter().chain(RIVALS).map(|contender| {
        let points = first(&scenario, contender).p99_by_second();
        let within = points.into_iter().filter(|(second, _)| *second < 60.0);
        Series {
            name: contender.name(),
            points: within.map(|(second, wait)| (second, wait * 1e3)).collect(),
            mark: Mark::Line,
        }
    });
    let target = Series {
        name: "the target".to_owned(),
        points: vec![(0.0, TARGET * 1e3), (60.0, TARGET * 1e3)],
        mark: Mark::Guide,
    };
    Plot {
        title: title.to_owned(),
        x: SECONDS,
        y: WAITS,
        series: series.chain([target]).collect(),
    }
}

/// The limit, and how many are inside, while the consumer slows down and recovers.
fn limit() -> Plot {
    let outcome = first(&named(SLOWS), Contender::Wait(TARGET));
    let samples = outcome.samples.iter().filter(|sample| sample.at < 60.0);
    let points = |value: &dyn Fn(f64, f64) -> f64| {
        let samples = samples.clone().step_by(2);
        let points = samples.map(|sample| (sample.at, value(sample.limit, sample.depth as f64)));
        points.collect()
    };
    let series = |name: &str, points, mark| Series {
        name: name.to_owned(),
        points,
        mark,
    };
    let right = vec![
        (0.0, 500.0),
        (20.0, 500.0),
        (20.0, 250.0),
        (40.0, 250.0),
        (40.0, 500.0),
        (60.0, 500.0),
    ];
    Plot {
        title: format!(
            "{}: its limit, and how many are inside",
            Contender::Wait(TARGET).name()
        ),
        x: SECONDS,
        y: Axis {
            title: "requests",
            range: (0.0, 750.0),
            scale: Scale::Linear,
        },
        series: vec![
            series("limit", points(&|limit, _| limit), Mark::Line),
            series("inside", points(&|_, depth| depth), Mark::Line),
            series("done within 500 ms", right, Mark::Guide),
        ],
    }
}

/// Goodput over the wait: a curve of targets and one of fixed limits, and a point for each rival.
fn frontier() -> Plot {
    let scenario = named("on and off; exponential, 4 consumers");
    let point = |contender| {
        let score = scenario.try_out(contender, 3);
        (score.p99 * 1e3, score.goodput)
    };
    let targets = [
        0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6,
    ];
    let limits = [
        5.0, 10.0, 20.0, 50.0, 100.0, 150.0, 200.0, 300.0, 400.0, 500.0, 600.0,
    ];
    let curve = |name: &str, contenders: Vec<Contender>, mark| Series {
        name: name.to_owned(),
        points: contenders.into_iter().map(point).collect(),
        mark,
    };
    let mut series = vec![
        curve(
            "{wait, 10 … 600}",
            targets.map(Contender::Wait).to_vec(),
            Mark::Line,
        ),
        curve(
            "fixed, 5 … 600",
            limits.map(Contender::Fixed).to_vec(),
            Mark::Guide,
        ),
    ];
    series.extend(RIVALS.map(|rival| curve(&rival.name(), vec![rival], Mark::Dots)));
    Plot {
        title: "Half a second of four times the load, half a second of none".to_owned(),
        x: Axis {
            range: (1.0, 10_000.0),
            ..WAITS
        },
        y: Axis {
            title: "served in time, a second",
            range: (0.0, 1000.0),
            scale: Scale::Linear,
        },
        series,
    }
}

/// What critical requests wait at ten times the load, over what is kept for them.
fn classes() -> Plot {
    let calm = study::classes(Contender::Wait(TARGET), Times::Exponential, 0, true);
    let series = [
        Contender::Wait(TARGET),
        Contender::Wait(0.2),
        Contender::Fixed(100.0),
    ];
    let series = series.map(|policy| Series {
        name: policy.name(),
        points: RESERVES
            .map(|reserve| {
                let got = study::classes(policy, Times::Exponential, reserve, false);
                (reserve.into(), got.critical_p99 * 1e3)
            })
            .to_vec(),
        mark: Mark::Line,
    });
    let guide = |name: &str, times: f64| Series {
        name: name.to_owned(),
        points: [0.0, 100.0]
            .map(|end| (end, calm.critical_p99 * times * 1e3))
            .to_vec(),
        mark: Mark::Guide,
    };
    Plot {
        title: "Critical requests at ten times the load: p99 from arrival to end".to_owned(),
        x: Axis {
            title: "reserve: percent of the limit that sheddable requests may not use",
            range: (0.0, 100.0),
            scale: Scale::Linear,
        },
        y: Axis {
            title: "ms",
            range: (1.0, 1000.0),
            scale: Scale::Log,
        },
        series: series
            .into_iter()
            .chain([
                guide("without other requests", 1.0),
                guide("twice that", 2.0),
            ])
            .collect(),
    }
}
