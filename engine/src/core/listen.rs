//! Which sockets listen, and on which core each is accepted from. Called by `server.rs` while it prepares a start.
//!
//! A fresh start opens one socket per address and core. A process that takes over goes on with the sockets of the
//! process before it: their backlogs hold clients that nobody must lose. What must hold then: every inherited socket of
//! an address that is still configured has a core that accepts from it, for the kernel goes on spreading clients over
//! all of them; a core without one gets a new socket beside them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use config_core::model::Model;

use crate::error::Error;
use crate::io::{Bound, TcpOptions};

/// Listening sockets that come from another process or go to one: each address as it is configured, with its sockets.
pub type Sockets = Vec<(SocketAddr, Vec<OwnedFd>)>;

/// The sockets of one configured listener.
pub(crate) struct Listening {
    pub(crate) configured: SocketAddr,
    /// The same, with the port that was picked for port 0.
    pub(crate) address: SocketAddr,
    /// Clients speak TLS.
    pub(crate) tls: bool,
    /// At least one for each core. Those beyond are inherited, and share a core with others.
    pub(crate) sockets: Vec<Bound>,
}

/// One socket that a core is to accept from.
pub(crate) struct Socket {
    pub(crate) bound: Bound,
    /// Clients speak TLS.
    pub(crate) tls: bool,
}

/// Binds what is configured, going on with what is inherited. Nothing listens that did not before: see
/// [`begin`].
///
/// # Errors
/// With the address that cannot be had.
pub(crate) fn bind(
    model: &Model,
    cores: usize,
    mut inherited: Sockets,
    options: &TcpOptions,
) -> Result<Vec<Listening>, Error> {
    let known_ports: Vec<u16> = inherited.iter().flat_map(|(_, sockets)| ports(sockets)).collect();
    let mut all = Vec::new();
    for listener in &model.server.listen {
        let configured = listener.addr;
        let failed = |cause| Error::Listen { address: configured, cause };
        let sockets = match inherited.iter().position(|(address, _)| *address == configured) {
            Some(at) => adopt(inherited.remove(at).1),
            // A port that our predecessor serves at another address is no stranger's.
            None if known_ports.contains(&configured.port()) => Ok(Vec::new()),
            None => Bound::check_free(configured).map(|()| Vec::new()),
        };
        let mut sockets = sockets.map_err(failed)?;
        let mut address = sockets.first().map_or(configured, Bound::address);
        if !sockets.is_empty() {
            // Those have the options of their first owner until `begin`; whether they will take ours shows here.
            Bound::bind(SocketAddr::new(address.ip(), 0), options).map_err(failed)?;
        }
        while sockets.len() < cores {
            let bound = Bound::bind(address, options).map_err(failed)?;
            address = bound.address();
            sockets.push(bound);
        }
        all.push(Listening { configured, address, tls: listener.tls, sockets });
    }
    Ok(all)
}

fn ports(sockets: &[OwnedFd]) -> impl Iterator<Item = u16> {
    sockets
        .iter()
        .filter_map(|socket| Bound::inherit(socket.try_clone().ok()?).ok())
        .map(|bound| bound.address().port())
}

fn adopt(sockets: Vec<OwnedFd>) -> io::Result<Vec<Bound>> {
    sockets.into_iter().map(Bound::inherit).collect()
}

/// Has every socket listen, with the options that are configured now.
///
/// # Errors
/// As the kernel reports, with the address.
pub(crate) fn begin(all: &[Listening], backlog: u32, options: &TcpOptions) -> Result<(), Error> {
    for listening in all {
        let failed = |cause| Error::Listen { address: listening.address, cause };
        listening.sockets.iter().try_for_each(|socket| socket.begin(backlog, options)).map_err(failed)?;
    }
    Ok(())
}

/// A handle to each socket for the core that accepts from it: in turn, so that no socket is without a core.
///
/// # Errors
/// Out of descriptors.
pub(crate) fn spread(all: &[Listening], cores: usize) -> Result<VecDeque<Vec<Socket>>, Error> {
    let mut per_core: VecDeque<Vec<Socket>> = (0..cores).map(|_| Vec::new()).collect();
    for listening in all {
        for (at, socket) in listening.sockets.iter().enumerate() {
            let handle = socket.try_clone();
            let failed = |cause| Error::Listen { address: listening.address, cause };
            let bound = handle.map_err(failed)?;
            per_core[at % cores].push(Socket { bound, tls: listening.tls });
        }
    }
    Ok(per_core)
}
