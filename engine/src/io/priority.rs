//! Which of the process's threads go first, and which may interrupt others.

/// Nanoseconds: the shortest slice that the scheduler grants (`sched_setattr(2)`, since Linux 6.12).
const CORE_SLICE_NS: u64 = 100_000;
/// The policy of nearly every thread; another one was chosen by the operator.
const SCHED_OTHER: u32 = 0;

/// A tenth of the time, where a thread of the usual niceness wants the same processor.
const NICENESS: libc::c_int = 10;

/// Has the calling thread, and those that it will start, give way to the cores, for good.
///
/// For threads that compile and publish tables: where every processor has a core, they share one, and as equals they would
/// keep its clients waiting (`docs/decisions/0034-who-publishes-gives-way.md`).
pub fn give_way() {
    // SAFETY: takes a plain number. On Linux it is the calling thread's niceness alone, and a higher one is always allowed.
    unsafe { libc::nice(NICENESS) };
}

/// Asks the scheduler for short slices for the calling thread: woken, it goes before a thread that computes in longer ones,
/// instead of waiting for the end of that one's slice. It gets no more of the processor than before.
///
/// Does nothing under a policy other than the usual one; kernels before 6.12 take the request and ignore it
/// (`docs/decisions/0035-cores-interrupt-who-computes.md`).
pub(crate) fn take_short_slices() {
    if let Some(mut attr) = scheduling()
        && attr.sched_policy == SCHED_OTHER
    {
        attr.sched_runtime = CORE_SLICE_NS;
        // SAFETY: 0 is the calling thread; the pointer is to a value of the right type that says its own size.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    }
}

/// How the calling thread is scheduled; `None` where the kernel does not tell.
fn scheduling() -> Option<libc::sched_attr> {
    let size = u32::try_from(size_of::<libc::sched_attr>()).ok()?;
    let mut attr = libc::sched_attr {
        size,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: 0 is the calling thread; the kernel writes no more than the size that it is told.
    let outcome = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) };
    (outcome == 0).then_some(attr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_become_short_and_nothing_else_changes() {
        let (before, after) = std::thread::spawn(|| {
            give_way();
            let before = scheduling().unwrap();
            take_short_slices();
            (before, scheduling().unwrap())
        })
        .join()
        .unwrap();
        assert_eq!((after.sched_policy, after.sched_nice), (before.sched_policy, before.sched_nice));
        // 0 where the kernel knows no slices.
        assert!([0, CORE_SLICE_NS].contains(&after.sched_runtime), "{} ns", after.sched_runtime);
        assert!(before.sched_runtime == 0 || before.sched_runtime > CORE_SLICE_NS, "it was short already");
    }

    /// Field 19 of `/proc/thread-self/stat` (proc(5)); the second may contain spaces.
    fn niceness() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, behind_name) = stat.rsplit_once(')').unwrap();
        behind_name.split_whitespace().nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn only_who_gives_way_becomes_nice() {
        let before = niceness();
        let there = std::thread::spawn(|| {
            give_way();
            niceness()
        });
        assert_eq!(there.join().unwrap(), (before + NICENESS).min(19));
        assert_eq!(niceness(), before);
    }
}
