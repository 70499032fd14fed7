//! Slow start for strategies that go in turn: a backend with a share of a quarter takes every fourth of its turns. Counted
//! and not drawn by lot, so that the turns stay smooth.

use std::cell::Cell;

/// What each backend has saved of the turns that it let pass.
#[derive(Debug)]
pub(super) struct Credits(Box<[Cell<f32>]>);

impl Credits {
    pub(super) fn new(count: usize) -> Credits {
        Credits((0..count).map(|_| Cell::new(0.0)).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// It is the turn of `index`: whether it takes it.
    #[inline]
    pub(super) fn takes(&self, index: usize, share: f32) -> bool {
        if share >= 1.0 {
            return true;
        }
        let Some(credit) = self.0.get(index) else { return true };
        let saved = credit.get() + share;
        let takes = saved >= 1.0;
        credit.set(if takes { saved - 1.0 } else { saved });
        takes
    }
}
