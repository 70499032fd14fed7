//! `[dns]`: how names of backends are resolved.

use std::net::SocketAddr;

/// Settings of the resolver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Name servers; empty: those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
}
