//! CPU time of a whole proxy: the on-CPU nanoseconds of every thread of every process of it.
//!
//! Taken at both ends of a measuring window. The source is the first field of `/proc/PID/task/*/schedstat`; the
//! kernel brings it up to date at each tick and each switch, so a reading may lag by one tick (4 ms at 250 Hz),
//! which is under 0.2 % of the shortest window that we use.

use std::collections::BTreeMap;
use std::fs;

/// On-CPU nanoseconds by thread at one instant.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct CpuReading {
    by_thread: BTreeMap<(u32, u32), u64>,
}

/// What happened between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuSpent {
    /// Nanoseconds on the CPU, over all threads alive at the end.
    pub ns: u64,
    /// Threads that ended in between: their last nanoseconds are missing from `ns`.
    pub threads_lost: usize,
}

impl CpuReading {
    /// Reads every thread of `pids` now.
    pub fn take(pids: &[u32]) -> CpuReading {
        let mut by_thread = BTreeMap::new();
        for &pid in pids {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let Some(tid) = task.file_name().to_str().and_then(|name| name.parse().ok()) else {
                    continue;
                };
                let text = fs::read_to_string(task.path().join("schedstat"));
                if let Some(ns) = text.ok().and_then(|text| on_cpu_ns(&text)) {
                    by_thread.insert((pid, tid), ns);
                }
            }
        }
        CpuReading { by_thread }
    }

    /// CPU time from `earlier` to this reading. A thread that is new counts from its birth.
    pub fn since(&self, earlier: &CpuReading) -> CpuSpent {
        let before = |thread| earlier.by_thread.get(thread).copied().unwrap_or(0);
        let ns = self.by_thread.iter().map(|(thread, now)| now.saturating_sub(before(thread))).sum();
        let threads_lost = earlier.by_thread.keys().filter(|t| !self.by_thread.contains_key(t)).count();
        CpuSpent { ns, threads_lost }
    }
}

/// First field of a `schedstat` text.
fn on_cpu_ns(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(rows: &[(u32, u32, u64)]) -> CpuReading {
        CpuReading { by_thread: rows.iter().map(|&(pid, tid, ns)| ((pid, tid), ns)).collect() }
    }

    #[test]
    fn first_field_is_the_time_on_the_cpu() {
        assert_eq!(on_cpu_ns("22379867 6322578 65\n"), Some(22_379_867));
        assert_eq!(on_cpu_ns(""), None);
        assert_eq!(on_cpu_ns("x 1 2"), None);
    }

    #[test]
    fn time_is_summed_over_processes_and_threads() {
        let before = reading(&[(1, 1, 100), (2, 2, 1_000), (2, 3, 50)]);
        let after = reading(&[(1, 1, 150), (2, 2, 1_500), (2, 3, 50)]);
        assert_eq!(after.since(&before), CpuSpent { ns: 550, threads_lost: 0 });
    }

    #[test]
    fn new_threads_count_and_ended_threads_are_told() {
        let before = reading(&[(1, 1, 100), (1, 2, 70)]);
        let after = reading(&[(1, 1, 130), (1, 3, 9)]);
        assert_eq!(after.since(&before), CpuSpent { ns: 39, threads_lost: 1 });
    }

    #[test]
    fn own_process_has_spent_time() {
        let pids = [std::process::id()];
        let before = CpuReading::take(&pids);
        let mut word = 1_u64;
        for step in 0..60_000_000_u64 {
            word = std::hint::black_box(word.rotate_left(5) ^ step);
        }
        std::hint::black_box(word);
        let spent = CpuReading::take(&pids).since(&before);
        assert!(spent.ns > 0);
    }
}
