//! The backend that answers soonest: of two random ones that with the lower peak EWMA of the time to the first byte, times
//! what it has in flight and this one.
//!
//! Peak: a slower answer counts at once and in full, a faster one pulls the average down with the time since the last
//! (`e^(-t/10 s)`), and so does silence, so that a backend that was slow is tried again. What a core learns is its own.

use std::cell::Cell;

use super::dice::Dice;
use super::random::Draw;
use super::{Backends, Moment};

/// After this long a measurement counts 1/e.
const DECAY_MS: f32 = 10_000.0;
/// A failure counts as an answer after this long at least, and after twice what is typical.
const FAILURE_US: f32 = 1_000_000.0;
/// No measurement counts more: so that nobody is out for minutes because of one answer.
const COST_US_MAX: f32 = 60_000_000.0;
/// Of this many answers of any backend the typical one is an average.
const TYPICAL_OVER: f32 = 32.0;
/// How often a second lot is drawn because it was the first again.
const SECOND_DRAWS_MAX: usize = 3;

#[derive(Debug)]
pub(super) struct LeastLatency {
    costs: Box<[Cell<Cost>]>,
    /// Of all backends: what one costs of which nothing is known.
    typical_us: Cell<f32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// 0: nothing is known.
    us: f32,
    at_ms: u64,
}

impl Cost {
    #[inline]
    fn at(self, now_ms: u64) -> f32 {
        let age_ms = now_ms.saturating_sub(self.at_ms);
        if age_ms == 0 { self.us } else { self.us * (-(age_ms as f32) / DECAY_MS).exp() }
    }
}

impl LeastLatency {
    pub(super) fn new(count: usize) -> LeastLatency {
        LeastLatency { costs: (0..count).map(|_| Cell::default()).collect(), typical_us: Cell::new(0.0) }
    }

    pub(super) fn pick(
        &self,
        draw: &Draw,
        weights: &[u16],
        backends: &impl Backends,
        moment: &Moment,
    ) -> Option<usize> {
        let mut dice = Dice::from(moment);
        let first = draw.pick(weights, backends, &mut dice)?;
        let Some(second) = another(first, draw, weights, backends, &mut dice) else { return Some(first) };
        let cost = |index| self.cost_us(index, moment.now_ms) * (backends.in_flight(index) as f32 + 1.0);
        Some(if cost(second) < cost(first) { second } else { first })
    }

    fn cost_us(&self, index: usize, now_ms: u64) -> f32 {
        let cost = self.costs.get(index).map(Cell::get).unwrap_or_default();
        if cost.us > 0.0 { cost.at(now_ms).max(1.0) } else { self.typical_us.get().max(1.0) }
    }

    pub(super) fn on_first_byte(&self, index: usize, micros: u64, now_ms: u64) {
        let sample = (micros as f32).clamp(1.0, COST_US_MAX);
        let typical = self.typical_us.get();
        let step = (sample - typical) / TYPICAL_OVER;
        self.typical_us.set(if typical == 0.0 { sample } else { typical + step });
        let Some(cell) = self.costs.get(index) else { return };
        let Cost { us, at_ms } = cell.get();
        let age_ms = now_ms.saturating_sub(at_ms) as f32;
        let kept = (-age_ms / DECAY_MS).exp();
        let us = if sample >= us { sample } else { us * kept + sample * (1.0 - kept) };
        cell.set(Cost { us, at_ms: now_ms });
    }

    pub(super) fn on_failure(&self, index: usize, now_ms: u64) {
        let Some(cell) = self.costs.get(index) else { return };
        let slow = FAILURE_US.max(2.0 * self.typical_us.get());
        let us = cell.get().at(now_ms).max(slow).min(COST_US_MAX);
        cell.set(Cost { us, at_ms: now_ms });
    }
}

/// A usable backend other than `first`, if there is one.
fn another(
    first: usize,
    draw: &Draw,
    weights: &[u16],
    backends: &impl Backends,
    dice: &mut Dice,
) -> Option<usize> {
    for _ in 0..SECOND_DRAWS_MAX {
        let second = draw.lot(dice);
        if second != first && backends.is_usable(second) {
            let share = backends.share(second);
            if share >= 1.0 || dice.unit() < share {
                return Some(second);
            }
        }
    }
    let count = weights.len();
    let start = dice.below(count);
    let around = (start..count).chain(0..start);
    around.into_iter().find(|index| *index != first && backends.is_usable(*index))
}
