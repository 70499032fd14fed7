//! `StatusSource`: how the control plane reads the data plane's state. The engine implements it.

/// State of the data plane, read without disturbing the cores.
pub trait StatusSource: Send + Sync {
    /// Reads every core's counters. Values of different cores may be a few microseconds apart.
    fn status(&self) -> Status;
}

/// What the cores report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Epoch of the snapshot that was committed last.
    pub epoch: u32,
    /// One entry per core.
    pub cores: Vec<CoreStatus>,
    /// Sums over all cores, by counter name.
    pub counters: Vec<(&'static str, u64)>,
}

impl Status {
    /// How many cores have seen the committed epoch.
    pub fn cores_on_epoch(&self) -> usize {
        self.cores.iter().filter(|core| core.epoch == self.epoch).count()
    }

    /// Client connections over all cores.
    pub fn connections(&self) -> u64 {
        self.cores.iter().map(|core| core.connections).sum()
    }
}

/// What one core reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreStatus {
    /// Index of the processor that the core is pinned to.
    pub core: usize,
    /// Epoch of the table that it serves from.
    pub epoch: u32,
    /// Client connections it holds.
    pub connections: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cores_on_the_committed_epoch_count_as_seen() {
        let core = |core, epoch| CoreStatus { core, epoch, connections: 3 };
        let status = Status { epoch: 2, cores: vec![core(0, 1), core(1, 2)], counters: Vec::new() };
        assert_eq!(status.cores_on_epoch(), 1);
        assert_eq!(status.connections(), 6);
    }
}
