//! Any backend, in proportion to its weight: one look into an alias table (Walker 1977, Vose 1991), so O(1).

use super::Backends;
use super::dice::{Dice, scale};

/// How often a lot is drawn again because its backend is not usable, before the usable ones are counted.
const DRAWS_MAX: usize = 8;

/// The table. Each column is one backend's, or from a certain height on another's.
#[derive(Debug)]
pub(super) struct Draw(Box<[Column]>);

#[derive(Clone, Copy, Debug)]
struct Column {
    /// Below this the column's own backend, in 2^-32; `u64`, since all of it may be its own.
    own: u64,
    other: usize,
}

impl Draw {
    pub(super) fn new(weights: &[u16]) -> Draw {
        let count = weights.len() as u64;
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        // In units in which a full column is `total`.
        let mut left: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) * count).collect();
        let mut columns: Vec<Column> =
            (0..weights.len()).map(|index| Column { own: 1 << 32, other: index }).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|index| left[*index] < total);
        while let (Some(less), Some(more)) = (small.pop(), large.pop()) {
            columns[less] = Column { own: (left[less] << 32) / total, other: more };
            left[more] -= total - left[less];
            if left[more] < total { small.push(more) } else { large.push(more) }
        }
        Draw(columns.into())
    }

    /// A lot, usable or not.
    #[inline]
    pub(super) fn lot(&self, dice: &mut Dice) -> usize {
        let roll = dice.roll();
        let index = scale(roll >> 32, self.0.len());
        match self.0.get(index) {
            Some(column) if roll & 0xFFFF_FFFF >= column.own => column.other,
            _ => index,
        }
    }

    /// A usable backend.
    #[inline]
    pub(super) fn pick(&self, weights: &[u16], backends: &impl Backends, dice: &mut Dice) -> Option<usize> {
        for _ in 0..DRAWS_MAX {
            let index = self.lot(dice);
            if backends.is_usable(index) {
                let share = backends.share(index);
                if share >= 1.0 || dice.unit() < share {
                    return Some(index);
                }
            }
        }
        among_usable(weights, backends, dice)
    }
}

/// Most are not usable: one of those that are, in the same proportion.
fn among_usable(weights: &[u16], backends: &impl Backends, dice: &mut Dice) -> Option<usize> {
    let mut total = 0.0;
    let mut picked = None;
    for (index, weight) in weights.iter().enumerate().filter(|(index, _)| backends.is_usable(*index)) {
        let part = f32::from(*weight) * backends.share(index).max(f32::MIN_POSITIVE);
        total += part;
        // Replaces the one picked so far with the probability that it belongs to the new one.
        if picked.is_none() || dice.unit() * total < part {
            picked = Some(index);
        }
    }
    picked
}
