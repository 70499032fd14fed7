//! What a run of one fuzz target came to, read from what libFuzzer prints, and the table of all of them.

use super::corpus::Size;
use crate::command::Finished;

/// One target's run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    target: String,
    /// It ran to its end and found nothing.
    pub(super) ok: bool,
    executions: u64,
    /// Edges of the code that were reached.
    coverage: u64,
    /// The corpus as it is kept afterwards.
    pub(super) corpus: Size,
    /// Inputs that broke a promise.
    findings: Vec<String>,
    /// What was printed, if it did not end well.
    output: String,
}

impl Outcome {
    pub(super) fn read(target: &str, finished: Finished) -> Outcome {
        let after = |key: &str| {
            let found = finished.output.lines().rev().find_map(|line| line.split_once(key));
            found.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let written = finished.output.lines().filter_map(|line| line.split_once("Test unit written to "));
        Outcome {
            target: target.to_owned(),
            ok: finished.ok,
            executions: after("stat::number_of_executed_units:"),
            coverage: after(" cov: "),
            corpus: Size::default(),
            findings: written.map(|(_, path)| path.trim().to_owned()).collect(),
            output: if finished.ok { String::new() } else { finished.output },
        }
    }

    /// What is wrong and how to see it again.
    pub(super) fn report(&self) -> String {
        let target = &self.target;
        if self.findings.is_empty() {
            return format!(
                "{target} did not end well and left no input behind; it said:\n{}\n",
                self.output
            );
        }
        let mut text = String::new();
        for line in self.output.lines().filter(|line| is_telling(line)) {
            text += &format!("{target}: {line}\n");
        }
        for finding in &self.findings {
            text += &format!("{target}: finding in {finding}\n");
            text +=
                &format!("  replay: RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none {target} {finding}\n");
        }
        text
    }
}

/// Whether a line of a failed run says what was wrong.
fn is_telling(line: &str) -> bool {
    let line = line.trim_start();
    ["thread '", "assertion ", "left: ", "right: ", "==", "SUMMARY"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// The outcomes side by side.
pub(super) fn table(outcomes: &[Outcome]) -> String {
    let mut text =
        format!("{:<14}{:>14}{:>10}{:>22}{:>10}\n", "target", "executions", "coverage", "corpus", "findings");
    for outcome in outcomes {
        let corpus = format!("{} files, {} KiB", outcome.corpus.files, outcome.corpus.bytes.div_ceil(1024));
        let findings = if outcome.ok { 0 } else { outcome.findings.len().max(1) };
        let (target, executions, coverage) = (&outcome.target, outcome.executions, outcome.coverage);
        text += &format!("{target:<14}{executions:>14}{coverage:>10}{corpus:>22}{findings:>10}\n");
    }
    text
}

/// The one line that says it all.
pub(super) fn last_line(outcomes: &[Outcome]) -> String {
    let executions: u64 = outcomes.iter().map(|outcome| outcome.executions).sum();
    let failed = outcomes.iter().filter(|outcome| !outcome.ok).count();
    format!("{} targets, {executions} executions, {failed} with findings", outcomes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(ok: bool, output: &str) -> Finished {
        Finished { ok, output: output.to_owned() }
    }

    #[test]
    fn figures_are_the_last_that_were_printed() {
        let output = "#2\tINITED cov: 7 ft: 8 corp: 1/1b\n#900\tDONE   cov: 41 ft: 90 corp: 12/340b lim: 4 exec/s: 9 rss: 44Mb\n\
                      Done 900 runs in 1 second(s)\nstat::number_of_executed_units: 900\n";
        let outcome = Outcome::read("one", finished(true, output));
        assert_eq!((outcome.executions, outcome.coverage, outcome.ok), (900, 41, true));
        assert!(outcome.findings.is_empty());
        assert_eq!(last_line(&[outcome]), "1 targets, 900 executions, 0 with findings");
    }

    #[test]
    fn a_finding_says_how_to_see_it_again() {
        let output = "thread '<unnamed>' panicked at src/a.rs:1:1:\nassertion `left == right` failed\n\
                      artifact_prefix='x/'; Test unit written to fuzz/artifacts/one/crash-12ab\n";
        let outcome = Outcome::read("one", finished(false, output));
        assert_eq!(outcome.findings, ["fuzz/artifacts/one/crash-12ab"]);
        assert!(outcome.report().contains("assertion `left == right` failed"));
        assert!(outcome.report().contains("none one fuzz/artifacts/one/crash-12ab"));
        assert!(table(&[outcome]).lines().nth(1).is_some_and(|line| line.ends_with(" 1")));
    }

    #[test]
    fn a_run_that_breaks_off_is_never_a_success() {
        let outcome = Outcome::read("one", finished(false, "no such file\n"));
        assert!(outcome.report().contains("no such file"));
        assert!(table(&[outcome]).lines().nth(1).is_some_and(|line| line.ends_with(" 1")));
    }
}
