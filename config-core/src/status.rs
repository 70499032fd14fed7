//! `StatusSource`: how the control plane reads the data plane's state. The engine implements it.

use crate::ids::RouteId;

/// State of the data plane, read without disturbing the cores.
pub trait StatusSource: Send + Sync {
    /// Reads every core's counters. Values of different cores may be a few microseconds apart.
    fn status(&self) -> Status;

    /// The routes that limit their exchanges, in no particular order. Looks at every route.
    fn gates(&self) -> Vec<GateStatus>;
}

/// A counter's name and value. Names follow Prometheus habits: a `_total` only grows.
pub type Count = (&'static str, u64);

/// What the cores report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Epoch of the snapshot that was committed last.
    pub epoch: u32,
    /// One entry per core.
    pub cores: Vec<CoreStatus>,
    /// Sums over all cores, by counter name.
    pub counters: Vec<Count>,
}

impl Status {
    /// Adds the cores' counters up. Every core reports the same counters in the same order.
    pub fn new(epoch: u32, cores: Vec<CoreStatus>) -> Self {
        let mut counters: Vec<Count> = Vec::new();
        for core in &cores {
            if counters.is_empty() {
                counters.clone_from(&core.counters);
                continue;
            }
            for (sum, (name, value)) in counters.iter_mut().zip(&core.counters) {
                debug_assert_eq!(sum.0, *name, "cores count the same things");
                sum.1 += value;
            }
        }
        Self { epoch, cores, counters }
    }

    /// How many cores have seen the committed epoch.
    pub fn cores_on_epoch(&self) -> usize {
        self.cores.iter().filter(|core| core.epoch == self.epoch).count()
    }

    /// Client connections over all cores.
    pub fn connections(&self) -> u64 {
        self.cores.iter().map(|core| core.connections).sum()
    }

    /// A counter's sum over all cores; 0 for a name that there is not.
    pub fn counter(&self, name: &str) -> u64 {
        value_of(&self.counters, name)
    }
}

/// The exchanges of a route that limits them, over all cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateStatus {
    /// The route.
    pub route: RouteId,
    /// Exchanges in flight.
    pub active: u32,
    /// Exchanges that wait for a place.
    pub waiting: u32,
    /// `reqActiveLength`.
    pub active_max: u32,
    /// `reqQueueLength`.
    pub queue_max: u32,
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
    /// What it has counted since it started.
    pub counters: Vec<Count>,
}

impl CoreStatus {
    /// A counter's value; 0 for a name that there is not.
    pub fn counter(&self, name: &str) -> u64 {
        value_of(&self.counters, name)
    }
}

fn value_of(counters: &[Count], name: &str) -> u64 {
    counters.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core(core: usize, epoch: u32, counters: Vec<Count>) -> CoreStatus {
        CoreStatus { core, epoch, connections: 3, counters }
    }

    #[test]
    fn only_cores_on_the_committed_epoch_count_as_seen() {
        let status = Status::new(2, vec![core(0, 1, Vec::new()), core(1, 2, Vec::new())]);
        assert_eq!(status.cores_on_epoch(), 1);
        assert_eq!(status.connections(), 6);
    }

    #[test]
    fn sums_are_those_of_all_cores() {
        let status =
            Status::new(1, vec![core(0, 1, vec![("a", 1), ("b", 0)]), core(4, 1, vec![("a", 5), ("b", 7)])]);
        assert_eq!(status.counters, [("a", 6), ("b", 7)]);
        assert_eq!((status.counter("b"), status.counter("c")), (7, 0));
        assert_eq!(status.cores[0].counter("a"), 1);
    }
}
