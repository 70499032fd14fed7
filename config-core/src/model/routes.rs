//! All routes of a model: a set that is shared piecewise, so that changing one of 100,000 copies two hundred pointers
//! and nothing else.
//!
//! ```text
//!  Routes ──► 1,024 shards, by a hash of the id ──► routes with their checksums, sorted by id
//!         └─► 1,024 shards, by a hash of the virtual host: which id has it
//! ```
//!
//! What must hold: both halves know the same routes; a checksum is always that of what it stands beside.

use std::cmp::Ordering;
use std::fmt;
use std::mem;
use std::sync::Arc;

use super::{Route, VirtualHost};
use crate::header::crc32c;
use crate::ids::RouteId;
use crate::shards::Shards;
use crate::snapshot::canonical_bytes;

/// Shards of each half. With 100,000 routes a change copies the 100 pointers of one shard.
const SHARDS: usize = Shards::<Shard>::COUNT;

/// Routes by id and by virtual host; neither occurs twice.
#[derive(Clone)]
pub struct Routes {
    by_id: Shards<Shard>,
    by_host: Shards<HostShard>,
    len: usize,
}

#[derive(Clone)]
struct Shard {
    /// Sorted by id.
    routes: Arc<[Entry]>,
    /// CRC-32C of the routes' checksums.
    checksum: u32,
    any_retries: bool,
    any_probes: bool,
}

#[derive(Clone)]
struct Entry {
    route: Arc<Route>,
    /// CRC-32C of its canonical bytes.
    checksum: u32,
    retries: bool,
    /// Whether it has its backends probed by itself.
    probes: bool,
}

/// Ids by virtual host, sorted.
type HostShard = Arc<[(VirtualHost, RouteId)]>;

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
        let empty = Shard::new(Vec::new());
        let no_hosts: HostShard = Arc::new([]);
        Routes { by_id: Shards::filled(&empty), by_host: Shards::filled(&no_hosts), len: 0 }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All routes, in an order that depends on their ids only.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.by_id.iter().flat_map(|shard| shard.routes.iter().map(|entry| &entry.route))
    }

    /// Whether any route tries other backends after a failure.
    pub(crate) fn any_retries(&self) -> bool {
        self.by_id.iter().any(|shard| shard.any_retries)
    }

    /// Whether any route has its backends probed, whatever `[health]` says.
    pub(crate) fn any_probes(&self) -> bool {
        self.by_id.iter().any(|shard| shard.any_probes)
    }

    /// The route of this id.
    pub fn get(&self, id: &RouteId) -> Option<&Arc<Route>> {
        self.by_id.at(shard_of_id(id)).find(id)
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
        let mut by_id: Vec<Vec<Entry>> = vec![Vec::new(); SHARDS];
        let mut by_host: Vec<Vec<(VirtualHost, RouteId)>> = vec![Vec::new(); SHARDS];
        let mut len = 0;
        for (index, route) in routes.into_iter().enumerate() {
            let hosts = &mut by_host[shard_of_host(&route.vhost)];
            match hosts.binary_search_by(|(known, _)| known.cmp(&route.vhost)) {
                Ok(at) => return Err((index, Conflict { with: hosts[at].1.clone() })),
                Err(at) => hosts.insert(at, (route.vhost.clone(), route.id.clone())),
            }
            let ids = &mut by_id[shard_of_id(&route.id)];
            match ids.binary_search_by(|known| known.route.id.cmp(&route.id)) {
                Ok(_) => return Err((index, Conflict { with: route.id })),
                Err(at) => ids.insert(at, Entry::new(Arc::new(route))),
            }
            len += 1;
        }
        Ok(Routes {
            by_id: Shards::from_fn(|number| Shard::new(mem::take(&mut by_id[number]))),
            by_host: Shards::from_fn(|number| mem::take(&mut by_host[number]).into()),
            len,
        })
    }

    /// The routes that differ from `before`, in the order of [`Routes::iter`]. What both share is not looked at.
    pub fn changes_since(&self, before: &Routes) -> Vec<RouteChange> {
        let mut changes = Vec::new();
        for (old, new) in before.by_id.pairs(&self.by_id) {
            if !Arc::ptr_eq(&old.routes, &new.routes) {
                changes_of_shard(&old.routes, &new.routes, &mut changes);
            }
        }
        changes
    }

    /// CRC-32C over the checksums of the shards, each u32 LE: equal for equal routes, however they came together.
    pub fn checksum(&self) -> u32 {
        let sums: Vec<u8> = self.by_id.iter().flat_map(|shard| shard.checksum.to_le_bytes()).collect();
        crc32c(&sums)
    }

    fn edit_id(&mut self, id: &RouteId, route: Option<Arc<Route>>) {
        let shard = self.by_id.at_mut(shard_of_id(id));
        let mut routes = shard.routes.to_vec();
        match (routes.binary_search_by(|known| known.route.id.cmp(id)), route) {
            (Ok(at), Some(route)) => routes[at] = Entry::new(route),
            (Ok(at), None) => {
                routes.remove(at);
                self.len -= 1;
            }
            (Err(at), Some(route)) => {
                routes.insert(at, Entry::new(route));
                self.len += 1;
            }
            (Err(_), None) => {}
        }
        *shard = Shard::new(routes);
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
fn changes_of_shard(old: &[Entry], new: &[Entry], changes: &mut Vec<RouteChange>) {
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

impl Shard {
    fn new(routes: Vec<Entry>) -> Shard {
        let sums: Vec<u8> = routes.iter().flat_map(|entry| entry.checksum.to_le_bytes()).collect();
        let any_retries = routes.iter().any(|entry| entry.retries);
        let any_probes = routes.iter().any(|entry| entry.probes);
        Shard { checksum: crc32c(&sums), any_retries, any_probes, routes: routes.into() }
    }

    fn find(&self, id: &RouteId) -> Option<&Arc<Route>> {
        let at = self.routes.binary_search_by(|entry| entry.route.id.cmp(id)).ok()?;
        self.routes.get(at).map(|entry| &entry.route)
    }
}

impl Entry {
    fn new(route: Arc<Route>) -> Entry {
        let probes = matches!(route.health, Some(Some(_)));
        Entry { checksum: crc32c(&canonical_bytes(&route)), retries: route.retries > 0, probes, route }
    }
}

fn same(left: &Arc<Route>, right: &Arc<Route>) -> bool {
    Arc::ptr_eq(left, right) || left == right
}

fn shard_of_id(id: &RouteId) -> usize {
    crc32c(id.as_str().as_bytes()) as usize % SHARDS
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
        self.len == other.len && self.changes_since(other).is_empty()
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

    fn route(id: &str, vhost: VirtualHost, retries: u32) -> Route {
        let config = ProxyConfig::builder().target("http://a:1").build().expect("valid");
        let any = config.model().routes.iter().next().expect("one route").as_ref().clone();
        Route { id: RouteId::new(id), vhost, retries, ..any }
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
        let own =
            after.by_id.iter().zip(before.by_id.iter()).filter(|(a, b)| !Arc::ptr_eq(&a.routes, &b.routes));
        assert_eq!(own.count(), 1, "one shard was copied");
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
                1 => after.with(Arc::new(route(&id, exact(1000 + number as usize), 2))).expect("free"),
                _ => after
                    .with(Arc::new(route(&format!("new{number}"), exact(2000 + number as usize), 2)))
                    .expect("free"),
            };
        }
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
        for known in after.iter() {
            assert_eq!(after.by_vhost(&known.vhost), Some(known));
        }
    }
}
