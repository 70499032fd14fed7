//! Which of the process's threads go first.

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

#[cfg(test)]
mod tests {
    use super::*;

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
