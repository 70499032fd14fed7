//! The fuzz part of `cargo x test`: a few seconds of every target of `fuzz/`, or its corpus as plain tests.
//!
//! libFuzzer needs sanitizer coverage, which the pinned stable compiler only gives when it is told to accept
//! unstable flags; that is what `RUSTC_BOOTSTRAP` does, for the fuzz build alone. Where cargo-fuzz is missing
//! or cannot build here, the same target bodies run over the corpus and seeded mutations as ordinary tests.

use std::path::Path;
use std::process::Command;

use crate::command;
use crate::counts::{self, Counts};

/// How long each target runs.
const SECONDS_PER_TARGET: u32 = 10;

/// Runs every target and adds one count for each, or the counts of the corpus tests.
pub(crate) fn run(root: &Path, sum: &mut Counts) {
    let manifest = root.join("fuzz").join("Cargo.toml");
    let Ok(text) = std::fs::read_to_string(&manifest) else {
        println!("fuzz/Cargo.toml cannot be read");
        *sum += Counts::one(false);
        return;
    };
    let fuzzer = command::answers(command::cargo(root).args(["fuzz", "--version"]))
        && command::succeeds(cargo_fuzz(root, "build", &[]).env("CARGO_TERM_QUIET", "true"));
    if !fuzzer {
        println!("no fuzzer can be built here: replaying the corpus as plain tests");
        corpus_tests(root, sum);
        return;
    }
    let limit = format!("-max_total_time={SECONDS_PER_TARGET}");
    for target in targets(&text) {
        println!("{target}: {SECONDS_PER_TARGET} s");
        let finished =
            captured(&mut cargo_fuzz(root, "run", &[target, "--", &limit, "-print_final_stats=1"]));
        if !finished.ok {
            print!("{}", finished.output);
            println!("{target}: FAILED");
        }
        *sum += Counts::one(finished.ok);
    }
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

fn cargo_fuzz(root: &Path, verb: &str, rest: &[&str]) -> Command {
    let mut cargo = command::cargo(root);
    cargo.env("RUSTC_BOOTSTRAP", "1").args(["fuzz", verb, "--sanitizer", "none"]).args(rest);
    cargo
}

/// Runs quietly: a fuzzer writes hundreds of lines that matter only when it finds something.
fn captured(command: &mut Command) -> command::Finished {
    match command.output() {
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            command::Finished { ok: output.status.success(), output: text }
        }
        Err(error) => command::Finished { ok: false, output: format!("cannot start cargo fuzz: {error}\n") },
    }
}

/// The names of the `[[bin]]` sections of the fuzz manifest.
fn targets(manifest: &str) -> Vec<&str> {
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
            names.push(value.trim().trim_matches('"'));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_bins_of_the_manifest() {
        let manifest = "[package]\nname = \"fuzz\"\n[[bin]]\nname = \"one\"\npath = \"a.rs\"\n[[bin]]\npath = \"b.rs\"\n\
                        name = \"two\"\n[dependencies]\nname = \"no\"\n";
        assert_eq!(targets(manifest), ["one", "two"]);
    }
}
