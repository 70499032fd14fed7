//! The URL of a backend: `http://host[:port][/path]`, `https://…`, `ws://…`, `wss://…`, or `unix:/path/of/socket`.

use std::path::PathBuf;
use std::sync::Arc;

use url::{Host, Url};

use super::section::{Findings, Written};
use crate::ids::{self, BackendId};
use crate::model::{Backend, Location, Scheme};

/// Longest path of a unix socket: `sun_path` of `sockaddr_un` less its final NUL.
const SOCKET_PATH_BYTES_MAX: usize = 107;

const ALLOWED: &str =
    "a URL such as \"http://10.0.0.1:3000\", \"ws://name:8080/path\" or \"unix:/run/app.sock\"";

/// The backend that a URL names, with an id derived from the URL. Reports what is wrong with it and answers `None`.
pub(crate) fn backend(written: &Written, findings: &mut Findings) -> Option<Backend> {
    match parse(written.text.trim()) {
        Ok(backend) => Some(backend),
        Err(problem) => {
            let problem = format!("found {:?}: {problem}", without_password(&written.text));
            findings.refuse(&written.origin, &written.path, problem, format!("allowed: {ALLOWED}"));
            None
        }
    }
}

fn parse(text: &str) -> Result<Backend, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path);
    }
    if !text.contains("://") {
        return Err("not a URL with a scheme".to_owned());
    }
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let scheme = match url.scheme() {
        "http" => Scheme::Http,
        "ws" => Scheme::Ws,
        "https" => Scheme::Https,
        "wss" => Scheme::Wss,
        other => return Err(format!("unknown scheme {other:?}")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user name or password has no place here".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a query or fragment has no place here".to_owned());
    }
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return Err("no host".to_owned()),
    };
    let port = url.port_or_known_default().filter(|port| *port != 0).ok_or("port 0 cannot be reached")?;
    let root_path = url.path().to_owned();
    let path_prefix = root_path.trim_end_matches('/').to_owned();
    let location = Location::Tcp { host, port };
    let scheme_name = url.scheme();
    let shown_path = if root_path == "/" { "" } else { &root_path };
    let url = format!("{scheme_name}://{location}{shown_path}");
    Ok(Backend { path_prefix, root_path, ..with_defaults(url, scheme, location) })
}

/// A backend of which its canonical URL says no more.
fn with_defaults(url: String, scheme: Scheme, location: Location) -> Backend {
    Backend {
        id: BackendId::new(&ids::derive(&url)),
        url,
        scheme,
        location,
        path_prefix: String::new(),
        root_path: "/".to_owned(),
        weight: 1,
        max_connections: None,
        send_proxy: None,
        tls: matches!(scheme, Scheme::Https | Scheme::Wss).then(Arc::default),
        slow_start_ms: 0,
    }
}

/// The URL as it may stand in a log: whatever is before an `@` may be a password.
fn without_password(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => text.to_owned(),
    }
}

/// `unix:/path`, and the spelling with an empty authority, `unix:///path`.
fn unix(path: &str) -> Result<Backend, String> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') || path.ends_with('/') {
        return Err("the path of a socket is absolute".to_owned());
    }
    if path.len() > SOCKET_PATH_BYTES_MAX {
        return Err(format!("the path of a socket has at most {SOCKET_PATH_BYTES_MAX} bytes"));
    }
    if path.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("a control character in the path".to_owned());
    }
    Ok(with_defaults(format!("unix:{path}"), Scheme::Http, Location::Unix { path: PathBuf::from(path) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_to_connect_and_what_to_prefix() {
        let rows = [
            // URL, canonical, connect to, prefix, root
            ("http://localhost:8080", "http://localhost:8080", "localhost:8080", "", "/"),
            ("http://A.Example/", "http://a.example:80", "a.example:80", "", "/"),
            ("ws://localhost:8080/ws", "ws://localhost:8080/ws", "localhost:8080", "/ws", "/ws"),
            ("http://h:1/api/", "http://h:1/api/", "h:1", "/api", "/api/"),
            ("http://[::1]:3000", "http://[::1]:3000", "[::1]:3000", "", "/"),
            ("http://10.0.0.1:3000/a/../b", "http://10.0.0.1:3000/b", "10.0.0.1:3000", "/b", "/b"),
            (
                "http://b\u{fc}cher.example",
                "http://xn--bcher-kva.example:80",
                "xn--bcher-kva.example:80",
                "",
                "/",
            ),
            ("unix:/run/a.sock", "unix:/run/a.sock", "unix:/run/a.sock", "", "/"),
            ("unix:///run/a.sock", "unix:/run/a.sock", "unix:/run/a.sock", "", "/"),
        ];
        for (text, url, location, prefix, root) in rows {
            let backend = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert_eq!(backend.url, url, "{text}");
            assert_eq!(backend.id.as_str(), url, "{text}");
            assert_eq!(backend.location.to_string(), location, "{text}");
            assert_eq!(backend.path_prefix, prefix, "{text}");
            assert_eq!(backend.root_path, root, "{text}");
            assert_eq!(parse(&backend.url).as_ref(), Ok(&backend), "the canonical URL means the same");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let origin = crate::origin::Origin::Program;
        for text in ["http://me:secret@a:1", "http://me:secret@[", "ftp://secret@a", "me:secret@a"] {
            let mut findings = Findings::default();
            let written = Written { text: text.to_owned(), origin: origin.clone(), path: "url".to_owned() };
            assert_eq!(backend(&written, &mut findings), None);
            assert!(!findings.errors[0].to_string().contains("secret"), "{}", findings.errors[0]);
        }
    }

    #[test]
    fn what_cannot_be_a_backend_is_refused() {
        let long = format!("unix:/{}", "a".repeat(SOCKET_PATH_BYTES_MAX));
        let rows = [
            ("", "scheme"),
            ("localhost:8080", "scheme"),
            ("http:localhost", "scheme"),
            ("ftp://a:1", "unknown scheme"),
            ("http://user@a:1", "user name"),
            ("http://:secret@a:1", "user name"),
            ("http://a:1/?x=1", "query"),
            ("http://a:1/#x", "fragment"),
            ("http://a:0", "port 0"),
            ("http://a:65536", "port"),
            ("http://", "host"),
            ("http://a b", "domain"),
            ("unix:run/a.sock", "absolute"),
            ("unix:/run/", "absolute"),
            ("unix:/run/\n", "control"),
            (long.as_str(), "107"),
        ];
        for (text, part) in rows {
            let problem = parse(text).expect_err(text);
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }
}
