//! Upstreams and connections to their backends: what all cores share of them, opening connections, keeping idle ones, and
//! the machine that speaks on each.

pub(crate) mod board;
pub(crate) mod budget;
pub(crate) mod connect;
pub(crate) mod gate;
pub(crate) mod lease;
pub(crate) mod pool;
pub(crate) mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use config_core::crc64;
use config_core::model::{self, Location};

use protocol::proxy_header::ProxyVersion;

use crate::balance::Plan;
use crate::dns::Names;
use crate::tls::backends::BackendSecurity;
use state::{BackendState, Place};

/// A group of backends, compiled. Shared by every table that has it unchanged.
pub(crate) struct Upstream {
    /// Tells which cursor and pools of a core belong to it.
    pub(crate) serial: u64,
    pub(crate) model: Arc<model::Upstream>,
    /// In the order of the configuration; never empty.
    pub(crate) backends: Vec<Backend>,
    /// What its strategy needs.
    pub(crate) plan: Arc<Plan>,
    /// Backends differ in their path prefix, so a retry may have to write another head.
    pub(crate) mixed_prefixes: bool,
    /// It is in no table any more.
    pub(crate) retired: AtomicBool,
}

/// A backend as this upstream has it.
pub(crate) struct Backend {
    /// Stable id.
    pub(crate) id: String,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// `Host` for requests that brought none (HTTP/1.0), or that take the target's.
    pub(crate) authority: String,
    /// Put before every path; empty or without a final `/`.
    pub(crate) path_prefix: String,
    /// What `/` becomes.
    pub(crate) root_path: String,
    /// What a sticky cookie calls it: says nothing of where it is, and stays the same over restarts and nodes.
    pub(crate) token: String,
    /// See `model::Backend`.
    pub(crate) max_connections: Option<u32>,
    pub(crate) slow_start_ms: u64,
    pub(crate) state: Arc<BackendState>,
}

impl Upstream {
    /// Compiles `config`. If `known` has the same upstream it is that one; else backends of the same id and place bring
    /// along what the cores share of them. Names of backends are looked up from now on.
    ///
    /// # Errors
    /// With the key, below `backend_tls`, of what will not do, and why.
    pub(crate) fn compile(
        config: &Arc<model::Upstream>,
        cores: usize,
        names: &Names,
        known: &[&Arc<Upstream>],
    ) -> Result<Arc<Upstream>, (&'static str, String)> {
        if let Some(same) = known.iter().find(|upstream| upstream.model == *config) {
            return Ok(Arc::clone(same));
        }
        let namesake = known.iter().find(|upstream| upstream.model.id == config.id);
        let mut backends = Vec::with_capacity(config.backends.len());
        for backend in &config.backends {
            let before = namesake.and_then(|upstream| upstream.state_of(backend));
            let state = match before {
                Some(state) => state,
                None => {
                    let tls = BackendSecurity::compile(backend)?;
                    Arc::new(BackendState::new(
                        Place::new(&backend.location, names),
                        tls,
                        backend.send_proxy.map(proxy_version),
                        cores,
                    ))
                }
            };
            backends.push(Backend {
                id: backend.id.to_string(),
                scheme: if backend.tls.is_some() { "https" } else { "http" },
                authority: authority(&backend.location),
                path_prefix: backend.path_prefix.clone(),
                root_path: backend.root_path.clone(),
                token: format!("{:016x}", crc64(backend.id.as_str().as_bytes())),
                max_connections: backend.max_connections,
                slow_start_ms: backend.slow_start_ms,
                state,
            });
        }
        let mixed_prefixes = backends
            .windows(2)
            .any(|pair| pair[0].path_prefix != pair[1].path_prefix || pair[0].root_path != pair[1].root_path);
        Ok(Arc::new(Upstream {
            serial: state::next_serial(),
            plan: Arc::new(Plan::of(config)),
            model: Arc::clone(config),
            backends,
            mixed_prefixes,
            retired: AtomicBool::new(false),
        }))
    }

    fn state_of(&self, wanted: &model::Backend) -> Option<Arc<BackendState>> {
        let of_config = |known: &&model::Backend| {
            known.id == wanted.id
                && known.location == wanted.location
                && known.tls == wanted.tls
                && known.send_proxy == wanted.send_proxy
        };
        let config = self.model.backends.iter().find(of_config)?;
        let backend = self.backends.iter().find(|known| known.id == config.id.as_str())?;
        Some(Arc::clone(&backend.state))
    }

    /// It is in no table any more, nor are those of its backends that `next`, which has taken its place, has not.
    pub(crate) fn retire(&self, next: &[&Arc<Upstream>]) {
        self.retired.store(true, Ordering::Relaxed);
        for backend in &self.backends {
            let mut others = next.iter().flat_map(|upstream| &upstream.backends);
            if !others.any(|other| Arc::ptr_eq(&other.state, &backend.state)) {
                backend.state.retired.store(true, Ordering::Relaxed);
            }
        }
    }
}

fn proxy_version(written: model::ProxyVersion) -> ProxyVersion {
    match written {
        model::ProxyVersion::V1 => ProxyVersion::V1,
        model::ProxyVersion::V2 => ProxyVersion::V2,
    }
}

fn authority(location: &Location) -> String {
    match location {
        Location::Tcp { .. } => location.to_string(),
        Location::Unix { .. } => "localhost".to_owned(),
    }
}
