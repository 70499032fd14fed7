//! How much of the machine other work takes: what all cores did, less what the proxy and the load did.
//!
//! Taken at both ends of a window, so that a disturbed turn is known and can be done again; also watched before
//! a turn. Time that the host took from this virtual machine (steal) counts as other work.

use std::fs;
use std::time::Instant;

/// `/proc/stat` counts in hundredths of a second on every architecture.
const TICK_NS: u64 = 10_000_000;

/// What all cores together had done at one instant.
#[derive(Debug, Clone, Copy)]
pub struct MachineReading {
    busy_ns: u64,
    cores: u64,
    at: Instant,
}

impl MachineReading {
    /// Reads the counters now.
    pub fn take() -> MachineReading {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let (busy_ns, cores) = busy_in(&text);
        MachineReading { busy_ns, cores, at: Instant::now() }
    }

    /// The share of the whole machine, 0 to 1, that neither we nor the proxy used since `earlier`; `known_ns` is
    /// what those two used.
    pub fn others_since(&self, earlier: &MachineReading, known_ns: u64) -> f64 {
        let whole_ns = self.at.duration_since(earlier.at).as_nanos() as f64 * self.cores as f64;
        let others_ns = self.busy_ns.saturating_sub(earlier.busy_ns).saturating_sub(known_ns);
        if whole_ns > 0.0 { (others_ns as f64 / whole_ns).min(1.0) } else { 0.0 }
    }
}

/// Busy nanoseconds over all cores, and how many cores there are, in the text of `/proc/stat`.
fn busy_in(text: &str) -> (u64, u64) {
    let mut lines = text.lines();
    let all = lines.next().unwrap_or_default();
    let cores = lines.take_while(|line| line.starts_with("cpu")).count() as u64;
    // user, nice, system, (idle, iowait), irq, softirq, steal; what follows is contained in user and nice.
    let fields: Vec<u64> =
        all.split_ascii_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let ticks: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|&at| fields.get(at)).sum();
    (ticks * TICK_NS, cores)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn idle_and_waiting_do_not_count_as_busy() {
        let text = "cpu  100 20 30 9999 888 4 5 6 70 80\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nintr 5\n";
        assert_eq!(busy_in(text), (165 * TICK_NS, 2));
        assert_eq!(busy_in(""), (0, 0));
    }

    #[test]
    fn others_are_the_rest() {
        let at = Instant::now();
        let earlier = MachineReading { busy_ns: 1_000_000_000, cores: 2, at };
        let later = MachineReading { busy_ns: 2_600_000_000, cores: 2, at: at + Duration::from_secs(1) };
        assert!((later.others_since(&earlier, 1_200_000_000) - 0.2).abs() < 1e-9);
        assert_eq!(later.others_since(&earlier, 9_000_000_000), 0.0);
    }
}
