//! The backends of a route.

use std::collections::HashSet;

use super::limits::narrow;
use super::route::given_id;
use super::section::{Findings, Section};
use super::{bounds, target};
use crate::ids::BackendId;
use crate::model::Backend;
use crate::origin::Origin;

/// Most backends of an upstream: choosing among them and watching each costs something on every core.
const BACKENDS_MAX: usize = 1_000;

/// The backends of a route.
pub(crate) fn backends(section: &mut Section<'_>, findings: &mut Findings) -> Vec<Backend> {
    let path = section.path_of("backends");
    let place = section.origin("backends").unwrap_or_else(|| section.place().clone());
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
    let mut taken = HashSet::new();
    for section in sections {
        if let Some(backend) = backend(section, &taken, findings) {
            taken.insert(backend.id.clone());
            backends.push(backend);
        }
    }
    backends
}

fn backend(mut section: Section<'_>, taken: &HashSet<BackendId>, findings: &mut Findings) -> Option<Backend> {
    let place = section.place().clone();
    let given = given_id(&mut section, findings);
    let id_place = section.origin("id").unwrap_or_else(|| place.clone());
    let id_path = section.path_of("id");
    let target = target(&mut section, &place, findings);
    let weight = narrow(section.number("weight", bounds::WEIGHT, 1, findings));
    let max_connections = section.number_or_none("max_connections", bounds::BACKEND_CONNECTIONS, findings);
    let slow_start_ms = section.number("slow_start_ms", bounds::SLOW_START_MS, 0, findings);
    section.finish(findings);
    let (backend, is_taken) = (target?, |id: &str| taken.contains(&BackendId::new(id)));
    let id = match given {
        Some(id) if is_taken(&id) => {
            findings.refuse(&id_place, &id_path, format!("{id:?} is used twice"), "one backend per id");
            return None;
        }
        Some(id) => id,
        None => derived_id(backend.id.as_str(), is_taken),
    };
    Some(Backend {
        id: BackendId::new(&id),
        weight: u16::try_from(weight).expect("the bounds of the key fit 16 bits"),
        max_connections: max_connections.map(narrow),
        slow_start_ms,
        ..backend
    })
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
