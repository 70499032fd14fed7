//! Which core does what. The proxy has one to itself; generator and origin share the other.

use std::io;
use std::path::Path;
use std::process::Command;

use rustix::thread::{CpuSet, sched_setaffinity};

/// The core that every proxy is pinned to.
pub(crate) const PROXY_CORE: usize = 0;
/// The core of the load thread.
pub(crate) const LOAD_CORE: usize = 1;

/// Pins the calling thread to the load core.
pub(crate) fn pin_to_load_core() -> io::Result<()> {
    pin_to(LOAD_CORE)
}

/// Pins the calling thread to a core.
pub(crate) fn pin_to(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Puts this process, and the proxies that it will start, before other work on the machine where the system
/// allows it; tells the report which it was.
pub(crate) fn raise_priority(realtime: bool) -> &'static str {
    if realtime && make_realtime() {
        return "all at real-time priority";
    }
    const NICENESS: i32 = -15;
    let is_raised = rustix::process::setpriority_process(None, NICENESS).is_ok();
    // Where the kernel groups tasks by session, niceness counts only between groups.
    let group = "/proc/self/autogroup";
    let is_group_raised = !Path::new(group).exists() || std::fs::write(group, NICENESS.to_string()).is_ok();
    if is_raised && is_group_raised { "all at raised priority" } else { "all at normal priority" }
}

/// Lowest round-robin priority for this process; what it starts inherits it.
fn make_realtime() -> bool {
    let own = std::process::id().to_string();
    Command::new("chrt").args(["--rr", "--pid", "1", &own]).status().is_ok_and(|status| status.success())
}
