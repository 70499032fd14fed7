//! `[server]`, `[pool]` and `[shutdown]`.

use super::limits::narrow;
use super::section::{Findings, Section, Written};
use super::{address, bounds, cores};
use crate::defaults;
use crate::model::{Cores, Listener, Pool, Runtime, Server, Shutdown};

const RUNTIMES: [(&str, Option<Runtime>); 3] =
    [("auto", Some(Runtime::Auto)), ("uring", Some(Runtime::Uring)), ("epoll", Some(Runtime::Epoll))];

/// Longest name of a congestion control: `TCP_CA_NAME_MAX` less its final NUL.
const CONGESTION_CONTROL_BYTES_MAX: usize = 15;

pub(crate) fn server(mut section: Section<'_>, findings: &mut Findings) -> Server {
    let listen = listen(&mut section, findings);
    let cores = section.text_or_number("cores", findings).map_or(Cores::Auto, |w| cores::cores(&w, findings));
    let trusted = section.texts("trusted_proxies", findings).unwrap_or_default();
    let server = Server {
        listen,
        cores,
        trusted_proxies: address::networks(&trusted, findings),
        max_connections: narrow(section.number(
            "max_connections",
            bounds::MAX_CONNECTIONS,
            defaults::MAX_CONNECTIONS,
            findings,
        )),
        idle_timeout_ms: section.number(
            "idle_timeout_ms",
            bounds::DEADLINE_MS,
            defaults::IDLE_TIMEOUT_MS,
            findings,
        ),
        runtime: section.choice("runtime", &RUNTIMES, Runtime::Auto, findings),
        busy_poll_us: narrow(section.number(
            "busy_poll_us",
            bounds::BUSY_POLL_US,
            defaults::BUSY_POLL_US,
            findings,
        )),
        proxy_protocol: section.boolean("proxy_protocol", false, findings),
        backlog: narrow(section.number("backlog", bounds::BACKLOG, defaults::BACKLOG, findings)),
        tcp_keepalive_ms: section.number_or_none("tcp_keepalive_ms", bounds::TCP_KEEPALIVE_MS, findings),
        tcp_user_timeout_ms: section
            .number_or_none("tcp_user_timeout_ms", bounds::TCP_USER_TIMEOUT_MS, findings)
            .map(narrow),
        congestion_control: congestion_control(&mut section, findings),
    };
    section.unavailable(&["config_headers"], findings);
    section.finish(findings);
    server
}

fn listen(section: &mut Section<'_>, findings: &mut Findings) -> Vec<Listener> {
    let path = section.path_of("listen");
    let place = section.origin("listen");
    let texts = section.texts("listen", findings).unwrap_or_else(|| {
        let (text, origin) = (defaults::LISTEN.to_owned(), crate::origin::Origin::Default);
        vec![Written { text, origin, path: path.clone() }]
    });
    if let (true, Some(place)) = (texts.is_empty(), place) {
        findings.refuse(&place, &path, "found an empty list".to_owned(), "at least one address is needed");
    }
    address::listeners(&texts, findings)
}

fn congestion_control(section: &mut Section<'_>, findings: &mut Findings) -> Option<String> {
    let written = section.text("congestion_control", findings)?;
    let name = written.text.trim();
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if is_name && name.len() <= CONGESTION_CONTROL_BYTES_MAX {
        return Some(name.to_owned());
    }
    let allowed = "a name such as \"cubic\" or \"bbr\", of up to 15 letters, digits, \"-\" and \"_\"";
    findings.refuse(&written.origin, &written.path, format!("found {:?}", written.text), allowed);
    None
}

pub(crate) fn pool(mut section: Section<'_>, findings: &mut Findings) -> Pool {
    let mut size = |key, default| narrow(section.number(key, bounds::POOL_SIZE, default, findings));
    let (min_size, max_size) =
        (size("min_size", defaults::POOL_MIN_SIZE), size("max_size", defaults::POOL_MAX_SIZE));
    let idle_timeout_ms =
        section.number("idle_timeout_ms", bounds::DEADLINE_MS, defaults::POOL_IDLE_TIMEOUT_MS, findings);
    if min_size > max_size {
        let place = section.origin("min_size").or_else(|| section.origin("max_size"));
        let place = place.unwrap_or(crate::origin::Origin::Default);
        let problem = format!("min_size {min_size} is above max_size {max_size}");
        let path = section.path_of("min_size");
        findings.refuse(&place, &path, problem, "what must stay open must also be allowed");
    }
    section.finish(findings);
    Pool { min_size, max_size, idle_timeout_ms }
}

pub(crate) fn shutdown(mut section: Section<'_>, findings: &mut Findings) -> Shutdown {
    let shutdown = Shutdown {
        timeout_ms: section.number(
            "timeout_ms",
            bounds::SHUTDOWN_TIMEOUT_MS,
            defaults::SHUTDOWN_TIMEOUT_MS,
            findings,
        ),
        idle_grace_ms: section.number(
            "idle_grace_ms",
            bounds::IDLE_GRACE_MS,
            defaults::SHUTDOWN_IDLE_GRACE_MS,
            findings,
        ),
        drain_per_second: section
            .number_or_none("drain_per_second", bounds::DRAIN_PER_SECOND, findings)
            .map(narrow),
        restart_timeout_ms: section.number(
            "restart_timeout_ms",
            bounds::RESTART_TIMEOUT_MS,
            defaults::RESTART_TIMEOUT_MS,
            findings,
        ),
    };
    section.finish(findings);
    shutdown
}
