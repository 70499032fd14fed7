//! `[[route]]`: every route by itself, and what no two of them may share.

use std::collections::HashMap;
use std::sync::Arc;

use super::fields::Direction;
use super::limits::narrow;
use super::section::{Findings, Section, Written};
use super::{backends, bounds, fields, health, host, rule, tls};
use crate::defaults;
use crate::ids::{self, RouteId, UpstreamId};
use crate::model::{
    HashKey, LimitOverrides, ProxyVersion, Route, Routes, Strategy, TimeoutOverrides, Upstream, VirtualHost,
};
use crate::origin::Origin;

/// Most routes: each costs a few kilobytes, and a file of more is the output of a program that should use the API.
pub(crate) const ROUTES_MAX: usize = 1_000_000;

/// Id of the route for every host, unless it is given.
const DEFAULT_ID: &str = "default";

const STRATEGIES: [(&str, Option<Strategy>); 6] = [
    ("round_robin", Some(Strategy::RoundRobin)),
    ("weighted", Some(Strategy::Weighted)),
    ("least_connections", Some(Strategy::LeastConnections)),
    ("random", Some(Strategy::Random)),
    ("ip_hash", Some(Strategy::IpHash)),
    ("least_latency", Some(Strategy::LeastLatency)),
];

const PROXY_VERSIONS: [(&str, Option<Option<ProxyVersion>>); 3] =
    [("off", Some(None)), ("v1", Some(Some(ProxyVersion::V1))), ("v2", Some(Some(ProxyVersion::V2)))];

const LATER_KEYS: [&str; 4] = ["auth_provider", "filters", "sampling", "config_headers"];

/// All routes of the document, and their ids in the order in which they are written; `None` after a mistake, which is
/// then reported.
pub(crate) fn routes(root: &mut Section<'_>, findings: &mut Findings) -> Option<(Routes, Vec<RouteId>)> {
    let written = root.sections("route", findings);
    let Some(sections) = written.filter(|sections| !sections.is_empty()) else {
        let place = root.origin("route").unwrap_or(Origin::Default);
        let problem = "no target is given".to_owned();
        let allowed = "give --target URL, PROXY_TARGET_URL, or a [[route]] with backends";
        findings.refuse(&place, "route", problem, allowed);
        return None;
    };
    if let Some(extra) = sections.get(ROUTES_MAX) {
        let problem = format!("more than {ROUTES_MAX} routes");
        findings.refuse(&extra.place().clone(), "route", problem, "each costs memory on every publication");
        return None;
    }
    let mut hosts: HashMap<VirtualHost, Origin> = HashMap::with_capacity(sections.len());
    let mut ids: HashMap<RouteId, Origin> = HashMap::with_capacity(sections.len());
    let (mut routes, mut order) = (Vec::with_capacity(sections.len()), Vec::with_capacity(sections.len()));
    for section in sections {
        let (path, place) = (section.path.clone(), section.place().clone());
        let host_place = section.origin("vhost").unwrap_or_else(|| place.clone());
        let id_place = section.origin("id").unwrap_or(place);
        let Some(route) = route(section, findings) else { continue };
        if let Some(other) = hosts.insert(route.vhost.clone(), host_place.clone()) {
            let problem =
                format!("{:?} is served by another route already, at {other}", route.vhost.to_string());
            findings.refuse(
                &host_place,
                &format!("{path}.vhost"),
                problem,
                "one route per host, with rules for its paths",
            );
        } else if let Some(other) = ids.insert(route.id.clone(), id_place.clone()) {
            let problem = format!("{:?} is the id of another route already, at {other}", route.id.as_str());
            findings.refuse(&id_place, &format!("{path}.id"), problem, "one route per id");
        }
        order.push(route.id.clone());
        routes.push(route);
    }
    if !findings.errors.is_empty() {
        return None;
    }
    match Routes::collect(routes) {
        Ok(routes) => Some((routes, order)),
        Err(_) => {
            debug_assert!(false, "conflicts have been found above");
            None
        }
    }
}

/// One route; `None` where its host, and with it perhaps its id, cannot be told. Every mistake is reported.
pub(crate) fn route(mut section: Section<'_>, findings: &mut Findings) -> Option<Route> {
    let vhost = vhost(&mut section, findings);
    let given = given_id(&mut section, findings);
    let id = match (given, &vhost) {
        (Some(id), _) => id,
        (None, Some(VirtualHost::Any) | None) => DEFAULT_ID.to_owned(),
        (None, Some(named)) => ids::derive(&named.to_string()),
    };
    let backend_tls = Arc::new(tls::backend_tls(&mut section, findings));
    let mut upstream = upstream(&mut section, &id, findings);
    let send_proxy = section.choice("send_proxy", &PROXY_VERSIONS, None, findings);
    let ways = tls::Ways { tls: &backend_tls, send_proxy };
    ways.lay(&mut upstream);
    let upstream = Arc::new(upstream);
    let rules = rule::rules(&mut section, &id, &upstream, ways, findings);
    let req_active_length = narrow(section.number("req_active_length", bounds::REQ_LENGTH, 0, findings));
    let sticky = section.text("sticky", findings);
    let timeouts = section.section("timeouts", findings);
    let limits = section.section("limits", findings);
    let health = section.section_or_none("health", findings);
    let route = Route {
        upstream,
        auto_https: section.boolean("auto_https", false, findings),
        send_proxy,
        backend_tls: Arc::clone(&backend_tls),
        id: RouteId::new(&id),
        vhost: vhost.clone().unwrap_or(VirtualHost::Any),
        rules,
        retries: narrow(section.number("retries", bounds::RETRIES, defaults::RETRIES, findings)),
        headers: fields::fields(&mut section, "headers", Direction::Request, findings),
        response_headers: fields::fields(&mut section, "response_headers", Direction::Response, findings),
        sticky: sticky.and_then(|written| fields::token(&written, findings)),
        req_active_length: Some(req_active_length).filter(|length| *length > 0),
        req_queue_length: narrow(section.number("req_queue_length", bounds::REQ_LENGTH, 0, findings)),
        queue_timeout_ms: section.number(
            "queue_timeout_ms",
            bounds::QUEUE_TIMEOUT_MS,
            defaults::QUEUE_TIMEOUT_MS,
            findings,
        ),
        timeouts: timeout_overrides(timeouts, findings),
        limits: limit_overrides(limits, findings),
        health: health.map(|section| health::active_check(section, findings)),
    };
    if findings.is_thorough() {
        warn(&section, &route, findings);
    }
    section.unavailable(&LATER_KEYS, findings);
    section.finish(findings);
    vhost.map(|_| route)
}

/// What a route says without effect.
fn warn(section: &Section<'_>, route: &Route, findings: &mut Findings) {
    let mut warn = |key: &str, problem: &str, allowed: &str| {
        if let Some(place) = section.origin(key).filter(|_| section.has(key)) {
            findings.warn(&place, &section.path_of(key), format!("has no effect: {problem}"), allowed);
        }
    };
    if route.req_active_length.is_none() {
        for key in ["req_queue_length", "queue_timeout_ms"] {
            warn(key, "nothing waits without req_active_length", "write req_active_length, or remove it");
        }
    }
    if route.upstream.strategy != Strategy::IpHash {
        warn("hash_key", "the strategy is not ip_hash", "write strategy = \"ip_hash\", or remove it");
    }
    let weights = || route.upstream.backends.iter().any(|backend| backend.weight != 1);
    if route.upstream.strategy == Strategy::RoundRobin && weights() {
        let place = section.origin("strategy").or_else(|| section.origin("backends"));
        let problem = "weights have no effect: round_robin gives each backend the same".to_owned();
        let place = place.unwrap_or_else(|| section.place().clone());
        findings.warn(&place, &section.path_of("strategy"), problem, "write strategy = \"weighted\"");
    }
}

/// The id that is written, if it may be one.
pub(crate) fn given_id(section: &mut Section<'_>, findings: &mut Findings) -> Option<String> {
    let written = section.text("id", findings)?;
    if ids::is_valid(&written.text) {
        return Some(written.text);
    }
    let allowed = "1 to 128 letters, digits and \"-_.:@/#[]*\"";
    findings.refuse(&written.origin, &written.path, format!("found {:?}", written.text), allowed);
    None
}

fn vhost(section: &mut Section<'_>, findings: &mut Findings) -> Option<VirtualHost> {
    if !section.has("vhost") {
        let (place, path) = (section.place().clone(), section.path_of("vhost"));
        section.expect("vhost");
        findings.refuse(
            &place,
            &path,
            "missing".to_owned(),
            "write vhost = \"api.example.com\", or \"*\" for every host",
        );
        return None;
    }
    let written = section.text("vhost", findings)?;
    host::virtual_host(&written, findings)
}

/// The route's own upstream shares its id: both are stable as long as the route is.
fn upstream(section: &mut Section<'_>, id: &str, findings: &mut Findings) -> Upstream {
    let hash_key = section.text("hash_key", findings);
    Upstream {
        id: UpstreamId::new(id),
        strategy: section.choice("strategy", &STRATEGIES, Strategy::RoundRobin, findings),
        hash_key: hash_key
            .and_then(|written| parse_hash_key(&written, findings))
            .unwrap_or(HashKey::ClientIp),
        panic_threshold_percent: health::percent(section.number(
            "panic_threshold",
            bounds::PANIC_PERCENT,
            0,
            findings,
        )),
        backends: backends::backends(section, findings),
    }
}

fn parse_hash_key(written: &Written, findings: &mut Findings) -> Option<HashKey> {
    let text = written.text.trim();
    let key = match text.split_once(':') {
        None if text.eq_ignore_ascii_case("ip") => Some(HashKey::ClientIp),
        Some(("header", name)) if fields::is_token(name) => Some(HashKey::Header(name.to_ascii_lowercase())),
        Some(("cookie", name)) if fields::is_token(name) => Some(HashKey::Cookie(name.to_owned())),
        _ => None,
    };
    if key.is_none() {
        let allowed = "allowed: \"ip\", \"header:NAME\", \"cookie:NAME\"";
        findings.refuse(&written.origin, &written.path, format!("found {:?}", written.text), allowed);
    }
    key
}

fn timeout_overrides(mut section: Section<'_>, findings: &mut Findings) -> TimeoutOverrides {
    let websocket_idle_ms = section.number_or_none("websocket_idle_ms", bounds::WEBSOCKET_IDLE_MS, findings);
    let mut deadline = |key| section.number_or_none(key, bounds::DEADLINE_MS, findings);
    let timeouts = TimeoutOverrides {
        connect_ms: deadline("connect_ms"),
        first_byte_ms: deadline("first_byte_ms"),
        body_progress_ms: deadline("body_progress_ms"),
        write_stall_ms: deadline("write_stall_ms"),
        websocket_idle_ms,
    };
    section.finish(findings);
    timeouts
}

fn limit_overrides(mut section: Section<'_>, findings: &mut Findings) -> LimitOverrides {
    let limits = LimitOverrides {
        body_bytes_max: section.number_or_none("body_bytes_max", bounds::BODY_BYTES_MAX, findings),
        message_bytes_max: section.number_or_none("message_bytes_max", bounds::MESSAGE_BYTES_MAX, findings),
    };
    section.finish(findings);
    limits
}
