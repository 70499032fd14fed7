//! What the clients of the load speak over: a plain connection, or one behind TLS.

use std::net::SocketAddr;

use engine::io::{Lease, Pace, TcpStream};

use super::answer::Fault;
use super::client;
use super::tls::{Secure, Secured};

/// Where clients connect.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Plain(SocketAddr),
    Secure(Secured),
}

impl Place {
    /// Connects, and shakes hands where that is the way there.
    pub(crate) async fn connect(&self) -> Result<Wire, Fault> {
        match self {
            Place::Plain(address) => Ok(Wire::Plain(client::connect(*address).await?)),
            Place::Secure(target) => Ok(Wire::Secure(Box::new(Secure::connect(target).await?))),
        }
    }
}

/// A connection.
pub(crate) enum Wire {
    Plain(TcpStream),
    Secure(Box<Secure>),
}

impl Wire {
    /// Queues bytes for sending.
    pub(crate) fn send(&self, lease: Lease) -> Result<(), Fault> {
        match self {
            Wire::Plain(stream) => {
                stream.send(lease);
                Ok(())
            }
            Wire::Secure(secure) => secure.send(&lease),
        }
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn recv(&self) -> Result<Option<Lease>, Fault> {
        match self {
            Wire::Plain(stream) => Ok(stream.recv().await?),
            Wire::Secure(secure) => secure.recv().await,
        }
    }

    /// See [`TcpStream::set_pace`].
    pub(crate) fn set_pace(&self, pace: Pace) {
        match self {
            Wire::Plain(stream) => stream.set_pace(pace),
            Wire::Secure(secure) => secure.set_pace(pace),
        }
    }
}
