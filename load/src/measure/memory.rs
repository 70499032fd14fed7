//! Memory of a whole proxy as the kernel shares it out: `Pss` of every process, from `smaps_rollup`.
//!
//! Read before and after a crowd of idle sessions has been opened; the growth per session is the figure.

use std::fs;

/// Sum of `Pss` over `pids`, in KiB. A process that has gone counts nothing.
pub fn pss_kib(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|text| pss_in(&text))
        .sum()
}

/// The `Pss:` line of a `smaps_rollup` text, in KiB.
fn pss_in(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pss_line_is_told_from_its_neighbours() {
        let text =
            "5644-7ffc ---p 00000000 00:00 0 [rollup]\nRss:   1680 kB\nPss_Dirty: 9 kB\nPss:    388 kB\n";
        assert_eq!(pss_in(text), Some(388));
        assert_eq!(pss_in("Rss: 1 kB\n"), None);
        assert_eq!(pss_in("Pss: 1 MB\n"), None);
    }

    #[test]
    fn own_process_takes_memory() {
        assert!(pss_kib(&[std::process::id()]) > 0);
    }
}
