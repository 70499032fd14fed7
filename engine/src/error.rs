//! What goes wrong outside of a peer's syntax: start-up, and the network in the middle of an exchange.

use std::fmt;
use std::io;

/// Why the data plane could not start. Text for the operator.
#[derive(Debug)]
pub enum Error {
    /// A listener's address could not be bound.
    Listen {
        /// The address as configured.
        address: std::net::SocketAddr,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The ring, a thread or a core could not be had.
    Core {
        /// Index of the processor.
        core: usize,
        /// What the kernel said.
        cause: io::Error,
    },
    /// A thread besides the cores could not be had.
    Thread {
        /// Its name.
        name: &'static str,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The configuration names something that this machine does not have.
    Configuration(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Listen { address, cause } => write!(f, "cannot listen on {address}: {cause}"),
            Error::Core { core, cause } => write!(f, "cannot start core {core}: {cause}"),
            Error::Thread { name, cause } => write!(f, "cannot start the thread {name}: {cause}"),
            Error::Configuration(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

/// Whose doing a failed exchange was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Client,
    Origin,
}

/// Why an exchange failed: who, what, and whether another attempt is safe as far as the network can tell.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) side: Side,
    pub(crate) cause: Cause,
    /// Nothing of the request can have been acted upon.
    pub(crate) retry_safe: bool,
}

#[derive(Debug)]
pub(crate) enum Cause {
    /// The socket failed.
    Network(io::Error),
    /// The backend did not accept a connection in time.
    ConnectTimeout,
    /// No first byte of an answer in time.
    FirstByteTimeout,
    /// Neither body moved in time.
    BodyStalled,
    /// The peer did not take bytes in time.
    WriteStalled,
    /// The client's bytes broke the rules.
    Request(protocol::RequestError),
    /// The origin's bytes broke the rules.
    Response(protocol::ResponseError),
    /// The origin closed a connection before any byte of an answer.
    ClosedEarly,
    /// The client left before its exchange had ended.
    ClientGone,
    /// The origin's 101 does not answer the handshake.
    Handshake(protocol::ws::handshake::HandshakeError),
    /// The handshake with the origin failed: what one side shows or says will not do for the other.
    Tls(rustls::Error),
    /// The origin's body does not fit its announced framing.
    Encode(protocol::EncodeError),
}

impl Fault {
    pub(crate) fn client(cause: Cause) -> Fault {
        Fault { side: Side::Client, cause, retry_safe: false }
    }

    pub(crate) fn origin(cause: Cause) -> Fault {
        Fault { side: Side::Origin, cause, retry_safe: false }
    }

    pub(crate) fn retry_safe(self) -> Fault {
        Fault { retry_safe: true, ..self }
    }

    /// What the client is told, if it has been told nothing yet; `None`: nothing can be said any more.
    pub(crate) fn status(&self) -> Option<protocol::Status> {
        use protocol::Status;
        match (&self.cause, self.side) {
            (Cause::Request(error), _) => error.status(),
            (_, Side::Client) => match self.cause {
                Cause::BodyStalled => Some(Status::REQUEST_TIMEOUT),
                _ => None,
            },
            (
                Cause::ConnectTimeout | Cause::FirstByteTimeout | Cause::BodyStalled | Cause::WriteStalled,
                _,
            ) => Some(Status::GATEWAY_TIMEOUT),
            _ => Some(Status::BAD_GATEWAY),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Client => "client",
            Side::Origin => "origin",
        };
        write!(f, "{side}: ")?;
        match &self.cause {
            Cause::Network(error) => write!(f, "{error}"),
            Cause::ConnectTimeout => f.write_str("no connection in time"),
            Cause::FirstByteTimeout => f.write_str("no first byte in time"),
            Cause::BodyStalled => f.write_str("no progress in the body in time"),
            Cause::WriteStalled => f.write_str("took no bytes in time"),
            Cause::Request(error) => f.write_str(error.reason()),
            Cause::Response(error) => f.write_str(error.reason()),
            Cause::ClosedEarly => f.write_str("closed before an answer"),
            Cause::ClientGone => f.write_str("left before the exchange had ended"),
            Cause::Handshake(error) => f.write_str(error.text()),
            Cause::Tls(error) => write!(f, "TLS: {error}"),
            Cause::Encode(error) => write!(f, "body does not fit its framing: {error:?}"),
        }
    }
}
