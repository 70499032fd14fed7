//! An upstream and its backends, and the pool of idle connections to each.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::BackendTls;
use crate::ids::{BackendId, UpstreamId};

/// A group of backends that can stand in for one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Stable id.
    pub id: UpstreamId,
    /// How a backend is chosen.
    pub strategy: Strategy,
    /// What [`Strategy::IpHash`] hashes.
    pub hash_key: HashKey,
    /// If fewer than so many percent of the backends are usable, all of them are used as if they were; 0: never, and 503
    /// if none is left.
    pub panic_threshold_percent: u8,
    /// The backends; never empty, no id twice.
    pub backends: Vec<Backend>,
}

/// How a backend is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Each in turn.
    RoundRobin,
    /// Each in turn, in proportion to its weight, without bursts.
    Weighted,
    /// The one with the fewest exchanges and sessions, in proportion to its weight, over all cores.
    LeastConnections,
    /// Any, in proportion to its weight.
    Random,
    /// By a hash of the client on a consistent ring.
    IpHash,
    /// By peak EWMA of the time to the first byte, of two random ones.
    LeastLatency,
}

impl Strategy {
    /// The spelling in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::Weighted => "weighted",
            Self::LeastConnections => "least_connections",
            Self::Random => "random",
            Self::IpHash => "ip_hash",
            Self::LeastLatency => "least_latency",
        }
    }
}

/// What tells clients apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    ClientIp,
    /// The value of a request field, by its lower-case name; without one, the address.
    Header(String),
    /// The value of a cookie; without one, the address.
    Cookie(String),
}

/// One backend, as its URL says.
///
/// The path of the URL is put before the path of every request (`http://b:1/api` + `/users` →
/// `/api/users`); the request path `/` alone becomes the URL's path exactly as written, so that
/// `ws://b:1/ws` answers at `/ws` and not at `/ws/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Given, or derived from the URL.
    pub id: BackendId,
    /// The URL in its canonical spelling.
    pub url: String,
    /// What the URL's scheme promises; both are HTTP/1.1 on the wire.
    pub scheme: Scheme,
    /// Where to connect to.
    pub location: Location,
    /// What to put before request paths: empty, or starting and not ending with `/`.
    pub path_prefix: String,
    /// What the request path `/` becomes; `/` where there is no prefix.
    pub root_path: String,
    /// Share among the backends, 1 to 1,000.
    pub weight: u16,
    /// Exchanges and sessions at once over all cores; `None`: no limit.
    pub max_connections: Option<u32>,
    /// How it is reached over TLS; `None`: it speaks without.
    pub tls: Option<Arc<BackendTls>>,
    /// Which PROXY header connections to it begin with; `None`: none. Such a connection serves one client.
    pub send_proxy: Option<ProxyVersion>,
    /// How long its share grows after it came (back) to life; 0: its full share at once.
    pub slow_start_ms: u64,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyVersion {
    /// The spelling in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// Scheme of a backend's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http://` and `unix:`.
    Http,
    /// `ws://`.
    Ws,
    /// `https://`.
    Https,
    /// `wss://`.
    Wss,
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// TCP. Names are resolved by the engine.
    Tcp {
        /// A lower-case name in ASCII form, or an address (IPv6 without brackets).
        host: String,
        /// The port, never 0.
        port: u16,
    },
    /// A unix socket, by absolute path.
    Unix {
        /// Path of the socket, short enough for `sockaddr_un`.
        path: PathBuf,
    },
}

impl fmt::Display for Location {
    /// `host:port`, `[v6]:port` or `unix:path`: what goes into log lines, and what `Host` would be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix { path } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Idle connections to one backend, kept by one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Idle connections that stay open past `idle_timeout_ms`.
    pub min_size: u32,
    /// Idle connections that stay; more are closed once nobody has wanted them for a second.
    pub max_size: u32,
    /// How long a connection may be idle.
    pub idle_timeout_ms: u64,
}
