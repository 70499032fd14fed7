//! What all cores of one data plane share, and nothing else. Every atomic here is listed in `docs/architecture.md`.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::dns::Names;
use crate::io::Remote;
use crate::metrics::counters::Counters;
use crate::table::publish::Tables;

pub(crate) struct Shared {
    pub(crate) tables: Tables,
    /// Names of backends; ends when the last core has.
    pub(crate) names: Names,
    pub(crate) cores: Vec<CoreShared>,
    /// Client connections over all cores: touched when one opens or closes, never by a request.
    connections: AtomicUsize,
    /// Client connections that descriptors suffice for, once the cores have started.
    by_files: OnceLock<usize>,
    /// Where backends that are found dead are reported; set once, before a core starts.
    pub(crate) prober: OnceLock<Remote>,
    /// Acceptors that have not ended, over all cores. A draining core ends only when there are none: until then
    /// another one may hand a connection over to it.
    pub(crate) accepting: AtomicUsize,
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

/// Descriptors left free for what comes and goes: a file that is read again, a resolver, a log.
const FILES_SPARE: u64 = 16;

/// Below this many connections a core does not bother to hand any over.
const HAND_OVER_MIN: usize = 8;

impl Shared {
    pub(crate) fn new(tables: Tables, processors: &[usize], names: Names) -> Arc<Shared> {
        let cores =
            processors.iter().map(|processor| CoreShared { processor: *processor, ..CoreShared::default() });
        Arc::new(Shared {
            tables,
            names,
            cores: cores.collect(),
            connections: AtomicUsize::new(0),
            by_files: OnceLock::new(),
            prober: OnceLock::new(),
            accepting: AtomicUsize::new(0),
        })
    }

    /// Has every running core do something between two of its turns.
    pub(crate) fn broadcast(&self, message: impl FnOnce() + Clone + Send + 'static) {
        for remote in self.cores.iter().filter_map(|core| core.remote.get()) {
            remote.post(message.clone());
        }
    }

    /// Told once, when everything that stays open is open: how many descriptors there may be, and how many there are.
    /// Returns how many client connections they suffice for.
    pub(crate) fn note_files(&self, max: u64, open: u64) -> usize {
        *self.by_files.get_or_init(|| connections_by_files(max, open))
    }

    /// Client connections that descriptors suffice for.
    pub(crate) fn connections_by_files(&self) -> usize {
        self.by_files.get().copied().unwrap_or(usize::MAX)
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

    /// Nobody accepts any more, and what was accepted has been counted for its core.
    pub(crate) fn has_stopped_accepting(&self) -> bool {
        self.accepting.load(Ordering::Acquire) == 0
    }

    /// The least loaded core, if core `own` has more than its share: over the mean by a quarter.
    pub(crate) fn less_loaded_than(&self, own: usize) -> Option<usize> {
        less_loaded(&self.cores, own)
    }
}

/// Each client may need one connection to a backend, too. At least one client is always served.
fn connections_by_files(max: u64, open: u64) -> usize {
    let free = max.saturating_sub(open).saturating_sub(FILES_SPARE);
    usize::try_from(free / 2).unwrap_or(usize::MAX).max(1)
}

fn less_loaded(cores: &[CoreShared], own: usize) -> Option<usize> {
    let load = |core: &CoreShared| core.connections.load(Ordering::Relaxed);
    let mine = load(cores.get(own)?);
    let total: usize = cores.iter().map(load).sum();
    let is_over = mine * cores.len() * 4 > total * 5;
    if mine < HAND_OVER_MIN || !is_over {
        return None;
    }
    let least = (0..cores.len()).min_by_key(|index| load(&cores[*index]))?;
    (least != own).then_some(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_gets_two_descriptors() {
        let rows =
            [(1_024, 20, 494), (64, 15, 16), (64, 64, 1), (20, 30, 1), (u64::MAX, 20, usize::MAX / 2 - 18)];
        for (max, open, expected) in rows {
            assert_eq!(connections_by_files(max, open), expected, "{max} {open}");
        }
    }

    #[test]
    fn a_core_over_its_share_hands_over_to_the_least_loaded() {
        let rows: &[(&[usize], Option<usize>)] = &[
            (&[0, 0], None),
            (&[7, 0], None),              // too few to bother
            (&[12, 8], None),             // 20 % over the mean
            (&[13, 8], None),             // 24 % over
            (&[14, 8], Some(1)),          // 27 % over
            (&[100, 90, 10], Some(2)),    // the least loaded, not the next
            (&[100, 100, 100, 90], None), // all but level
            (&[40], None),                // nobody else
        ];
        for (loads, expected) in rows {
            let cores: Vec<CoreShared> = loads
                .iter()
                .map(|load| CoreShared { connections: AtomicUsize::new(*load), ..CoreShared::default() })
                .collect();
            assert_eq!(less_loaded(&cores, 0), *expected, "{loads:?}");
        }
    }
}
