//! `cargo x test`: everything that must hold before a commit, on a clean checkout and without set-up.
//!
//! Order: format, clippy, tidy, build of the binary, every test, documentation tests, half a minute under fire, a few
//! seconds of every fuzzer. A failed step does not hide the later ones. The last line is `N passed, M failed`: the tests and
//! fuzz targets that really ran, plus one failure for each failed check.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::command;
use crate::counts::{self, Counts};
use crate::{fire, fuzz, tidy};

/// Runs every step; true when nothing failed.
pub(crate) fn run(root: &Path) -> bool {
    let begun = Instant::now();
    let mut sum = Counts::default();
    let title = |name: &str| title(begun, name);

    install_missing();
    check(begun, &mut sum, "format", || cargo(root, &["fmt", "--all", "--check"]));
    check(begun, &mut sum, "clippy", || {
        cargo(root, &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])
    });
    check(begun, &mut sum, "tidy", || tidy::run(root));
    let built = check(begun, &mut sum, "build", || {
        cargo(root, &["build", "--package", "control", "--bin", "pinion"])
    });
    if built {
        title("tests");
        run_tests(root, &[], None, &mut sum);
        // Those that touch the loop once more on the other driver.
        title("tests on epoll");
        run_tests(root, &["engine", "tests"], Some("epoll"), &mut sum);
        title("documentation tests");
        doc_tests(root, &mut sum);
        check(begun, &mut sum, "fire", || fire::short(root));
        title("fuzz");
        fuzz::test(root, &mut sum);
    }

    println!("\nin {} s", begun.elapsed().as_secs());
    println!("{} passed, {} failed", sum.passed, sum.failed);
    sum.failed == 0
}

/// A check has no count of its own: it only shows in the sum when it fails.
fn check(begun: Instant, sum: &mut Counts, name: &str, step: impl FnOnce() -> bool) -> bool {
    title(begun, name);
    let ok = step();
    if !ok {
        println!("{name}: FAILED");
        *sum += Counts::one(false);
    }
    ok
}

fn title(begun: Instant, name: &str) {
    println!("\n== {name} (after {} s)", begun.elapsed().as_secs());
}

fn cargo(root: &Path, args: &[&str]) -> bool {
    command::succeeds(command::cargo(root).args(args))
}

/// The tests of some packages, or all. With nextest where it is installed (a process per test), else with cargo's own runner;
/// the tests are the same. Nextest builds the whole workspace each time: a part of it has other features, and would be
/// compiled anew.
fn run_tests(root: &Path, packages: &[&str], runtime: Option<&str>, sum: &mut Counts) {
    let nextest = command::answers(command::cargo(root).args(["nextest", "--version"]));
    let mut run = command::cargo(root);
    run.envs(runtime.map(|name| ("PINION_TEST_RUNTIME", name)));
    if nextest {
        run.args([
            "nextest",
            "run",
            "--no-fail-fast",
            "--status-level",
            "slow",
            "--final-status-level",
            "fail",
            "--workspace",
        ]);
        if !packages.is_empty() {
            let sets: Vec<String> = packages.iter().map(|name| format!("package({name})")).collect();
            run.args(["--filterset", &sets.join(" + ")]);
        }
        let finished = command::shown(&mut run);
        sum.add_run(finished.ok, counts::of_nextest(&finished.output));
    } else {
        println!("cargo-nextest is not installed: using cargo's own runner");
        run.args(["test", "--lib", "--bins", "--tests", "--no-fail-fast"]);
        for name in packages {
            run.args(["--package", name]);
        }
        if packages.is_empty() {
            run.arg("--workspace");
        }
        let finished = command::shown(&mut run);
        sum.add_run(finished.ok, counts::of_libtest(&finished.output));
    }
}

fn doc_tests(root: &Path, sum: &mut Counts) {
    let finished = command::shown(command::cargo(root).args(["test", "--workspace", "--doc", "--quiet"]));
    sum.add_run(finished.ok, counts::of_libtest(&finished.output));
}

/// The tests drive the proxy with these too. What is missing, root gets from the distribution; without it those tests fail,
/// they are never skipped.
fn install_missing() {
    const PROGRAMS: [(&str, &str); 2] = [("curl", "--version"), ("openssl", "version")];
    let is_there = |(name, asked): &(&str, &str)| command::answers(Command::new(name).arg(asked));
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|program| !is_there(program)).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return;
    }
    println!("missing: {}; asking apt-get", missing.join(", "));
    let installed = command::answers(Command::new("apt-get").args(["update", "-qq"]))
        && command::answers(Command::new("apt-get").args(["install", "-y", "-qq"]).args(&missing));
    if !installed {
        println!("apt-get could not install them: the tests that need them will fail");
    }
}
