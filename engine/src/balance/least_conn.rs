//! The backend with the fewest exchanges and sessions for its weight, over all cores.
//!
//! Looking at every backend costs a read per backend and core. Up to [`SCAN_MAX`] of them that is what is done; of more,
//! some random ones and the one that was best last time: the best of a sample with a memory is as level as the best of all
//! to within a session or two (Mitzenmacher, Prabhakar and Shah 2002).

use std::cell::Cell;

use super::dice::Dice;
use super::{Backends, Moment};

/// Backends that are all looked at.
const SCAN_MAX: usize = 32;
/// How many are looked at if there are more.
const SAMPLE: usize = 12;

#[derive(Debug, Default)]
pub(super) struct LeastConnections {
    /// The best of the last pick.
    last: Cell<usize>,
}

impl LeastConnections {
    pub(super) fn pick(&self, weights: &[u16], backends: &impl Backends, moment: &Moment) -> Option<usize> {
        let mut dice = Dice::from(moment);
        if weights.len() <= SCAN_MAX {
            return best(0..weights.len(), weights, backends, &mut dice);
        }
        let mut lots = Dice::new(dice.roll());
        let sample = (0..SAMPLE).map(|_| lots.below(weights.len())).chain([self.last.get()]);
        let picked = best(sample, weights, backends, &mut dice)
            .or_else(|| best(0..weights.len(), weights, backends, &mut dice))?;
        self.last.set(picked);
        Some(picked)
    }
}

/// The best of some; of equals one by lot, in proportion to their weights.
#[inline]
fn best(
    indices: impl Iterator<Item = usize>,
    weights: &[u16],
    backends: &impl Backends,
    dice: &mut Dice,
) -> Option<usize> {
    let mut picked = None;
    let mut least = f32::INFINITY;
    let mut equals = 0.0;
    for index in indices.filter(|index| backends.is_usable(*index)) {
        let part = f32::from(weights.get(index).copied().unwrap_or(1))
            * backends.share(index).max(f32::MIN_POSITIVE);
        let load = backends.in_flight(index) as f32 / part;
        if load < least {
            (picked, least, equals) = (Some(index), load, part);
        } else if load == least {
            equals += part;
            if picked.is_none() || dice.unit() * equals < part {
                picked = Some(index);
            }
        }
    }
    picked
}
