//! What all cores share about one backend: carried from table to table for as long as it is the same backend.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use config_core::model::Location;
use config_core::publish::PublishError;

use super::board::Board;
use crate::balance::in_flight::InFlight;
use crate::health::active::Probing;
use crate::health::state::HealthState;
use crate::io::process_ms;

/// Numbers tell backends and upstreams apart that cores keep something for; never used twice in a process.
pub(super) fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A backend's shared side.
pub(crate) struct BackendState {
    pub(crate) serial: u64,
    pub(crate) place: Place,
    /// Idle connections of each core.
    pub(crate) board: Board,
    pub(crate) health: Arc<HealthState>,
    /// Exchanges and sessions on it, of each core.
    pub(crate) in_flight: InFlight,
    /// How it is probed.
    pub(crate) probing: ArcSwap<Probing>,
    /// A task of the prober attends to it.
    pub(crate) watched: AtomicBool,
    /// It is in no table any more: cores close what they have of it.
    pub(crate) retired: AtomicBool,
}

/// Where a backend listens.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(Vec<SocketAddr>),
    Unix(PathBuf),
}

impl BackendState {
    pub(super) fn new(place: Place, cores: usize) -> BackendState {
        BackendState {
            serial: next_serial(),
            place,
            board: Board::new(cores),
            health: Arc::new(HealthState::new(process_ms())),
            in_flight: InFlight::new(cores),
            probing: ArcSwap::from_pointee(Probing::default()),
            watched: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        }
    }
}

/// Finds out where a backend listens; blocks for a name.
///
/// # Errors
/// When the name does not resolve.
pub(super) fn resolve(location: &Location) -> Result<Place, PublishError> {
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
