//! The table of virtual hosts: built from a set of routes, or from the running table and what changed since.
//!
//! ```text
//!  Router ──► 1,024 shards, shared piecewise (shard.rs) ──► name, what was compiled of the route
//!         ├─► how many wildcards there are of each depth
//!         └─► the route of every host
//! ```
//!
//! What must hold: hashes are seeded anew with each process, so that nobody outside can know which hosts meet in a shard; a
//! wildcard's name begins with its dot, and no exact name does.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use config_core::model::{Route, RouteChange, Routes, VirtualHost};
use config_core::shards::Shards;

use super::host::{Name, is_normal, key};
use super::shard::{Entry, Shard};

/// Most dots in a name: 253 bytes, every other one a dot. A bit for each of these depths.
const DEPTHS: usize = 128;

/// What was compiled of each route, by virtual host. Immutable; shared by all cores.
pub(crate) struct Router<T> {
    seed: u64,
    shards: Shards<Shard<T>>,
    /// Wildcards by the number of their dots.
    wildcards: [u32; DEPTHS],
    /// A bit for each depth that occurs in `wildcards`.
    depths: u128,
    any: Option<Arc<T>>,
}

/// A name that comes or, without a value, goes.
struct Edit<T> {
    hash: u64,
    name: Arc<str>,
    value: Option<Arc<T>>,
}

impl<T> Router<T> {
    /// Compiles the routes that differ from `running`, or all, and shares everything else with it. A value depends on
    /// its route only: where something else that `compile` reads has changed, give no `running`.
    ///
    /// # Errors
    /// The first of `compile`.
    pub(crate) fn build<E>(
        routes: &Routes,
        running: Option<(&Routes, &Router<T>)>,
        mut compile: impl FnMut(&Arc<Route>) -> Result<Arc<T>, E>,
    ) -> Result<Router<T>, E> {
        let (mut router, changes) = match running {
            Some((before, router)) => (router.clone(), routes.changes_since(before)),
            None => {
                let all =
                    routes.iter().map(|route| RouteChange { before: None, after: Some(Arc::clone(route)) });
                (Router::new(), all.collect())
            }
        };
        // All that goes, goes first: a host may pass from one route to another.
        let mut edits = Vec::with_capacity(2 * changes.len());
        for before in changes.iter().filter_map(|change| change.before.as_ref()) {
            router.plan(before, None, &mut edits);
        }
        for after in changes.iter().filter_map(|change| change.after.as_ref()) {
            router.plan(after, Some(compile(after)?), &mut edits);
        }
        router.apply(edits);
        Ok(router)
    }

    /// The value of the virtual host that serves `host`, a `Host` value in any spelling: exactly this name, else the longest
    /// wildcard, else that of every host.
    #[inline]
    pub(crate) fn find(&self, host: &[u8]) -> Option<&Arc<T>> {
        let named = if is_normal(host) {
            self.find_name(host)
        } else {
            Name::of(host).and_then(|name| self.find_name(name.as_bytes()))
        };
        named.or(self.any.as_ref())
    }

    /// The value of exactly this virtual host.
    pub(crate) fn by_vhost(&self, vhost: &VirtualHost) -> Option<&Arc<T>> {
        match key(vhost) {
            Some(name) => self.lookup(name.as_bytes()),
            None => self.any.as_ref(),
        }
    }

    fn find_name(&self, name: &[u8]) -> Option<&Arc<T>> {
        // A name that begins with a dot would be taken for a wildcard.
        let exact = if name.starts_with(b".") { None } else { self.lookup(name) };
        if exact.is_some() || self.depths == 0 {
            return exact;
        }
        let mut depth = name.iter().filter(|byte| **byte == b'.').count();
        for at in memchr::memchr_iter(b'.', name) {
            // A dot in front has no label before it, and so no wildcard.
            if at > 0 && self.depths >> depth.min(DEPTHS - 1) & 1 == 1 {
                let found = name.get(at..).and_then(|suffix| self.lookup(suffix));
                if found.is_some() {
                    return found;
                }
            }
            depth -= 1;
        }
        None
    }

    #[inline]
    fn lookup(&self, name: &[u8]) -> Option<&Arc<T>> {
        let hash = hash(name, self.seed);
        self.shards.at(shard_of(hash)).find(hash, name)
    }

    fn new() -> Router<T> {
        Router {
            seed: RandomState::new().hash_one(0_u8),
            shards: Shards::filled(&Shard::new()),
            wildcards: [0; DEPTHS],
            depths: 0,
            any: None,
        }
    }

    /// What it means for names that a route has this value, or none any more.
    fn plan(&mut self, route: &Route, value: Option<Arc<T>>, edits: &mut Vec<Edit<T>>) {
        let Some(name) = key(&route.vhost) else {
            self.any = value;
            return;
        };
        if name.starts_with('.') {
            let dots = name.bytes().filter(|byte| *byte == b'.').count().min(DEPTHS - 1);
            let count = &mut self.wildcards[dots];
            *count = if value.is_some() { *count + 1 } else { count.saturating_sub(1) };
            let bit = u128::from(*count > 0) << dots;
            self.depths = self.depths & !(1 << dots) | bit;
        }
        edits.push(Edit { hash: hash(name.as_bytes(), self.seed), name, value });
    }

    /// Rebuilds each shard that an edit belongs to, once.
    fn apply(&mut self, mut edits: Vec<Edit<T>>) {
        let seed = self.seed;
        edits.sort_by_key(|edit| shard_of(edit.hash));
        for edits in edits.chunk_by(|left, right| shard_of(left.hash) == shard_of(right.hash)) {
            let shard = self.shards.at_mut(shard_of(edits[0].hash));
            let running = shard.clone();
            let mut entries: Vec<Entry<'_, T>> = running.entries().collect();
            for Edit { name, value, .. } in edits {
                match value {
                    Some(value) => entries.push((name.as_bytes(), Arc::clone(value))),
                    None => entries.retain(|(kept, _)| *kept != name.as_bytes()),
                }
            }
            *shard = Shard::build(&entries, |name| hash(name, seed));
        }
    }
}

impl<T> Clone for Router<T> {
    fn clone(&self) -> Router<T> {
        let Router { seed, wildcards, depths, .. } = *self;
        Router { seed, shards: self.shards.clone(), wildcards, depths, any: self.any.clone() }
    }
}

/// The high bits; a shard takes lower ones.
fn shard_of(hash: u64) -> usize {
    (hash >> 48) as usize % Shards::<()>::COUNT
}

/// Eight bytes at a time, the last eight of them once more with some before, each mixed in by the folded product of two 64-bit
/// numbers, as wyhash and its kin do it.
#[inline]
fn hash(bytes: &[u8], seed: u64) -> u64 {
    let last = match bytes.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    let mut state = seed ^ bytes.len() as u64;
    for word in bytes.as_chunks::<8>().0 {
        state = fold(state ^ u64::from_le_bytes(*word), 0x9E37_79B9_7F4A_7C15);
    }
    fold(fold(state ^ last, 0xA076_1D64_78BD_642F) ^ seed, 0xE703_7ED1_A0B4_28DB)
}

#[inline]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}
