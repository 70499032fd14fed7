//! Each backend in turn, per core, from a random start, so that cores do not march in step.
//!
//! The next turn follows the backend that was *picked*: behind a dead one nobody is served twice.

use std::cell::Cell;

use super::Backends;
use super::credits::Credits;

#[derive(Debug)]
pub(crate) struct RoundRobin {
    next: Cell<usize>,
    credits: Credits,
}

impl RoundRobin {
    /// For `count` backends.
    pub(super) fn of(count: usize, seed: u64) -> RoundRobin {
        RoundRobin { next: Cell::new(seed as usize % count.max(1)), credits: Credits::new(count) }
    }

    /// The next usable backend.
    pub(super) fn next(&self, backends: &impl Backends) -> Option<usize> {
        let count = self.credits.len();
        let start = self.next.get();
        let mut reluctant = None;
        for step in 0..count {
            let index = if start + step < count { start + step } else { start + step - count };
            if !backends.is_usable(index) {
                continue;
            }
            if self.credits.takes(index, backends.share(index)) {
                return Some(self.turn_to(index));
            }
            reluctant.get_or_insert(index);
        }
        // All that are left start slowly: somebody has to.
        reluctant.map(|index| self.turn_to(index))
    }

    fn turn_to(&self, index: usize) -> usize {
        self.next.set(if index + 1 < self.credits.len() { index + 1 } else { 0 });
        index
    }
}
