//! The only way from what was written to a model. Finds every mistake in one pass, not only the first.
//!
//! Called by `ProxyConfig` for files, flags, environment, the builder and JSON updates alike, so that all of
//! them obey the same rules. What the product knows and this version does not build is refused by name.

mod address;
mod bounds;
mod cores;
mod health;
mod limits;
mod logging;
mod route;
mod section;
mod server;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::error::ConfigError;
use crate::model::{Dns, Model};
use crate::origin::Origin;
use crate::raw::Table;
use section::{Findings, Section};

/// Sections of a configuration whose settings are single values, for the names of environment variables
/// (`PINION_SERVER__MAX_CONNECTIONS`). Sections of later versions are in it, so that their refusal is clear.
pub const SECTIONS: [&str; 18] = [
    "server",
    "limits",
    "timeouts",
    "pool",
    "shutdown",
    "websocket",
    "logging",
    "admin",
    "tls",
    "store",
    "stats",
    "health",
    "circuit_breaker",
    "rate_limit",
    "auth",
    "compression",
    "cache",
    "control",
];

/// Sections that this version does not build.
const UNAVAILABLE_SECTIONS: [&str; 11] = [
    "tls",
    "store",
    "stats",
    "health",
    "circuit_breaker",
    "rate_limit",
    "auth",
    "compression",
    "cache",
    "control",
    "endpoint",
];

/// A model, and where each of its written values came from.
pub(crate) struct Validated {
    pub(crate) model: Model,
    pub(crate) origins: BTreeMap<String, Origin>,
}

/// Checks a whole document.
pub(crate) fn validate(document: &Table) -> Result<Validated, Vec<ConfigError>> {
    let mut findings = Findings::default();
    let mut root = Section::root(document);
    let server = server::server(root.section("server", &mut findings), &mut findings);
    let limits = limits::limits(root.section("limits", &mut findings), &mut findings);
    let timeouts = limits::timeouts(root.section("timeouts", &mut findings), &mut findings);
    let websocket = limits::websocket(root.section("websocket", &mut findings), &mut findings);
    let pool = server::pool(root.section("pool", &mut findings), &mut findings);
    let shutdown = server::shutdown(root.section("shutdown", &mut findings), &mut findings);
    let logging = logging::logging(root.section("logging", &mut findings), &mut findings);
    logging::admin(root.section("admin", &mut findings), &mut findings);
    let routes = route::routes(&mut root, &mut findings);
    root.unavailable(&UNAVAILABLE_SECTIONS, &mut findings);
    root.finish(&mut findings);
    match routes {
        Some(routes) if findings.errors.is_empty() => {
            let (health, circuit_breaker, dns) = (None, health::circuit_breaker(), Dns::default());
            let model = Model {
                server,
                limits,
                timeouts,
                websocket,
                pool,
                shutdown,
                logging,
                health,
                circuit_breaker,
                dns,
                routes,
            };
            Ok(Validated { model, origins: findings.origins })
        }
        _ => Err(findings.errors),
    }
}
