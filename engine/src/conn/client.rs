//! A client connection: its stream, its machine, its deadline, its place.

use std::net::IpAddr;
use std::rc::Rc;

use protocol::h1::server::Server;

use super::intake::Intake;
use crate::io::{Accepted, Alarm, Stream as Socket, now_ms};
use crate::local::Local;
use crate::local::clients::Place;
use crate::tls::accept::{self, Secured};
use crate::tls::stream::Stream;

/// What every exchange on the connection works with. Closed when dropped.
pub(crate) struct ClientConn {
    pub(crate) local: Rc<Local>,
    pub(crate) stream: Stream,
    pub(crate) machine: Server,
    pub(crate) intake: Intake,
    /// The one deadline of the connection; who waits sets it.
    pub(crate) alarm: Alarm,
    pub(crate) peer: Peer,
    /// The client has said that it will send no further request.
    pub(crate) is_last_request: bool,
    /// Given back when the connection is gone.
    pub(crate) place: Place,
}

/// Who is at the other end.
pub(crate) struct Peer {
    pub(crate) address: Option<IpAddr>,
    /// The address as it goes into fields.
    pub(crate) text: Box<str>,
    /// What its handshake told; `None` without TLS.
    pub(crate) secured: Option<Box<Secured>>,
}

/// A connection that has been accepted, and not looked at.
pub(crate) struct Arrival {
    pub(crate) accepted: Accepted,
    /// It came to a TLS listener.
    pub(crate) tls: bool,
}

impl ClientConn {
    /// Takes an accepted connection over in the current task. `None`, and it closes, if the client has reset it since: the
    /// kernel knows its address no more, and a backend must not get a request from nowhere.
    /// Nor if its TLS handshake fails.
    pub(crate) async fn open(local: Rc<Local>, arrival: Arrival) -> Option<ClientConn> {
        let place = Place::take(&local);
        let socket: Socket = arrival.accepted.into_stream().into();
        // An IPv4-mapped address is shown as the IPv4 address it is.
        let address = socket.peer_address()?.ip().to_canonical();
        let alarm = Alarm::new();
        let (stream, secured): (Stream, _) = if arrival.tls {
            // Boxed: a connection should not keep room for its handshake.
            let (stream, secured) = Box::pin(accept::accept(&local, socket, &alarm)).await?;
            (stream, Some(Box::new(secured)))
        } else {
            (socket.into(), None)
        };
        let text = address.to_string().into_boxed_str();
        Some(ClientConn {
            machine: Server::new(now_ms()),
            intake: Intake::default(),
            alarm,
            is_last_request: false,
            peer: Peer { address: Some(address), text, secured },
            place,
            stream,
            local,
        })
    }
}
