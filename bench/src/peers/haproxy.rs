//! HAProxy as a peer: one thread, origin connections always reused, no log.
//!
//! Only `Proxy::start` calls it. Splicing stays off: on loopback it was measured to cost as much or more.

use std::fs;
use std::io;

use super::Setup;
use super::certificate::pair_in;
use crate::machine::first_line;

/// Writes the configuration and gives the command line; `-db` keeps it in the foreground, as one process.
pub(crate) fn command(setup: Setup<'_>) -> io::Result<Vec<String>> {
    let path = setup.folder.join("haproxy.cfg");
    fs::write(&path, configuration(setup))?;
    Ok(vec!["haproxy".to_owned(), "-db".to_owned(), "-f".to_owned(), path.display().to_string()])
}

/// Name and version.
pub(crate) fn version() -> String {
    let line = first_line("haproxy", &["-v"]);
    let version = line.split_ascii_whitespace().nth(2).unwrap_or("unknown");
    format!("haproxy/{version}")
}

fn configuration(setup: Setup<'_>) -> String {
    let Setup { origin, listen, folder, .. } = setup;
    let secure = setup.secure.map_or_else(String::new, |(address, _)| {
        format!("    bind {address} ssl crt {} alpn http/1.1 backlog 4096\n", pair_in(folder).display())
    });
    format!(
        r#"global
    nbthread 1
    maxconn 9500
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout tunnel 600s
    timeout http-keep-alive 600s
    timeout http-request 10s
    http-reuse always
    option http-ignore-probes
frontend clients
    bind {listen} backlog 4096
{secure}    maxconn 9500
    option forwardfor
    unique-id-format %[uuid()]
    http-request set-header X-Real-IP %[src]
    http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header Via "1.1 haproxy"
    http-request set-header X-Request-Id %[unique-id]
    default_backend origin
backend origin
    server origin {origin} pool-max-conn -1 pool-purge-delay 600s
"#
    )
}
