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

    install_missing();
    check(&mut sum, "format", || cargo(root, &["fmt", "--all", "--check"]));
    check(&mut sum, "clippy", || {
        cargo(root, &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])
    });
    check(&mut sum, "tidy", || tidy::run(root));
    let built =
        check(&mut sum, "build", || cargo(root, &["build", "--package", "control", "--bin", "pinion"]));
    if built {
        tests(root, &mut sum);
        doc_tests(root, &mut sum);
        check(&mut sum, "fire", || fire::short(root));
        title("fuzz");
        fuzz::test(root, &mut sum);
    }

    println!("\nin {} s", begun.elapsed().as_secs());
    println!("{} passed, {} failed", sum.passed, sum.failed);
    sum.failed == 0
}

/// A check has no count of its own: it only shows in the sum when it fails.
fn check(sum: &mut Counts, name: &str, step: impl FnOnce() -> bool) -> bool {
    title(name);
    let ok = step();
    if !ok {
        println!("{name}: FAILED");
        *sum += Counts::one(false);
    }
    ok
}

fn title(name: &str) {
    println!("\n== {name}");
}

fn cargo(root: &Path, args: &[&str]) -> bool {
    command::succeeds(command::cargo(root).args(args))
}

/// All tests of the workspace, then those that touch the loop once more on the other driver.
fn tests(root: &Path, sum: &mut Counts) {
    title("tests");
    run_tests(root, &[], None, sum);
    title("tests on epoll");
    run_tests(root, &["engine", "tests"], Some("epoll"), sum);
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
    title("documentation tests");
    let finished = command::shown(command::cargo(root).args(["test", "--workspace", "--doc", "--quiet"]));
    sum.add_run(finished.ok, counts::of_libtest(&finished.output));
}

/// The tests drive the proxy with curl too. Where it is missing, root gets it from the distribution; without
/// it those tests fail, they are never skipped.
fn install_missing() {
    if command::answers(Command::new("curl").arg("--version")) {
        return;
    }
    println!("curl is missing: asking apt-get for it");
    let installed = command::answers(Command::new("apt-get").args(["update", "-qq"]))
        && command::answers(Command::new("apt-get").args(["install", "-y", "-qq", "curl"]));
    if !installed {
        println!("curl could not be installed: the tests that need it will fail");
    }
}
