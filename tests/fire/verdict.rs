//! Which promises were broken. Nothing timed is judged: latencies are in the report and fail nobody.
//!
//! Called by `main.rs` on a finished run; each fault is one line for a person. No line, no fault.

use crate::attack::FAULT;
use crate::good::tally::Row;
use crate::plan::{SOAK_FIRST, SOAK_SECOND, World};
use crate::run::{Life, Played, Run};

/// A resting proxy ticks once a second, which takes well under a thousandth of a processor.
const IDLE_BUSY_MAX: f64 = 0.05;
/// Two equal halves of a soak may differ by what an allocator rounds up, but not by what each request leaves.
const SOAK_GROWTH_KIB_MAX: u64 = 4 * 1024;
/// What a proxy at rest may have more than before its first client: its tables have grown once, buffers have been touched.
const KEPT_KIB_MAX: u64 = 8 * 1024;

/// Every fault of a run.
pub(crate) fn faults(run: &Run) -> Vec<String> {
    let mut faults = Vec::new();
    for life in &run.lives {
        for played in &life.played {
            let own = of_stage(life, played);
            faults.extend(own.into_iter().map(|fault| format!("{}: {fault}", played.stage.name)));
        }
        faults.extend(of_life(life).into_iter().map(|fault| format!("{:?}: {fault}", life.world)));
    }
    if run.posts_repeated > 0 {
        faults.push(format!("{} POSTs arrived at backends more than once", run.posts_repeated));
    }
    faults
}

fn of_stage(life: &Life, played: &Played) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |is: bool, text: String| {
        if is {
            faults.push(text);
        }
    };
    let tally = &played.tally;
    let all = tally.all();
    fault(all.lost > 0, format!("{} requests lost", all.lost));
    fault(all.wrong > 0, format!("{} wrong answers", all.wrong));
    fault(tally.unconnected > 0, format!("{} connections could not be had", tally.unconnected));
    fault(tally.counts(Row::Get).good == 0, "no GET was answered at all".to_owned());
    fault(all.unaccounted() > 0, format!("{} requests in no class", all.unaccounted()));
    fault(tally.crashed, "a well-behaved client of ours crashed".to_owned());
    for ((attack, label), count) in played.outcomes.iter().filter(|((_, label), _)| label.starts_with(FAULT))
    {
        fault(true, format!("{}: {} {count} times", attack.name(), label.trim_start_matches(FAULT)));
    }
    let (Some(start), Some(rest)) = (life.start, played.rest) else {
        fault(true, "the proxy ended".to_owned());
        return faults;
    };
    let is_leaking = rest.files > start.files;
    fault(is_leaking, format!("{} descriptors at rest, {} at the start", rest.files, start.files));
    let kept = rest.memory_kib.saturating_sub(start.memory_kib);
    fault(
        rest.settled && kept > KEPT_KIB_MAX,
        format!("keeps {kept} KiB at rest that it did not have at the start"),
    );
    fault(rest.busy > IDLE_BUSY_MAX, format!("spins: {:.0} % of a processor at rest", rest.busy * 100.0));
    faults
}

fn of_life(life: &Life) -> Vec<String> {
    let mut faults = Vec::new();
    if !life.panics.is_empty() {
        faults.push(format!("{} panics: {}", life.panics.len(), life.panics[0]));
    }
    if !life.ended_well {
        faults.push("did not exit with 0 when it was asked to end".to_owned());
    }
    if !life.paused && life.world != World::Roomy {
        faults.push("never came to its limit, so this run shows nothing about it".to_owned());
    }
    let memory = |name| {
        let played = life.played.iter().find(|played| played.stage.name == name)?;
        played.rest.map(|rest| rest.memory_kib)
    };
    if let (Some(first), Some(second)) = (memory(SOAK_FIRST), memory(SOAK_SECOND)) {
        let growth = second.saturating_sub(first);
        if growth > SOAK_GROWTH_KIB_MAX {
            faults.push(format!("memory at rest grew by {growth} KiB from one half of the soak to the next"));
        }
    }
    faults
}
