//! `bench micro`: the criterion benchmarks of `micro/`, and their figures in one table with what they must reach.
//!
//! Criterion runs them as its own programs; this builds and starts them on one core and reads the estimates that they
//! leave behind, so that a report says nothing that criterion did not measure.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::cores;
use crate::machine::Machine;

/// What the figures of the specification are called here, and their bounds in nanoseconds.
const TARGETS: [(&str, f64); 12] = [
    ("header: epoch read", 0.5),
    ("dns: hit, addresses read", 50.0),
    ("h1: request head of 10 fields, parsed and checked", 300.0),
    ("ws: frame head, whole frame there", 3.0),
    ("ws: frame head/of 64 bytes among 4 KiB of them", 3.0),
    ("router: host among 100,000, exact", 100.0),
    ("router: host among 100,000, by a wildcard", 100.0),
    ("router: host among 100,000, by a wildcard, exact ones beside", 100.0),
    ("router: rule among 1,000 expressions, anchored", 2_000.0),
    ("router: rule among 1,000 expressions, anywhere", 2_000.0),
    ("router: rule among 1,000 expressions, anywhere, none matches", 2_000.0),
    ("router: one changed route of 100,000, to its table", 1_000_000.0),
];

/// The other figures of the specification: what they measure does not exist yet.
const NO_CODE_YET: &str = "header check of six fields, binary frame check, rate-limit check, JWT seen before";

/// One benchmark's estimate for one operation, in nanoseconds.
#[derive(Debug, Clone, PartialEq)]
struct Estimate {
    name: String,
    low: f64,
    middle: f64,
    high: f64,
}

/// Builds and runs the benchmarks whose name holds `filter`, all without one, and gives the report.
pub(crate) fn report(filter: Option<&str>) -> io::Result<(Machine, String)> {
    succeed(cargo_bench().arg("--no-run"))?;
    // The machine's state is of interest before the run, and before this thread keeps its core to itself.
    let machine = Machine::read();
    cores::pin_to_load_core()?;
    let priority = cores::raise_priority(false);
    let home = std::env::temp_dir().join(format!("pinion-micro-{}", std::process::id()));
    let ran = succeed(
        cargo_bench().arg("--").args(filter).args(["--noplot", "--quiet"]).env("CRITERION_HOME", &home),
    );
    let estimates = ran.and_then(|()| estimates(&home));
    let _ = fs::remove_dir_all(&home);
    let text = markdown(&machine, priority, &estimates?);
    Ok((machine, text))
}

fn cargo_bench() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["bench", "--package", "bench", "--benches"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("cargo bench ended with {status}"))) }
}

/// Every estimate below a folder of criterion's, in the order of the names.
fn estimates(home: &Path) -> io::Result<Vec<Estimate>> {
    let mut found = Vec::new();
    let mut folders = vec![home.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.ends_with("new") {
                found.push(estimate(
                    &json(path.join("benchmark.json"))?,
                    &json(path.join("estimates.json"))?,
                )?);
            } else if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(found)
}

fn json(path: PathBuf) -> io::Result<Value> {
    let text = fs::read_to_string(&path)?;
    serde_json::from_str(&text).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

/// The estimate of a benchmark, divided by the operations that it does at once.
fn estimate(benchmark: &Value, estimates: &Value) -> io::Result<Estimate> {
    let name = benchmark["full_id"].as_str().ok_or_else(|| io::Error::other("a benchmark without a name"))?;
    let each = benchmark["throughput"]["Elements"].as_f64().unwrap_or(1.0);
    // The slope is steadier than the mean; criterion leaves it out where it took flat samples.
    let best = if estimates["slope"].is_object() { &estimates["slope"] } else { &estimates["mean"] };
    let figure = |value: &Value| {
        value.as_f64().map(|ns| ns / each).ok_or_else(|| io::Error::other(format!("{name}: no estimate")))
    };
    let interval = &best["confidence_interval"];
    Ok(Estimate {
        name: name.to_owned(),
        low: figure(&interval["lower_bound"])?,
        middle: figure(&best["point_estimate"])?,
        high: figure(&interval["upper_bound"])?,
    })
}

fn markdown(machine: &Machine, priority: &str, estimates: &[Estimate]) -> String {
    let mut text = format!("# Micro benchmarks, {}\n\n", machine.date);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{} cores, {}, kernel {}; commit {}; load average before: {}. Criterion, on core {}, {priority}.\n\n\
         Nanoseconds for one operation: estimate (95 % interval).\n\n\
         | operation | ns | target |\n|---|---|---|",
        machine.cores,
        machine.processor,
        machine.kernel,
        machine.commit,
        machine.load,
        cores::LOAD_CORE,
    );
    for estimate in estimates {
        let Estimate { name, low, middle, high } = estimate;
        let _ = writeln!(text, "| {name} | {middle:.2} ({low:.2}–{high:.2}) | {} |", verdict(estimate));
    }
    let _ = writeln!(text, "\nSpecified, but without code to measure yet: {NO_CODE_YET}.");
    text
}

/// Met or missed, by the estimate itself.
fn verdict(estimate: &Estimate) -> String {
    let target = TARGETS.iter().find(|(name, _)| *name == estimate.name);
    match target {
        Some((_, bound)) if estimate.middle <= *bound => format!("≤ {bound} met"),
        Some((_, bound)) => format!("≤ {bound} **missed**"),
        None => "—".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).expect("written as JSON")
    }

    #[test]
    fn estimates_are_criterions_for_one_operation() {
        let estimates = parsed(
            r#"{"mean": {"point_estimate": 9.0, "confidence_interval": {"lower_bound": 8.0, "upper_bound": 10.0}},
                "slope": {"point_estimate": 6.0, "confidence_interval": {"lower_bound": 5.0, "upper_bound": 7.0}}}"#,
        );
        let found = estimate(&parsed(r#"{"full_id": "a", "throughput": {"Elements": 2}}"#), &estimates);
        let expected = Estimate { name: "a".to_owned(), low: 2.5, middle: 3.0, high: 3.5 };
        assert_eq!(found.expect("complete"), expected);

        let flat = parsed(
            r#"{"slope": null, "mean": {"point_estimate": 9.0,
            "confidence_interval": {"lower_bound": 8.0, "upper_bound": 10.0}}}"#,
        );
        let found = estimate(&parsed(r#"{"full_id": "a", "throughput": null}"#), &flat).expect("complete");
        assert_eq!(found.middle, 9.0);
        estimate(&parsed(r#"{"full_id": "a"}"#), &parsed("{}")).expect_err("nothing measured");
    }

    #[test]
    fn a_target_is_met_or_missed_by_its_name() {
        let at =
            |name: &str, middle| verdict(&Estimate { name: name.to_owned(), low: 0.0, middle, high: 9e9 });
        let (name, _) =
            TARGETS.iter().find(|(_, ns)| *ns == 300.0).expect("the request head has this target");
        assert_eq!(at(name, 300.0), "≤ 300 met");
        assert_eq!(at(name, 300.1), "≤ 300 **missed**");
        assert_eq!(at("something else", 1.0), "—");
    }
}
