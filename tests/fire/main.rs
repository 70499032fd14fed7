//! `fire`: the real proxy on real sockets, with well-behaved clients and attackers at once.
//!
//! Started by `cargo x fire`, and shortly by `cargo x test`. It starts `pinion` (`PINION_BIN`, or the one beside it),
//! backend processes (itself, as `fire origin`), and plays the stages of `plan.rs`. Everything is on loopback and
//! bounded in number and time. Exit code 1 says that a promise was broken, and which.
//!
//! ```text
//!  plan.rs ─► run.rs ─┬─ world.rs: the proxy, at work and at rest
//!                     ├─ good/: well-behaved clients ── http.rs ── judge.rs ─► tally
//!                     ├─ attack/: attackers
//!                     └─ flap.rs ─► backends.rs ─► origin.rs (processes)
//!            verdict.rs: what was broken        report.rs: what was seen
//! ```

#![forbid(unsafe_code)]

mod attack;
mod backends;
mod content;
mod dice;
mod flap;
mod frames;
mod good;
mod http;
mod judge;
mod options;
mod origin;
mod plan;
mod report;
mod run;
mod threads;
mod verdict;
mod world;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use options::{HELP, Options};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, name, addr] = &args[..]
        && word == "origin"
    {
        return match origin::run(name, addr) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("origin {name} at {addr}: {error}");
                ExitCode::FAILURE
            }
        };
    }
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match Options::parse(args.into_iter()) {
        Ok(options) => fire(&options),
        Err(problem) => {
            eprint!("{problem}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn fire(options: &Options) -> ExitCode {
    raise_open_files();
    let machine = report::Machine::read();
    let binary = harness::process::binary();
    let is_release = binary.components().any(|part| part.as_os_str() == "release");
    let run = run::run(options);
    let faults = verdict::faults(&run);
    let build = if is_release { "release" } else { "debug" };
    let text = report::markdown(&run, &faults, options, &machine, build);
    println!("{text}");
    if options.save {
        let name = format!("../bench/reports/{}-fire.md", machine.date);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        match std::fs::write(&path, &text) {
            Ok(()) => println!("saved as bench/reports/{}-fire.md", machine.date),
            Err(error) => eprintln!("cannot write {}: {error}", path.display()),
        }
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Thousands of connections: as many descriptors as the system allows. Proxies and backends inherit the limit.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Waits for so long. Nobody unparks this thread, and if somebody did, the rest of the time is waited for.
fn pause(lasts: Duration) {
    let begun = Instant::now();
    while let Some(left) = lasts.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
