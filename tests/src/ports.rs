//! Addresses that behave badly on purpose. Good ones come from the system: everything binds port 0.
//!
//! Used by tests of refused and silent backends. Each keeps its port as long as it lives, so that no parallel
//! test can get the same one.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

/// An address that refuses connections at once.
pub struct Refusing(Socket);

impl Refusing {
    /// Binds a port and never listens on it.
    pub fn new() -> Refusing {
        Refusing(bound())
    }

    /// Where nobody listens.
    pub fn addr(&self) -> SocketAddr {
        local(&self.0)
    }
}

impl Default for Refusing {
    fn default() -> Refusing {
        Refusing::new()
    }
}

/// An address that never answers a connection attempt: its accept queue is full and nobody accepts.
pub struct Unanswering {
    socket: Socket,
    _queued: Vec<TcpStream>,
}

impl Unanswering {
    /// Listens with the shortest queue and fills it.
    pub fn new() -> Unanswering {
        let socket = bound();
        socket.listen(0).expect("a bound socket can listen");
        let addr = local(&socket);
        let mut queued = Vec::new();
        // The queue is full when an attempt is no longer answered.
        while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(300)) {
            queued.push(stream);
            assert!(queued.len() < 64, "a queue of 0 takes only a few");
        }
        Unanswering { socket, _queued: queued }
    }

    /// Where attempts hang.
    pub fn addr(&self) -> SocketAddr {
        local(&self.socket)
    }
}

impl Default for Unanswering {
    fn default() -> Unanswering {
        Unanswering::new()
    }
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
    let any = SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    socket.bind(&any).expect("a free port can be bound");
    socket
}

fn local(socket: &Socket) -> SocketAddr {
    socket.local_addr().ok().and_then(|addr| addr.as_socket()).expect("a bound socket has an address")
}
