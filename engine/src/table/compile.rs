//! Snapshot to table: everything that can be worked out once is worked out here, on the control thread.
//!
//! What did not change is shared with the running table: the compiled routes, their upstreams, and behind those what all
//! cores share about a backend (`upstream/state.rs`), so that pools and health survive whatever does not touch them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config_core::model::{EncodedPolicy, Model};
use config_core::publish::PublishError;
use config_core::{RouteId, Snapshot};
use protocol::{Limits, PercentPolicy};

use super::route::Route;
use crate::dns::Names;
use crate::io::Remote;
use crate::router::Router;
use crate::tls::check::Acceptance;
use crate::upstream::Upstream;

/// How long a publication waits for names that it is the first to have.
const FIRST_ANSWERS: Duration = Duration::from_secs(5);

/// What a core needs to serve requests. Immutable; shared by all cores.
pub(crate) struct Table {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) limits: Limits,
    pub(crate) router: Router<Route>,
    /// What handshakes of clients need; `None` where there are no certificates.
    pub(crate) tls: Option<Arc<Acceptance>>,
}

impl Table {
    /// Compiles a snapshot for so many cores. What `running` has of the same routes and backends is shared with it. Blocks for
    /// the first answers to names that are new, for at most [`FIRST_ANSWERS`]; a backend whose name has none is not picked
    /// until there is one.
    ///
    /// # Errors
    /// With what does not compile.
    pub(crate) fn compile(
        snapshot: Arc<Snapshot>,
        cores: usize,
        names: &Names,
        running: Option<&Table>,
    ) -> Result<Table, PublishError> {
        let model = snapshot.model();
        let tls = Acceptance::compile(&model.tls, running.and_then(|table| table.tls.as_ref()))?;
        let compile = |route: &Arc<config_core::model::Route>| {
            let before = running.and_then(|table| table.compiled(&route.id));
            Route::compile(route, model, cores, names, before.map(Arc::as_ref)).map(Arc::new)
        };
        // What all routes take from the model has been compiled into each of them.
        let same_ground = running.filter(|table| table.has_same_ground(model));
        let shared = same_ground.map(|table| (&table.model().routes, &table.router));
        let router = Router::build(&model.routes, shared, compile)?;
        names.wait_for_answers(Instant::now() + FIRST_ANSWERS);
        Ok(Table { limits: limits(model), router, tls, snapshot })
    }

    pub(crate) fn model(&self) -> &Model {
        self.snapshot.model()
    }

    /// The compiled route of this id.
    pub(crate) fn compiled(&self, id: &RouteId) -> Option<&Arc<Route>> {
        self.router.by_vhost(&self.model().routes.get(id)?.vhost)
    }

    fn has_same_ground(&self, other: &Model) -> bool {
        let own = self.model();
        own.timeouts == other.timeouts
            && own.limits == other.limits
            && own.websocket == other.websocket
            && own.health == other.health
            && own.circuit_breaker == other.circuit_breaker
    }

    /// The table has become the running one, in place of `before`: gates get their limits, probes begin.
    pub(crate) fn take_effect(&self, before: Option<&Table>, prober: Option<&Remote>) {
        let same_ground = before.filter(|before| before.has_same_ground(self.model()));
        let changed: Vec<Arc<config_core::model::Route>> = match same_ground {
            Some(before) => {
                let changes = self.model().routes.changes_since(&before.model().routes);
                changes.into_iter().filter_map(|change| change.after).collect()
            }
            None => self.model().routes.iter().cloned().collect(),
        };
        for route in changed.iter().filter_map(|route| self.router.by_vhost(&route.vhost)) {
            route.set_gate_limits();
            route.begin_probing(prober);
        }
    }

    /// Tells the cores which upstreams and backends of this table are not in `next`, which has taken its place.
    pub(crate) fn retire_for(&self, next: &Table) {
        for change in next.model().routes.changes_since(&self.model().routes) {
            let of = |table: &'_ Table, route: Option<Arc<config_core::model::Route>>| {
                route.and_then(|route| table.router.by_vhost(&route.vhost).cloned())
            };
            let Some(before) = of(self, change.before) else { continue };
            let after = of(next, change.after);
            let now: Vec<&Arc<Upstream>> = after.iter().flat_map(|route| route.upstreams()).collect();
            for upstream in before.upstreams().filter(|old| !now.iter().any(|new| Arc::ptr_eq(old, new))) {
                upstream.retire(&now);
            }
        }
    }

    /// Whether a peer's word about where a request came from is taken.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.model().server.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

fn limits(model: &Model) -> Limits {
    let policy = |policy| match policy {
        EncodedPolicy::Reject => PercentPolicy::Reject,
        EncodedPolicy::Keep => PercentPolicy::Keep,
        EncodedPolicy::Decode => PercentPolicy::Decode,
    };
    Limits {
        request_line_bytes_max: model.limits.request_line_bytes_max,
        head_bytes_max: model.limits.head_bytes_max,
        fields_max: u32::from(model.limits.fields_max),
        chunk_extension_bytes_max: model.limits.chunk_extension_bytes_max,
        encoded_slash: policy(model.limits.encoded_slash),
        encoded_nul: policy(model.limits.encoded_nul),
        connect_allowed: false,
        request_head_ms: model.timeouts.request_head_ms,
        request_head_bytes_per_second_min: u64::from(model.timeouts.request_head_bytes_per_second_min),
        idle_ms: model.server.idle_timeout_ms,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;

    use super::Table;

    /// Which thread freed which table, by its epoch.
    static DROPPED: Mutex<Vec<(String, u32)>> = Mutex::new(Vec::new());

    pub(in crate::table) fn dropped() -> Vec<(String, u32)> {
        DROPPED.lock().expect("nobody panics with it").clone()
    }

    impl Drop for Table {
        fn drop(&mut self) {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            DROPPED.lock().expect("nobody panics with it").push((thread, self.snapshot.epoch()));
        }
    }
}
