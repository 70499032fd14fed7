//! How many idle connections each core keeps to one backend: where a core without one looks before it opens another.
//!
//! Made when a table is compiled and carried over to the next one with its backend, so it is also what tells that a
//! backend is still the same. Each core writes a line of its own whenever its pool changes; the others read it only where
//! they would have to connect.

use std::sync::atomic::{AtomicUsize, Ordering};

/// One number per core.
#[derive(Debug)]
pub(crate) struct Board(Box<[Idle]>);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Idle(AtomicUsize);

/// The core that has most to lend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lender {
    /// Which core.
    pub(crate) core: usize,
    /// How many idle connections it has.
    pub(crate) idle: usize,
}

impl Board {
    pub(crate) fn new(cores: usize) -> Board {
        Board((0..cores).map(|_| Idle::default()).collect())
    }

    /// Written by core `own` alone.
    #[inline]
    pub(crate) fn note(&self, own: usize, idle: usize) {
        if let Some(line) = self.0.get(own) {
            line.0.store(idle, Ordering::Relaxed);
        }
    }

    /// The core with most idle connections, other than `own`; none if nobody has any.
    pub(crate) fn lender_for(&self, own: usize) -> Option<Lender> {
        let others = self.0.iter().enumerate().filter(|(core, _)| *core != own);
        let lenders = others.map(|(core, line)| Lender { core, idle: line.0.load(Ordering::Relaxed) });
        lenders.max_by_key(|lender| lender.idle).filter(|lender| lender.idle > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_with_most_lends_but_never_to_itself() {
        let board = Board::new(3);
        assert_eq!(board.lender_for(0), None, "nobody has any");
        board.note(0, 9);
        assert_eq!(board.lender_for(0), None, "only our own");
        board.note(1, 2);
        board.note(2, 3);
        assert_eq!(board.lender_for(0), Some(Lender { core: 2, idle: 3 }));
        assert_eq!(board.lender_for(2), Some(Lender { core: 0, idle: 9 }));
        board.note(2, 0);
        assert_eq!(board.lender_for(0), Some(Lender { core: 1, idle: 2 }));
        assert_eq!(Board::new(1).lender_for(0), None);
    }
}
