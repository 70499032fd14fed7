//! A client's own backend: a consistent ring (Karger and others 1997).
//!
//! Each backend owns many points of a circle, in proportion to its weight, placed by a hash of its id; a client belongs to
//! the first point at or after its own hash. A backend that comes takes its points' arcs from the others and one that goes
//! gives them back; no other client moves. That holds as long as the others keep their points: so how many points a unit
//! of weight has does not depend on how many backends there are, only on the median weight.
//!
//! What must hold: the ring depends on ids and weights alone, not on their order, the process or the version, so that
//! nodes agree.

use super::dice::{mix, unit};
use super::{Backends, hash_of};

/// Points of a backend of median weight: the arcs of a backend then add up to its share within about 3 % (one standard
/// deviation is 1 by the root of this), for 6 KiB.
const POINTS: usize = 1_024;
/// Points of the lightest backend, where there is room.
const POINTS_MIN: usize = 64;
/// Points of the whole ring: 6 MiB. 1,000 backends of the same weight fit.
const POINTS_MAX: usize = 1 << 20;
/// Points that a client's search looks at; if all of them belong to backends that are not usable, few are left.
const WALK_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct HashRing {
    /// Sorted.
    points: Box<[u32]>,
    /// Whose point it is.
    owners: Box<[u16]>,
    /// Hash of each backend's id.
    keys: Box<[u64]>,
}

impl HashRing {
    /// One id for each weight.
    pub(super) fn new(weights: &[u16], ids: &[&str]) -> HashRing {
        let keys: Box<[u64]> = ids.iter().map(|id| hash_of(id.as_bytes())).collect();
        let per_weight = points_per_weight(weights);
        let mut placed: Vec<(u32, u64, u16)> = Vec::new();
        for (index, (weight, key)) in weights.iter().zip(&keys).enumerate() {
            let count = (f64::from(*weight) * per_weight).round().max(1.0) as u64;
            // Two backends at one point are put in the order of their keys, whatever the order of the configuration.
            placed.extend(
                (0..count).map(|point| ((mix(key ^ mix(point + 1)) >> 32) as u32, *key, index as u16)),
            );
        }
        placed.sort_unstable();
        HashRing {
            points: placed.iter().map(|(point, ..)| *point).collect(),
            owners: placed.iter().map(|(.., owner)| *owner).collect(),
            keys,
        }
    }

    /// The client's backend; if that is not usable, the next one's that is.
    pub(super) fn pick(&self, weights: &[u16], backends: &impl Backends, client_hash: u64) -> Option<usize> {
        let at = (client_hash >> 32) as u32;
        let start = self.points.partition_point(|point| *point < at);
        let (before, after) = self.owners.split_at_checked(start)?;
        for owner in after.iter().chain(before).take(WALK_MAX) {
            let owner = usize::from(*owner);
            if backends.is_usable(owner) && self.takes(owner, backends.share(owner), client_hash) {
                return Some(owner);
            }
        }
        self.among_usable(weights, backends, client_hash)
    }

    /// Whether a backend that starts slowly takes this client yet: the same clients for the same share, and more of them as
    /// it grows.
    #[inline]
    fn takes(&self, owner: usize, share: f32, client_hash: u64) -> bool {
        share >= 1.0 || self.keys.get(owner).is_none_or(|key| unit(mix(key ^ client_hash)) < share)
    }

    /// One of the few that are usable, by the highest of their hashes with the client in proportion to their weights
    /// (Thaler and Ravishankar 1998): as consistent as the ring, for a look at each.
    fn among_usable(&self, weights: &[u16], backends: &impl Backends, client_hash: u64) -> Option<usize> {
        let rank = |index: &usize| {
            let key = self.keys.get(*index).copied().unwrap_or_default();
            let weight = weights.get(*index).copied().unwrap_or(1);
            -unit(mix(key ^ client_hash)).max(f32::MIN_POSITIVE).ln() / f32::from(weight)
        };
        let usable = (0..weights.len()).filter(|index| backends.is_usable(*index));
        usable.min_by(|left, right| rank(left).total_cmp(&rank(right)))
    }
}

fn points_per_weight(weights: &[u16]) -> f64 {
    let mut sorted = weights.to_vec();
    sorted.sort_unstable();
    let lightest = f64::from(sorted.first().copied().unwrap_or(1));
    let median = f64::from(sorted.get((sorted.len().max(1) - 1) / 2).copied().unwrap_or(1));
    let total: f64 = sorted.iter().map(|weight| f64::from(*weight)).sum();
    let wanted = (POINTS as f64 / median).max(POINTS_MIN as f64 / lightest);
    wanted.min(POINTS_MAX as f64 / total)
}
