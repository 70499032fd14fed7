//! The validated configuration: plain values that cannot be wrong. Made only by `validate`, read by the engine.
//!
//! One file per noun. Units are in the names: `_ms` milliseconds, `_us` microseconds, `_bytes` bytes.

mod document;
mod limits;
mod listener;
mod logging;
mod route;
mod server;
mod timeouts;
mod upstream;

pub use limits::{EncodedPolicy, Limits, Websocket};
pub use listener::Listener;
pub use logging::{LogDestination, LogFormat, LogLevel, Logging};
pub use route::Route;
pub use server::{Cores, Runtime, Server, Shutdown};
pub use timeouts::Timeouts;
pub use upstream::{Backend, Location, Pool, Scheme, Strategy, Upstream};

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
    /// Where requests go. This version has exactly one route, for every host.
    pub route: Route,
}

impl Model {
    /// The feature switches that this configuration asks for.
    pub fn feature_flags(&self) -> FeatureFlags {
        // WebSocket upgrades are always forwarded; no setting turns them off yet.
        let mut flags = FeatureFlags::WEBSOCKET;
        flags.set(FeatureFlags::RETRIES, self.route.retries > 0);
        flags.set(FeatureFlags::DEBUG, self.logging.level >= LogLevel::Debug);
        flags
    }
}
