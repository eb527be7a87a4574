//! What is printed, as tables of Markdown.

use std::fmt::Write;

use crate::compare::{Row, TARGETS};
use crate::contender::{Contender, RIVALS};
use crate::scenario::{Score, TARGET, TOO_LONG};
use crate::service::Times;
use crate::study;

fn table(head: &[String], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = String::new();
    let mut row = |cells: &[String]| _ = writeln!(text, "| {} |", cells.join(" | "));
    row(head);
    row(&vec!["---".to_owned(); head.len()]);
    rows.into_iter().for_each(|cells| row(&cells));
    text
}

fn head(first: &str) -> Vec<String> {
    let contenders = [Contender::Wait(TARGET)].into_iter().chain(RIVALS);
    [first.to_owned()]
        .into_iter()
        .chain(contenders.map(|contender| format!("`{}`", contender.name())))
        .collect()
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

fn ms(seconds: f64) -> String {
    format!("{:.0}", seconds * 1e3)
}

/// Everything of every scenario: goodput as a part of the best fixed limit's, p99 of the wait in ms, Jain's index.
pub fn everything(rows: &[Row]) -> String {
    let cell = |row: &Row, score: Score| {
        let (good, wait) = (percent(row.of_best(score)), ms(score.p99));
        let dropped = match score.dropped {
            0.0 => String::new(),
            part => format!(", {} dropped", percent(part)),
        };
        format!("{good}, {wait}, {:.3}{dropped}", score.fairness)
    };
    let lines = rows.iter().map(|row| {
        let best = row.best;
        let fixed = format!(
            "{}: {:.0}/s, {}, {:.3}",
            best.limit,
            best.score.goodput,
            ms(best.score.p99),
            best.score.fairness
        );
        let scores = [row.wait].into_iter().chain(row.rivals.iter().copied());
        let cells = scores.map(|score| cell(row, score));
        [row.name.clone(), fixed].into_iter().chain(cells).collect()
    });
    let mut head = head("scenario");
    head.insert(1, "best fixed limit".to_owned());
    table(&head, lines)
}

/// For each pattern the least goodput and the longest wait over all kinds of service.
pub fn patterns(rows: &[Row]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.pattern()) {
            names.push(row.pattern());
        }
    }
    let lines = names.into_iter().map(|name| {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.pattern() == name).collect();
        let worst = |score: &dyn Fn(&Row) -> Score| {
            let good = rows.iter().map(|row| row.of_best(score(row)));
            let wait = rows.iter().map(|row| score(row).p99);
            let (good, wait) = (good.fold(f64::INFINITY, f64::min), wait.fold(0.0, f64::max));
            format!("{}, {}", percent(good), ms(wait))
        };
        let mut cells = vec![name.to_owned(), worst(&|row| row.wait)];
        cells.extend((0..RIVALS.len()).map(|rival| worst(&|row| row.rivals[rival])));
        cells
    });
    table(&head("pattern"), lines)
}

/// Where `{wait, W}` does not do what it should.
pub fn misses(rows: &[Row]) -> String {
    let missed = rows
        .iter()
        .filter(|row| row.of_best(row.wait) < 0.97 || row.wait.p99 > TOO_LONG);
    let lines = missed.map(|row| {
        let wait = format!("{:.2} × W", row.wait.p99 / TARGET);
        vec![row.name.clone(), percent(row.of_best(row.wait)), wait]
    });
    let head = ["scenario", "goodput", "p99 of the wait"].map(str::to_owned);
    table(&head, lines)
}

/// The longest p99 of the wait that a target has led to, as a multiple of it.
pub fn targets(rows: &[Row]) -> String {
    let worst = |service: &str, at: usize| {
        let rows = rows.iter().filter(|row| row.name.ends_with(service));
        let waits = rows.map(|row| row.targets[at].1.p99 / row.targets[at].0);
        format!("{:.2} × W", waits.fold(0.0, f64::max))
    };
    let lines = TARGETS.iter().enumerate().map(|(at, target)| {
        let services = ["; constant", "; exponential", ", 16 consumers"];
        let cells = services.map(|service| worst(service, at));
        [ms(*target)].into_iter().chain(cells).collect()
    });
    let head = [
        "W, ms",
        "constant",
        "exponential",
        "exponential, 16 consumers",
    ];
    table(&head.map(str::to_owned), lines)
}

/// Against each rival, in how many scenarios it is as good in both, and where not.
pub fn rivals(rows: &[Row]) -> String {
    let lines = RIVALS.iter().enumerate().map(|(rival, contender)| {
        let count = |good: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| good(row)).count();
        let usual = count(&|row| row.as_good(row.rivals[rival]));
        let some = count(&|row| row.target_as_good(row.rivals[rival]).is_some());
        vec![
            contender.name(),
            format!("{usual} of {}", rows.len()),
            format!("{some} of {}", rows.len()),
        ]
    });
    let head = [
        "rival",
        "W = 500 ms as good in both",
        "some W as good in both",
    ];
    table(&head.map(str::to_owned), lines)
}

/// The scenarios in which no target does as well as a rival in both.
pub fn lost(rows: &[Row]) -> String {
    let lines = rows.iter().flat_map(|row| {
        RIVALS
            .iter()
            .enumerate()
            .filter_map(move |(rival, contender)| {
                let score = row.rivals[rival];
                if row.target_as_good(score).is_some() {
                    return None;
                }
                let rivals = format!("{}, {}", percent(row.of_best(score)), ms(score.p99));
                // The target with the most goodput of those that wait no longer.
                let quick = row
                    .targets
                    .iter()
                    .filter(|(_, it)| it.p99 <= 1.05 * score.p99);
                let best = quick.max_by(|one, other| one.1.goodput.total_cmp(&other.1.goodput));
                let ours = best.map_or("none waits as little".to_owned(), |(target, it)| {
                    format!(
                        "W = {}: {}, {}",
                        ms(*target),
                        percent(row.of_best(*it)),
                        ms(it.p99)
                    )
                });
                Some(vec![row.name.clone(), contender.name(), rivals, ours])
            })
    });
    let head = [
        "scenario",
        "rival",
        "goodput, p99 in ms",
        "{wait, W} that waits no longer",
    ];
    table(
        &head.map(|cell| cell.replace("{wait, W}", "`{wait, W}`")),
        lines,
    )
}

fn kinds() -> [(&'static str, Times); 3] {
    [
        ("constant", Times::Constant),
        ("exponential", Times::Exponential),
        ("Pareto", Times::Pareto(2.0)),
    ]
}

/// An hour at 1.2 times what can be done.
pub fn hours() -> String {
    let lines = kinds().into_iter().map(|(kind, times)| {
        let parts = study::hour(1000.0, times);
        let cell = |part: &study::Part| {
            let (wait, good) = (ms(part.p99), part.goodput);
            format!("{:.0}, {wait}, {good:.0}", part.limit)
        };
        let cells = parts.iter().map(cell);
        [kind.to_owned()].into_iter().chain(cells).collect()
    });
    let minutes = (0..6).map(|part| format!("{}–{} min", part * 10, part * 10 + 10));
    let head: Vec<String> = ["service".to_owned()].into_iter().chain(minutes).collect();
    table(&head, lines)
}

/// The part of those admitted who were done after their deadline.
pub fn deadlines() -> String {
    let plans =
        [1.5, 10.0].map(|load| [(0.2, 0.2), (0.5, 0.5), (0.05, 1.0)].map(|both| (load, both)));
    let lines = [1000.0, 100.0].into_iter().flat_map(|capacity| {
        kinds().into_iter().map(move |(kind, times)| {
            let late = plans.iter().flatten();
            let cells =
                late.map(|(load, both)| percent(study::late(capacity, times, *load, *both)));
            [format!("{kind}, {capacity}/s")]
                .into_iter()
                .chain(cells)
                .collect()
        })
    });
    let name = |(load, (least, most)): &(f64, (f64, f64))| {
        let both = if least == most {
            ms(*least)
        } else {
            format!("{} to {}", ms(*least), ms(*most))
        };
        format!("{both} ms, load {load}")
    };
    let heads = plans.iter().flatten().map(name);
    let head: Vec<String> = ["service".to_owned()].into_iter().chain(heads).collect();
    table(&head, lines)
}

/// Reserves that are played, in percent.
pub const RESERVES: [u8; 7] = [0, 50, 80, 90, 95, 98, 99];

/// What each class gets at ten times what can be done.
pub fn classes() -> String {
    let policies = [Contender::Wait(TARGET), Contender::Wait(0.2)];
    let lines = policies.into_iter().flat_map(|policy| {
        kinds().into_iter().take(2).flat_map(move |(kind, times)| {
            let calm = study::classes(policy, times, 0, true);
            RESERVES.into_iter().map(move |reserve| {
                let got = study::classes(policy, times, reserve, false);
                vec![
                    format!("`{}`, {kind}", policy.name()),
                    format!("{reserve} %"),
                    format!("{:.2} %", got.critical * 100.0),
                    format!("{:.1} ×", got.critical_p99 / calm.critical_p99),
                    percent(got.sheddable),
                    percent(got.all),
                ]
            })
        })
    });
    let head = [
        "limit, service",
        "reserve",
        "critical served",
        "their p99, of that in calm",
        "sheddable, of what can be done",
        "all, of what can be done",
    ];
    table(&head.map(str::to_owned), lines)
}

/// Three owners that are not alike.
pub fn owners() -> String {
    let policies = [
        Contender::Wait(TARGET),
        Contender::Fixed(25.0),
        Contender::Fixed(100.0),
        Contender::Fixed(500.0),
    ];
    let lines = policies.into_iter().chain(RIVALS).map(|policy| {
        let got = study::owners(policy);
        vec![
            format!("`{}`", policy.name()),
            percent(got.goodput),
            got.p99.map(ms).join(", "),
            format!("{:.3}", got.fairness),
        ]
    });
    let head = [
        "limit",
        "goodput, of what can be done",
        "p99 of the wait, ms",
        "Jain's index",
    ];
    table(&head.map(str::to_owned), lines)
}
