//! One listener: an address that clients connect to.

use std::fmt;
use std::net::SocketAddr;

/// A listener. Every core opens its own socket on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listener {
    /// Address and port; port 0 takes any free one.
    pub addr: SocketAddr,
    /// Clients speak TLS.
    pub tls: bool,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tls {
            f.write_str("tls:")?;
        }
        self.addr.fmt(f)
    }
}
