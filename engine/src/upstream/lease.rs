//! One connection to a backend while an exchange has it.

use protocol::h1::client::Client;

use crate::tls::stream::Stream;

/// A connection to a backend and the machine that speaks HTTP/1.1 on it. Dropped, it closes; only
/// `Pool::put` keeps it.
pub(crate) struct BackendConn {
    pub(crate) stream: Stream,
    pub(crate) machine: Client,
    /// It has served an exchange before: its peer may have closed it meanwhile.
    pub(crate) reused: bool,
    /// It said more than it was asked: it must not serve another exchange.
    pub(crate) spoiled: bool,
    /// Version of the backend's place ([`super::state::Place::version`]) for which its address was good; 0: not known.
    pub(crate) place_version: u32,
}

impl BackendConn {
    pub(crate) fn new(stream: Stream) -> BackendConn {
        stream.start_receiving();
        BackendConn { stream, machine: Client::new(), reused: false, spoiled: false, place_version: 0 }
    }
}
