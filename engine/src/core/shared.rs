//! What all cores of one data plane share, and nothing else. Every atomic here is listed in `docs/architecture.md`.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::io::Remote;
use crate::metrics::counters::Counters;
use crate::table::publish::Tables;

pub(crate) struct Shared {
    pub(crate) tables: Tables,
    pub(crate) cores: Vec<CoreShared>,
    /// Client connections over all cores: touched when one opens or closes, never by a request.
    connections: AtomicUsize,
}

/// One core's side of it: written by that core, read by others.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct CoreShared {
    /// Index of the processor.
    pub(crate) processor: usize,
    pub(crate) counters: Counters,
    /// Client connections on this core, those on their way to it included.
    pub(crate) connections: AtomicUsize,
    /// Epoch of the table that it serves from.
    pub(crate) epoch: AtomicU32,
    pub(crate) remote: OnceLock<Remote>,
}

/// Below this many connections a core does not bother to hand any over.
const HAND_OVER_MIN: usize = 8;

impl Shared {
    pub(crate) fn new(tables: Tables, processors: &[usize]) -> Arc<Shared> {
        let cores =
            processors.iter().map(|processor| CoreShared { processor: *processor, ..CoreShared::default() });
        Arc::new(Shared { tables, cores: cores.collect(), connections: AtomicUsize::new(0) })
    }

    /// Has every running core do something between two of its turns.
    pub(crate) fn broadcast(&self, message: impl FnOnce() + Clone + Send + 'static) {
        for remote in self.cores.iter().filter_map(|core| core.remote.get()) {
            remote.post(message.clone());
        }
    }

    /// Takes a place for one more client connection; false at the limit.
    pub(crate) fn admit(&self, max: usize) -> bool {
        let taken = self.connections.fetch_add(1, Ordering::Relaxed);
        if taken >= max {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Gives a place back.
    pub(crate) fn release(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The least loaded core, if core `own` has more than its share: over the mean by a quarter.
    pub(crate) fn less_loaded_than(&self, own: usize) -> Option<usize> {
        let load = |core: &CoreShared| core.connections.load(Ordering::Relaxed);
        let mine = load(self.cores.get(own)?);
        let total: usize = self.cores.iter().map(load).sum();
        let over = mine * self.cores.len() * 4 > total * 5;
        if mine < HAND_OVER_MIN || !over {
            return None;
        }
        let least = (0..self.cores.len()).min_by_key(|index| load(&self.cores[*index]))?;
        (least != own).then_some(least)
    }
}
