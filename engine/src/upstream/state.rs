//! What all cores share about one backend: carried from table to table for as long as it is the same backend.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use config_core::model::Location;
use protocol::proxy_header::ProxyVersion;

use super::board::Board;
use crate::balance::in_flight::InFlight;
use crate::dns::{Name, Names};
use crate::health::active::Probing;
use crate::health::state::HealthState;
use crate::io::process_ms;
use crate::tls::backends::BackendSecurity;

/// Numbers tell backends and upstreams apart that cores keep something for; never used twice in a process.
pub(super) fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A backend's shared side.
pub(crate) struct BackendState {
    pub(crate) serial: u64,
    pub(crate) place: Place,
    /// Which PROXY header connections to it begin with: each serves one client then.
    pub(crate) send_proxy: Option<ProxyVersion>,
    /// How it is reached over TLS; `None`: it speaks without.
    pub(crate) tls: Option<BackendSecurity>,
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
pub(crate) enum Place {
    Address(SocketAddr),
    /// A name with all its addresses, which may change at any time, or not be there yet.
    Name {
        name: Arc<Name>,
        port: u16,
    },
    Unix(PathBuf),
}

impl Place {
    /// What `location` says; a name is looked up from now on.
    pub(super) fn new(location: &Location, names: &Names) -> Place {
        match location {
            Location::Unix { path } => Place::Unix(path.clone()),
            Location::Tcp { host, port } => match host.parse::<IpAddr>() {
                Ok(address) => Place::Address(SocketAddr::new(address, *port)),
                Err(_) => Place::Name { name: names.watch(host), port: *port },
            },
        }
    }

    /// Whether there is an address to connect to; a backend without one is not picked.
    #[inline]
    pub(crate) fn is_resolved(&self) -> bool {
        match self {
            Place::Address(_) | Place::Unix(_) => true,
            Place::Name { name, .. } => name.is_resolved(),
        }
    }

    /// Changes with the addresses of a name.
    #[inline]
    pub(crate) fn version(&self) -> u32 {
        match self {
            Place::Address(_) | Place::Unix(_) => 0,
            Place::Name { name, .. } => name.version(),
        }
    }

    /// Whether the backend still has this address.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        match self {
            Place::Address(own) => own.ip() == address,
            Place::Name { name, .. } => name.addresses().contains(&address),
            Place::Unix(_) => false,
        }
    }
}

impl BackendState {
    pub(super) fn new(
        place: Place,
        tls: Option<BackendSecurity>,
        send_proxy: Option<ProxyVersion>,
        cores: usize,
    ) -> BackendState {
        BackendState {
            serial: next_serial(),
            place,
            tls,
            send_proxy,
            board: Board::new(cores),
            health: Arc::new(HealthState::new(process_ms())),
            in_flight: InFlight::new(cores),
            probing: ArcSwap::from_pointee(Probing::default()),
            watched: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        }
    }
}
