//! `[[route]]` and its backends. This version routes every request to one upstream.

use std::sync::Arc;

use super::limits::narrow;
use super::section::{Findings, Section};
use super::{bounds, target};
use crate::defaults;
use crate::ids::{self, RouteId, UpstreamId};
use crate::model::{
    Backend, HashKey, LimitOverrides, Route, Routes, Strategy, TimeoutOverrides, Upstream, VirtualHost,
};
use crate::origin::Origin;

/// Most backends of an upstream: choosing among them and watching each costs something on every core.
const BACKENDS_MAX: usize = 1_000;

const STRATEGIES: [(&str, Option<Strategy>); 6] = [
    ("round_robin", Some(Strategy::RoundRobin)),
    ("weighted", None),
    ("least_connections", None),
    ("random", None),
    ("ip_hash", None),
    ("least_latency", None),
];

const LATER_KEYS: [&str; 15] = [
    "paths",
    "auto_https",
    "req_active_length",
    "req_queue_length",
    "queue_timeout_ms",
    "auth_provider",
    "filters",
    "headers",
    "response_headers",
    "sticky",
    "timeouts",
    "limits",
    "sampling",
    "health",
    "config_headers",
];

/// The one route of the document; `None` after a mistake, which is then reported.
pub(crate) fn routes(root: &mut Section<'_>, findings: &mut Findings) -> Option<Routes> {
    let written = root.sections("route", findings);
    let Some(mut sections) = written.filter(|sections| !sections.is_empty()) else {
        let problem = "no target is given".to_owned();
        let allowed = "give --target URL, PROXY_TARGET_URL, or a [[route]] with backends";
        findings.refuse(&Origin::Default, "route", problem, allowed);
        return None;
    };
    let first = sections.remove(0);
    for extra in sections {
        let place = extra.place(findings);
        let problem = "more than one [[route]] is not available in this version".to_owned();
        findings.refuse(&place, &extra.path, problem, "keep one route, with vhost = \"*\"");
        // Its own mistakes are worth knowing all the same.
        route(extra, findings);
    }
    Routes::collect([route(first, findings)]).ok()
}

fn route(mut section: Section<'_>, findings: &mut Findings) -> Route {
    let id = given_id(&mut section, findings).unwrap_or_else(|| "default".to_owned());
    let vhost = vhost(&mut section, findings);
    let strategy = section.choice("strategy", &STRATEGIES, Strategy::RoundRobin, findings);
    let retries = section.number("retries", bounds::RETRIES, defaults::RETRIES, findings);
    let backends = backends(&mut section, findings);
    section.unavailable(&LATER_KEYS, findings);
    section.finish(findings);
    Route {
        // The route's own upstream shares its id: both are stable as long as the route is.
        upstream: Arc::new(Upstream {
            id: UpstreamId::new(&id),
            strategy,
            hash_key: HashKey::ClientIp,
            panic_threshold_percent: 0,
            backends,
        }),
        id: RouteId::new(&id),
        vhost,
        retries: narrow(retries),
        rules: Vec::new(),
        headers: Vec::new(),
        response_headers: Vec::new(),
        sticky: None,
        req_active_length: None,
        req_queue_length: 0,
        queue_timeout_ms: defaults::QUEUE_TIMEOUT_MS,
        timeouts: TimeoutOverrides::default(),
        limits: LimitOverrides::default(),
        health: None,
    }
}

fn given_id(section: &mut Section<'_>, findings: &mut Findings) -> Option<String> {
    let written = section.text("id", findings)?;
    if ids::is_valid(&written.text) {
        return Some(written.text);
    }
    let allowed = "1 to 128 letters, digits and \"-_.:@/#[]\"";
    findings.refuse(&written.origin, &written.path, format!("found {:?}", written.text), allowed);
    None
}

fn vhost(section: &mut Section<'_>, findings: &mut Findings) -> VirtualHost {
    let place = section.place(findings);
    match section.text("vhost", findings) {
        Some(written) if written.text == "*" => {}
        Some(written) => {
            let problem = format!("{:?}: routing by host is not available in this version", written.text);
            findings.refuse(&written.origin, &written.path, problem, "write \"*\"");
        }
        None if section.origin("vhost").is_some() => {}
        None => {
            let path = section.path_of("vhost");
            findings.refuse(&place, &path, "missing".to_owned(), "write vhost = \"*\"");
        }
    }
    VirtualHost::Any
}

fn backends(section: &mut Section<'_>, findings: &mut Findings) -> Vec<Backend> {
    let path = section.path_of("backends");
    let place = section.origin("backends").unwrap_or_else(|| section.place(findings));
    let sections = section.sections("backends", findings).unwrap_or_default();
    if sections.is_empty() {
        let allowed = "write backends = [{ url = \"http://…\" }]";
        findings.refuse(&place, &path, "no backends".to_owned(), allowed);
    }
    if sections.len() > BACKENDS_MAX {
        let problem = format!("{} backends", sections.len());
        let allowed = format!("allowed: up to {BACKENDS_MAX}, because each is watched by every core");
        findings.refuse(&place, &path, problem, allowed);
    }
    let mut backends: Vec<Backend> = Vec::new();
    for section in sections {
        if let Some(backend) = backend(section, &backends, findings) {
            backends.push(backend);
        }
    }
    backends
}

fn backend(mut section: Section<'_>, earlier: &[Backend], findings: &mut Findings) -> Option<Backend> {
    let place = section.place(findings);
    let given = given_id(&mut section, findings);
    let id_place = section.origin("id").unwrap_or_else(|| place.clone());
    let id_path = section.path_of("id");
    let target = target(&mut section, &place, findings);
    // A weight of 1 says nothing; any other asks for a strategy that is not there.
    let weight = section.number_or_none("weight", bounds::WEIGHT, findings);
    if let Some(weight) = weight.filter(|weight| *weight != 1) {
        let place = section.origin("weight").unwrap_or(place);
        let problem = format!("weight {weight}: weighted balancing is not available in this version");
        findings.refuse(&place, &section.path_of("weight"), problem, "write 1, or remove it");
    }
    section.unavailable(&["max_connections", "slow_start_ms"], findings);
    section.finish(findings);
    let (backend, taken) = (target?, |id: &str| earlier.iter().any(|other| other.id.as_str() == id));
    let id = match given {
        Some(id) if taken(&id) => {
            findings.refuse(&id_place, &id_path, format!("{id:?} is used twice"), "one backend per id");
            return None;
        }
        Some(id) => id,
        None => derived_id(backend.id.as_str(), taken),
    };
    Some(Backend { id: ids::BackendId::new(&id), ..backend })
}

/// The id of the URL, or that and a number where it is listed more than once (which gives it a larger share).
fn derived_id(of_url: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(of_url) {
        return of_url.to_owned();
    }
    let numbered = (2..).map(|number| format!("{of_url}#{number}"));
    numbered.into_iter().find(|id| !taken(id)).expect("there are more numbers than backends")
}

/// `url`, or `hostname` and `port`.
fn target(section: &mut Section<'_>, place: &Origin, findings: &mut Findings) -> Option<Backend> {
    let url = section.text("url", findings);
    let hostname = section.text("hostname", findings);
    let port = section.number_or_none("port", bounds::PORT, findings);
    match (url, hostname) {
        (Some(url), None) => {
            if port.is_some() {
                let path = section.path_of("port");
                let place = section.origin("port").unwrap_or(Origin::Default);
                findings.refuse(&place, &path, "beside url".to_owned(), "write the port into the url");
            }
            target::backend(&url, findings)
        }
        (None, Some(mut hostname)) => {
            let Some(port) = port else {
                if section.origin("port").is_none() {
                    let path = section.path_of("port");
                    findings.refuse(place, &path, "missing".to_owned(), "hostname needs a port");
                }
                return None;
            };
            let is_v6 = hostname.text.contains(':') && !hostname.text.starts_with('[');
            let host = if is_v6 { format!("[{}]", hostname.text) } else { hostname.text.clone() };
            if host.contains(['/', '@', '?', '#', '\\']) {
                let problem = format!("found {:?}", hostname.text);
                findings.refuse(
                    &hostname.origin,
                    &hostname.path,
                    problem,
                    "a name or an address is expected",
                );
                return None;
            }
            hostname.text = format!("http://{host}:{port}");
            target::backend(&hostname, findings)
        }
        (Some(_), Some(hostname)) => {
            let problem = "beside url".to_owned();
            findings.refuse(&hostname.origin, &hostname.path, problem, "write url, or hostname and port");
            None
        }
        (None, None) => {
            let written = section.origin("url").or_else(|| section.origin("hostname"));
            // A value that is written and refused has been reported.
            if written.is_none() {
                let path = section.path_of("url");
                findings.refuse(place, &path, "missing".to_owned(), "write url = \"http://…\"");
            }
            None
        }
    }
}
