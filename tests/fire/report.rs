//! The report of a run as Markdown: for the terminal, and for `bench/reports/`.

use std::fmt::Write;
use std::process::Command;

use crate::good::tally::{Lane, Row};
use crate::options::Options;
use crate::plan::CALM;
use crate::run::{Life, Played, Run};

/// Where and on what it ran.
pub(crate) struct Machine {
    pub(crate) date: String,
    text: String,
}

impl Machine {
    /// Reads the facts now; what cannot be read is `unknown`.
    pub(crate) fn read() -> Machine {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let text = format!(
            "{cores} processors, kernel {}; commit {}; load average before: {}",
            said("uname", &["-r"]),
            said(
                "git",
                &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty=+", "--exclude=*"]
            ),
            said("cut", &["-d ", "-f1", "/proc/loadavg"]),
        );
        Machine { date: said("date", &["--utc", "+%Y-%m-%d"]), text }
    }
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success());
    output.map_or_else(
        || "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// The whole report.
pub(crate) fn markdown(
    run: &Run,
    faults: &[String],
    options: &Options,
    machine: &Machine,
    build: &str,
) -> String {
    let mut text = format!(
        "# Pinion under fire, {}\n\n{}; {build} build; seed {}.\n\n",
        machine.date, machine.text, options.seed
    );
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(text, "{PREFACE}");
    accounts(&mut text, run);
    latencies(&mut text, run);
    resources(&mut text, run);
    attackers(&mut text, run);
    troubles(&mut text, run);
    let _ = writeln!(
        text,
        "\n{} POSTs arrived at backends, {} of them more than once.",
        run.posts_arrived, run.posts_repeated
    );
    if faults.is_empty() {
        text.push_str("\nNo promise was broken.\n");
    } else {
        let _ = writeln!(text, "\n**{} faults:**\n", faults.len());
        for fault in faults {
            let _ = writeln!(text, "- {fault}");
        }
    }
    text
}

const PREFACE: &str = "\
The proxy has processor 0; backends, well-behaved clients, and behind them attackers and the backends' threads that answer \
attackers share processor 1. *Direct* requests go past the proxy to a backend, at the same rate on twelve connections: what they take is \
this machine's, not the proxy's. \
Well-behaved clients send at a fixed rate and check every byte. *Lost* and *wrong* must be 0. A request is *cut by a \
kill* if its answer had begun and names a backend process that was killed; a POST is *in flight at a kill* if it failed \
while a backend was being killed. A GET without the beginning of an answer has no excuse: other backends live.\n";

fn played(run: &Run) -> impl Iterator<Item = &Played> {
    run.lives.iter().flat_map(|life| &life.played)
}

fn accounts(text: &mut String, run: &Run) {
    text.push_str(
        "| stage | s | what | sent | good | wrong | lost | cut by a kill | in flight at a kill |\n",
    );
    text.push_str("|---|---|---|---|---|---|---|---|---|\n");
    for one in played(run) {
        for row in Row::ALL {
            let counts = one.tally.counts(row);
            let _ = writeln!(
                text,
                "| {} | {:.0} | {row:?} | {} | {} | {} | {} | {} | {} |",
                one.stage.name,
                one.stage.lasts.as_secs_f64(),
                counts.sent,
                counts.good,
                counts.wrong,
                counts.lost,
                counts.cut_by_kill,
                counts.in_flight_at_kill
            );
        }
    }
}

/// The p99 to hold a stage against: the mean of the calm ones before and behind it, or the one that there is; `None` for a
/// calm one. `stages` are in order: whether it is calm, and its p99.
fn calm_p99(stages: &[(bool, Option<u64>)], at: usize) -> Option<f64> {
    let calm = |&(is_calm, p99): &(bool, Option<u64>)| p99.filter(|_| is_calm);
    let (is_calm, _) = *stages.get(at)?;
    let before = stages[..at].iter().rev().find_map(calm).filter(|_| !is_calm);
    let behind = stages[at..].iter().find_map(calm).filter(|_| !is_calm);
    match (before, behind) {
        (Some(before), Some(behind)) => Some((before + behind) as f64 / 2.0),
        (one, other) => one.or(other).map(|p99| p99 as f64),
    }
}

fn latencies(text: &mut String, run: &Run) {
    text.push_str(
        "\nLatency of short messages in µs; the goal is a p99 on kept connections of at most twice that of the calm stages next to it \
         (the mean of both).\n\n",
    );
    text.push_str(
        "| stage | kept p50 | p99 | p99.9 | p99 ÷ calm | goal | direct p50 | p99 | p99.9 | fresh p50 | p99 | session p50 | p99 |\n",
    );
    text.push_str("|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    let p99s: Vec<(bool, Option<u64>)> =
        played(run).map(|one| (one.stage.name == CALM, one.tally.percentile(Lane::Kept, 99.0))).collect();
    for (at, one) in played(run).enumerate() {
        let cell = |lane, percent| {
            one.tally.percentile(lane, percent).map_or_else(|| "—".to_owned(), |us| us.to_string())
        };
        let own = one.tally.percentile(Lane::Kept, 99.0);
        let ratio = own.zip(calm_p99(&p99s, at)).map(|(own, calm)| own as f64 / calm.max(1.0));
        let goal = ratio.map_or("—", |ratio| if ratio <= 2.0 { "met" } else { "**missed**" });
        let ratio = ratio.map_or_else(|| "—".to_owned(), |ratio| format!("{ratio:.2}"));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {ratio} | {goal} | {} | {} | {} | {} | {} | {} | {} |",
            one.stage.name,
            cell(Lane::Kept, 50.0),
            cell(Lane::Kept, 99.0),
            cell(Lane::Kept, 99.9),
            cell(Lane::Direct, 50.0),
            cell(Lane::Direct, 99.0),
            cell(Lane::Direct, 99.9),
            cell(Lane::Fresh, 50.0),
            cell(Lane::Fresh, 99.0),
            cell(Lane::Session, 50.0),
            cell(Lane::Session, 99.0)
        );
    }
}

fn resources(text: &mut String, run: &Run) {
    text.push_str("\nThe proxy at work and at rest after it (no clients, every deadline passed; *settled*: its memory fell no more):\n\n");
    text.push_str("| stage | backends killed | busy % | files, most | Pss MiB, most | at rest: files | Pss MiB | settled | busy % | s until then |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|---|\n");
    for life in &run.lives {
        start_row(text, life);
        for one in &life.played {
            let (Some(work), Some(rest)) = (one.work, one.rest) else {
                let _ = writeln!(text, "| {} | {} | ended |", one.stage.name, one.kills);
                continue;
            };
            let _ = writeln!(
                text,
                "| {} | {} | {:.0} | {} | {} | {} | {} | {} | {:.1} | {:.1} |",
                one.stage.name,
                one.kills,
                work.busy * 100.0,
                work.files_max,
                mib(work.memory_kib_max),
                rest.files,
                mib(rest.memory_kib),
                if rest.settled { "yes" } else { "—" },
                rest.busy * 100.0,
                rest.took.as_secs_f64()
            );
        }
    }
}

fn start_row(text: &mut String, life: &Life) {
    if let Some(rest) = life.start {
        let _ = writeln!(
            text,
            "| *{:?}, before any client* | | | | | {} | {} | | {:.1} | |",
            life.world,
            rest.files,
            mib(rest.memory_kib),
            rest.busy * 100.0
        );
    }
}

fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

fn attackers(text: &mut String, run: &Run) {
    text.push_str("\nWhat became of the attackers' connections:\n\n");
    for one in played(run) {
        let list: Vec<String> = one
            .outcomes
            .iter()
            .map(|((attack, label), count)| format!("{} {label} {count}", attack.name()))
            .collect();
        if !list.is_empty() {
            let _ = writeln!(text, "- **{}**: {}", one.stage.name, list.join(", "));
        }
    }
}

fn troubles(text: &mut String, run: &Run) {
    for one in played(run).filter(|one| !one.tally.troubles.is_empty()) {
        let _ = writeln!(text, "\nFirst troubles of {}:\n", one.stage.name);
        for trouble in &one.tally.troubles {
            let _ = writeln!(text, "- {trouble}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_held_against_the_calm_next_to_it() {
        let calm = |p99| (true, Some(p99));
        let other = (false, Some(9_999));
        let stages = [calm(100), other, calm(300), other, (true, None), other, other];
        let expected = [None, Some(200.0), None, Some(300.0), None, Some(300.0), Some(300.0)];
        for (at, expected) in expected.into_iter().enumerate() {
            assert_eq!(calm_p99(&stages, at), expected, "stage {at}");
        }
        assert_eq!(calm_p99(&[other], 0), None);
    }
}
