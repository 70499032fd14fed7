//! The virtual host of a route: a name, an address, a wildcard, or `*`.

use std::sync::Arc;

use url::Host;

use super::section::{Findings, Written};
use crate::model::VirtualHost;

/// Longest name, in ASCII form without the final dot, and longest label (RFC 1035 2.3.4).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

const ALLOWED: &str = "allowed: a name or an address such as \"api.example.com\", \"*.example.com\" for one or more labels more, or \"*\"";

/// The virtual host that is written. Reports what is wrong with it and answers `None`.
pub(crate) fn virtual_host(written: &Written, findings: &mut Findings) -> Option<VirtualHost> {
    match parse(written.text.trim()) {
        Ok(vhost) => Some(vhost),
        Err(problem) => {
            let problem = format!("found {:?}: {problem}", written.text);
            findings.refuse(&written.origin, &written.path, problem, ALLOWED);
            None
        }
    }
}

fn parse(text: &str) -> Result<VirtualHost, String> {
    if text == "*" {
        return Ok(VirtualHost::Any);
    }
    let Some(suffix) = text.strip_prefix("*.") else {
        return Ok(VirtualHost::Exact(name_or_address(text)?));
    };
    let suffix = name_or_address(suffix)?;
    if suffix.parse::<std::net::IpAddr>().is_ok() {
        return Err("an address has no names below it".to_owned());
    }
    Ok(VirtualHost::Wildcard(suffix))
}

/// In lower-case ASCII, an IPv6 address without its brackets.
fn name_or_address(text: &str) -> Result<Arc<str>, String> {
    if text.contains('*') {
        return Err("\"*\" stands alone, or for the labels before a name".to_owned());
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<std::net::Ipv6Addr>() {
        return Ok(address.to_string().into());
    }
    if text.contains("://") {
        return Err("a host is expected, and not a URL".to_owned());
    }
    if text.contains(':') {
        return Err("a port has no place here: a route serves its host on every port".to_owned());
    }
    // What `Host::parse` would decode.
    if text.contains('%') {
        return Err("a percent sign has no place in a name".to_owned());
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    match Host::parse(text).map_err(|error| error.to_string())? {
        // WHATWG reads `127.1` and `0x7f000001` as addresses. No client sends them as such.
        Host::Ipv4(address) if address.to_string() != text => Err(format!("write {address}")),
        Host::Ipv4(address) => Ok(address.to_string().into()),
        Host::Ipv6(address) => Ok(address.to_string().into()),
        Host::Domain(name) => check_name(&name).map(|()| name.into()),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if let Some(letter) = name.chars().find(|letter| !is_allowed(*letter)) {
        return Err(format!("{letter:?} has no place in a name"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("longer than {NAME_BYTES_MAX} bytes"));
    }
    if name.split('.').any(str::is_empty) {
        return Err("an empty label".to_owned());
    }
    if name.split('.').any(|label| label.len() > LABEL_BYTES_MAX) {
        return Err(format!("a label longer than {LABEL_BYTES_MAX} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_host_is_the_same_host() {
        let rows = [
            ("*", "*"),
            ("a", "a"),
            ("API.Example.COM", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("*.Example.com.", "*.example.com"),
            ("B\u{fc}cher.example", "xn--bcher-kva.example"),
            ("*.b\u{fc}cher.example", "*.xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("a_b.example", "a_b.example"),
            ("10.0.0.1", "10.0.0.1"),
            ("[::1]", "::1"),
            ("0:0::1", "::1"),
        ];
        for (text, expected) in rows {
            let vhost = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert_eq!(vhost.to_string(), expected, "{text}");
            assert_eq!(parse(expected), Ok(vhost), "{expected} is stable");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let (long, label) = (["abcdefgh"; 32].join("."), "a".repeat(64));
        let rows = [
            ("", "empty"),
            (".", "empty"),
            ("a.example:80", "port"),
            ("[::1]:80", "port"),
            ("http://a.example", "URL"),
            ("a.*.example", "\"*\""),
            ("*a.example", "\"*\""),
            ("*.*", "\"*\""),
            ("**", "\"*\""),
            ("*.", "empty"),
            ("*.10.0.0.1", "no names below"),
            ("a..b", "empty label"),
            (".a", "empty label"),
            ("a b", "domain"),
            ("a/b", "domain"),
            ("a%41", "percent"),
            ("a,b", "','"),
            ("127.1", "write 127.0.0.1"),
            ("0x7f000001", "write 127.0.0.1"),
            (long.as_str(), "longer than 253"),
            (label.as_str(), "label longer"),
        ];
        for (text, part) in rows {
            let problem = parse(text).expect_err(text);
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }
}
