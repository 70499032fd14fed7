//! The validated configuration: plain values that cannot be wrong. Made only by `validate`, read by the engine.
//!
//! One file per noun. Units are in the names: `_ms` milliseconds, `_us` microseconds, `_bytes` bytes.

mod dns;
mod document;
mod health;
mod limits;
mod listener;
mod logging;
mod route;
mod route_document;
mod routes;
mod rule;
mod server;
mod template;
mod timeouts;
mod tls;
mod upstream;

pub use dns::Dns;
pub use health::{ActiveCheck, CircuitBreaker, Probe};
pub use limits::{EncodedPolicy, Limits, Websocket};
pub use listener::Listener;
pub use logging::{LogDestination, LogFormat, LogLevel, Logging};
pub use route::{Field, LimitOverrides, Route, TimeoutOverrides, VirtualHost};
pub use routes::{Conflict, RouteChange, Routes};
pub use rule::{Action, Forward, Pattern, Redirect, Respond, Rule};
pub use server::{Cores, Runtime, Server, Shutdown};
pub use template::{Template, TemplateError, TemplatePart};
pub use timeouts::Timeouts;
pub use tls::{BackendTls, Certificate, ClientAuth, PemFile, Tls, TlsVersion};
pub use upstream::{Backend, HashKey, Location, Pool, ProxyVersion, Scheme, Strategy, Upstream};

use crate::flags::FeatureFlags;

/// A whole validated configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Listeners, cores, admission.
    pub server: Server,
    /// Caps on what peers may send.
    pub limits: Limits,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Rules for relayed WebSocket sessions.
    pub websocket: Websocket,
    /// Idle connections to backends.
    pub pool: Pool,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// What is logged, and where to.
    pub logging: Logging,
    /// How backends are probed, where a route does not say otherwise; `None`: not from our side.
    pub health: Option<ActiveCheck>,
    /// When exchanges show that a backend is dead.
    pub circuit_breaker: CircuitBreaker,
    /// Name servers to ask, in place of the system's.
    pub dns: Dns,
    /// What TLS listeners show and ask for.
    pub tls: Tls,
    /// Where requests go.
    pub routes: Routes,
}

impl Model {
    /// The feature switches that this configuration asks for.
    pub fn feature_flags(&self) -> FeatureFlags {
        // WebSocket upgrades are always forwarded; no setting turns them off yet.
        let mut flags = FeatureFlags::WEBSOCKET;
        flags.set(FeatureFlags::TLS, self.server.listen.iter().any(|listener| listener.tls));
        flags.set(FeatureFlags::RETRIES, self.routes.any_retries());
        flags.set(FeatureFlags::HEALTH_CHECKS, self.health.is_some() || self.routes.any_probes());
        flags.set(FeatureFlags::CIRCUIT_BREAKER, self.circuit_breaker.is_on());
        flags.set(FeatureFlags::DEBUG, self.logging.level >= LogLevel::Debug);
        flags
    }
}
