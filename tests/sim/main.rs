//! Seeded simulation: the real engine on a simulated network and clock, between clients and backends that do everything
//! that such peers do (`plan.rs`), with every promise checked while it runs and when it has ended.
//!
//! A seed decides everything, so a failure prints its seed, and the seed alone shows it again:
//!
//! ```sh
//! PINION_SIM_SEED=7 cargo nextest run -p tests --test sim --no-capture    # one world, with all that happened in it
//! cargo x sim --seeds 100000                                              # many more worlds than the tests run
//! cargo x sim --minutes 10
//! ```
//!
//! Decision 0019 tells what it catches.

#![forbid(unsafe_code)]

mod backend;
mod bodies;
mod client;
mod found;
mod judge;
mod ledger;
mod message;
mod plan;
mod run;
mod session;
mod settings;
mod wire;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plan::Plan;

/// Worlds of the test, unless it is told otherwise.
const WORLDS: u64 = 3_000;
/// Worlds that are run twice.
const TWICE: u64 = 40;
/// Lines of trace that a failure shows, and a replay.
const LINES: usize = 250;
const REPLAY_LINES: usize = 200_000;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// The tests run on two drivers; to this one it is the same, so the second time other worlds are tried.
fn first_seed() -> u64 {
    if std::env::var("PINION_TEST_RUNTIME").is_ok_and(|name| name == "epoll") { 1_000_000 } else { 0 }
}

/// Runs the world again, to tell what led there.
fn fail(seed: u64) -> ! {
    let plan = Plan::draw(seed, LINES);
    let about = format!("{:?}, rules {:?}, settings {:?}", plan.manner, plan.rules, plan.settings);
    let outcome = run::run(plan);
    println!("{}\n\nseed {seed}: {about}", outcome.trace.join("\n"));
    panic!(
        "seed {seed} breaks promises:\n  {}\nreplay: PINION_SIM_SEED={seed} cargo nextest run -p tests --test sim \
         --no-capture",
        outcome.violations.join("\n  ")
    );
}

/// Shows all that happens in one world.
fn replay(seed: u64) {
    let plan = Plan::draw(seed, REPLAY_LINES);
    for exchange in &plan.exchanges {
        println!("{exchange:?}");
    }
    println!("{:?}\n{:?}\n{:?}", plan.manner, plan.rules, plan.settings);
    let outcome = run::run(plan);
    println!("{}\n{:?}", outcome.trace.join("\n"), outcome.report);
    assert!(outcome.violations.is_empty(), "seed {seed}:\n  {}", outcome.violations.join("\n  "));
}

/// Thousands of worlds, on every processor. The environment may ask for one seed, or for more of them or longer.
#[test]
fn worlds_keep_the_promises() {
    if let Some(seed) = number("PINION_SIM_SEED") {
        return replay(seed);
    }
    let minutes = number("PINION_SIM_MINUTES");
    let seeds = number("PINION_SIM_SEEDS").unwrap_or(if minutes.is_some() { u64::MAX } else { WORLDS });
    let first = number("PINION_SIM_FIRST").unwrap_or_else(first_seed);
    let begun = Instant::now();
    let is_over = || minutes.is_some_and(|minutes| begun.elapsed() >= Duration::from_secs(60 * minutes));
    let (done, exchanges) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed = Mutex::new(None);
    let run_some = || {
        while !is_over() && failed.lock().is_ok_and(|failed| failed.is_none()) {
            let number = done.fetch_add(1, Ordering::Relaxed);
            if number >= seeds {
                return;
            }
            let outcome = run::run(Plan::draw(first.wrapping_add(number), 0));
            exchanges.fetch_add(outcome.exchanges as u64, Ordering::Relaxed);
            if !outcome.violations.is_empty()
                && let Ok(mut failed) = failed.lock()
            {
                failed.get_or_insert(number);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(run_some);
        }
    });
    let worlds = done.into_inner().min(seeds);
    if let Some(number) = failed.into_inner().unwrap_or_default() {
        println!("found by world {} of this run", number + 1);
        fail(first.wrapping_add(number));
    }
    println!("{worlds} worlds, {} exchanges in {:.1?}", exchanges.into_inner(), begun.elapsed());
}

#[test]
fn a_seed_replays() {
    for seed in 0..TWICE {
        let [first, second] = [(); 2].map(|()| run::run(Plan::draw(seed, 0)).report);
        assert_eq!(first.fingerprint, second.fingerprint, "seed {seed}: {first:?}, {second:?}");
    }
}
