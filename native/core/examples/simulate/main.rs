//! Plays patterns of arrivals and of service against admission policies, prints what came of it, and draws it.
//!
//! ```sh
//! cargo run --release --example simulate -- docs/internals
//! ```
//!
//! The folder is where plots and tables go: plots into `images`, tables into `simulation.md`, each behind the comment
//! that names it. Without one it only prints.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used
)]

mod aimd;
mod arrivals;
mod by_wait;
mod chance;
mod codel;
mod compare;
mod contender;
mod engine;
mod gradient2;
#[cfg(test)]
mod numbers;
mod outcome;
mod page;
mod pictures;
mod plot;
mod policy;
mod scenario;
mod search;
mod service;
mod study;
mod tables;

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let rows = compare::all(&scenario::all());
    println!("{}", tables::everything(&rows));
    let tables = [
        ("patterns", tables::patterns(&rows)),
        ("misses", tables::misses(&rows)),
        ("targets", tables::targets(&rows)),
        ("rivals", tables::rivals(&rows)),
        ("lost", tables::lost(&rows)),
        ("hours", tables::hours()),
        ("deadlines", tables::deadlines()),
        ("classes", tables::classes()),
        ("owners", tables::owners()),
    ];
    for (name, table) in &tables {
        println!("{name}\n\n{table}");
    }
    let Some(folder) = env::args().nth(1) else {
        return Ok(());
    };
    let folder = Path::new(&folder);
    for (name, plot) in pictures::all() {
        fs::write(
            folder.join("images").join(format!("{name}.svg")),
            plot.svg(),
        )?;
    }
    let page = folder.join("simulation.md");
    let text = fs::read_to_string(&page)?;
    fs::write(page, page::with_tables(&text, &tables))
}
