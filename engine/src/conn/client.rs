//! A client connection: its stream, its machine, its deadline, its place.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use protocol::h1::server::Server;
use protocol::proxy_header::Addresses;

use super::intake::Intake;
use super::proxy_protocol;
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
    /// Boxed: what is read once per request should not make every connection larger.
    pub(crate) peer: Box<Peer>,
    /// The client has said that it will send no further request.
    pub(crate) is_last_request: bool,
    /// Given back when the connection is gone.
    pub(crate) place: Place,
}

/// Who is at the other end.
pub(crate) struct Peer {
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
    /// The address as it goes into fields.
    pub(crate) text: Box<str>,
    /// What its handshake told; `None` without TLS.
    pub(crate) secured: Option<Box<Secured>>,
}

/// With an IPv4-mapped address as the IPv4 address it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A connection that has been accepted, and not looked at.
pub(crate) struct Arrival {
    pub(crate) accepted: Accepted,
    /// It came to a TLS listener.
    pub(crate) tls: bool,
}

impl Peer {
    /// Both ends of the client's connection, as a backend is told of them.
    pub(crate) fn ends(&self, stream: &Stream) -> Option<Addresses> {
        let source = SocketAddr::new(self.address?, self.port);
        Some(Addresses { source, destination: canonical(stream.local_address()?) })
    }
}

impl ClientConn {
    /// Takes an accepted connection over in the current task. `None`, and it closes, if the client has reset it since: the
    /// kernel knows its address no more, and a backend must not get a request from nowhere.
    /// Nor if its TLS handshake fails.
    pub(crate) async fn open(local: Rc<Local>, arrival: Arrival) -> Option<ClientConn> {
        let place = Place::take(&local);
        let socket: Socket = arrival.accepted.into_stream().into();
        // Answers first, requests then (decision 0032).
        socket.yield_to_others();
        let mut source = canonical(socket.peer_address()?);
        let alarm = Alarm::new();
        let view = local.view();
        if view.model().server.proxy_protocol && view.trusts(Some(source.ip())) {
            let timeout_ms = view.model().timeouts.request_head_ms;
            drop(view);
            // Boxed, like the handshake.
            match Box::pin(proxy_protocol::read(&socket, &alarm, timeout_ms)).await {
                Ok(told) => source = told.map_or(source, canonical),
                Err(reason) => {
                    local.counters().proxy_headers_refused.add(1);
                    tracing::debug!(peer = %source, reason, "connection closed");
                    return None;
                }
            }
        } else {
            drop(view);
        }
        let (stream, secured): (Stream, _) = if arrival.tls {
            // Boxed: a connection should not keep room for its handshake.
            let (stream, secured) = Box::pin(accept::accept(&local, socket, &alarm)).await?;
            (stream, Some(Box::new(secured)))
        } else {
            (socket.into(), None)
        };
        let text = source.ip().to_string().into_boxed_str();
        Some(ClientConn {
            machine: Server::new(now_ms()),
            intake: Intake::default(),
            alarm,
            is_last_request: false,
            peer: Box::new(Peer { address: Some(source.ip()), port: source.port(), text, secured }),
            place,
            stream,
            local,
        })
    }
}
