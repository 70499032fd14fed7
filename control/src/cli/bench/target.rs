//! The URL of a bench.

use std::str::FromStr;

use url::Url;

/// What is spoken there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http://`
    Http,
    /// `ws://`
    WebSocket,
}

/// A server and what to ask it for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What is spoken there.
    pub scheme: Scheme,
    /// Name or address to resolve; an IPv6 address without brackets.
    pub host: String,
    /// The port, the scheme's own if none was written.
    pub port: u16,
    /// Value of `Host`.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// As it was written, for reports.
    pub url: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let url =
            Url::parse(text).map_err(|error| format!("{error}; write http://HOST:PORT/PATH or ws://…"))?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "ws" => Scheme::WebSocket,
            "https" | "wss" => {
                return Err(
                    "bench speaks no TLS in this version: measure the server's http:// or ws:// port"
                        .to_owned(),
                );
            }
            _ => return Err("write http://HOST:PORT/PATH or ws://…".to_owned()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("no user in the URL: give --header \"Authorization: …\"".to_owned());
        }
        let bracketed = url.host_str().filter(|host| !host.is_empty()).ok_or("the URL names no host")?;
        let host = bracketed.trim_start_matches('[').trim_end_matches(']').to_owned();
        let authority = match url.port() {
            Some(port) => format!("{bracketed}:{port}"),
            None => bracketed.to_owned(),
        };
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let port = url.port_or_known_default().ok_or("the URL names no port")?;
        Ok(Target { scheme, host, port, authority, path, url: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        // (URL, host, port, Host, path)
        let rows = [
            ("http://a.example", "a.example", 80, "a.example", "/"),
            ("http://a.example:80/x", "a.example", 80, "a.example", "/x"),
            ("http://127.0.0.1:8080/x/y?z=1#part", "127.0.0.1", 8080, "127.0.0.1:8080", "/x/y?z=1"),
            ("ws://[::1]:3000/ws", "::1", 3000, "[::1]:3000", "/ws"),
            ("WS://A.example/a b", "a.example", 80, "a.example", "/a%20b"),
        ];
        for (text, host, port, authority, path) in rows {
            let target: Target = text.parse().expect(text);
            assert_eq!((&*target.host, target.port), (host, port), "{text}");
            assert_eq!((&*target.authority, &*target.path), (authority, path), "{text}");
            assert_eq!(
                target.scheme == Scheme::WebSocket,
                text.to_ascii_lowercase().starts_with("ws"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_cannot_be_measured_is_refused_with_a_hint() {
        for (text, hint) in [
            ("", "http://"),
            ("a.example", "http://"),
            ("a.example:80/x", "http://"),
            ("ftp://a.example/", "http://"),
            ("http://", "http://"),
            ("https://a.example/", "TLS"),
            ("wss://a.example/", "TLS"),
            ("http://user@a.example/", "Authorization"),
            ("http://a.example:99999/", "http://"),
        ] {
            let problem = text.parse::<Target>().expect_err(text);
            assert!(problem.contains(hint), "{text}: {problem}");
        }
    }
}
