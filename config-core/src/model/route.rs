//! A route: which requests it serves, what its rules do with them, and where they go.

use std::fmt;
use std::sync::Arc;

use super::{ActiveCheck, BackendTls, PemFile, ProxyVersion, Rule, Upstream};
use crate::ids::RouteId;

/// One route. Shared by every model that has it unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Stable id: given, or derived from the virtual host.
    pub id: RouteId,
    /// The hosts that it serves. No two routes have the same.
    pub vhost: VirtualHost,
    /// Path patterns, in order: the first that matches decides. A request that none of them matches goes to
    /// `upstream`.
    pub rules: Vec<Rule>,
    /// Where requests go that no rule sends elsewhere.
    pub upstream: Arc<Upstream>,
    /// How backends with `https` or `wss` are reached.
    pub backend_tls: Arc<BackendTls>,
    /// Which PROXY header connections to backends begin with; `None`: none.
    pub send_proxy: Option<ProxyVersion>,
    /// Requests without TLS are sent to the same place with it.
    pub auto_https: bool,
    /// How many other backends are tried after a failure that is safe to repeat.
    pub retries: u32,
    /// Request fields that are set, in place of what the client sent.
    pub headers: Vec<Field>,
    /// Response fields that are set, in place of what the backend sent.
    pub response_headers: Vec<Field>,
    /// Name of the cookie that keeps a client on a backend while it is healthy.
    pub sticky: Option<String>,
    /// Exchanges in flight over all cores; `None`: no limit.
    pub req_active_length: Option<u32>,
    /// Exchanges that wait for a place among those; more get 503.
    pub req_queue_length: u32,
    /// Longest wait for a place.
    pub queue_timeout_ms: u64,
    /// What this route has in place of the engine's timeouts.
    pub timeouts: TimeoutOverrides,
    /// What this route has in place of the engine's limits.
    pub limits: LimitOverrides,
    /// How backends of this route are probed, in place of the engine's way: `None`: as `[health]` says.
    pub health: Option<Option<ActiveCheck>>,
}

impl Route {
    /// The files that were read for it, with the key that names each.
    pub(crate) fn files(&self) -> Vec<(String, &PemFile)> {
        let files = self.backend_tls.files().into_iter();
        files.map(|(key, file)| (format!("route[{}].backend_tls.{key}", self.id), file)).collect()
    }
}

/// The hosts that a route serves: lower-case ASCII without a port or a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VirtualHost {
    /// Exactly this name or address; an IPv6 address is without brackets, in the form of RFC 5952.
    Exact(Arc<str>),
    /// Every name with one or more labels before this: `*.example.com` holds `example.com`.
    Wildcard(Arc<str>),
    /// Every host.
    Any,
}

impl fmt::Display for VirtualHost {
    /// In the form that the configuration takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// A field that the operator sets: a token, and a value that may stand in a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name as written.
    pub name: String,
    /// Value.
    pub value: String,
}

/// Timeouts of one route; `None` leaves the engine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutOverrides {
    /// See `Timeouts::connect_ms`.
    pub connect_ms: Option<u64>,
    /// See `Timeouts::first_byte_ms`.
    pub first_byte_ms: Option<u64>,
    /// See `Timeouts::body_progress_ms`.
    pub body_progress_ms: Option<u64>,
    /// See `Timeouts::write_stall_ms`.
    pub write_stall_ms: Option<u64>,
    /// See `Timeouts::websocket_idle_ms`.
    pub websocket_idle_ms: Option<u64>,
}

/// Limits of one route; `None` leaves the engine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitOverrides {
    /// See `Limits::body_bytes_max`.
    pub body_bytes_max: Option<u64>,
    /// See `Websocket::message_bytes_max`.
    pub message_bytes_max: Option<u64>,
}
