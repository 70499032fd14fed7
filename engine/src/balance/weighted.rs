//! Each backend in turn, in proportion to its weight, evenly spread: earliest deadline first.
//!
//! A backend of weight `w` has a turn at every `1/w` of a virtual time, and turns are taken in the order of that time: a
//! heap, so a pick costs O(log n). All would be due at once in the beginning, the heavy ones many times in a row before
//! the light ones; so each starts at another part of its first interval: those of one weight in equal steps, one weight
//! after another in multiples of the golden ratio, which spread any number of them evenly. Each core starts elsewhere again.
//!
//! Who is not usable loses its turn, and is asked again at the next: nobody else's turns move because of it, and when it
//! comes back it is due neither at once nor many times.

use std::cell::{Cell, RefCell};

use super::Backends;
use super::credits::Credits;

/// Virtual time between two turns of a backend of weight 1.
const INTERVAL: u64 = 1 << 32;
/// The golden ratio's fraction, as 32 bits.
const GOLDEN: u32 = 0x9E37_79B9;
/// When virtual time is set back; far from overflow: one turn adds [`INTERVAL`] at most.
const REBASE_AT: u64 = 1 << 62;

#[derive(Debug)]
pub(super) struct Weighted {
    /// A binary heap, the earliest in front.
    turns: RefCell<Box<[Turn]>>,
    now: Cell<u64>,
    intervals: Box<[u64]>,
    credits: Credits,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    due: u64,
    index: usize,
}

impl Weighted {
    pub(super) fn new(weights: &[u16], seed: u64) -> Weighted {
        let intervals: Box<[u64]> =
            weights.iter().map(|weight| INTERVAL / u64::from((*weight).max(1))).collect();
        // Those of one weight are as far apart as they can be, and the groups in no step with each other.
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by_key(|index| intervals[*index]);
        let mut phase = (seed >> 32) as u32;
        let mut turns: Vec<Turn> = Vec::with_capacity(order.len());
        for group in order.chunk_by(|left, right| intervals[*left] == intervals[*right]) {
            for (at, index) in group.iter().enumerate() {
                let apart = ((at as u64) << 32) / group.len() as u64;
                let phase = u64::from(phase.wrapping_add(apart as u32));
                turns.push(Turn { due: (intervals[*index] * phase) >> 32, index: *index });
            }
            phase = phase.wrapping_add(GOLDEN);
        }
        // A sorted list is a heap.
        turns.sort_by_key(|turn| turn.due);
        Weighted {
            turns: RefCell::new(turns.into()),
            now: Cell::new(0),
            intervals,
            credits: Credits::new(weights.len()),
        }
    }

    /// The next usable backend.
    pub(super) fn next(&self, backends: &impl Backends) -> Option<usize> {
        let mut turns = self.turns.borrow_mut();
        self.rebase(&mut turns);
        for _ in 0..turns.len() {
            let Turn { index, .. } = *turns.first()?;
            let takes = backends.is_usable(index) && self.credits.takes(index, backends.share(index));
            self.pass(&mut turns, 0, takes);
            if takes {
                return Some(index);
            }
        }
        // Heavy ones are gone or start slowly, and would be asked many times before a light one is due.
        let usable = turns.iter().enumerate().filter(|(_, turn)| backends.is_usable(turn.index));
        let (at, Turn { index, .. }) =
            usable.min_by_key(|(_, turn)| turn.due).map(|(at, turn)| (at, *turn))?;
        self.pass(&mut turns, at, true);
        Some(index)
    }

    /// Makes the turn at `at` its backend's next one. Time goes on only when it was `taken`.
    #[inline]
    fn pass(&self, turns: &mut [Turn], at: usize, taken: bool) {
        let Some(turn) = turns.get_mut(at) else { return };
        let due = turn.due.max(self.now.get());
        if taken {
            self.now.set(due);
        }
        turn.due = due + self.intervals.get(turn.index).copied().unwrap_or(INTERVAL);
        sift_down(turns, at);
    }

    #[inline]
    fn rebase(&self, turns: &mut [Turn]) {
        let Some(base) = turns.first().map(|turn| turn.due).filter(|due| *due >= REBASE_AT) else { return };
        turns.iter_mut().for_each(|turn| turn.due -= base);
        self.now.set(self.now.get().saturating_sub(base));
    }
}

/// Moves the turn at `at`, which has become later, to its place in the heap.
#[inline]
fn sift_down(turns: &mut [Turn], mut at: usize) {
    loop {
        let left = 2 * at + 1;
        if left >= turns.len() {
            return;
        }
        let right = left + 1;
        let next = if right < turns.len() && turns[right].due < turns[left].due { right } else { left };
        if turns[at].due <= turns[next].due {
            return;
        }
        turns.swap(at, next);
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;

    #[test]
    fn virtual_time_is_set_back_before_it_overflows() {
        let weighted = Weighted::new(&[3, 1], 7);
        let before: Vec<_> = (0..400).filter_map(|_| weighted.next(&Fake::all(2))).collect();
        let weighted = Weighted::new(&[3, 1], 7);
        weighted.turns.borrow_mut().iter_mut().for_each(|turn| turn.due += REBASE_AT);
        weighted.now.set(REBASE_AT);
        let after: Vec<_> = (0..400).filter_map(|_| weighted.next(&Fake::all(2))).collect();
        assert_eq!(before, after);
        assert!(weighted.turns.borrow().iter().all(|turn| turn.due < REBASE_AT));
    }
}
