//! How many exchanges and sessions a backend has, over all cores: one count per core, each on a line of its own, summed by
//! who wants to know.
//!
//! Shared by all cores and carried from table to table with its backend. Each core counts its own up and down with a plain
//! load and store; an exchange or session ends on the core where it began. Nothing is allocated before the first one: most
//! of 100,000 routes are asleep.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering, fence};

/// How often a core tries to enter when another one enters at the same moment.
const TRIES_MAX: usize = 8;

/// The counts of one backend.
#[derive(Debug)]
pub(crate) struct InFlight {
    cores: usize,
    lines: OnceLock<Box<[Line]>>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(AtomicU32);

impl InFlight {
    pub(crate) fn new(cores: usize) -> InFlight {
        InFlight { cores, lines: OnceLock::new() }
    }

    /// An exchange or session begins on core `own`. Written by that core alone.
    #[inline]
    pub(crate) fn enter(&self, own: usize) {
        if let Some(Line(count)) = self.lines().get(own) {
            count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// The same, unless there are `max` already: over all cores there are never more. Of two cores that want the last
    /// place at once both may be refused, after a few tries.
    #[inline]
    pub(crate) fn try_enter(&self, own: usize, max: u32) -> bool {
        for _ in 0..TRIES_MAX {
            if self.total() >= max {
                return false;
            }
            self.enter(own);
            // Of all that are in, the one whose fence is last sees every other's count: so it would see one too many.
            fence(Ordering::SeqCst);
            if self.total() <= max {
                return true;
            }
            self.leave(own);
        }
        false
    }

    /// One that began on core `own` has ended.
    #[inline]
    pub(crate) fn leave(&self, own: usize) {
        if let Some(Line(count)) = self.lines().get(own) {
            let before = count.load(Ordering::Relaxed);
            debug_assert!(before > 0, "it leaves where it entered");
            count.store(before.saturating_sub(1), Ordering::Relaxed);
        }
    }

    /// Over all cores.
    #[inline]
    pub(crate) fn total(&self) -> u32 {
        let lines = self.lines.get().map_or(&[][..], |lines| lines);
        lines.iter().fold(0, |sum, line| sum.wrapping_add(line.0.load(Ordering::Relaxed)))
    }

    #[inline]
    fn lines(&self) -> &[Line] {
        self.lines.get_or_init(|| (0..self.cores).map(|_| Line::default()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn cores_count_for_themselves_and_are_summed() {
        let in_flight = InFlight::new(3);
        assert_eq!(in_flight.total(), 0);
        assert!(in_flight.lines.get().is_none(), "nothing is allocated for a backend that nobody uses");
        in_flight.enter(0);
        in_flight.enter(2);
        in_flight.enter(2);
        assert_eq!(in_flight.total(), 3);
        in_flight.leave(2);
        assert_eq!(in_flight.total(), 2);
        assert!(in_flight.try_enter(1, 3));
        assert!(!in_flight.try_enter(0, 3));
        assert_eq!(in_flight.total(), 3, "who is refused has not entered");
    }

    #[test]
    fn cores_that_enter_at_once_never_exceed_the_limit() {
        const CORES: usize = 4;
        const MAX: u32 = 2;
        const TIMES: usize = 2_000;
        let (in_flight, inside) = (InFlight::new(CORES), AtomicU32::new(0));
        let barrier = Barrier::new(CORES);
        thread::scope(|scope| {
            for core in 0..CORES {
                let (in_flight, inside, barrier) = (&in_flight, &inside, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let mut admitted = 0;
                    while admitted < TIMES {
                        if !in_flight.try_enter(core, MAX) {
                            thread::yield_now();
                            continue;
                        }
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        assert!(now <= MAX, "{now} inside");
                        admitted += 1;
                        if admitted % 8 == 0 {
                            thread::yield_now();
                        }
                        inside.fetch_sub(1, Ordering::SeqCst);
                        in_flight.leave(core);
                    }
                });
            }
        });
        assert_eq!(in_flight.total(), 0, "each core was let in as often as it wanted");
    }
}
