//! The kinds of work that a proxy can be put to, and the names that the command line and reports give them.

use std::fmt;
use std::str::FromStr;

/// Connections that share the transfer of long bodies.
const BODY_CONNECTIONS: usize = 16;
/// Connections at once where each request has its own.
const CONNECT_AT_ONCE: usize = 64;
/// Connections that an open loop may use.
const LATENCY_CONNECTIONS: usize = 64;
/// Clients that shake hands at once.
const HANDSHAKES_AT_ONCE: usize = 16;
/// Idle sessions unless the name says otherwise.
const IDLE_SESSIONS: usize = 4000;
/// 2,000 that rest each second cost nginx a quarter less per echo than without a rest (decision 0041).
const RESTING_CLIENTS_MAX: usize = 512;
/// The last of longer ones take too long to come before a rest.
const RESTING_BODY_MAX: usize = 64 << 10;
/// The small answer that most kinds of work ask for.
const SMALL_BODY_BYTES: usize = 128;

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// `http64`: closed loop, kept connections, small answers.
    Http {
        /// Connections, each with one request at a time.
        connections: usize,
    },
    /// `body64k`, `body1m`: closed loop, kept connections, long answers.
    Body {
        /// Length of each body.
        bytes: usize,
    },
    /// `connect`: a new connection for each request.
    Connect {
        /// Connections open at any time.
        at_once: usize,
    },
    /// `ws64`: closed loop of echoes of 64 bytes.
    WebSocket {
        /// Sessions, each with one message at a time.
        sessions: usize,
    },
    /// `idle`: memory of sessions that stay open.
    Idle {
        /// Sessions that rest.
        sessions: usize,
    },
    /// `latency`: open loop at a fixed rate.
    Latency {
        /// Connections that due requests may use.
        connections: usize,
    },
    /// `https64`: the same as `http64` over TLS.
    Https {
        /// Connections, each with one request at a time.
        connections: usize,
    },
    /// `httpsbody1m`: the same as `body1m` over TLS.
    HttpsBody {
        /// Length of each body.
        bytes: usize,
    },
    /// `wssidle`: the same as `idle` over TLS.
    SecureIdle {
        /// Sessions that rest.
        sessions: usize,
    },
    /// `handshake`: connect, full handshake, close.
    Handshake {
        /// Connections open at any time.
        at_once: usize,
    },
    /// `resumption`: the same with the ticket of the connection before.
    Resumption {
        /// Connections open at any time.
        at_once: usize,
    },
    /// `storm`: plain requests at a fixed, low rate, while others shake hands as fast as they can.
    Storm {
        /// Connections that shake hands at any time.
        at_once: usize,
    },
}

impl Work {
    /// Whether its clients speak TLS, or some of them.
    pub fn needs_tls(self) -> bool {
        match self {
            Work::Https { .. }
            | Work::HttpsBody { .. }
            | Work::SecureIdle { .. }
            | Work::Handshake { .. }
            | Work::Resumption { .. }
            | Work::Storm { .. } => true,
            Work::Http { .. }
            | Work::Body { .. }
            | Work::Connect { .. }
            | Work::WebSocket { .. }
            | Work::Idle { .. }
            | Work::Latency { .. } => false,
        }
    }

    /// Whether the clients can rest between two requests without the work becoming another one: their connections are
    /// kept, an answer takes little time, and so many do not ask at once after a rest that each waits long for it.
    pub fn can_rest(self) -> bool {
        let is_kept = matches!(
            self,
            Work::Http { .. } | Work::Https { .. } | Work::WebSocket { .. } | Work::Body { .. }
        );
        is_kept && self.body_len() <= RESTING_BODY_MAX && self.clients() <= RESTING_CLIENTS_MAX
    }

    /// Body length of the answers asked for; 0 where there are none.
    pub fn body_len(self) -> usize {
        match self {
            Work::Http { .. }
            | Work::Https { .. }
            | Work::Connect { .. }
            | Work::Latency { .. }
            | Work::Storm { .. } => SMALL_BODY_BYTES,
            Work::Body { bytes } | Work::HttpsBody { bytes } => bytes,
            Work::WebSocket { .. }
            | Work::Idle { .. }
            | Work::SecureIdle { .. }
            | Work::Handshake { .. }
            | Work::Resumption { .. } => 0,
        }
    }

    /// Clients at once.
    pub fn clients(self) -> usize {
        match self {
            Work::Http { connections } | Work::Https { connections } | Work::Latency { connections } => {
                connections
            }
            Work::Body { .. } | Work::HttpsBody { .. } => BODY_CONNECTIONS,
            Work::Connect { at_once }
            | Work::Handshake { at_once }
            | Work::Resumption { at_once }
            | Work::Storm { at_once } => at_once,
            Work::WebSocket { sessions } | Work::Idle { sessions } | Work::SecureIdle { sessions } => {
                sessions
            }
        }
    }

    /// What the work does, for a reader of a report.
    pub fn title(self) -> String {
        match self {
            Work::Http { connections } => format!("keep-alive GET, 128 B, {connections} connections"),
            Work::Body { bytes } => format!("body of {}, {BODY_CONNECTIONS} connections", size_name(bytes)),
            Work::Connect { at_once } => format!("new connection per request, {at_once} at once"),
            Work::WebSocket { sessions } => format!("WebSocket echo, 64 B, {sessions} sessions"),
            Work::Idle { sessions } => format!("idle WebSocket session, of {sessions}"),
            Work::Latency { connections } => format!("open loop, 128 B, {connections} connections"),
            Work::Https { connections } => format!("HTTPS keep-alive GET, 128 B, {connections} connections"),
            Work::HttpsBody { bytes } => {
                format!("body of {} over TLS, {BODY_CONNECTIONS} connections", size_name(bytes))
            }
            Work::SecureIdle { sessions } => format!("idle WebSocket session over TLS, of {sessions}"),
            Work::Handshake { at_once } => format!("full TLS 1.3 handshake, {at_once} at once"),
            Work::Resumption { at_once } => format!("resumed TLS 1.3 handshake, {at_once} at once"),
            Work::Storm { at_once } => format!("plain GET, 100/s, while {at_once} at once shake hands"),
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Http { connections } => write!(f, "http{connections}"),
            Work::Body { bytes } => write!(f, "body{}", size_name(*bytes)),
            Work::Connect { at_once: CONNECT_AT_ONCE } => write!(f, "connect"),
            Work::Connect { at_once } => write!(f, "connect{at_once}"),
            Work::WebSocket { sessions } => write!(f, "ws{sessions}"),
            Work::Idle { sessions: IDLE_SESSIONS } => write!(f, "idle"),
            Work::Idle { sessions } => write!(f, "idle{sessions}"),
            Work::Latency { connections: LATENCY_CONNECTIONS } => write!(f, "latency"),
            Work::Latency { connections } => write!(f, "latency{connections}"),
            Work::Https { connections } => write!(f, "https{connections}"),
            Work::HttpsBody { bytes } => write!(f, "httpsbody{}", size_name(*bytes)),
            Work::SecureIdle { sessions: IDLE_SESSIONS } => write!(f, "wssidle"),
            Work::SecureIdle { sessions } => write!(f, "wssidle{sessions}"),
            Work::Handshake { at_once: HANDSHAKES_AT_ONCE } => write!(f, "handshake"),
            Work::Handshake { at_once } => write!(f, "handshake{at_once}"),
            Work::Resumption { at_once: HANDSHAKES_AT_ONCE } => write!(f, "resumption"),
            Work::Resumption { at_once } => write!(f, "resumption{at_once}"),
            Work::Storm { at_once: HANDSHAKES_AT_ONCE } => write!(f, "storm"),
            Work::Storm { at_once } => write!(f, "storm{at_once}"),
        }
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(name: &str) -> Result<Work, String> {
        let digits_at = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
        let (kind, rest) = name.split_at(digits_at);
        let count = |default: Option<usize>| match (rest, default) {
            ("", Some(default)) => Ok(default),
            _ => {
                rest.parse().ok().filter(|n| (1..=9000).contains(n)).ok_or("a count from 1 to 9000 is needed")
            }
        };
        let size = || size_of(rest).ok_or("a size such as 64k or 1m is needed");
        let work = match kind {
            "https" => count(None).map(|connections| Work::Https { connections }),
            "wssidle" => count(Some(IDLE_SESSIONS)).map(|sessions| Work::SecureIdle { sessions }),
            "handshake" => count(Some(HANDSHAKES_AT_ONCE)).map(|at_once| Work::Handshake { at_once }),
            "resumption" => count(Some(HANDSHAKES_AT_ONCE)).map(|at_once| Work::Resumption { at_once }),
            "storm" => count(Some(HANDSHAKES_AT_ONCE)).map(|at_once| Work::Storm { at_once }),
            "http" => count(None).map(|connections| Work::Http { connections }),
            "ws" => count(None).map(|sessions| Work::WebSocket { sessions }),
            "idle" => count(Some(IDLE_SESSIONS)).map(|sessions| Work::Idle { sessions }),
            "connect" => count(Some(CONNECT_AT_ONCE)).map(|at_once| Work::Connect { at_once }),
            "latency" => count(Some(LATENCY_CONNECTIONS)).map(|connections| Work::Latency { connections }),
            "body" => size().map(|bytes| Work::Body { bytes }),
            "httpsbody" => size().map(|bytes| Work::HttpsBody { bytes }),
            _ => Err(
                "the kinds are http<N>, ws<N>, idle, connect, latency, body<SIZE>, https<N>, httpsbody<SIZE>, \
                 wssidle, handshake, resumption and storm",
            ),
        };
        work.map_err(|hint| format!("work {name:?}: {hint}"))
    }
}

/// `64k`, `1m` or plain bytes, up to 1 GiB.
fn size_of(name: &str) -> Option<usize> {
    let (digits, unit) = match name.strip_suffix('k') {
        Some(digits) => (digits, 1 << 10),
        None => name.strip_suffix('m').map_or((name, 1), |digits| (digits, 1 << 20)),
    };
    let size = digits.parse::<usize>().ok()?.checked_mul(unit)?;
    (1..=1 << 30).contains(&size).then_some(size)
}

fn size_name(bytes: usize) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 20) => format!("{}m", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}k", bytes >> 10),
        _ => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crowds_long_answers_and_new_connections_cannot_rest() {
        let can_rest = |name: &str| name.parse::<Work>().expect("the name is right").can_rest();
        for name in ["http64", "http512", "ws64", "https64", "body64k"] {
            assert!(can_rest(name), "{name}");
        }
        for name in
            ["http2000", "ws2000", "body1m", "httpsbody64k", "connect", "handshake", "latency", "idle"]
        {
            assert!(!can_rest(name), "{name}");
        }
    }

    #[test]
    fn names_go_there_and_back() {
        for name in [
            "http64",
            "http2000",
            "ws64",
            "idle",
            "idle500",
            "connect",
            "connect8",
            "latency",
            "body64k",
            "body16m",
            "body100",
            "https64",
            "httpsbody1m",
            "wssidle",
            "handshake",
            "handshake4",
            "resumption",
            "storm",
        ] {
            let work: Work = name.parse().expect("the name is right");
            assert_eq!(work.to_string(), name);
        }
    }

    #[test]
    fn wrong_names_are_refused() {
        for name in ["", "http", "http0", "http99999", "ws", "body", "body0k", "body64q", "mail", "64"] {
            assert!(name.parse::<Work>().is_err(), "{name}");
        }
    }
}
