//! Where this program's threads run: all on one processor, the proxy's core on the other, attackers behind the rest.
//!
//! Called at the start of each thread and of each origin. What the system refuses is not done; the figures then say
//! less, and the verdicts stay.

use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, gettid, sched_setaffinity};

/// The processor of the proxy's core.
pub(crate) const PROXY_PROCESSOR: usize = 0;
/// The processor of everybody else, where there is a second one.
const OWN_PROCESSOR: usize = 1;

/// Before attackers, so that their work does not show as the proxy's latency.
const WELL_BEHAVED_NICENESS: i32 = -10;
/// Behind everybody.
const ATTACKER_NICENESS: i32 = 5;

/// For well-behaved clients and origins.
pub(crate) fn settle_as_well_behaved() {
    settle(WELL_BEHAVED_NICENESS);
}

/// For attackers.
pub(crate) fn settle_as_attacker() {
    settle(ATTACKER_NICENESS);
}

fn settle(niceness: i32) {
    if std::thread::available_parallelism().is_ok_and(|count| count.get() > OWN_PROCESSOR) {
        let mut set = CpuSet::new();
        set.set(OWN_PROCESSOR);
        let _ = sched_setaffinity(None, &set);
    }
    // On Linux a thread has a niceness of its own.
    let _ = setpriority_process(Some(gettid()), niceness);
}
