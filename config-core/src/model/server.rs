//! `[server]` and `[shutdown]`: listeners, cores, admission, sockets, and the end of the process.

use std::fmt;

use ipnet::IpNet;

use super::Listener;

/// Settings of the process as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Addresses to accept clients on; never empty, no address twice.
    pub listen: Vec<Listener>,
    /// Client connections at once, over all cores; at the limit, accepting pauses.
    pub max_connections: u32,
    /// How long a client connection may stay idle between two requests.
    pub idle_timeout_ms: u64,
    /// Which processors get a core.
    pub cores: Cores,
    /// Which event loop runs.
    pub runtime: Runtime,
    /// Microseconds to spin on completions before sleeping.
    pub busy_poll_us: u32,
    /// Peers whose forwarding fields are believed and kept.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections from those peers begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Length of the accept queue of each listening socket (the kernel caps it at `net.core.somaxconn`).
    pub backlog: u32,
    /// Idle time before keepalive probes, whole seconds as milliseconds; `None` leaves keepalive off.
    pub tcp_keepalive_ms: Option<u64>,
    /// `TCP_USER_TIMEOUT`; `None` leaves the kernel's own.
    pub tcp_user_timeout_ms: Option<u32>,
    /// Name of the congestion control; `None` leaves the kernel's own, except on loopback addresses.
    pub congestion_control: Option<String>,
}

/// Which processors get a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// Every processor that the process may run on.
    Auto,
    /// The first so many of them; at least 1.
    Count(usize),
    /// Exactly these processors, ascending, without repeats, never empty.
    List(Vec<usize>),
}

impl fmt::Display for Cores {
    /// In the form that the configuration takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Count(count) => write!(f, "{count}"),
            // A lone number would read as a count.
            Self::List(list) if list.len() == 1 => write!(f, "{0}-{0}", list[0]),
            Self::List(list) => {
                let parts: Vec<String> = list.iter().map(usize::to_string).collect();
                f.write_str(&parts.join(","))
            }
        }
    }
}

/// Which event loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// io_uring where the kernel allows it, else epoll.
    Auto,
    /// io_uring, or refuse to start.
    Uring,
    /// epoll.
    Epoll,
}

impl Runtime {
    /// The spelling in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long exchanges and sessions may take to finish once stopping begins.
    pub timeout_ms: u64,
    /// How long connections without a request stay open once stopping begins, for requests that are on their way.
    pub idle_grace_ms: u64,
    /// WebSocket sessions to close per second while stopping; `None` closes them all at once.
    pub drain_per_second: Option<u32>,
    /// How long the process that is to take over may need to get ready.
    pub restart_timeout_ms: u64,
}
