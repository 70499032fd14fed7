//! Addresses as they are written: listeners and trusted networks.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::section::{Findings, Written};
use crate::model::Listener;

/// Most listeners: each costs a socket per core.
const LISTENERS_MAX: usize = 64;

/// The listeners of a list; reports bad ones and those that are there twice.
pub(crate) fn listeners(texts: &[Written], findings: &mut Findings) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    for written in texts {
        let Some(listener) = listener(written, findings) else { continue };
        // Port 0 is a different port each time.
        if listener.addr.port() != 0 && listeners.iter().any(|other| other.addr == listener.addr) {
            let problem = format!("{listener} is listed twice");
            findings.refuse(&written.origin, &written.path, problem, "one listener per address");
        }
        if listeners.len() == LISTENERS_MAX {
            let problem = format!("more than {LISTENERS_MAX} listeners");
            findings.refuse(&written.origin, &written.path, problem, "each costs a socket per core");
            break;
        }
        listeners.push(listener);
    }
    listeners
}

fn listener(written: &Written, findings: &mut Findings) -> Option<Listener> {
    let text = written.text.trim();
    let (tls, address) = match text.strip_prefix("tls:") {
        Some(address) => (true, address),
        None => (false, text),
    };
    if let Ok(addr) = address.parse::<SocketAddr>() {
        return Some(Listener { addr, tls });
    }
    let allowed = "\"ADDR:PORT\" with a literal address, such as \"0.0.0.0:8080\" or \"[::]:8080\", with \"tls:\" \
                   before it for TLS";
    findings.refuse(&written.origin, &written.path, format!("found {text:?}"), allowed);
    None
}

/// The networks of a list; a lone address is a network of one.
pub(crate) fn networks(texts: &[Written], findings: &mut Findings) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for written in texts {
        match parse_network(written.text.trim()) {
            Some(network) => networks.push(network),
            None => {
                let problem = format!("found {:?}", written.text);
                let allowed = "an address or a network, such as \"10.0.0.0/8\" or \"2001:db8::1\"";
                findings.refuse(&written.origin, &written.path, problem, allowed);
            }
        }
    }
    networks
}

fn parse_network(text: &str) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(IpNet::from(address));
    }
    text.parse::<IpNet>().ok().map(|network| network.trunc())
}
