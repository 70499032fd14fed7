//! Processes that take over from one another: started by a `SIGUSR2` to the newest of them, watched, and ended by their ids.
//!
//! Used through [`Pinion::restart`]. The test's process adopts those whose parent has ended, so that it can wait for them
//! and nobody is left behind.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

use crate::process::Pinion;
use crate::wait;

/// Marks every process of one test's proxy, also those that others of it start.
pub(crate) const MARK: &str = "PINION_TEST_MARK";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A value of [`MARK`] for one proxy and those that take over from it.
pub(crate) fn mark() -> String {
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Pinion {
    /// Has another process take over from the newest one; returns its id when it has.
    pub fn restart(&mut self) -> u32 {
        self.ask_for_restart();
        self.wait_restart()
    }

    /// Waits until one more has taken over.
    pub fn wait_restart(&mut self) -> u32 {
        let so_far = self.successors.len();
        let id = wait::some("another process takes over", || self.taken_over().get(so_far).copied());
        self.successors.push(id);
        id
    }

    /// `SIGUSR2` to the newest process.
    pub fn ask_for_restart(&self) {
        // Orphans become our children, from which we can learn how they ended.
        set_child_subreaper(Some(getpid())).expect("a process may adopt orphans");
        kill_process(pid(self.newest()), Signal::USR2).expect("the newest process runs");
    }

    /// The process that accepts.
    pub fn newest(&self) -> u32 {
        self.successors.last().copied().unwrap_or_else(|| self.id())
    }

    /// Sends a signal to the newest process.
    pub fn signal_newest(&self, signal: Signal) {
        kill_process(pid(self.newest()), signal).expect("the newest process runs");
    }

    /// Waits until one that took over has ended by itself; whether its exit code was 0.
    pub fn wait_successor_exit(&mut self, id: u32) -> bool {
        wait::some(&format!("process {id} ends"), || match waitpid(Some(pid(id)), WaitOptions::NOHANG) {
            Ok(ended) => ended.map(|(_, status)| status.exit_status() == Some(0)),
            // It is the child of the process before it, which waits for it and tells how it ended.
            Err(_) => self.told_end(id),
        })
    }

    fn told_end(&self, id: u32) -> Option<bool> {
        let log = self.log();
        let mut lines = log.lines().filter(|line| number_after_successor(line) == Some(id));
        lines.find_map(|line| {
            let stopped = line.contains("the successor has stopped");
            (stopped || line.contains("the successor has failed")).then_some(stopped)
        })
    }

    /// Ids of those that have taken over so far, by what the log says.
    fn taken_over(&self) -> Vec<u32> {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains("the other process has taken over"));
        lines.filter_map(number_after_successor).collect()
    }
}

/// The ids of the processes that run with this mark.
pub(crate) fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}\0");
    processes()
        .filter(|id| {
            let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            environment.windows(wanted.len()).any(|part| part == wanted.as_bytes())
        })
        .collect()
}

/// The ids of the processes that this one started, those included that have ended and were not waited for.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    processes()
        .filter(|id| {
            // `ID (NAME) STATE PARENT …`, where a name may have anything in it.
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            after_name.split_whitespace().nth(1) == Some(&parent.to_string())
        })
        .collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Ends them all, the newest one too.
pub(crate) fn end(mark: &str) {
    for id in marked(mark) {
        let _ = kill_process(pid(id), Signal::KILL);
        let _ = waitpid(Some(pid(id)), WaitOptions::empty());
    }
}

fn number_after_successor(line: &str) -> Option<u32> {
    let rest = line.split_once("\"successor\":")?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn pid(id: u32) -> Pid {
    i32::try_from(id).ok().and_then(Pid::from_raw).expect("process ids fit 31 bits and are not 0")
}
