//! `cargo x fuzz --minutes N [TARGET…]`: every fuzz target in turn, then their corpora made small again. And the
//! fuzz part of `cargo x test`: a few seconds of every target, or its corpus as plain tests.
//!
//! libFuzzer needs sanitizer coverage, which the pinned stable compiler only gives when it is told to accept
//! unstable flags; that is what `RUSTC_BOOTSTRAP` does, for the fuzz build alone. Where cargo-fuzz is missing
//! or cannot build here, the same target bodies run over the corpus and seeded mutations as ordinary tests.
//!
//! What a run finds interesting goes to `fuzz/grown/`, which git does not know; only `cargo x fuzz` takes what is
//! worth keeping of it into `fuzz/corpus/` (see `corpus.rs`).

mod corpus;
mod outcome;

use std::path::Path;
use std::process::Command;
use std::thread;

use crate::command::{self, Finished};
use crate::counts::{self, Counts};
use outcome::Outcome;

/// How long each target runs as part of `cargo x test`.
const SECONDS_PER_TARGET: u64 = 10;
/// How long `cargo x fuzz` runs in all unless told otherwise.
const MINUTES: f64 = 10.0;

/// Runs every target briefly and adds one count for each, or the counts of the corpus tests.
pub(crate) fn test(root: &Path, sum: &mut Counts) {
    let Some(targets) = targets_of(root) else {
        *sum += Counts::one(false);
        return;
    };
    if !builds(root) {
        println!("no fuzzer can be built here: replaying the corpus as plain tests");
        corpus_tests(root, sum);
        return;
    }
    // A fuzzer keeps one processor busy.
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    for some in targets.chunks(at_once) {
        println!("{}: {SECONDS_PER_TARGET} s", some.join(", "));
        let runs: Vec<Finished> = thread::scope(|scope| {
            let running: Vec<_> = some
                .iter()
                .map(|target| scope.spawn(move || fuzz(root, target, SECONDS_PER_TARGET)))
                .collect();
            running.into_iter().map(|run| run.join().expect("nothing in it panics")).collect()
        });
        for (target, finished) in some.iter().zip(runs) {
            if !finished.ok {
                print!("{}", finished.output);
                println!("{target}: FAILED");
            }
            *sum += Counts::one(finished.ok);
        }
    }
}

/// `cargo x fuzz ARGS…`; true when nothing was found.
pub(crate) fn task(root: &Path, args: &[String]) -> bool {
    let Some(all) = targets_of(root) else { return false };
    let plan = match Plan::of(args, &all) {
        Ok(plan) => plan,
        Err(problem) => {
            eprintln!("{problem}");
            return false;
        }
    };
    if !builds(root) {
        eprintln!("no fuzzer can be built here: it needs cargo-fuzz and a C++ compiler");
        return false;
    }
    let outcomes: Vec<Outcome> =
        plan.targets.iter().map(|target| full_turn(root, target, plan.seconds)).collect();
    println!("\n{}", outcome::table(&outcomes));
    for found in outcomes.iter().filter(|outcome| !outcome.ok) {
        print!("{}", found.report());
    }
    println!("{}", outcome::last_line(&outcomes));
    outcomes.iter().all(|outcome| outcome.ok)
}

/// What `cargo x fuzz` was asked for.
#[derive(Debug, PartialEq)]
struct Plan {
    targets: Vec<String>,
    /// Share of each target.
    seconds: u64,
}

impl Plan {
    fn of(args: &[String], all: &[String]) -> Result<Plan, String> {
        let mut minutes = MINUTES;
        let mut targets = Vec::new();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--minutes" {
                let number = args.next().and_then(|text| text.parse().ok());
                minutes = number
                    .filter(|minutes| (0.01..=100_000.0).contains(minutes))
                    .ok_or("--minutes needs a number")?;
            } else if all.contains(arg) {
                targets.push(arg.clone());
            } else {
                return Err(format!("no fuzz target `{arg}`; there are: {}", all.join(" ")));
            }
        }
        if targets.is_empty() {
            targets = all.to_vec();
        }
        let share = minutes * 60.0 / targets.len() as f64;
        Ok(Plan { targets, seconds: share.ceil() as u64 })
    }
}

/// One target's share of the time, and then its corpus.
fn full_turn(root: &Path, target: &str, seconds: u64) -> Outcome {
    println!("{target}: {seconds} s");
    let finished = fuzz(root, target, seconds);
    let mut outcome = Outcome::read(target, finished);
    match corpus::minimise(root, target) {
        Ok(size) => outcome.corpus = size,
        Err(problem) => {
            println!("{target}: the corpus stays as it is: {problem}");
            outcome.corpus = corpus::size(root, target);
        }
    }
    outcome
}

/// Fuzzes for some seconds, quietly: a fuzzer writes hundreds of lines that matter only when it finds something.
fn fuzz(root: &Path, target: &str, seconds: u64) -> Finished {
    let (grown, corpus) = (corpus::grown(root, target), corpus::kept(root, target));
    if let Err(error) = std::fs::create_dir_all(&grown) {
        return Finished { ok: false, output: format!("{}: {error}\n", grown.display()) };
    }
    let mut cargo = cargo_fuzz(root, "run");
    cargo.arg(target).args([&grown, &corpus]).arg("--");
    cargo.args([format!("-max_total_time={seconds}").as_str(), "-print_final_stats=1", "-timeout=10"]);
    let dictionary = root.join("fuzz").join("dictionaries").join(format!("{target}.dict"));
    if dictionary.exists() {
        cargo.arg(format!("-dict={}", dictionary.display()));
    }
    command::quiet(&mut cargo)
}

/// Whether the fuzzers can be built, and builds them.
fn builds(root: &Path) -> bool {
    command::answers(command::cargo(root).args(["fuzz", "--version"]))
        && command::succeeds(cargo_fuzz(root, "build").env("CARGO_TERM_QUIET", "true"))
}

/// The fuzz crate's ordinary tests.
fn corpus_tests(root: &Path, sum: &mut Counts) {
    let finished = command::shown(command::cargo(root).args([
        "test",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--no-default-features",
    ]));
    sum.add_run(finished.ok, counts::of_libtest(&finished.output));
}

fn cargo_fuzz(root: &Path, verb: &str) -> Command {
    let mut cargo = command::cargo(root);
    cargo.env("RUSTC_BOOTSTRAP", "1").args(["fuzz", verb, "--sanitizer", "none"]);
    cargo
}

fn targets_of(root: &Path) -> Option<Vec<String>> {
    match std::fs::read_to_string(root.join("fuzz").join("Cargo.toml")) {
        Ok(manifest) => Some(targets(&manifest)),
        Err(error) => {
            eprintln!("fuzz/Cargo.toml cannot be read: {error}");
            None
        }
    }
}

/// The names of the `[[bin]]` sections of the fuzz manifest.
fn targets(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut in_bin = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            in_bin = line == "[[bin]]";
        }
        if let Some((key, value)) = line.split_once('=')
            && in_bin
            && key.trim() == "name"
        {
            names.push(value.trim().trim_matches('"').to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn targets_are_the_bins_of_the_manifest() {
        let manifest = "[package]\nname = \"fuzz\"\n[[bin]]\nname = \"one\"\npath = \"a.rs\"\n[[bin]]\npath = \"b.rs\"\n\
                        name = \"two\"\n[dependencies]\nname = \"no\"\n";
        assert_eq!(targets(manifest), ["one", "two"]);
    }

    #[test]
    fn the_time_is_shared_by_those_who_take_part() {
        let all = texts(&["a", "b", "c"]);
        let plan = |args: &[&str]| Plan::of(&texts(args), &all);
        assert_eq!(plan(&["--minutes", "1"]), Ok(Plan { targets: all.clone(), seconds: 20 }));
        assert_eq!(plan(&["b", "--minutes", "0.5"]), Ok(Plan { targets: texts(&["b"]), seconds: 30 }));
        assert_eq!(plan(&[]), Ok(Plan { targets: all.clone(), seconds: 200 }));
        for wrong in [["--minutes", ""], ["--minutes", "-1"], ["--minutes", "x"], ["d", "a"]] {
            assert!(plan(&wrong).is_err(), "{wrong:?}");
        }
    }
}
