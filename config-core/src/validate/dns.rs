//! `[dns]`.

use std::net::{IpAddr, SocketAddr};

use super::section::{Findings, Section};
use crate::model::Dns;

/// Most servers: each is waited for before the next is asked.
const SERVERS_MAX: usize = 8;
/// RFC 1035 4.2
const PORT: u16 = 53;

pub(crate) fn dns(mut section: Section<'_>, findings: &mut Findings) -> Dns {
    let mut servers: Vec<SocketAddr> = Vec::new();
    for written in section.texts("servers", findings).unwrap_or_default() {
        let text = written.text.trim();
        let alone = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT));
        let server = alone.or_else(|_| text.parse()).ok().filter(|server| server.port() != 0);
        let problem = match server {
            Some(server) if servers.contains(&server) => format!("{server} is listed twice"),
            Some(_) if servers.len() == SERVERS_MAX => format!("more than {SERVERS_MAX} servers"),
            Some(server) => {
                servers.push(server);
                continue;
            }
            None => format!("found {text:?}"),
        };
        let allowed = "addresses of name servers, such as \"10.0.0.2\" or \"[::1]:5353\"";
        findings.refuse(&written.origin, &written.path, problem, allowed);
    }
    section.finish(findings);
    Dns { servers }
}
