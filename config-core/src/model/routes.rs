//! All routes of a model: a set that is shared piecewise, so that changing one of 100,000 copies eighty pointers
//! and nothing else.
//!
//! ```text
//!  Routes ──► 1,024 shards of 8 parts, by a hash of the id ──► routes with their checksums, sorted by id
//!         ├─► 1,024 shards, by a hash of the virtual host: which id has it
//!         └─► totals: what is said of all routes without a look at each
//! ```
//!
//! What must hold: both halves know the same routes, and the totals are theirs; a checksum is always that of what it stands
//! beside.

use std::array;
use std::cmp::Ordering;
use std::fmt;
use std::mem;
use std::sync::Arc;

use super::{Route, VirtualHost};
use crate::header::{crc32c, crc64};
use crate::ids::RouteId;
use crate::shards::Shards;
use crate::snapshot::canonical_bytes;

/// Shards of each half.
const SHARDS: usize = Shards::<Shard>::COUNT;
/// Parts of a shard of ids. A copied pointer is a count in memory of its own: with 100,000 routes a change copies those of 12.
const PARTS: usize = 8;

/// Routes by id and by virtual host; neither occurs twice.
#[derive(Clone)]
pub struct Routes {
    by_id: Shards<Shard>,
    by_host: Shards<HostShard>,
    totals: Totals,
}

type Shard = Arc<[Part; PARTS]>;

/// Sorted by id.
type Part = Arc<[Entry]>;

/// Ids by virtual host, sorted.
type HostShard = Arc<[(VirtualHost, RouteId)]>;

#[derive(Clone)]
struct Entry {
    route: Arc<Route>,
    /// CRC-64 of its canonical bytes.
    checksum: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    routes: usize,
    /// How many try other backends after a failure.
    retries: usize,
    /// How many have their backends probed, whatever `[health]` says.
    probes: usize,
    /// Sum of the checksums, modulo 2^64.
    checksum: u64,
}

/// Two routes for the same virtual host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Id of the route that has it already.
    pub with: RouteId,
}

/// One route that differs between two sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChange {
    /// As it was; `None` if it is new.
    pub before: Option<Arc<Route>>,
    /// As it is; `None` if it is gone.
    pub after: Option<Arc<Route>>,
}

impl Routes {
    /// No routes.
    pub fn new() -> Routes {
        let (no_routes, no_hosts): (Part, HostShard) = (Arc::new([]), Arc::new([]));
        let shard: Shard = Arc::new(array::from_fn(|_| Arc::clone(&no_routes)));
        let totals = Totals::default();
        Routes { by_id: Shards::filled(&shard), by_host: Shards::filled(&no_hosts), totals }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.totals.routes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All routes, in an order that depends on their ids only.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.by_id
            .iter()
            .flat_map(|shard| shard.iter())
            .flat_map(|part| part.iter())
            .map(|entry| &entry.route)
    }

    /// Whether any route tries other backends after a failure.
    pub(crate) fn any_retries(&self) -> bool {
        self.totals.retries > 0
    }

    /// Whether any route has its backends probed, whatever `[health]` says.
    pub(crate) fn any_probes(&self) -> bool {
        self.totals.probes > 0
    }

    /// The route of this id.
    pub fn get(&self, id: &RouteId) -> Option<&Arc<Route>> {
        self.entry(id).map(|entry| &entry.route)
    }

    fn entry(&self, id: &RouteId) -> Option<&Entry> {
        let number = part_of_id(id);
        let part = &self.by_id.at(number / PARTS)[number % PARTS];
        let at = part.binary_search_by(|entry| entry.route.id.cmp(id)).ok()?;
        part.get(at)
    }

    /// The part of this number, to be changed; what others share of it is copied first.
    fn part_mut(&mut self, number: usize) -> &mut Part {
        &mut Arc::make_mut(self.by_id.at_mut(number / PARTS))[number % PARTS]
    }

    /// The route of exactly this virtual host.
    pub fn by_vhost(&self, vhost: &VirtualHost) -> Option<&Arc<Route>> {
        let shard = self.by_host.at(shard_of_host(vhost));
        let at = shard.binary_search_by(|(known, _)| known.cmp(vhost)).ok()?;
        self.get(&shard[at].1)
    }

    /// These routes with `route` in place of the one of the same id, or added.
    ///
    /// # Errors
    /// When another route has its virtual host.
    pub fn with(&self, route: Arc<Route>) -> Result<Routes, Conflict> {
        if let Some(other) = self.by_vhost(&route.vhost).filter(|other| other.id != route.id) {
            return Err(Conflict { with: other.id.clone() });
        }
        let mut next = self.clone();
        let before = self.get(&route.id).map(|known| &known.vhost);
        if before != Some(&route.vhost) {
            if let Some(before) = before {
                next.edit_host(before, None);
            }
            next.edit_host(&route.vhost, Some(&route.id));
        }
        next.edit_id(&route.id.clone(), Some(route));
        Ok(next)
    }

    /// These routes less the one of this id, if there is one.
    pub fn without(&self, id: &RouteId) -> Routes {
        let mut next = self.clone();
        if let Some(known) = self.get(id) {
            next.edit_host(&known.vhost, None);
            next.edit_id(id, None);
        }
        next
    }

    /// Many routes at once, in place of [`Routes::with`] for each.
    ///
    /// # Errors
    /// The first that has the virtual host or the id of an earlier one, by its index, and that earlier one's id.
    pub fn collect(routes: impl IntoIterator<Item = Route>) -> Result<Routes, (usize, Conflict)> {
        let mut by_id: Vec<Vec<Entry>> = vec![Vec::new(); SHARDS * PARTS];
        let mut by_host: Vec<Vec<(VirtualHost, RouteId)>> = vec![Vec::new(); SHARDS];
        let mut collected = Routes::new();
        for (index, route) in routes.into_iter().enumerate() {
            let hosts = &mut by_host[shard_of_host(&route.vhost)];
            match hosts.binary_search_by(|(known, _)| known.cmp(&route.vhost)) {
                Ok(at) => return Err((index, Conflict { with: hosts[at].1.clone() })),
                Err(at) => hosts.insert(at, (route.vhost.clone(), route.id.clone())),
            }
            let ids = &mut by_id[part_of_id(&route.id)];
            match ids.binary_search_by(|known| known.route.id.cmp(&route.id)) {
                Ok(_) => return Err((index, Conflict { with: route.id })),
                Err(at) => {
                    let entry = Entry::new(Arc::new(route));
                    collected.totals.add(&entry);
                    ids.insert(at, entry);
                }
            }
        }
        for (number, entries) in by_id.into_iter().enumerate().filter(|(_, entries)| !entries.is_empty()) {
            *collected.part_mut(number) = entries.into();
        }
        for (number, hosts) in by_host.into_iter().enumerate().filter(|(_, hosts)| !hosts.is_empty()) {
            *collected.by_host.at_mut(number) = hosts.into();
        }
        Ok(collected)
    }

    /// The routes that differ from `before`, in the order of [`Routes::iter`]. What both share is not looked at.
    pub fn changes_since(&self, before: &Routes) -> Vec<RouteChange> {
        let mut changes = Vec::new();
        for (old, new) in before.by_id.pairs(&self.by_id) {
            for (old, new) in old.iter().zip(new.iter()).filter(|(old, new)| !Arc::ptr_eq(old, new)) {
                changes_of_part(old, new, &mut changes);
            }
        }
        changes
    }

    /// CRC-32C of how many routes there are and of the sum of their CRC-64s, each u64 LE: equal for equal routes, however they
    /// came together.
    pub fn checksum(&self) -> u32 {
        let Totals { routes, checksum, .. } = self.totals;
        crc32c([routes as u64, checksum].map(u64::to_le_bytes).as_flattened())
    }

    fn edit_id(&mut self, id: &RouteId, route: Option<Arc<Route>>) {
        let after = route.map(Entry::new);
        if let Some(after) = &after {
            self.totals.add(after);
        }
        let part = self.part_mut(part_of_id(id));
        let mut routes = part.to_vec();
        let at = routes.binary_search_by(|known| known.route.id.cmp(id));
        let before = match (at, after) {
            (Ok(at), Some(after)) => Some(mem::replace(&mut routes[at], after)),
            (Ok(at), None) => Some(routes.remove(at)),
            (Err(at), Some(after)) => {
                routes.insert(at, after);
                None
            }
            (Err(_), None) => None,
        };
        *part = routes.into();
        if let Some(before) = before {
            self.totals.remove(&before);
        }
    }

    fn edit_host(&mut self, vhost: &VirtualHost, id: Option<&RouteId>) {
        let shard = self.by_host.at_mut(shard_of_host(vhost));
        let mut hosts = shard.to_vec();
        match (hosts.binary_search_by(|(known, _)| known.cmp(vhost)), id) {
            (Ok(at), Some(id)) => hosts[at].1 = id.clone(),
            (Ok(at), None) => {
                hosts.remove(at);
            }
            (Err(at), Some(id)) => hosts.insert(at, (vhost.clone(), id.clone())),
            (Err(_), None) => {}
        }
        *shard = hosts.into();
    }
}

/// Both are sorted by id, so they are walked side by side; what is shared is told by its pointer.
fn changes_of_part(old: &[Entry], new: &[Entry], changes: &mut Vec<RouteChange>) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) if Arc::ptr_eq(&before.route, &after.route) => Ordering::Equal,
            (Some(before), Some(after)) => before.route.id.cmp(&after.route.id),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        let [before, after] = [before, after].map(|entry| entry.map(|entry| &entry.route));
        if before.zip(after).is_none_or(|(before, after)| !same(before, after)) {
            changes.push(RouteChange { before: before.cloned(), after: after.cloned() });
        }
    }
}

impl Entry {
    fn new(route: Arc<Route>) -> Entry {
        Entry { checksum: crc64(&canonical_bytes(&route)), route }
    }

    fn retries(&self) -> bool {
        self.route.retries > 0
    }

    fn probes(&self) -> bool {
        matches!(self.route.health, Some(Some(_)))
    }
}

impl Totals {
    fn add(&mut self, entry: &Entry) {
        self.routes += 1;
        self.retries += usize::from(entry.retries());
        self.probes += usize::from(entry.probes());
        self.checksum = self.checksum.wrapping_add(entry.checksum);
    }

    fn remove(&mut self, entry: &Entry) {
        self.routes -= 1;
        self.retries -= usize::from(entry.retries());
        self.probes -= usize::from(entry.probes());
        self.checksum = self.checksum.wrapping_sub(entry.checksum);
    }
}

fn same(left: &Arc<Route>, right: &Arc<Route>) -> bool {
    Arc::ptr_eq(left, right) || left == right
}

fn part_of_id(id: &RouteId) -> usize {
    crc32c(id.as_str().as_bytes()) as usize % (SHARDS * PARTS)
}

fn shard_of_host(vhost: &VirtualHost) -> usize {
    let name = match vhost {
        VirtualHost::Exact(name) => crc32c(name.as_bytes()),
        VirtualHost::Wildcard(suffix) => !crc32c(suffix.as_bytes()),
        VirtualHost::Any => 0,
    };
    name as usize % SHARDS
}

impl Default for Routes {
    fn default() -> Routes {
        Routes::new()
    }
}

impl PartialEq for Routes {
    fn eq(&self, other: &Routes) -> bool {
        self.len() == other.len() && self.changes_since(other).is_empty()
    }
}

impl Eq for Routes {}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::ProxyConfig;
    use crate::model::{ActiveCheck, Probe};

    fn route(id: &str, vhost: VirtualHost, retries: u32) -> Route {
        let config = ProxyConfig::builder().target("http://a:1").build().expect("valid");
        let any = config.model().routes.iter().next().expect("one route").as_ref().clone();
        // Those that are tried once are probed.
        let check = ActiveCheck {
            probe: Probe::Tcp,
            interval_ms: 1,
            timeout_ms: 1,
            unhealthy_threshold: 1,
            healthy_threshold: 1,
        };
        let health = (retries == 0).then_some(Some(check));
        Route { id: RouteId::new(id), vhost, retries, health, ..any }
    }

    fn exact(number: usize) -> VirtualHost {
        VirtualHost::Exact(format!("host-{number}.example").into())
    }

    fn many(count: usize) -> Routes {
        Routes::collect((0..count).map(|number| route(&format!("r{number}"), exact(number), 2)))
            .expect("no conflict")
    }

    #[test]
    fn a_changed_route_shares_all_others() {
        let before = many(3000);
        let after = before.with(Arc::new(route("r7", exact(7), 5))).expect("no conflict");
        assert_eq!((before.len(), after.len()), (3000, 3000));
        let changes = after.changes_since(&before);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].before.as_ref().map(|route| route.retries), Some(2));
        assert_eq!(changes[0].after.as_ref().map(|route| route.retries), Some(5));
        let parts = |routes: &Routes| -> Vec<Part> {
            routes.by_id.iter().flat_map(|shard| shard.iter().cloned()).collect()
        };
        let own = parts(&after).into_iter().zip(parts(&before)).filter(|(a, b)| !Arc::ptr_eq(a, b));
        assert_eq!(own.count(), 1, "one part was copied");
    }

    #[test]
    fn the_checksum_depends_on_the_routes_and_not_on_their_history() {
        let whole = many(50);
        let grown = (0..50).rev().fold(Routes::new(), |routes, number| {
            routes.with(Arc::new(route(&format!("r{number}"), exact(number), 2))).expect("no conflict")
        });
        assert_eq!(grown, whole);
        assert_eq!(grown.checksum(), whole.checksum());
        let there = whole.without(&RouteId::new("r9"));
        assert_ne!(there.checksum(), whole.checksum());
        let back = there.with(Arc::new(route("r9", exact(9), 2))).expect("no conflict");
        assert_eq!(back.checksum(), whole.checksum());
        assert_ne!(
            whole.with(Arc::new(route("r9", exact(9), 1))).expect("fits").checksum(),
            whole.checksum()
        );
    }

    #[test]
    fn a_virtual_host_belongs_to_one_route() {
        let routes = many(3);
        let taken = routes.with(Arc::new(route("other", exact(1), 2)));
        assert_eq!(taken, Err(Conflict { with: RouteId::new("r1") }));
        let moved = routes.with(Arc::new(route("r1", exact(9), 2))).expect("its own id");
        assert_eq!(moved.by_vhost(&exact(1)), None);
        assert_eq!(moved.by_vhost(&exact(9)).map(|route| route.id.as_str()), Some("r1"));
        assert!(moved.with(Arc::new(route("other", exact(1), 2))).is_ok(), "the host is free again");
        let twice = Routes::collect([route("a", exact(1), 2), route("b", exact(1), 2)]);
        assert_eq!(twice, Err((1, Conflict { with: RouteId::new("a") })));
        let twice = Routes::collect([route("a", exact(1), 2), route("a", exact(2), 2)]);
        assert_eq!(twice, Err((1, Conflict { with: RouteId::new("a") })));
    }

    #[test]
    fn what_is_gone_is_a_change_too() {
        let before = many(10);
        let after = before.without(&RouteId::new("r3")).without(&RouteId::new("nobody"));
        assert_eq!(after.len(), 9);
        assert_eq!(after.get(&RouteId::new("r3")), None);
        let changes = after.changes_since(&before);
        assert!(
            matches!(&changes[..], [RouteChange { before: Some(gone), after: None }] if gone.id.as_str() == "r3")
        );
    }

    #[test]
    fn changes_are_those_that_a_comparison_of_all_routes_finds() {
        let before = many(200);
        let mut after = before.clone();
        for number in 0..40_u32 {
            let id = format!("r{}", number * 7 % 230);
            after = match number % 3 {
                0 => after.without(&RouteId::new(&id)),
                1 => {
                    after.with(Arc::new(route(&id, exact(1000 + number as usize), number % 2))).expect("free")
                }
                _ => after
                    .with(Arc::new(route(&format!("new{number}"), exact(2000 + number as usize), 2)))
                    .expect("free"),
            };
        }
        assert!(after.totals.probes > 0 && after.totals.retries < after.len());
        let gone = before.iter().filter(|known| after.get(&known.id).is_none()).count();
        let differs = |known: &&Arc<Route>| before.get(&known.id).is_none_or(|old| old != *known);
        let changed = after.iter().filter(differs).count();
        let changes = after.changes_since(&before);
        assert_eq!(changes.len(), gone + changed);
        for change in changes {
            let id =
                change.before.as_ref().or(change.after.as_ref()).map(|route| route.id.clone()).expect("one");
            assert_eq!(
                (change.before.as_ref(), change.after.as_ref()),
                (before.get(&id), after.get(&id)),
                "{id}"
            );
        }
        assert_eq!(after.iter().count(), after.len());
        let again = Routes::collect(after.iter().map(|known| Route::clone(known))).expect("no conflict");
        assert_eq!(after.totals, again.totals, "however they came together");
        let none = after.iter().fold(after.clone(), |routes, known| routes.without(&known.id));
        assert_eq!(none.totals, Totals::default());
        for known in after.iter() {
            assert_eq!(after.by_vhost(&known.vhost), Some(known));
        }
    }
}
