//! Each backend in turn, per core, from a random start, so that cores do not march in step.

use std::cell::Cell;

pub(crate) struct RoundRobin {
    next: Cell<usize>,
}

impl RoundRobin {
    pub(crate) fn new(start: u64) -> RoundRobin {
        RoundRobin { next: Cell::new(start as usize) }
    }

    /// Index of the next of `count` backends. `count` must not be 0.
    pub(crate) fn pick(&self, count: usize) -> usize {
        debug_assert!(count > 0, "an upstream without backends does not pass validation");
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        turn % count.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_each_backend_in_turn() {
        let turns = RoundRobin::new(7);
        let picks: Vec<usize> = (0..6).map(|_| turns.pick(3)).collect();
        assert_eq!(picks, [1, 2, 0, 1, 2, 0]);
    }
}
