//! The only way from what was written to a model. Finds every mistake in one pass, not only the first.
//!
//! Called by `ProxyConfig` for files, flags, environment, the builder and JSON updates alike, so that all of
//! them obey the same rules. What the product knows and this version does not build is refused by name.

mod address;
mod backends;
mod bounds;
mod cores;
mod dns;
mod fields;
mod health;
mod host;
mod limits;
mod logging;
mod pattern;
mod route;
#[cfg(test)]
mod route_tests;
mod rule;
mod section;
mod server;
mod shadow;
mod target;
#[cfg(test)]
mod tests;
mod tls;

use crate::ids::RouteId;
use crate::model::{Model, Route, Routes};
use crate::raw::Table;

pub(crate) use route::ROUTES_MAX;
pub(crate) use section::Findings;
use section::Section;

/// Sections of a configuration whose settings are single values, for the names of environment variables
/// (`PINION_SERVER__MAX_CONNECTIONS`). Sections of later versions are in it, so that their refusal is clear.
pub const SECTIONS: [&str; 19] = [
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
    "dns",
    "rate_limit",
    "auth",
    "compression",
    "cache",
    "control",
];

/// Sections that this version does not build.
const UNAVAILABLE_SECTIONS: [&str; 8] =
    ["store", "stats", "rate_limit", "auth", "compression", "cache", "control", "endpoint"];

/// Checks a document without its routes. The model that is returned has none, and means nothing where there are errors.
pub(crate) fn settings(document: &Table, findings: &mut Findings) -> Model {
    let mut root = Section::root(document);
    let server = server::server(root.section("server", findings), findings);
    let limits = limits::limits(root.section("limits", findings), findings);
    let timeouts = limits::timeouts(root.section("timeouts", findings), findings);
    let websocket = limits::websocket(root.section("websocket", findings), findings);
    let pool = server::pool(root.section("pool", findings), findings);
    let shutdown = server::shutdown(root.section("shutdown", findings), findings);
    let logging = logging::logging(root.section("logging", findings), findings);
    logging::admin(root.section("admin", findings), findings);
    let health = health::active_check(root.section("health", findings), findings);
    let circuit_breaker = health::circuit_breaker(root.section("circuit_breaker", findings), findings);
    let dns = dns::dns(root.section("dns", findings), findings);
    let tls = tls::tls(root.section("tls", findings), &server.listen, findings);
    root.unavailable(&UNAVAILABLE_SECTIONS, findings);
    root.expect("route");
    root.finish(findings);
    Model {
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
        tls,
        routes: Routes::new(),
    }
}

/// Checks the routes of a document, and nothing else of it: no route depends on what is written elsewhere. Answers them
/// with their ids in the order in which they are written; `None` after a mistake.
pub(crate) fn routes(document: &Table, findings: &mut Findings) -> Option<(Routes, Vec<RouteId>)> {
    route::routes(&mut Section::root(document), findings)
}

/// Checks a document that is one route.
pub(crate) fn route(document: &Table, findings: &mut Findings) -> Option<Route> {
    let section = Section::of("route".to_owned(), crate::origin::Origin::Program, Some(document));
    route::route(section, findings).filter(|_| findings.errors.is_empty())
}
