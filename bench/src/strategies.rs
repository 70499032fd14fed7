//! `bench strategies`: what each strategy makes of ten backends of which one is in trouble. Simulated, so it needs no quiet
//! machine: a seed always gives the same figures.

use std::fmt::Write as _;

use engine::internals::strategies::{STRATEGIES, Trouble, World, simulate};

use crate::machine::Machine;

/// What is simulated, and what is said of it.
const SCENES: [(&str, Trouble, f64); 5] = [
    ("All ten are well, 80 % load", Trouble::None, 0.8),
    ("One answers ten times slower, however much it is given (far away), 50 % load", Trouble::Far(10), 0.5),
    ("One works three times slower and can just keep up with a tenth, 30 % load", Trouble::Weak(3), 0.3),
    ("One works five times slower and cannot keep up with a tenth, 50 % load", Trouble::Weak(5), 0.5),
    (
        "One refuses everything within 0.2 ms, and there is no circuit breaker, 50 % load",
        Trouble::Refuses,
        0.5,
    ),
];

/// Requests of each run: ten minutes' at 50 % load are more than anybody waits for, these are about a minute's.
const REQUESTS: usize = 200_000;
/// Runs of each, of which the figures are medians.
const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

/// The report, and the date to save it under.
pub(crate) fn report() -> (String, String) {
    let machine = Machine::read();
    let mut text = format!("# Strategies, {}\n\n", machine.date);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "Commit {}. Simulated by `cargo x bench strategies` with the balancers of the data plane (two cores): ten backends \
         of equal weight with 8 workers each serve a request for 10 ms in the mean (5 ms and an exponential rest); requests \
         come at random times and do not wait for each other. {REQUESTS} requests a run, the first tenth not counted; \
         medians of {} seeds. *Troubled* is the part of the requests that the one in trouble got.",
        machine.commit,
        SEEDS.len(),
    );
    for (title, trouble, load) in SCENES {
        let _ = writeln!(
            text,
            "\n## {title}\n\n| strategy | p50 ms | p99 ms | p99.9 ms | troubled | failed |\n|---|---|---|---|---|---|"
        );
        for strategy in STRATEGIES {
            let tails = SEEDS.map(|seed| {
                simulate(strategy, &World { backends: 10, trouble, load, requests: REQUESTS, seed })
            });
            let _ = writeln!(
                text,
                "| {} | {:.1} | {:.1} | {:.1} | {:.1} % | {:.2} % |",
                strategy.as_str(),
                median(tails.map(|tail| tail.p50_ms)),
                median(tails.map(|tail| tail.p99_ms)),
                median(tails.map(|tail| tail.p999_ms)),
                median(tails.map(|tail| tail.troubled * 100.0)),
                median(tails.map(|tail| tail.failed * 100.0)),
            );
        }
    }
    (text, machine.date)
}

fn median(mut values: [f64; SEEDS.len()]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
