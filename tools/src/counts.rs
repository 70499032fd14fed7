//! How many tests passed and failed, read from what the test runners print.
//!
//! Used by `test.rs` for the last line of `cargo x test`. Only what really ran is counted.

use std::ops::AddAssign;

/// Tests that ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Ran and held.
    pub(crate) passed: u64,
    /// Ran and did not, timed-out ones among them.
    pub(crate) failed: u64,
}

impl Counts {
    /// One thing that passed or failed.
    pub(crate) fn one(ok: bool) -> Counts {
        if ok { Counts { passed: 1, failed: 0 } } else { Counts { passed: 0, failed: 1 } }
    }

    /// Adds what a whole run says: a run that ended badly without naming a failed test counts as one failure,
    /// so that the sum can never say `0 failed` after one.
    pub(crate) fn add_run(&mut self, ok: bool, mut run: Counts) {
        if !ok && run.failed == 0 {
            run.failed = 1;
        }
        *self += run;
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// The counts of nextest's `Summary` line: `40 tests run: 37 passed (1 slow), 2 failed, 1 timed out, 3 skipped`.
pub(crate) fn of_nextest(output: &str) -> Counts {
    let mut counts = Counts::default();
    for line in output.lines().filter(|line| line.trim_start().starts_with("Summary")) {
        let Some((_, list)) = line.split_once("run: ") else { continue };
        for part in list.split(", ") {
            match number_before(part) {
                Some((count, "passed")) => counts.passed += count,
                Some((count, "failed" | "exec" | "timed")) => counts.failed += count,
                _ => {}
            }
        }
    }
    counts
}

/// The sum of libtest's lines: `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
pub(crate) fn of_libtest(output: &str) -> Counts {
    let mut counts = Counts::default();
    for line in output.lines().filter(|line| line.starts_with("test result: ")) {
        let Some((_, list)) = line.split_once(". ") else { continue };
        for part in list.split("; ") {
            match number_before(part) {
                Some((count, "passed")) => counts.passed += count,
                Some((count, "failed")) => counts.failed += count,
                _ => {}
            }
        }
    }
    counts
}

/// `37 passed (1 slow)` → (37, "passed").
fn number_before(part: &str) -> Option<(u64, &str)> {
    let mut words = part.split_whitespace();
    let count = words.next()?.parse().ok()?;
    Some((count, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextest_summaries_are_read() {
        let rows = [
            ("     Summary [   0.1s] 12 tests run: 12 passed, 0 skipped", 12, 0),
            (
                "     Summary [   9.1s] 40 tests run: 37 passed (1 slow, 2 leaky), 2 failed, 1 timed out, 3 skipped",
                37,
                3,
            ),
            ("     Summary [   9.1s] 4/40 tests run: 3 passed, 1 exec failed, 0 skipped", 3, 1),
            ("        PASS [   0.1s] it run: 9 passed", 0, 0),
        ];
        for (line, passed, failed) in rows {
            assert_eq!(of_nextest(line), Counts { passed, failed }, "{line}");
        }
    }

    #[test]
    fn libtest_results_are_summed() {
        let output = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 0 ignored; finished\n\
                      test result: FAILED. 1 passed; 3 failed; 1 ignored; finished\n";
        assert_eq!(of_libtest(output), Counts { passed: 3, failed: 3 });
    }

    #[test]
    fn bad_end_without_a_failed_test_is_a_failure() {
        let mut sum = Counts::default();
        sum.add_run(false, Counts { passed: 4, failed: 0 });
        assert_eq!(sum, Counts { passed: 4, failed: 1 });
        sum.add_run(false, Counts { passed: 0, failed: 2 });
        assert_eq!(sum, Counts { passed: 4, failed: 3 });
        sum.add_run(true, Counts { passed: 1, failed: 0 });
        assert_eq!(sum, Counts { passed: 5, failed: 3 });
    }
}
