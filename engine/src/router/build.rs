//! The table of virtual hosts: built from a set of routes, or from the running table and what changed since.
//!
//! ```text
//!  Router ──► 1,024 shards, shared piecewise (shard.rs) ──► name, what was compiled of the route
//!         ├─► how many names and wildcards there are of each depth (depths.rs)
//!         └─► the route of every host
//! ```
//!
//! What must hold: hashes are seeded anew with each process, so that nobody outside can know which hosts meet in a shard; a
//! wildcard's name begins with its dot, and no exact name does.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use config_core::model::{Route, RouteChange, Routes, VirtualHost};
use config_core::shards::Shards;

use super::depths::{Depths, dots_of};
use super::domains::Domains;
use super::host::{Name, is_normal, key};
use super::shard::{Entry, Shard};

/// So few names are kept whole.
const WHOLE_MAX: usize = 1_024;

/// What was compiled of each route, by virtual host. Immutable; shared by all cores.
pub(crate) struct Router<T> {
    seed: Seed,
    shards: Shards<Shard<T>>,
    /// What names are kept without.
    domains: Arc<Domains>,
    /// How many names there were when the domains were chosen.
    chosen_of: usize,
    exact: Depths,
    wildcards: Depths,
    any: Option<Arc<T>>,
}

/// What nobody outside knows of the hashes.
type Seed = [u64; 2];

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
        if router.has_grown() {
            router.choose_domains();
        }
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
        let mut dots = dots_of(name);
        // A name that begins with a dot would be taken for a wildcard.
        let exact = if self.exact.has(dots) && !name.starts_with(b".") { self.lookup(name) } else { None };
        if exact.is_some() || self.wildcards.len() == 0 {
            return exact;
        }
        for at in memchr::memchr_iter(b'.', name) {
            // A dot in front has no label before it, and so no wildcard.
            if at > 0 && self.wildcards.has(dots) {
                let found = name.get(at..).and_then(|suffix| self.lookup(suffix));
                if found.is_some() {
                    return found;
                }
            }
            dots -= 1;
        }
        None
    }

    #[inline]
    fn lookup(&self, name: &[u8]) -> Option<&Arc<T>> {
        let hash = hash(name, self.seed);
        self.shards.at(shard_of(hash)).find(hash, name, &self.domains)
    }

    fn new() -> Router<T> {
        Router {
            seed: [0, 1].map(|half: u8| RandomState::new().hash_one(half)),
            shards: Shards::filled(&Shard::new()),
            domains: Arc::default(),
            chosen_of: 0,
            exact: Depths::default(),
            wildcards: Depths::default(),
            any: None,
        }
    }

    /// What it means for names that a route has this value, or none any more.
    fn plan(&mut self, route: &Route, value: Option<Arc<T>>, edits: &mut Vec<Edit<T>>) {
        let Some(name) = key(&route.vhost) else {
            self.any = value;
            return;
        };
        let depths = if name.starts_with('.') { &mut self.wildcards } else { &mut self.exact };
        depths.count(dots_of(name.as_bytes()), value.is_some());
        edits.push(Edit { hash: hash(name.as_bytes(), self.seed), name, value });
    }

    /// Rebuilds each shard that an edit belongs to, once.
    fn apply(&mut self, mut edits: Vec<Edit<T>>) {
        let seed = self.seed;
        edits.sort_by_key(|edit| shard_of(edit.hash));
        for edits in edits.chunk_by(|left, right| shard_of(left.hash) == shard_of(right.hash)) {
            let shard = self.shards.at_mut(shard_of(edits[0].hash));
            if let Some(changed) = with_one_value(shard, edits, &self.domains) {
                *shard = changed;
                continue;
            }
            let mut entries = shard.entries(&self.domains, |name| hash(name, seed));
            for Edit { hash, name, value } in edits {
                let name = name.as_bytes();
                match value {
                    Some(value) => {
                        entries.push(Entry { name: name.into(), hash: *hash, value: Arc::clone(value) });
                    }
                    None => entries.retain(|entry| *entry.name != *name),
                }
            }
            *shard = Shard::build(&entries, &self.domains);
        }
    }

    /// Whether there are so many more names than when their domains were chosen that they should be chosen again.
    fn has_grown(&self) -> bool {
        self.exact.len() + self.wildcards.len() > (2 * self.chosen_of).max(WHOLE_MAX)
    }

    /// Lays out everything again, without the domains that most names have now.
    fn choose_domains(&mut self) {
        let entries = |shard: &Shard<T>| shard.entries(&self.domains, |name| hash(name, self.seed));
        let all: Vec<_> = self.shards.iter().map(entries).collect();
        let domains = Domains::choose(all.iter().flatten().map(|entry| &*entry.name));
        self.shards = Shards::from_fn(|number| Shard::build(&all[number], &domains));
        self.domains = Arc::new(domains);
        self.chosen_of = self.exact.len() + self.wildcards.len();
    }
}

impl<T> Clone for Router<T> {
    fn clone(&self) -> Router<T> {
        let Router { seed, chosen_of, exact, wildcards, .. } = *self;
        let (shards, domains) = (self.shards.clone(), Arc::clone(&self.domains));
        Router { seed, shards, domains, chosen_of, exact, wildcards, any: self.any.clone() }
    }
}

/// What most changes are: one name goes and comes again with another value. `None` for others.
fn with_one_value<T>(shard: &Shard<T>, edits: &[Edit<T>], domains: &Domains) -> Option<Shard<T>> {
    let [Edit { name: gone, value: None, .. }, Edit { hash, name, value: Some(value) }] = edits else {
        return None;
    };
    if gone == name { shard.with_value(*hash, name.as_bytes(), value, domains) } else { None }
}

/// The high bits; a shard takes lower ones.
fn shard_of(hash: u64) -> usize {
    (hash >> 48) as usize % Shards::<()>::COUNT
}

/// Sixteen bytes at a time, the last sixteen of them once more with some before, each mixed in by the folded product of two
/// 64-bit numbers, as wyhash and its kin do it.
#[inline]
fn hash(bytes: &[u8], seed: Seed) -> u64 {
    let mix = |state, pair: &[u8; 16]| {
        let [low, high] = halves(pair);
        fold(low ^ seed[0], high ^ state)
    };
    let state = seed[1] ^ bytes.len() as u64;
    let Some(last) = bytes.last_chunk::<16>() else {
        let mut padded = [0; 16];
        padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        return finish(mix(state, &padded), seed);
    };
    let (pairs, _) = bytes.as_chunks::<16>();
    finish(mix(pairs.iter().fold(state, mix), last), seed)
}

#[inline]
fn finish(state: u64, seed: Seed) -> u64 {
    fold(state ^ seed[1], 0xE703_7ED1_A0B4_28DB)
}

#[inline]
fn halves(pair: &[u8; 16]) -> [u64; 2] {
    let (words, _) = pair.as_chunks::<8>();
    [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
}

#[inline]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use config_core::{ProxyConfig, RouteId};

    use super::*;

    fn route(host: &str, retries: u32) -> Route {
        let config = ProxyConfig::builder().target("http://a:1").build().expect("valid");
        let any = config.model().routes.iter().next().expect("one route").as_ref().clone();
        Route { id: RouteId::new(host), vhost: VirtualHost::Exact(host.into()), retries, ..any }
    }

    fn build(routes: &Routes, running: Option<(&Routes, &Router<Route>)>) -> Router<Route> {
        Router::build(routes, running, |route| Ok::<_, Infallible>(Arc::clone(route)))
            .unwrap_or_else(|never| match never {})
    }

    fn numbers(router: &Router<Route>, hosts: &[String]) -> Vec<u8> {
        hosts.iter().map(|host| router.domains.split(host.as_bytes()).0).collect()
    }

    #[test]
    fn names_that_have_become_many_are_kept_without_their_domains() {
        let host = |number: usize| format!("t{number}.eu-{}.example.com", number % 3);
        let few: Vec<String> = (0..WHOLE_MAX).map(host).collect();
        let first = Routes::collect(few.iter().map(|host| route(host, 0))).expect("no host twice");
        let router = build(&first, None);
        assert_eq!(numbers(&router, &few), vec![0; WHOLE_MAX], "few are kept as they are");

        let second = first.with(Arc::new(route("one.more", 0))).expect("its own host");
        let router = build(&second, Some((&first, &router)));
        assert!(numbers(&router, &few).iter().all(|number| (1..=3).contains(number)));

        // One changes, one goes, one of a new domain comes.
        let third = second.with(Arc::new(route(&few[7], 3))).expect("its own host");
        let third = third.without(&RouteId::new(&few[8]));
        let third = third.with(Arc::new(route("a.new.example", 5))).expect("its own host");
        let next = build(&third, Some((&second, &router)));
        assert!(Arc::ptr_eq(&next.domains, &router.domains), "chosen once");
        for known in second.iter().chain(third.iter()) {
            let host = known.id.to_string();
            let [old, new] =
                [&router, &next].map(|router| router.find(host.as_bytes()).map(|found| &**found));
            assert_eq!(old, second.get(&known.id).map(|route| &**route), "{host}");
            assert_eq!(new, third.get(&known.id).map(|route| &**route), "{host}");
        }
    }
}
