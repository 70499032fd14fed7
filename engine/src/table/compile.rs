//! Snapshot to table: everything that can be worked out once is worked out here, on the control thread.
//!
//! Names are resolved here too, so that no core ever waits for a resolver; all addresses of a name are kept.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use config_core::Snapshot;
use config_core::model::{EncodedPolicy, Location, Model};
use config_core::publish::PublishError;
use protocol::{Limits, PercentPolicy};

use crate::upstream::board::Board;

/// What a core needs to serve requests. Immutable; shared by all cores.
pub(crate) struct Table {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) limits: Limits,
    pub(crate) backends: Vec<Backend>,
    /// Backends differ in their path prefix, so a retry may have to write another head.
    pub(crate) mixed_prefixes: bool,
}

/// A backend, ready to be connected to.
pub(crate) struct Backend {
    /// Stable id; a backend that keeps it, and its place, is still the same after a change.
    pub(crate) id: String,
    pub(crate) place: Place,
    /// `Host` for requests that brought none (HTTP/1.0).
    pub(crate) authority: String,
    /// Put before every path; empty or without a final `/`.
    pub(crate) path_prefix: String,
    /// What `/` becomes.
    pub(crate) root_path: String,
    /// Idle connections of each core; the same board as long as the backend is the same.
    pub(crate) board: Arc<Board>,
}

/// Where a backend listens.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(Vec<SocketAddr>),
    Unix(PathBuf),
}

impl Table {
    /// Compiles a snapshot for so many cores. What `running` has of the same backends is shared with it.
    ///
    /// # Errors
    /// When a backend's name does not resolve; names the backend.
    pub(crate) fn compile(
        snapshot: Arc<Snapshot>,
        cores: usize,
        running: Option<&Table>,
    ) -> Result<Table, PublishError> {
        let model = snapshot.model();
        let route = model.routes.iter().next();
        let backends: Result<Vec<Backend>, PublishError> = route
            .into_iter()
            .flat_map(|route| route.upstream.backends.iter())
            .map(|backend| {
                let (id, place) = (backend.id.to_string(), resolve(&backend.location)?);
                let same = running.and_then(|running| running.same_backend(&id, &place));
                Ok(Backend {
                    board: same.map_or_else(|| Arc::new(Board::new(cores)), |same| Arc::clone(&same.board)),
                    id,
                    place,
                    authority: authority(&backend.location),
                    path_prefix: backend.path_prefix.clone(),
                    root_path: backend.root_path.clone(),
                })
            })
            .collect();
        let backends = backends?;
        let limits = limits(model);
        let mixed_prefixes = backends
            .windows(2)
            .any(|pair| pair[0].path_prefix != pair[1].path_prefix || pair[0].root_path != pair[1].root_path);
        Ok(Table { limits, backends, mixed_prefixes, snapshot })
    }

    fn same_backend(&self, id: &str, place: &Place) -> Option<&Backend> {
        self.backends.iter().find(|known| known.id == id && known.place == *place)
    }

    pub(crate) fn model(&self) -> &Model {
        self.snapshot.model()
    }

    /// Whether a peer's word about where a request came from is taken.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.model().server.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

fn resolve(location: &Location) -> Result<Place, PublishError> {
    let (host, port) = match location {
        Location::Unix { path } => return Ok(Place::Unix(path.clone())),
        Location::Tcp { host, port } => (host.as_str(), *port),
    };
    let failed = |reason: String| PublishError { key: "route.backends".to_owned(), reason };
    let addresses = (host, port).to_socket_addrs();
    let addresses =
        addresses.map_err(|error| failed(format!("the name {host} does not resolve: {error}")))?;
    let mut unique = Vec::new();
    for address in addresses {
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    if unique.is_empty() {
        return Err(failed(format!("the name {host} has no address")));
    }
    Ok(Place::Tcp(unique))
}

fn authority(location: &Location) -> String {
    match location {
        Location::Tcp { .. } => location.to_string(),
        Location::Unix { .. } => "localhost".to_owned(),
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
