//! What all cores share about one backend: carried from table to table for as long as it is the same backend.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use config_core::model::Location;
use config_core::publish::PublishError;

use super::board::Board;

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
